#!/bin/bash
# From a fresh clone to a report: packages, build, a small real model, a scan of a 20-message emotional conversation.
# Usage: scripts/demo.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$root/scripts/lib/fetch.sh"

[ $# = 0 ] || { echo "usage: scripts/demo.sh" >&2; exit 2; }
cd "$root"
bash scripts/setup.sh

say "building into build/ (log: build/demo-build.log)"
mkdir -p build
if ! { configure release && build release --target llmct-gpu; } >build/demo-build.log 2>&1; then
  tail -n 40 build/demo-build.log >&2
  die "the build failed; the whole log is build/demo-build.log"
fi

if fetch_smollm2; then
  model=$smollm2_gguf
else
  model=$cache/synth-smollm2-135m
  say "no demo model: $fetch_error; going on with random weights of its shape, so the report shows no real emotions"
  [ -f "$model/config.json" ] || build/llmct-gpu synth --like smollm2-135m --seed 1 "$model" >/dev/null
fi

say "scanning configs/where_emotions_lie.yaml with $model"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
build/llmct-gpu scan configs/where_emotions_lie.yaml -m "$model" -o runs | tee "$out"
report=$(sed -n 's/^report  *//p' "$out")
[ -f "$report" ] || die "the scan named no report"
say "open this in a browser: $root/$report"
