#!/usr/bin/env python3
"""Goldens for tests/unit/test_rope.c, test_sampler.c and test_capture.c, in tests/goldens/parity.

    python tests/oracle/gen_engine.py

rope.bin     transformers' LlamaRotaryEmbedding: i32 n; per case f64 theta, factor (0: plain), low, high;
             i32 original, head_dim, n_pos; f32 inv_freq (head_dim/2); i32 positions[n_pos]; f32 cos, f32 sin (n_pos, head_dim/2).
             torch's vectorised pow is off by one unit in the last place here and there, elsewhere on other machines: the goldens
             are made by its plain one (ATEN_CPU_CAPABILITY=default).
sampler.bin  logits: i32 n; per vector i32 vocab, f32 values.
             draws: i32 n; per draw i32 vector, do_sample, top_k; u32 stream, step; f64 temperature, top_p; u64 seed; i32 token.
             What is kept follows Activation Lab's masks (torch, float32); the draw is sampler.h's generator, written again here.
             descriptions: i32 n; per entry i32 vector, k; f64 entropy, effective_vocab, top1_prob, argmax_logprob; i32 argmax;
             i32 ids[k]; f64 logprobs[k]   (torch, float64)
capture.bin  i32 n_layers, hidden, n_q, n_kv, n_rows; f32 mean (n_layers, hidden) of the rows CONTENT of values(layer), in
             float64; f32 qkv_last (n_layers, n_kv) at row LAST, Activation Lab's formula in float64
"""

import os
import pathlib
import struct
import sys

if os.environ.get("ATEN_CPU_CAPABILITY") != "default":
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "ATEN_CPU_CAPABILITY": "default"})

import numpy as np
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "parity"


def i32(*x):
    return struct.pack(f"<{len(x)}i", *x)


def f64(*x):
    return struct.pack(f"<{len(x)}d", *x)


def f32(x):
    return np.ascontiguousarray(x, dtype="<f4").tobytes()


# ---- rope


