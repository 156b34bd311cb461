#!/usr/bin/env python3
"""`llmct-gpu sweep` against the ways it is done today, on one machine's CPU in one run.

  bench/sweep_bench.py --llmct build/llmct-gpu --model HF_FOLDER --out bench/results/NAME [--parts full,overhead,memory,transformers,lab]
      [--data FILE.jsonl] [--fingerprints F.safetensors] [--activation-lab CHECKOUT] [--n-peer 100] [--n-lab 3] [--repeats 3]

  full          the whole file with pooled vectors, once: time, tokens/s, share of GEMM, tokens saved by the trie, bytes, peak memory
  overhead      pooled against --keep nothing (the bare forward pass) on the first --n-overhead conversations, in turns
  slices        the same over the whole file, --slice conversations at a time by both sides, not among the parts by default
  memory        peak resident memory for the first 100, 1,000 and 8,000 conversations
  transformers  bench/sweep_peer.py on the first --n-peer conversations, both ways, against the sweep of the same
  lab           Activation Lab, a scenario a conversation, one process, on the first --n-lab conversations, against the sweep of the same

HF_FOLDER is what all sides load; --gguf FILE makes it in the scratch folder (float32) where --model is not given. The data is
LCT_SHARED/data/xdailydialog.en.jsonl unless named; it is not copied. Without --fingerprints they are made from the references of
configs/where_emotions_lie.yaml. Needs a Python with torch and transformers. OUT.jsonl and OUT.md are written at the end, with --out alone.
"""
import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench

ROOT = bench.ROOT
PARTS = {"full": "The whole file", "overhead": "Capture, scores and store over the bare forward pass", "slices": "The same over the whole file, slice by slice",
         "memory": "Peak memory", "transformers": "Against transformers", "lab": "Against Activation Lab"}


def head(a, n, first=0):
    """n conversations of the file, from number `first` on, as a file of the scratch folder; the whole file as it is."""
    if n is None:
        return a.data, sum(1 for _ in open(a.data, "rb"))
    path = a.work / f"from-{first}-{n}.jsonl"
    if not path.exists():
        with open(a.data, "rb") as f:
            path.write_bytes(b"".join(itertools.islice(f, first, first + n)))
    return path, sum(1 for _ in open(path, "rb"))


def sweep(a, n=None, keep="pooled", precision=None, first=0):
    """One process of ours: wall seconds, peak MB, its own figures."""
    data, count = head(a, n, first)
    out = a.work / "sweep"
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    figures = a.work / "figures.json"
    command = [a.llmct, "sweep", data, "-m", a.model, "-o", out, "--keep", keep, "--device", "cpu", "--precision", precision or a.precision, "--threads",
               str(a.threads), "--json"]
    if keep != "nothing":
        command += ["--fingerprints", a.fingerprints]
    seconds, peak = bench.run(["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", figures, *command])
    r = json.loads(figures.read_text())
    r.update(wall=seconds, peak=peak, given=count, disk=bench.folder_bytes(out) if out.exists() else 0)
    shutil.rmtree(out, ignore_errors=True)
    return r


def full(a):
    for precision in a.full_precision.split(","):
        r = sweep(a, precision=precision)
        work = f"{r['given']} conversations, {Path(a.data).name}"
        side = f"llmct-gpu {precision}"
        row = lambda unit, value, better, note: bench.add("full", work, side, unit, [value], better, note)
        row("s", r["wall"], "lower", "wall time of the process, model and fingerprints loaded, store written")
        row("tok/s", r["tokens_computed"] / r["wall"], "higher", f"{r['tokens_computed']} tokens run through the model / wall time")
        row("x fewer tokens", r["tokens_naive"] / r["tokens_computed"], "higher", f"prefix by prefix it would be {r['tokens_naive']}")
        row("% in GEMM", 100 * r["seconds_gemm"] / r["wall"], "higher", "share of wall time")
        row("MB peak", r["peak"], "lower", "resident memory of the process")
        row("MB on disk", r["disk"] / 1e6, "lower", "everything in the output folder")
        for key in ("raw_bytes", "stored_bytes"):
            if key in r:
                row(f"MB {key.split('_')[0]}", r[key] / 1e6, "lower", "arrays, " + ("before" if key == "raw_bytes" else "after") + " compression")


