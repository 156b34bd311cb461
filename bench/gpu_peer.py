#!/usr/bin/env python3
"""transformers on the same GPU, counted as bench_gpu counts: prefill of 64 prompts of 700 tokens with the last token's logits, and
decoding at batch 1 and 16. scripts/gpu-check.sh --bench runs both.

    python bench/gpu_peer.py [options] LIKE...        qwen2.5-0.5b, qwen2.5-3b, qwen2.5-7b

Half precision, SDPA attention, random weights made on the device, prompts of equal length: no padding, no tokeniser, nothing but the
forward pass. Prefill is measured at several batch sizes and the best is its figure. Decoding is eager with a dynamic cache; every
step feeds fixed tokens and takes the argmax on the device. Host clock, the device synchronised at both ends; one run to warm up, the
median of --repeats. One JSON line a measurement; gpu.torch is torch's own matrix product and copy. Needs torch and transformers.
"""

import argparse
import json
import statistics
import time

import torch
import transformers

# layers, hidden, heads, kv heads, intermediate, vocabulary, tied head; as src/model/synth_presets.c
SHAPES = {
    "qwen2.5-0.5b": (24, 896, 14, 2, 4864, 151936, True),
    "qwen2.5-1.5b": (28, 1536, 12, 2, 8960, 151936, True),
    "qwen2.5-3b": (36, 2048, 16, 2, 11008, 151936, True),
    "qwen2.5-7b": (28, 3584, 28, 4, 18944, 152064, False),
    "tiny": (2, 128, 4, 2, 320, 600, True),
}
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


def report(line):
    print(json.dumps(line), flush=True)


def sync(a):
    if a.device != "cpu":
        torch.cuda.synchronize()


def measure(a, run, inner=1):
    seconds = []
    for _ in range(a.repeats + 1):
        sync(a)
        t0 = time.perf_counter()
        for _ in range(inner):
            run()
        sync(a)
        seconds.append((time.perf_counter() - t0) / inner)
    return seconds[1:]


def figures(seconds):
    return {
        "repeats": len(seconds),
        "seconds_median": round(statistics.median(seconds), 6),
        "seconds_min": round(min(seconds), 6),
        "seconds_max": round(max(seconds), 6),
    }


def make(a, like):
    layers, hidden, heads, kv, inter, vocab, tied = SHAPES[like]
    config = transformers.Qwen2Config(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=inter,
        vocab_size=vocab, tie_word_embeddings=tied, max_position_embeddings=32768, rope_theta=1e6, rms_norm_eps=1e-6,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(TYPES[a.precision])
    try:
        with torch.device(a.device):
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0, hidden**-0.5)
    assert all(p.dtype == TYPES[a.precision] for p in model.parameters())
    return model.eval()


def prefill(a, like, model, ids):
    """The best of some batch sizes."""
    best = None
    for batch in a.batches:
        if batch > a.prompts:
            continue

        def run(batch=batch):
            for i in range(0, a.prompts, batch):
                model(ids[i : i + batch], use_cache=False, logits_to_keep=1).logits.argmax(-1)

        try:
            seconds = measure(a, run)
        except torch.OutOfMemoryError:
            break
        if best is None or statistics.median(seconds) < statistics.median(best[1]):
            best = batch, seconds
    batch, seconds = best
    tokens = a.prompts * a.tokens
    report(
        {"what": "peer.prefill", "like": like, "precision": a.precision, "batch": batch, "prompts": a.prompts, "tokens": tokens,
         **figures(seconds), "tokens_per_second": round(tokens / statistics.median(seconds), 1)}
    )  # fmt: skip


def decode(a, like, model, ids, batch):
    ids = ids[:batch]

    def steps():
        past = model(ids, use_cache=True, logits_to_keep=1).past_key_values
        sync(a)
        t0 = time.perf_counter()
        for i in range(a.decode):
            out = model(ids[:, i : i + 1], past_key_values=past, use_cache=True)
            past = out.past_key_values
            out.logits.argmax(-1)
        sync(a)
        return time.perf_counter() - t0

    seconds = [steps() for _ in range(a.repeats + 1)][1:]
    report(
        {"what": "peer.decode", "like": like, "precision": a.precision, "batch": batch, "steps": a.decode, "context": a.tokens,
         **figures(seconds), "tokens_per_second": round(batch * a.decode / statistics.median(seconds), 2)}
    )  # fmt: skip


def ceilings(a):
    n = a.cube
    x, w = (torch.randn(n, n, device=a.device).to(TYPES[a.precision]) for _ in range(2))
    product = statistics.median(measure(a, lambda: torch.nn.functional.linear(x, w), 4))
    from_, to = (torch.ones(a.copy_mb << 20, dtype=torch.uint8, device=a.device) for _ in range(2))
    copy = statistics.median(measure(a, lambda: to.copy_(from_), 4))
    report(
        {"what": "gpu.torch", "torch": torch.__version__, "transformers": transformers.__version__, "precision": a.precision, "cube": n,
         "tflops": round(2e-12 * n**3 / product, 2), "copy_gbytes_per_second": round(2e-9 * (a.copy_mb << 20) / copy, 1)}
    )  # fmt: skip


def main():
    p = argparse.ArgumentParser()
    p.add_argument("likes", nargs="+", choices=SHAPES, metavar="LIKE")
    p.add_argument("--device", default="cuda")
    p.add_argument("--precision", default="f16", choices=TYPES)
    p.add_argument("--prompts", type=int, default=64)
    p.add_argument("--tokens", type=int, default=700)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--batches", type=lambda s: [int(x) for x in s.split(",")], default=[8, 16, 32, 64])
    p.add_argument("--cube", type=int, default=8192)
    p.add_argument("--copy-mb", type=int, default=1024)
    p.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so many")
    a = p.parse_args()
    start = time.monotonic()

    def time_left(like, what):
        left = time.monotonic() - start <= a.seconds
        if not left:
            report({"what": "peer.skipped", "like": like, "skipped": what, "reason": f"{a.seconds:.0f} s are over"})
        return left

    torch.manual_seed(1)
    with torch.no_grad():
        ceilings(a)
        for like in a.likes:
            if not time_left(like, "all"):
                continue
            model = make(a, like)
            ids = torch.randint(0, SHAPES[like][5], (max(a.prompts, 16), a.tokens), device=a.device)
            if time_left(like, "prefill"):
                prefill(a, like, model, ids[: a.prompts])
            for batch in (1, 16):
                if time_left(like, f"decode {batch}"):
                    decode(a, like, model, ids, batch)
            del model


if __name__ == "__main__":
    main()
