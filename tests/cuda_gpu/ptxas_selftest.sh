#!/bin/bash
# scripts/ptxas.sh: reads what ptxas writes, fails on a spill, skips where there is nothing to read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
mkdir "$t/cuda"

expect() { # expect CODE GREP...
  local code=0 want=$1
  shift
  bash scripts/ptxas.sh "$t" >"$t/out" 2>&1 || code=$?
  [ "$code" = "$want" ] || { echo "exit code $code, not $want:"; cat "$t/out"; exit 1; }
  local words
  for words in "$@"; do grep -qE -- "$words" "$t/out" || { echo "not said: $words"; cat "$t/out"; exit 1; }; done
}

expect 77 '^skipped: no ptxas logs'

entry() { # entry NAME TARGET STACK STORES LOADS REGISTERS REST
  printf "ptxas info    : Compiling entry function '%s' for '%s'\n" "$1" "$2"
  printf 'ptxas info    : Function properties for %s\n    %d bytes stack frame, %d bytes spill stores, %d bytes spill loads\n' "$1" "$3" "$4" "$5"
  printf 'ptxas info    : Used %d registers%s\n' "$6" "$7"
}
entry _Z4normI6__halfLi4EEvPT_i sm_80 0 0 0 40 ', used 1 barriers, 376 bytes cmem[0]' >"$t/cuda/norm.ptxas"
entry _Z4normI6__halfLi4EEvPT_i sm_90a 16 0 0 42 ', used 1 barriers, 16 bytes cumulative stack size, 512 bytes smem' >>"$t/cuda/norm.ptxas"
expect 0 '^norm.cu +norm<__half, 4> +sm_80 +40 +0 +0 +0 +0$' '^norm.cu +norm<__half, 4> +sm_90a +42 +512 +16 +0 +0$' \
  '^1 kernels, 2 compilations, 0 with spills$'
entry _Z3mlpPfi sm_86 8 4 12 255 '' >"$t/cuda/mlp.ptxas"
expect 1 '^mlp.cu +mlp +sm_86 +255 +0 +8 +4 +12$' '^2 kernels, 3 compilations, 1 with spills$' 'mlp.cu: mlp\(float\*, int\) for sm_86 spills 4 bytes out, 12 in'
: >"$t/cuda/mlp.ptxas"
: >"$t/cuda/norm.ptxas"
expect 1 'name no kernel'