def overhead(a):
    """In turns, so that what else the machine does hits both alike; each turn's are compared."""
    times = {keep: [] for keep in a.overhead_keeps.split(",")}
    for _ in range(a.repeats):
        for keep in times:
            r = sweep(a, a.n_overhead, keep)
            times[keep].append(r["wall"] - r.get("seconds_load", 0))
    work = f"{a.n_overhead} conversations, loading left out"
    for keep, values in times.items():
        bench.add("overhead", work, f"llmct-gpu --keep {keep}", "s", values, "lower", a.precision)
    for keep in times:
        if keep == "nothing":
            continue
        pairs = [100 * (x / bare - 1) for x, bare in zip(times[keep], times["nothing"])]
        bench.add("overhead", work, f"{keep} over nothing", "%", pairs, "lower", "turn by turn")


def slices(a):
    """The whole file in slices, each by both sides one after the other, the first of them in turns: on a machine whose speed drifts by more than
    what is measured, neighbours in time can be compared. What a process costs once (memory touched first, the store's end) is in every slice."""
    total = sum(1 for _ in open(a.data, "rb"))
    times = {"nothing": [], "pooled": []}
    for i, first in enumerate(range(0, total, a.slice)):
        for keep in ("nothing", "pooled") if i % 2 == 0 else ("pooled", "nothing"):
            r = sweep(a, a.slice, keep, first=first)
            times[keep].append(r["wall"] - r.get("seconds_load", 0))
    work = f"{total} conversations in slices of {a.slice}, loading left out"
    for keep, values in times.items():
        bench.add("slices", work, f"llmct-gpu --keep {keep}", "s", [sum(values)], "lower", f"{a.precision}; sum over {len(values)} slices")
    bench.add("slices", work, "pooled over nothing, sums", "%", [100 * (sum(times["pooled"]) / sum(times["nothing"]) - 1)], "lower", "all slices")
    bench.add("slices", work, "pooled over nothing", "%", [100 * (x / y - 1) for x, y in zip(times["pooled"], times["nothing"])], "lower", "slice by slice")


def memory(a):
    for n in map(int, a.memory_counts.split(",")):
        r = sweep(a, n)
        bench.add("memory", f"{r['given']} conversations", "llmct-gpu --keep pooled", "MB peak", [r["peak"]], "lower", f"{r['wall']:.1f} s")


def transformers(a):
    for precision, dtype in (("exact", "float32"), ("fast", "bfloat16")):
        if precision not in a.peer_precision.split(","):
            continue
        work = f"{a.n_peer} conversations, {dtype}"
        runs = [sweep(a, a.n_peer, precision=precision) for _ in range(a.repeats)]
        ours = bench.add("transformers", work, f"llmct-gpu {precision}", "s", [r["wall"] for r in runs], "lower",
                         f"whole process: {runs[0]['tokens_computed']} tokens; last and content_mean pooled, scores, compressed store")
        bench.add("transformers", work, f"llmct-gpu {precision}", "MB peak", [r["peak"] for r in runs], "lower", "resident memory of the process")
        for way, what in (("prefix", "prefix by prefix: the same vectors, no scores"), ("conversation", "one pass a conversation: content means alone, no scores")):
            best, alone = None, None
            for tokens in map(int, a.peer_batch_tokens.split(",")):
                times = []
                for _ in range(a.repeats_peer):
                    r = peer(a, way, dtype, tokens)
                    times.append(r["wall"])
                    alone = min(alone or r["seconds"], r["seconds"])
                median = bench.add("transformers", work, f"transformers, {way}", "s", times, "lower",
                                   f"whole process; {what}; {r['tokens']} tokens, {r['tokens_padded']} with padding, batches of {tokens}; {r['peak']:.0f} MB peak; "
                                   f"{r['seconds_load']:.1f} s of it loading")
                best = min(best or median, median)
            bench.add("transformers", work, f"ratio, {way}", "x", [best / ours], "higher", "the faster of transformers / llmct-gpu")
            left = min(r["wall"] - r.get("seconds_load", 0) for r in runs)
            bench.add("transformers", work, f"ratio without loading, {way}", "x", [alone / left], "higher", "smallest against smallest; Python's start left out too")


