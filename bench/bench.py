#!/usr/bin/env python3
"""Side-by-side measurements on one machine's CPU in one run: llmct-gpu against Activation Lab, transformers, llama.cpp, tokenizers.

Needs a Python with torch and transformers. Every row says what each side did; times are whole-process wall seconds for the scenario
(both sides start from nothing and load the model), and seconds inside the process after a warm-up for prefill, decode and tokenising.

  bench/bench.py --llmct build/llmct-gpu --model HF_FOLDER --out bench/results/NAME \\
      [--activation-lab CHECKOUT] [--llama-bench BIN --gguf FILE.gguf] [--tok-bench BIN --tokenizer FOLDER --texts FILE.jsonl]
      [--big HF_FOLDER --big-gguf FILE.gguf] [--repeats 3]

HF_FOLDER holds the model both sides load. Parts whose peer is not given are left out and named in the table.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = []


def add(part, work, side, unit, values, better, note):
    row = {"part": part, "work": work, "side": side, "unit": unit, "n": len(values), "median": statistics.median(values),
           "min": min(values), "max": max(values), "better": better, "note": note}
    ROWS.append(row)
    print(json.dumps(row), flush=True)
    return row["median"]


def run(command, env=None, cwd=None):
    """Wall seconds and peak resident MB of a command (its own process, waited for)."""
    t = time.perf_counter()
    p = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    err = p.stderr.read()
    _, status, usage = os.wait4(p.pid, 0)
    seconds = time.perf_counter() - t
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: {err[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def folder_bytes(path):
    return sum(f.stat().st_size for f in Path(path).rglob("*") if f.is_file())


def write_scenario(path, model, out, **capture):
    import yaml
    s = yaml.safe_load((ROOT / "configs/where_emotions_lie.yaml").read_text())
    s["model"].update(id=str(model), dtype="float32", device="cpu")
    s["output"]["dir"] = str(out)
    s["capture"].update(capture)
    path.write_text(yaml.safe_dump(s, sort_keys=False, allow_unicode=True))


def scenario(a):
    """(a) the whole scenario, from an empty process to files on disk."""
    work = Path(tempfile.mkdtemp(prefix="llmct-bench-", dir=a.scratch))
    full, lean = work / "full.yaml", work / "lean.yaml"
    write_scenario(full, a.model, work / "runs")
    write_scenario(lean, a.model, work / "runs", attention_weights=False, logits=False, top_k_probs=0)
    env = dict(os.environ, PYTHONPATH=str(Path(a.activation_lab) / "src"), HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    al = [sys.executable, "-c", "from activation_lab.cli import app; app()", "run"]
    ours = [a.llmct, "scan", full, "-q", "--device", "cpu", "-o", work / "runs"]
    cases = [
        ("everything its YAML captures", "llmct-gpu", ours + ["--keep", "tokens"], None, "scan --keep tokens: same .npz entries, stored; scores and report too"),
        ("everything its YAML captures", "Activation Lab", al + [full], env, "activation-lab run: .npz deflated; no scores, no report"),
        ("scores and pooled vectors", "llmct-gpu", ours + ["--keep", "pooled"], None, "scan --keep pooled: scores, pooled vectors, report"),
        ("scores and pooled vectors", "Activation Lab (lean)", al + [lean], env,
         "activation-lab run, attention weights and logits off: the least it can do for the four sources; no scores yet"),
    ]
    medians, disk = {}, {}
    for i, (what, side, command, environment, note) in enumerate(cases):
        seconds, peaks = [], []
        repeats = a.repeats if side == "llmct-gpu" else a.repeats_al
        warmups = 1 if side == "llmct-gpu" else 0
        for r in range(-warmups, repeats):
            shutil.rmtree(work / "runs", ignore_errors=True)
            os.sync()
            s, peak = run(command, environment)
            if r >= 0:
                seconds.append(s)
                peaks.append(peak)
        disk[i] = folder_bytes(work / "runs")
        medians[i] = add("a", what, side, "s", seconds, "lower", f"{note}; {disk[i] / 1e6:.0f} MB written")
        add("d", what, side, "MB peak", peaks, "lower", "resident memory of the process")
    add("a", "everything its YAML captures", "ratio", "x", [medians[1] / medians[0]], "higher", "Activation Lab / llmct-gpu")
    add("a", "scores and pooled vectors", "ratio to everything", "x", [medians[1] / medians[2]], "higher",
        "Activation Lab as its YAML stands / llmct-gpu --keep pooled")
    add("a", "scores and pooled vectors", "ratio to lean", "x", [medians[3] / medians[2]], "higher", "Activation Lab (lean) / llmct-gpu --keep pooled")
    shutil.rmtree(work)


def ours_bench(a, model, precision, prompts, tokens, decode):
    command = [a.llmct, "bench", str(model), "--device", "cpu", "--precision", precision, "--prompts", str(prompts), "--tokens", str(tokens), "--decode", str(decode),
               "--repeats", str(max(a.repeats, 3)), "--threads", str(a.threads)]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = p.stdout.read().splitlines()
    _, status, usage = os.wait4(p.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return {"peak": usage.ru_maxrss / 1024, **{r["what"]: r for r in map(json.loads, lines)}}


def spread(r):
    return [r["tokens"] / r["seconds_max"], r["tokens_per_second"], r["tokens"] / r["seconds_min"]]


def hf_prefill(model_dir, dtype, attention, prompts, tokens, repeats, threads):
    """Tokens/s of transformers on the same shape of work, in a process of its own; prints one JSON line."""
    code = f"""
