#!/bin/bash
# The sweep from outside: what is refused and in which words, what is rejected and goes on, what it leaves.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
m=$t/tiny-qwen2

cat >odd.jsonl <<'END'
{"id": "a", "messages": [{"role": "user", "content": "Hello", "label": "joy"}]}
{"id": "a", "messages": [{"role": "user", "content": "Again"}]}
not json

{"id": "b", "messages": [{"role": "user", "content": "   "}]}
{"id": "c", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello there"}]}
{"id": "long", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z"}]}
END

# rejected lines are listed and the sweep goes on
run sweep odd.jsonl -m "$m" -o skip --max-tokens 80 --quiet
expect 3 "" ""
same errors.jsonl '{"file":"odd.jsonl","line":2,"id":"a","reason":"id \"a\" stands already at odd.jsonl:1"}
{"file":"odd.jsonl","line":3,"id":null,"reason":"column 3: JSON: '"'[' or '{'"' expected near '"'not'"'"}
{"file":"odd.jsonl","line":5,"id":"b","reason":"messages[0].content: empty"}
{"file":"odd.jsonl","line":7,"id":"long","reason":"messages[1]: the prompt up to it has 82 tokens, more than 80"}' skip/errors.jsonl
cut -d, -f1-5 skip/messages.jsonl >rows
same messages.jsonl '{"row":0,"id":"a","message":0,"role":"user","label":"joy"
{"row":1,"id":"c","message":0,"role":"user","label":null
{"row":2,"id":"c","message":1,"role":"assistant","label":null' rows
run sweep odd.jsonl -m "$m" -o cut --max-tokens 80 --long truncate --quiet
expect 3 "" ""
tail -n 1 cut/errors.jsonl >line
same errors.jsonl '{"file":"odd.jsonl","line":7,"id":"long","reason":"messages[1]: the prompt up to it has 82 tokens, more than 80; the conversation is cut before it"}' line
[ "$(wc -l <cut/messages.jsonl)" = 4 ] || fail "cut: not four rows"

# what sweep.json and the lines of messages.jsonl say, in order
sed -n 's/^ "\([a-z0-9_]*\)":.*/\1/p' skip/sweep.json | tr '\n' ' ' >keys
same "keys of sweep.json" "format version state llmct_version model template precision device inputs keep store_dtype derive positions sources layers metrics \
fingerprints rows tokens_stored conversations rejected truncated arrays tokens seconds raw_bytes stored_bytes store_error saturated utf8_replaced machine " keys
echo '{"id": "two", "messages": [{"role": "user", "content": "Hello", "labels": ["joy", "rain"]}, {"role": "assistant", "content": "Hi", "labels": ["joy"]}]}' >two.jsonl
run sweep two.jsonl -m "$m" -o two --keep tokens --quiet
expect 0 "" ""
sed 's/[0-9][0-9]*/N/g; s/"hash":"[0-9a-fN]*"/"hash":"H"/' two/messages.jsonl >rows
same "lines of messages.jsonl" '{"row":N,"id":"two","message":N,"role":"user","label":"joy","labels":["joy","rain"],"n_tokens":N,"content":[N,N],"tokens":[N,N],"hash":"H"}
{"row":N,"id":"two","message":N,"role":"assistant","label":"joy","n_tokens":N,"content":[N,N],"tokens":[N,N],"hash":"H"}' rows

# standard input and .zst give the same store as the file
run sweep - -m "$m" -o stdin --max-tokens 80 --quiet </dev/null
expect 0 "" ""
"$LCT_CLI" sweep - -m "$m" -o pipe --max-tokens 80 --quiet <odd.jsonl
diff -rq skip/data.zarr pipe/data.zarr || fail "standard input: another store"

# a store is not written over; a complete one has nothing to resume
run sweep odd.jsonl -m "$m" -o skip --max-tokens 80 --quiet
refused 2 "skip already holds a sweep: --resume goes on with it"
run sweep odd.jsonl -m "$m" -o skip --max-tokens 80 --resume
expect 3 "skip is complete already: 2 conversations, 3 snapshots; 4 rejected, 0 cut short: see errors.jsonl" ""
run sweep odd.jsonl -m "$m" -o skip --max-tokens 80 --resume --json
[ "$code" = 3 ] && grep -q '"state": "done".*"rejected": 4.*"rows": 3, "rows_resumed": 3' out || fail "a complete sweep as JSON: $(cat out)"

# wrong usage
run sweep
expect 2 "" "llmct-gpu sweep: missing argument; usage: CONVERSATIONS.jsonl... -m MODEL -o DIR [options]
try: llmct-gpu sweep --help"
run sweep odd.jsonl -o x -q
refused 2 "a sweep needs a model"
run sweep odd.jsonl -m "$m" -q
refused 2 "a sweep needs a directory to write to"
run sweep nowhere.jsonl -m "$m" -o x -q
refused 1 "cannot open nowhere.jsonl: No such file or directory"
run sweep odd.jsonl -m "$m" -o x -q --memory 4Q
expect 2 "" "llmct-gpu sweep: --memory wants a size such as 4G, not 4Q
try: llmct-gpu sweep --help"
run sweep odd.jsonl -m "$m" -o x -q --keep scores
refused 2 "--keep scores keeps nothing without --fingerprints"
run sweep odd.jsonl -m "$m" -o x -q --metrics cosine
refused 2 "--metrics needs --fingerprints"
run sweep odd.jsonl -m "$m" -o x -q --sources hidden_out,attn_weights
refused 2 '--sources: expected some of hidden_in, hidden_out, q, k, v, attn_out, mlp_gate, mlp_up, mlp_act, mlp_down_in, mlp_down_out, found "attn_weights"'
run sweep odd.jsonl -m "$m" -o x -q --sources q,q
refused 2 '--sources: "q" stands twice'
run sweep odd.jsonl -m "$m" -o x -q --positions last,range:1
refused 2 '--positions: expected last, content_last, content_mean, message:ROLE (system, user, assistant) or range:FROM:TO, found "range:1"'
run sweep odd.jsonl -m "$m" -o x -q --layers 0,7
refused 2 '--layers: expected layers 0 to 3 such as 0-11,23, found "7"'
run sweep odd.jsonl -m "$m" -o x -q --derive residual
refused 2 "--derive residual gives the same bits only where what is added is stored as it is added: here that is --store-dtype f32"
run sweep odd.jsonl -m "$m" -o x -q --derive residual --store-dtype f32
refused 2 "--derive residual: the mean at position content_mean cannot be derived bit for bit; give --positions last,content_last"
[ ! -e x ] || fail "a refused sweep left a directory"

# an empty file is no failure, but it is said
: >empty.jsonl
run sweep empty.jsonl -m "$m" -o empty
[ "$code" = 0 ] || fail "empty: exit code $code"
grep -q "^warning        there was no conversation in the input$" out || fail "empty: no warning"

# the bare forward pass writes nothing
run sweep odd.jsonl -m "$m" --max-tokens 80 --keep nothing --json
[ "$code" = 3 ] || fail "nothing: exit code $code"
grep -q '"keep": "nothing", "conversations": 2, "rejected": 4, "truncated": 0, "rows": 3,' out || fail "nothing: $(cat out)"
finish
