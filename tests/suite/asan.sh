#!/bin/bash
# The suite again under AddressSanitizer and UndefinedBehaviorSanitizer; its lines are marked, they are not this run's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset asan -DLCT_SUITE=OFF >/dev/null
cmake --build --preset asan -j "$(nproc)" | tail -n 1
ctest --preset asan -LE structure -j "$(nproc)" 2>&1 | sed 's/^/asan: /'
