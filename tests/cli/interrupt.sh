#!/bin/bash
# Ctrl-C: the program ends soon, with exit code 1, and what it captured is a valid run marked as partial.
. "$(dirname "$0")/lib.sh"
synth smollm2-135m
{ scenario long 2000; } >s.yaml

# interrupted PHASE SIGNAL: sends the signal once the progress says PHASE
interrupted() {
  local phase=$1 code=0 pid
  ran="scan, interrupted in $phase"
  # a background job of a script has SIGINT ignored; the program's own handler does not depend on that
  "$LCT_CLI" scan s.yaml -m smollm2-135m -o "runs-$phase" --keep "$3" >out 2>err </dev/null &
  pid=$!
  for _ in $(seq 600); do
    grep -q "^$phase" err && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
  done
  kill -s "$2" $pid || fail "$phase: the scan was over before it could be interrupted"
  wait $pid || code=$?
  [ "$code" = 1 ] || fail "$phase: exit code $code, expected 1"
  local dir
  dir=$(echo runs-"$phase"/long_*)
  grep -qx "llmct-gpu: what was captured is in $dir, marked as partial" err || fail "$phase: $(cat err)"
  [ "$(state_of "$dir")" = partial ] || fail "$phase: state $(state_of "$dir")"
  [ -z "$(find "$dir" -name '*.tmp*')" ] || fail "$phase: left $(find "$dir" -name '*.tmp*')"
  command -v python3 >/dev/null || { echo "SKIP: no python3 to read the partial run with"; return; }
  for json in "$dir"/*.json "$dir"/*/*.json "$dir"/*/*/*.json; do
    python3 -m json.tool <"$json" >/dev/null || fail "$phase: $json is not JSON"
  done
  for npz in $(find "$dir" -name '*.npz'); do python3 -m zipfile -t "$npz" >/dev/null || fail "$phase: $npz is damaged"; done
}
interrupted prefill INT tokens
interrupted decode TERM pooled
finish
