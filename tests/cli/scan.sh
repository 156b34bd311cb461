#!/bin/bash
# Whole scans of the three architectures, and what each --keep leaves.
. "$(dirname "$0")/lib.sh"
scenario >s.yaml

# one KEEP SHAPE FILES: the run's files, exactly
one() {
  run scan s.yaml -m "$2" -o "runs-$1-$2" --keep "$1" --threads 1 --quiet
  expect 0 "" ""
  local dir
  dir=$(echo runs-"$1-$2"/talk_*)
  [ "$(state_of "$dir")" = done ] || fail "$dir: state $(state_of "$dir")"
  (cd "$dir" && find . -type f | sort) >files
  same "list of files" "$3" files
}

always="./prompt_0/conversation_snapshots/index.json
./prompt_0/run.json
./prompt_0/scores.csv
./prompt_0/scores.json
./prompt_0/steps.json
./references/index.json
./report.html
./scan.json
./scenario.json"
vectors="./prompt_0/conversation_snapshots/snapshot_00_system.npz
./prompt_0/conversation_snapshots/snapshot_01_user.npz
./prompt_0/conversation_snapshots/snapshot_02_assistant.npz
./prompt_0/conversation_snapshots/snapshot_03_user.npz
./prompt_0/conversation_snapshots/snapshot_04_assistant.npz
./references/ref_fear.npz
./references/ref_joy.npz"
tensors="./prompt_0/tensors/step_000.npz
./prompt_0/tensors/step_001.npz
./prompt_0/tensors/step_002.npz
./prompt_0/tensors/step_003.npz"
scores=$(grep -v index.json <<<"$always")
pooled=$(printf '%s\n' "$always" "$vectors" "./prompt_0/pooled.npz" | sort)
tokens=$(printf '%s\n' "$always" "$vectors" "$tensors" | sort)

for shape in tiny-qwen2 tiny-qwen3 tiny-llama; do
  synth $shape
  one scores $shape "$scores"
  one pooled $shape "$pooled"
  one tokens $shape "$tokens"
  # what is kept does not change what is scored
  for keep in pooled tokens; do
    cmp -s runs-scores-$shape/*/prompt_0/scores.json runs-$keep-$shape/*/prompt_0/scores.json || fail "$shape: scores differ with --keep $keep"
  done
done
cmp -s runs-scores-tiny-qwen2/*/prompt_0/scores.json runs-scores-tiny-qwen3/*/prompt_0/scores.json && fail "two models, the same scores"

for dir in runs-tokens-*/talk_*; do
  for npz in "$dir"/references/*.npz; do
    if command -v python3 >/dev/null; then python3 -m zipfile -t "$npz" >/dev/null || fail "$npz is not a zip archive"; fi
  done
done
find . -name '*.tmp' -o -name '*.partial*' | grep . && fail "temporary files are left"

# any number of threads, the same scores
for n in 1 2 3; do
  run scan s.yaml -m tiny-qwen2 -o "threads$n" --keep scores --threads "$n" --no-report --quiet
  expect 0 "" ""
done
for n in 2 3; do cmp threads1/*/prompt_0/scores.json threads$n/*/prompt_0/scores.json || fail "--threads $n changes the scores"; done
[ ! -e "$(echo threads1/*/report.html)" ] || fail "--no-report wrote a report"

# -f: every snapshot against a file of fingerprints, the scores of a sweep of the same conversation to the last bit
for label in joy fear; do
  printf '{"messages":[{"role":"user","content":"It is %s, and more.","label":"%s, a"}]}\n' $label $label
done >refs.jsonl
for i in $(seq 1 8); do
  for what in R "The table has" "The table in the hall beside the door to the garden has"; do
    printf '{"messages":[{"role":"user","content":"%s %d."}]}\n' "$what" "$i" # z knows lengths apart
  done
