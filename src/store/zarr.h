/* Zarr v3 arrays, sharded: what one is, how its zarr.json reads. The writer is store/zarr_write.h, the reader store/zarr_read.h.
 *
 * Every array is cut into shards (a file each: c/0/0/…) of whole inner chunks; shards split the first axis only. Inner codecs:
 *   BLOSC  bytes(little), blosc(zstd, shuffle, typesize 2), crc32c     16-bit values
 *   ZSTD   bytes(little), zstd(level 1), crc32c                        everything else
 * The shard's index (offset, length of every inner chunk in C order; 2^64-1 twice: missing, all fill value) stands at its end with
 * codecs bytes(little), crc32c. Inner chunks lie in index order without gaps. Fill value 0 (NaN for floats). */
#ifndef LCT_STORE_ZARR_H
#define LCT_STORE_ZARR_H

#include "base/mem.h"

enum { LCT_ZARR_MAX_DIMS = 8 };
#define LCT_ZARR_MAX_SHARD_BYTES ((int64_t)1 << 48) /* raw */
#define LCT_ZARR_MAX_SHARD_CHUNKS ((int64_t)1 << 31)
#define LCT_ZARR_MAX_CHUNK_BYTES ((int64_t)1 << 29) /* raw; a Blosc frame's sizes are 32-bit numbers */

/* id, zarr's data_type, bytes */
#define LCT_ZARR_DTYPES(X) \
  X(I8, "int8", 1)         \
  X(F16, "float16", 2)     \
  X(U16, "uint16", 2)      \
  X(F32, "float32", 4)     \
  X(I32, "int32", 4)       \
  X(F64, "float64", 8)     \
  X(I64, "int64", 8)
typedef enum {
#define LCT_ZARR_ENUM(id, name, bytes) LCT_ZARR_##id,
  LCT_ZARR_DTYPES(LCT_ZARR_ENUM)
#undef LCT_ZARR_ENUM
      LCT_ZARR_N_DTYPES
} lct_zarr_dtype;

typedef enum { LCT_ZARR_ZSTD, LCT_ZARR_BLOSC } lct_zarr_codec;

typedef struct {
  lct_zarr_dtype dtype;
  lct_zarr_codec codec;
  int n_dims;
  int64_t shape[LCT_ZARR_MAX_DIMS];
  int64_t shard[LCT_ZARR_MAX_DIMS];      /* of axes after the first: the shape's rounded up to whole chunks */
  int64_t chunk[LCT_ZARR_MAX_DIMS];      /* divides shard */
  char dim_names[LCT_ZARR_MAX_DIMS][32]; /* "" : none */
} lct_zarr_meta;

size_t lct_zarr_dtype_bytes(lct_zarr_dtype t);
const char *lct_zarr_dtype_name(lct_zarr_dtype t);
/* Values of one row (one index of the first axis); bytes of one inner chunk; inner chunks of a shard. The meta was checked. */
int64_t lct_zarr_row_values(const lct_zarr_meta *m);
size_t lct_zarr_chunk_bytes(const lct_zarr_meta *m);
int64_t lct_zarr_shard_chunks(const lct_zarr_meta *m);
int64_t lct_zarr_n_shards(const lct_zarr_meta *m); /* ceil(shape[0] / shard[0]); 0 for an empty array */

/* Sizes positive (shape[0] may be 0), products within the limits above, chunk divides shard, shards split the first axis only, BLOSC for
 * 16-bit types alone, axis names plain ASCII without quotes. `name` stands in messages. LCT_E_FORMAT. */
lct_status lct_zarr_check(const lct_zarr_meta *m, const char *name, lct_error *err) LCT_CHECKED;

/* zarr.json of an array, appended to out; `attributes` is the text of a JSON object, NULL: {}. */
lct_status lct_zarr_meta_print(const lct_zarr_meta *m, const char *attributes, lct_buf *out, lct_error *err) LCT_CHECKED;
/* Reads it back: exactly what lct_zarr_meta_print (or zarr-python with the same codecs) writes; anything else is LCT_E_UNSUPPORTED or
 * LCT_E_FORMAT naming the key. attributes (may be NULL) gets the text of the attributes object. */
lct_status lct_zarr_meta_parse(const char *text, size_t n, const char *name, lct_zarr_meta *out, lct_buf *attributes,
                               lct_error *err) LCT_CHECKED;
/* zarr.json of a group, appended to out. */
lct_status lct_zarr_group_print(const char *attributes, lct_buf *out, lct_error *err) LCT_CHECKED;

/* "DIR/NAME/c/SHARD/0/0" into out, replacing its content. */
lct_status lct_zarr_shard_path(const lct_zarr_meta *m, const char *dir, const char *name, int64_t shard, lct_buf *out,
                               lct_error *err) LCT_CHECKED;

#endif
