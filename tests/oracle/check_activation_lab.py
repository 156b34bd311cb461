#!/usr/bin/env python3
"""Developer check: a run directory of `llmct-gpu scan` against Activation Lab itself.

    python tests/oracle/check_activation_lab.py LLMCT_CHECKOUT RUN_DIR...

LLMCT_CHECKOUT is a checkout of github cstefanache/llmct (never committed here). The run directories are scans of one scenario
with `-m FOLDER`, a Hugging Face folder that transformers loads with its tokenizer, on the CPU in float32. Activation Lab runs the
same scenario on the same folder, capturing what the scores need, stored in float32; and once more, exactly as the scenario says,
when a run directory holds whole tensors (--keep tokens). Then, for each run directory:

  - generated tokens, the prompt's and the snapshots' token ids, top-k and logit statistics are equal;
  - cosine, MAE and Jaccard of Activation Lab's own functions (notebooks/compare_runs.py) on its own tensors agree with
    scores.json: cosine within 1e-4, last token of every snapshot and reference, every source and layer; so does the comparison
    within the run;
  - every tensor of a whole-tensor run agrees with Activation Lab's of the same name: same names, shapes and types;
  - Activation Lab's viewer (RunRegistry, npz_inventory, its web routes) and notebook functions open the directory.

The snapshot with the reply is left out where the reply ends with an end token: Activation Lab leaves that in the message,
llmct-gpu does not. Exit code 1 when something differs. Needs what Activation Lab needs, pandas and httpx.
"""

import importlib.util
import json
import pathlib
import shutil
import sys
import tempfile

import matplotlib
import matplotlib.cm
import numpy as np
import yaml

SOURCES = ["hidden_in", "hidden_out", "attn_out", "mlp_down_out"]
FAILURES = []


def check(ok, what):
    print(("ok      " if ok else "DIFFERS ") + what)
    if not ok:
        FAILURES.append(what)


def read(path):
    return json.loads(pathlib.Path(path).read_text())


def run_lab(ours, whole, parent):
    """Runs Activation Lab in this process; returns its scenario directory."""
    from activation_lab import cli

    out = parent / ("whole" if whole else "scored")
    out.mkdir()
    scenario = read(ours / "scenario.json")
    scenario["model"] = {"id": read(ours / "scan.json")["model"]["path"], "device": "cpu", "dtype": "float32"}
    scenario["output"]["dir"] = str(out)
    if not whole:
        scenario["capture"].update(
            attention_weights=False, logits=False, hidden_states=True, qkv=True, mlp=True, store_dtype="float32"
        )
    path = out / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario))
    compressed = np.savez_compressed
    if not whole:
        np.savez_compressed = np.savez  # the same arrays, without minutes of deflating
    try:
        cli.run(path)
    finally:
        np.savez_compressed = compressed
    return next(p for p in out.iterdir() if p.is_dir())


def last_token(path, n_layers):
    """{source: (layers, hidden)} of the last token, from Activation Lab's whole tensors."""
    with np.load(path) as z:
        return {
            s: np.stack([np.asarray(z[f"layer_{i:02d}/{s}"], dtype=np.float32)[0, -1] for i in range(n_layers)]) for s in SOURCES
        }


