#!/usr/bin/env python3
"""Goldens for the GGUF reader: files written by gguf-py, values from gguf-py's dequantize and from transformers.

  gen_gguf.py [--smollm2 SmolLM2-135M-Instruct.Q4_1.gguf]

Writes into tests/goldens/gguf:
  metadata.gguf       every value type, nested arrays, two tensors, no padding behind the last
  tiny_*.gguf         whole models in mixed types; tiny_*.sha: transformers' float32 parameters of them
  dequant.bin         per type: name (8 bytes), n elements (i64), random blocks, their float32 values
  rope_factors.bin    per case: theta, factor (f64), head_dim / 2 (i64), divisors (f32), from transformers' llama3 RoPE
  smollm2.sha         SHA-256 of each tensor's float32 values by gguf-py, in the file's order (with --smollm2)
  smollm2_hf.sha      the same of transformers' parameters, q and k un-permuted (with --smollm2)
"""
import argparse
import hashlib
import pathlib
import struct

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "gguf"


def sha(a):
    return hashlib.sha256(np.ascontiguousarray(a, dtype="<f4").tobytes()).hexdigest()


def dequantise(data, qtype, n):
    return gguf.quants.dequantize(data.reshape(1, -1), qtype).astype(np.float32).reshape(n)


def metadata():
    w = gguf.GGUFWriter(OUT / "metadata.gguf", "testarch")
    w.add_uint8("t.u8", 200)
    w.add_int8("t.i8", -100)
    w.add_uint16("t.u16", 60000)
    w.add_int16("t.i16", -30000)
    w.add_uint32("t.u32", 4000000000)
    w.add_int32("t.i32", -2000000000)
    w.add_uint64("t.u64", 2**63 + 1)
    w.add_int64("t.i64", -(2**62))
    w.add_float32("t.f32", 0.1)
    w.add_float64("t.f64", 0.1)
    w.add_bool("t.true", True)
    w.add_bool("t.false", False)
    w.add_string("t.str", "h\u00e9llo\u0000\U0001f600")
    w.add_array("t.a.str", ["", "a", "\u4e2d\u6587", "x" * 40])
    w.add_array("t.a.i32", [1, -2, 3])
    w.add_array("t.a.f32", [0.5, -0.25])
    w.add_array("t.a.bool", [True, False, True])
    w.add_array("t.a.nested", [[1, 2], [3], [4, 5, 6]])
    w.add_uint32("general.alignment", 64)
    w.data_alignment = 64
    w.add_tensor("first", np.arange(8, dtype=np.float32).reshape(2, 4))
    w.add_tensor("second", np.arange(32, dtype=np.float16).reshape(4, 8) / 3)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Tiny:
    """A whole model with random weights: hidden 32, 4 heads, 2 kv heads, 2 layers, 32 intermediate, 48 tokens."""

    def __init__(self, arch, seed, head_dim, types):
        self.rng = np.random.default_rng(seed)
        self.types = types
        self.next = 0
        self.path = OUT / f"tiny_{arch}.gguf"
        self.w = w = gguf.GGUFWriter(self.path, arch)
        w.add_name("tiny")
        w.add_block_count(2)
        w.add_context_length(256)
        w.add_embedding_length(32)
        w.add_feed_forward_length(32)
        w.add_head_count(4)
        w.add_head_count_kv(2)
        w.add_layer_norm_rms_eps(1e-6)
        w.add_rope_freq_base(500000.0)
        w.add_vocab_size(48)
        if arch == "qwen3":
            w.add_key_length(head_dim)
            w.add_value_length(head_dim)
        w.add_tokenizer_model("gpt2")
        w.add_token_list([f"t{i}" for i in range(48)])
        w.add_eos_token_id(7)
        w.add_eot_token_id(9)
        w.add_bos_token_id(3)
        self.add("token_embd.weight", (48, 32))
        self.add("output_norm.weight", (32,))
        if arch != "qwen2":
            self.add("output.weight", (48, 32))
        q, kv = 4 * head_dim, 2 * head_dim
        for i in range(2):
            b = f"blk.{i}."
            self.add(b + "attn_norm.weight", (32,))
            for name, rows in (("q", q), ("k", kv), ("v", kv)):
                self.add(b + f"attn_{name}.weight", (rows, 32))
                if arch == "qwen2":
                    self.add(b + f"attn_{name}.bias", (rows,))
            self.add(b + "attn_output.weight", (32, q))
            if arch == "qwen3":
                self.add(b + "attn_q_norm.weight", (head_dim,))
                self.add(b + "attn_k_norm.weight", (head_dim,))
            self.add(b + "ffn_norm.weight", (32,))
            for name in ("gate", "up", "down"):
                self.add(b + f"ffn_{name}.weight", (32, 32))

    def add(self, name, shape):
        a = self.rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            self.w.add_tensor(name, a)
            return
        t = self.types[self.next % len(self.types)]
        self.next += 1
        self.w.add_tensor(name, gguf.quants.quantize(a, t), raw_dtype=t)

    def finish(self, config=None):
        self.w.write_header_to_file()
        self.w.write_kv_data_to_file()
        self.w.write_tensors_to_file()
        self.w.close()
        params_sha(self.path, self.path.with_suffix(".sha"), config)


