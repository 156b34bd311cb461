#!/usr/bin/env python3
"""Goldens for tests/unit/test_calibrate.c and test_scorer.c: numpy in float64.

calibrate_NAME.bin, little-endian: i32 n, dim, k; f32 x (n, dim); f64 mean (dim), sigma (dim), pc_var (k), pcs (k, dim), shrinkage,
precision (dim, dim): the inverse of the shrunk covariance, 0 in rows and columns of constant dimensions.

scorer_NAME.bin: i32 dim, n_labels, n_pcs, n_rows, n_whiten; f32 refs (n_labels, dim), mean (dim), sigma (dim), pcs (n_pcs, dim),
z (n_labels, 24, 2), whiten (n_whiten, dim), n_whiten being dim or 0; f32 rows (n_rows, dim); i32 role, n_tokens (n_rows, 2); f64 expected (n_rows, n_labels, 8) in the order of the metrics.

contrast_NAME.bin: f64 expected (n_rows, n_labels, 6) of the case scorer_NAME: the contrasts, in the order of the metrics.
"""
import pathlib
import struct
import warnings

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "score"
f32 = np.float32


def ledoit_wolf(z):
    """Ledoit & Wolf 2004, lemma 3.2 to 3.4 as they stand, for rows z of known mean 0: (shrinkage, shrunk covariance)."""
    n, p = z.shape
    s = z.T @ z / n
    norm2 = lambda a: np.trace(a @ a.T) / p
    m = np.trace(s @ np.eye(p)) / p
    d2 = norm2(s - m * np.eye(p))
    b2 = min(sum(norm2(np.outer(row, row) - s) for row in z) / n**2, d2)
    shrinkage = b2 / d2
    return shrinkage, shrinkage * m * np.eye(p) + (1 - shrinkage) * s


def write_calibrate(name, x, k):
    x = x.astype(f32)
    n, dim = x.shape
    wide = x.astype(np.float64)
    mean, sigma = wide.mean(axis=0), wide.std(axis=0, ddof=1)
    values, vectors = np.linalg.eigh(np.cov(wide.T))
    values, vectors = values[::-1][:k].copy(), vectors.T[::-1][:k].copy()
    for i in range(k):
        if values[i] < 1e-12 * values[0]:
            values[i], vectors[i] = 0, 0
        vectors[i] *= np.sign(vectors[i][np.argmax(np.abs(vectors[i]))])
    moving = sigma > 0
    z = np.zeros_like(wide)
    z[:, moving] = (wide[:, moving] - mean[moving]) / sigma[moving]
    shrinkage, shrunk = ledoit_wolf(z)
    inverse = np.linalg.inv(shrunk)
    scale = np.zeros(dim)
    scale[moving] = 1 / sigma[moving]
    precision = scale[:, None] * inverse * scale[None, :]
    blob = struct.pack("<3i", n, dim, k) + x.tobytes()
    for a in (mean, sigma, values, vectors, np.array([shrinkage]), precision):
        blob += np.ascontiguousarray(a, np.float64).tobytes()
    (OUT / f"calibrate_{name}.bin").write_bytes(blob)


def cosine(a, b):
    with np.errstate(all="ignore"):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def scores(v, r, c, label, role, n_tokens):
    k = max(1, len(v) // 100)
    a, b = (set(np.argsort(np.abs(x), kind="stable")[-k:].tolist()) for x in (v, r))
    mu, sigma = c["mean"], c["sigma"]
    inverse = np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1), 0)
    d = (r - mu) - sum(((r - mu) @ pc) * pc for pc in c["pcs"])
    zmean, zsd = c["z"][label, role * 8 + min(7, int(np.log2(max(1, n_tokens))))]
    out = [cosine(v, r), np.abs(v - r).mean(), len(a & b) / len(a | b), cosine(v - mu, r - mu),
           cosine((v - mu) * inverse, (r - mu) * inverse), cosine(c["whiten"] @ (v - mu), c["whiten"] @ (r - mu)),
           (cosine(v, r) - zmean) / zsd if zsd > 0 else np.nan, (v - mu) @ d / np.linalg.norm(d)]
    if not np.isfinite(v).all() or not v.any():
        out[3:] = [np.nan] * 5
    return out


CONTRASTED = [0, 3, 4, 5, 6, 7]  # cosine, centered, standardized, whitened, z, projection


