#!/usr/bin/env python3
"""Goldens for tests/unit/test_convert.c: numpy's float16 and torch's bfloat16 casts.

convert.bin, little-endian: i32 n; u32 float bits (n); u16 binary16 (n); u16 bfloat16 (n); i32 f16 and bf16 saturation counts.
No NaN: which NaN comes out is no matter of rounding. numpy must be one that rounds to nearest even (all do)."""
import pathlib
import struct

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "convert"


def main():
    rng = np.random.default_rng(11)
    edges = []
    # every binary16 boundary kind: the 13 bits that go, around the half
    for top in list(range(0x33000000, 0x48000000, 0x00fe2000)) + [0x00000000, 0x00800000, 0x7f000000, 0x477fe000, 0x7f7fe000]:
        edges += [top + low for low in (0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2FFF, 0x3000, 0x3001)]
    edges += [0x7F800000, 0x7F7FFFFF, 0x7F7F7FFF, 0x7F7F8000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001, 0x32FFFFFF]
    edges = np.array([e for e in edges if e <= 0x7F800000], np.uint32)
    random = rng.integers(0, 0x7F800000, 400, np.uint32)
    typical = rng.standard_normal(400).astype(np.float32).view(np.uint32) & np.uint32(0x7FFFFFFF)
    bits = np.concatenate([edges, random, typical])
    bits = np.concatenate([bits, bits | np.uint32(0x80000000)])
    x = bits.view(np.float32)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    brain = torch.from_numpy(x.copy()).to(torch.bfloat16)
    finite = np.isfinite(x)
    counts = (int((finite & np.isinf(half)).sum()), int((finite & np.isinf(brain.float().numpy())).sum()))
    OUT.mkdir(parents=True, exist_ok=True)
    blob = struct.pack("<i", len(bits)) + bits.tobytes() + half.tobytes() + brain.view(torch.int16).numpy().tobytes()
    (OUT / "convert.bin").write_bytes(blob + struct.pack("<2i", *counts))


main()
