#!/bin/bash
# scripts/gpu-check.sh itself, with a driver and a package that are only played: what it says and which exit code it has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
mkdir -p "$t/tools" "$t/package/bin"

program() { # program PATH < SCRIPT
  { echo '#!/bin/bash'; cat; } >"$1"
  chmod +x "$1"
}
expect() { # expect CODE WORDS... -- OPTION...
  local code=0 want=$1 words=()
  shift
  while [ "$1" != -- ]; do words+=("$1"); shift; done
  shift
  PATH="$t/tools:$PATH" PYTHON=$t/tools/python LCT_CUBLASLT=/nowhere bash scripts/gpu-check.sh --package "$t/package" --out "$t/out/results.jsonl" "$@" \
    >"$t/said" 2>&1 || code=$?
  [ "$code" = "$want" ] || { echo "exit code $code, not $want, of gpu-check.sh $*:"; cat "$t/said"; exit 1; }
  local w
  for w in "${words[@]}"; do grep -qE -- "$w" "$t/said" || { echo "gpu-check.sh $* did not say: $w"; cat "$t/said"; exit 1; }; done
}

program "$t/tools/nvidia-smi" <<<'echo "No devices were found"; exit 6'
expect 3 '^skipped: no GPU here: nvidia-smi says: No devices were found' --
program "$t/tools/nvidia-smi" <<<'case $1 in *name) echo "Played GPU";; *) echo 1.2.3;; esac'
expect 2 '^Usage' -- --steps everything
expect 2 '^Usage' -- --seconds
rm -f "$t/package/bin/llmct-gpu"
expect 1 'holds no package' --

echo "$(printf 'a%.0s' {1..40})" >"$t/package/commit"
# python that has no torch, but all else: the table is real
program "$t/tools/python" <<<'[ "$1" != -c ] || { echo "no module named \"torch\"" >&2; exit 1; }; exec python3 "$@"'
program "$t/package/bin/llmct-gpu" <<<'[ "$1" != synth ] || mkdir "${@: -1}"; [ "$1" != --version ] || echo "0 \"quoted\" \\ played"'
program "$t/package/bin/dump_taps" <<<'wc -c'
program "$t/package/bin/cuda_gpu_test_good" <<<'echo fine'
program "$t/tools/compute-sanitizer" <<'END'
while [[ $1 == -* ]]; do
  case $1 in --tool | --leak-check | --error-exitcode) shift ;; esac
  shift
done
"$@"
END
expect 0 '"gpu": "Played GPU"' '"text": "0 \\"quoted\\" \\\\ played"' '^  unit.good +pass' '^  parity +skip +.*no torch' '^  memcheck.good +pass' \
  '^  racecheck.model +pass' -- --steps unit,parity,memcheck,racecheck
python3 -c 'import json, sys; [json.loads(x) for x in open(sys.argv[1])]' "$t/out/results.jsonl"

program "$t/package/bin/cuda_gpu_test_none" <<<'echo "nothing to do" >&2; exit 77'
program "$t/package/bin/cuda_gpu_test_slow" <<<'sleep 60'
expect 1 '^  unit.none +skip +nothing to do' '^  unit.slow +fail +not done after its [2-6] s' '^  memcheck +skip|^  memcheck.good +skip +the 6 s are over' -- \
  --steps unit,memcheck --seconds 6
rm "$t/package/bin/cuda_gpu_test_slow"
program "$t/package/bin/cuda_gpu_test_bad" <<<'echo "expected 1, actual 2" >&2; exit 4'
program "$t/package/bin/cuda_gpu_test_worse" <<<'echo "[  FAILED  ] test_b"; echo "[  FAILED  ] test_a" >&2; echo "2 FAILED TEST(S)" >&2; exit 2'
expect 1 '^  unit.worse +fail +.*exit code 2: test_a test_b' '^  unit.bad +fail +.*exit code 4: expected 1, actual 2' '^  unit.good +pass' -- --steps unit
