#!/bin/bash
# A sweep killed at random moments and resumed, as often as it takes: the store is that of a sweep that was never interrupted, byte for
# byte, whatever the number of threads. LCT_KILLS: how many sweeps are killed (12); LCT_KILLS_SEED: of the moments.
. "$(dirname "$0")/lib.sh"
. "$LCT_SOURCE_DIR/tests/cli/sweep_lib.sh"
kills=${LCT_KILLS:-12}
RANDOM=${LCT_KILLS_SEED:-$$}
seed=${LCT_KILLS_SEED:-$$}
synth tiny-qwen2
fingerprints tiny-qwen2 f.safetensors
talks 200 talks.jsonl
head -n 60 talks.jsonl >few.jsonl

# choose KIND: two kinds of sweep, in turns
choose() {
  options=(-m tiny-qwen2 -f f.safetensors --memory 24M -q)
  case $1 in
  0) options+=(talks.jsonl --sources hidden_out,attn_out --shard-rows 64) ;;
  1) options+=(few.jsonl --keep tokens --store-dtype int8 --sources hidden_out,mlp_down_out --shard-rows 32) ;;
  esac
  reference=reference-$1
}

length=(0 0)
for kind in 0 1; do
  choose $kind
  begin=$(date +%s%N)
  run sweep "${options[@]}" -o $reference -t 1
  [ "$code" = 3 ] || { fail "the uninterrupted sweep: exit code $code, expected 3 (three conversations are rejected)"; cat err; finish; }
  length[kind]=$((($(date +%s%N) - begin) / 1000000)) # ms
  [ "$(wc -l <$reference/errors.jsonl)" = 3 ] || fail "errors.jsonl: $(cat $reference/errors.jsonl)"
  for threads in 2 4; do
    run sweep "${options[@]}" -o "threads-$threads" -t $threads
    [ "$code" = 3 ] || fail "$threads threads: exit code $code, $(cat err)"
    same_store "$threads threads" $reference "threads-$threads"
    rm -rf "threads-$threads"
  done
done

# killed SECONDS ARGS...: SIGKILL after that time; true when the sweep was still at work
killed() {
  local after=$1 pid
  shift
  ran=$*
  "$LCT_CLI" sweep "$@" >out 2>err </dev/null &
  pid=$!
  sleep "$after"
  kill -KILL $pid 2>/dev/null
  code=0
  wait $pid 2>/dev/null || code=$?
  [ "$code" = 137 ]
}

hits=0
for ((i = 0; i < kills; i++)); do
  resume=()
  moments=""
  choose $((i % 2))
  # once more with one chance in two, so that a resumed sweep is killed as well
  while :; do
    ms=$((RANDOM * 32768 + RANDOM))
    ms=$((ms % (length[i % 2] * 11 / 10 + 2)))
    after=$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
    threads=$((1 << RANDOM % 3))
    moments+=" $after s (-t $threads)"
    if ! killed "$after" "${options[@]}" -o killed -t $threads "${resume[@]}"; then break; fi
    hits=$((hits + 1))
    resume=(--resume)
    [ $((RANDOM % 2)) = 0 ] || break
  done
  run sweep "${options[@]}" -o killed -t $((1 << RANDOM % 3)) --resume
  [ "$code" = 3 ] || fail "killed after$moments (seed $seed): --resume: exit code $code, $(cat err)"
  before=$failures
  same_store "killed after$moments (seed $seed)" $reference killed
  [ "$failures" = "$before" ] || break
  rm -rf killed
done
[ "$hits" -gt 0 ] || fail "no sweep was killed at work in $kills tries"
echo "$hits kills at work, $i sweeps of ${length[*]} ms"
finish
