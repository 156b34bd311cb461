#!/bin/bash
# A full disk: an error that names a file, exit code 1, and nothing that looks whole.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
scenario talk 8 >s.yaml
disk=$t/disk
small_disk "$disk" 400

full='No space left on device'
run synth --like tiny-qwen2 disk/model
[ "$code" = 1 ] && [ ! -s out ] && grep -q "^llmct-gpu: error: .*disk/model.*: $full\$" err || fail "synth: exit code $code, $(cat err)"
[ -z "$(ls disk)" ] || fail "synth left $(ls disk)"

for keep in tokens pooled; do
  run scan s.yaml -m tiny-qwen2 -o disk/runs --keep "$keep" -q
  [ "$code" = 1 ] && [ ! -s out ] && grep -q "^llmct-gpu: error: .*disk/runs/talk_.*: $full\$" err || fail "--keep $keep: exit code $code, $(cat err)"
  for dir in disk/runs/talk_*; do
    [ ! -s "$dir/scan.json" ] || [ "$(state_of "$dir")" != done ] || fail "--keep $keep: state done on a full disk"
  done
  [ -z "$(find disk -name '*.tmp*')" ] || fail "--keep $keep left $(find disk -name '*.tmp*')"
  for npz in $(find disk -name '*.npz'); do
    if command -v python3 >/dev/null; then python3 -m zipfile -t "$npz" >/dev/null 2>&1 || fail "$npz looks whole and is not"; fi
  done
  rm -rf disk/runs
  head -c 350000 /dev/zero >disk/ballast # pooled vectors are small: less room for them
done
finish
