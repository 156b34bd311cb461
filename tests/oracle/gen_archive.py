#!/usr/bin/env python3
"""Small sweep directories as llmct-gpu sweep writes them, their arrays by zarr-python, for tests/unit/test_archive.c and tests/cli/archive.sh.
Needs zarr >= 3. An array's elements are those of gen_zarr.py from 1000 times the sum of its name's letters on."""
import json
import pathlib
import shutil
import struct
import zlib

import numpy as np
from gen_zarr import create, values

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "store" / "archive"
ROLES = ["system", "user", "assistant"]


def crc32c(data):
    r = 0xFFFFFFFF
    for b in data:
        r ^= b
        for _ in range(8):
            r = r >> 1 ^ (0x82F63B78 if r & 1 else 0)
    return r ^ 0xFFFFFFFF


def messages(n_tokens):
    """Conversations of 2, 3, 4, 1 messages, one with an id that JSON escapes; token rows of each one after the other."""
    lines, row, first = [], 0, 0
    for c, n in enumerate([2, 3, 4, 1]):
        stored = 4 + n
        for m in range(n):
            line = {"row": row, "id": ["talk 0", "talk 1", "t\u00e4lk \"2\"", "3"][c], "message": m, "role": ROLES[m % 3], "label": [None, "joy", "fear"][row % 3],
                    "n_tokens": 10 + 5 * m, "content": [4 + 5 * m, 8 + 5 * m]}
            if n_tokens:
                line["tokens"] = [first, stored]
            lines.append(json.dumps({**line, "hash": f"{zlib.crc32(bytes([row])):016x}"}, separators=(",", ":")))
            row += 1
        first += stored
    assert not n_tokens or first == n_tokens
    return lines


class Sweep:
    def __init__(self, name, dtype, positions, sources, layers, n_layers, hidden, tokens=0, derive=None, state="done"):
        self.dir = OUT / name
        self.dir.mkdir(parents=True)
        self.rows, self.n_tokens, self.positions, self.state = 10, tokens, positions, state
        self.late = []  # the last shards, partly filled: they count when the sweep is done
        self.journal = [json.dumps({"format": "llmct-journal", "version": 1, "config": {}})]
        self.json = {"format": "llmct-sweep", "version": 1, "state": state, "llmct_version": "0.1.0",
                     "model": {"path": "m", "id": "tiny/model", "arch": "qwen2", "n_layers": n_layers, "hidden": hidden, "hash": "ab" * 32},
                     "template": {"name": "chatml", "hash": "cd" * 32}, "precision": "exact", "device": "cpu", "inputs": ["a.jsonl"],
                     "keep": "tokens" if tokens else "pooled", "store_dtype": dtype, "derive": derive, "positions": positions,
                     "sources": sources, "layers": layers, "metrics": [], "fingerprints": None, "rows": self.rows, "tokens_stored": tokens,
                     "conversations": 4, "rejected": 1, "truncated": 0, "arrays": [],
                     "tokens": {"computed": 120, "naive": 300, "from_prefix": 0}, "seconds": {"total": 1.5}, "saturated": 0}

    def array(self, name, dtype, shape, shard, chunk, dims, axes, data=None, shards=None):
        """data None: the formula's. shards: how many are written of a sweep that is not done."""
        data = values(dtype, shape, 1000 * sum(name.encode())) if data is None else data
        path = self.dir / "data.zarr" / name
        attributes = {"llmct": axes}
        create(path, dtype, shape, shard, chunk, dims, attributes)[...] = data
        dtype = np.dtype(dtype).name
        self.json["arrays"].append({"name": name, "dtype": dtype, "codec": "blosc" if dtype in ("float16", "uint16") else "zstd", "shape": shape,
                                    "shard": shard, "chunk": chunk, "dims": dims, "attributes": attributes})
        n = -(-shape[0] // shard[0])
        for k in range(n if shards is None else shards):
            size = path.joinpath("c", str(k), *["0"] * (len(shape) - 1)).stat().st_size
            line = json.dumps({"array": name, "shard": k, "bytes": size}, separators=(",", ":"))
            (self.late if k == n - 1 and n > 1 else self.journal).append(line)
        if shards is not None:
            (path / "zarr.json").unlink()
            for k in range(shards, n):
                shutil.rmtree(path / "c" / str(k))

    def vectors(self, source, dtype, axis, planes, hidden, axes=None, tokens=False, shards=None, data=None):
        n = self.n_tokens if tokens else self.rows
        front = [] if tokens else [len(self.positions)]
        extra = {} if tokens else {"positions": self.positions}
        dims = ["token"] if tokens else ["row", "position"]
        self.array(f"{'tokens' if tokens else 'pooled'}/{source}", dtype, [n, *front, len(planes), hidden], [8 if tokens else 4, *front, len(planes), hidden],
                   [4 if tokens else 2, *[1 for _ in front], 1, hidden], [*dims, "plane" if axis == "planes" else "layer", "hidden"],
                   {"source": source, axis: planes, **extra, **(axes or {})}, data, shards)

    def moments(self, source, axis, planes, hidden):
        p = len(self.positions)
        for what in ("mean", "m2"):
            shape = [p, len(planes), 3, hidden]
            self.array(f"moments/{source}/{what}", "float64", shape, shape, [1, 1, 3, hidden], ["position", "layer", "role", "hidden"],
                       {"source": source, axis: planes, "positions": self.positions, "roles": ROLES},
                       np.abs(values("float64", shape, 1000 * sum(source.encode()) + (what == "m2"))))

    def finish(self, torn=""):
        lines = messages(self.n_tokens)
        (self.dir / "messages.jsonl").write_text("\n".join(lines) + "\n" + torn)
        if torn:
            self.late.append('{"array":"pooled/hidden_out","shard":2,"bytes":1}')
        journal = [*self.journal, f'{{"finishing":{self.rows}}}', *self.late]
        (self.dir / "journal").write_text("\n".join(journal) + "\n" + torn)
        (self.dir / "errors.jsonl").write_text('{"file":"a.jsonl","line":3,"id":"bad","reason":"messages[0].content: empty"}\n')
        (self.dir / "sweep.json").write_text(json.dumps(self.json, indent=1))
        for group in [self.dir / "data.zarr", *sorted({p.parent for p in (self.dir / "data.zarr").rglob("c")})]:
            group = group if group.name == "data.zarr" else group.parent
            text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})
            if self.state == "done" and not (group / "zarr.json").exists():
                (group / "zarr.json").write_text(text)


