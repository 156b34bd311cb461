#!/usr/bin/env python3
"""Small sharded Zarr v3 arrays by zarr-python with the store's codec chain, for tests/unit/test_zarr_read.c.
Needs zarr >= 3. Element i of an array is made of h(i) = (i + 1) * 2654435761 mod 2^32, which the test computes too."""
import pathlib
import shutil

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "store" / "zarr"


def create(path, dtype, shape, shard, chunk, names=None, attributes=None):
    dtype = np.dtype(dtype)
    if dtype.itemsize == 2:
        compress = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2, blocksize=0)
    else:
        compress = ZstdCodec(level=1, checksum=False)
    sharding = ShardingCodec(chunk_shape=chunk, codecs=[BytesCodec(), compress, Crc32cCodec()],
                             index_codecs=[BytesCodec(), Crc32cCodec()], index_location="end")
    return zarr.create_array(str(path), shape=shape, dtype=dtype, chunks=shard, serializer=sharding, compressors=None, filters=None,
                             fill_value=np.nan if dtype.kind == "f" else 0, dimension_names=names, attributes=attributes)


def values(dtype, shape, offset=0):
    """Elements offset, offset + 1, ... in that shape."""
    h = (np.arange(offset + 1, offset + np.prod(shape) + 1, dtype=np.uint64) * 2654435761 % 2**32).astype(np.uint32)
    dtype = np.dtype(dtype)
    if dtype == np.float16:  # sign and mantissa noise, exponents 12 to 15: what activations look like
        bits = (h >> 16 & 0x83FF) | (12 + (h >> 8 & 3)) << 10
        return bits.astype(np.uint16).view(np.float16).reshape(shape)
    if dtype.kind == "f":
        return (h.astype(np.float64) / 2**20 - 2048).astype(dtype).reshape(shape)
    if dtype == np.int64:
        return (h.astype(np.int64) * h.astype(np.int64) >> 1).reshape(shape)
    return h.astype({1: np.uint8, 2: np.uint16, 4: np.uint32}[dtype.itemsize]).view(dtype).reshape(shape)


def write(name, dtype, shape, shard, chunk, **more):
    create(OUT / name, dtype, shape, shard, chunk, **more)[...] = values(dtype, shape)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    write("pooled/hidden", "float16", (37, 2, 3, 44), (16, 2, 4, 48), (8, 1, 2, 24), names=["row", "position", "layer", "hidden"],
          attributes={"llmct": {"positions": ["last", "content_mean"], "layers": [0, 1, 2]}, "note": "\u00e9"})
    write("whole", "float16", (24, 3, 64), (16, 3, 64), (8, 1, 64))
    write("short", "uint16", (10,), (8,), (4,))
    write("f32", "float32", (9, 5, 7), (8, 5, 7), (4, 5, 7))
    write("ids", "int32", (1000,), (256,), (64,))
    write("i8", "int8", (20, 33), (16, 36), (4, 12))
    write("f64", "float64", (3, 4), (4, 4), (2, 4))
    write("i64", "int64", (5,), (8,), (2,))
    holes = create(OUT / "holes", "float32", (70, 4), (16, 4), (4, 4), names=["row", None])
    for first in (4, 20, 66):  # chunks 1 of shard 0, 1 of shard 1, 0 of shard 4; shards 2 and 3 do not exist
        holes[first:first + 4] = values("float32", (70, 4))[first:first + 4]
    create(OUT / "empty", "float16", (0, 4), (8, 4), (4, 4))


if __name__ == "__main__":
    main()