import json, time, torch, resource
from transformers import AutoModelForCausalLM
torch.set_num_threads({threads})
m = AutoModelForCausalLM.from_pretrained({str(model_dir)!r}, dtype=torch.{dtype}, attn_implementation={attention!r}).eval()
ids = torch.tensor([[((p * 7919 + k + 1) * 2654435761 % 2**32) % m.config.vocab_size for k in range({tokens})] for p in range({prompts})])
out = []
with torch.no_grad():
    for r in range({repeats} + 1):
        t = time.perf_counter()
        m(input_ids=ids, use_cache=False, logits_to_keep=1)
        out.append(time.perf_counter() - t)
print(json.dumps({{"rates": [ids.numel() / s for s in out[1:]], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}}))
"""
    r = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(r.stdout.splitlines()[-1])


def llama(a, gguf, tokens, decode):
    r = subprocess.run([a.llama_bench, "-m", gguf, "-p", str(tokens), "-n", str(decode), "-t", str(a.threads), "-r", str(max(a.repeats, 3)), "-o",
                        "json"], check=True, capture_output=True, text=True)
    out = {}
    for row in json.loads(r.stdout):
        out["prefill" if row["n_prompt"] else "decode"] = row["samples_ts"]
    return out


def prefill(a, name, model, gguf):
    """(b) tokens/s of prefill and decode."""
    for prompts, tokens in ((1, 1024), (8, 256)):
        work = f"{name}: prefill of {prompts} x {tokens} tokens"
        for precision, dtype in (("exact", "float32"), ("fast", "bfloat16")):
            r = ours_bench(a, model, precision, prompts, tokens, 32 if prompts == 1 else 0)
            ours = add("b", work, f"llmct-gpu {precision}", "tok/s", spread(r["prefill"]), "higher", "logits of each prompt's last token")
            add("d", work, f"llmct-gpu {precision}", "MB peak", [r["peak"]], "lower", "resident memory of the process, mapped weights included")
            best = 0
            for attention in ("sdpa", "eager"):
                h = hf_prefill(model, dtype, attention, prompts, tokens, max(a.repeats, 3), a.threads)
                best = max(best, add("b", work, f"transformers {dtype} {attention}", "tok/s", h["rates"], "higher",
                                     "forward, no cache, logits_to_keep=1"))
                add("d", work, f"transformers {dtype} {attention}", "MB peak", [h["peak"]], "lower", "resident memory of the process")
            add("b", work, f"ratio {precision}", "x", [ours / best], "higher", f"llmct-gpu {precision} / the faster of transformers {dtype}")
            if "decode" in r:
                add("b", f"{name}: decode after {tokens} tokens", f"llmct-gpu {precision}", "tok/s", spread(r["decode"]), "higher", "one sequence")
        if gguf and prompts == 1:
            l = llama(a, gguf, tokens, 32)
            add("b", work, "llama.cpp", "tok/s", l["prefill"], "higher", f"llama-bench pp{tokens}, {Path(gguf).name}")
            add("b", f"{name}: decode after {tokens} tokens", "llama.cpp", "tok/s", l["decode"], "higher",
                f"llama-bench tg32 from an empty context, {Path(gguf).name}")


def tokenizer(a):
    """(c) MB/s of encoding, one thread, the same messages on both sides, one call a message."""
    texts = [m["content"] for line in open(a.texts, encoding="utf-8") for m in json.loads(line)["messages"]]
    size = sum(len(t.encode()) for t in texts) / 1e6
    code = f"""
