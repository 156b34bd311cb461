#!/usr/bin/env python3
"""The store against what one would use instead, in one run on one core: the same data, the same chunks, every read compared.

    python bench/store_peers.py [--build BUILD] [--dir /dev/shm] [--core N] [--repeats 5] [--tokens 4096] [--out FILE.md]

(tokens, 24, 2048) float16: normal values with a scale per channel, DESIGN's kind. Chunks [256, 1, 2048], in a memory file system. Ours is
build/bench_store (its writer with one compressor, its reader). Peers write and read 256 rows at a time (whole shards where they are
sharded, the only way that does not read them back; numpy's npz all at once), at zstd level 1 with byte shuffle. All are pinned to one core,
with one thread in every library that can be told so. Figures are raw bytes in wall time: median, least and largest of the repeats.
With --out the table is written there, too. Needs numpy, zarr, numcodecs, tensorstore, h5py, hdf5plugin, and taskset.
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time

LAYERS, HIDDEN, ROWS, SHARD = 24, 2048, 256, 4096
ONE_THREAD = {k: "1" for k in ("OMP_NUM_THREADS", "BLOSC_NTHREADS", "NUMEXPR_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ZARR_THREADING__MAX_WORKERS")}
NPZ_SHARE = 8  # deflate is slow: it gets this part of the rows


def blocks(n, rows):
    return [(i, min(i + rows, n)) for i in range(0, n, rows)]


class Zarr:
    def __init__(self, sharded):
        import zarr
        from numcodecs import blosc

        blosc.use_threads = False
        self.zarr, self.sharded, self.rows = zarr, sharded, SHARD if sharded else ROWS

    def write(self, path, data):
        from zarr.codecs import BloscCodec

        a = self.zarr.create_array(
            store=path, shape=data.shape, dtype="float16", chunks=(ROWS, 1, HIDDEN),
            shards=(SHARD, LAYERS, HIDDEN) if self.sharded else None,
            compressors=BloscCodec(typesize=2, cname="zstd", clevel=1, shuffle="shuffle"),
        )
        for i, j in blocks(len(data), self.rows):
            a[i:j] = data[i:j]

    def read(self, path):
        a = self.zarr.open_array(path, mode="r")
        return lambda i, j: a[i:j]


class TensorStore:
    def __init__(self, sharded):
        import tensorstore

        self.ts, self.rows = tensorstore, SHARD if sharded else ROWS
        codecs = [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": {"typesize": 2, "cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0}},
        ]
        if sharded:
            shard = {"chunk_shape": [ROWS, 1, HIDDEN], "codecs": codecs}
            codecs = [{"name": "sharding_indexed", "configuration": shard}]
        self.chunk, self.codecs = [SHARD, LAYERS, HIDDEN] if sharded else [ROWS, 1, HIDDEN], codecs

    def spec(self, path):
        one = {"limit": 1}
        return {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": path, "file_io_sync": False},
            "context": {"data_copy_concurrency": one, "file_io_concurrency": one},
        }

    def write(self, path, data):
        grid = {"name": "regular", "configuration": {"chunk_shape": self.chunk}}
        meta = {"shape": list(data.shape), "data_type": "float16", "chunk_grid": grid, "codecs": self.codecs, "fill_value": 0.0}
        a = self.ts.open({**self.spec(path), "metadata": meta}, create=True).result()
        for i, j in blocks(len(data), self.rows):
            a[i:j].write(data[i:j]).result()

    def read(self, path):
        a = self.ts.open(self.spec(path)).result()
        return lambda i, j: a[i:j].read().result()


class Hdf5:
    rows = ROWS

    def __init__(self, blosc):
        import h5py
        import hdf5plugin

        self.h5py = h5py
        self.filter = hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=1) if blosc else {"shuffle": True, **hdf5plugin.Zstd(clevel=1)}

    def write(self, path, data):
        with self.h5py.File(path, "w") as f:
            d = f.create_dataset("a", data.shape, "float16", chunks=(ROWS, 1, HIDDEN), **self.filter)
            for i, j in blocks(len(data), ROWS):
                d[i:j] = data[i:j]

    def read(self, path):
        d = self.h5py.File(path, "r")["a"]
        return lambda i, j: d[i:j]


class Npz:
    rows = ROWS

    def write(self, path, data):
        import numpy as np

        with open(path, "wb") as f:
            np.savez_compressed(f, a=data)

    def read(self, path):
        import numpy as np

        a = np.load(path)["a"]
        return lambda i, j: a[i:j]


PEERS = {
    "zarr-python": lambda: Zarr(False),
    "zarr-python, sharded": lambda: Zarr(True),
    "tensorstore": lambda: TensorStore(False),
    "tensorstore, sharded": lambda: TensorStore(True),
    "HDF5, shuffle + zstd": lambda: Hdf5(False),
    "HDF5, blosc zstd": lambda: Hdf5(True),
    "numpy savez_compressed": Npz,
}


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def report(what, raw, ratio, wall, cpu_seconds):
    print(json.dumps({"what": what, "ratio": ratio, "gb_s": raw / wall / 1e9, "gb_s_core": raw / cpu_seconds / 1e9}), flush=True)


def stored_bytes(path):
    p = pathlib.Path(path)
    return p.stat().st_size if p.is_file() else sum(f.stat().st_size for f in p.rglob("*") if f.is_file())


def remove(path):
    shutil.rmtree(path, ignore_errors=True)
    pathlib.Path(path).unlink(missing_ok=True)


def one(a):
    """One peer, in a process of its own."""
    import numpy as np

    data = np.fromfile(a.data, np.float16).reshape(-1, LAYERS, HIDDEN)
    if a.one.startswith("numpy"):
        data = data[: len(data) // NPZ_SHARE]
    peer, path = PEERS[a.one](), os.path.join(a.dir, "store_peers.tmp")
    for _ in range(a.repeats):
        remove(path)
        t, c = time.perf_counter(), cpu()
        peer.write(path, data)
        t, c = time.perf_counter() - t, cpu() - c
        report("write", data.nbytes, data.nbytes / stored_bytes(path), t, c)
        wall, used, t, c = 0, 0, time.perf_counter(), cpu()
        get = peer.read(path)
        for i, j in blocks(len(data), peer.rows):
            got = get(i, j)
            wall, used = wall + time.perf_counter() - t, used + cpu() - c
            assert np.array_equal(np.asarray(got).view(np.uint16), data[i:j].view(np.uint16)), a.one
            t, c = time.perf_counter(), cpu()
        report("read", data.nbytes, 1, wall, used)
    remove(path)


def make_data(path, tokens):
    import numpy as np

    rng = np.random.default_rng(1)
    scale = np.exp(rng.standard_normal((LAYERS, HIDDEN)) * 0.5).astype(np.float32)
    with open(path, "wb") as f:
        for i, j in blocks(tokens, ROWS):
            (rng.standard_normal((j - i, LAYERS, HIDDEN), np.float32) * scale).astype(np.float16).tofile(f)


def run(name, a, data):
    pin = ["taskset", "-c", str(a.core)]
    if name == "ours":
        command = [*pin, os.path.join(a.build, "bench_store"), a.dir, data, str(a.tokens), str(LAYERS), str(HIDDEN), "1", str(a.repeats)]
    else:
        command = [*pin, sys.executable, __file__, "--one", name, "--data", data, "--dir", a.dir, "--repeats", str(a.repeats)]
    out = subprocess.run(command, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, check=True, text=True).stdout
    remove(os.path.join(a.dir, "bench.zarr"))
    lines = [json.loads(line) for line in out.splitlines()]
    return {what: [x for x in lines if x["what"] == what] for what in {x["what"] for x in lines}}


def cell(lines, key="gb_s"):
    v = [x[key] for x in lines]
    return f"{statistics.median(v):.2f} ({min(v):.2f}-{max(v):.2f})"


def table(results, a):
    cpu_name = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
    out = [
        "# The store against its peers", "",
        f"`bench/store_peers.py --repeats {a.repeats} --tokens {a.tokens}`: {a.tokens * LAYERS * HIDDEN * 2 / 1e6:.0f} MB of float16 "
        f"[{a.tokens}, {LAYERS}, {HIDDEN}], chunks [{ROWS}, 1, {HIDDEN}], memory file system, one core of {cpu_name}. GB/s of raw bytes, median "
        "(least-largest); every read was compared with what was written.", "",
        "| | ratio | write, GB/s | read, GB/s | write, GB/s per core second | read, GB/s per core second |", "|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        w = r["write"]
        out.append(f"| {name} | {w[0]['ratio']:.3f} | {cell(w)} | {cell(r['read'])} | {cell(w, 'gb_s_core')} | {cell(r['read'], 'gb_s_core')} |")
    codec = results["ours"]
    out += ["", f"The chunk codec alone, one chunk at a time from strided rows: {cell(codec['codec in'], 'gb_s_core')} GB/s in, "
            f"{cell(codec['codec out'], 'gb_s_core')} out.", ""]
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build")
    p.add_argument("--dir", default="/dev/shm")
    p.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--tokens", type=int, default=SHARD)
    p.add_argument("--out")
    p.add_argument("--one", choices=PEERS)
    p.add_argument("--data")
    a = p.parse_args()
    if a.one:
        return one(a)
    data = os.path.join(a.dir, "store_peers.f16")
    make_data(data, a.tokens)
    try:
        results = {name: run(name, a, data) for name in ["ours", *PEERS]}
    finally:
        remove(data)
    text = table(results, a)
    print(text)
    if a.out:
        pathlib.Path(a.out).write_text(text)


main()
