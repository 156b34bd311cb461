#!/usr/bin/env python3
"""The engine on a GPU against transformers on the same GPU, tap by tap. scripts/gpu-check.sh runs it.

    python tests/oracle/check_gpu.py DUMP_TAPS LLMCT_GPU [options] LIKE[:TOKENS]...

LIKE is a shape that `llmct-gpu synth --like` knows; its random weights are written to --folder (a temporary one). transformers in
float32 (eager attention, TF32 off) is the truth. The rule, for every tap and each of f16 and bf16: the engine's relative L2 error is
at most twice that of transformers run in that type on that GPU with the same weights (eager; its matrix products accumulate in
float32). One JSON line a model and type: the worst ratio of every source and where it is. Where transformers is exact, so must the engine be.

--invariance runs, instead, several prompts that share beginnings, the longest of TOKENS: all together, each alone, all together again,
in another process, and wants every bit of every tap equal.

Exit code 1 when something is not as it must be, 3 when --seconds were over before the last model. Needs torch, transformers, numpy.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from gen_parity import Taps, first, load

HEADER = struct.Struct("<16s5i")
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


class DeviceTaps(Taps):
    """Taps that stay on the device, in the type they were computed in."""

    def keep(self, name, layer, x):
        self.taps[name, layer] = first(x)[0].detach()

    def run(self, ids):
        self.taps = {}
        device = next(self.model.parameters()).device
        with torch.no_grad():
            out = self.model(torch.tensor([ids], device=device), use_cache=False)
        self.keep("logits", -1, out.logits)
        taps, self.taps = self.taps, {}
        return taps


class Parameters:
    """The float32 parameters of a model; `to` puts rounded ones in their place (buffers, the rotary frequencies among them, stay
    float32, as from_pretrained leaves them)."""

    def __init__(self, model):
        self.model = model
        self.exact = [(p, p.data) for p in model.parameters()]

    def to(self, dtype):
        for p, exact in self.exact:
            p.data = exact.to(dtype)

    def restore(self):
        for p, exact in self.exact:
            p.data = exact


def squares(got, want):
    """Squared L2 of the difference, in float64."""
    d = got.double() - want.double()
    return float((d * d).sum())


class Errors:
    def __init__(self, want):
        self.want, self.sums, self.rows = want, {}, {}
        self.norms = {key: float((x.double() ** 2).sum()) for key, x in want.items()}

    def add(self, key, row0, got):
        want = self.want[key]
        want = want[:, row0 : row0 + got.shape[-2], : got.shape[-1]] if want.ndim == 3 else want[row0 : row0 + got.shape[-2]]
        self.sums[key] = self.sums.get(key, 0.0) + squares(got, want)
        self.rows[key] = self.rows.get(key, 0) + got.shape[-2]

    def relative(self):
        return {key: (s / self.norms[key]) ** 0.5 if self.norms[key] > 0 else s for key, s in self.sums.items()}


def command(a, folder, precision, *more):
    args = [a.program, str(folder), "--device", a.device]
    return args + (["--precision", precision] if precision else []) + list(more)


def dumped(a, folder, ids, precision):
    p = subprocess.Popen(command(a, folder, precision), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 24)
    p.stdin.write(np.asarray(ids, dtype="<i4").tobytes())
    p.stdin.close()
    while head := p.stdout.read(HEADER.size):
        name, layer, row0, n, width, heads = HEADER.unpack(head)
        name, data = name.rstrip(b"\0").decode(), bytearray(heads * n * width * 4)
        view, at = memoryview(data), 0
        while at < len(data) and (k := p.stdout.readinto(view[at:])):
            at += k
        if at < len(data):
            break
        x = torch.frombuffer(data, dtype=torch.float32).reshape(heads, n, width).to(a.torch_device)
        yield (name, layer), row0, x if name == "attn_weights" else x[0]
    if p.wait() != 0:
        raise RuntimeError(f"dump_taps failed with exit code {p.returncode}")


def synth(a, like, parent):
    folder = parent / like
    if not folder.exists():
        subprocess.run([a.llmct, "synth", "--like", like, "--seed", "1", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


def report(line):
    print(json.dumps(line), flush=True)


def ratio(ours, theirs):
    return ours / theirs if theirs > 0 else (0.0 if ours == 0 else float("inf"))


def compare(a, like, folder, ids, precision, want, parameters):
    t0 = time.monotonic()
    rough = Errors(want)
    parameters.to(TYPES[precision])
    taps = DeviceTaps(parameters.model)
    for key, x in taps.run(ids).items():
        rough.add(key, 0, x)
    taps.close()
    parameters.restore()
    errors = Errors(want)
    for key, row0, x in dumped(a, folder, ids, a.ours or precision):
        errors.add(key, row0, x)
    short = [key for key in want if errors.rows.get(key) != len(ids)]
    ours, theirs = errors.relative(), rough.relative()
    worst, limit = {}, 2.0
    for key in want:
        r = ratio(ours.get(key, float("inf")), theirs[key])
        if not r <= worst.get(key[0], {"ratio": -1})["ratio"]:
            worst[key[0]] = {"ratio": round(r, 4), "layer": key[1], "error": ours.get(key), "transformers": theirs[key]}
    ok = not short and all(w["ratio"] <= limit for w in worst.values())
    top = max(worst, key=lambda s: worst[s]["ratio"])
    report(
        {"what": "gpu.parity", "like": like, "precision": precision, "tokens": len(ids), "result": "pass" if ok else "fail",
         "worst_source": top, "worst_ratio": worst[top]["ratio"], "limit": limit, "missing_taps": [f"{s} {n}" for s, n in short],
         "sources": worst, "seconds": round(time.monotonic() - t0, 2)}
    )  # fmt: skip
    return ok


def parity(a, like, n_tokens, parent):
    t0 = time.monotonic()
    folder = synth(a, like, parent)
    t1 = time.monotonic()
    placed = {"device_map": a.torch_device} if a.accelerate else {}
    model = load(str(folder), torch.float32, **placed).to(a.torch_device)
    ids = np.random.default_rng(7).integers(0, model.config.vocab_size, n_tokens).tolist()
    taps = DeviceTaps(model)
    want = taps.run(ids)
    taps.close()
    report(
        {"what": "gpu.parity.oracle", "like": like, "parameters": sum(p.numel() for p in model.parameters()),
         "seconds_synth": round(t1 - t0, 2), "seconds_oracle": round(time.monotonic() - t1, 2)}
    )  # fmt: skip
    parameters = Parameters(model)
    results = [compare(a, like, folder, ids, precision, want, parameters) for precision in a.precisions]
    del want, model, parameters
    if a.torch_device != "cpu":
        torch.cuda.empty_cache()
    return all(results)


def digests(a, folder, groups, precision):
    """{(group, prompt): [(source, layer, hash), ...]} of one process; the prompts of a group are run together."""
    ids = np.concatenate([np.asarray([i for p in g for i in (*p, -1)] + [-2], dtype="<i4") for g in groups])
    out = subprocess.run(command(a, folder, precision, "--digest"), input=ids.tobytes(), stdout=subprocess.PIPE, check=True)
    found = {}
    for line in out.stdout.decode().splitlines():
        group, prompt, *rest = line.split()
        found.setdefault((int(group), int(prompt)), []).append(tuple(rest))
    return found


def invariance(a, like, longest, parent):
    """Prompts of one token and more; some begin alike, one lies inside another, two are equal but for the last token."""
    folder = synth(a, like, parent)
    vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
    rng = np.random.default_rng(9)
    n = longest
    x, y = (rng.integers(0, vocab, n).tolist() for _ in range(2))
    prompts = [x[:1], x[: n // 11], x[: n // 3] + y[:5], x, y[: n // 2 + 1], x[:-1] + [(x[-1] + 1) % vocab], y[: n // 7]]
    ok = True
    for precision in a.precisions:
        t0 = time.monotonic()
        # together, each alone, together again; then together in another process, whose choices of algorithms are its own
        groups = [prompts, *([p] for p in prompts), prompts]
        one = digests(a, folder, groups, a.ours or precision)
        other = digests(a, folder, [prompts], a.ours or precision)
        together = [one.get((0, i)) for i in range(len(prompts))]
        if n > 1 and together[3] == together[5]:
            raise RuntimeError("the digests of two different prompts are equal: they see nothing")
        checks = {
            "alone against together": [one.get((1 + i, 0)) for i in range(len(prompts))],
            "run twice": [one.get((1 + len(prompts), i)) for i in range(len(prompts))],
            "another process": [other.get((0, i)) for i in range(len(prompts))],
        }
        for name, again in checks.items():
            pairs = [(i, u, v) for i in range(len(prompts)) for u, v in zip(together[i] or [None], again[i] or [None])]
            different = [f"prompt {i} {' '.join((u or v or ('nothing',))[:2])}" for i, u, v in pairs if u is None or u != v]
            report(
                {"what": "gpu.invariance", "like": like, "precision": precision, "check": name,
                 "result": "fail" if different else "pass", "prompts": len(prompts), "longest": n, "taps": len(pairs),
                 "different": len(different), "first_different": different[:5], "seconds": round(time.monotonic() - t0, 2)}
            )  # fmt: skip
            ok = ok and not different
    return ok


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("program", metavar="DUMP_TAPS")
    p.add_argument("llmct", metavar="LLMCT_GPU")
    p.add_argument("models", nargs="+", metavar="LIKE[:TOKENS]")
    p.add_argument("--device", default="cuda:0", help="the engine's")
    p.add_argument("--torch-device", default="cuda", help="the oracle's")
    p.add_argument("--precisions", default="f16,bf16", type=lambda s: s.split(","))
    p.add_argument("--ours", help="precision given to the engine in place of the one compared (fast: to try this on a CPU)")
    p.add_argument("--folder", type=pathlib.Path, help="where models are made, and left")
    p.add_argument("--invariance", action="store_true")
    p.add_argument("--seconds", type=float, default=float("inf"), help="begin no further model after so many")
    return p.parse_args()


def main():
    a = arguments()
    start = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        import accelerate  # noqa: F401  lets transformers load straight to the device

        a.accelerate = a.torch_device != "cpu"
    except ImportError:
        a.accelerate = False
    ok, skipped = True, False
    with tempfile.TemporaryDirectory() as temporary:
        parent = a.folder or pathlib.Path(temporary)
        parent.mkdir(parents=True, exist_ok=True)
        for model in a.models:
            like, _, tokens = model.partition(":")
            what = "gpu.invariance" if a.invariance else "gpu.parity"
            if time.monotonic() - start > a.seconds:
                report({"what": what, "like": like, "result": "skip", "reason": f"{a.seconds:.0f} s are over"})
                skipped = True
                continue
            try:
                ok = (invariance if a.invariance else parity)(a, like, int(tokens or 300), parent) and ok
            except (RuntimeError, subprocess.CalledProcessError) as e:
                report({"what": what, "like": like, "result": "fail", "reason": str(e).strip().splitlines()[0][:300]})
                ok = False
    sys.exit(1 if not ok else 3 if skipped else 0)


if __name__ == "__main__":
    main()
