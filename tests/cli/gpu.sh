#!/bin/bash
# Scans on a GPU beside the same scans on the CPU. Runs on a real one; and, as shim.cli, on the host shim of CUDA (LCT_TEST_SHIM=1), where
# memory can be short and launches can fail.
. "$(dirname "$0")/lib.sh"
. "$LCT_SOURCE_DIR/tests/cli/sweep_lib.sh"
unset LCT_DEVICE
command -v python3 >/dev/null || { echo "SKIP: no python3 to compare runs with"; exit 77; }
gpu=$("$LCT_CLI" devices | sed -n 's/^\(cuda:[0-9]*\) *auto .*/\1/p')
[ -n "$gpu" ] || { echo "SKIP: no GPU can be used: $("$LCT_CLI" devices | sed -n 's/^no GPU can be used: //p')"; exit 77; }
compare="python3 $LCT_SOURCE_DIR/tests/cli/compare_runs.py"
scenario talk 6 >s.yaml
sed -i 's/^capture: {/capture: {top_k_probs: 5, /' s.yaml

files_of() { (cd "$1" && find . -type f | sort); }

for shape in tiny-qwen2 tiny-qwen3 tiny-llama; do
  synth $shape
  for keep in scores pooled tokens; do
    [ $shape = tiny-qwen2 ] || [ $keep = tokens ] || continue
    for device in cpu "$gpu"; do
      run scan s.yaml -m $shape -o "$shape-$keep-${device%:*}" --device "$device" --keep $keep --threads 1
      done_well
    done
    grep -qx "device         $gpu (.*), f16" out || fail "the summary does not name $gpu: $(cat out)"
    cpu_run=$(echo $shape-$keep-cpu/talk_*) gpu_run=$(echo $shape-$keep-cuda/talk_*)
    files_of "$gpu_run" >files
    same "list of files on the GPU" "$(files_of "$cpu_run")" files
    [ "$(state_of "$gpu_run")" = done ] || fail "$gpu_run: state $(state_of "$gpu_run")"
    grep -qx '  "precision": "f16",' "$gpu_run/scan.json" && grep -qx "    \"device\": \"$gpu\"," "$gpu_run/scan.json" || fail "$gpu_run/scan.json"
    $compare "$cpu_run" "$gpu_run" || fail "$shape, --keep $keep: the GPU's run is not the CPU's"
  done
done
scores=prompt_0/scores.json
run_of() { echo "$1"/talk_*; }

# what is kept, and which name a precision goes by, changes nothing; bf16 is another type
for keep in pooled tokens; do
  cmp -s "$(run_of tiny-qwen2-scores-cuda)/$scores" "$(run_of tiny-qwen2-$keep-cuda)/$scores" || fail "scores differ with --keep $keep"
done
for precision in fast f16 bf16; do
  run scan s.yaml -m tiny-qwen2 -o "as-$precision" -d cuda --precision $precision --keep scores --no-report --json
  done_well
  grep -q "\"device\": \"cuda:0\", .*, \"precision\": \"${precision/fast/f16}\", " out || fail "--precision $precision: $(cat out)"
done
for precision in fast f16; do cmp -s "as-$precision"/*/$scores "$(run_of tiny-qwen2-scores-cuda)/$scores" || fail "$precision is not f16"; done
cmp -s as-bf16/*/$scores as-f16/*/$scores && fail "bf16 gives the scores of f16"
run bench tiny-qwen2 --device "$gpu" --tokens 20 --decode 3 --repeats 1
done_well
[ "$(grep -c "^{\"what\": \"[a-z]*\", \"device\": \"$gpu\", \"precision\": \"f16\", " out)" = 2 ] || fail "bench: $(cat out)"

# weights that f16 cannot hold: told, and the NaN that follows ends the scan with what was complete
cp -r tiny-qwen2 huge
python3 - huge/model.safetensors <<'END'
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    n = struct.unpack("<Q", f.read(8))[0]
    at = json.loads(f.read(n))["model.layers.1.mlp.down_proj.weight"]["data_offsets"][0]
    f.seek(8 + n + at)
    f.write(struct.pack("<12H", *[0x4974] * 12))  # bf16 999424
END
run scan s.yaml -m huge -o huge-runs --device "$gpu" --no-report
[ "$code" = 1 ] || fail "weights beyond f16: exit code $code"
grep -qx 'warning        12 weights became Inf in f16: use --precision bf16' out || fail "weights beyond f16: $(cat out)"
grep -q '^llmct-gpu: error: not a finite number in layer 1, ' err || fail "weights beyond f16: $(cat err)"
[ "$(state_of huge-runs/*)" = failed ] && grep -A 1 '"weights": {' huge-runs/*/scan.json | grep -q '"overflow": 12,' || fail "$(cat huge-runs/*/scan.json)"
run scan s.yaml -m huge -o huge-runs-bf16 --device "$gpu" --precision bf16 --no-report
done_well
grep -q 'became Inf' out && fail "bf16 holds them: $(cat out)"

# a sweep's pooled vectors are made on the GPU, and on the host where whole tensors come to it: the same bytes
talks 30 talks.jsonl
sweep=(sweep talks.jsonl -m tiny-qwen2 --device cuda --fsync off --store-dtype f32 -q)
for keep in pooled tokens; do
  run "${sweep[@]}" -o "sweep-$keep" --keep $keep
  [ "$code" = 3 ] || fail "sweep --keep $keep: exit code $code, $(cat err)"
done
diff -rq sweep-pooled/data.zarr/pooled sweep-tokens/data.zarr/pooled || fail "a sweep's pooled vectors depend on where they are made"

[ -n "${LCT_TEST_SHIM:-}" ] || finish

