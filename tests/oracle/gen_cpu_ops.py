#!/usr/bin/env python3
"""Goldens for tests/unit/test_cpu_ops.c and test_cpu_attention.c: numpy in float64 (exp and the rest correctly rounded far beyond
float32), on inputs both sides make from the same integer hash. Only expected values are stored, as float32.

A file is: i32 n_header, i32 header[n_header], then f32 arrays in the order given below at each writer.
"""
import pathlib
import struct

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "cpu"


def values(seed, *shape, scale=1.0):
    """float32 in [-scale, scale): the same as lct_test_fill of tests/unit/cpu_test.h (scale is a power of two)."""
    n = int(np.prod(shape))
    u = (np.arange(n, dtype=np.uint64) + seed * 0x9E3779B9).astype(np.uint32)
    u ^= u >> np.uint32(16)
    u = (u.astype(np.uint64) * 0x7FEB352D & 0xFFFFFFFF).astype(np.uint32)
    u ^= u >> np.uint32(15)
    u = (u.astype(np.uint64) * 0x846CA68B & 0xFFFFFFFF).astype(np.uint32)
    u ^= u >> np.uint32(16)
    f = (u >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return (f * np.float32(scale)).reshape(shape)


def bf16(x):
    u = x.view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


def write(name, header, *arrays):
    blob = struct.pack(f"<{len(header) + 1}i", len(header), *header)
    for a in arrays:
        blob += np.ascontiguousarray(a, dtype="<f4").tobytes()
    (OUT / f"{name}.bin").write_bytes(blob)


def rope_table(n, d, theta=10000.0):
    angle = np.arange(n)[:, None] * theta ** (-np.arange(0, d, 2) / d)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)  # (n, d/2, 2)


def rope(x, cs, norm, eps):
    """x (n, heads, d), cs (n, d/2, 2) float64."""
    if norm is not None:
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * norm
    half = x.shape[-1] // 2
    a, b, c, s = x[..., :half], x[..., half:], cs[:, None, :, 0], cs[:, None, :, 1]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def softmax_attention(q, k, v, scale):
    """Causal over all keys: (n, heads, d), (n, kv, d) -> weights (heads, n, n), out (n, heads, d), float64."""
    n, heads, _ = q.shape
    group = heads // k.shape[1]
    s = np.einsum("nhd,mhd->hnm", q, np.repeat(k, group, axis=1)) * scale
    s[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return p, np.einsum("hnm,mhd->nhd", p, np.repeat(v, group, axis=1))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    f64 = np.float64

    # linear: header k, n0, n1, rows; y (rows, n0+n1) exact, then with x and w rounded to bf16. Bias on the first part alone.
    for i, (k, n0, n1, rows) in enumerate([(1, 1, 1, 2), (37, 19, 5, 5), (576, 96, 32, 7), (1100, 40, 33, 5)]):
        x, w, b = values(100 + i, rows, k), bf16(values(200 + i, n0 + n1, k)), values(300 + i, n0)
        bias = np.concatenate([b, np.zeros(n1, np.float32)]).astype(f64)
        exact = x.astype(f64) @ w.astype(f64).T + bias
        fast = bf16(x).astype(f64) @ w.astype(f64).T + bias
        write(f"linear_{i}", (k, n0, n1, rows), exact, fast)

    # norm: header n, dim; rmsnorm(x), then x + y and rmsnorm(x + y)
    for i, (n, dim) in enumerate([(3, 576), (2, 37), (2, 1), (1, 2048)]):
        x, y, w = values(400 + i, n, dim, scale=64), values(500 + i, n, dim), values(600 + i, dim, scale=2)
        s32 = x + y
        first, second = (
            a.astype(f64) / np.sqrt((a.astype(f64) ** 2).mean(-1, keepdims=True) + 1e-6) * w.astype(f64) for a in (x, s32)
        )
        write(f"norm_{i}", (n, dim), first, s32, second)

    # silu: header n, dim; gate scaled to +-128 (e^-x overflows float32); silu(gate), silu(gate) * up
    for i, (n, dim) in enumerate([(2, 150), (3, 7)]):
        gu = values(700 + i, n, 2 * dim, scale=128).astype(f64)
        with np.errstate(over="ignore"):
            act = gu[:, :dim] / (1 + np.exp(-gu[:, :dim]))
        write(f"silu_{i}", (n, dim), act, act * gu[:, dim:])

    # rope: header n, heads, kv, d, normed; table (n_pos 50, d/2, 2), q, k (rows at positions 3*i)
    for i, (n, heads, kv, d, normed) in enumerate([(4, 4, 2, 64, 0), (3, 2, 1, 20, 1), (3, 3, 3, 128, 1)]):
        qkv = values(800 + i, n, heads + 2 * kv, d, scale=4).astype(f64)
        cs = rope_table(50, d)
        qn, kn = (values(900 + 10 * j + i, d, scale=2).astype(f64) if normed else None for j in range(2))
        at = cs[3 * np.arange(n)].astype(f64)
        write(f"rope_{i}", (n, heads, kv, d, normed), cs, rope(qkv[:, :heads], at, qn, 1e-6), rope(qkv[:, heads : heads + kv], at, kn, 1e-6))

    # attention: header n, heads, kv, d, step; out rows 0, step, 2 step, ...; weights of the last two rows (heads, 2, n)
    cases = [(70, 2, 2, 64), (131, 6, 2, 64), (130, 8, 1, 96), (67, 4, 2, 128), (65, 5, 1, 256), (20, 3, 1, 16), (33, 2, 1, 20),
             (1, 7, 1, 64), (200, 3, 1, 64)]
    for i, (n, heads, kv, d) in enumerate(cases):
        step = max(1, n // 4)
        # scale 4: scores of several tens, so that the running maximum moves and some weights underflow
        q, k, v = (values(1000 + 10 * i + j, n, h, d, scale=s).astype(f64) for j, (h, s) in enumerate([(heads, 4), (kv, 4), (kv, 1)]))
        p, out = softmax_attention(q, k, v, f64(np.float32(1 / np.sqrt(d))))
        write(f"attention_{i}", (n, heads, kv, d, step), out[::step], p[:, -2:] if n > 1 else p)


if __name__ == "__main__":
    main()
