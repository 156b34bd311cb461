#!/usr/bin/env python3
"""Developer check: transformers loads the folders `synth` wrote, and reads the numbers that synth.h documents.

    python tests/oracle/check_synth.py SEED FOLDER...

For each folder: AutoTokenizer and AutoModelForCausalLM load it, a chat renders and round-trips, logits are finite and not
degenerate, and every tensor equals, bit for bit, the documented generator computed here with numpy.

    python tests/oracle/check_synth.py SEED FOLDER... --golden tests/goldens/synth/seed1.txt

also writes "FOLDER-NAME TENSOR SHA-256-OF-ITS-BYTES" (of the numpy values) for the unit test. Needs torch, transformers, numpy.
"""
import hashlib
import json
import math
import os
import sys
import unicodedata

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MASK = (1 << 64) - 1
G = 0x9E3779B97F4A7C15


def mix(z):
    if isinstance(z, np.ndarray):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fnv1a(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def lanes(v):
    return sum(((v >> np.uint64(s)) & np.uint64(0xFFFF)).astype(np.int64) for s in (0, 16, 32, 48))


def generate(seed, name, shape, mean, std):
    n = int(np.prod(shape))
    key = mix(seed ^ mix(fnv1a(name)))
    i = np.arange(n, dtype=np.uint64)
    a = mix(np.uint64(key) + (np.uint64(2) * i + np.uint64(1)) * np.uint64(G))
    b = mix(np.uint64(key) + (np.uint64(2) * i + np.uint64(2)) * np.uint64(G))
    t = 2 * (lanes(a) + lanes(b)) - 8 * 65535
    unit = std / math.sqrt(4.0 * 8.0 * (65536.0 * 65536.0 - 1.0) / 12.0)
    shift = int(math.floor(mean / unit + 0.5))
    return ((t + shift).astype(np.float64) * unit).astype(np.float32).reshape(shape)


def scales(name, shape, cfg):
    """mean, std as synth.h says."""
    if name == "model.norm.weight":
        return 2.0, 0.2
    if name.endswith("norm.weight"):
        return 1.0, 0.1
    if name.endswith("bias"):
        return 0.0, {"q_proj": 0.5, "k_proj": 0.5, "v_proj": 0.1, "o_proj": 0.02}[name.split(".")[-2]]
    if name == "model.embed_tokens.weight" and not cfg["tie_word_embeddings"]:
        return 0.0, 1.0
    std = 1 / math.sqrt(shape[-1])
    if "o_proj" in name:
        std /= math.sqrt(2.0 * cfg["num_hidden_layers"])
    if "down_proj" in name:
        std *= 3 / math.sqrt(2.0 * cfg["num_hidden_layers"])
    return 0.0, std


def check(seed, folder, golden):
    with open(os.path.join(folder, "config.json")) as f:
        cfg = json.load(f)
    tok = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", attn_implementation="eager", output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], (what, info[what])
    assert model.generation_config.eos_token_id is not None
    tensors = dict(model.named_parameters())
    for name, p in tensors.items():
        mean, std = scales(name, p.shape, cfg)
        want = torch.from_numpy(generate(seed, name, tuple(p.shape), mean, std)).to(p.dtype)
        assert torch.equal(want.view(torch.uint8), p.detach().view(torch.uint8)), name
        data = want.contiguous().view(torch.uint8).numpy().tobytes()
        golden.append(f"{os.path.basename(folder.rstrip('/'))} {name} {hashlib.sha256(data).hexdigest()}")
    text = "Hello, I'm Zoë — 你好 🙂 e\u0301\n\n  and  then\tsome <|im_end|> tokens"
    ids = tok(text)["input_ids"]
    assert tok.decode(ids) == unicodedata.normalize("NFC", text), tok.decode(ids)
    assert len(ids) < len(text.encode())  # merges are exercised
    chat = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "How are you today?"}]
    shown = tok.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert shown == ("<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\nHow are you today?<|im_end|>\n"
                     "<|im_start|>assistant\n"), shown
    assert tok.eos_token == "<|im_end|>" and tok.eos_token_id == cfg["eos_token_id"]
    ids = torch.tensor([tok(shown)["input_ids"]])
    model = model.float()
    with torch.no_grad():
        out = model(ids, output_hidden_states=True)
    logits = out.logits[0]
    rms = [round(float(h.square().mean().sqrt()), 3) for h in out.hidden_states]
    top = float(logits[-1].softmax(-1).max())
    assert torch.isfinite(logits).all() and 0.5 < float(logits.std()) < 6 and top < 0.9, (float(logits.std()), top)
    new = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)[0, ids.shape[1]:].tolist()
    assert len(set(new)) > 6, new  # greedy decoding must not be stuck on one token
    print(f"{folder}: {len(tensors)} tensors equal, {ids.shape[1]} tokens, logits std {float(logits.std()):.2f}, top {top:.3f}, "
          f"rms {rms[0]} .. {rms[-2]}")


def main(args):
    out = None
    if "--golden" in args:
        at = args.index("--golden")
        out = args[at + 1]
        del args[at:at + 2]
    golden = []
    for folder in args[1:]:
        check(int(args[0]), folder, golden)
    if out:
        with open(out, "w") as f:
            f.write("\n".join(golden) + "\n")


main(sys.argv[1:])
