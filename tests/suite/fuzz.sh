#!/bin/bash
# fuzz.sh [TARGET]: builds the fuzz targets, or runs one for LCT_FUZZ_SECONDS (5) seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for CC in clang clang-{21..14}; do command -v "$CC" >/dev/null && break; done
command -v "$CC" >/dev/null || { echo "SKIP: no clang to build the fuzz targets with"; exit 77; }
export CC
if [ $# = 0 ]; then
  exec sh tests/fuzz/run.sh build build-fuzz
fi
LCT_FUZZ_BUILT=1 exec sh tests/fuzz/run.sh "${LCT_FUZZ_SECONDS:-5}" build-fuzz "$1"
