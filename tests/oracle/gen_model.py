#!/usr/bin/env python3
"""Goldens of src/model: tiny folders written by transformers' save_pretrained, and what is in them.

    python tests/oracle/gen_model.py tests/goldens/model

One folder each of Qwen2 (bfloat16, tied), Qwen3 (float16, sharded), Llama (float32, llama3 RoPE, biases, untied), with random
weights. values.txt: per folder the number of parameters and the SHA-256 of all tensors as little-endian float32, in the order
embedding, final norm, head (untied only), then each layer's tensors as listed in LAYER. permute.txt: where llama.cpp's
conversion puts the rows of q and k. Needs torch, transformers.
"""
import hashlib
import os
import shutil
import sys

import numpy as np
import torch
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

LAYER = """input_layernorm.weight self_attn.q_proj.weight self_attn.q_proj.bias self_attn.k_proj.weight self_attn.k_proj.bias
self_attn.v_proj.weight self_attn.v_proj.bias self_attn.q_norm.weight self_attn.k_norm.weight self_attn.o_proj.weight
self_attn.o_proj.bias post_attention_layernorm.weight mlp.gate_proj.weight mlp.up_proj.weight mlp.down_proj.weight""".split()
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24, vocab_size=32,
             max_position_embeddings=256)


def digest(model, tied):
    t = dict(model.named_parameters())
    names = ["model.embed_tokens.weight", "model.norm.weight"] + ([] if tied else ["lm_head.weight"])
    names += [f"model.layers.{i}.{n}" for i in range(model.config.num_hidden_layers) for n in LAYER]
    h = hashlib.sha256()
    for n in names:
        if n in t:
            h.update(t.pop(n).detach().float().numpy().astype("<f4").tobytes())
    assert not t, t.keys()
    return h.hexdigest()


def permute(weights, n_head):
    """As llama.cpp's converter stores q and k of the llama architecture."""
    return (weights.reshape(n_head, 2, weights.shape[0] // n_head // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape))


def main(out):
    torch.manual_seed(7)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    rope = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)
    models = {
        "qwen2-bf16": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True, eos_token_id=3, bos_token_id=1,
                                                     rope_parameters=dict(rope_type="default", rope_theta=1e6)), torch.bfloat16, "1GB"),
        "qwen3-f16-shards": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True, eos_token_id=[3, 4],
                                                           rope_parameters=dict(rope_type="default", rope_theta=1e6)), torch.float16,
                             "4KB"),
        "llama-f32": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, tie_word_embeddings=False, rms_norm_eps=1e-5,
                                                    eos_token_id=3, bos_token_id=1, rope_parameters=rope), torch.float32, "1GB"),
    }
    lines = []
    for name, (cls, config, dtype, shard) in models.items():
        model = cls(config)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn_like(p))
        model = model.to(dtype)
        model.generation_config.eos_token_id = [3, 5]
        model.save_pretrained(os.path.join(out, name), max_shard_size=shard)
        lines.append(f"{name} {sum(p.numel() for p in model.parameters())} {digest(model, config.tie_word_embeddings)}")
    with open(os.path.join(out, "values.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    with open(os.path.join(out, "permute.txt"), "w") as f:
        for n_head, head_dim in ((2, 6), (3, 8)):
            rows = permute(np.arange(n_head * head_dim), n_head)
            f.write(f"{n_head} {head_dim} " + " ".join(map(str, rows)) + "\n")


main(sys.argv[1])
