/* Blosc1 frames:
 *
 *   0 version 2 | 1 version of the compressor's format | 2 flags | 3 typesize | 4 nbytes | 8 blocksize | 12 cbytes      (u32 little-endian)
 *   stored:     the raw bytes
 *   otherwise:  u32 offset of every block, then blocks: per stream i32 length, data; a length equal to the stream's raw bytes: stored
 *
 * A block is one stream, or typesize streams (its byte planes) when it is split. Whether it is split, readers tell from the flag, the
 * type's size, and the block being whole and not too small; the rule is c-blosc's. */
#include <string.h>

#include "store/codec_impl.h"
#include "store/huffman.h"

enum {
  VERSION = 2,
  ZSTD_VERSION_BYTE = 1,
  HEADER_BYTES = 16,
  F_SHUFFLE = 0x01,
  F_STORED = 0x02,
  F_BITSHUFFLE = 0x04,
  F_UNSPLIT = 0x10,
  COMPRESSOR_SHIFT = 5,
  COMPRESSOR_ZSTD = 4,
  MAX_SPLIT_TYPESIZE = 16,
  MIN_SPLIT_ELEMENTS = 128,
  MAX_FRAME_BYTES = INT32_MAX - HEADER_BYTES,
  MAX_BLOCK_BYTES = (INT32_MAX - 255 * 4) / 3,
};

static void put32(unsigned char *p, size_t v) {
  uint32_t w = (uint32_t)v;
  memcpy(p, &w, 4);
}

static uint32_t get32(const unsigned char *p) {
  uint32_t w;
  memcpy(&w, p, 4);
  return w;
}

static void put_header(unsigned char *p, unsigned flags, size_t raw, size_t n) {
  p[0] = VERSION;
  p[1] = ZSTD_VERSION_BYTE;
  p[2] = (unsigned char)(flags | COMPRESSOR_ZSTD << COMPRESSOR_SHIFT);
  p[3] = 2;
  put32(p + 4, raw);
  put32(p + 8, raw);
  put32(p + 12, n);
}

static size_t store(const lct_pieces *src, size_t raw, unsigned char *dst) {
  put_header(dst, F_SHUFFLE | F_STORED, raw, raw + HEADER_BYTES);
  lct_pieces_gather(src, dst + HEADER_BYTES);
  return raw + HEADER_BYTES;
}

static void split_pieces(const lct_pieces *src, unsigned char *low, unsigned char *high) {
  const unsigned char *from = src->data;
  size_t n = src->row_bytes / 2;
  if (src->stride == src->row_bytes) {
    lct_planes_split(from, n * src->n_rows, low, high);
    return;
  }
  for (size_t r = 0; r < src->n_rows; r++) lct_planes_split(from + r * src->stride, n, low + r * n, high + r * n);
}

/* Whether compressing the low plane pays: mantissa bits of full floats are noise, those of rounded ones and the zeros behind a
 * short array's end are not. Sampled; the number of equal pairs in the sample is least when all bytes are equally likely. */
static bool compressible(const unsigned char *plane, size_t n) {
  enum { RUNS = 64, RUN_BYTES = 64, PAIRS_OF_NOISE = RUNS * RUN_BYTES / 256 * RUNS * RUN_BYTES };
  if (n < (size_t)RUNS * RUN_BYTES) return true;
  uint32_t count[256] = {0};
  size_t step = (n - RUN_BYTES) / (RUNS - 1);
  for (size_t r = 0; r < RUNS; r++) {
    for (size_t i = 0; i < RUN_BYTES; i++) count[plane[r * step + i]]++;
  }
  size_t pairs = 0;
  for (int b = 0; b < 256; b++) pairs += (size_t)count[b] * count[b];
  return pairs > (size_t)PAIRS_OF_NOISE * 2;
}

/* A stream's length and data at dst, which has room for the bound; returns the end. Stored where it does not shrink. */
static unsigned char *put_stream(lct_codec *c, const unsigned char *plane, size_t n, unsigned char *dst) {
  size_t got = lct_huffman_frame(plane, n, dst + 4);
  if (got == 0) got = ZSTD_compress2(c->planes, dst + 4, ZSTD_compressBound(n), plane, n);
  if (ZSTD_isError(got) || got >= n) {
    memcpy(dst + 4, plane, n);
    got = n;
  }
  put32(dst, got);
  return dst + 4 + got;
}

