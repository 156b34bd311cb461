#!/bin/bash
# synth: same seed, same bytes; what it refuses, it leaves alone.
. "$(dirname "$0")/lib.sh"

run synth --list
expect 0 "qwen2.5-0.5b
qwen2.5-1.5b
qwen2.5-3b
qwen2.5-7b
qwen3-0.6b
qwen3-1.7b
qwen3-4b
qwen3-8b
smollm2-135m
smollm2-360m
llama3.2-1b
tiny-qwen2
tiny-qwen3
tiny-llama" ""
run synth --like tiny-llama --seed 7 a
expect 0 "a" ""
run synth --seed=7 --like=tiny-llama deep/er/b/
expect 0 "deep/er/b/" ""
diff -r a deep/er/b >/dev/null || fail "the same seed gave other bytes"
run synth --like tiny-llama --seed 8 c
done_well
cmp -s a/model.safetensors c/model.safetensors && fail "another seed gave the same bytes"

run synth --like tiny-llama a
refused 2 "a already exists and is not empty: expected a new folder"
run synth --like gpt2 d
refused 2 "no model shape \"gpt2\": expected a config.json or one of qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-3b, qwen2.5-7b, qwen3-0.6b, qwen3-1.7b, qwen3-4b, qwen3-8b, smollm2-135m, smollm2-360m, llama3.2-1b, tiny-qwen2, tiny-qwen3, tiny-llama"
run synth --like tiny-llama --dtype int4 d
refused 2 "dtype: expected bfloat16, float16 or float32, found \"int4\""
: >file
run synth --like tiny-llama file/d
refused 1 "cannot create directory file: File exists"
[ -z "$(find . -name '*.partial.*' -o -name d)" ] || fail "a refused synth left something: $(find . -name '*.partial.*' -o -name d)"

# a config.json as the shape
run synth --like a/config.json --seed 7 e
done_well
cmp -s a/model.safetensors e/model.safetensors || fail "the shape of a config.json gave other weights"
finish