def peer(a, way, dtype, tokens):
    figures = a.work / "peer.json"
    command = [sys.executable, ROOT / "bench/sweep_peer.py", "--model", a.model, "--data", a.data, "--n", str(a.n_peer), "--way", way, "--dtype", dtype,
               "--batch-tokens", str(tokens), "--threads", str(a.threads), "--out", a.work / "peer.npz"]
    env = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    seconds, peak = bench.run(["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", figures, *command], env)
    return {**json.loads(figures.read_text()), "wall": seconds, "peak": peak}


def write_scenarios(a, folder, everything, references):
    """A scenario a conversation: its snapshots after every message; references "each", or in the "first" alone."""
    import yaml
    base = yaml.safe_load((ROOT / "configs/where_emotions_lie.yaml").read_text())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with open(a.data, encoding="utf-8") as f:
        for i, line in enumerate(itertools.islice(f, a.n_lab)):
            messages = [{"role": m["role"], "content": m["content"]} for m in json.loads(line)["messages"]]
            s = dict(base, name=f"conversation_{i:05d}", prompt={"messages": messages, "run_at_each_message": False}, generation={"max_new_tokens": 1})
            s["model"] = {"id": str(a.model), "dtype": "float32", "device": "cpu"}
            s["output"] = {"dir": str(folder / "runs")}
            if not everything:
                s["capture"] = {"hidden_states": True, "attention_weights": False, "qkv": False, "mlp": False, "logits": False, "top_k_probs": 0}
            if references == "first" and i > 0:
                s["reference_states"] = []
            (folder / f"{i:05d}.yaml").write_text(yaml.safe_dump(s, sort_keys=False, allow_unicode=True))


def lab_env(a):
    path = [str(Path(a.activation_lab) / "src"), os.environ.get("PYTHONPATH")]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, path)), HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


def lab_load_seconds(a):
    """What Activation Lab's process takes to start and load the model, so that it can be left out of a few conversations' time."""
    code = f"from activation_lab import cli; cli.load_model(cli.ModelConfig(id={str(a.model)!r}, device='cpu', dtype='float32'))"
    return min(bench.run([sys.executable, "-c", code], lab_env(a))[0] for _ in range(2))


def lab(a):
    env = lab_env(a)
    command = [sys.executable, "-c", "from activation_lab.cli import app; app()", "run"]
    work = f"{a.n_lab} conversations, float32"
    runs = [sweep(a, a.n_lab, precision="exact") for _ in range(a.repeats)]
    ours = bench.add("lab", work, "llmct-gpu exact", "s", [r["wall"] for r in runs], "lower", "whole process; pooled vectors, scores")
    load, lab_load = min(r.get("seconds_load", 0) for r in runs), lab_load_seconds(a)
    for everything, references, what in ((False, "first", "hidden states alone, references once"), (False, "each", "hidden states alone, references in every scenario"),
                                         (True, "each", "everything its scenario captures, references in every scenario")):
        folder = a.work / "lab"
        write_scenarios(a, folder, everything, references)
        seconds, peak = bench.run(command + [folder], env)
        disk = bench.folder_bytes(folder / "runs")
        bench.add("lab", work, f"Activation Lab, {what}", "s", [seconds], "lower", f"one process, model loaded once; {disk / 1e6:.0f} MB written; {peak:.0f} MB peak")
        shutil.rmtree(folder)
        bench.add("lab", work, f"ratio, {what}", "x", [seconds / ours], "higher", "whole processes, each loads the model once")
        if load:
            marginal = (seconds - lab_load) / (min(r["wall"] for r in runs) - load)
            bench.add("lab", work, f"ratio without loading, {what}", "x", [marginal], "higher", f"{lab_load:.1f} s of its time and {load:.2f} s of ours left out")


