/* One thread's zstd contexts, and plain zstd frames. */
#include <stdlib.h>
#include <string.h>

#include "store/codec_impl.h"
#include "store/huffman.h"

static lct_status set(ZSTD_CCtx *c, ZSTD_cParameter p, int value, lct_error *err) {
  size_t n = ZSTD_CCtx_setParameter(c, p, value);
  if (!ZSTD_isError(n)) return LCT_OK;
  return lct_fail(err, LCT_E_INTERNAL, "zstd %s does not take parameter %d = %d: %s", ZSTD_versionString(), (int)p, value,
                  ZSTD_getErrorName(n));
}

/* For planes that huffman.h leaves alone: short ones, and those with long runs. Literals are coded, too, which zstd does not do by itself when
 * it is told to look for repeats in steps of targetLength. */
static lct_status set_plane_parameters(ZSTD_CCtx *c, lct_error *err) {
  LCT_TRY(set(c, ZSTD_c_compressionLevel, 1, err));
  LCT_TRY(set(c, ZSTD_c_strategy, ZSTD_fast, err));
  LCT_TRY(set(c, ZSTD_c_windowLog, 17, err));
  LCT_TRY(set(c, ZSTD_c_hashLog, 6, err));
  LCT_TRY(set(c, ZSTD_c_minMatch, 7, err));
  LCT_TRY(set(c, ZSTD_c_targetLength, 4096, err));
  return set(c, ZSTD_c_literalCompressionMode, ZSTD_ps_enable, err);
}

lct_status lct_codec_new(lct_codec **out, lct_error *err) {
  lct_codec *c = NULL;
  LCT_TRY(lct_calloc(&c, 1, sizeof *c, "codec", err));
  c->planes = ZSTD_createCCtx();
  c->plain = ZSTD_createCCtx();
  c->unpack = ZSTD_createDCtx();
  lct_status s = LCT_OK;
  if (c->planes == NULL || c->plain == NULL || c->unpack == NULL) {
    s = lct_fail(err, LCT_E_NOMEM, "out of memory for zstd's contexts");
  } else {
    s = set_plane_parameters(c->planes, err);
  }
  if (s != LCT_OK) {
    lct_codec_free(c);
    return s;
  }
  *out = c;
  return LCT_OK;
}

void lct_codec_free(lct_codec *c) {
  if (c == NULL) return;
  (void)ZSTD_freeCCtx(c->planes);
  (void)ZSTD_freeCCtx(c->plain);
  (void)ZSTD_freeDCtx(c->unpack);
  free(c->scratch);
  free(c);
}

lct_status lct_codec_scratch(lct_codec *c, size_t n, lct_error *err) {
  if (c->scratch != NULL && n <= c->cap) return LCT_OK;
  free(c->scratch);
  c->scratch = NULL;
  LCT_TRY(lct_alloc_aligned(&c->scratch, n, 1, "codec scratch", err));
  c->cap = n;
  return LCT_OK;
}

/* The larger of zstd's bound, and two planes by huffman.h; a Blosc frame's header and the lengths of its streams are less than 64. */
size_t lct_codec_bound(size_t raw_bytes) {
  size_t zstd = ZSTD_compressBound(raw_bytes) + 128, planes = 2 * lct_huffman_bound(raw_bytes / 2);
  return (zstd > planes ? zstd : planes) + 64;
}

lct_status lct_zstd_encode(lct_codec *c, const lct_pieces *src, int level, void *dst, size_t *n, lct_error *err) {
  size_t raw = src->n_rows * src->row_bytes;
  const void *from = src->data;
  if (src->n_rows > 1 && src->stride != src->row_bytes) {
    LCT_TRY(lct_codec_scratch(c, raw, err));
    lct_pieces_gather(src, c->scratch);
    from = c->scratch;
  }
  LCT_TRY(set(c->plain, ZSTD_c_compressionLevel, level, err));
  size_t got = ZSTD_compress2(c->plain, dst, ZSTD_compressBound(raw), from, raw);
  if (ZSTD_isError(got)) return lct_fail(err, LCT_E_INTERNAL, "zstd cannot compress %zu bytes: %s", raw, ZSTD_getErrorName(got));
  *n = got;
  return LCT_OK;
}

lct_status lct_zstd_unpack(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, const char *what, lct_error *err) {
  size_t got = ZSTD_decompressDCtx(c->unpack, dst, raw_bytes, src, n);
  if (ZSTD_isError(got)) return lct_fail(err, LCT_E_FORMAT, "%s: %s", what, ZSTD_getErrorName(got));
  if (got != raw_bytes) return lct_fail(err, LCT_E_FORMAT, "%s: %zu bytes, expected %zu", what, got, raw_bytes);
  return LCT_OK;
}

lct_status lct_zstd_decode(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, lct_error *err) {
  return lct_zstd_unpack(c, src, n, dst, raw_bytes, "zstd frame", err);
}
