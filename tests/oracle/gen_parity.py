#!/usr/bin/env python3
"""Goldens for tests/unit/test_parity.c: transformers, float32, eager attention, on tiny models that `synth` makes.

    python tests/oracle/gen_parity.py LLMCT_GPU      (the program; only its command `synth` is used)

A file tests/goldens/parity/NAME.bin, little-endian:
  "LCTPAR2\\0"; char like[16]; u64 seed; char sha256[64] of model.safetensors
  i32 n_layers, vocab, n_prompts
  per prompt: i32 n_tokens, n_rows; i32 ids[n_tokens]; i32 rows[n_rows] (positions whose values are stored whole)
  i32 prompt, n; i32 ids[n]: what greedy decoding adds to that prompt
  i32 n_taps; per tap:
    char source[16]; i32 layer (-1: global), width (attn_weights: heads)
    f32 errors of the oracle in bfloat16 and in float16 against itself in float32: relative L2 over the stored rows of all prompts
    per prompt: f32 norm: L2 norm over all its rows
                f32 values (n_rows, width); of attn_weights (heads, position + 1) for each row
                f32 projections (n_tokens, 2) of every row: sums of its elements with the signs of sign()
A row's two projections differ from the engine's by about as much as the row differs in L2: every row is held, in 8 bytes.
"""

import hashlib
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoModelForCausalLM

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "parity"
MODELS = [("tiny-qwen2", 11), ("tiny-qwen3", 12), ("tiny-llama", 13)]
SOURCES = [
    "hidden_in",
    "hidden_out",
    "q",
    "k",
    "v",
    "attn_weights",
    "attn_out",
    "mlp_gate",
    "mlp_up",
    "mlp_act",
    "mlp_down_in",
    "mlp_down_out",
]
GLOBALS = ["embeddings", "logits"]
ATTN_STRIDE = 4096  # element (head, key) of attn_weights has the sign of index head * ATTN_STRIDE + key
N_GREEDY = 64


def first(x):
    return x[0] if isinstance(x, tuple) else x


class Taps:
    """Collects every source of a forward pass; the value of a tap is (tokens, width), of attn_weights (heads, tokens, tokens)."""

    def __init__(self, model):
        self.model, self.taps, self.handles = model, {}, []
        base = model.model
        self.out(base.embed_tokens, "embeddings", -1)
        for i, layer in enumerate(base.layers):
            self.pre(layer, "hidden_in", i)
            self.out(layer, "hidden_out", i)
            for name, module in (
                ("q", layer.self_attn.q_proj),
                ("k", layer.self_attn.k_proj),
                ("v", layer.self_attn.v_proj),
                ("attn_out", layer.self_attn.o_proj),
                ("mlp_gate", layer.mlp.gate_proj),
                ("mlp_up", layer.mlp.up_proj),
                ("mlp_act", layer.mlp.act_fn),
                ("mlp_down_out", layer.mlp.down_proj),
            ):
                self.out(module, name, i)
            self.pre(layer.mlp.down_proj, "mlp_down_in", i)
            self.handles.append(layer.self_attn.register_forward_hook(lambda m, a, o, i=i: self.keep("attn_weights", i, o[1])))

    def keep(self, name, layer, x):
        self.taps[name, layer] = x[0].float().numpy().copy()

    def out(self, module, name, layer):
        self.handles.append(module.register_forward_hook(lambda m, a, o: self.keep(name, layer, first(o))))

    def pre(self, module, name, layer):
        def hook(m, args, kwargs):
            self.keep(name, layer, args[0] if args else kwargs["hidden_states"])

        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def run(self, ids):
        self.taps = {}
        with torch.no_grad():
            out = self.model(torch.tensor([ids]), use_cache=False)
        self.keep("logits", -1, out.logits)
        return self.taps

    def close(self):
        for h in self.handles:
            h.remove()


def load(path, dtype, **kwargs):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager", **kwargs)
    return model.eval()


