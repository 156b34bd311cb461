#!/bin/bash
# Puts C and CUDA sources into the style of .clang-format; --check changes nothing and names what is not in it. Versions of clang-format do not
# agree with one another: the style is what version 14 makes of .clang-format, and another one checks nothing.
# Usage: scripts/format.sh [--check] [FILE...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
version=14
check=no
case ${1:-} in
--check) check=yes; shift ;;
-*) echo "usage: scripts/format.sh [--check] [FILE...]" >&2; exit 2 ;;
esac

tool=""
for name in clang-format-$version clang-format; do
  if have $name && $name --version | grep -q "version $version\."; then
    tool=$name
    break
  fi
done
if [ -z "$tool" ]; then
  found=$(clang-format --version 2>/dev/null || true)
  [ $check = yes ] || die "clang-format $version is needed (scripts/setup.sh --test), found: ${found:-none}"
  echo "skipped: clang-format $version is needed to check the style, found: ${found:-none}"
  exit 77
fi

# Generated tables keep their generator's lines.
files=("$@")
if [ $# = 0 ]; then
  cd "$root"
  mapfile -t files < <(find src include cuda tests bench -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) \
    ! -name '*_tables.c' | sort)
fi
if [ $check = no ]; then
  exec "$tool" -i "${files[@]}"
fi
found=$("$tool" --dry-run "${files[@]}" 2>&1 | sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: warning: code should be clang-formatted.*/\1/p' | sort | uniq -c)
[ -z "$found" ] && exit 0
awk '{ print $2 ": " $1 " places are not in the style: scripts/format.sh " $2 }' <<<"$found"
exit 1