def compare_steps(label, lab, ours):
    a, b = read(lab / "steps.json")["steps"], read(ours / "steps.json")["steps"]
    same = [x["generated_token_id"] for x in a] == [x["generated_token_id"] for x in b]
    check(same, f"{label}: {len(b)} generated tokens")
    check(
        read(lab / "run.json")["prompt_token_ids"] == read(ours / "run.json")["prompt_token_ids"],
        f"{label}: the prompt's token ids",
    )
    keys = ["step", "kind", "input_token_ids", "input_tokens", "generated_token", "logit_argmax_id", "seq_len"]
    different = [(x["step"], k, x[k], y[k]) for x, y in zip(a, b) for k in keys if x[k] != y[k]]
    check(not different, f"{label}: {', '.join(keys)} of every step {different[:3] if different else ''}")
    check(set(a[0]) == set(b[0]), f"{label}: keys of a step {set(a[0]) ^ set(b[0]) or ''}")
    ids = all([t["id"] for t in x["top_k"]] == [t["id"] for t in y["top_k"]] for x, y in zip(a, b))
    worst = max([abs(t["logprob"] - u["logprob"]) for x, y in zip(a, b) for t, u in zip(x["top_k"], y["top_k"])] + [0])
    check(ids and worst < 1e-3, f"{label}: top-k ids; log-probabilities within {worst:.1e}")
    worst = max(
        abs(x["logit_stats"][k] - y["logit_stats"][k]) / max(1, x["logit_stats"][k])
        for x, y in zip(a, b)
        for k in x["logit_stats"]
    )
    check(worst < 1e-3, f"{label}: entropy, effective vocabulary, top-1 probability within {worst:.1e}")


def ends_with_end_token(lab):
    steps, run = read(lab / "steps.json")["steps"], read(lab / "run.json")
    return steps[-1]["generated_token_id"] == run["tokenizer"]["eos_token_id"]


def compare_snapshot_ids(label, lab, ours, skip_reply):
    index = ours / "conversation_snapshots" / "index.json"
    if not index.exists():
        return
    a, b = read(lab / "conversation_snapshots" / "index.json")["snapshots"], read(index)["snapshots"]
    check([x["index"] for x in a] == [x["index"] for x in b], f"{label}: {len(b)} snapshots")
    keys = ["role", "content_preview", "input_token_ids", "input_tokens", "seq_len", "tensors_file", "generated"]
    pairs = [(x, y) for x, y in zip(a, b) if not (skip_reply and x["generated"])]
    different = [(x["index"], k) for x, y in pairs for k in keys if x[k] != y[k]]
    check(not different, f"{label}: {', '.join(keys)} of {len(pairs)} snapshots {different[:3] if different else ''}")


def compare_scores(label, lab, scenario_dir, ours, notebook, skip_reply):
    s = read(ours / "scores.json")
    scores = np.array([np.nan if v is None else v for v in s["scores"]]).reshape(
        [
            len(s[a + "s"] if a != "metric" else s["metrics"])
            for a in ("snapshot", "pooling", "source", "layer", "reference", "metric")
        ]
    )
    n_layers, last = len(s["layers"]), s["poolings"].index("last")
    assert s["sources"] == SOURCES and s["metrics"] == ["cosine", "mae", "jaccard"] and s["layers"] == list(range(n_layers))
    refs = [last_token(scenario_dir / "references" / f"ref_{r}.npz", n_layers) for r in s["references"]]
    worst, mae, jaccard, count = 0.0, 0.0, [], 0
    for i, snap in enumerate(s["snapshots"]):
        if skip_reply and snap["generated"]:
            continue
        state = last_token(lab / "conversation_snapshots" / f"snapshot_{snap['index']:02d}_{snap['role']}.npz", n_layers)
        for j, src in enumerate(SOURCES):
            for k, ref in enumerate(refs):
                x, y, got = state[src], ref[src], scores[i, last, j, :, k]
                worst = max(worst, np.abs(notebook.cosine_per_layer(x, y) - got[:, 0]).max())
                m = np.abs(x - y).mean(axis=-1)
                mae = max(mae, (np.abs(m - got[:, 1]) / m.clip(1e-3)).max())
                jaccard += (np.abs(notebook.overlap_per_layer(x, y) - got[:, 2]) < 1e-6).tolist()
                count += n_layers
    check(worst <= 1e-4, f"{label}: {count} cosines, largest difference {worst:.2e}")
    check(mae <= 1e-4, f"{label}: MAE, largest relative difference {mae:.2e}")
    check(
        np.mean(jaccard) >= 0.999,
        f"{label}: Jaccard equal in {np.mean(jaccard):.3%} (two values that are nearly equal can change places)",
    )
    compare_intra_run(label, lab, s, notebook)


