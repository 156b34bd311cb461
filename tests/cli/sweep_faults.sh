#!/bin/bash
# A sweep's store after what can go wrong: interrupted, a journal cut anywhere, torn shards, files that may not grow, other options or other
# conversations at --resume, a bit that flipped. LCT_FEWER=1: fewer of each kind and conversations, for builds where a sweep takes seven times as long.
. "$(dirname "$0")/lib.sh"
. "$LCT_SOURCE_DIR/tests/cli/sweep_lib.sh"
synth tiny-qwen2
fingerprints tiny-qwen2 f.safetensors
n_talks=${LCT_FEWER:+80}
n_talks=${n_talks:-200}
talks $n_talks talks.jsonl
options=(talks.jsonl -m tiny-qwen2 -f f.safetensors --shard-rows 64 --memory 24M --fsync off -q)
run sweep "${options[@]}" -o reference --metrics-file sweep.prom
[ "$code" = 3 ] || { fail "the uninterrupted sweep: exit code $code"; cat err; finish; }

rows=$(wc -l <reference/messages.jsonl)
for line in 'state{state="done"} 1' 'conversations_total{result="rejected"} 3' 'conversations_total{result="done"} '$((n_talks - 3)) "rows_total $rows"; do
  grep -qxF "llmct_sweep_$line" sweep.prom || fail "--metrics-file: no $line: $(grep "^llmct_sweep_${line%% *}" sweep.prom)"
done

# stopped OUT SIGNAL LINES: a sweep that got the signal when its journal had so many lines; $code
stopped() {
  local pid
  ran="sweep ${options[*]} -o $1, stopped"
  "$LCT_CLI" sweep "${options[@]}" -o "$1" >out 2>err </dev/null &
  pid=$!
  while kill -0 $pid 2>/dev/null && { [ ! -f "$1/journal" ] || [ "$(wc -l <"$1/journal")" -lt "$3" ]; }; do sleep 0.005; done
  kill -s "$2" $pid 2>/dev/null
  code=0
  wait $pid 2>/dev/null || code=$?
}

# resumed WHAT OUT: goes on to the end, and the store is the reference
resumed() {
  run sweep "${options[@]}" -o "$2" --resume
  [ "$code" = 3 ] || fail "$1: --resume: exit code $code, $(cat err)"
  same_store "$1" reference "$2"
}

# what is there already
run sweep "${options[@]}" -o reference --resume
[ "$code" = 0 ] || [ "$code" = 3 ] || fail "a complete sweep, resumed: exit code $code, $(cat err)"
run sweep "${options[@]}" -o reference
[ "$code" != 0 ] && grep -q '^llmct-gpu: error: reference .*--resume' err || fail "a sweep over a sweep: exit code $code, $(cat err)"
mkdir other
echo mine >other/notes
run sweep "${options[@]}" -o other
[ "$(cat other/notes)" = mine ] || fail "a sweep wrote over a file that is not its own"
[ "$code" = 3 ] || grep -q '^llmct-gpu: error: .*other' err || fail "a sweep into a folder with files: exit code $code, $(cat err)"
run sweep "${options[@]}" -o talks.jsonl/out
[ "$code" = 1 ] && grep -Eq '^llmct-gpu: error: .*talks.jsonl.*: (Not a directory|File exists)$' err || fail "a sweep below a file: exit code $code, $(cat err)"

# few WORD...: the words, or with LCT_FEWER those that begin with "+"
few() {
  local word
  for word in "$@"; do
    [ -n "${LCT_FEWER:-}" ] && [ "${word#+}" = "$word" ] || echo "${word#+}"
  done
}

# Ctrl-C and SIGTERM: what was committed stays, and says so
for signal in $(few +INT TERM); do
  stopped "stopped-$signal" $signal 6
  [ "$code" = 1 ] || fail "$signal: exit code $code, expected 1"
  [ "$(state_of_sweep "stopped-$signal")" = interrupted ] || fail "$signal: state $(state_of_sweep "stopped-$signal")"
  grep -q -- '--resume' err || fail "$signal: $(cat err)"
  [ -z "$(find "stopped-$signal" -name '*.partial' -o -name '*.tmp*')" ] || fail "$signal: left $(find "stopped-$signal" -name '*.partial')"
  [ "$(grep -c '"array":"pooled' "stopped-$signal/journal")" -ge 1 ] || fail "$signal: nothing in the journal"
  resumed "$signal" "stopped-$signal"
  rm -rf "stopped-$signal"
done

# a journal cut anywhere; shards behind its end stand torn, or not at all
stopped base KILL 10
[ "$code" = 137 ] || fail "the sweep was over before it could be killed"
head=$(head -n 1 base/journal | wc -c)
line4=$(head -n 4 base/journal | wc -c)
size=$(wc -c <base/journal)
for n in $(few 0 1 +100 $((head - 1)) "$head" +$((line4 - 20)) $((line4 - 1)) "$line4" +$((size - 1)) "$size"); do
  rm -rf cut
  cp -r base cut
  head -c "$n" base/journal >cut/journal
  resumed "a journal cut at $n of $size" cut
done
rm -rf cut
cp -r base cut
rm cut/journal
run sweep "${options[@]}" -o cut --resume
if [ "$code" = 3 ]; then same_store "no journal" reference cut
else grep -q '^llmct-gpu: error: .*cut' err || fail "no journal: exit code $code, $(cat err)"; fi
rm -rf cut
cp -r base cut
sed -i '3s/.*/{"array": 5}/' cut/journal
run sweep "${options[@]}" -o cut --resume
[ "$code" = 1 ] && grep -q '^llmct-gpu: error: cut/journal:3: ' err || fail "a journal with a strange line: exit code $code, $(cat err)"

# shards that are not in the journal: torn, of zeros, beginnings left under their temporary names
number=$(grep -n '"array":"pooled' base/journal | tail -n 1 | cut -d: -f1)
shard=$(sed -n "${number}s/.*\"shard\":\([0-9]*\).*/\1/p" base/journal)
file=data.zarr/pooled/hidden_out/c/$shard/0/0/0
[ -f "base/$file" ] || fail "shard $shard of the journal is no file: $file"
for what in $(few +torn empty zeros +absent); do
  rm -rf torn
  cp -r base torn
  head -n $((number - 1)) base/journal >torn/journal
  bytes=$(stat -c %s "base/$file")
  case $what in
  torn) truncate -s $((bytes / 2)) "torn/$file" ;;
  empty) : >"torn/$file" ;;
  zeros) head -c "$bytes" /dev/zero >"torn/$file" ;;
  absent) rm "torn/$file" ;;
  esac
  head -c 5000 /dev/urandom >"torn/$file.partial"
  resumed "a shard without its line, $what" torn
