#!/usr/bin/env python3
"""Goldens for tests/unit/test_npz.c: archives that numpy and zipfile made.

good_*.npz hold the arrays of ARRAYS, whose float32 values are in NAME.f32 (slashes as dots). bad_*.npz must be refused."""
import io
import pathlib
import zipfile

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "npz"
DATE = (1980, 1, 1, 0, 0, 0)


def arrays():
    rng = np.random.default_rng(5)
    return {
        "layer_00/hidden_in": (rng.standard_normal((1, 3, 40)) * 100).astype(np.float16),
        "layer_00/attn_out": rng.standard_normal((7, 11)).astype(np.float32),
        "ids": rng.integers(-1000, 152000, 9).astype(np.int32),
        "big": np.array([[-(2**40), 5, 2**62]], np.int64),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "gef\u00fchl": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "long": (np.arange(4200) % 97).astype(np.float32),
    }


def npy(array, version=None):
    b = io.BytesIO()
    np.lib.format.write_array(b, array, version)
    return b.getvalue()


def raw_npy(header, data, version=b"\x01\x00"):
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header + data


def write(name, members, method=zipfile.ZIP_STORED, force64=False):
    with zipfile.ZipFile(OUT / name, "w", method) as z:
        for member, data in members.items():
            info = zipfile.ZipInfo(member, DATE)
            info.compress_type = method
            with z.open(info, "w", force_zip64=force64) as f:
                f.write(data)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    all_arrays = arrays()
    np.savez(OUT / "good_savez.npz", **all_arrays)
    np.savez_compressed(OUT / "good_compressed.npz", **all_arrays)
    members = {f"{k}.npy": npy(v) for k, v in all_arrays.items()}
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 100  # every record in its zip64 form
    write("good_zip64.npz", members, force64=True)
    zipfile.ZIP64_LIMIT = limit
    write("good_npy2.npz", {f"{k}.npy": npy(v, (2, 0)) for k, v in all_arrays.items()} | {"readme.txt": b"no array"})
    for name, a in all_arrays.items():
        (OUT / (name.replace("/", ".") + ".f32")).write_bytes(a.astype(np.float32).tobytes())

    # the same header said in other ways
    data = np.arange(6, dtype="<f4").tobytes()
    odd = {
        "order.npy": raw_npy(b"{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}\n", data),
        "tight.npy": raw_npy(b'{"descr":"<f4","fortran_order":False,"shape":(6,)}', data),
        "python2.npy": raw_npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }          \n", data),
        "version3.npy": raw_npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2,), }\n", data, b"\x03\x00"),
    }
    for k in odd:
        assert np.array_equal(np.lib.format.read_array(io.BytesIO(odd[k])).ravel(), np.arange(6))
    write("good_odd.npz", odd)

    six = np.arange(6, dtype=np.float32)
    write("bad_fortran.npz", {"a.npy": npy(np.asfortranarray(six.reshape(2, 3)))})
    write("bad_bigendian.npz", {"a.npy": npy(six.astype(">f4"))})
    write("bad_double.npz", {"a.npy": npy(six.astype(np.float64))})
    write("bad_struct.npz", {"a.npy": npy(np.zeros(2, [("x", "<f4"), ("y", "<f4")]))})
    write("bad_lzma.npz", {"a.npy": npy(six)}, zipfile.ZIP_LZMA)
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"
    write("bad_shape.npz", {"a.npy": raw_npy(head % b"(1000000000000,)", data)})
    write("bad_overflow.npz", {"a.npy": raw_npy(head % b"(4294967296, 4294967296, 4294967296)", data)})
    write("bad_number.npz", {"a.npy": raw_npy(head % b"(99999999999999999999,)", data)})
    write("bad_negative.npz", {"a.npy": raw_npy(head % b"(-6,)", data)})
    write("bad_notuple.npz", {"a.npy": raw_npy(head % b"(6)", data)})
    write("bad_nine.npz", {"a.npy": raw_npy(head % b"(1, 1, 1, 1, 1, 1, 1, 1, 6)", data)})
    write("bad_key.npz", {"a.npy": raw_npy(b"{'descr': '<f4', 'x': 1, 'shape': (6,), }\n", data)})
    write("bad_twice.npz", {"a.npy": raw_npy(b"{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }\n", data)})
    write("bad_missing.npz", {"a.npy": raw_npy(b"{'descr': '<f4', 'shape': (6,), }\n", data)})
    write("bad_magic.npz", {"a.npy": b"not an array at all"})
    write("bad_header.npz", {"a.npy": b"\x93NUMPY\x01\x00\xff\x00{"})
    with zipfile.ZipFile(OUT / "bad_overlap.npz", "w") as z:
        z.writestr(zipfile.ZipInfo("a.npy", DATE), npy(six))
        z.filelist.append(z.filelist[0])
    with zipfile.ZipFile(OUT / "bad_names.npz", "w") as z:
        z.writestr(zipfile.ZipInfo("a.npy", DATE), npy(six))
        z.writestr(zipfile.ZipInfo("a.npy", DATE), npy(six))
    write("bad_crc.npz", {"a.npy": npy(six)})
    blob = bytearray((OUT / "bad_crc.npz").read_bytes())
    blob[blob.index(six.tobytes()) + 4] ^= 1
    (OUT / "bad_crc.npz").write_bytes(blob)


main()