def greedy(model, ids, n):
    """Token ids, and the smallest distance between the best two logits on the way."""
    ids, margin, past, new = list(ids), np.inf, None, list(ids)
    with torch.no_grad():
        for _ in range(n):
            out = model(torch.tensor([new]), past_key_values=past, use_cache=True)
            past = out.past_key_values
            best = torch.topk(out.logits[0, -1], 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            new = [int(best.indices[0])]
            ids += new
    return ids[-n:], margin


def sign(n, k):
    """The k-th sign of elements 0..n-1, as tests/unit/engine_test.h makes it."""
    u = np.arange(n, dtype=np.uint64) * 2 + k
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        u ^= u >> np.uint64(shift)
        u = u * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return 1.0 - 2.0 * (u & np.uint64(1)).astype(np.float64)


def project(x):
    x = x.astype(np.float64)
    if x.ndim == 3:  # (heads, tokens, keys): elements behind the diagonal are zeros and add nothing
        signs = [
            np.stack([sign((h + 1) * ATTN_STRIDE, k)[h * ATTN_STRIDE :][: x.shape[2]] for h in range(len(x))]) for k in (0, 1)
        ]
        return np.stack([np.einsum("htk,hk->t", x, s) for s in signs], axis=1)
    return np.stack([x @ sign(x.shape[1], k) for k in (0, 1)], axis=1)


def chosen(x, rows):
    if x.ndim == 3:
        return np.concatenate([x[:, r, : r + 1].ravel() for r in rows])
    return x[rows].ravel()


def prompts(vocab):
    """3, 17, 64, 150 and 300 tokens; the first two lie inside the next ones, the last two share 130."""
    rng = np.random.default_rng(5)
    a, b, c, d = (rng.integers(0, vocab, 300).tolist() for _ in range(4))
    edges = [63, 64, 65, 127, 128]
    return [
        (a[:3], [0, 1, 2]),
        (a[:17], [15, 16]),
        (a[:10] + b[:54], [61, 62, 63]),
        (c[:130] + d[:20], edges + [148, 149]),
        (c[:130] + a[:170], [64, 128, 192, 256, 298, 299]),
    ]


def f32(x):
    return np.asarray(x, dtype="<f4").tobytes()


def i32(*x):
    return struct.pack(f"<{len(x)}i", *x)


def relative(got, want):
    got, want = (np.concatenate([np.ravel(x) for x in side]).astype(np.float64) for side in (got, want))
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def make(llmct, like, seed, folder):
    subprocess.run([llmct, "synth", "--like", like, "--seed", str(seed), folder], check=True)
    model = load(folder, torch.float32)
    cfg, taps = model.config, Taps(model)
    cases = prompts(cfg.vocab_size)
    exact = [taps.run(ids) for ids, _ in cases]
    taps.close()
    reply, margin = greedy(model, cases[1][0], N_GREEDY)
    rough = []
    for dtype in (torch.bfloat16, torch.float16):
        taps = Taps(load(folder, dtype))
        rough.append([taps.run(ids) for ids, _ in cases])

    weights = pathlib.Path(folder, "model.safetensors").read_bytes()
    blob = b"LCTPAR2\0" + like.encode().ljust(16, b"\0") + struct.pack("<Q", seed) + hashlib.sha256(weights).hexdigest().encode()
    blob += i32(cfg.num_hidden_layers, cfg.vocab_size, len(cases))
    for ids, rows in cases:
        blob += i32(len(ids), len(rows), *ids, *rows)
    blob += i32(1, len(reply), *reply)
    keys = [(s, i) for s in SOURCES for i in range(cfg.num_hidden_layers)] + [(s, -1) for s in GLOBALS]
    blob += i32(len(keys))
    for key in keys:
        stored = [chosen(t[key], rows) for t, (_, rows) in zip(exact, cases)]
        errors = [relative([chosen(t[key], rows) for t, (_, rows) in zip(half, cases)], stored) for half in rough]
        x = exact[0][key]
        blob += key[0].encode().ljust(16, b"\0") + i32(key[1], x.shape[0] if x.ndim == 3 else x.shape[1]) + f32(errors)
        for t, values in zip(exact, stored):
            blob += f32(np.linalg.norm(t[key].astype(np.float64))) + f32(values) + f32(project(t[key]))
    (OUT / f"{like}.bin").write_bytes(blob)
    print(f"{like}: {len(blob)} bytes, greedy: {len(set(reply))} distinct tokens, smallest margin {margin:.4f}")


def main():
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    for like, seed in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            make(sys.argv[1], like, seed, folder + "/model")


if __name__ == "__main__":
    main()
