#!/bin/bash
# The whole suite again under AddressSanitizer and UndefinedBehaviorSanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset asan -DLCT_SUITE=OFF >/dev/null
cmake --build --preset asan -j "$(nproc)" | tail -n 1
exec ctest --preset asan -j "$(nproc)" -V
