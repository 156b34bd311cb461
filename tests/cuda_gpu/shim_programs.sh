#!/bin/bash
# shim_programs.sh BENCH_GPU DUMP_TAPS LLMCT_GPU: bench_gpu and dump_taps, built on the host shim, at tiny sizes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib/gpu.sh
bench=$1 dump=$2 llmct=$3
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
fail() { echo "$1"; cat "$t"/*.txt; exit 1; }

"$bench" --like tiny-qwen3 --layers 2 --prompts 3 --tokens 40 --rows 90 --repeats 2 --decode 2 --tap-prompts 2 --cube 64 --copy-mb 1 \
  >"$t/bench.txt" 2>"$t/err.txt" || fail "bench_gpu failed"
python3 scripts/lib/gpu_table.py "$t/bench.txt" >"$t/table.txt" || fail "the table of bench_gpu's lines says fail"
for words in '^  cuBLASLt +[0-9.]+ TFLOP/s' '^  tiny-qwen3 f16 qkv ' '^  tiny-qwen3 f16 taps none ' '^  tiny-qwen3 f16 taps pooled ' \
  '^  tiny-qwen3 f16 batch 16 ' '^time in prefill' '^time in decode' '^  attention ' '^  linear head ' '^  norm '; do
  grep -qE -- "$words" "$t/table.txt" || fail "the table has no: $words"
done
! grep -q unreadable "$t/table.txt" || fail "lines that nothing reads"
"$bench" --like tiny-qwen3 --layers 1 --prompts 1 --tokens 3 --repeats 1 --cube 64 --copy-mb 1 --precision bf16 --decode 0 >"$t/bench.txt" 2>"$t/err.txt" ||
  fail "bench_gpu failed in bf16"
code=0
"$bench" --like no-such-shape --cube 64 --copy-mb 1 --repeats 1 >"$t/bench.txt" 2>"$t/err.txt" || code=$?
[ $code = 1 ] && grep -q 'no model is known as no-such-shape' "$t/err.txt" || fail "an unknown shape is not refused"

"$llmct" synth --like tiny-qwen3 --seed 1 "$t/model" >/dev/null
# group 0: three prompts with a common beginning together; 1, 2, 3: each alone
a="$(seq 1 70)" b="$(seq 1 64) 400 401" c="7"
gpu_ids $a -1 $b -1 $c -1 -2 $a -1 -2 $b -1 -2 $c -1 -2 | "$dump" "$t/model" --device cuda:0 --digest >"$t/digest.txt" 2>"$t/err.txt" ||
  fail "dump_taps failed"
awk '$1 == 0 { want[$2 + 1, $3, $4] = $5; n++ }
  $1 > 0 { if (want[$1, $3, $4] != $5) { print "differs: " $0; bad = 1 } else same++ }
  END { exit bad || n == 0 || same != n }' "$t/digest.txt" || fail "bits of a tap depend on company"
gpu_ids $a | "$dump" "$t/model" --device cuda:0 --greedy 3 >"$t/greedy.bin" 2>"$t/err.txt" || fail "dump_taps --greedy failed"
[ "$(wc -c <"$t/greedy.bin")" = 12 ] || fail "greedy decoding gave other than three ids"
gpu_digest_ids | "$dump" "$t/model" --device cuda:0 --digest >"$t/digest.txt" 2>"$t/err.txt" || fail "dump_taps refuses gpu_digest_ids"
[ "$(cut -d' ' -f1,2 "$t/digest.txt" | sort -u | tr '\n' ' ')" = "0 0 0 1 1 0 " ] || fail "gpu_digest_ids are other prompts"
