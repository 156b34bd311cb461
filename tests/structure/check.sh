#!/bin/bash
# check.sh RULE [ROOT [BUILD]]: one rule of the project's structure over the source tree; prints every breach as FILE:LINE: what.
#   includes  which folder of src/ may include which
#   calls     which folder of src/ may call which, and circles of calls within a folder, by the symbols of the objects in BUILD
#   circles   headers that include each other
#   names     a file's name once in src/
#   sizes     at most 500 lines a file, 60 a function
#   structs   at most 25 members a struct
#   casts     from one enum to another only beside a _Static_assert
#   words     no notes to ourselves in the code
set -euo pipefail
rule=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${2:-$here/../..}"
build=${3:-build}

# The way of the data, one direction: a folder includes its own headers and those of folders before it. The writers (score, store)
# stand before capture, which feeds its rows to them; src/cpu fills the table of src/engine/ops.h.
order="base model text scenario plan engine cpu score store archive capture subject run analysis report fingerprint rescore scan sweep api"

# Not every folder is there in every tree.
sources() { { find "$@" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null || true; } | sort; }
texts() {
  sources src include cuda tests bench
  { find scripts cmake tests bench -type f \( -name '*.sh' -o -name '*.py' -o -name '*.cmake' -o -name CMakeLists.txt \) 2>/dev/null || true; } | sort
}

check_includes() {
  sources src | xargs -r awk -v order="$order" '
    BEGIN { n = split(order, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
    function breach(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
    FNR == 1 {
      split(FILENAME, part, "/"); own = part[2]
      if (own != "cli" && !(own in rank)) breach("folder src/" own " has no place in the order: " order)
    }
    /^[ \t]*#[ \t]*include/ && /cuda|cublas|nccl|\.cuh/ { breach("src/ includes nothing of CUDA: " $0) }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
      split($0, quoted, "\""); split(quoted[2], part, "/"); from = part[1]
      if (from == own || quoted[2] == "llmct/llmct.h" || (quoted[2] == "llmct/status.h" && own != "cli")) next
      if (own == "cli") breach("src/cli includes only its own headers and llmct/llmct.h: " quoted[2])
      else if (!(from in rank)) breach("not a path from src/ or include/: " quoted[2])
      else if (rank[from] > rank[own]) breach("src/" own " comes before src/" from ": " quoted[2])
    }'
}

# A function begins at a line in column 0 that ends in "{" and ends at a lone "}" in column 0. A table of constants inside is not counted.
check_sizes() {
  texts | xargs -r awk '
    function breach(line, what) { printf "%s:%d: %s\n", FILENAME, line, what }
    FNR == 1 { begin = 0 }
    FNR == 501 { breach(FNR, "a file has at most 500 lines") }
    FILENAME !~ /\.(c|h|cu|cuh)$/ { next }
    /^[A-Za-z_].*\{$/ { begin = FNR; data = table = 0 }
    /^ .* = \{$/ && !table { table = FNR }
    /^ *};$/ && table { data += FNR - table + 1; table = 0 }
    /^}/ {
      lines = FNR - begin + 1 - data
      if ($0 == "}" && begin > 0 && lines > 60) breach(begin, "a function has at most 60 lines, this one has " lines)
      begin = 0
    }'
}

check_words() {
  texts | grep -v '^tests/structure/' | xargs -r grep -nHwE 'TODO|FIXME|XXX|HACK' || true
}

case $rule in
includes) found=$(check_includes) ;;
sizes) found=$(check_sizes) ;;
words) found=$(check_words) ;;
circles | names | structs | casts) found=$(python3 "$here/source_rules.py" "$rule" .) ;;
calls)
  command -v nm >/dev/null || { echo "skipped: no nm here to read the objects' symbols with"; exit 77; }
  found=$(python3 "$here/objects.py" . "$build" "$order")
  ;;
*) echo "unknown rule $rule" >&2; exit 2 ;;
esac
[ -z "$found" ] && exit 0
printf '%s\n' "$found"
exit 1
