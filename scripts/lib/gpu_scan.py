"""A scan end to end on a GPU, against the CPU's: gpu_scan.py LLMCT_GPU MODEL SCENARIO FOLDER [DEVICE].

Three scans of the same scenario: the CPU in float32, the CPU in bfloat16, the GPU in float16. Every cosine the GPU's scan gives of a
message that was not generated must be a number where float32's is, and lie no further from it than bfloat16's farthest: float16 has
three more bits. One JSON line; exit code 1 when it is not so.
"""

import json
import pathlib
import subprocess
import sys


def scan(program, model, scenario, folder, *device):
    args = [program, "scan", scenario, "-m", model, "-o", folder, "--json", "-q", *device]
    done = subprocess.run(args, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)} ended with exit code {done.returncode}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    report = pathlib.Path(result["report"])
    if not report.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise RuntimeError(f"{report} is no whole page")
    return result, json.loads(pathlib.Path(result["run_dir"], "prompt_0", "scores.json").read_text(encoding="utf-8"))


def cosines(scores):
    """Cosines of the given messages, in order; a generated one differs as soon as one token does."""
    per_snapshot = len(scores["scores"]) // len(scores["snapshots"])
    metric, n_metrics = scores["metrics"].index("cosine"), len(scores["metrics"])
    out = []
    for i, snapshot in enumerate(scores["snapshots"]):
        if not snapshot["generated"]:
            out += scores["scores"][i * per_snapshot : (i + 1) * per_snapshot][metric::n_metrics]
    return out


def distance(got, want):
    if [x is None for x in got] != [x is None for x in want]:
        raise RuntimeError("cosines are missing, or too many")
    return max(abs(a - b) for a, b in zip(got, want) if a is not None)


def main():
    program, model, scenario, folder, *device = sys.argv[1:]
    line = {"what": "gpu.scan", "like": pathlib.Path(model).name}
    try:
        exact = cosines(scan(program, model, scenario, folder + "/exact", "--device", "cpu")[1])
        rough = cosines(scan(program, model, scenario, folder + "/rough", "--device", "cpu", "--precision", "fast")[1])
        result, scores = scan(program, model, scenario, folder + "/gpu", "--device", *(device or ["cuda:0"]))
        ours, limit = distance(cosines(scores), exact), distance(rough, exact)
        ok = ours <= limit and result["state"] == "done" and result["saturated"] == 0
        line.update(
            result="pass" if ok else "fail", precision=result["precision"], device_name=result["device_name"], scores=len(exact),
            largest_difference=ours, limit=limit, tokens_generated=result["tokens_generated"], seconds_prefill=result["seconds_prefill"],
            seconds_total=result["seconds_total"],
        )  # fmt: skip
    except (RuntimeError, OSError, ValueError) as e:
        ok = False
        line.update(result="fail", reason=str(e))
    print(json.dumps(line))
    sys.exit(not ok)


if __name__ == "__main__":
    main()
