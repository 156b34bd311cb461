"""The table at the end of scripts/gpu-check.sh, from its JSON lines: gpu_table.py FILE. Exit code 1 when a result is "fail"."""

import json
import sys


def number(x, digits=2):
    return f"{x:,.{digits}f}" if isinstance(x, (int, float)) else "-"


def spread(r):
    return f"{r['seconds_median'] * 1e3:,.2f} ms ({r['seconds_min'] * 1e3:,.2f} to {r['seconds_max'] * 1e3:,.2f})"


def row(r):
    """Group, what, result, note of one line."""
    what, like = r["what"], f"{r.get('like', '')} {r.get('precision', '')}".strip()
    if what == "gpu.step":
        return "steps", r["name"], r["result"], r.get("note", "")
    if what == "gpu.parity":
        note = r.get("reason") or f"worst {r['worst_ratio']} of {r['limit']} ({r['worst_source']}), {r['tokens']} tokens"
        return "taps against transformers: error over its own in the same type, at most 2", like, r["result"], note
    if what == "gpu.invariance":
        note = r.get("reason") or f"{r['different']} of {r['taps']} taps differ, {r['prompts']} prompts"
        return "bits of a prompt's taps", f"{like} {r.get('check', '')}".strip(), r["result"], note
    if what == "gpu.machine":
        note = f"{r['gpu']}, copy {number(r['copy_gbytes_per_second'], 0)} GB/s"
        return "ceilings", "cuBLASLt", f"{number(r['cublaslt_cube_tflops'], 1)} TFLOP/s", f"{r['cube']} cube; {note}"
    if what == "gpu.torch":
        note = f"torch {r['torch']}, copy {number(r['copy_gbytes_per_second'], 0)} GB/s"
        return "ceilings", "torch", f"{number(r['tflops'], 1)} TFLOP/s", f"{r['cube']} cube; {note}"
    if what == "gpu.gemm":
        note = f"{r['rows']} x {r['in']} -> {r['out']}; cuBLASLt's fastest {number(r['cublaslt_tflops'], 1)}"
        return "GEMM", f"{like} {r['gemm']}", f"{number(r['engine_tflops'], 1)} TFLOP/s", note
    if what == "gpu.prefill":
        note = (
            f"{spread(r)}, {number(r['tflops'], 1)} TFLOP/s, of cuBLASLt {number(100 * r['share_of_cublaslt_cube'], 1)} % (cube) "
            f"{number(100 * r['share_of_cublaslt_shapes'], 1)} % (shapes)"
        )
        return "prefill", f"{like} taps {r['taps']}", f"{number(r['tokens_per_second'], 0)} tokens/s", note
    if what == "gpu.decode":
        note = f"{spread(r)} for {r['steps']} steps, {number(100 * r['share_of_copy'], 1)} % of the copy's bytes"
        return "decode", f"{like} batch {r['batch']}", f"{number(r['tokens_per_second'], 1)} tokens/s", note
    if what == "peer.prefill":
        return "prefill", f"{like} transformers", f"{number(r['tokens_per_second'], 0)} tokens/s", f"{spread(r)}, batch {r['batch']}"
    if what == "gpu.sweep":
        note = f"{spread(r)}, {r['rows']} rows, {number(100 * r['over_nothing'], 1)} % over nothing kept, {number(r['stored_bytes'] / 1e6, 0)} MB"
        return "sweep", f"{like} keep {r['keep']}", f"{number(r['tokens_per_second'], 0)} tokens/s", note
    if what == "peer.decode":
        name = f"{like} transformers batch {r['batch']}"
        return "decode", name, f"{number(r['tokens_per_second'], 1)} tokens/s", f"{spread(r)} for {r['steps']} steps"
    if what == "gpu.family":
        note = f"{number(100 * r['share'], 1)} %, {r['calls']} calls"
        return f"time in {r['pass']}, {like}", r["family"], f"{number(r['milliseconds'])} ms", note
    if what == "gpu.scan":
        if "reason" in r:
            return "scan", like, r["result"], r["reason"]
        note = f"{r['scores']} cosines, at most {r['largest_difference']:.1e} from the CPU's in float32 (bfloat16 there: {r['limit']:.1e})"
        return "scan", like, r["result"], note
    if what in ("gpu.skipped", "peer.skipped"):
        return "not measured", f"{like} {r['skipped']}", "skip", r["reason"]
    return None


def main():
    groups, bad = {}, False
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            try:
                r = json.loads(line)
                cells = row(r)
            except (ValueError, KeyError, TypeError) as e:
                r, cells = {"result": "fail"}, ("unreadable lines", line.strip()[:60], "fail", repr(e))
            bad = bad or r.get("result") == "fail"
            if cells:
                groups.setdefault(cells[0], []).append([str(c) for c in cells[1:]])
    for name, rows in groups.items():
        widths = [max(len(r[i]) for r in rows) for i in range(3)]
        print(f"\n{name}")
        for r in rows:
            print(f"  {r[0]:{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]}".rstrip())
    sys.exit(bad)


if __name__ == "__main__":
    main()
