#!/usr/bin/env python3
"""Two builds of llmct-gpu on the same work, in turns: whether they leave the same bytes, and how long each takes: the wall's seconds, and
the processors', which say more where others use the machine.

The work: a sweep of the first N conversations of a JSONL file (with fingerprints made of the scenario's references, pooled vectors of three
sources), and a scan of the scenario. Compared byte for byte: of the sweep data.zarr (every file), messages.jsonl and errors.jsonl; of the scan
every file but scan.json, run.json and report.html, which say times and versions.

Usage: before_after.py BEFORE AFTER --model M --input CONVERSATIONS.jsonl [--scenario S.yaml] [--conversations 500] [--turns 3] [--out FILE.md]
"""
import argparse
import filecmp
import itertools
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

from bench import computer

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNLIKE = {"scan.json", "run.json", "report.html"}


def files(top):
    return sorted(p.relative_to(top) for p in top.rglob("*") if p.is_file())


def differing(a, b):
    names = [n for n in files(a) if n.name not in UNLIKE]
    others = [n for n in files(b) if n.name not in UNLIKE]
    if names != others:
        return sorted(set(names) ^ set(others)), 0
    size = sum((a / n).stat().st_size for n in names)
    return [n for n in names if not filecmp.cmp(a / n, b / n, shallow=False)], size


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(program, *args):
    """(wall, processor) seconds"""
    t0, p0 = time.perf_counter(), processor()
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{program} {' '.join(map(str, args))}: {done.stderr}")
    return time.perf_counter() - t0, processor() - p0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("before")
    ap.add_argument("after")
    ap.add_argument("--model", required=True)
    ap.add_argument("--input", required=True)
    ap.add_argument("--scenario", default=str(ROOT / "configs" / "where_emotions_lie.yaml"))
    ap.add_argument("--conversations", type=int, default=500)
    ap.add_argument("--turns", type=int, default=3)
    ap.add_argument("--precision", default="exact")
    ap.add_argument("--out")
    a = ap.parse_args()
    programs = {"before": os.path.abspath(a.before), "after": os.path.abspath(a.after)}
    top = pathlib.Path(tempfile.mkdtemp(prefix="before-after-"))
    lines = pathlib.Path(a.input).read_text(encoding="utf-8").splitlines()[: a.conversations]
    talks = top / "talks.jsonl"
    talks.write_text("\n".join(lines) + "\n", encoding="utf-8")
    prints = top / "f.safetensors"
    run(programs["before"], "fingerprint", a.scenario, "-m", a.model, "-o", prints, "-q")
    seconds = {k: [] for k in itertools.product(programs, ("sweep", "scan"))}
    for turn in range(a.turns):
        order = list(programs) if turn % 2 == 0 else list(programs)[::-1]
        for side in order:
            out = top / side
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            seconds[side, "sweep"].append(run(programs[side], "sweep", talks, "-m", a.model, "-f", prints, "--precision", a.precision,
                                              "--sources", "hidden_in,hidden_out,attn_out", "-o", out / "sweep", "-q"))
            seconds[side, "scan"].append(run(programs[side], "scan", a.scenario, "-m", a.model, "--precision", a.precision, "-o", out / "scans",
                                             "--no-report", "-q"))
    result = ["machine: {cpu}, {cores} cores, {isa}; commit {commit}, {date}".format(**computer()), f"model: {os.path.basename(a.model)}, {a.precision}; {len(lines)} conversations, {a.turns} turns", ""]
    for name, part in (("sweep", "sweep/data.zarr"), ("scan", None)):
        if part:
            places = [(top / s / part) for s in programs]
            bad, size = differing(*places)
            bad += [f for f in ("messages.jsonl", "errors.jsonl")
                    if not filecmp.cmp(top / "before" / "sweep" / f, top / "after" / "sweep" / f, shallow=False)]
        else:
            bad, size = differing(*[next((top / s / "scans").iterdir()) for s in programs])
        result.append(f"{name}: {size / 1e6:.1f} MB compared, " + ("the same bytes" if not bad else f"DIFFERENT: {', '.join(map(str, bad))}"))
    result += ["", "| work | before, s | after, s | after / before, each turn |", "|---|---|---|---|"]
    for name, (i, clock) in itertools.product(("sweep", "scan"), enumerate(("wall", "processor"))):
        x, y = ([t[i] for t in seconds[side, name]] for side in programs)
        each = " ".join(f"{q / p:.3f}" for p, q in zip(x, y))
        show = [f"{statistics.median(v):.2f} ({min(v):.2f}-{max(v):.2f})" for v in (x, y)]
        result.append(f"| {name}, {clock} | {show[0]} | {show[1]} | {each}; of medians {statistics.median(y) / statistics.median(x):.3f} |")
    text = "\n".join(result) + "\n"
    print(text)
    if a.out:
        pathlib.Path(a.out).write_text(text, encoding="utf-8")
    shutil.rmtree(top)


main()