def params_sha(path, out, config=None):
    more = {} if config is None else {"config": config}
    model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32, **more)
    with open(out, "w") as f:
        for name, p in model.state_dict().items():
            a = p.detach().numpy()
            rows, cols = (1, *a.shape) if a.ndim == 1 else a.shape
            f.write(f"{sha(a)} {rows} {cols} {name}\n")


def rope_divisors(head_dim, theta, factor, low=1.0, high=4.0, original=8192):
    def frequencies(kind, **more):
        cfg = LlamaConfig(hidden_size=head_dim, num_attention_heads=1, num_key_value_heads=1, head_dim=head_dim,
                          max_position_embeddings=131072,
                          rope_parameters={"rope_type": kind, "rope_theta": theta, **more})
        if kind == "default":
            return 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
        return ROPE_INIT_FUNCTIONS[kind](cfg, "cpu")[0]

    plain = frequencies("default").double()
    scaled = frequencies("llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                         original_max_position_embeddings=original).double()
    return (plain / scaled).float().numpy()


def rope():
    with open(OUT / "rope_factors.bin", "wb") as f:
        for head_dim, theta, factor in ((64, 5e5, 32.0), (128, 5e5, 8.0), (8, 5e5, 32.0), (128, 5e5, 16.0), (96, 1e4, 8.0)):
            d = rope_divisors(head_dim, theta, factor)
            f.write(struct.pack("<ddq", theta, factor, len(d)) + d.astype("<f4").tobytes())


def dequant():
    rng = np.random.default_rng(20260101)
    halves = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
              "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
    special = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x3c00]  # zeros, subnormals, extremes, one
    with open(OUT / "dequant.bin", "wb") as f:
        for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"):
            t = T[name]
            block, size = gguf.GGML_QUANT_SIZES[t]
            n_blocks = {1: 128, 32: 12, 256: 9}[block]
            raw = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
            if name == "F16":  # all kinds of exponents; Inf and NaN among them
                raw[: len(special)] = np.array(special, "<u2").view(np.uint8).reshape(-1, 2)
                raw[len(special)] = (0, 0x7C)
                raw[len(special) + 1] = (1, 0x7E)
            for at in halves.get(name, ()):  # scales: the special values first, then finite random ones
                h = rng.integers(0, 65536, n_blocks).astype("<u2")
                h = np.where((h & 0x7C00) == 0x7C00, h & 0xBFFF, h).astype("<u2")
                h[: len(special)] = np.roll(special, at)
                raw[:, at : at + 2] = h.view(np.uint8).reshape(-1, 2)
            n = n_blocks * block
            with np.errstate(all="ignore"):
                x = dequantise(raw.reshape(-1), t, n)
            f.write(struct.pack("<8sq", name.encode(), n) + raw.tobytes() + x.astype("<f4").tobytes())


def smollm2(path):
    with open(OUT / "smollm2.sha", "w") as f:
        for t in gguf.GGUFReader(path).tensors:
            x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            rows, cols = (1, *x.shape) if x.ndim == 1 else x.shape
            f.write(f"{sha(x)} {rows} {cols} {t.name}\n")
    params_sha(path, OUT / "smollm2_hf.sha")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--smollm2", type=pathlib.Path)
    args = p.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    metadata()
    llama = Tiny("llama", 1, 8, [T.Q8_0, T.Q4_1, T.F16, T.BF16])
    llama.w.add_tensor("rope_freqs.weight", rope_divisors(8, 500000.0, 32.0))
    llama.finish()
    Tiny("qwen2", 2, 8, [T.Q4_0, T.Q5_0, T.Q8_0]).finish()
    # transformers does not read key_length of this architecture: it is told.
    Tiny("qwen3", 3, 16, [T.Q5_1, T.F32, T.Q8_0]).finish(
        Qwen3Config(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_hidden_layers=2,
                    intermediate_size=32, vocab_size=48, tie_word_embeddings=False))
    rope()
    dequant()
    if args.smollm2:
        smollm2(args.smollm2.resolve())


if __name__ == "__main__":
    main()
