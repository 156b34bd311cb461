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

# the scenario's own output folder and model
sed -i "s|nowhere/at-all|$t/tiny-qwen2|" s.yaml
echo 'output: {dir: own}' >>s.yaml
run scan s.yaml --quiet
expect 0 "" ""
[ -f "$(echo own/talk_*/report.html)" ] || fail "output.dir is not used"
finish
