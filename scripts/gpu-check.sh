#!/bin/bash
# Everything that only a GPU can show, in under nine minutes: unit tests of every op, whole models against transformers tap by tap, bits
# that must not depend on company, compute-sanitizer, a scan; with --bench the measurements. One JSON line a result on stdout and in
# FILE, a table at the end. Exit code 0 all well, 1 something failed, 2 wrong usage, 3 no GPU here.
#
# Usage: scripts/gpu-check.sh [--bench] [--steps LIST] [--package FOLDER] [--seconds N] [--out FILE]
#   --package FOLDER  what scripts/gpu-package.sh made; without it, it is made now (that takes nvcc, CMake and the libraries; not counted)
#   --steps LIST      of: unit parity invariance scan models memcheck racecheck bench; separated by commas
#   --seconds N       begin no step after so many, and end each in time (530)
#   --out FILE        (build-gpu-check/results.jsonl; logs beside it)
# Needs a Python with torch and transformers for parity, invariance (PYTHON names it; python3), and cuBLASLt (LCT_CUBLASLT names it; else
# torch's own or the toolkit's). What is missing is a step skipped, and said.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$root/scripts/lib/gpu.sh"

usage() { sed -n 's/^# //; /^Usage/,/--out/p' "${BASH_SOURCE[0]}" >&2; exit 2; }
package="" steps=unit,parity,invariance,scan,models,memcheck,racecheck seconds=530 out=build-gpu-check/results.jsonl
while [ $# -gt 0 ]; do
  case $1 in
  --bench) steps=$steps,bench ;;
  --package | --steps | --seconds | --out)
    [ $# -ge 2 ] || usage
    printf -v "${1#--}" %s "$2"
    shift
    ;;
  *) usage ;;
  esac
  shift
done
for step in ${steps//,/ }; do
  [[ " unit parity invariance scan models memcheck racecheck bench " == *" $step "* ]] || usage
done
[[ $seconds =~ ^[0-9]+$ ]] || usage

cd "$root"
find_gpu || { echo "skipped: no GPU here: $gpu_error"; exit 3; }
if [ -z "$package" ]; then
  package=build-gpu
  bash scripts/gpu-package.sh "$package"
fi
[ -x "$package/bin/llmct-gpu" ] || die "$package holds no package: scripts/gpu-package.sh makes one"
for packed in "$package"/lib/*.gz; do
  [ ! -f "$packed" ] || [ -f "${packed%.gz}" ] || gunzip -k "$packed"
done

start=$SECONDS
mkdir -p "$(dirname "$out")"
logs=$(cd "$(dirname "$out")" && pwd)
: >"$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONDONTWRITEBYTECODE=1
find_cublaslt

wanted() { [[ ,$steps, == *,$1,* ]]; }
left() { echo $((seconds - (SECONDS - start))); }

# result NAME pass|fail|skip NOTE
result() { emit "$(json gpu.step name "$1" result "$2" note "$3" at_second $((SECONDS - start)))"; }
emit() { printf '%s\n' "$1" | tee -a "$out"; }

# reason STDERR STDOUT: the tests that failed, else the last thing said
reason() {
  local names
  names=$(sed -n 's/^\[  FAILED  \] \(test_[a-z0-9_]*\)$/\1/p' "$1" "$2" | sort -u | tr '\n' ' ')
  if [ -n "$names" ]; then echo "$names"; else { grep -hv '^ *$' "$2" "$1" || true; } | tail -n 1 | cut -c1-200; fi
}

# run NAME LIMIT COMMAND...: one step in its time; its JSON lines (stdout) become results, the rest lies in the log. A step over its limit
# failed, unless LATE=skip.
run() {
  local name=$1 limit=$2 code=0 began=$SECONDS log=$logs/$1.log lines=$work/lines
  shift 2
  [ "$limit" -lt "$(left)" ] || limit=$(left)
  if [ "$limit" -lt 5 ]; then result "$name" skip "the ${seconds} s are over"; return; fi
  timeout -k 5 "$limit" "$@" >"$lines" 2>"$log" || code=$?
  local took="$((SECONDS - began)) s" why
  why=$(reason "$log" "$lines")
  grep '^{' "$lines" | tee -a "$out" || true
  grep -v '^{' "$lines" >>"$log" || true
  case $code in
  0) result "$name" pass "$took" ;;
  77) result "$name" skip "${why:-nothing to test here}" ;;
  124 | 137) result "$name" "${LATE:-fail}" "not done after its $limit s" ;;
  3) result "$name" skip "$took: part of it: see above" ;;
  *) result "$name" fail "$took, exit code $code: $why" ;;
  esac
}

# sanitized TOOL: every unit test and a small model under one tool of compute-sanitizer. Races are looked for in our kernels alone, whose
# names end in _kernel, where the tool can be told so: cuBLASLt's are slow under it and not ours to mend.
sanitized() {
  local sanitizer test options=(--tool "$1" --error-exitcode 9)
  sanitizer=$(find_tool compute-sanitizer) || { result "$1" skip "no compute-sanitizer in PATH or the toolkit"; return; }
  if [ "$1" = racecheck ] && "$sanitizer" --help 2>&1 | grep -q -- '--kernel-name'; then
    options+=(--kernel-name kernel_substring=_kernel)
  fi
  for test in "$package"/bin/cuda_gpu_test_*; do
    LATE=skip run "$1.${test##*/cuda_gpu_test_}" 60 "$sanitizer" "${options[@]}" "$test"
  done
  tiny tiny-qwen3 || { result "$1.model" fail "no tiny-qwen3"; return; }
  gpu_digest_ids >"$work/ids"
  LATE=skip run "$1.model" 60 "$sanitizer" "${options[@]}" "$package/bin/dump_taps" "$work/tiny-qwen3" --device cuda:0 --digest <"$work/ids"
}
tiny() { [ -d "$work/$1" ] || "$package/bin/llmct-gpu" synth --like "$1" --seed 1 "$work/$1" >/dev/null 2>&1; }