import json, time
from tokenizers import Tokenizer
t = Tokenizer.from_file({str(Path(a.tokenizer) / "tokenizer.json")!r})
texts = [m["content"] for line in open({str(a.texts)!r}, encoding="utf-8") for m in json.loads(line)["messages"]]
out = []
for r in range(6):
    s = time.perf_counter()
    for x in texts:
        t.encode(x, add_special_tokens=False)
    out.append(time.perf_counter() - s)
print(json.dumps(out[1:]))
"""
    env = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    hf = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout)
    blob = b"".join(len(x.encode()).to_bytes(4, "little") + x.encode() for x in texts)
    with tempfile.NamedTemporaryFile() as f:
        f.write(blob)
        f.flush()
        r = subprocess.run([a.tok_bench, a.tokenizer, f.name, "5"], check=True, capture_output=True, text=True)
    ours = json.loads(r.stdout)
    work = f"tokenise {len(texts)} messages, {size:.2f} MB, {Path(a.texts).name}"
    x = add("c", work, "llmct-gpu", "MB/s", [size / s for s in ours["seconds"]], "higher", "one thread, ids and byte offsets, one call a message")
    y = add("c", work, "tokenizers", "MB/s", [size / s for s in hf], "higher", "one thread, ids and offsets, one call a message")
    add("c", work, "ratio", "x", [x / y], "higher", "llmct-gpu / tokenizers")


def computer():
    cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    flags = next((l.split(":", 1)[1].split() for l in open("/proc/cpuinfo") if l.startswith("flags")), [])
    isa = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    memory = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemTotal")) // 1024
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True).stdout.strip()
    return {"cpu": f"{cpu} (family {next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('cpu family')), '?')})", "cores": os.cpu_count(),
            "isa": isa, "memory_mb": memory, "kernel": platform.release(), "commit": commit + ("+changes" if dirty else ""),
            "date": time.strftime("%Y-%m-%d")}


def machine():
    import tokenizers
    import torch
    import transformers
    return computer() | {"torch": torch.__version__, "transformers": transformers.__version__, "tokenizers": tokenizers.__version__}


def table(info, left_out):
    lines = ["# CPU benchmark", "", "Made by `bench/bench.py`; medians, with the smallest and largest of the repeats. Every side ran on the same machine in the same",
             "session, its model loaded from the same weights.", ""]
    lines += [f"- {k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in info.items()]
    for part, title in (("a", "The whole scenario"), ("b", "Prefill and decode"), ("c", "Tokenising"), ("d", "Peak memory")):
        rows = [r for r in ROWS if r["part"] == part]
        lines += ["", f"## ({part}) {title}", ""]
        if not rows:
            lines.append("not measured")
            continue
        lines += ["| work | side | median | min | max | n | what it did |", "|---|---|---|---|---|---|---|"]
        for r in rows:
            lines.append(f"| {r['work']} | {r['side']} | {r['median']:.4g} {r['unit']} | {r['min']:.4g} | {r['max']:.4g} | {r['n']} | {r['note']} |")
    if left_out:
        lines += ["", "Left out: " + "; ".join(left_out) + "."]
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llmct", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True, help="OUT.jsonl and OUT.md are written")
    p.add_argument("--activation-lab")
    p.add_argument("--llama-bench")
    p.add_argument("--gguf")
    p.add_argument("--big")
    p.add_argument("--big-gguf")
    p.add_argument("--tok-bench")
    p.add_argument("--tokenizer")
    p.add_argument("--texts")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--repeats-al", type=int, default=1, help="runs of Activation Lab: minutes each")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--scratch", help="where the scenario runs are written (default: the system's temporary folder)")
    p.add_argument("--parts", default="abc")
    a = p.parse_args()
    a.llmct = str(Path(a.llmct).resolve())
    left_out = []
    if "c" in a.parts and a.tok_bench and a.tokenizer and a.texts:
        tokenizer(a)
    else:
        left_out.append("tokenizer (no --tok-bench, --tokenizer, --texts)")
    if "b" in a.parts:
        prefill(a, Path(a.model).name, a.model, a.gguf if a.llama_bench else None)
        if a.big:
            prefill(a, Path(a.big).name, a.big, a.big_gguf if a.llama_bench else None)
        if not (a.llama_bench and a.gguf):
            left_out.append("llama.cpp (no --llama-bench, --gguf)")
    if "a" in a.parts and a.activation_lab:
        scenario(a)
    else:
        left_out.append("Activation Lab (no --activation-lab)")
    info = machine()
    Path(a.out + ".jsonl").write_text("".join(json.dumps(r) + "\n" for r in [{"machine": info}] + ROWS))
    text = table(info, left_out)
    Path(a.out + ".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
