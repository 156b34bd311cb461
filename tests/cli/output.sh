#!/bin/bash
# What a scan prints, and where it writes.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
scenario >s.yaml

# --json: one object, nothing else
run scan s.yaml -m tiny-qwen2 -o runs --json
done_well
[ ! -s err ] || fail "--json printed to standard error: $(cat err)"
[ "$(wc -l <out)" = 1 ] || fail "--json printed more than one line"
dir=$(sed -n 's/^{"state": "done", "run_dir": "\([^"]*\)", "report": "[^"]*", .*}$/\1/p' out)
[ -d "$dir" ] || fail "--json: $(cat out)"
if command -v python3 >/dev/null; then
  python3 -m json.tool <out >/dev/null || fail "--json is not JSON"
  for json in "$dir"/*.json "$dir"/*/*.json "$dir"/*/*/*.json; do
    python3 -m json.tool <"$json" >/dev/null || fail "$json is not JSON"
  done
  run inspect tiny-qwen2 --json
  python3 -m json.tool <out >/dev/null || fail "inspect --json is not JSON"
else
  echo "SKIP: no python3 to parse the JSON with"
fi

# the summary names the run and its report; plain progress lines go to standard error
run scan s.yaml -m tiny-qwen2 -o runs
done_well
for line in 'run            runs/talk_[-0-9TZ_]*' 'report         runs/talk_[-0-9TZ_]*/report.html' \
  'captured       5 snapshots, 2 references, 4 layers' \
  'tokens         [0-9]* computed; prefix by prefix it would be [0-9]* ([0-9.]*x)'; do
  grep -qx "$line" out || fail "the summary has no line: $line"
done
grep -qx 'load \.\.\.' err && grep -q '^prefill ' err && grep -q '^write ' err || fail "progress: $(cat err)"

# two scans within one second do not share a folder
"$LCT_CLI" scan s.yaml -m tiny-qwen2 -o twice --keep scores --no-report -q &
"$LCT_CLI" scan s.yaml -m tiny-qwen2 -o twice --keep scores --no-report -q &
wait
run scan s.yaml -m tiny-qwen2 -o twice --keep scores --no-report -q
run scan s.yaml -m tiny-qwen2 -o twice --keep scores --no-report -q
[ "$(find twice -mindepth 1 -maxdepth 1 | wc -l)" = 4 ] || fail "four scans left $(ls twice)"
for d in twice/*; do [ "$(state_of "$d")" = done ] || fail "$d: state $(state_of "$d")"; done

# invalid UTF-8 is replaced, counted and told
printf 'name: bytes\nmodel: {id: x}\nprompt: {messages: [{role: user, content: "a\xff b\xe2\x82 c"}]}\ngeneration: {max_new_tokens: 1}\n' >bytes.yaml
run scan bytes.yaml -m tiny-qwen2 -o bytes --no-report
done_well
grep -qx 'warning        2 invalid UTF-8 sequences in the scenario were replaced' out || fail "invalid UTF-8 is not told: $(cat out)"
grep -q '"utf8_replaced": 2' bytes/*/scan.json || fail "invalid UTF-8 is not counted in scan.json"
grep -q 'a\\uFFFD b\\uFFFD c' bytes/*/scenario.json || fail "scenario.json: $(cat bytes/*/scenario.json)"

# nowhere to write
: >file
run scan s.yaml -m tiny-qwen2 -o file/runs
[ "$code" = 1 ] || fail "an output folder under a file: exit code $code"
grep -qx 'llmct-gpu: error: cannot create directory file: File exists' err || fail "an output folder under a file: $(cat err)"
run scan s.yaml -m tiny-qwen2 -o /proc/nowhere -q
refused 1 "cannot create directory /proc/nowhere: No such file or directory"

if [ -w /dev/full ]; then
  "$LCT_CLI" --help >/dev/full 2>err && fail "a full standard output: exit code 0"
  "$LCT_CLI" inspect tiny-qwen2 >/dev/full 2>err && fail "a full standard output: exit code 0"
  [ "$(cat err)" = "llmct-gpu: error: cannot write to standard output" ] || fail "a full standard output: $(cat err)"
fi
finish
