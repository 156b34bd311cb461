#!/bin/bash
# The command fingerprint, what inspect shows of its files, and the words for what cannot be.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
scenario >s.yaml
cat >refs.jsonl <<'END'
{"id": "a", "messages": [{"role": "user", "content": "I could dance.", "label": "joy"}]}
{"id": "b", "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "What joy!", "label": "joy"}, {"role": "user", "content": "Well."}]}
{"id": "c", "label": "fear/awe 100%", "messages": [{"role": "user", "content": "Something is at the door."}]}
{"id": "d", "messages": [{"role": "user", "content": "The shop opens at nine.", "label": "neutral"}]}
{"id": "e", "messages": [{"role": "user", "content": "It is a box.", "label": "neutral"}]}
{"id": "f", "messages": [{"role": "user", "content": "There are ten chairs.", "label": "neutral"}]}
END
cp refs.jsonl bad.jsonl
cat >>bad.jsonl <<'END'
{"id": "g", "messages": [{"role": "user", "content": "No label here."}]}
{"id": "a", "messages": [{"role": "user", "content": "Again.", "label": "joy"}]}
not JSON
{"id": "h", "messages": [{"role": "user", "content": " ", "label": "joy"}]}
END

make() { run fingerprint "$@" -m tiny-qwen2; }

make s.yaml -o s.safetensors --quiet
expect 0 "" ""
make refs.jsonl -o f.safetensors --neutral-label neutral --quiet
expect 0 "" ""
make refs.jsonl -o f2.safetensors --neutral-label neutral --quiet --threads 2
cmp f.safetensors f2.safetensors || fail "the number of threads changes a file"
# what stands behind the last labelled message is no part of the prompt
sed 's/, {"role": "user", "content": "Well."}//' refs.jsonl >cut.jsonl
cmp -s refs.jsonl cut.jsonl && fail "the test cuts nothing"
make cut.jsonl -o cut.safetensors --neutral-label neutral --quiet
cmp f.safetensors cut.safetensors || fail "messages behind the last label change a file"

make refs.jsonl -o w.safetensors --neutral-label neutral --pcs 2 --whiten --poolings content_mean --sources attn_out,hidden_in --threads 1
done_well
grep -qx 'fingerprints   w.safetensors' out && grep -qx 'labels         2, of 3 prompts; 4 layers' out &&
  grep -qx 'neutral bank   3 prompts, 2 principal components, whitening' out || fail "the summary: $(cat out)"
make refs.jsonl -o w2.safetensors --json
done_well
grep -Eqx '\{"output": "w2.safetensors", "device": "cpu", .*"labels": 3, "prompts": 6, "rejected": 0, "neutral": 0, .*\}' out || fail "--json: $(cat out)"

# lines that are left out
make bad.jsonl -o bad.safetensors --neutral-label neutral --quiet
expect 3 "" "llmct-gpu: left out: bad.jsonl:7: no label
llmct-gpu: left out: bad.jsonl:8: id \"a\" stands already at bad.jsonl:1
$(sed -n 3p err)
$(sed -n 4p err)"
sed -n 3p err | grep -q '^llmct-gpu: left out: bad.jsonl:9: ' && sed -n 4p err | grep -q '^llmct-gpu: left out: bad.jsonl:10: ' || fail "lines left out: $(cat err)"
cmp f.safetensors bad.safetensors || fail "lines left out change the rest"

# inspect
run inspect s.safetensors
done_well
same "inspect of a scenario's file" "s.safetensors (fingerprints)
$(sed -n 2,3p out)
precision      exact
poolings       last, content_last, content_mean
sources        hidden_out
neutral bank   none: only cosine, mae and jaccard can be scored
$(sed -n 8p out)
joy: 1 prompt
fear: 1 prompt" out
sed -n 2p out | grep -Eq '^model          tiny-qwen2, 4 layers, hidden 128, hash [0-9a-f]{12}$' || fail "inspect: $(sed -n 2p out)"
[ "$(sed -n 's/^hash           //p' out)" = "$(sha256sum s.safetensors | cut -d' ' -f1)" ] || fail "inspect: the file's hash"
run inspect w.safetensors
done_well
grep -Eqx 'neutral bank   3 prompts; 2 principal components, [0-9.]+ % of the variance; whitening, mean shrinkage [0-9.]+' out || fail "inspect: $(cat out)"
grep -qx 'joy: 2 prompts; cosine between halves' out && grep -qx 'fear/awe 100%: 1 prompt' out || fail "inspect: $(cat out)"
grep -Eqx '  content_mean  attn_out      mean [ -][0-9.]+  least [ -][0-9.]+ at layer [0-3]' out || fail "inspect: $(cat out)"
run inspect w.safetensors --json
done_well
if command -v python3 >/dev/null; then
  python3 - <<'END' || fail "inspect --json: $(cat out)"
import json
f = json.load(open("out"))
assert f["format"] == "llmct-fingerprints" and f["n_layers"] == 4 and f["hidden"] == 128
assert f["poolings"] == ["content_mean"] and f["sources"] == ["attn_out", "hidden_in"]
assert [(x["label"], x["prompts"]) for x in f["labels"]] == [("joy", 2), ("fear/awe 100%", 1)]
assert f["labels"][1]["split_half"]["content_mean"]["attn_out"] is None
assert -1 <= f["labels"][0]["split_half"]["content_mean"]["attn_out"]["least"] <= f["labels"][0]["split_half"]["content_mean"]["attn_out"]["mean"] <= 1
assert f["neutral"]["prompts"] == 3 and f["neutral"]["pcs"] == 2 and f["neutral"]["whiten"] is True and 0 <= f["neutral"]["shrinkage"] <= 1
END
fi
run inspect tiny-qwen2/model.safetensors
refused 1 'tiny-qwen2/model.safetensors: metadata format: expected "llmct-fingerprints": a file of `llmct-gpu fingerprint`, found pt'

# what cannot be
rm -f no.safetensors
make refs.jsonl
refused 2 "the fingerprints need an output file"
run fingerprint refs.jsonl -o no.safetensors
refused 2 "the fingerprints need a model: --model MODEL"
run fingerprint s.yaml -o no.safetensors
[ "$code" = 1 ] && grep -q 'nowhere/at-all' err || fail "the scenario's model: $(cat err)"
make refs.jsonl -o nowhere/f.safetensors
refused 1 "cannot create nowhere/f.safetensors: No such file or directory"
make refs.jsonl -o no.safetensors --poolings last,first
refused 2 '--poolings: expected last, content_last, content_mean, message:ROLE (system, user, assistant) or range:FROM:TO, found "first"'
make refs.jsonl -o no.safetensors --sources hidden_out,hidden_out
refused 2 '--sources: "hidden_out" stands twice'
make refs.jsonl -o no.safetensors --sources q
refused 2 '--sources: expected a list of hidden_in, hidden_out, attn_out, mlp_down_out, found "q"'
make refs.jsonl -o no.safetensors --whiten
refused 2 "--whiten needs a neutral bank: --neutral FILE or --neutral-label NAME"
make refs.jsonl -o no.safetensors --pcs 3
refused 2 "--pcs needs a neutral bank: --neutral FILE or --neutral-label NAME"
make refs.jsonl -o no.safetensors --neutral-label neutral --pcs 129 -q
refused 2 "--pcs: expected at most the model's hidden size 128, found 129"
make refs.jsonl -o no.safetensors --neutral-label nobody -q
refused 2 'a neutral bank needs at least two prompts, found 0 in refs.jsonl of label "nobody"'
head -n 1 refs.jsonl >one.jsonl
make refs.jsonl -o no.safetensors --neutral one.jsonl -q
refused 2 "a neutral bank needs at least two prompts, found 1 in one.jsonl"
tail -n 3 refs.jsonl >neutral.jsonl
make neutral.jsonl -o no.safetensors --neutral-label neutral -q
refused 2 "neutral.jsonl has no labelled prompt but neutral ones"
make nothing.jsonl -o no.safetensors -q
refused 1 "cannot open nothing.jsonl: No such file or directory"
sed '/reference_states/,$d' s.yaml >plain.yaml
make plain.yaml -o no.safetensors -q
refused 2 "plain.yaml has no reference_states"
[ ! -e no.safetensors ] || fail "a refused command wrote a file"
find . -name '*.tmp' | grep . && fail "temporary files are left"

# compressed input, and standard input
if command -v zstd >/dev/null; then
  zstd -q refs.jsonl
  make refs.jsonl.zst -o z.safetensors --neutral-label neutral --quiet
  cmp f.safetensors z.safetensors || fail "compressed input makes another file"
fi
"$LCT_CLI" fingerprint - -m tiny-qwen2 -o in.safetensors --neutral-label neutral --quiet <refs.jsonl || fail "standard input"
cmp f.safetensors in.safetensors || fail "standard input makes another file"
finish