export LCT_SHIM_DEVICES=0
run scan s.yaml -m tiny-qwen2 -o none --device cuda
refused 1 "cuda:0 cannot be used: no NVIDIA GPU on this machine"
export LCT_SHIM_DEVICES=2
run scan s.yaml -m tiny-qwen2 -o none --device cuda:2
refused 1 "cuda:2 cannot be used: there are 2 GPUs, cuda:0 to cuda:1"
unset LCT_SHIM_DEVICES
LCT_SHIM_DRIVER=0 run scan s.yaml -m tiny-qwen2 -o none --device cuda
refused 1 "cuda:0 cannot be used: no NVIDIA driver on this machine"
LCT_CUBLASLT=$t/nothing.so run scan s.yaml -m tiny-qwen2 -o none --device cuda
[ "$code" = 1 ] && [ ! -s out ] && grep -q "^llmct-gpu: error: .*$t/nothing.so" err || fail "no cuBLASLt: exit code $code, $(cat err)"
[ ! -e none ] || fail "a refused device left a run directory"

# scan_short ARGS...: tokens are generated and kept, so that every kind of allocation and launch is there
scan_short() { run scan s.yaml -m tiny-qwen2 -o "$@" --device cuda --keep tokens --threads 1; }
whole=$(run_of tiny-qwen2-tokens-cuda)

# the n-th allocation fails once: while loading that is the end, later the scan goes on in smaller batches and leaves the same numbers
shrunk=0 refused=0
for n in 5 40 80 95 110 120; do
  LCT_SHIM_FAIL_ALLOC=$n scan_short "alloc-$n"
  if [ "$code" = 1 ]; then
    grep -q '^llmct-gpu: error: ' err && [ ! -s out ] && [ ! -e "alloc-$n" ] || fail "allocation $n: $(cat out err)"
    refused=$((refused + 1))
  else
    done_well
    cmp -s "$(run_of "alloc-$n")/$scores" "$whole/$scores" || fail "allocation $n: other scores"
    grep -q '^llmct-gpu: out of GPU memory at [0-9]* tokens a batch; going on with [0-9]*$' err || continue
    shrunk=$((shrunk + 1))
    grep -q '"batch_rows_shrunk_to"' "$(run_of "alloc-$n")/scan.json" || fail "allocation $n: not in scan.json"
    diff -rq -x scan.json -x run.json -x report.html "$(run_of "alloc-$n")" "$whole" || fail "allocation $n: other files"
  fi
done
[ $shrunk -gt 0 ] && [ $refused -gt 0 ] || fail "of six failed allocations $refused ended a scan and $shrunk made batches smaller"

# an allocation of a sweep fails: batches become smaller once, and nothing else; where one conversation does not fit it says so, and goes on
# when it is told to
failed=0 shrunk=0
for n in 50 60 70 80 90 100 110; do
  for memory in 1M 64M; do
    dir=sweep-$n-$memory
    LCT_SHIM_FAIL_ALLOC=$n run "${sweep[@]}" -o "$dir" --keep pooled --memory $memory
    if [ "$code" = 3 ] && grep -q '"batch_rows_shrunk_to"' "$dir/sweep.json"; then
      shrunk=$((shrunk + 1))
      same_store "allocation $n" sweep-pooled "$dir"
    fi
    [ "$code" = 1 ] && [ -e "$dir" ] || continue
    grep -Eq '^llmct-gpu: error: a batch of [0-9]+ tokens and keys for [0-9]+ does not fit cuda:0(, after one of [0-9]+ tokens had failed)?(; it is one conversation, which cannot be cut)?: ' err || fail "allocation $n: $(cat err)"
    failed=$((failed + 1))
    run "${sweep[@]}" -o "$dir" --keep pooled --memory $memory --resume
    [ "$code" = 3 ] || fail "allocation $n: --resume: exit code $code, $(cat err)"
    same_store "allocation $n" sweep-pooled "$dir"
  done
done
[ $failed -gt 0 ] && [ $shrunk -gt 0 ] || fail "of fourteen failed allocations $failed ended a sweep and $shrunk made its batches smaller"
LCT_SHIM_FAIL_ALLOC=90 run "${sweep[@]:0:${#sweep[@]}-1}" -o sweep-told --keep pooled --memory 64M # without -q
grep -q 'llmct-gpu: out of GPU memory at [0-9]* tokens a batch; going on with [0-9]*$' err || fail "a sweep does not say that memory was out: $(cat err)"

# the n-th launch fails: everything after it does, and what was complete is there
failed=0
for n in 3 100 300 400 500 600 700 900; do
  LCT_SHIM_FAIL_LAUNCH=$n scan_short "launch-$n"
  [ "$code" = 1 ] || { done_well; continue; }
  grep -q '^llmct-gpu: error: .*CUDA' err || fail "launch $n: $(cat err)"
  [ -e "launch-$n" ] || continue
  failed=$((failed + 1))
  dir=$(run_of "launch-$n")
  [ "$(state_of "$dir")" = failed ] && grep -q '^  "error": ".*CUDA' "$dir/scan.json" || fail "launch $n: $(cat "$dir/scan.json")"
  grep -qx "llmct-gpu: what was captured is in $dir, marked as failed" err || fail "launch $n: $(cat err)"
  [ -z "$(find "$dir" -name '*.tmp*')" ] || fail "launch $n left $(find "$dir" -name '*.tmp*')"
  for npz in $(find "$dir" -name '*.npz'); do python3 -m zipfile -t "$npz" >/dev/null || fail "launch $n: $npz is damaged"; done
done
[ $failed -gt 1 ] || fail "of eight failed launches $failed ended a scan that had begun"
finish
