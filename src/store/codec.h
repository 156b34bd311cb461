/* Chunk codecs: Blosc1 frames for 16-bit values, plain zstd for the rest, CRC-32C. One lct_codec serves one thread. */
#ifndef LCT_STORE_CODEC_H
#define LCT_STORE_CODEC_H

#include "base/mem.h"

typedef struct lct_codec lct_codec; /* zstd contexts and scratch of one thread */
lct_status lct_codec_new(lct_codec **out, lct_error *err) LCT_CHECKED;
void lct_codec_free(lct_codec *c);

/* What is compressed: n_rows pieces of row_bytes, `stride` bytes from one's begin to the next's. Raw bytes: n_rows * row_bytes. */
typedef struct {
  const void *data;
  size_t n_rows, row_bytes, stride;
} lct_pieces;

/* Enough room for any codec's output of that many raw bytes. */
size_t lct_codec_bound(size_t raw_bytes);

/* One Blosc1 frame: typesize 2, byte shuffle, one split block; the low plane stored, the high plane a zstd stream (or stored where that is
 * not smaller). Legal for Zarr's `blosc` codec {cname zstd, shuffle shuffle, typesize 2}. row_bytes is even. The bytes depend on the raw
 * bytes alone. dst has lct_codec_bound bytes. */
lct_status lct_blosc_encode(lct_codec *c, const lct_pieces *src, void *dst, size_t *n, lct_error *err) LCT_CHECKED;
/* Any Blosc1 frame of exactly raw_bytes raw bytes whose compressor is zstd (or that is stored), shuffled by byte or not, whatever its
 * typesize, block size and split; LCT_E_FORMAT says what is wrong with another, LCT_E_UNSUPPORTED names another compressor. */
lct_status lct_blosc_decode(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, lct_error *err) LCT_CHECKED;

/* One zstd frame at the level, with its content size. */
lct_status lct_zstd_encode(lct_codec *c, const lct_pieces *src, int level, void *dst, size_t *n, lct_error *err) LCT_CHECKED;
lct_status lct_zstd_decode(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, lct_error *err) LCT_CHECKED;

/* CRC-32C (Castagnoli, reflected, as in RFC 3720) of more bytes after `crc`; 0 to begin with. */
uint32_t lct_crc32c(uint32_t crc, const void *data, size_t n);

#endif
