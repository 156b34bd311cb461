#!/bin/bash
# A sweep's directory from outside: inspect, verify, ls, cat, export. The directories are those of tests/oracle/gen_archive.py.
. "$(dirname "$0")/lib.sh"
cp -r "$LCT_SOURCE_DIR/tests/goldens/store/archive/." .
tab=$'\t'

run inspect half
expect 0 "half (sweep, done)
model          tiny/model, 3 layers, hidden 16, hash abababababab
chat template  chatml, hash cdcdcdcdcdcd
run            exact on cpu, keep tokens, stored as f16
conversations  4, 1 rejected
rows           10 in every array, 10 in messages.jsonl
tokens         120 computed, 300 prompt by prompt, 26 stored
positions      last, content_mean
sources        hidden_in, hidden_out, attn_out
layers         0,2 of 3
fingerprints   f.safetensors, hash efefefefefef
references     joy, fear
metrics        cosine, mae
  array                      type     shape                chunk                    MB  stored MB  ratio
  scores                     float32  10x1x2x2x2x2         2x1x1x2x2x2           0.001      0.001   0.66
  pooled/residual            float16  10x2x4x16            2x1x1x16              0.003      0.004   0.62
  pooled/attn_out            float16  10x2x2x16            2x1x1x16              0.001      0.002   0.62
  tokens/residual            float16  26x4x16              4x1x16                0.003      0.005   0.73
  tokens/attn_out            float16  26x2x16              4x1x16                0.002      0.002   0.73
  tokens/ids                 int32    26                   8                     0.000      0.000   0.43
  moments/n                  int64    2x3                  1x3                   0.000      0.000   0.49
  moments/residual/mean      float64  2x4x3x16             1x1x3x16              0.003      0.003   1.04
  moments/residual/m2        float64  2x4x3x16             1x1x3x16              0.003      0.003   1.04
  moments/attn_out/mean      float64  2x2x3x16             1x1x3x16              0.002      0.001   1.05
  moments/attn_out/m2        float64  2x2x3x16             1x1x3x16              0.002      0.001   1.05" ""
run inspect derived/
expect 0 "derived (sweep, done)
model          tiny/model, 3 layers, hidden 16, hash abababababab
chat template  chatml, hash cdcdcdcdcdcd
run            exact on cpu, keep tokens, stored as f32, residual stream derived
conversations  4, 1 rejected
rows           10 in every array, 10 in messages.jsonl
tokens         120 computed, 300 prompt by prompt, 26 stored
positions      last
sources        hidden_in, hidden_out, attn_out, mlp_down_out
layers         0-1 of 3
fingerprints   none
$(sed -n '/^  array /,$p' out)" ""
run inspect interrupted --json
done_well
grep -q '"state": "interrupted"' out && grep -q '"rows": 8' out && grep -q '"messages": 10' out && grep -q '"stored_bytes": 808' out || fail "inspect --json"

# verify
for sweep in half derived int8 bf16; do
  run verify $sweep -q
  expect 0 "" ""
done
run verify half
expect 0 "half: 11 arrays, 26 shards, 23148 bytes, 10 rows: no faults" ""
run verify interrupted
expect 0 "interrupted: 1 arrays, 2 shards, 808 bytes, 8 rows (the sweep is not done): no faults" ""
cp -r half bad
rm bad/data.zarr/scores/c/1/0/0/0/0/0
printf '\377' | dd of=bad/data.zarr/pooled/residual/c/1/0/0/0 bs=1 seek=9 conv=notrunc 2>/dev/null
truncate -s -1 bad/data.zarr/tokens/ids/c/3
run verify bad
expect 1 "scores: shard 1 (bad/data.zarr/scores/c/1/0/0/0/0/0), rows 4 on: missing, the journal says it has 376 bytes
pooled/residual: shard 1 (bad/data.zarr/pooled/residual/c/1/0/0/0), chunk [0, 0, 0, 0], rows 4-5: $(grep -o 'CRC-32C is [0-9a-f]*, expected [0-9a-f]*$' out | head -1)
tokens/ids: shard 3 (bad/data.zarr/tokens/ids/c/3), rows 24 on: 47 bytes, the journal says 48
tokens/ids: shard 3 (bad/data.zarr/tokens/ids/c/3): $(grep -o "the index's CRC-32C is .*" out)
bad: 11 arrays, 26 shards, 23148 bytes, 10 rows: 4 faults" ""
run verify nowhere
refused 1 "cannot open nowhere/sweep.json: No such file or directory"

# ls
run ls half
expect 0 "row${tab}conversation${tab}message${tab}role${tab}label${tab}tokens
0${tab}talk 0${tab}0${tab}system${tab}${tab}10
1${tab}talk 0${tab}1${tab}user${tab}joy${tab}15
2${tab}talk 1${tab}0${tab}system${tab}fear${tab}10
3${tab}talk 1${tab}1${tab}user${tab}${tab}15
4${tab}talk 1${tab}2${tab}assistant${tab}joy${tab}20
5${tab}talk 2${tab}0${tab}system${tab}fear${tab}10
6${tab}talk 2${tab}1${tab}user${tab}${tab}15
7${tab}talk 2${tab}2${tab}assistant${tab}joy${tab}20
8${tab}talk 2${tab}3${tab}system${tab}fear${tab}25
9${tab}3${tab}0${tab}system${tab}${tab}10" ""
run ls half 3
expect 0 "row${tab}conversation${tab}message${tab}role${tab}label${tab}tokens
9${tab}3${tab}0${tab}system${tab}${tab}10" ""
run ls half "talk 9"
expect 2 "" "llmct-gpu: error: half has no conversation \"talk 9\""
run ls int8 --arrays
expect 0 "array${tab}type${tab}shape${tab}shard${tab}chunk${tab}shards${tab}bytes
pooled/q${tab}int8${tab}10x1x1x160${tab}4x1x1x160${tab}2x1x1x160${tab}3${tab}1503
pooled/q_scale${tab}float32${tab}10x1x1x2${tab}4x1x1x2${tab}2x1x1x2${tab}3${tab}253" ""

