#!/usr/bin/env python3
"""Reads files of `llmct-gpu fingerprint` with the reference library: every tensor by its name, its shape, and what can be checked of its
values; the metadata. For developers; the tests need no Python.

Usage: check_fingerprint.py FILE.safetensors...
"""
import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

ROLES_X_LENGTHS = 24


def escape(name):
    return name.replace("%", "%25").replace("/", "%2F")


def check_bank(path, tensors, place, meta, layers, hidden, n_labels, seen):
    neutral = json.loads(meta["neutral"])
    k = neutral["pcs"]
    shapes = {"mean": (layers, hidden), "sigma": (layers, hidden), "z": (layers, n_labels, ROLES_X_LENGTHS, 2)}
    if k:
        shapes |= {"pcs": (layers, k, hidden), "pc_var": (layers, k)}
    if neutral["whiten"]:
        shapes |= {"shrinkage": (layers,), "whiten": (layers, hidden, hidden)}
    part = {}
    for name, shape in shapes.items():
        part[name] = tensors[f"neutral/{place}/{name}"]
        seen.add(f"neutral/{place}/{name}")
        assert part[name].shape == shape and part[name].dtype == np.float32, (path, place, name, part[name].shape)
    assert (part["sigma"] >= 0).all()
    assert (part["z"][..., 1] >= 0).all() and (np.abs(part["z"][..., 0]) <= 1).all(), (path, place, "z")
    if k:
        alive = part["pc_var"] > 0
        gram = np.einsum("lkh,ljh->lkj", part["pcs"].astype(np.float64), part["pcs"].astype(np.float64))
        want = np.einsum("lk,kj->lkj", alive.astype(float), np.eye(k))
        assert np.abs(gram - want).max() < 1e-5, (path, place, "pcs", np.abs(gram - want).max())
        assert (np.diff(part["pc_var"], axis=1) <= 1e-6 * part["pc_var"][:, :1]).all(), (path, place, "pc_var")
        assert (part["pc_var"].sum(1) <= (part["sigma"].astype(np.float64) ** 2).sum(1) * 1.0001).all() or neutral["prompts"] > 4096
    if neutral["whiten"]:
        assert ((part["shrinkage"] >= 0) & (part["shrinkage"] <= 1)).all()
        assert (np.triu(part["whiten"], 1) == 0).all(), (path, place, "whiten")


def check(path):
    tensors = load_file(path)
    with safe_open(path, "numpy") as f:
        meta = f.metadata()
        assert set(f.keys()) == set(tensors)
    assert meta["format"] == "llmct-fingerprints" and meta["version"] == "1"
    layers, hidden = int(meta["layers"]), int(meta["hidden"])
    labels, poolings, sources = (json.loads(meta[k]) for k in ("labels", "poolings", "sources"))
    prompts, halves = json.loads(meta["prompts"]), json.loads(meta["split_half"])
    assert list(prompts) == labels and all(n >= 1 for n in prompts.values())
    seen = set()
    for pooling in poolings:
        for source in sources:
            place = f"{escape(pooling)}/{escape(source)}"
            for label in labels:
                name = f"{escape(label)}/{place}"
                seen.add(name)
                assert tensors[name].shape == (layers, hidden) and tensors[name].dtype == np.float32, (path, name)
                assert np.isfinite(tensors[name]).all() and tensors[name].any(axis=1).all(), (path, name)
                cosines = halves[label][pooling][source]
                assert len(cosines) == layers and all((x is None) == (prompts[label] < 2) for x in cosines)
            if "neutral" in meta:
                check_bank(path, tensors, place, meta, layers, hidden, len(labels), seen)
    assert seen == set(tensors), seen ^ set(tensors)
    print(f"{path}: {len(tensors)} tensors, labels {labels}, prompts {sum(prompts.values())}")


for argument in sys.argv[1:]:
    check(argument)