lct_status lct_blosc_encode(lct_codec *c, const lct_pieces *src, void *dst, size_t *n, lct_error *err) {
  size_t raw = src->n_rows * src->row_bytes, plane = raw / 2;
  if (src->row_bytes % 2 != 0 || raw > MAX_BLOCK_BYTES) {
    return lct_fail(err, LCT_E_LIMIT, "a chunk of %zu bytes in rows of %zu: a Blosc frame takes whole values and at most %d bytes", raw,
                    src->row_bytes, (int)MAX_BLOCK_BYTES);
  }
  unsigned char *frame = dst;
  if (plane < MIN_SPLIT_ELEMENTS) {
    *n = store(src, raw, frame);
    return LCT_OK;
  }
  LCT_TRY(lct_codec_scratch(c, raw, err));
  unsigned char *low = c->scratch, *high = c->scratch + plane, *streams = frame + HEADER_BYTES + 4;
  split_pieces(src, low, high);
  unsigned char *end = streams + 4 + plane;
  if (compressible(low, plane)) {
    end = put_stream(c, low, plane, streams);
  } else {
    put32(streams, plane);
    memcpy(streams + 4, low, plane);
  }
  end = put_stream(c, high, plane, end);
  *n = (size_t)(end - frame);
  if (*n >= raw + HEADER_BYTES) {
    *n = store(src, raw, frame);
    return LCT_OK;
  }
  put_header(frame, F_SHUFFLE, raw, *n);
  put32(frame + HEADER_BYTES, HEADER_BYTES + 4);
  return LCT_OK;
}

/* A frame's header, and the whole frame. */
typedef struct {
  const unsigned char *data;
  size_t bytes;    /* of the frame */
  size_t raw;      /* bytes it unpacks to */
  size_t block;    /* raw bytes of a block; the last may be shorter */
  size_t typesize; /* 1 to 255 */
  bool shuffled, may_split;
} frame_view;

static lct_status check_compressor(unsigned flags, lct_error *err) {
  static const char *const NAMES[] = {"blosclz", "lz4", "snappy", "zlib", "zstd"};
  unsigned id = flags >> COMPRESSOR_SHIFT;
  if (id == COMPRESSOR_ZSTD) return LCT_OK;
  if (id > COMPRESSOR_ZSTD) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: compressor %u is none", id);
  return lct_fail(err, LCT_E_UNSUPPORTED, "Blosc frame: compressor %s, expected zstd", NAMES[id]);
}

static lct_status open_frame(const unsigned char *p, size_t n, size_t raw_bytes, frame_view *f, lct_error *err) {
  if (n < HEADER_BYTES) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: %zu bytes, its header alone has 16", n);
  if (p[0] != VERSION) return lct_fail(err, LCT_E_UNSUPPORTED, "Blosc frame: version %d, expected 2", p[0]);
  *f = (frame_view){.data = p, .bytes = get32(p + 12), .raw = get32(p + 4), .block = get32(p + 8), .typesize = p[3]};
  f->shuffled = (p[2] & F_SHUFFLE) != 0 && f->typesize > 1;
  f->may_split = (p[2] & F_UNSPLIT) == 0 && f->typesize <= MAX_SPLIT_TYPESIZE && f->typesize > 0;
  if (f->bytes != n) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: says it has %zu bytes, and there are %zu", f->bytes, n);
  if (f->raw != raw_bytes) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: %zu raw bytes, expected %zu", f->raw, raw_bytes);
  if (f->raw > MAX_FRAME_BYTES || f->typesize == 0) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: not a header");
  if ((p[2] & F_STORED) != 0) return LCT_OK;
  LCT_TRY(check_compressor(p[2], err));
  if ((p[2] & F_BITSHUFFLE) != 0) return lct_fail(err, LCT_E_UNSUPPORTED, "Blosc frame: shuffled by bits, expected by bytes");
  if (f->raw > 0 && (f->block == 0 || f->block > f->raw || f->block > MAX_BLOCK_BYTES)) {
    return lct_fail(err, LCT_E_FORMAT, "Blosc frame: blocks of %zu bytes in %zu", f->block, f->raw);
  }
  return LCT_OK;
}

