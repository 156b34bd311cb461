#!/bin/bash
# api.sh shared|static: programs against the installed library. What they observe is a sweep's, to the last bit; their reply is a scan's; two models
# live side by side; the program in docs/api.md is compiled and run as it stands there.
# LCT_BUILD_DIR is the build, CC its compiler, LCT_SANITIZE its sanitizers.
kind=$1
. "$LCT_SOURCE_DIR/tests/cli/lib.sh"
here=$LCT_SOURCE_DIR/tests/api
cmake --install "$LCT_BUILD_DIR" --prefix "$t/prefix" >log || { cat log; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$t/prefix" -name llmct.pc)")
export PKG_CONFIG_PATH
lib=$(dirname "$PKG_CONFIG_PATH")
flags=(-O1 -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -pedantic -fopenmp)
static=
if [ "$kind" = static ]; then
  rm -f "$lib"/libllmct.so* # the linker would take it
  static=--static
fi
[ -z "$LCT_SANITIZE" ] || flags+=("-fsanitize=$LCT_SANITIZE" -fno-sanitize-recover=all)
export LD_LIBRARY_PATH=$lib

compile() { # compile PROGRAM SOURCE
  # shellcheck disable=SC2046
  "$CC" "${flags[@]}" -I"$here" "$2" -o "$1" $(pkg-config $static --cflags --libs llmct) -lm || { echo "FAIL: $2 does not compile"; exit 1; }
}
for name in observe reply threads; do compile $name "$here/$name.c"; done

synth tiny-qwen2
synth tiny-llama
cat >refs.jsonl <<'END'
{"messages":[{"role":"user","content":"I could dance.","label":"joy"}]}
{"messages":[{"role":"user","content":"Something is at the door.","label":"fear"}]}
END
for i in $(seq 1 40); do # for z: of two roles and two lengths
  printf '{"messages":[{"role":"user","content":"The table has %d legs."}]}\n' "$i"
  printf '{"messages":[{"role":"user","content":"Hm %d"}]}\n' "$i"
  printf '{"messages":[{"role":"user","content":"Hm"},{"role":"assistant","content":"The chair has %d legs."}]}\n' "$i"
done >neutral.jsonl
run fingerprint refs.jsonl -m tiny-qwen2 -o f.safetensors --sources hidden_in,hidden_out --neutral neutral.jsonl -q
done_well

# 200 snapshots: conversations of one to four messages, some with what they share; as JSON for the sweep and plain for the program
awk 'BEGIN {
  for (i = 1; i <= 80; i++) {
    n = 0
    if (i % 3) { role[++n] = "system"; text[n] = i % 2 ? "You are kind." : "Answer \"briefly\"." }
    role[++n] = "user"; text[n] = "Morning number " i ", na\303\257ve \360\237\231\202 caf\303\251!"
    if (i % 4) { role[++n] = "assistant"; text[n] = "It is " i * i "." }
    if (i % 12 == 1) { role[++n] = "user"; text[n] = "  And  now \"it\" rains?" }
    line = ""
    for (k = 1; k <= n; k++) {
      printf "%s\t%s\n", role[k], text[k] >"talks.txt"
      json = text[k]; gsub(/"/, "\\\"", json)
      line = line (k > 1 ? "," : "") "{\"role\":\"" role[k] "\",\"content\":\"" json "\"}"
    }
    print "" >"talks.txt"
    printf "{\"id\":\"c%d\",\"messages\":[%s]}\n", i, line >"talks.jsonl"
  }
}'
metrics=cosine,mae,jaccard,centered,standardized,z,projection,contrast:cosine
run sweep talks.jsonl -m tiny-qwen2 -f f.safetensors -o swept --store-dtype f32 --sources hidden_in,hidden_out --metrics $metrics -q
done_well
run export swept -o swept-scores.csv --to csv --what scores -q
done_well
run export swept -o swept-vectors.csv --to csv -q
done_well
snapshots=$(($(wc -l <swept/messages.jsonl)))
[ "$snapshots" -ge 200 ] || fail "only $snapshots snapshots"
tail -n +2 swept-scores.csv | cut -d, -f1,6- >want-scores
tail -n +2 swept-vectors.csv | cut -d, -f1,6- | sort >want-vectors # the export goes source by source, the program row by row
copies() { rm -rf again* && cp -r tiny-qwen2 again && cp f.safetensors again.safetensors; }
copies
./observe again again.safetensors talks.txt $metrics scores.csv vectors.csv >told || fail "observe"
[ "$(cat told)" = "$snapshots snapshots" ] || fail "observe says $(cat told), the sweep has $snapshots"
cmp -s scores.csv want-scores || { fail "observed scores are not the sweep's"; diff scores.csv want-scores | head -n 6; }
sort vectors.csv >vectors
cmp -s vectors want-vectors || { fail "observed vectors are not the sweep's"; diff vectors want-vectors | cut -c1-100 | head -n 6; }

# a scan's scores and its reply, the most probable and a drawn one
scenario talk 24 >s.yaml
scenario drawn 200 | sed 's/^generation: {/&do_sample: true, temperature: 1.5, seed: 7, /' >drawn.yaml
printf 'system\tYou are kind.\nuser\tWhat a lovely morning!\nassistant\tIt is.\nuser\tAnd now it rains.\n\n' >talk.txt
run scan s.yaml -m tiny-qwen2 -f f.safetensors --metrics $metrics -o runs --keep scores --threads 1 --no-report -q
done_well
run scan drawn.yaml -m tiny-qwen2 -o runs --keep scores --threads 1 --no-report -q
done_well
copies
./observe again again.safetensors talk.txt $metrics scores.csv vectors.csv >told || fail "observe"
tail -n +2 runs/talk_*/prompt_0/fingerprint_scores.csv | grep -v ^4, | cut -d, -f1,3- >want-scores # snapshot 4 has the reply
[ -s want-scores ] && cmp -s scores.csv want-scores || { fail "observed scores are not the scan's"; diff scores.csv want-scores | head -n 6; }
./reply tiny-qwen2 f.safetensors talk.txt 24 0 >told-talk || fail "reply"
./reply tiny-qwen2 f.safetensors talk.txt 200 7 >told-drawn || fail "a drawn reply"
for name in talk drawn; do
  if command -v python3 >/dev/null; then
    python3 - runs/${name}_*/prompt_0/steps.json told-$name <<'END' || fail "the $name reply is not the scan's: $(cat told-$name)"
import json, sys
sys.exit(json.load(open(sys.argv[1]))["generated_text"] != open(sys.argv[2], newline="", encoding="utf-8").read())
END
  else
    echo "skipped: no python3 to compare a reply with a scan's steps.json"
  fi
done

./threads tiny-qwen2 tiny-llama >told || fail "threads"
[ "$(cat told)" = "as alone" ] || fail "threads says $(cat told)"

# the manual's program, as it stands there
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$LCT_SOURCE_DIR/docs/api.md" >manual.c
lines=$(($(wc -l <manual.c)))
[ "$lines" -gt 0 ] && [ "$lines" -le 40 ] || fail "the program of docs/api.md has $lines lines, not 1 to 40"
compile manual manual.c
./manual tiny-qwen2 f.safetensors "What a lovely morning!" >told || fail "the program of docs/api.md"
grep -q '^joy ' told && grep -q '^fear ' told && grep -q '^reply:' told || fail "the program of docs/api.md says $(cat told)"
finish
