# For the CLI tests: runs the program, on the CPU unless a test says otherwise, compares exactly. Sourced. LCT_CLI is the program, LCT_SOURCE_DIR the source tree.
# Exit code 77: nothing here could be tested; the reason is printed as "SKIP: ...".
set -uo pipefail
export LC_ALL=C LCT_DEVICE=cpu
failures=0
t=$(mktemp -d)
t=$(cd "$t" && pwd -P)
at_exit=:
trap 'eval "$at_exit"; rm -rf "$t"' EXIT
cd "$t" || exit 1

# run ARGS...: code, out and err (files) of one run.
run() {
  code=0
  "$LCT_CLI" "$@" >"$t/out" 2>"$t/err" </dev/null || code=$?
  ran=$*
}

fail() {
  printf 'FAIL: %s\n' "$*"
  failures=$((failures + 1))
}

same() { # same WHAT EXPECTED-TEXT FILE
  [ "$(cat "$3")" = "$2" ] && return
  fail "llmct-gpu $ran: $1 is not what it must be"
  diff <(printf '%s\n' "$2") "$3" | head -n 20
}

# expect CODE OUT ERR: of the last run, exactly (a last newline aside).
expect() {
  [ "$code" = "$1" ] || fail "llmct-gpu $ran: exit code $code, expected $1"
  same "standard output" "$2" "$t/out"
  same "standard error" "$3" "$t/err"
}

# refused CODE MESSAGE: nothing on standard output, one error line.
refused() { expect "$1" "" "llmct-gpu: error: $2"; }

done_well() { [ "$code" = 0 ] || { fail "llmct-gpu $ran: exit code $code, expected 0"; cat "$t/err"; }; }

# Three messages and two references, quick on a tiny model.
scenario() {
  cat <<END
name: ${1:-talk}
model: {id: nowhere/at-all}
prompt:
  messages:
    - {role: system, content: "You are kind."}
    - {role: user, content: "What a lovely morning!"}
    - {role: assistant, content: "It is."}
    - {role: user, content: "And now it rains."}
generation: {max_new_tokens: ${2:-4}}
capture: {attention_weights: true, qkv: true, mlp: true, logits: true}
reference_states:
  - {label: joy, messages: [{role: user, content: "I could dance."}]}
  - {label: fear, messages: [{role: user, content: "Something is at the door."}]}
END
}

synth() { # synth SHAPE: a model in $t/SHAPE
  [ -d "$t/$1" ] && return
  "$LCT_CLI" synth --like "$1" --seed 1 "$t/$1" >/dev/null || { echo "FAIL: synth --like $1"; exit 1; }
}

state_of() { sed -n 's/^  "state": "\([a-z]*\)",$/\1/p' "$1/scan.json"; }

# small_disk FOLDER KIB: a file system of that size, else a visible skip of the whole test.
small_disk() {
  mkdir -p "$1"
  mount -t tmpfs -o "size=${2}k" llmct-test "$1" 2>/dev/null || { echo "SKIP: cannot mount a small tmpfs here (needs root)"; exit 77; }
  at_exit="umount '$1'"
}

finish() {
  [ "$failures" = 0 ] && exit 0
  echo "$failures failures"
  exit 1
}
