/* Code points as `tokenizers` sees them: classes for the pre-tokenizers, and NFC with a map back to the source.
 * The tables are generated from that library's behaviour, because its parts follow different Unicode versions. */
#ifndef LCT_TEXT_UNICODE_H
#define LCT_TEXT_UNICODE_H

#include "base/mem.h"

enum {
  LCT_UC_LETTER = 1,  /* \p{L} of its regex engine */
  LCT_UC_NUMBER = 2,  /* \p{N} of its regex engine */
  LCT_UC_SPACE = 4,   /* \s */
  LCT_UC_NUMERIC = 8, /* Rust's char::is_numeric (Digits) */
  LCT_UC_WORD = 16,   /* \w of added tokens with single_word */
  LCT_UC_NFC = 32     /* may change under NFC, or change its neighbours */
};

typedef struct {
  uint32_t composed, first, second;
} lct_nfc_pair;

extern const uint32_t lct_unicode_classes[];
extern const size_t lct_unicode_n_classes;
extern const uint32_t lct_nfc_marks[];
extern const size_t lct_nfc_n_marks;
extern const lct_nfc_pair lct_nfc_decompositions[];
extern const size_t lct_nfc_n_decompositions;
extern const uint16_t lct_nfc_compositions[];
extern const size_t lct_nfc_n_compositions;

#define LCT_UC_BLOCK 128
#define LCT_UC_N_BLOCKS (0x110000 / LCT_UC_BLOCK)

/* The class runs unfolded: blocks of 128 code points, equal uniform blocks shared. Block 0 is ASCII. */
typedef struct {
  uint16_t index[LCT_UC_N_BLOCKS];
  uint8_t *blocks; /* (n_blocks, 128) */
  size_t n_blocks;
} lct_uclasses;

lct_status lct_uclasses_build(lct_uclasses *u, lct_error *err) LCT_CHECKED;
void lct_uclasses_free(lct_uclasses *u);

static inline unsigned lct_uclass(const lct_uclasses *u, uint32_t cp) {
  return u->blocks[(size_t)u->index[cp / LCT_UC_BLOCK] * LCT_UC_BLOCK + cp % LCT_UC_BLOCK];
}

/* Decodes one code point of valid UTF-8 that is not ASCII; *len gets 2 .. 4. */
static inline uint32_t lct_utf8_decode(const unsigned char *s, size_t *len) {
  if (s[0] < 0xE0) {
    *len = 2;
    return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3Fu);
  }
  if (s[0] < 0xF0) {
    *len = 3;
    return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3Fu);
  }
  *len = 4;
  return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 | (s[3] & 0x3Fu);
}

/* Class of the character at s (valid UTF-8, not at the end); *len gets its bytes. */
static inline unsigned lct_uclass_at(const lct_uclasses *u, const unsigned char *s, size_t *len) {
  if (s[0] < 0x80) {
    *len = 1;
    return u->blocks[s[0]];
  }
  return lct_uclass(u, lct_utf8_decode(s, len));
}

/* Writes cp as UTF-8 into out[4]; returns its bytes. */
size_t lct_utf8_encode(uint32_t cp, unsigned char out[4]);

/* Normalised text and, for every byte of it, the bytes of the source it comes from. Zero-initialise; reusable. */
typedef struct {
  uint32_t cp;
  uint32_t begin, end; /* source bytes */
  uint32_t order;      /* combining class << 24 while sorting, then position */
} lct_nfc_char;

typedef struct {
  unsigned char *text;
  uint32_t *begin, *end; /* (len) */
  size_t len, text_cap, begin_cap, end_cap;
  lct_nfc_char *chars; /* scratch */
  size_t n_chars, chars_cap;
} lct_nfc;

/* Is NFC certain to leave s[0..n) (valid UTF-8) as it is? A false may be a false alarm. */
bool lct_nfc_is_stable(const lct_uclasses *u, const unsigned char *s, size_t n);
/* NFC of s[0..n) (valid UTF-8, n < 2^32). */
lct_status lct_nfc_apply(lct_nfc *nfc, const lct_uclasses *u, const unsigned char *s, size_t n, lct_error *err) LCT_CHECKED;
void lct_nfc_free(lct_nfc *nfc);

#endif
