#!/usr/bin/env python3
"""Is FILE a .npz that Python reads, its arrays where and what tests/unit/test_npz.c put? Exit 0, or 1 with the reason.

Usage: check_npz.py FILE N_ENTRIES     every entry NAME holds element i = (i + number of entry) % 251
Every checksum is read; of more than 2000 entries, values are those of the first and the last thousand and of every 97th between (what more
than 65535 entries change lies at the end). Uses zipfile alone; with numpy there (not needed), every array also goes through np.load."""
import ast
import struct
import sys
import zipfile

ITEM = {"<f2": "e", "<f4": "f", "<i4": "i", "<i8": "q"}


def looked_at(number, n):
    return number < 1000 or number >= n - 1000 or number % 97 == 0


def main():
    path, n_entries = sys.argv[1], int(sys.argv[2])
    try:
        import numpy
    except ImportError:
        numpy = None
    with zipfile.ZipFile(path) as z, open(path, "rb") as raw:
        assert len(z.infolist()) == n_entries, f"{len(z.infolist())} entries"
        assert z.testzip() is None, "a checksum is wrong"
        for number, info in enumerate(z.infolist()):
            if not looked_at(number, n_entries):
                continue
            raw.seek(info.header_offset)
            local = raw.read(30)
            at = info.header_offset + 30 + sum(struct.unpack("<2H", local[26:30]))
            assert at % 64 == 0, f"{info.filename}: begins at {at}"
            blob = z.read(info)
            size = struct.unpack("<H", blob[8:10])[0] + 10
            assert blob[:8] == b"\x93NUMPY\x01\x00" and size % 64 == 0, f"{info.filename}: header"
            head = ast.literal_eval(blob[10:size].decode())
            count = 1
            for d in head["shape"]:
                count *= d
            values = struct.unpack(f"<{count}{ITEM[head['descr']]}", blob[size:])
            assert all(v == (i + number) % 251 for i, v in enumerate(values)), f"{info.filename}: values"
    if numpy is not None:
        with numpy.load(path) as arrays:
            assert len(arrays.files) == n_entries
            for number, name in enumerate(arrays.files):
                if not looked_at(number, n_entries):
                    continue
                a = arrays[name]
                assert (a.ravel() == (numpy.arange(a.size) + number) % 251).all(), f"{name}: values by numpy"
    print("numpy and zipfile" if numpy is not None else "zipfile")


try:
    main()
except (AssertionError, zipfile.BadZipFile, ValueError) as e:
    sys.exit(f"{sys.argv[1]}: {e!r}")
