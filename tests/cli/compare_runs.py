#!/usr/bin/env python3
"""A GPU's run beside the CPU's of the same scan: the same tensors of the same shapes, close numbers, the same tokens where they are clear.

The bounds only tell the right tensor from a wrong one; how exact the GPU is, the parity tests hold. A residual of a tiny model is rounded
to 16 bits some 25 times on its way (4 layers of 6 places, and the embedding), each at most 2^-11 of the value: 1.2 % at the very worst
if nothing is amplified. Outputs of a sublayer are smaller than what they are made of: four times that.
"""
import json
import math
import struct
import sys
import zipfile
from pathlib import Path

ROUNDINGS = 25 * 2.0**-11
TENSOR = 4 * ROUNDINGS
COSINE = 2 * TENSOR  # of two vectors that are each off by that much
# Logits of these models are below 8, their f16 steps below 2^-8; a gap of ten of them is not closed by rounding.
CLEAR = 10 * 2.0**-8


def entry(z, name):
    data = z.read(name)
    size = struct.unpack_from("<H", data, 8)[0]
    header = data[: 10 + size]
    kind = {"<f2": "e", "<f4": "f"}[header.split(b"'descr': '")[1][:3].decode()]
    body = data[10 + size:]
    return header, struct.unpack(f"<{len(body) // struct.calcsize(kind)}{kind}", body)


def compare_npz(a, b, worst):
    with zipfile.ZipFile(a) as x, zipfile.ZipFile(b) as y:
        assert x.namelist() == y.namelist(), f"{b}: {y.namelist()}"
        for name in x.namelist():
            (hx, vx), (hy, vy) = entry(x, name), entry(y, name)
            assert hx == hy, f"{b}: {name}: {hy}, on the CPU {hx}"
            # where a row is not there (a mean over no tokens) both say NaN
            assert [math.isnan(v) for v in vx] == [math.isnan(v) for v in vy], f"{b}: {name}: NaN elsewhere"
            norm = math.sqrt(sum(v * v for v in vx if v == v))
            off = math.sqrt(sum((v - w) ** 2 for v, w in zip(vx, vy) if v == v))
            source = name.rsplit("/", 1)[-1].removesuffix(".npy")
            worst[source] = max(worst.get(source, 0), off / norm if norm > 0 else off)
            assert off <= TENSOR * norm, f"{b}: {name}: off by {off / norm:.3g}"


def compare_scores(a, b, same_reply):
    x, y = json.loads(a.read_text()), json.loads(b.read_text())
    sx, sy = x.pop("scores"), y.pop("scores")
    x.pop("intra_run", None), y.pop("intra_run", None)
    snapshots, others = x.pop("snapshots"), y.pop("snapshots")
    kept = [s for s in snapshots if same_reply or not s["generated"]]
    assert kept == [s for s in others if same_reply or not s["generated"]], f"{b}: other snapshots"
    assert x == y, f"{b}: other axes"
    n = len(sx) // len(snapshots) * len(kept)
    worst = 0
    for i in range(0, n, 3):
        assert (sx[i] is None) == (sy[i] is None), f"{b}: score {i}: {sy[i]}, on the CPU {sx[i]}"
        if sx[i] is not None:
            worst = max(worst, abs(sx[i] - sy[i]))
    assert worst <= COSINE, f"{b}: a cosine is off by {worst:.3g}"
    return worst


def compare_tokens(a, b):
    """How many tokens were judged: up to the first step whose best two candidates are too close."""
    x, y = json.loads(a.read_text())["steps"], json.loads(b.read_text())["steps"]
    judged = 0
    for s, g in zip(x, y):
        if s["top_k"][0]["logprob"] - s["top_k"][1]["logprob"] < CLEAR:
            break
        assert s["generated_token_id"] == g["generated_token_id"], f"{b}: step {s['step']}: token {g['generated_token_id']}, on the CPU {s['generated_token_id']}"
        judged += 1
    assert judged > 0, f"{a}: no step is clear"
    return judged, len(x)


def main():
    cpu, gpu = Path(sys.argv[1]), Path(sys.argv[2])
    worst = {}
    judged, steps = compare_tokens(cpu / "prompt_0/steps.json", gpu / "prompt_0/steps.json")
    # after a step that was not clear the replies may differ, and what was captured of them
    same_reply = judged == steps
    cosine = compare_scores(cpu / "prompt_0/scores.json", gpu / "prompt_0/scores.json", same_reply)
    files = sorted(cpu.rglob("*.npz"))
    replies = set(sorted(cpu.glob("*/conversation_snapshots/*.npz"))[-1:] + list(cpu.glob("*/pooled.npz")))
    replies |= {f for f in cpu.glob("*/tensors/step_*.npz") if f.name != "step_000.npz"}
    for f in files:
        if same_reply or f not in replies:
            compare_npz(f, gpu / f.relative_to(cpu), worst)
    print(f"{gpu}: {judged} of {steps} tokens judged; cosines within {cosine:.2g}; tensors within",
          ", ".join(f"{k} {v:.2g}" for k, v in sorted(worst.items())))


try:
    main()
except AssertionError as e:
    sys.exit(str(e))
