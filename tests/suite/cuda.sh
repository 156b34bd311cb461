#!/bin/bash
# What LCT_CUDA means: this build looked for nvcc by itself; ON without nvcc is an error (that OFF gives a complete program is shown by
# asan.sh, which runs the tests of one). Where nvcc was found, the programs for a GPU are built and linked; they run where one is
# (scripts/gpu-check.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
if cmake -S . -B "$t/on" -G Ninja -DLCT_CUDA=ON -DLCT_NVCC= -DLCT_TESTS=OFF >"$t/log" 2>&1; then
  echo "LCT_CUDA=ON without nvcc is not refused"
  exit 1
fi
grep -A 2 'LCT_CUDA=ON, but no nvcc' "$t/log"
cmake -S . -B "$t/auto" -G Ninja -DLCT_NVCC= -DLCT_TESTS=OFF | grep -x -- '-- CUDA: no nvcc: building the complete CPU program'

if nvcc=$(sed -n 's/^LCT_NVCC:FILEPATH=//p' build/CMakeCache.txt) && [ -x "$nvcc" ]; then
  cmake --build build -j "$(nproc)" --target gpu_programs | tail -n 1
  build/llmct-gpu --version | grep 'CUDA [0-9]'
else
  echo "skipped: no nvcc here: the CUDA kernels are compiled for the host shim alone, no spill table, no programs for a GPU"
fi
