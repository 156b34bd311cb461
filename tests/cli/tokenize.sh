#!/bin/bash
# tokenize: an argument and standard input give the same lines.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2

run tokenize tiny-qwen2 "<|im_start|>user"
done_well
cp out argument
printf '<|im_start|>user' | "$LCT_CLI" tokenize tiny-qwen2 >stdin || fail "tokenize from standard input"
cmp -s argument stdin || fail "standard input gives other tokens than an argument"
[ "$(wc -l <argument)" -ge 2 ] || fail "tokenize: $(cat argument)"
head -n 1 argument | grep -Fq '<|im_start|>' || fail "the special token is not one token: $(cat argument)"
run tokenize tiny-qwen2 ""
expect 0 "" ""
run tokenize tiny-qwen2 a b
expect 2 "" "llmct-gpu tokenize: one argument too many: b
try: llmct-gpu tokenize --help"
finish
