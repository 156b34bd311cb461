/* What the codecs share: one thread's contexts and scratch, byte planes. */
#ifndef LCT_STORE_CODEC_IMPL_H
#define LCT_STORE_CODEC_IMPL_H

#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_c_literalCompressionMode */
#include <zstd.h>

#include "store/codec.h"

struct lct_codec {
  ZSTD_CCtx *planes; /* its parameters are set once */
  ZSTD_CCtx *plain;
  ZSTD_DCtx *unpack;
  unsigned char *scratch; /* a plane, or pieces laid end to end, or a block before its bytes are put in order */
  size_t cap;
};

/* Room for n bytes in c->scratch; what it held is lost. */
lct_status lct_codec_scratch(lct_codec *c, size_t n, lct_error *err) LCT_CHECKED;

/* The pieces end to end. */
void lct_pieces_gather(const lct_pieces *src, void *dst);
/* n values of 16 bits into their low and high bytes, and back. */
void lct_planes_split(const void *src, size_t n, unsigned char *low, unsigned char *high);
void lct_planes_join(const unsigned char *low, const unsigned char *high, size_t n, void *dst);
/* The same without vector instructions; for tests. */
void lct_planes_split_portable(const void *src, size_t n, unsigned char *low, unsigned char *high);
void lct_planes_join_portable(const unsigned char *low, const unsigned char *high, size_t n, void *dst);
uint32_t lct_crc32c_portable(uint32_t crc, const void *data, size_t n);

/* One zstd frame of exactly raw_bytes at src; `what` begins the message. */
lct_status lct_zstd_unpack(lct_codec *c, const void *src, size_t n, void *dst, size_t raw_bytes, const char *what,
                           lct_error *err) LCT_CHECKED;

#endif