check_gpu() { "$python" tests/oracle/check_gpu.py "$package/bin/dump_taps" "$package/bin/llmct-gpu" --folder "$work" "$@"; }
export -f check_gpu
export python package work
can_torch() {
  "$python" -c 'import numpy, torch, transformers; assert torch.cuda.is_available()' >"$logs/torch.log" 2>&1 && return 0
  result "$1" skip "$python has no torch that sees the GPU, or no transformers ($(tail -n 1 "$logs/torch.log" | cut -c1-120))"
  return 1
}

emit "$(json gpu.host gpu "$gpu_name" driver "$gpu_driver" commit "$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
  package "$(cat "$package/commit")" toolkit "$(toolkit_version)" cublaslt "${LCT_CUBLASLT:-left to the loader}" \
  python "$("$python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)' 2>/dev/null || echo none)")"
emit "$("$package/bin/llmct-gpu" --version | head -n 1 | { read -r line; json gpu.version text "$line"; })"

if wanted unit; then
  for test in "$package"/bin/cuda_gpu_test_*; do run "unit.${test##*/cuda_gpu_test_}" 60 "$test"; done
fi
if wanted parity && can_torch parity; then
  run parity 100 bash -c 'check_gpu tiny-qwen2:300 tiny-qwen3:300 tiny-llama:300'
fi
if wanted invariance && can_torch invariance; then
  run invariance 100 bash -c 'check_gpu --invariance --seconds 60 tiny-qwen2:700 tiny-qwen3:700 tiny-llama:700 qwen2.5-0.5b:300'
fi
if wanted scan; then
  if tiny tiny-qwen3; then
    run scan 60 "$python" scripts/lib/gpu_scan.py "$package/bin/llmct-gpu" "$work/tiny-qwen3" configs/where_emotions_lie.yaml "$work/scan"
  else
    result scan fail "synth made no tiny-qwen3"
  fi
fi
if wanted models && can_torch models; then
  run models 220 bash -c 'check_gpu --seconds 150 qwen2.5-0.5b:900 qwen2.5-3b:900 qwen3-0.6b:900 smollm2-360m:900'
fi
if wanted memcheck; then sanitized memcheck; fi
if wanted racecheck; then sanitized racecheck; fi
if wanted bench; then
  shapes="qwen2.5-0.5b qwen2.5-3b qwen2.5-7b"
  run bench 240 "$package/bin/bench_gpu" --seconds 180 $(printf -- '--like %s ' $shapes)
  run sweep 200 "$python" scripts/lib/gpu_sweep.py "$package/bin/llmct-gpu" "$work/sweep" qwen2.5-0.5b
  if can_torch peer; then run peer 240 "$python" bench/gpu_peer.py --seconds 180 $shapes; fi
fi

say "$((SECONDS - start)) s of $seconds; results: $out"
"$python" scripts/lib/gpu_table.py "$out"
