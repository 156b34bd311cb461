#!/usr/bin/env python3
"""Writes a run directory (docs/formats.md) with made-up scores, for tests of the report and for working on its looks.

    make_fake_run.py OUT                        small run, the one under tests/goldens/report/run
    make_fake_run.py OUT --full                 20 messages, 9 references, 36 layers, 50 steps
    make_fake_run.py OUT --cosines FILE         cosines from a file of the form of published_cosines.json

The conversation is our own. Everything is drawn from one seed, so the same call writes the same bytes.
"""
import argparse
import json
import math
import pathlib

import numpy as np

SOURCES = ["hidden_in", "hidden_out", "attn_out", "mlp_down_out"]
POOLINGS = ["last", "content_last", "content_mean"]
METRICS = ["cosine", "mae", "jaccard"]
REFERENCES = ["love", "hate", "sadness", "annoyed", "scared", "joy", "apathy", "confusion", "peace"]

MESSAGES = [
    ("system", "You listen well and answer briefly."),
    ("user", "The choir sang my song tonight and the whole hall stood up. I am still humming it on the tram!"),
    ("assistant", "What a night! Hearing your own song fill a hall must be hard to put into words."),
    ("user", "It was lovely. Only, on the way home I kept wondering whether they stood up out of politeness."),
    ("assistant", "That doubt often comes when the noise dies down. What did their faces look like?"),
    ("user", "I could not look. There is a knock at my door now and nobody answers when I call. <script>alert(1)</script>"),
    ("assistant", "Stay inside and keep the chain on. Is there a neighbour you can phone right now?"),
    ("user", "It was my brother, drunk again, asking for money. I could have thrown him down the stairs & I meant it."),
    ("assistant", "You sound worn out by him. Wanting the door shut does not make you cruel."),
    ("user", "He said he has a bed in a clinic from Monday. Perhaps this time he stays the month."),
    ("assistant", "That would be a beginning. A month is long enough to notice the mornings again."),
    ("user", "Mother used to say that every year, and every year the chair at her table stayed empty. I miss her."),
    ("assistant", "An empty chair can fill a room. I am sorry she is not there to see Monday."),
    ("user", "It makes no difference. Songs, chairs, Mondays. I wash the cup and put it back."),
    ("assistant", "Then just the cup, for now. Nothing else has to be decided tonight."),
    ("user", "Wait. The conductor wrote: they want three more songs and a recording in May! I am dancing in socks!"),
    ("assistant", "Three more, and a recording! Dance on, the cup can wait."),
    ("user", "But which three? And who copies the parts, and what if May is too soon, and where do I even start?"),
    ("assistant", "Begin with the one you hum without noticing. The parts can be tomorrow's question."),
    ("user", "The kettle has gone quiet and so have I. Rain on the roof, nothing owed to anyone. This is enough."),
]
REPLY = " Then let the rain keep time for a while. Whatever May asks of you, tonight has already answered."


def mood(label: str, layer: float) -> float:
    """A smooth made-up profile over depth (0..1) that differs by reference and is widest near the end."""
    k = sum(map(ord, label))
    return 0.05 * math.exp(-((layer - 0.85) / 0.12) ** 2) * math.sin(k) + 0.01 * math.sin(6 * layer + k)


def make_scores(rng, n_snap, layers, refs, cosines):
    n_layers = len(layers)
    depth = np.linspace(0, 1, n_layers)
    base = {"hidden_in": 0.99 - 0.22 * depth**2, "hidden_out": 0.985 - 0.25 * depth**2,
            "attn_out": 0.55 + 0.25 * np.sin(5 * depth + 1), "mlp_down_out": 0.5 + 0.3 * np.sin(4 * depth + 2)}
    out = np.zeros((n_snap, len(POOLINGS), len(SOURCES), n_layers, len(refs), len(METRICS)))
    for i in range(n_snap):
        role = MESSAGES[i][0] if i < len(MESSAGES) else "assistant"
        drift = 0.09 * math.exp(-i / 4) - (0.06 if role == "assistant" else 0)
        for s, source in enumerate(SOURCES):
            for r, label in enumerate(refs):
                prof = base[source] + np.array([mood(label, d) for d in depth]) + drift * (1 if s < 2 else 2) * depth
                prof = prof + 0.012 * rng.standard_normal(n_layers) * depth + 0.03 * math.sin(i * (r + 1))
                for p in range(len(POOLINGS)):
                    c = np.clip(prof - 0.04 * p * depth, -1, 1)
                    out[i, p, s, :, r, 0] = c
                    out[i, p, s, :, r, 1] = (1 - c) * 2 + 0.05
                    out[i, p, s, :, r, 2] = np.clip(c - 0.3, 0.02, 1)
    if cosines is not None:
        c = np.array(cosines["cosine"], dtype=float)  # message, source, reference, layer
        c = np.transpose(c, (0, 1, 3, 2))
        out[: len(c), 0, :, :, :, 0] = c
        out[:, :, :, :, :, 1] = (1 - out[..., 0]) * 2 + 0.05
        out[:, :, :, :, :, 2] = np.clip(out[..., 0] - 0.3, 0.02, 1)
    out[0, 1:] = np.nan  # a system message without text of its own: no content vectors, as a zero vector would give
    return out


