#!/bin/bash
# What ptxas says of every kernel and target, as a table: registers, static shared memory, stack, spills. Exit code 1 when a kernel
# spills, 77 (ctest: skipped) when the build has no CUDA. bench/results/ptxas.txt is its output.
# Usage: scripts/ptxas.sh BUILD_DIR
set -euo pipefail
[ $# = 1 ] && [ -d "$1" ] || { echo "usage: scripts/ptxas.sh BUILD_DIR" >&2; exit 2; }
shopt -s nullglob
logs=("$1"/cuda/*.ptxas)
if [ ${#logs[@]} = 0 ]; then
  echo "skipped: no ptxas logs in $1/cuda: a build without nvcc"
  exit 77
fi

# target, registers, shared, stack, stores, loads, mangled name, file
parse() {
  awk '
    function number(line, unit) { return match(line, "[0-9]+ " unit) ? substr(line, RSTART, RLENGTH) + 0 : 0 }
    FNR == 1 { file = FILENAME; sub(/.*\//, "", file); sub(/\.ptxas$/, ".cu", file) }
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; target = part[4]; stack = stores = loads = 0 }
    /bytes stack frame/ && name != "" {
      stack = number($0, "bytes stack frame"); stores = number($0, "bytes spill stores"); loads = number($0, "bytes spill loads")
    }
    /Used [0-9]+ registers/ && name != "" {
      match($0, /Used [0-9]+/)
      print target, substr($0, RSTART + 5, RLENGTH - 5), number($0, "bytes smem"), stack, stores, loads, name, file
      name = ""
    }' "${logs[@]}"
}

# A demangled kernel without its result type, namespace and parameters: attention_kernel<__half, 64>
short() {
  c++filt | sed -E 's/\(anonymous namespace\):://g; s/\(([a-z ]+)\)([0-9]+)/\2/g; s/^void //; s/\(.*\)( [^ ]+\.cu)$/\1/; s/ ([^ ]+\.cu)$/|\1/'
}

rows=$(parse)
[ -n "$rows" ] || { echo "the ptxas logs in $1/cuda name no kernel: was it built with -Xptxas -v?" >&2; exit 1; }
names=$(cut -d' ' -f7- <<<"$rows" | short)
{
  echo "file|kernel|target|registers|shared|stack|spill stores|spill loads"
  paste -d'|' <(cut -d' ' -f1-6 <<<"$rows" | tr ' ' '|') - <<<"$names" |
    awk -F'|' -v OFS='|' '{ print $8, $7, $1, $2, $3, $4, $5, $6 }' | LC_ALL=C sort -t'|' -k1,1 -k2,2 -k3,3
} | awk -F'|' '
  { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
  END {
    for (r = 1; r <= NR; r++) {
      line = ""
      for (i = 1; i <= NF; i++) line = line sprintf(i <= 3 ? "%-*s  " : "%*s  ", width[i], cell[r, i])
      sub(/ +$/, "", line); print line
    }
  }'
echo
awk '{ n++; seen[$7] = 1; if ($5 + $6 > 0) bad[$7 " " $1] = 1 }
  END { printf "%d kernels, %d compilations, %d with spills\n", length(seen), n, length(bad) }' <<<"$rows"
spilled=$(awk '$5 + $6 > 0 { print $8 ": " $7 " for " $1 " spills " $5 " bytes out, " $6 " in" }' <<<"$rows" | c++filt)
[ -z "$spilled" ] || { printf '%s\n' "$spilled" >&2; exit 1; }
