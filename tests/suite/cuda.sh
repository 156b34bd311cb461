#!/bin/bash
# What LCT_CUDA means: this build looked for nvcc by itself; OFF gives a complete program; ON without nvcc is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=build-nocuda
cmake -S . -B $build -G Ninja -DLCT_CUDA=OFF -DLCT_TESTS=OFF | grep -x -- '-- CUDA: switched off: building the complete CPU program'
cmake --build $build -j "$(nproc)" | tail -n 1
$build/llmct-gpu --version | grep 'no CUDA'

t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
if cmake -S . -B "$t" -G Ninja -DLCT_CUDA=ON -DLCT_NVCC= -DLCT_TESTS=OFF >"$t/log" 2>&1; then
  echo "LCT_CUDA=ON without nvcc is not refused"
  exit 1
fi
grep -A 2 'LCT_CUDA=ON, but no nvcc' "$t/log"