def rounded(x, digits=5):
    return [None if math.isnan(v) else round(float(v), digits) for v in np.asarray(x, dtype=float).ravel()]


def make_steps(rng, n_steps, top_k):
    words = REPLY.replace(",", " ,").replace(".", " .").split(" ")[1:]
    vocab = sorted({w for _, text in MESSAGES for w in text.split()})
    steps = []
    for t in range(min(n_steps, len(words) + 1)):
        last = t == len(words)
        token = "<|im_end|>" if last else (words[t] if words[t] in ",." else " " + words[t])
        logits = np.sort(rng.gumbel(size=200) * 2)[::-1]
        prob = np.exp(logits - logits.max())
        prob /= prob.sum()
        entropy = float(-(prob * np.log(prob)).sum())
        names = [token] + [" " + vocab[j] for j in rng.choice(len(vocab), top_k - 1, replace=False)]
        top = [{"id": 100 + 7 * t + j, "token": names[j], "logprob": round(math.log(prob[j]), 5)} for j in range(top_k)]
        steps.append({
            "step": t, "kind": "prefill" if t == 0 else "decode", "seq_len": 412 + t if t else 412,
            "input_token_ids": [], "input_tokens": [], "generated_token_id": 100 + 7 * t, "generated_token": token,
            "logit_argmax_id": 100 + 7 * t, "logit_argmax_logprob": top[0]["logprob"], "top_k": top,
            "logit_stats": {"entropy": round(entropy, 5), "effective_vocab": round(math.exp(entropy), 4),
                            "top1_prob": round(float(prob[0]), 6)},
            "tensors_file": f"tensors/step_{t:03d}.npz", "tensor_index": {}})
    return {"steps": steps}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--full", action="store_true")
    ap.add_argument("--cosines", type=pathlib.Path)
    ap.add_argument("--prompts", type=int, default=1)
    ap.add_argument("--state", default="done")
    ap.add_argument("--seed", type=int, default=7)
    a = ap.parse_args()
    rng = np.random.default_rng(a.seed)
    cosines = json.loads(a.cosines.read_text()) if a.cosines else None
    big = a.full or cosines is not None
    refs = cosines["references"] if cosines else (REFERENCES if big else ["sadness", "joy", "apathy", "peace"])
    layers = list(range(36 if big else 4))
    n_msg = len(MESSAGES) if big else 6
    n_snap = n_msg if cosines else n_msg + 1
    prompts = [f"prompt_{i}" for i in range(a.prompts)]
    for name in prompts:
        scores = make_scores(rng, n_snap, layers, refs, cosines)
        rows = MESSAGES[:n_msg] + ([] if cosines else [("assistant", REPLY.strip())])
        drift = np.clip(0.9 - 0.4 * rng.random((len(SOURCES), len(METRICS), len(layers))), -1, 1)
        write(a.out / name / "scores.json", {
            "format": "llmct-scores", "version": 1,
            "snapshots": [{"index": i, "role": role, "content_preview": text[:120], "n_tokens": 14 + 26 * i,
                           "generated": i >= n_msg} for i, (role, text) in enumerate(rows)],
            "poolings": POOLINGS, "sources": SOURCES, "layers": layers, "references": refs, "metrics": METRICS,
            "axes": ["snapshot", "pooling", "source", "layer", "reference", "metric"], "scores": rounded(scores),
            "intra_run": {s: {m: rounded(drift[i, j]) for j, m in enumerate(METRICS)} for i, s in enumerate(SOURCES)}})
        write(a.out / name / "steps.json", make_steps(rng, 50 if big else 5, 20 if big else 5))
    write(a.out / "scan.json", {
        "format": "llmct-scan", "version": 1, "state": a.state, "name": "rain_on_the_roof" if big else "small_talk",
        "created_at": "2026-01-02T03:04:05Z", "llmct_version": "0.1.0", "precision": "exact",
        "scenario_sha256": "5e" * 32,
        "model": {"path": "models/made-up", "id": "made-up/Qwen2.5-shaped", "arch": "qwen2", "format": "safetensors",
                  "n_layers": len(layers), "hidden": 2048, "n_heads": 16, "n_kv_heads": 2, "vocab": 151936,
                  "n_params": 3085938688, "hash": "a1" * 32},
        "template": {"name": "qwen2.5", "hash": "c3" * 32},
        "tokens": {"computed": 1290, "prefix_by_prefix": 11548, "generated": 50 if big else 5},
        "seconds": {"load": 0.412, "prefill": 6.318, "decode": 4.207, "write": 0.733, "total": 11.67},
        "machine": {"cpu": "A made-up processor", "threads": 2},
        "references": refs, "prompts": prompts, "saturated": 0, "utf8_replaced": 0})


if __name__ == "__main__":
    main()