done >neutral.jsonl
cat >talk.jsonl <<'END'
{"id": "talk", "messages": [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "What a lovely morning!"}, {"role": "assistant", "content": "It is."}, {"role": "user", "content": "And now it rains."}]}
END
run fingerprint refs.jsonl -m tiny-qwen2 -o f.safetensors --sources hidden_in,hidden_out,attn_out --neutral neutral.jsonl --whiten --pcs 2 -q
done_well
metrics=cosine,mae,jaccard,centered,standardized,whitened,z,projection,contrast:z
run sweep talk.jsonl -m tiny-qwen2 -o swept -f f.safetensors --keep scores --sources hidden_in,hidden_out,attn_out --metrics $metrics -q
done_well
run export swept -o swept.csv --to csv --what scores -q
done_well
for keep in scores tokens; do
  run scan s.yaml -m tiny-qwen2 -o prints-$keep -f f.safetensors --metrics $metrics --keep $keep --no-report -q
  done_well
  dir=$(echo prints-$keep/talk_*)
  [ "$(head -n 1 "$dir/prompt_0/fingerprint_scores.csv")" = "snapshot,role,pooling,source,layer,reference,$metrics" ] ||
    fail "fingerprint_scores.csv: $(head -n 1 "$dir/prompt_0/fingerprint_scores.csv")"
  tail -n +2 "$dir/prompt_0/fingerprint_scores.csv" | grep -v '^4,' >scanned.csv
  [ "$(wc -l <scanned.csv)" = $((4 * 3 * 3 * 4 * 2)) ] || fail "fingerprint_scores.csv: $(wc -l <scanned.csv) lines of the messages"
  cmp scanned.csv <(cut -d, -f3,4,6- swept.csv | tail -n +2) || fail "--keep $keep: a scan's scores against fingerprints are not a sweep's"
  [ "$(grep -c '^4,assistant,' "$dir/prompt_0/fingerprint_scores.csv")" = $((3 * 3 * 4 * 2)) ] || fail "the reply's scores against fingerprints"
  cmp -s runs-scores-tiny-qwen2/*/prompt_0/scores.json "$dir/prompt_0/scores.json" || fail "fingerprints change scores.json"
  grep -qx "    \"hash\": \"$(sha256sum f.safetensors | cut -d' ' -f1)\"" "$dir/scan.json" || fail "scan.json: $(cat "$dir/scan.json")"
done
grep -q '^0,system,last,hidden_in,0,"joy, a",' scanned.csv || fail "fingerprint_scores.csv: its first label: $(head -n 1 scanned.csv)"
grep -q '"references": \["joy, a", "fear, a"\]' "$dir/prompt_0/fingerprint_scores.json" || fail "fingerprint_scores.json: its references"
sed 's/^capture: {/&layers: [1, 3], /' s.yaml >layers.yaml
run scan layers.yaml -m tiny-qwen2 -o prints-layers -f f.safetensors --metrics $metrics --keep scores --no-report -q
done_well
tail -n +2 prints-layers/*/prompt_0/fingerprint_scores.csv | grep -v '^4,' >two.csv
cmp two.csv <(grep -E '^[^,]*,[^,]*,[^,]*,[^,]*,[13],' scanned.csv) || fail "scores of two layers are not those of all"
run scan s.yaml -m tiny-qwen3 -o refused -f f.safetensors -q
[ "$code" = 2 ] && grep -q '^llmct-gpu: error: f.safetensors .*model' err || fail "fingerprints of another model: exit code $code, $(cat err)"
run scan s.yaml -m tiny-qwen2 -o refused --metrics cosine -q
refused 2 "--metrics needs --fingerprints"
run scan s.yaml -m tiny-qwen2 -o refused -f f.safetensors --metrics warmth -q
[ "$code" = 2 ] && grep -q '^llmct-gpu: error: --metrics: expected some of cosine, .*, found "warmth"' err || fail "--metrics warmth: $(cat err)"
[ ! -e refused ] || fail "a refused scan left a run directory"

# the scenario's own output folder and model
sed -i "s|nowhere/at-all|$t/tiny-qwen2|" s.yaml
echo 'output: {dir: own}' >>s.yaml
run scan s.yaml --quiet
expect 0 "" ""
[ -f "$(echo own/talk_*/report.html)" ] || fail "output.dir is not used"
finish
