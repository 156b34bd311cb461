#!/bin/bash
# A sweep on a disk that is full, and on one that is read-only: an error that says so, and --resume when there is room.
. "$(dirname "$0")/lib.sh"
. "$LCT_SOURCE_DIR/tests/cli/sweep_lib.sh"
synth tiny-qwen2
fingerprints tiny-qwen2 f.safetensors
talks 200 talks.jsonl
options=(talks.jsonl -m tiny-qwen2 -f f.safetensors --shard-rows 64 --memory 24M -q)
run sweep "${options[@]}" -o reference
[ "$code" = 3 ] || { fail "the uninterrupted sweep: exit code $code"; cat err; finish; }
disk=$t/disk
small_disk "$disk" 200

# 64 MiB are left free: at the second size there is room for the first shards
for kib in 200 66500; do
  mount -o "remount,size=${kib}k" "$disk"
  for try in "" --resume; do # and once more: still no room
    run sweep "${options[@]}" -o disk/out $try
    [ "$code" = 1 ] && grep -Eq "^llmct-gpu: error: .*disk/out.*(No space left on device|free)" err || fail "$kib KiB $try: exit code $code, $(cat err)"
    [ ! -s disk/out/sweep.json ] || [ "$(state_of_sweep disk/out)" != done ] || fail "$kib KiB $try: state done on a full disk"
    [ -z "$(find disk -name '*.partial')" ] || fail "$kib KiB $try: left $(find disk -name '*.partial')"
  done
  mount -o remount,size=128m "$disk"
  run sweep "${options[@]}" -o disk/out --resume
  [ "$code" = 3 ] || fail "room again after $kib KiB: exit code $code, $(cat err)"
  same_store "room again after $kib KiB" reference disk/out
  rm -rf disk/out
done

mkdir disk/old
mount -o remount,ro "$disk"
for out in new old; do
  run sweep "${options[@]}" -o "disk/$out"
  [ "$code" = 1 ] && grep -q "^llmct-gpu: error: .*disk/$out.*: Read-only file system\$" err || fail "a read-only disk, $out: exit code $code, $(cat err)"
done
finish