def contrasts(expected):
    """Scores less their row's mean over the labels that have one."""
    base = expected[..., CONTRASTED]  # row, label, metric
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
        return base - np.nanmean(base, axis=1, keepdims=True)


def write_scorer(name, rng, dim, n_labels, n_pcs, rows, tweak=None):
    c = {"mean": rng.standard_normal(dim), "sigma": rng.uniform(0.2, 3, dim),
         "whiten": np.tril(rng.standard_normal((dim, dim))) * 0.1 + np.eye(dim), "z": rng.uniform(0.05, 0.4, (n_labels, 24, 2))}
    c["pcs"] = np.linalg.qr(rng.standard_normal((dim, n_pcs)))[0].T if n_pcs else np.zeros((0, dim))
    refs = c["mean"] + rng.standard_normal((n_labels, dim))
    if tweak:
        tweak(c, refs)
    c = {key: value.astype(f32).astype(np.float64) for key, value in c.items()}
    refs, rows = refs.astype(f32), rows.astype(f32)
    about = np.stack([rng.integers(0, 3, len(rows)), rng.integers(1, 400, len(rows))], axis=1).astype("<i4")
    with np.errstate(all="ignore"):
        expected = np.array([[scores(v.astype(np.float64), r.astype(np.float64), c, j, *a) for j, r in enumerate(refs)]
                             for v, a in zip(rows, about)])
    kept = ("mean", "sigma", "pcs", "z", "whiten") if dim < 100 else ("mean", "sigma", "pcs", "z")
    blob = struct.pack("<5i", dim, n_labels, n_pcs, len(rows), dim if "whiten" in kept else 0) + refs.tobytes()
    for key in kept:
        blob += np.ascontiguousarray(c[key], f32).tobytes()
    (OUT / f"scorer_{name}.bin").write_bytes(blob + rows.tobytes() + about.tobytes() + expected.tobytes())
    (OUT / f"contrast_{name}.bin").write_bytes(contrasts(expected).tobytes())


def main():
    rng = np.random.default_rng(11)
    normal = rng.standard_normal
    mix = normal((24, 24)) * 0.3 + np.diag(np.linspace(0.5, 3, 24))
    write_calibrate("plain", normal((60, 24)) @ mix + 5 * normal(24), 4)
    write_calibrate("wide", normal((10, 40)) @ np.diag(np.linspace(0.5, 3, 40)), 6)
    massive = normal((50, 30)) @ (normal((30, 30)) * 0.2 + np.eye(30))
    massive[:, 7] = 3000 + 250 * normal(50)
    massive[:, 21] = -800 + 40 * normal(50)
    write_calibrate("massive", massive, 5)
    constant = normal((20, 12))
    constant[:, 3] = 1.5
    write_calibrate("constant", constant, 3)
    write_calibrate("rank2", normal((15, 2)) @ normal((2, 33)) * np.array([[1.0]]), 4)
    # more components than Lanczos' first basis has vectors, from a spectrum that falls slowly
    write_calibrate("slow", normal((60, 50)) * np.linspace(1.0, 1.6, 50), 8)

    def rows_of(dim, n):
        return normal((n, dim))

    write_scorer("plain", rng, 24, 3, 2, rows_of(24, 5))
    write_scorer("odd", rng, 37, 2, 0, rows_of(37, 6))
    write_scorer("one", rng, 16, 1, 3, rows_of(16, 1))
    write_scorer("many", rng, 20, 70, 1, rows_of(20, 3))
    write_scorer("blocks", rng, 300, 2, 2, rows_of(300, 3) * 4)

    def flat(c, refs):
        c["sigma"][3] = 0
        c["z"][0, :, 1] = 0

    write_scorer("flat", rng, 24, 2, 2, rows_of(24, 3), flat)

    def rogue(c, refs):
        c["mean"][5], c["sigma"][5] = 2000, 150
        refs[:, 5] = 2000 + 150 * normal(len(refs))

    rows = rows_of(32, 4)
    rows[:, 5] = 2000 + 150 * normal(4)
    write_scorer("massive", rng, 32, 3, 2, rows, rogue)
    rows = rows_of(24, 5)
    rows[0, 3], rows[1, 4], rows[2] = np.nan, np.inf, 0
    rows[3] *= 1e-25
    write_scorer("odd_values", rng, 24, 2, 1, rows)
    write_scorer("huge", rng, 24, 2, 1, rows_of(24, 2) * 1e32)


main()
