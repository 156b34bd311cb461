#!/bin/bash
# Scenarios that cannot be run: one line each, exit code 1, nothing written.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2

head="name: n
model: {id: x}"
bad() { # bad MESSAGE: standard input is the scenario
  cat >s.yaml
  run scan s.yaml -m tiny-qwen2 -o runs -q
  refused 1 "s.yaml:$1"
}

run scan nowhere.yaml -m tiny-qwen2 -o runs -q
refused 1 "cannot open nowhere.yaml: No such file or directory"
mkdir folder
run scan folder -m tiny-qwen2 -o runs -q
refused 1 "cannot read folder: Is a directory"
bad "1:1: top level: expected a mapping with name, model and prompt, found an empty document" </dev/null
bad "1:1: top level: expected a mapping, found \"hello\"" <<<"hello"
bad "3:28: prompt[0].messages[0].role: expected \"system\" or \"user\" or \"assistant\", found \"robot\"" <<END
$head
prompt: {messages: [{role: robot, content: hi}]}
END
bad "3:20: prompt[0].messages: expected a list of at least one message, found an empty list" <<END
$head
prompt: {messages: []}
END
bad "3:9: prompt[0]: expected the key \"messages\", found none" <<END
$head
prompt: {}
END
bad "5:13: reference_states[0].label: expected non-empty text without whitespace or slashes, found \"a/b\"" <<END
$head
prompt: {messages: [{role: user, content: hi}]}
reference_states:
  - {label: a/b, messages: [{role: user, content: hi}]}
END
bad "1:7: name: expected non-empty text without whitespace or slashes, found \"../up\"" <<END
name: ../up
model: {id: x}
prompt: {messages: [{role: user, content: hi}]}
END
bad "4:1: top level: unknown key, expected one of name, model, prompt, generation, capture, output, reference_states, found \"captures\"" <<END
$head
prompt: {messages: [{role: user, content: hi}]}
captures: {}
END

cat >s.yaml <<END
$head
prompt: {messages: [{role: user, content: hi}]}
capture: {layers: [0, 4]}
END
run scan s.yaml -m tiny-qwen2 -o runs -q
refused 2 "s.yaml: capture.layers: layer 4 out of range: the model has layers 0 to 3"

[ ! -e runs ] || fail "a refused scan left a run directory"
finish