def convert(a):
    """--gguf to a folder, for sides that load folders only."""
    code = f"""
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
gguf = {{"pretrained_model_name_or_path": {str(Path(a.gguf).parent)!r}, "gguf_file": {Path(a.gguf).name!r}}}
m = AutoModelForCausalLM.from_pretrained(**gguf, dtype=torch.float32)
del m.config.quantization_config
plain = type(m)(m.config).float()
plain.load_state_dict(m.state_dict())
plain.tie_weights()
plain.save_pretrained({str(a.work / "model")!r})
AutoTokenizer.from_pretrained(**gguf).save_pretrained({str(a.work / "model")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, HF_HUB_OFFLINE="1"), stderr=subprocess.DEVNULL)
    return str(a.work / "model")


def table(info, left_out):
    lines = ["# Sweep benchmark", "", "Made by `bench/sweep_bench.py`; medians, with the smallest and largest of the repeats. Every side ran on the same machine in",
             "the same session, its model loaded from the same weights.", ""]
    lines += [f"- {k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in info.items()]
    for part, title in PARTS.items():
        rows = [r for r in bench.ROWS if r["part"] == part]
        if not rows:
            continue
        lines += ["", f"## {title}", "", "| work | side | median | min | max | n | what it did |", "|---|---|---|---|---|---|---|"]
        for r in rows:
            lines.append(f"| {r['work']} | {r['side']} | {r['median']:.4g} {r['unit']} | {r['min']:.4g} | {r['max']:.4g} | {r['n']} | {r['note']} |")
    if left_out:
        lines += ["", "Left out: " + "; ".join(left_out) + "."]
    return "\n".join(lines) + "\n"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llmct", required=True)
    p.add_argument("--model", help="HF folder that every side loads")
    p.add_argument("--gguf", help="made into a folder where --model is not given")
    p.add_argument("--data")
    p.add_argument("--fingerprints")
    p.add_argument("--activation-lab", help="its checkout")
    p.add_argument("--out", help="OUT.jsonl and OUT.md are written")
    p.add_argument("--parts", default="full,overhead,memory,transformers,lab")
    p.add_argument("--precision", default="exact", help="of overhead and memory")
    p.add_argument("--full-precision", default="exact,fast")
    p.add_argument("--peer-precision", default="exact")
    p.add_argument("--peer-batch-tokens", default="1024,4096", help="transformers' batches, padding included; the fastest counts")
    p.add_argument("--memory-counts", default="100,1000,8000")
    p.add_argument("--n-overhead", type=int, default=200)
    p.add_argument("--slice", type=int, default=300, help="conversations a slice")
    p.add_argument("--overhead-keeps", default="nothing,scores,pooled")
    p.add_argument("--n-peer", type=int, default=100)
    p.add_argument("--n-lab", type=int, default=3)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--repeats-peer", type=int, default=1, help="runs of transformers: minutes each")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--scratch", help="where models and sweeps are written (default: the system's temporary folder)")
    a = p.parse_args()
    if not (a.model or a.gguf):
        p.error("expected --model or --gguf")
    return a


def main():
    a = arguments()
    a.llmct = str(Path(a.llmct).resolve())
    a.data = a.data or str(Path(os.environ.get("LCT_SHARED", ROOT.parent / "shared")) / "data/xdailydialog.en.jsonl")
    a.work = Path(tempfile.mkdtemp(prefix="llmct-sweep-", dir=a.scratch))
    left_out = []
    try:
        a.model = str(Path(a.model).resolve()) if a.model else convert(a)
        if not a.fingerprints:
            a.fingerprints = str(a.work / "fingerprints.safetensors")
            bench.run([a.llmct, "fingerprint", ROOT / "configs/where_emotions_lie.yaml", "-m", a.model, "-o", a.fingerprints])
        for part in a.parts.split(","):
            if part == "lab" and not a.activation_lab:
                left_out.append("Activation Lab (no --activation-lab)")
                continue
            {"full": full, "overhead": overhead, "slices": slices, "memory": memory, "transformers": transformers, "lab": lab}[part](a)
    finally:
        shutil.rmtree(a.work, ignore_errors=True)
    info = bench.machine()
    text = table(info, left_out)
    if a.out:
        Path(a.out + ".jsonl").write_text("".join(json.dumps(r) + "\n" for r in [{"machine": info}] + bench.ROWS))
        Path(a.out + ".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
