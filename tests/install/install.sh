#!/bin/bash
# install.sh shared|static|symbols|cxx: cmake --install into a temporary prefix, then what a user would do with it.
# LCT_BUILD_DIR is the build, CC its compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
cmake --install "$LCT_BUILD_DIR" --prefix "$t/prefix" >"$t/log" || { cat "$t/log"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$t/prefix" -name llmct.pc)")
export PKG_CONFIG_PATH
lib=$(dirname "$PKG_CONFIG_PATH")
headers=$(cd "$t/prefix" && find . -type f -name '*.h' | sort | xargs)
[ "$headers" = "./include/llmct/llmct.h ./include/llmct/status.h" ] || { echo "not just the public headers are installed: $headers"; exit 1; }

# use FLAG...: compiles and runs the program with what pkg-config says
use() {
  # shellcheck disable=SC2046
  "$CC" -std=c17 -Wall -Wextra -Werror -pedantic "$here/program.c" -o "$t/program" $(pkg-config "$@" --cflags --libs llmct)
  [ "$(LD_LIBRARY_PATH=$lib "$t/program" "$t/model")" = "no such model folder or file: ./nowhere" ]
}

case $1 in
shared)
  use
  ldd "$t/program" | grep -q libllmct || LD_LIBRARY_PATH=$lib ldd "$t/program" | grep -q "$lib/libllmct"
  "$t/prefix/bin/llmct-gpu" --version
  ;;
static)
  rm "$lib"/libllmct.so* # the linker would take it
  use --static
  ;;
symbols) # the shared library gives exactly what the header declares
  nm -D --defined-only "$lib/libllmct.so" | awk '$2 ~ /[TDBRV]/ {print $3}' | sort >"$t/exported"
  sed -n 's/^LCT_API .*[ *]\(lct_[a-z_]*\)(.*/\1/p' "$here/../../include/llmct/llmct.h" | sort >"$t/declared"
  [ -s "$t/declared" ] && diff "$t/declared" "$t/exported"
  ;;
cxx)
  for CXX in g++ clang++ clang++-{14..21}; do command -v "$CXX" >/dev/null && break; done
  command -v "$CXX" >/dev/null || { echo "SKIP: no C++ compiler to include the header with"; exit 77; }
  printf '#include <llmct/llmct.h>\nint main() { return lct_version() == nullptr; }\n' >"$t/program.cpp"
  # shellcheck disable=SC2046
  "$CXX" -std=c++11 -Wall -Wextra -Werror -pedantic "$t/program.cpp" -o "$t/program" $(pkg-config --cflags --libs llmct)
  LD_LIBRARY_PATH=$lib "$t/program"
  ;;
esac
