#!/usr/bin/env python3
"""Planning alone, from a file of conversations to units, no model: conversations a second, now and at an earlier commit, in turns.

  bench/plan_bench.py --build BUILD --tokenizer FOLDER_OR_GGUF --template NAME [--out bench/results/NAME] [--before COMMIT_OR_BUILD]
      [--data FILE.jsonl] [--messages 60] [--max-rows 4096] [--repeats 7]

BUILD is a build folder of these sources; its bench_plan is built if need be. --before: a commit, which is built in the scratch folder from a git
worktree (6cb0b46 unless named, which bench/plan_units_6cb0b46.c belongs to), or a folder with such sources and their build/libllmct.a.
--tokenizer and --template may be given several times. The data's messages are joined into conversations of --messages in a temporary file, and
measured as they are, too. Both sides must write the same lines of messages.jsonl, in which every prompt's tokens are hashed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bench

ROOT = bench.ROOT
LIBRARIES = ["jansson", "yaml-0.1", "libpcre2-8", "libmd", "zlib", "libdeflate", "libzstd"]


def call(*command, **more):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **more).stdout


def build_before(a):
    """The earlier commit's library, and bench_plan over it. Returns the program."""
    source = Path(a.before)
    if not source.is_dir():
        source = a.work / "before"
        call("git", "-C", ROOT, "worktree", "add", "--detach", source, a.before)
        call("cmake", "-S", source, "-B", source / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLCT_TESTS=OFF", "-DLCT_CUDA=OFF")
        call("cmake", "--build", source / "build", "--target", "llmct")
    program = a.work / "bench_plan_before"
    flags = call("pkg-config", "--cflags", "--libs", *LIBRARIES).split()
    call("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O3", "-DNDEBUG", f"-I{source}/src", f"-I{source}/include", f"-I{ROOT}/bench", ROOT / "bench/bench_plan.c",
         ROOT / "bench/plan_units_6cb0b46.c", source / "build/libllmct.a", *flags, "-ldnnl", "-fopenmp", "-lpthread", "-lm", "-ldl", "-o", program)
    return program


def join(a):
    """The messages of the file's conversations, in order, as conversations of so many."""
    path, messages, n = a.work / "joined.jsonl", [], 0
    with open(a.data, encoding="utf-8") as f, open(path, "w", encoding="utf-8") as out:
        for line in f:
            for m in json.loads(line)["messages"]:
                messages.append(m)
                if len(messages) < a.messages:
                    continue
                out.write(json.dumps({"id": f"joined-{n:05d}", "messages": messages}) + "\n")
                messages, n = [], n + 1
    return path


def measure(a, sides, tokenizer, template, path, what):
    runs = {side: [] for side in sides}
    for _ in range(a.repeats):
        for side, program in sides.items():
            runs[side].append(json.loads(call(program, tokenizer, template, path, a.max_rows)))
    now, before = runs["now"][0], runs["before"][0]
    for key in ("conversations", "prompts", "tokens_naive", "lines"):
        if now[key] != before[key]:
            sys.exit(f"{what}, {template}: {key} differ: {before[key]} before, {now[key]} now")
    work = f"{what}: {now['conversations']} conversations, {now['prompts']} prompts, {now['tokens_naive']} tokens one by one; {template}"
    for clock, unit, note in (("seconds", "conversations/s", "of wall time"), ("cpu_seconds", "conversations/CPU s", "of the process's processor time")):
        rates = {side: [now["conversations"] / r[clock] for r in runs[side]] for side in sides}
        for side in sides:
            bench.add("plan", work, side, unit, rates[side], "higher", note)
        bench.add("plan", work, "ratio", "x", [x / y for x, y in zip(rates["now"], rates["before"])], "higher", f"now / before, turn by turn, {note}")


def table(a, info):
    lines = ["# Planning alone", "", f"Made by `bench/plan_bench.py`: from a file's lines to units of about {a.max_rows} tokens, no model; `before` is commit "
             f"{a.commit}. Medians of {a.repeats}, in turns. Both sides wrote the same lines of messages.jsonl.", ""]
    lines += [f"- {k}: {v}" for k, v in info.items()]
    lines += ["", "| work | side | unit | median | min | max | n | |", "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {r['work']} | {r['side']} | {r['unit']} | {r['median']:.4g} | {r['min']:.4g} | {r['max']:.4g} | {r['n']} | {r['note']} |"
              for r in bench.ROWS]
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--before", default="6cb0b46")
    p.add_argument("--tokenizer", action="append", required=True)
    p.add_argument("--template", action="append", required=True)
    p.add_argument("--data", default=str(Path(os.environ.get("LCT_SHARED", ROOT.parent / "shared")) / "data/xdailydialog.en.jsonl"))
    p.add_argument("--messages", type=int, default=60)
    p.add_argument("--max-rows", type=int, default=4096)
    p.add_argument("--repeats", type=int, default=7)
    p.add_argument("--out")
    p.add_argument("--scratch")
    a = p.parse_args()
    a.work = Path(tempfile.mkdtemp(prefix="llmct-plan-", dir=a.scratch))
    try:
        call("cmake", "--build", a.build, "--target", "bench_plan")
        sides = {"before": build_before(a), "now": Path(a.build) / "bench_plan"}
        a.commit = call("git", "-C", a.before if Path(a.before).is_dir() else ROOT, "rev-parse", "--short", "HEAD" if Path(a.before).is_dir() else a.before).strip()
        joined = join(a)
        for tokenizer, template in zip(a.tokenizer, a.template, strict=True):
            measure(a, sides, tokenizer, template, joined, f"joined to {a.messages} messages")
            measure(a, sides, tokenizer, template, a.data, "as they are")
    finally:
        if (a.work / "before").exists():
            call("git", "-C", ROOT, "worktree", "remove", "--force", a.work / "before")
        shutil.rmtree(a.work, ignore_errors=True)
    info = bench.computer() | {"load": [round(x, 1) for x in os.getloadavg()]}
    text = table(a, info)
    if a.out:
        Path(a.out + ".jsonl").write_text("".join(json.dumps(r) + "\n" for r in [{"machine": info}] + bench.ROWS))
        Path(a.out + ".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