# cat: what numpy reads of zarr-python's arrays
run cat half "talk 1:2" -s attn_out -l 2 -p content_mean
[ "$(wc -l <out)" = 16 ] || fail "cat prints $(wc -l <out) lines"
[ "$(head -n 3 out | tr '\n' ' ')" = "-0.207885742 0.608886719 0.221435547 " ] || fail "cat: $(head -n 3 out)"
run cat half 3:0 --source hidden_in --layer 2 --token 4
[ "$(head -n 2 out | tr '\n' ' ')" = "0.476806641 1.46191406 " ] || fail "cat --token: $(head -n 2 out)"
run cat bf16 3:0
done_well
run cat bf16 3:0 --npy v.npy
expect 0 "" ""
[ "$(stat -c %s v.npy)" = 192 ] || fail "cat --npy: $(stat -c %s v.npy) bytes"
run cat half 3:0
refused 2 "half has 3 sources: name one"
run cat half 3:0 -s hidden_out
refused 2 "half has 2 layers: name one"
run cat half 3:1 -s hidden_out -l 0
refused 2 "half: conversation \"3\" has no message 1"
run cat half 3:0 -s q -l 0
refused 2 "half holds no vectors of q at layer 0; there are pooled/residual, pooled/attn_out"
run cat half 3:0 -s hidden_out -l 0 --token 5
refused 2 "half: conversation \"3\" has 5 stored tokens, not one of number 5"
run cat half talk
expect 2 "" "llmct-gpu cat: expected CONVERSATION:MESSAGE with the message's number, not talk
try: llmct-gpu cat --help"
run cat interrupted 3:0 -l 2
refused 2 "interrupted has 8 rows, not 1 from 9 on"

# export
run export half -o a.csv --to csv --what scores --rows 4:6 --sources hidden_out --layers 2
expect 0 "a.csv: 2 rows, 8 values" ""
same "a.csv" "row,conversation,message,role,label,position,source,layer,reference,cosine,mae
4,talk 1,2,assistant,joy,last,hidden_out,2,joy,1433.40466,-131.128174
4,talk 1,2,assistant,joy,last,hidden_out,2,fear,-1695.66101,835.806274
5,talk 2,0,system,fear,last,hidden_out,2,joy,976.880005,-587.652832
5,talk 2,0,system,fear,last,hidden_out,2,fear,1943.81445,379.281616" a.csv
run export half -o v.csv --to csv --sources attn_out --layers 2 --positions content_mean --rows 4:5
expect 0 "v.csv: 1 rows, 16 values" ""
[ "$(tail -n 1 v.csv | cut -d, -f1-11)" = "4,talk 1,2,assistant,joy,content_mean,attn_out,2,-0.207885742,0.608886719,0.221435547" ] || fail "v.csv: $(tail -n 1 v.csv)"
run export half -o t.csv --to csv --what tokens --sources hidden_in --layers 2 --rows=-1:
expect 0 "t.csv: 1 rows, 16 values" ""
[ "$(tail -n 1 t.csv | cut -d, -f1,3-6)" = "25,hidden_in,2,0.476806641,1.46191406" ] || fail "t.csv: $(tail -n 1 t.csv)"
for what in pooled scores tokens; do
  run export half -o x.npz --what $what -q
  expect 0 "" ""
  run export half -o x.safetensors --what $what --to safetensors -q
  expect 0 "" ""
done
run export derived -o d.npz --sources hidden_in,hidden_out
expect 0 "d.npz: 10 rows, 640 values" ""
run export half -o none.npz --rows 5:5
expect 0 "none.npz: 0 rows, 0 values" ""
run export half -o x.npz --sources q
refused 2 "--sources: expected some of hidden_in, hidden_out, attn_out, found \"q\""
run export half -o x.npz --layers 1
refused 2 "--layers: expected layers that were stored, such as 0 or 0-11,23, found \"1\""
run export half -o x.npz --rows 5
refused 2 "--rows: expected FROM:TO, either of which may be left out, found \"5\""
run export bf16 -o x.npz --what scores
refused 2 "bf16 holds no scores: it was swept without fingerprints"
run export bf16 -o x.npz --what tokens
refused 2 "bf16 holds no tokens: it was swept without --keep tokens"
run export half -o no/x.npz
refused 1 "cannot create no/x.npz: No such file or directory"
run export half -o no/x.csv --to csv
refused 1 "cannot create no/x.csv: No such file or directory"
[ -z "$(ls ./*.tmp 2>/dev/null)" ] || fail "a temporary file stands"
finish
