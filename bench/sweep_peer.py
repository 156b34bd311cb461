#!/usr/bin/env python3
"""The sweep as one writes it with transformers: batches padded and sorted by length, output_hidden_states, pooled, saved with numpy.

  bench/sweep_peer.py --model HF_FOLDER --data FILE.jsonl --n 100 --way prefix --out FILE.npz

prefix: every messages[:i] with the generation prompt is a prompt of its own: its last token's vector and the mean over the message's own
text, of every layer: what llmct-gpu sweep gives. conversation: one pass a conversation; the means alone, as a prefix's last token (of the
generation prompt) is not in there. The model is called without its head. Prints one JSON line: seconds and tokens.
"""
import argparse
import json
import resource
import time


def prompts_of(tokenizer, conversations, way):
    """Text, and the character ranges of the contents whose means are wanted."""
    out = []
    for messages in conversations:
        ends = range(1, len(messages) + 1) if way == "prefix" else [len(messages)]
        for end in ends:
            text = tokenizer.apply_chat_template(messages[:end], tokenize=False, add_generation_prompt=way == "prefix")
            spans, at = [], 0
            for m in messages[:end]:
                begin = text.index(m["content"], at)
                at = begin + len(m["content"])
                spans.append((begin, at))
            out.append((text, spans[-1:] if way == "prefix" else spans))
    return out


def encode(tokenizer, prompts):
    """Token ids, and per span the tokens that overlap it."""
    encoded = tokenizer([text for text, _ in prompts], add_special_tokens=False, return_offsets_mapping=True)
    out = []
    for ids, offsets, (_, spans) in zip(encoded["input_ids"], encoded["offset_mapping"], prompts):
        ranges = []
        for begin, end in spans:
            inside = [i for i, (b, e) in enumerate(offsets) if b < end and e > begin]
            ranges.append((inside[0], inside[-1] + 1))
        out.append((ids, ranges))
    return out


def batches(encoded, budget):
    """Indexes, longest first, at most budget tokens with padding."""
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i][0]))
    batch = []
    for i in order:
        if batch and len(encoded[batch[0]][0]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def sweep(torch, model, pad, encoded, budget, way):
    """last (prompts, layers + 1, hidden) and means [prompt](spans, layers + 1, hidden), float16, and the tokens with padding."""
    import numpy as np
    last, means, padded = [None] * len(encoded), [None] * len(encoded), 0
    with torch.inference_mode():
        for batch in batches(encoded, budget):
            lengths = [len(encoded[i][0]) for i in batch]
            longest = max(lengths)
            ids = torch.tensor([encoded[i][0] + [pad] * (longest - n) for i, n in zip(batch, lengths)])
            mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
            padded += ids.numel()
            states = model(input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True).hidden_states
            for row, i in enumerate(batch):
                if way == "prefix":
                    last[i] = torch.stack([h[row, lengths[row] - 1] for h in states]).half().numpy()
                means[i] = torch.stack([torch.stack([h[row, b:e].mean(0) for h in states]) for b, e in encoded[i][1]]).half().numpy()
    return np.stack(last) if way == "prefix" else np.zeros(0, np.float16), np.concatenate(means), padded


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--n", type=int, required=True)
    p.add_argument("--way", choices=["prefix", "conversation"], required=True)
    p.add_argument("--dtype", default="float32")
    p.add_argument("--batch-tokens", type=int, default=4096)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    start = time.perf_counter()
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer
    if a.threads:
        torch.set_num_threads(a.threads)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    model = AutoModel.from_pretrained(a.model, dtype=getattr(torch, a.dtype)).eval()
    loaded = time.perf_counter()
    with open(a.data, encoding="utf-8") as f:
        conversations = [json.loads(line)["messages"] for _, line in zip(range(a.n), f)]
    encoded = encode(tokenizer, prompts_of(tokenizer, conversations, a.way))
    planned = time.perf_counter()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    last, means, padded = sweep(torch, model, pad, encoded, a.batch_tokens, a.way)
    np.savez(a.out, last=last, content_mean=means)
    end = time.perf_counter()
    print(json.dumps({"seconds_load": loaded - start, "seconds_plan": planned - loaded, "seconds": end - loaded, "rows": len(means),
                      "conversations": len(conversations), "tokens": sum(len(ids) for ids, _ in encoded), "tokens_padded": padded,
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
