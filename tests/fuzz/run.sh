#!/bin/sh
# Runs every fuzz target for SECONDS on its seeds, building first if need be; fails on any finding.
#   tests/fuzz/run.sh SECONDS BUILD_DIR [NAME...]    (LCT_FUZZ_BUILT=1: they are built, so that several may run at a time)
#   tests/fuzz/run.sh build BUILD_DIR                builds alone
# Packages: clang, its compiler-rt (libclang-rt-NN-dev) and OpenMP (libomp-NN-dev). CC names another clang.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: $0 SECONDS|build BUILD_DIR [NAME...]" >&2
  exit 2
fi
seconds=$1
build=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${CC:-}" ]; then
  for CC in clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14; do
    if command -v "$CC" >/dev/null; then break; fi
  done
fi
if [ -z "${LCT_FUZZ_BUILT:-}" ] && [ ! -f "$build/build.ninja" ]; then
  cmake -S "$here/../.." -B "$build" -G Ninja -DCMAKE_C_COMPILER="$CC" -DLCT_FUZZ=ON -DLCT_WERROR=OFF >/dev/null
fi
[ -n "${LCT_FUZZ_BUILT:-}" ] || cmake --build "$build" --target fuzz -- -j2 | tail -1
[ "$seconds" != build ] || exit 0

if [ $# -eq 0 ]; then
  for src in "$here"/fuzz_*.c; do
    name=$(basename "$src" .c)
    set -- "$@" "${name#fuzz_}"
  done
fi
failed=""
for name in "$@"; do
  found=$build/fuzz/$name # new inputs and artifacts stay out of the source tree
  mkdir -p "$found/corpus"
  dict=""
  if [ -f "$here/$name.dict" ]; then dict="-dict=$here/$name.dict"; fi
  if "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -verbosity=1 $dict -artifact_prefix="$found/" \
    "$found/corpus" "$here/corpus/$name" >"$found/log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found/log")
    echo "$name: no finding in $seconds s, $runs inputs, coverage $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$found/log" | tail -1)"
  else
    failed="$failed $name"
    echo "$name: FINDING, see $found/log"
    tail -25 "$found/log"
  fi
done
if [ -n "$failed" ]; then
  echo "findings in:$failed" >&2
  exit 1
fi
