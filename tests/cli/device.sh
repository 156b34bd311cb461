#!/bin/bash
# --device and --precision: what is refused and how, what is recorded; devices.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
scenario >s.yaml
unset LCT_DEVICE

for device in gpu CPU cuda:-1 cuda:x cuda: cuda:1x cuda:99999 "cpu " ""; do
  for command in "scan s.yaml -m tiny-qwen2 -o runs" "bench tiny-qwen2"; do
    # shellcheck disable=SC2086
    run $command --device "$device"
    refused 2 "device: expected auto, cpu, cuda or cuda:N, found \"$device\""
  done
done
LCT_DEVICE=tpu run scan s.yaml -m tiny-qwen2 -o runs
refused 2 "LCT_DEVICE: expected auto, cpu, cuda or cuda:N, found \"tpu\""
f16='precision f16 runs on a GPU only; the CPU computes in exact (default), or fast, which is bf16'
for command in "scan s.yaml -m tiny-qwen2 -o runs" "bench tiny-qwen2"; do
  # shellcheck disable=SC2086
  run $command --device cpu --precision f16
  refused 1 "$f16"
done
[ ! -e runs ] || fail "a refused device left a run directory"

# what was used is recorded, in the terminal, in scan.json and in run.json
for precision in auto:exact exact:exact fast:fast bf16:fast; do
  asked=${precision%:*} used=${precision#*:}
  run scan s.yaml -m tiny-qwen2 -o "runs-$asked" --device cpu --precision "$asked"
  done_well
  grep -q "^device         cpu (.*), $used\$" out || fail "--precision $asked: $(cat out)"
  dir=$(echo "runs-$asked"/talk_*)
  grep -qx "  \"precision\": \"$used\"," "$dir/scan.json" && grep -qx '    "device": "cpu",' "$dir/scan.json" || fail "scan.json: $(cat "$dir/scan.json")"
  grep -q "\"precision\": \"$used\"" "$dir/prompt_0/run.json" && grep -q '"device": "cpu"' "$dir/prompt_0/run.json" || fail "run.json of --precision $asked"
  for word in weights out_of_memory error; do ! grep -q "^  \"$word\"" "$dir/scan.json" || fail "scan.json has $word"; done
done
cmp -s runs-auto/*/prompt_0/scores.json runs-exact/*/prompt_0/scores.json || fail "auto is not exact on the CPU"
cmp -s runs-bf16/*/prompt_0/scores.json runs-fast/*/prompt_0/scores.json || fail "bf16 is not fast on the CPU"
LCT_DEVICE=cpu run scan s.yaml -m tiny-qwen2 -o runs-env --json
done_well
grep -q '"device": "cpu", "device_name": "[^"]*", "precision": "exact", ' out && grep -q '"batch_rows_shrunk_to": 0}$' out || fail "--json: $(cat out)"
run bench tiny-qwen2 --device cpu --precision bf16 --tokens 8 --decode 2 --repeats 1
done_well
[ "$(grep -c '^{"what": "[a-z]*", "device": "cpu", "precision": "fast", ' out)" = 2 ] || fail "bench: $(cat out)"

run devices --json
done_well
if command -v python3 >/dev/null; then
  python3 - out <<'END' || fail "devices --json: $(cat out)"
import json, sys
d = json.load(open(sys.argv[1]))
assert set(d["cpu"]) == {"name", "threads", "backend"} and d["cpu"]["threads"] > 0, d
usable = [g["device"] for g in d["gpus"] if g["usable"]]
assert d["auto"] == (usable + ["cpu"])[0], d
assert ("no_gpu" in d) == (not d["gpus"]), d
END
else
  echo "SKIP: no python3 to parse the JSON with"
fi
run devices
done_well
grep -qE '^cpu      (auto|    )  .+: [0-9]+ threads?, (base|avx2|avx512) kernels(, AMX for bf16)?, oneDNN [0-9.]+$' out || fail "devices: $(cat out)"

if ! grep -q '^no GPU can be used: ' out; then
  run scan s.yaml -m tiny-qwen2 -o runs --device cuda --precision exact
  refused 1 "precision exact: float32 throughout runs on the CPU only: --device cpu; a GPU computes in f16 (default) or bf16"
  run scan s.yaml -m tiny-qwen2 -o runs --device cuda:9999
  [ "$code" = 1 ] && grep -q '^llmct-gpu: error: cuda:9999 cannot be used: there ' err || fail "cuda:9999: exit code $code, $(cat err)"
  finish
fi
reason=$(sed -n 's/^no GPU can be used: //p' out)
case $("$LCT_CLI" --version) in
*"no CUDA)") [ "$reason" = "this build of llmct-gpu has no CUDA: build it where nvcc is (cmake -DLCT_CUDA=ON says what is missing)" ] || fail "devices: $reason" ;;
*) [ "$reason" = "no NVIDIA driver on this machine" ] || [ "$reason" = "no NVIDIA GPU on this machine" ] || fail "devices: $reason" ;;
esac
[ "$(wc -l <out)" = 2 ] && grep -q '^cpu      auto  ' out || fail "devices: $(cat out)"
for device in cuda cuda:0 cuda:7; do
  number=${device#cuda}
  run scan s.yaml -m tiny-qwen2 -o runs --device "$device"
  refused 1 "cuda:${number:1}$([ -n "$number" ] || echo 0) cannot be used: $reason"
done
LCT_DEVICE=cuda:1 run bench tiny-qwen2
refused 1 "cuda:1 cannot be used: $reason"
run scan s.yaml -m tiny-qwen2 -o runs --precision f16
refused 1 "$f16"
[ ! -e runs ] || fail "a refused device left a run directory"
run scan s.yaml -m tiny-qwen2 -o runs
done_well
grep -q '^device         cpu (.*), exact$' out || fail "auto without a GPU: $(cat out)"
finish
