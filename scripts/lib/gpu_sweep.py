"""Sweeps on a GPU, measured: gpu_sweep.py LLMCT_GPU FOLDER SHAPE... [--conversations N] [--device NAME] [--repeats N]

Random weights in each shape, conversations of made-up words that share a system message. For each thing that is kept (nothing, scores,
pooled, tokens) the sweep's own figures; `nothing` is the bare forward pass, which the others are held against, token by token: every token's
vectors are many bytes, so that sweep has a tenth of the conversations. One JSON line each.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys

WORDS = "river stone lamp quiet morning bread letter window train garden storm winter music door harbour silver".split()


def talk(number, rng):
    messages = [{"role": "system", "content": "You are a kind assistant who answers in a few words."}]
    for i in range(rng.randint(2, 9)):
        role, label = ("assistant", "calm") if i % 2 else ("user", "joy")
        messages.append({"role": role, "content": " ".join(rng.choices(WORDS, k=rng.randint(5, 40))), "label": label})
    return json.dumps({"id": f"talk-{number}", "messages": messages})


def run(*args):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{args[1]} ended with exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def sweeps(o, shape, keep):
    store, talks = o.folder / "store", o.folder / ("few.jsonl" if keep == "tokens" else "talks.jsonl")
    for number in range(o.repeats + 1):
        shutil.rmtree(store, ignore_errors=True)
        what = [] if keep == "nothing" else ["-f", o.folder / f"{shape}.safetensors", "-o", store]
        result = json.loads(run(o.program, "sweep", talks, "-m", o.folder / shape, "--keep", keep, "--device", o.device,
                                "--json", *what))  # fmt: skip
        if number > 0:  # the first one warms up
            yield result
    shutil.rmtree(store, ignore_errors=True)


def measure(o, shape):
    if not (o.folder / shape).is_dir():
        run(o.program, "synth", "--like", shape, "--seed", "1", o.folder / shape)
    run(o.program, "fingerprint", o.folder / "few.jsonl", "-m", o.folder / shape, "-o", o.folder / f"{shape}.safetensors", "--device", o.device, "-q")
    bare = 0  # seconds a token
    for keep in ("nothing", "scores", "pooled", "tokens"):
        results = list(sweeps(o, shape, keep))
        seconds = sorted(r["seconds_total"] - r["seconds_load"] for r in results)
        r, median = results[0], statistics.median(seconds)
        bare = median / r["tokens_computed"] if keep == "nothing" else bare
        print(json.dumps({
            "what": "gpu.sweep", "like": shape, "precision": r["precision"], "device_name": r["device_name"], "keep": keep,
            "conversations": r["conversations"], "rows": r["rows"], "tokens": r["tokens_computed"], "tokens_naive": r["tokens_naive"],
            "batch_rows": r["batch_rows"], "repeats": o.repeats, "seconds_median": median, "seconds_min": seconds[0], "seconds_max": seconds[-1],
            "tokens_per_second": r["tokens_computed"] / median, "over_nothing": median / r["tokens_computed"] / bare - 1, "raw_bytes": r["raw_bytes"],
            "stored_bytes": r["stored_bytes"], "seconds_wait": statistics.median(x["seconds_wait"] for x in results),
        }), flush=True)  # fmt: skip


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("shapes", nargs="+")
    p.add_argument("--conversations", type=int, default=2000)
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--repeats", type=int, default=3)
    o = p.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    talks = [f"{talk(i, rng)}\n" for i in range(o.conversations)]
    (o.folder / "talks.jsonl").write_text("".join(talks))
    (o.folder / "few.jsonl").write_text("".join(talks[: max(20, o.conversations // 10)]))
    try:
        for shape in o.shapes:
            measure(o, shape)
    except (RuntimeError, OSError, ValueError) as e:
        print(e, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