/* The next stream at *at: where its data lie and how long they are; *at moves behind them. */
static lct_status next_stream(const frame_view *f, size_t *at, const unsigned char **data, size_t *n, lct_error *err) {
  if (*at > f->bytes - 4) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: a stream begins at byte %zu of %zu", *at, f->bytes);
  *n = get32(f->data + *at);
  *at += 4;
  if (*n > f->bytes - *at) {
    return lct_fail(err, LCT_E_FORMAT, "Blosc frame: a stream of %zu bytes at byte %zu of %zu", *n, *at, f->bytes);
  }
  *data = f->data + *at;
  *at += *n;
  return LCT_OK;
}

static void unshuffle(const unsigned char *src, size_t n, size_t typesize, unsigned char *dst) {
  size_t items = n / typesize;
  if (typesize == 2) {
    lct_planes_join(src, src + items, items, dst);
  } else {
    for (size_t i = 0; i < items; i++) {
      for (size_t b = 0; b < typesize; b++) dst[i * typesize + b] = src[b * items + i];
    }
  }
  memcpy(dst + items * typesize, src + items * typesize, n % typesize);
}

/* The two planes of a split block of 16-bit values: a stored one is read where it lies. */
static lct_status unpack_pair(lct_codec *c, const frame_view *f, size_t at, size_t n, unsigned char *dst, lct_error *err) {
  const unsigned char *plane[2];
  size_t items = n / 2;
  for (size_t i = 0; i < 2; i++) {
    size_t bytes = 0;
    LCT_TRY(next_stream(f, &at, &plane[i], &bytes, err));
    if (bytes == items) continue;
    LCT_TRY(lct_zstd_unpack(c, plane[i], bytes, c->scratch + i * items, items, "Blosc frame: a stream", err));
    plane[i] = c->scratch + i * items;
  }
  lct_planes_join(plane[0], plane[1], items, dst);
  return LCT_OK;
}

/* The block of n raw bytes whose streams begin at `at`. */
static lct_status unpack_block(lct_codec *c, const frame_view *f, size_t at, size_t n, unsigned char *dst, lct_error *err) {
  bool split = f->may_split && n == f->block && n / f->typesize >= MIN_SPLIT_ELEMENTS;
  size_t n_streams = split ? f->typesize : 1, part = n / n_streams;
  if (part * n_streams != n) return lct_fail(err, LCT_E_FORMAT, "Blosc frame: a block of %zu bytes in %zu streams", n, n_streams);
  if (n_streams == 2 && f->shuffled) return unpack_pair(c, f, at, n, dst, err);
  unsigned char *to = f->shuffled ? c->scratch : dst;
  for (size_t i = 0; i < n_streams; i++) {
    const unsigned char *data = NULL;
    size_t bytes = 0;
    LCT_TRY(next_stream(f, &at, &data, &bytes, err));
    if (bytes == part) {
      memcpy(to + i * part, data, part);
    } else {
      LCT_TRY(lct_zstd_unpack(c, data, bytes, to + i * part, part, "Blosc frame: a stream", err));
    }
  }
  if (f->shuffled) unshuffle(c->scratch, n, f->typesize, dst);
  return LCT_OK;
}

lct_status lct_blosc_decode(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, lct_error *err) {
  frame_view f = {0};
  LCT_TRY(open_frame(src, n, raw_bytes, &f, err));
  if (f.raw == 0) return LCT_OK;
  if ((f.data[2] & F_STORED) != 0) {
    if (f.bytes != f.raw + HEADER_BYTES) {
      return lct_fail(err, LCT_E_FORMAT, "Blosc frame: stored, with %zu bytes for %zu raw bytes", f.bytes - HEADER_BYTES, f.raw);
    }
    memcpy(dst, f.data + HEADER_BYTES, f.raw);
    return LCT_OK;
  }
  size_t n_blocks = (f.raw + f.block - 1) / f.block;
  if (n_blocks > (f.bytes - HEADER_BYTES) / 4) {
    return lct_fail(err, LCT_E_FORMAT, "Blosc frame: %zu blocks in %zu bytes", n_blocks, f.bytes);
  }
  LCT_TRY(lct_codec_scratch(c, f.block, err));
  for (size_t b = 0; b < n_blocks; b++) {
    size_t at = get32(f.data + HEADER_BYTES + 4 * b), begin = b * f.block, left = f.raw - begin;
    LCT_TRY(unpack_block(c, &f, at, left < f.block ? left : f.block, (unsigned char *)dst + begin, err));
  }
  return LCT_OK;
}
