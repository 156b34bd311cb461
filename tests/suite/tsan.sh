#!/bin/bash
# The pool, the store's writer and the sweep under ThreadSanitizer, with 2 threads. oneDNN is not instrumented, but it starts none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset tsan -DLCT_SUITE=OFF -DLCT_CUDA=OFF >/dev/null
cmake --build --preset tsan -j "$(nproc)" --target test_threads test_sweep test_zarr_write | tail -n 1
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1
for test in test_threads test_zarr_write test_sweep; do build-tsan/tests/$test 2>&1 | sed 's/^/tsan: /'; done
