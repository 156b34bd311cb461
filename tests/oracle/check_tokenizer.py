#!/usr/bin/env python3
"""The full comparison with Hugging Face `tokenizers`: ids, offsets and decoded text, and the speed of both in one thread.

check_tokenizer.py --tool BUILD/tests/tools/tok_stream --qwen25 FOLDER --qwen3 FOLDER --smollm2 FILE.gguf --shared FOLDER
Any tokenizer may be left out; --json FILE compares one more tokenizer.json. Exit code 1 on any difference in ids or text.
"""
import argparse
import array
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizer_texts  # noqa: E402
from tokenizers import Tokenizer, pre_tokenizers  # noqa: E402


def smollm2(gguf):
    """transformers rebuilds the tokenizer but for its Digits step, which GGUF only names (pre = smollm)."""
    from transformers import AutoTokenizer

    path = pathlib.Path(gguf)
    t = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).backend_tokenizer
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return t


def stream(tool, path, mode, records):
    """The tool's answers to a list of byte strings."""
    p = subprocess.Popen([tool, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed():
        for rec in records:
            p.stdin.write(struct.pack("<I", len(rec)) + rec)
        p.stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    while head := p.stdout.read(4):
        yield p.stdout.read(struct.unpack("<I", head)[0])
    if p.wait() != 0:
        sys.exit(f"{tool} failed on {path}")


def byte_offsets(text, offsets):
    if text.isascii():
        return offsets
    at, k = [0], 0
    for c in text:
        k += len(c.encode())
        at.append(k)
    return [(at[a], at[b]) for a, b in offsets]


class Counts:
    def __init__(self):
        self.texts = self.tokens = self.ids = self.decodes = self.offsets = self.dropped = self.uncovered = 0


def missing_bytes(hf):
    """Bytes without a token. tokenizers drops them and counts its offsets as if they had never been there; ours stay true."""
    vocab = hf.get_vocab(with_added_tokens=False)
    letters = {b: c for b, c in zip(bytes_in_alphabet_order(), sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return {b for b, c in letters.items() if c not in vocab}


def bytes_in_alphabet_order():
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return own + [b for b in range(256) if b not in own]


def compare(tool, path, hf, texts, label, counts, show=5):
    normal, missing = hf.normalizer, missing_bytes(hf)
    encoded = [t.encode() for t in texts]
    id_records = []
    for text, raw in zip(texts, stream(tool, path, "encode", encoded)):
        got = array.array("I", raw).tolist()
        ids, spans = got[0::3], list(zip(got[1::3], got[2::3]))
        want = hf.encode(text, add_special_tokens=False)
        counts.texts += 1
        counts.tokens += len(ids)
        id_records.append(array.array("i", want.ids).tobytes())
        if ids != want.ids:
            counts.ids += 1
            if counts.ids <= show:
                print(f"  {label}: ids differ on {text!r}\n    ours {ids}\n    want {want.ids}")
            continue
        expected = byte_offsets(text, want.offsets)
        if spans != expected:
            changed = normal is not None and normal.normalize_str(text) != text
            counts.offsets += 1
            if missing.intersection(text.encode()):
                counts.dropped += 1
                continue
            bad = [i for i, (a, b) in enumerate(zip(spans, expected)) if a[0] > b[0] or a[1] < b[1]]
            if bad or not changed:
                counts.uncovered += 1
                if counts.uncovered <= show:
                    print(f"  {label}: offsets do not cover on {text!r} (NFC changes it: {changed})\n    ours {spans}\n    want {expected}")
    for mode, skip in (("decode", False), ("decode-skip", True)):
        for ids, raw in zip(id_records, stream(tool, path, mode, id_records)):
            want = hf.decode(array.array("i", ids).tolist(), skip_special_tokens=skip)
            if raw != want.encode():
                counts.decodes += 1
                if counts.decodes <= show:
                    print(f"  {label}: {mode} differs: ours {raw!r} want {want!r}")


def batches(texts, n=20000):
    part = []
    for t in texts:
        part.append(t)
        if len(part) == n:
            yield part
            part = []
    if part:
        yield part


def bench(tool, path, hf, texts, label):
    data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    size = sum(len(t.encode()) for t in texts)
    line = subprocess.run([tool, path, "bench", "2"], input=data, capture_output=True, check=True).stdout.decode().strip()
    best = {"encode": 1e9, "encode_batch": 1e9}
    for _ in range(3):
        t0 = time.perf_counter()
        for t in texts:
            hf.encode(t, add_special_tokens=False)
        best["encode"] = min(best["encode"], time.perf_counter() - t0)
        t0 = time.perf_counter()
        hf.encode_batch(texts, add_special_tokens=False)
        best["encode_batch"] = min(best["encode_batch"], time.perf_counter() - t0)
    rates = {k: size / v / 1e6 for k, v in best.items()}
    ours = float(line.split()[0])
    print(f"  {label}: ours {line}; tokenizers encode {rates['encode']:.2f} MB/s, encode_batch {rates['encode_batch']:.2f} MB/s:"
          f" {ours / max(rates.values()):.1f}x")


def id_hash(hf, texts):
    """SHA-256 over the ids of all texts, each a little-endian int32, every text followed by -1; what test_tokenizer computes."""
    h = hashlib.sha256()
    n = 0
    for t in texts:
        ids = hf.encode(t, add_special_tokens=False).ids
        n += len(ids)
        h.update(array.array("i", ids + [-1]).tobytes())
    return {"texts": len(texts), "tokens": n, "sha256": h.hexdigest()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--tool")
    p.add_argument("--qwen25")
    p.add_argument("--qwen3")
    p.add_argument("--smollm2")
    p.add_argument("--json", action="append", default=[])
    p.add_argument("--shared")
    p.add_argument("--fuzz", type=int, default=200000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--every-char", action="store_true")
    p.add_argument("--bench", action="store_true")
    p.add_argument("--write-hashes", help="write the golden file of id hashes over the shared data")
    a = p.parse_args()
    tokenizers = []
    for key in ("qwen25", "qwen3"):
        if getattr(a, key):
            folder = getattr(a, key)
            tokenizers.append((key, folder, Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))))
    if a.smollm2:
        tokenizers.append(("smollm2", a.smollm2, smollm2(a.smollm2)))
    tokenizers += [(pathlib.Path(j).stem, j, Tokenizer.from_file(j)) for j in a.json]
    files = sorted(pathlib.Path(a.shared, "data").glob("*.jsonl")) if a.shared else []
    data = {f.name: list(tokenizer_texts.messages(f)) for f in files}
    if a.write_hashes:
        golden = {key: {name: id_hash(hf, texts) for name, texts in data.items()} for key, _, hf in tokenizers}
        pathlib.Path(a.write_hashes).write_text(json.dumps(golden, indent=1) + "\n")
        return
    failed = False
    for key, path, hf in tokenizers:
        counts = Counts()
        sources = [(name, texts) for name, texts in data.items()] + [("fuzz", tokenizer_texts.fuzz(a.fuzz, a.seed))]
        if a.every_char:
            sources.append(("every char", tokenizer_texts.every_char()))
        for name, texts in sources:
            for part in batches(texts):
                compare(a.tool, path, hf, part, f"{key} {name}", counts)
        failed |= counts.ids > 0 or counts.decodes > 0 or counts.uncovered > 0
        print(f"{key}: {counts.texts} texts, {counts.tokens} tokens; texts that differ in ids {counts.ids}, decoded {counts.decodes},"
              f" offsets {counts.offsets} (of these with dropped bytes {counts.dropped}; not covering tokenizers' own, or without NFC changes:"
              f" {counts.uncovered})", flush=True)
        if a.bench:
            for name, texts in data.items():
                bench(a.tool, path, hf, texts, name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
