#!/bin/bash
# All tests through one ctest run: set-up, the release build with its unit, CLI, structure and install tests, and as further tests of
# it the builds without CUDA, with asan and ubsan, with tsan, and the fuzz targets. The output ends with what was skipped and ctest's summary.
# Usage: scripts/test.sh [ctest options, e.g. -R cli]
#        scripts/test.sh --quick [ctest options]: the inner loop: the preset dev alone, no set-up, no other builds, no tests labelled slow
#        (-L slow runs those)
# LCT_FUZZ_SECONDS: seconds a fuzz target (5). Test data is kept in the user's cache folder; LCT_SMOLLM2_GGUF, LCT_TOKENIZER_QWEN25,
# LCT_TOKENIZER_QWEN3 and LCT_SHARED may name it elsewhere.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$root/scripts/lib/fetch.sh"
cd "$root"
quick=no
if [ "${1:-}" = --quick ]; then
  quick=yes
  shift
fi
[ $quick = yes ] || bash scripts/setup.sh --test

# provide VARIABLE PATH FETCH: what cannot be had is left unset, and the tests that need it skip and say so; --quick takes what is there
provide() {
  [ -z "${!1:-}" ] || return 0
  if [ $quick = yes ]; then
    [ ! -e "$2" ] || export "$1=$2"
  elif "$3"; then export "$1=$2"; else warn "$fetch_error; the tests that need $1 are skipped"; fi
}
provide LCT_SMOLLM2_GGUF "$smollm2_gguf" fetch_smollm2
provide LCT_TOKENIZER_QWEN25 "$tokenizer_qwen25" fetch_tokenizer_qwen25
provide LCT_TOKENIZER_QWEN3 "$tokenizer_qwen3" fetch_tokenizer_qwen3
if [ -z "${LCT_SHARED:-}" ] && [ -d ../shared ]; then
  LCT_SHARED=$(cd ../shared && pwd)
  export LCT_SHARED
fi

code=0
if [ $quick = yes ]; then
  build=build-dev
  [ -f $build/build.ninja ] || configure dev
  build dev >build-dev/build.log 2>&1 || { grep -v '^\[' build-dev/build.log | tail -n 80 >&2; die "the build failed"; }
  left_out=()
  [[ " $* " == *slow* ]] || left_out=(-LE '^slow$')
else
  build=build
  say "building into build/"
  configure release -DLCT_TESTS=ON -DLCT_SUITE=ON
  build release
  left_out=()
  say "testing; the other builds are tests too and take some minutes each"
fi
log=$build/Testing/Temporary/LastTest.log
out=$build/test-output.log
rm -f build-asan/Testing/Temporary/LastTest.log
ctest --test-dir $build --output-on-failure --no-tests=error -j "$(nproc)" "${left_out[@]}" "$@" 2>&1 | tee "$out" |
  sed -u '/^[0-9]*% tests passed/,$d' || code=${PIPESTATUS[0]}

# skips LOG PREFIX: the reasons that tests printed for what they skipped.
skips() {
  [ ! -f "$1" ] || awk -v prefix="$2" '
    /^[0-9]+\/[0-9]+ Test: / { program = $3 }
    sub(/^(SKIP: |skipped: |\[  NOTE    \] skipped: )/, "") && !seen[program, $0]++ { print "   " prefix program ": " $0 }' "$1"
}
skipped=$(skips $log ""; [ $quick = yes ] || skips build-asan/Testing/Temporary/LastTest.log "asan: ")
say "skipped inside the tests: $(grep -c . <<<"$skipped")"
[ -z "$skipped" ] || printf '%s\n' "$skipped"
if [ ${#left_out[@]} != 0 ]; then
  n=$(ctest --test-dir $build -N -L '^slow$' "$@" | sed -n 's/^Total Tests: //p')
  say "left to scripts/test.sh: $n tests labelled slow, the installed library, the other builds (asan, tsan, without CUDA), fuzz targets"
fi
sed -n '/^[0-9]*% tests passed/,$p' "$out"
exit "$code"
