#!/usr/bin/env python3
"""Goldens for tests/unit/test_score.c: numpy in float64, and Activation Lab's own functions in float32.

Usage: gen_score.py COMPARE_RUNS_PY   (Activation Lab's notebooks/compare_runs.py; only its two pure functions are run)

score_NAME.bin, little-endian: i32 n_rows, n_refs, dim, has_lab; f32 rows (n_rows, dim); f32 refs (n_refs, dim);
f64 expected (n_rows, n_refs, 3) cosine, mae, jaccard; then, if has_lab, f64 lab (n_rows, n_refs, 3).
has_lab is 0 where values tie (Activation Lab's argsort leaves their order open), norms are small, or values leave float's range.
"""
import ast
import pathlib
import struct
import sys

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "score"


def lab_functions(path):
    tree = ast.parse(pathlib.Path(path).read_text())
    wanted = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in ("cosine_per_layer", "overlap_per_layer")]
    scope = {"np": np, "norm": np.linalg.norm}
    exec(compile(ast.Module(wanted, []), path, "exec"), scope)
    return scope["cosine_per_layer"], scope["overlap_per_layer"]


def expected(v, r):
    v64, r64 = v.astype(np.float64), r.astype(np.float64)
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(v64) * np.linalg.norm(r64)
        cosine = np.dot(v64, r64) / norms if norms != 0 else np.nan
        mae = np.abs(v64 - r64).mean()
    k = max(1, len(v) // 100)
    a, b = (set(np.argsort(np.abs(x), kind="stable")[-k:].tolist()) for x in (v, r))
    return cosine, mae, len(a & b) / len(a | b)


def write(name, rows, refs, lab):
    n, m, dim = len(rows), len(refs), rows.shape[1]
    exp = np.array([[expected(v, r) for r in refs] for v in rows])
    blob = struct.pack("<4i", n, m, dim, int(lab is not None)) + rows.tobytes() + refs.tobytes() + exp.tobytes()
    if lab is not None:
        cosine, overlap = lab
        got = np.empty((n, m, 3))
        for j, r in enumerate(refs):
            tiled = np.repeat(r[None], n, axis=0)
            got[:, j, 0] = cosine(rows, tiled)
            got[:, j, 1] = np.abs(rows - tiled).mean(axis=-1)
            got[:, j, 2] = overlap(rows, tiled)
        blob += got.tobytes()
    (OUT / f"score_{name}.bin").write_bytes(blob)


def main():
    lab = lab_functions(sys.argv[1])
    rng = np.random.default_rng(7)
    f32 = np.float32
    OUT.mkdir(parents=True, exist_ok=True)

    def normal(n, dim):
        return rng.standard_normal((n, dim)).astype(f32)

    for dim in (1, 7, 16, 99, 199, 200):  # of one value, Activation Lab's 1e-8 beside the norms can be seen
        write(f"dim{dim}", normal(2, dim), normal(2, dim), lab if dim > 1 else None)
    # rows near their references, as residual streams are
    refs = normal(2, 576)
    write("near", (refs[0] + 0.05 * normal(3, 576)).astype(f32), refs, lab)
    # massive activations: a few values of thousands among values of one
    rows, refs = normal(2, 2048), normal(2, 2048)
    for x in (rows, refs):
        x[:, [300, 1999]] = [-8123.5, 4100.25]
    write("massive", rows, refs, lab)
    # ties in |value|, across the cut
    write("ties", rng.integers(-2, 3, (3, 400)).astype(f32), rng.integers(-2, 3, (3, 400)).astype(f32), None)
    # zeros, and values outside what a float product holds
    z = np.zeros((1, 200), f32)
    write("zero", np.concatenate([z, normal(1, 200)]), np.concatenate([z, normal(1, 200)]), None)
    write("huge", normal(2, 200) * f32(1e30), normal(2, 200) * f32(3e30), None)
    write("minute", normal(2, 200) * f32(1e-30), normal(2, 200) * f32(3e-30), None)
    rows = normal(2, 300)
    rows[0, 17] = np.nan
    rows[1, 5] = np.inf
    write("nonfinite", rows, normal(1, 300), None)


main()