def compare_intra_run(label, lab, s, notebook):
    from activation_lab.view import Run

    run = Run(lab)
    first, final = notebook.initial_state(run), notebook.final_state(run)
    worst = max(
        np.abs(notebook.cosine_per_layer(first[src], final[src]) - np.array(s["intra_run"][src]["cosine"])).max()
        for src in SOURCES
    )
    check(worst <= 1e-4, f"{label}: within the run, first against last step: largest difference of a cosine {worst:.2e}")


def compare_tensors(label, lab, ours, only=None):
    """Every array of the .npz files of one folder."""
    worst, n, bad, half = {}, 0, [], 0
    for path in sorted(ours.glob("*.npz")):
        if only is not None and path.name not in only:
            continue
        with np.load(lab / path.name) as a, np.load(path) as b:
            if set(a.files) != set(b.files):
                bad.append((path.name, sorted(set(a.files) ^ set(b.files))[:4]))
                continue
            for key in a.files:
                x, y = a[key], b[key]
                if x.shape != y.shape or (x.dtype != y.dtype and key != "qkv_last"):
                    bad.append((path.name, key, x.shape, y.shape, x.dtype, y.dtype))
                    continue
                x, y = x.astype(np.float64), y.astype(np.float64)
                finite = np.isfinite(x) & np.isfinite(y)
                half += int((np.isfinite(x) != np.isfinite(y)).sum())
                source = key.split("/")[-1]
                worst[source] = max(worst.get(source, 0), np.linalg.norm((x - y)[finite]) / max(np.linalg.norm(x[finite]), 1e-30))
                n += 1
    check(not bad, f"{label}: names, shapes and types of {n} arrays {bad[:3] if bad else ''}")
    check(half == 0, f"{label}: the same values are finite ({half} are not)")
    # of values rounded to 16 bits a few fall on the other side; qkv_last is made of rounded values there
    check(
        n == 0 or max(worst.values()) < 2e-3,
        f"{label}: relative L2 differences " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()),
    )


def open_in_viewer(root, whole, pooled):
    """The routes of the viewer and the functions of the notebook, on our directory."""
    from activation_lab.view import Run
    from activation_lab.viewer_server.app import create_app
    from activation_lab.viewer_server.loader import RunRegistry, npz_inventory, resolve_npz
    from fastapi.testclient import TestClient

    registry = RunRegistry(root.parent)
    runs = [r for r in registry.list_runs() if r["group"] == root.name]
    check([r["label"] for r in runs] == read(root / "scan.json")["prompts"], f"viewer lists {len(runs)} runs")
    client, answers = TestClient(create_app(root.parent)), []

    def get(url, **params):
        r = client.get(url, params=params)
        if r.status_code != 200:
            answers.append((url, r.status_code, r.text[:80]))
        return r

    for run in runs:
        base = f"/api/runs/{run['id']}"
        get(base), get(base + "/scenario.yaml"), get(base + "/logit_stats")
        tree = get(base + "/tree").json()["children"]
        leaves = [leaf for group in tree for leaf in group["children"] if whole or pooled and group["type"] != "tensors"]
        for leaf in leaves:
            meta = get(f"{base}/npz/{leaf['kind']}/{leaf['name']}/meta").json()
            assert meta["keys"] == npz_inventory(resolve_npz(registry, run["id"], leaf["kind"], leaf["name"]))["keys"]
        if not leaves:
            continue
        one = f"{base}/npz/{leaves[0]['kind']}/{leaves[0]['name']}"
        get(one + "/convergence")
        if whole:
            get(one + "/attention.png", layer="0"), get(one + "/qk.png", layer="0"), get(one + "/qkv.png"), get(one + "/entropy")
        refs = [{"run_id": run["id"], "kind": leaf["kind"], "name": leaf["name"]} for leaf in leaves[:2]]
        r = client.post("/api/compare/metrics", json={"refs": refs, "sources": SOURCES})
        if r.status_code != 200 or len(r.json()["pairs"][0]["metrics"]["hidden_out"]["mean_cos"]) == 0:
            answers.append(("compare/metrics", r.status_code, r.text[:80]))
        view = Run(run["path"])
        assert view.summary()["num_steps"] == len(view.steps) > 0
        if whole:
            assert view.tensor(0, 1, "hidden_out").ndim == 3 and len(view.residual_norms(0)) == view.num_layers
    check(not answers, f"viewer routes {answers[:4] if answers else ''}")


