#!/usr/bin/env python3
"""Goldens for tests/unit/test_codec.c: frames by c-blosc (in numcodecs) and zstd, checksums by google_crc32c, all of prefixes of one buffer.

codec.bin, little-endian: u32 n, the buffer; u32 count, per checksum: u32 n, u32 crc; u32 count, per frame: u32 length and name, u32 kind
(0 blosc, 1 zstd), u32 expected (0 decodes, 1 unsupported), u32 raw bytes, u32 length and frame."""
import os
import pathlib
import struct

import google_crc32c
import numpy as np
from numcodecs import blosc
from numcodecs.zstd import Zstd

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "store"


def buffer():
    rng = np.random.default_rng(11)
    steps = np.cumsum(rng.integers(-3, 4, 600)).astype("<f4")  # 2400 bytes with structure in every typesize
    halves = rng.standard_normal(800).astype("<f2")
    return steps.tobytes() + halves.tobytes() + bytes(1000) + rng.bytes(1000)


def frames(data):
    def compress(n, name="zstd", level=5, shuffle=1, size=2, block=0, split="NEVER"):
        os.environ["BLOSC_SPLITMODE"] = split
        return blosc.compress(np.frombuffer(data[:n], f"V{size}" if size == 3 else f"u{size}"), name.encode(), level, shuffle, block)

    for size in (1, 2, 4, 8):
        for shuffle in (0, 1):
            for split in ("ALWAYS", "NEVER"):
                for n, block in ((4000, 0), (4000, 1024), (4000, 1000), (240, 0)):
                    if n == 240 and split == "ALWAYS":
                        continue  # c-blosc splits it, and cannot read it then
                    what = f"type {size} shuffle {shuffle} split {split} blocks {block} of {n}"
                    yield what, 0, 0, n, compress(n, shuffle=shuffle, size=size, block=block, split=split)
    yield "three bytes", 0, 0, 3999, compress(3999, size=3, block=1023, split="ALWAYS")
    yield "best level", 0, 0, 4000, compress(4000, level=9)
    yield "stored: level 0", 0, 0, 4000, compress(4000, level=0)
    yield "stored: tiny", 0, 0, 20, compress(20)
    yield "stored: nothing", 0, 0, 0, struct.pack("<BBBBIII", 2, 1, 0x83, 2, 0, 0, 16)
    yield "bits", 0, 1, 4000, compress(4000, shuffle=2)
    for name in ("lz4", "zlib"):
        yield name, 0, 1, 4000, compress(4000, name)
    for level in (1, 9):
        yield f"zstd {level}", 1, 0, len(data), Zstd(level).encode(data)
    yield "zstd with checksum", 1, 0, 4000, Zstd(3, checksum=True).encode(data[:4000])


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    data = buffer()
    out = struct.pack("<I", len(data)) + data
    sizes = [*range(0, 40), 255, 256, 1000, 3001, len(data)]
    out += struct.pack("<I", len(sizes)) + b"".join(struct.pack("<II", n, google_crc32c.value(data[:n])) for n in sizes)
    cases = list(frames(data))
    out += struct.pack("<I", len(cases))
    for name, kind, expected, n, frame in cases:
        if kind == 0 and n > 0:
            assert bytes(blosc.decompress(frame)) == data[:n], name
        out += struct.pack("<I", len(name)) + name.encode() + struct.pack("<IIII", kind, expected, n, len(frame)) + bytes(frame)
    (OUT / "codec.bin").write_bytes(out)
    print(len(cases), "frames,", len(out), "bytes")


main()