def half():
    s = Sweep("half", "f16", ["last", "content_mean"], ["hidden_in", "hidden_out", "attn_out"], [0, 2], 3, 16, tokens=26)
    scored = [10, 1, 2, 2, 2, 2]
    s.json["fingerprints"] = {"path": "f.safetensors", "hash": "ef" * 32, "labels": ["joy", "fear"]}
    s.json["metrics"] = ["cosine", "mae"]
    s.array("scores", "float32", scored, [4, 1, 2, 2, 2, 2], [2, 1, 1, 2, 2, 2], ["row", "position", "source", "layer", "reference", "metric"],
            {"positions": ["last"], "sources": ["hidden_in", "hidden_out"], "layers": [0, 2], "references": ["joy", "fear"],
             "metrics": ["cosine", "mae"]})
    for tokens in (False, True):
        s.vectors("residual", "float16", "planes", [0, 1, 2, 3], 16, tokens=tokens)
        s.vectors("attn_out", "float16", "layers", [0, 2], 16, tokens=tokens)
    s.array("tokens/ids", "int32", [26], [8], [8], ["token"], {})
    s.array("moments/n", "int64", [2, 3], [2, 3], [1, 3], ["position", "role"], {"positions": s.positions, "roles": ROLES},
            np.array([[4, 3, 3], [4, 0, 3]]))
    s.moments("residual", "planes", [0, 1, 2, 3], 16)
    s.moments("attn_out", "layers", [0, 2], 16)
    s.finish()
    n, mean, m2 = (np.array([4, 0, 3]), values("float64", [2, 4, 3, 16], 1000 * sum(b"residual")), values("float64", [2, 4, 3, 16], 1000 * sum(b"residual") + 1))
    mean, m2 = np.abs(mean)[1, 3], np.abs(m2)[1, 3]  # content_mean, what leaves layer 2
    whole = (n @ mean) / 7
    sigma = np.sqrt((m2[[0, 2]].sum(0) + n @ (mean - whole) ** 2) / 6)
    (s.dir / "moments.f64").write_bytes(whole.tobytes() + sigma.tobytes())


def derived():
    s = Sweep("derived", "f32", ["last"], ["hidden_in", "hidden_out", "attn_out", "mlp_down_out"], [0, 1], 3, 16, tokens=26, derive="residual")
    planes = {}
    for tokens in (False, True):
        for source, layers in (("embeddings", [-1]), ("attn_out", [0, 1]), ("mlp_down_out", [0, 1])):
            n = s.n_tokens if tokens else s.rows
            name = f"{'tokens' if tokens else 'pooled'}/{source}"
            shape = [n, *([] if tokens else [1]), len(layers), 16]
            data = values("float32", shape, 1000 * sum(name.encode())) / np.float32(3)
            planes[name] = data.reshape(n, len(layers), 16)
            s.vectors(source, "float32", "layers", layers, 16, tokens=tokens, data=data)
    s.finish()
    for folder in ("pooled", "tokens"):
        x = planes[f"{folder}/embeddings"][:, 0].copy()
        out = [x]
        for layer in (0, 1):
            for source in ("attn_out", "mlp_down_out"):
                x = x + planes[f"{folder}/{source}"][:, layer]
            out.append(x)
        assert x.dtype == np.float32
        (s.dir / f"{folder}.f32").write_bytes(np.stack(out).tobytes())


def int8():
    s = Sweep("int8", "int8", ["last"], ["q"], [1], 3, 16)
    s.vectors("q", "int8", "layers", [1], 160, {"group": 128})
    s.array("pooled/q_scale", "float32", [10, 1, 1, 2], [4, 1, 1, 2], [2, 1, 1, 2], ["row", "position", "layer", "group"],
            {"source": "q", "layers": [1], "positions": ["last"], "group": 128})
    s.finish()


def bf16():
    s = Sweep("bf16", "bf16", ["last"], ["hidden_out"], [2], 3, 16)
    s.vectors("hidden_out", "uint16", "layers", [2], 16, {"dtype": "bfloat16"})
    s.finish()


def interrupted():
    """Two shards of four rows stand of ten; sums of moments of both; lines and a journal that end in the middle of a line."""
    s = Sweep("interrupted", "f16", ["last"], ["hidden_out"], [0, 2], 3, 16, state="interrupted")
    s.vectors("hidden_out", "float16", "layers", [0, 2], 16, shards=2)
    s.json["rows"] = 9
    (s.dir / "parts").mkdir()
    for k in range(2):
        part = bytes(range(100 + k))
        (s.dir / "parts" / f"moments-{k:06d}").write_bytes(part + struct.pack("<I", crc32c(part)))
        s.journal.append(json.dumps({"array": "moments", "shard": k, "bytes": len(part) + 4}, separators=(",", ":")))
    s.finish(torn='{"row":10,"id"')


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for make in (half, derived, int8, bf16, interrupted):
        make()


main()