class Folder:
    """What the notebook's load functions need of a run; references lie beside the prompts."""

    def __init__(self, path, n_layers):
        self.path, self.num_layers = path, n_layers


def notebook_scores(root, notebook):
    """The notebook's own metrics, from our pooled files, against our scores."""
    for label in read(root / "scan.json")["prompts"]:
        s = read(root / label / "scores.json")
        n = len(s["layers"])
        snapshots = notebook.load_conversation_snapshots(Folder(root / label, n))
        refs = notebook.load_reference_states(Folder(root, n))
        got = notebook.compute_snapshot_reference_metrics(snapshots, refs)
        scores = np.array([np.nan if v is None else v for v in s["scores"]]).reshape(
            len(snapshots), len(s["poolings"]), 4, n, len(refs), 3
        )
        worst = max(
            abs(g["by_reference"][r][src]["mean_cosine"] - scores[i, 0, j, :, k, 0].mean())
            for i, g in enumerate(got)
            for j, src in enumerate(SOURCES)
            for k, r in enumerate(s["references"])
        )
        check(worst < 1e-5, f"{label}: notebook metrics from the pooled files: mean cosines within {worst:.1e}")


def load_notebook(checkout):
    spec = importlib.util.spec_from_file_location("compare_runs", checkout / "notebooks" / "compare_runs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    if not hasattr(matplotlib.cm, "get_cmap"):  # Activation Lab's viewer wants it; newer matplotlib has it elsewhere
        matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap
    checkout, roots = pathlib.Path(sys.argv[1]).resolve(), [pathlib.Path(p).resolve() for p in sys.argv[2:]]
    sys.path.insert(0, str(checkout / "src"))
    notebook = load_notebook(checkout)
    keeps = [read(r / "scan.json")["keep"] for r in roots]
    out = pathlib.Path(tempfile.mkdtemp(prefix="activation-lab-"))
    try:
        lab = run_lab(roots[0], False, out)
        whole = run_lab(roots[0], True, out) if "tokens" in keeps else None
        for root, keep in zip(roots, keeps):
            print(f"--- {root.name}, --keep {keep}")
            for label in read(root / "scan.json")["prompts"]:
                skip = ends_with_end_token(lab / label)
                compare_steps(label, lab / label, root / label)
                compare_snapshot_ids(label, lab / label, root / label, skip)
                compare_scores(label, lab / label, lab, root / label, notebook, skip)
                if keep == "tokens":
                    snapshots = [
                        x["tensors_file"]
                        for x in read(root / label / "conversation_snapshots" / "index.json")["snapshots"]
                        if not (skip and x["generated"])
                    ]
                    compare_tensors(
                        f"{label} snapshots",
                        whole / label / "conversation_snapshots",
                        root / label / "conversation_snapshots",
                        snapshots,
                    )
                    compare_tensors(f"{label} steps", whole / label / "tensors", root / label / "tensors")
            if keep == "tokens":
                compare_tensors("references", whole / "references", root / "references")
            if keep == "pooled":
                notebook_scores(root, notebook)
            open_in_viewer(root, keep == "tokens", keep == "pooled")
    finally:
        shutil.rmtree(out)
    print("ok" if not FAILURES else f"{len(FAILURES)} differences")
    sys.exit(bool(FAILURES))


if __name__ == "__main__":
    main()
