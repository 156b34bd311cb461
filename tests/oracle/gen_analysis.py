#!/usr/bin/env python3
"""Goldens of src/analysis, computed with numpy alone from a small random scores array that has NaNs in it.

    gen_analysis.py            writes tests/goldens/report/analysis_{scores,expected}.json, and run_expected.json and
                               published_small.json for the run that make_fake_run.py wrote to tests/goldens/report/run
"""
import json
import math
import pathlib
import warnings

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "report"
RESIDUAL = ["hidden_in", "hidden_out", "attn_out", "mlp_down_out"]
warnings.filterwarnings("ignore", message="Mean of empty slice")
warnings.filterwarnings("ignore", message="All-NaN slice")


def clean(x):
    """NaN to null, arrays to lists."""
    if isinstance(x, dict):
        return {k: clean(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [clean(v) for v in x]
    if isinstance(x, np.ndarray):
        return clean(x.tolist())
    if isinstance(x, (float, np.floating)):
        return None if math.isnan(x) else float(x)
    if isinstance(x, np.integer):
        return int(x)
    return x


def make_scores():
    rng = np.random.default_rng(20260102)
    roles = ["system", "user", "assistant", "user", "assistant", "user", "assistant"]
    shape = (7, 2, 4, 5, 3, 3)
    v = np.round(rng.uniform(-0.2, 1.0, shape), 4)
    v[rng.random(shape) < 0.02] = np.nan
    v[3, 0, 2, :, 1, :] = np.nan   # a source without any value for one reference
    v[:, 0, 0, 2, :, 0] = np.nan   # a layer without any cosine
    v[4, 0, :, :, :, :] = np.nan   # a snapshot without any value
    intra = {s: {m: np.round(rng.uniform(-0.3, 1, 5), 4) for m in ("cosine", "mae", "jaccard")} for s in RESIDUAL}
    intra["attn_out"]["cosine"][1] = np.nan
    doc = {"format": "llmct-scores", "version": 1,
           "snapshots": [{"index": i, "role": r, "content_preview": f"message {i}", "n_tokens": 10 + i,
                          "generated": i == 6} for i, r in enumerate(roles)],
           "poolings": ["last", "content_mean"],
           "sources": ["mlp_down_out", "hidden_in", "attn_out", "hidden_out"],  # not in the usual order on purpose
           "layers": [0, 3, 4, 8, 9], "references": ["calm", "joy", "fear"], "metrics": ["mae", "cosine", "jaccard"],
           "axes": ["snapshot", "pooling", "source", "layer", "reference", "metric"],
           "scores": v.ravel(), "intra_run": intra}
    return clean(doc)


def contrast(v, res, given, roles, out):
    """What the analysis says of contrasts; v (snapshot, source, layer, reference, stat)."""
    cos = v[..., 0]
    con = cos - np.nanmean(cos, axis=3, keepdims=True)
    by_source = np.nanmean(con, axis=2)                               # snapshot, source, reference
    by_message = np.nanmean(by_source[:, res], axis=1)
    found = {"by_source": by_source.ravel(), "by_message": by_message.ravel()}
    averages = {"all": given, "user": given & (roles == "user"), "assistant": given & (roles == "assistant")}
    averages = {name: np.nanmean(by_source[mask], axis=0) for name, mask in averages.items()}   # source, reference
    found |= {name: avg.ravel() for name, avg in averages.items()}
    of_user = np.nanmean(averages["user"][res], axis=0)               # reference
    raw = np.nanmean(np.nanmean(np.nanmean(cos, axis=2)[given & (roles == "user")], axis=0)[res], axis=0)
    backbone = averages["all"][res[:2]]
    first, last = out["fade"]["first"], out["fade"]["last"]
    best = out["best"]
    return found | {"mean": of_user, "order": np.argsort(-of_user, kind="stable"), "offset": np.nanmean(raw),
                    "backbone": [backbone.min(), backbone.max()],
                    "first": by_message[first, best[first]], "last": by_message[last, best[last]]}


def expected(doc, pooling):
    names = doc["metrics"]
    order = [names.index(m) for m in ("cosine", "mae", "jaccard")]
    v = np.array(doc["scores"], dtype=float)
    v = v.reshape([len(doc[k]) for k in ("snapshots", "poolings", "sources", "layers", "references", "metrics")])
    v = v[:, doc["poolings"].index(pooling)][..., order]              # snapshot, source, layer, reference, stat
    roles = np.array([s["role"] for s in doc["snapshots"]])
    given = ~np.array([s["generated"] for s in doc["snapshots"]])
    index = np.array([s["index"] for s in doc["snapshots"]], dtype=float)
    res = [doc["sources"].index(s) for s in RESIDUAL if s in doc["sources"]]
    by_source = np.nanmean(v, axis=2)                                 # snapshot, source, reference, stat
    by_message = np.nanmean(by_source[:, res], axis=1)
    cos = by_message[..., 0]
    best = np.array([-1 if np.isnan(row).all() else int(np.nanargmax(row)) for row in cos])
    out = {"n_nan": int(np.isnan(np.array(doc["scores"], dtype=float)).sum()),
           "by_source": by_source.ravel(), "by_message": by_message.ravel(), "best": best}
    means = {}
    for name, mask in (("all", given), ("user", given & (roles == "user")), ("assistant", given & (roles == "assistant"))):
        avg = np.nanmean(by_source[mask], axis=0)                     # source, reference, stat
        curves = np.nanmean(v[mask][..., 0], axis=0)                  # source, layer, reference
        means[name] = np.nanmean(avg[..., 0], axis=1)
        spread = np.nanmax(curves, axis=2) - np.nanmin(curves, axis=2)
        none = np.isnan(curves).all(axis=2)
        filled = np.where(none[..., None], 0, curves)
        out[name] = {"n_snapshots": int(mask.sum()), "by_source": avg.ravel(), "curves": curves.ravel(),
                     "source_mean": means[name], "spread": spread.ravel(),
                     "highest": np.where(none, -1, np.nanargmax(filled, axis=2)).ravel(),
                     "lowest": np.where(none, -1, np.nanargmin(filled, axis=2)).ravel(),
                     "mean": np.nanmean(curves, axis=2).ravel(),
                     "top": [np.argsort(-np.where(np.isnan(row), -np.inf, row), kind="stable").tolist() for row in spread]}
    out["gap"] = means["user"][res] - means["assistant"][res]
    intra = {}
    for s in doc["sources"]:
        x = np.array(doc["intra_run"][s]["cosine"], dtype=float)
        intra[s] = [np.nanmean(x), np.nanstd(x), np.nanmedian(x), np.nanmin(x), np.nanmax(x), int(np.nanargmin(x)),
                    int(np.isnan(x).sum())]
    out["intra"] = intra
    all_avg = np.nanmean(by_source[given], axis=0)[..., 0]
    bb, sub = all_avg[res[:2]], all_avg[res[2:]]
    out["backbone"] = [bb.min(), bb.max(), sub.min(), sub.max()]
    valid = given & (best >= 0)
    n_ref = len(doc["references"])
    out["wins_all"] = np.bincount(best[valid], minlength=n_ref)
    user = valid & (roles == "user")
    out["wins_user"] = np.bincount(best[user], minlength=n_ref)
    turns = np.flatnonzero(user)
    y = cos[turns, best[turns]]
    slope, intercept = np.polyfit(index[turns], y, 1)
    out["fade"] = {"first": int(turns[0]), "last": int(turns[-1]), "first_value": y[0], "last_value": y[-1],
                   "first_ref_at_last": cos[turns[-1], best[turns[0]]], "slope": slope, "intercept": intercept,
                   "r": np.corrcoef(index[turns], y)[0, 1]}
    out["contrast"] = contrast(v, res, given, roles, out)
    return clean(out)


def published(run, want):
    """The run's own numbers plus 0.1, with a reference and a message that the run has not, and without a reference it has."""
    n_ref = len(run["references"])
    cells = np.array(want["by_message"], dtype=float).reshape(len(run["snapshots"]), n_ref, 3)[..., 0]
    refs = ["awe"] + run["references"][1:]
    turns = {str(i): [0.5] + [float(v) + 0.1 for v in cells[i][1:]] for i in (1, 3)}
    turns["99"] = [0.5] * n_ref
    return {"model": "Somebody/Else-9B", "layers": 7, "references": refs, "turn_by_reference_mean_cosine_over_sources": turns,
            "role_mean_cosine": {"columns": RESIDUAL, "user": [0.9, 0.8, 0.7, 0.6], "assistant": [0.8, 0.7, 0.6, 0.5]},
            "top_layers_hidden_in_user": {"rows": [[6, 0.25, "awe", 0.9, "joy", 0.65, 0.7]]}}


def write(name, doc):
    (OUT / name).write_text(json.dumps(doc, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    doc = make_scores()
    write("analysis_scores.json", doc)
    write("analysis_expected.json", {p: expected(doc, p) for p in doc["poolings"]})
    run = json.loads((OUT / "run" / "prompt_0" / "scores.json").read_text(encoding="utf-8"))
    want = expected(run, "last")
    write("run_expected.json", {k: want[k] for k in ("by_message", "best", "gap", "backbone", "fade", "user", "contrast")})
    write("published_small.json", published(run, want))


if __name__ == "__main__":
    main()