done

# messages.jsonl torn in a line, errors.jsonl gone
rm -rf torn
cp -r base torn
truncate -s -7 torn/messages.jsonl
rm -f torn/errors.jsonl
resumed "torn lines" torn

# other options: the one that differs is named, and nothing is touched
sed 's/dance/sing/' references.yaml >sing.yaml
"$LCT_CLI" fingerprint sing.yaml -m tiny-qwen2 -o other.safetensors -q
"$LCT_CLI" synth --like tiny-qwen2 --seed 2 other-model >/dev/null
"$LCT_CLI" fingerprint references.yaml -m other-model -o other-model.safetensors -q
differs() { # differs KEY OPTION...
  local key=$1
  shift
  run sweep "${options[@]}" -o base "$@" --resume
  [ "$code" = 2 ] && grep -q "^llmct-gpu: error: base.*$key" err || fail "--resume with $*: exit code $code, $(cat err)"
}
cp -r base untouched
differs keep --keep scores
differs store-dtype --store-dtype f32
differs sources --sources hidden_out,attn_out
differs positions --positions last
differs layers --layers 0-2
differs metrics --metrics cosine
differs shard-rows --shard-rows 128
differs long --long truncate
differs max-tokens --max-tokens 500
differs precision --precision fast
differs fingerprints -f other.safetensors
differs model -m other-model -f other-model.safetensors
diff -r base untouched >/dev/null || fail "a refused --resume changed the sweep: $(diff -rq base untouched)"

# other conversations: found where they differ
sed '2s/"content": "/&Well, /' talks.jsonl >changed.jsonl
run sweep changed.jsonl "${options[@]:1}" -o untouched --resume
[ "$code" = 1 ] || [ "$code" = 2 ] || fail "--resume with other conversations: exit code $code"
grep -q '^llmct-gpu: error: .*untouched/messages.jsonl' err || fail "--resume with other conversations: $(cat err)"

# files that may not grow (as on a full disk): a failure that names the file; --resume goes on
for kib in $(few 4 +100); do
  rm -rf small
  code=0
  ran="sweep with files of at most $kib KiB"
  (trap '' XFSZ && ulimit -f $kib && exec "$LCT_CLI" sweep "${options[@]}" -o small >out 2>err </dev/null) || code=$?
  [ "$code" = 1 ] && grep -q '^llmct-gpu: error: .*small.*: File too large' err || fail "$ran: exit code $code, $(cat err)"
  [ ! -f small/sweep.json ] || [ "$(state_of_sweep small)" != done ] || fail "$ran: state done"
  [ -z "$(find small -name '*.partial')" ] || fail "$ran: left $(find small -name '*.partial')"
  resumed "$ran" small
done

# a bit that flipped in a shard: verify names it
if "$LCT_CLI" --help | grep -q '^  verify '; then
  run verify reference
  [ "$code" = 0 ] || fail "verify: exit code $code, $(cat err)"
  for array in pooled/hidden_out/c/3/0/0/0 scores/c/2/0/0/0/0/0; do
    rm -rf flipped
    cp -r reference flipped
    python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(777); b = f.read(1)[0]; f.seek(777); f.write(bytes([b ^ 16]))' "flipped/data.zarr/$array"
    run verify flipped
    [ "$code" = 1 ] || [ "$code" = 3 ] || fail "verify of a flipped bit: exit code $code"
    cat out err | grep -q "$array" || fail "verify of a flipped bit does not name $array: $(cat out err)"
  done
  rm -rf flipped
  cp -r reference flipped
  rm flipped/data.zarr/pooled/hidden_out/c/1/0/0/0
  run verify flipped
  [ "$code" != 0 ] || fail "verify of a store with a shard missing: exit code 0"
  cat out err | grep -q 'pooled/hidden_out' || fail "verify of a store with a shard missing: $(cat out err)"
fi
finish
