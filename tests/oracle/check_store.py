#!/usr/bin/env python3
"""Reads every array of a store that our writer made, bit for bit, with zarr-python and with tensorstore.

usage: check_store.py BUILD_DIR     (uses BUILD_DIR/tests/tools/make_store)"""
import filecmp
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorstore as ts
import zarr

U = np.uint64


def mix(x):
    with np.errstate(over="ignore"):
        x = x + U(0x9E3779B97F4A7C15)
        x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
        return x ^ (x >> U(31))


def expected(dtype, seed, shape):
    x = mix((U(seed) << U(40)) | np.arange(int(np.prod(shape)), dtype=U))
    exponent = U(10) + ((x >> U(20)) & (x >> U(23)) & U(7))
    if dtype in ("float16", "uint16"):
        x = (x & U(0x83FF)) | (exponent << U(10))
    elif dtype == "float32":
        x = (x & U(0x807FFFFF)) | ((U(110) + exponent) << U(23))
    elif dtype == "float64":
        x = (x & U(0x800FFFFFFFFFFFFF)) | ((U(1000) + exponent) << U(52))
    item = np.dtype(dtype).itemsize
    return x.view(np.uint8).reshape(-1, 8)[:, :item].copy().view(f"u{item}").reshape(shape)


def bits(a):
    a = np.ascontiguousarray(a)
    return a.view(f"u{a.dtype.itemsize}")


def check(root):
    n = 0
    for name, array in sorted(zarr.open_group(root, mode="r").members(max_depth=None)):
        if not isinstance(array, zarr.Array):
            continue
        want = expected(array.dtype.name, array.attrs["seed"], array.shape)
        assert array.shape[0] == array.attrs["rows"], name
        assert np.array_equal(bits(array[...]), want), f"zarr-python reads {name} differently"
        t = ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(root / name)}}).result()
        assert t.shape == array.shape and t.dtype.name == array.dtype.name, name
        assert np.array_equal(bits(t.read().result()), want), f"tensorstore reads {name} differently"
        names = array.metadata.dimension_names
        assert list(t.domain.labels) == [x or "" for x in names or [None] * array.ndim], name
        n += 1
        print(f"{name}: {array.dtype.name} {array.shape} the same in both")
    return n


def same(a, b):
    c = filecmp.dircmp(a, b)
    assert not c.left_only and not c.right_only, (c.left_only, c.right_only)
    for f in c.common_files:
        assert (a / f).read_bytes() == (b / f).read_bytes(), a / f
    for d in c.common_dirs:
        same(a / d, b / d)


def main():
    tool = pathlib.Path(sys.argv[1]) / "tests" / "tools" / "make_store"
    with tempfile.TemporaryDirectory() as t:
        roots = [pathlib.Path(t) / f"{k}.zarr" for k in (1, 2, 4)]
        for root, threads in zip(roots, (1, 2, 4)):
            subprocess.run([tool, root, str(threads)], check=True)
            same(roots[0], root)
        groups = sorted(p.parent.relative_to(roots[0]) for p in roots[0].rglob("zarr.json"))
        assert check(roots[0]) == 14, groups
    print("ok: the same bytes for 1, 2 and 4 threads")


main()
