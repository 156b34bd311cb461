# For the tests of the sweep: conversations, fingerprints, comparison of stores. Sourced after lib.sh.

# talks N FILE: N conversations, the same every time: 1 to 9 messages, every fifth with a system message, labels; the lines 7, 20 and 33
# (where there are so many) are a bad one, an id again and an empty message.
talks() {
  awk -v n="$1" 'BEGIN {
    split("river,stone,lamp,quiet,morning,bread,letter,window,train,garden,storm,winter,music,door,harbour,silver", word, ",")
    x = 12345
    for (i = 1; i <= n; i++) {
      if (i == 7) { print "{\"id\": \"broken\", \"messages\": ["; continue }
      if (i == 20) { print "{\"id\": \"talk-3\", \"messages\": [{\"role\": \"user\", \"content\": \"Again.\"}]}"; continue }
      if (i == 33) { print "{\"id\": \"talk-33\", \"messages\": [{\"role\": \"user\", \"content\": \" \"}]}"; continue }
      printf "{\"id\": \"talk-%d\", \"messages\": [", i
      if (i % 5 == 0) printf "{\"role\": \"system\", \"content\": \"You are kind.\"}, "
      m = i % 9 + 1
      for (j = 1; j <= m; j++) {
        printf "%s{\"role\": \"%s\", \"content\": \"", (j > 1 ? ", " : ""), (j % 2 ? "user" : "assistant")
        w = (i * 7 + j * 3) % 25 + 3
        for (k = 1; k <= w; k++) { x = (x * 1103 + 12347) % 65536; printf "%s%s", (k > 1 ? " " : ""), word[x % 16 + 1] }
        printf ".\", \"label\": \"%s\"}", (j % 3 ? "neutral" : "joy")
      }
      print "]}"
    }
  }' >"$2"
}

# fingerprints MODEL FILE
fingerprints() {
  scenario >references.yaml
  "$LCT_CLI" fingerprint references.yaml -m "$1" -o "$2" -q || { echo "FAIL: llmct-gpu fingerprint"; exit 1; }
}

state_of_sweep() { sed -n 's/^ "state": "\([a-z]*\)",$/\1/p' "$1/sweep.json"; }

# same_store WHAT REFERENCE OUT: byte for byte, nothing more and nothing less.
same_store() {
  local name different
  different=$(diff -rq "$2/data.zarr" "$3/data.zarr" 2>&1 | head -n 5)
  [ -z "$different" ] || fail "$1: data.zarr is not the uninterrupted sweep's: $different"
  for name in messages.jsonl errors.jsonl; do
    cmp -s "$2/$name" "$3/$name" || fail "$1: $name is not the uninterrupted sweep's: $(cmp "$2/$name" "$3/$name" 2>&1)"
  done
  [ "$(state_of_sweep "$3")" = done ] || fail "$1: state $(state_of_sweep "$3")"
  [ -z "$(find "$3" -name '*.tmp*' -o -name '*.partial')" ] || fail "$1: left $(find "$3" -name '*.tmp*' -o -name '*.partial')"
}
