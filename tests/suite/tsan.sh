#!/bin/bash
# The threads of the sweep and of the store's writer under ThreadSanitizer. libgomp is not instrumented, so OpenMP has one thread here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset tsan -DLCT_SUITE=OFF -DLCT_CUDA=OFF >/dev/null
cmake --build --preset tsan -j "$(nproc)" --target test_sweep test_zarr_write | tail -n 1
export OMP_NUM_THREADS=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1
for test in test_zarr_write test_sweep; do build-tsan/tests/$test 2>&1 | sed 's/^/tsan: /'; done