def rope():
    plain = [(theta, 0, 0, 0, 0, dim) for theta in (1e4, 1e5, 5e5, 1e6) for dim in (32, 64, 80, 96, 128, 256)]
    llama3 = [(5e5, 8, 1, 4, 8192, 128), (5e5, 32, 1, 4, 8192, 64), (1e4, 8, 1, 4, 512, 32), (1e6, 4, 2, 6, 4096, 96)]
    positions = [0, 1, 2, 63, 1000, 4095, 8191, 20000, 32767]
    blob = i32(len(plain) + len(llama3))
    for theta, factor, low, high, original, dim in plain + llama3:
        parameters = {"rope_type": "default", "rope_theta": theta}
        if factor:
            parameters = {
                "rope_type": "llama3",
                "rope_theta": theta,
                "factor": float(factor),
                "low_freq_factor": float(low),
                "high_freq_factor": float(high),
                "original_max_position_embeddings": original,
            }
        config = LlamaConfig(
            hidden_size=2 * dim, num_attention_heads=2, head_dim=dim, max_position_embeddings=131072, rope_parameters=parameters
        )
        module = LlamaRotaryEmbedding(config)
        assert module.attention_scaling == 1.0
        cos, sin = module(torch.zeros(1), torch.tensor([positions]))
        blob += f64(theta, factor, low, high) + i32(original, dim, len(positions)) + f32(module.inv_freq) + i32(*positions)
        blob += f32(cos[0, :, : dim // 2]) + f32(sin[0, :, : dim // 2])
    (OUT / "rope.bin").write_bytes(blob)


# ---- sampler

MASK = (1 << 64) - 1


def uniform(seed, stream, step):
    z = (seed + (stream * 2**32 + step + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def kept(logits, temperature, top_k, top_p):
    """The ids that survive, and how far the nearest cumulative probability is from top_p."""
    x = torch.tensor(logits) / max(temperature, 1e-6)
    if top_k > 0:
        x = torch.where(x < torch.topk(x, top_k).values[-1], torch.full_like(x, -float("inf")), x)
    margin = 1.0
    if 0.0 < top_p < 1.0 and len(x) > 1:
        ordered, index = torch.sort(x, descending=True, stable=True)
        cumulative = torch.cumsum(torch.softmax(ordered, dim=-1), dim=-1)
        mask = cumulative > top_p
        mask[0] = False
        margin = float((torch.cumsum(torch.softmax(ordered.double(), dim=-1), dim=-1)[1:] - top_p).abs().min())
        x = torch.full_like(x, -float("inf")).scatter(-1, index, ordered.masked_fill(mask, -float("inf")))
    return torch.nonzero(x > -float("inf")).flatten().tolist(), margin


def draw(logits, temperature, ids, u):
    """The token at u, and how far u is from the nearest step of the cumulative distribution."""
    order = sorted(ids, key=lambda i: (-logits[i], i))
    x = logits[order].astype(np.float64) / max(temperature, 1e-6)
    p = np.exp(x - x.max())
    cumulative = np.cumsum(p / p.sum())
    at = min(int(np.searchsorted(cumulative, u, side="right")), len(order) - 1)
    return order[at], float(np.abs(cumulative[:-1] - u).min()) if len(order) > 1 else 1.0


def sampler():
    rng = np.random.default_rng(3)
    f = np.float32
    vectors = [
        np.array([0.25], f),
        np.array([1, 3, 3, -2, 3], f),
        np.zeros(7, f),
        rng.standard_normal(50).astype(f) * f(2),
        (rng.integers(-3, 4, 200) / 2).astype(f),
        rng.standard_normal(1000).astype(f) * f(3),
        np.concatenate([[30], rng.standard_normal(99)]).astype(f),
        rng.standard_normal(300).astype(f) * f(3000),
    ]
    blob = i32(len(vectors))
    for v in vectors:
        blob += i32(len(v)) + f32(v)
    us = {step: uniform(7, 0, step) for step in range(20000)}
    extreme = [min(us, key=us.get), max(us, key=us.get)]  # the first and the last kept token
    draws, skipped = [], 0
    for i, v in enumerate(vectors):
        draws.append((i, 0, 5, 1, 2, 0.5, 0.5, 9, int(np.argmax(v))))
        for temperature in (0.0, 0.3, 1.0, 1.7):
            for top_k in (0, 1, 3, 50):
                for top_p in (0.0, 0.1, 0.5, 0.93, 1.0):
                    if top_k > len(v):
                        continue
                    ids, margin = kept(v, temperature, top_k, top_p)
                    for seed, stream, step in [
                        (7, 0, extreme[0]),
                        (7, 0, extreme[1]),
                        (42, 0, 0),
                        (42, 0, 1),
                        (42, 3, 0),
                        (MASK, 4294967295, 4294967295),
                    ]:
                        token, gap = draw(v, temperature, ids, uniform(seed, stream, step))
                        if margin < 1e-6 or gap < 1e-9:
                            skipped += 1
                            continue
                        draws.append((i, 1, top_k, stream, step, temperature, top_p, seed, token))
    blob += i32(len(draws))
    for i, do, top_k, stream, step, temperature, top_p, seed, token in draws:
        blob += (
            i32(i, do, top_k) + struct.pack("<2I", stream, step) + f64(temperature, top_p) + struct.pack("<Q", seed) + i32(token)
        )

    described = [(i, k) for i, v in enumerate(vectors) for k in sorted({0, 1, min(5, len(v)), min(20, len(v)), len(v)})]
    blob += i32(len(described))
    for i, k in described:
        logprobs = torch.log_softmax(torch.tensor(vectors[i], dtype=torch.float64), dim=-1)
        probs = logprobs.exp()
        entropy = -(probs * logprobs).sum()
        ids = np.argsort(-logprobs.numpy(), kind="stable")[:k]
        assert torch.equal(torch.topk(logprobs, k).values, logprobs[ids.tolist()])
        blob += i32(i, k) + f64(float(entropy), float(entropy.exp()), float(probs.max()), float(logprobs.max()))
        blob += i32(int(np.argmax(vectors[i])), *ids.tolist()) + f64(*logprobs[ids.tolist()].tolist())
    (OUT / "sampler.bin").write_bytes(blob)
    print(
        f"{len(draws)} draws ({skipped} left out: too near an edge), distinct tokens {len({(d[0], d[-1]) for d in draws})}, "
        f"{len(described)} descriptions"
    )


# ---- capture

CONTENT = [*range(3, 9), *range(20, 21), *range(33, 47)]
LAST = 46


def values(seed, rows, width):
    """The same floats as value() in test_capture.c: (rows, width) in [-8, 8)."""
    u = (np.arange(rows * width, dtype=np.uint64) + seed * 0x9E3779B9) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        u ^= u >> np.uint64(shift)
        u = u * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return ((u >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-20) - np.float32(8)).reshape(rows, width)


def capture():
    n_layers, hidden, n_q, n_kv, n_rows = 3, 48, 48, 24, 50
    means, qkv = [], []
    for layer in range(n_layers):
        means.append(values(layer, n_rows, hidden)[CONTENT].astype(np.float64).mean(axis=0))
        q, k, v = (values(100 + 10 * j + layer, n_rows, w)[LAST].astype(np.float64) for j, w in enumerate((n_q, n_kv, n_kv)))
        m = min(n_q, n_kv)
        qkv.append(np.dot(q[:m], k[:m]) / np.sqrt(m) * v)
    (OUT / "capture.bin").write_bytes(i32(n_layers, hidden, n_q, n_kv, n_rows) + f32(np.stack(means)) + f32(np.stack(qkv)))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    rope()
    sampler()
    capture()
