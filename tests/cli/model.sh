#!/bin/bash
# Models that cannot be loaded, and prompts that do not fit one.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
scenario >s.yaml
export HF_HOME=$t/hub
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE XDG_CACHE_HOME

scan() { run scan s.yaml -o runs -q "$@"; }

scan -m ./nowhere
refused 1 "no such model folder or file: ./nowhere"
scan -m /nowhere/at/all
refused 1 "no such model folder or file: /nowhere/at/all"
scan -m ""
refused 2 "the model's name is empty: expected a folder, a .gguf file or a Hub id like ORG/NAME"
scan
refused 1 "nowhere/at-all is neither a folder nor a file here, nor in the local cache $t/hub/hub: download it with: hf download nowhere/at-all"
mkdir empty
scan -m empty
refused 1 "empty is not a model folder: neither config.json nor a .gguf file in it"
scan -m tiny-qwen2 --chat-template mistral
[ "$code" = 2 ] || [ "$code" = 1 ] || fail "an unknown chat template: exit code $code"
grep -q 'mistral' err || fail "an unknown chat template: $(cat err)"

# the context is what the configuration says
cp -r tiny-qwen2 short
sed -i 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 64/' short/config.json
scan -m short
[ "$code" = 1 ] || fail "a prompt longer than the context: exit code $code"
grep -Eqx 'llmct-gpu: error: prompt_0 \(4 messages\) is [0-9]+ tokens long(; with 4 new tokens that is)?,? longer than the model.s context of 64' err ||
  fail "a prompt longer than the context: $(cat err)"

# weights cut anywhere: an error with the file's name, never a run
mkdir cut
cp tiny-qwen2/*.json cut/
size=$(stat -c %s tiny-qwen2/model.safetensors)
header=$((8 + $(od -An -tu8 -N8 tiny-qwen2/model.safetensors)))
for n in 0 7 8 9 $((header - 1)) "$header" $((header + 1)) $((size / 2)) $((size - 1)); do
  head -c "$n" tiny-qwen2/model.safetensors >cut/model.safetensors
  scan -m cut
  [ "$code" = 1 ] && [ ! -s out ] && [ "$(wc -l <err)" -le 2 ] && grep -q '^llmct-gpu: error: .*cut/model.safetensors' err ||
    fail "safetensors cut at $n of $size: exit code $code, $(cat err)"
done
head -c 7 tiny-qwen2/model.safetensors >cut/model.safetensors
scan -m cut
refused 1 "cut/model.safetensors: truncated: expected a header length of 8 bytes, found 7 bytes"
{ printf '\0\0\0\0\0\0\0\200'; tail -c +9 tiny-qwen2/model.safetensors; } >cut/model.safetensors
scan -m cut
refused 1 "cut/model.safetensors: header length at byte 0: expected at most 100000000, found 9223372036854775808"

gguf=$LCT_SOURCE_DIR/tests/goldens/gguf/tiny_qwen2.gguf
size=$(stat -c %s "$gguf")
for n in 0 3 4 8 16 24 $((size / 3)) $((size / 2)) $((size - 1)); do
  head -c "$n" "$gguf" >cut.gguf
  scan -m cut.gguf
  [ "$code" = 1 ] && [ ! -s out ] && grep -q '^llmct-gpu: error: cut.gguf' err || fail "GGUF cut at $n of $size: exit code $code, $(cat err)"
done
[ ! -e runs ] || fail "a refused model left a run directory"

for command in "inspect ./nowhere" "tokenize ./nowhere text" "bench ./nowhere"; do
  # shellcheck disable=SC2086
  run $command
  [ "$code" = 1 ] && [ ! -s out ] && grep -q '^llmct-gpu: error: .*\./nowhere' err || fail "$command: exit code $code, $(cat err)"
done
run report ./nowhere
[ "$code" = 1 ] && [ ! -s out ] && grep -q '^llmct-gpu: error: .*\./nowhere' err || fail "report ./nowhere: exit code $code, $(cat err)"
finish
