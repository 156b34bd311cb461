#!/bin/bash
# Scores made afterwards from stored float32 vectors are the sweep's own, to the last bit.
. "$(dirname "$0")/lib.sh"
synth tiny-qwen2
for i in $(seq 1 30); do
  printf '{"id":"c%d","messages":[{"role":"system","content":"You are kind."},{"role":"user","content":"Morning number %d!","label":"joy"},{"role":"assistant","content":"It is."}]}\n' "$i" "$i"
done >talks.jsonl
{
  printf '{"messages":[{"role":"user","content":"I could dance.","label":"joy"}]}\n'
  printf '{"messages":[{"role":"user","content":"Something is at the door.","label":"fear"}]}\n'
} >refs.jsonl
for i in $(seq 1 8); do printf '{"messages":[{"role":"user","content":"The table has %d legs."}]}\n' "$i"; done >neutral.jsonl
run fingerprint refs.jsonl -m tiny-qwen2 -o f.safetensors --sources hidden_in,hidden_out --neutral neutral.jsonl -q
done_well
metrics=cosine,mae,jaccard,centered,standardized,z,projection,contrast:projection,contrast:cosine
common=(-m tiny-qwen2 -f f.safetensors --store-dtype f32 --positions last,content_last --metrics $metrics -q)
run sweep talks.jsonl -o plain --sources hidden_in,hidden_out "${common[@]}"
done_well
run sweep talks.jsonl -o derived --sources hidden_in,hidden_out,attn_out,mlp_down_out --derive residual "${common[@]}"
done_well
for sweep in plain derived; do
  run score $sweep -f f.safetensors --metrics $metrics
  done_well
  [[ $(cat out) == "$sweep/scores/f.zarr: 90 rows, 25920 scores in "* ]] || fail "score: $(cat out)"
  run export $sweep -o own.csv --to csv --what scores -q
  done_well
  run export $sweep -o again.csv --to csv --scores f -q
  done_well
  cmp -s own.csv again.csv || fail "$sweep: scores made afterwards differ from the sweep's own"
  [ "$(wc -l <own.csv)" = $((90 * 2 * 2 * 4 * 2 + 1)) ] || fail "own.csv has $(wc -l <own.csv) lines"
  run verify $sweep -q
  expect 0 "" ""
done

# a part of it, by the sweep's own mean and deviation
run score plain -f f.safetensors -n own --calibrate sweep --metrics cosine,centered --sources hidden_out --positions last --layers 1-2 -q
expect 0 "" ""
run export plain -o own.npz --scores own
expect 0 "own.npz: 90 rows, 720 values" ""
# contrasts: a score less its mean over the references, here two, whether it stands beside or not
run score plain -f f.safetensors -n contrast --metrics contrast:cosine,contrast:z -q
expect 0 "" ""
run score plain -f f.safetensors -n contrast_own --calibrate sweep --metrics contrast:cosine,contrast:centered,contrast:standardized -q
expect 0 "" ""
run export plain -o contrast.csv --to csv --scores contrast -q
done_well
awk -F, '
  FNR == 1 { if ($10 == "contrast:cosine" && $11 == "contrast:z") heads = 1; next }
  FILENAME == "own.csv" { cosine[FNR] = $10; want[FNR] = $18; next }
  $10 != want[FNR] { differ++ }
  FNR % 2 == 0 { first = $10; next }
  { d = cosine[FNR - 1] - cosine[FNR]; if (first + $10 > 1e-7 || first + $10 < -1e-7 || first - $10 - d > 1e-6 || first - $10 - d < -1e-6) bad++; n++ }
  END { exit !(heads && n == 90 * 2 * 2 * 4 && !bad && !differ) }' own.csv contrast.csv || fail "contrasts: $(head -3 contrast.csv)"

printf '\1' | dd of=plain/scores/own.zarr/scores/c/0/0/0/0/0/0 bs=1 seek=3 conv=notrunc 2>/dev/null
run verify plain -q
[ "$code" = 1 ] && [[ $(cat out) == "own.zarr/scores: shard 0 (plain/scores/own.zarr/scores/c/0/0/0/0/0/0), chunk [0, 0, 0, 0, 0, 0], rows 0-89: CRC-32C is "* ]] ||
  fail "verify of scores: $(cat out)"

run score plain -f f.safetensors
refused 2 "plain/scores/f.zarr is there already: --name another"
run score plain -f f.safetensors -n x/y
refused 2 "\"x/y\" cannot name scores: expected a file's name"
run score plain -f f.safetensors -n x --calibrate sweep --metrics z
refused 2 "--calibrate sweep gives mean and deviation alone: z needs the fingerprints' neutral bank"
run score plain -f f.safetensors -n x --calibrate sweep --metrics contrast:cosine,contrast:projection
refused 2 "--calibrate sweep gives mean and deviation alone: contrast:projection needs the fingerprints' neutral bank"
run score plain -f f.safetensors -n x --metrics contrast:whitened
refused 2 'metric "contrast:whitened" needs fingerprints made with --whiten'
run score plain -f f.safetensors -n x --metrics contrast:jaccard
refused 2 '--metrics: "contrast:jaccard" is no metric'
run score plain -f f.safetensors -n x --metrics whitened
refused 2 'metric "whitened" needs fingerprints made with --whiten'
run score plain -f f.safetensors -n x --metrics best
refused 2 '--metrics: "best" is no metric'
run score plain -f f.safetensors -n x --sources q
refused 2 '--sources: expected some of hidden_in, hidden_out, found "q"'
run score plain
expect 2 "" "llmct-gpu score: needs -f FILE
try: llmct-gpu score --help"
[ -z "$(ls -d plain/scores/*.tmp 2>/dev/null)" ] || fail "a temporary folder stands"
finish
