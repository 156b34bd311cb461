#!/usr/bin/env python3
"""Developer check: the engine against transformers (float32, eager attention) on a model of real size, tap by tap, and 64 tokens
of greedy decoding.

    python tests/oracle/check_parity.py DUMP_TAPS MODEL [--tokens 900] [--fast]

DUMP_TAPS is the program build/tests/tools/dump_taps; MODEL a Hugging Face folder or a .gguf file. The text is
configs/where_emotions_lie.yaml's, over and over, in the model's own tokens. With --fast the oracle runs in bfloat16 too, and the
engine's error is shown over that. Exit code 1 when an error is above 1e-5 (twice bfloat16's) or a token differs. Needs torch,
transformers, numpy; for a .gguf file gguf.
"""

import argparse
import pathlib
import struct
import subprocess
import sys

import numpy as np
import torch
from gen_parity import Taps, greedy, load
from transformers import AutoTokenizer

TEXT = pathlib.Path(__file__).resolve().parents[2] / "configs" / "where_emotions_lie.yaml"
HEADER = struct.Struct("<16s5i")


def where(path):
    path = pathlib.Path(path)
    return (str(path.parent), {"gguf_file": path.name}) if path.is_file() else (str(path), {})


class Errors:
    """Squared error and squared norm of every tap, as the records come."""

    def __init__(self, want):
        self.want, self.sums = want, {}

    def add(self, source, layer, row0, got):
        want = self.want[source, layer]
        want = want[:, row0 : row0 + got.shape[1]] if want.ndim == 3 else want[None, row0 : row0 + got.shape[1]]
        d = got.astype(np.float64) - want
        s = self.sums.setdefault((source, layer), [0.0, 0.0, 0])
        s[0] += float((d * d).sum())
        s[1] += float((want.astype(np.float64) ** 2).sum())
        s[2] += got.shape[1]

    def relative(self):
        return {key: (a / b) ** 0.5 for key, (a, b, n) in self.sums.items()}


def dumped(program, model, ids, fast):
    p = subprocess.Popen([program, model] + ["--precision", "fast"] * fast, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(np.asarray(ids, dtype="<i4").tobytes())
    p.stdin.close()
    while head := p.stdout.read(HEADER.size):
        name, layer, row0, n, width, heads = HEADER.unpack(head)
        data = np.frombuffer(p.stdout.read(heads * n * width * 4), dtype="<f4").reshape(heads, n, width)
        yield name.rstrip(b"\0").decode(), layer, row0, data
    if p.wait() != 0:
        sys.exit("dump_taps failed")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("model")
    a.add_argument("--tokens", type=int, default=900)
    a.add_argument("--fast", action="store_true")
    a = a.parse_args()
    folder, extra = where(a.model)
    tokenizer = AutoTokenizer.from_pretrained(folder, **extra)
    text = tokenizer(TEXT.read_text(), add_special_tokens=False)["input_ids"]
    ids = (text * (a.tokens // len(text) + 1))[: a.tokens]

    model = load(folder, torch.float32, **extra)
    taps = Taps(model)
    want = taps.run(ids)
    taps.close()
    errors = Errors(want)
    for source, layer, row0, data in dumped(a.program, a.model, ids, a.fast):
        errors.add(source, layer, row0, data)
    assert {n for _, _, n in errors.sums.values()} == {len(ids)}, "rows are missing"
    assert errors.sums.keys() == want.keys(), want.keys() ^ errors.sums.keys()

    got, limit, unit = errors.relative(), 1e-5, 1.0
    if a.fast:
        rough = Errors(want)
        taps = Taps(load(folder, torch.bfloat16, **extra))
        for (source, layer), x in taps.run(ids).items():
            rough.add(source, layer, 0, x if x.ndim == 3 else x[None])
        bf16, limit = rough.relative(), 2.0
        got = {key: e / bf16[key] if bf16[key] > 0 else e for key, e in got.items()}
    kind = "fast: error over that of the oracle in bfloat16" if a.fast else "exact: relative L2 error"
    print(f"{a.model}: {len(ids)} tokens, {kind}")
    for source in dict.fromkeys(s for s, _ in got):
        per_layer = {layer: e for (s, layer), e in got.items() if s == source}
        worst = max(per_layer, key=per_layer.get)
        print(f"  {source:13} worst {per_layer[worst]:.2e} (layer {worst}), median {np.median(list(per_layer.values())):.2e}")
    ok = max(got.values()) <= limit

    if not a.fast:
        prompt = ids[:200]
        reply, margin = greedy(model, prompt, 64)
        out = subprocess.run(
            [a.program, a.model, "--greedy", "64"],
            input=np.asarray(prompt, dtype="<i4").tobytes(),
            stdout=subprocess.PIPE,
            check=True,
        )
        ours = np.frombuffer(out.stdout, dtype="<i4").tolist()
        equal = sum(x == y for x, y in zip(ours, reply))
        print(f"  greedy: {equal} of 64 tokens equal, {len(set(reply))} distinct, smallest margin {margin:.4f}")
        ok = ok and ours == reply
    print("ok" if ok else "NOT ok")
    sys.exit(not ok)


if __name__ == "__main__":
    main()
