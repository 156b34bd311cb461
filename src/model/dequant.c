#include "model/dequant.h"

#include <string.h>

#include "base/half.h"

static const struct {
  const char *name;
  int block;
  size_t bytes;
} dtypes[LCT_DTYPE_COUNT] = {
#define DTYPE_ROW(id, name, ggml, block, bytes) {name, block, bytes},
    LCT_DTYPES(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *lct_dtype_name(lct_dtype t) { return (unsigned)t < LCT_DTYPE_COUNT ? dtypes[t].name : "?"; }
int lct_dtype_block(lct_dtype t) { return dtypes[t].block; }
size_t lct_dtype_row_bytes(lct_dtype t, int64_t n_cols) { return (size_t)(n_cols / dtypes[t].block) * dtypes[t].bytes; }

static float load_f16(const unsigned char *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return lct_f16_to_f32(h);
}

static uint32_t load_u32(const unsigned char *p) {
  uint32_t u;
  memcpy(&u, p, 4);
  return u;
}

/* As lct_f16_to_f32, with selects in place of branches so that the loop becomes vectors. */
static void f16_row(const unsigned char *src, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t h;
    memcpy(&h, src + 2 * i, 2);
    uint32_t em = h & 0x7fffu, exp = h & 0x7c00u, sub;
    float small = (float)(int32_t)em * 0x1p-24f; /* subnormal or zero: exact */
    memcpy(&sub, &small, 4);
    uint32_t u = (em << 13) + (112u << 23);
    u = exp == 0x7c00u ? u + (112u << 23) : u;
    u = exp == 0 ? sub : u;
    u |= (uint32_t)(h & 0x8000u) << 16;
    memcpy(out + i, &u, 4);
  }
}

static void bf16_row(const unsigned char *src, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t h;
    memcpy(&h, src + 2 * i, 2);
    uint32_t u = (uint32_t)h << 16;
    memcpy(out + i, &u, 4);
  }
}

/* d f16, q i8[32]: x = d q */
static void q8_0(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 34, out += 32) {
    const float d = load_f16(src);
    const signed char *q = (const signed char *)src + 2;
    for (int i = 0; i < 32; i++) out[i] = d * (float)q[i];
  }
}

/* d f16, 4-bit q[32], element i in the low half of byte i, i + 16 in the high half: x = d (q - 8) */
static void q4_0(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 18, out += 32) {
    const float d = load_f16(src);
    const unsigned char *q = src + 2;
    for (int i = 0; i < 16; i++) out[i] = d * (float)((q[i] & 15) - 8);
    for (int i = 0; i < 16; i++) out[16 + i] = d * (float)((q[i] >> 4) - 8);
  }
}

/* d f16, m f16, q as in Q4_0: x = d q + m */
static void q4_1(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 20, out += 32) {
    const float d = load_f16(src), m = load_f16(src + 2);
    const unsigned char *q = src + 4;
    for (int i = 0; i < 16; i++) out[i] = d * (float)(q[i] & 15) + m;
    for (int i = 0; i < 16; i++) out[16 + i] = d * (float)(q[i] >> 4) + m;
  }
}

/* d f16, u32 whose bit i is the fifth bit of element i, q as in Q4_0: x = d (q - 16) */
static void q5_0(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 22, out += 32) {
    const float d = load_f16(src);
    const uint32_t high = load_u32(src + 2);
    const unsigned char *q = src + 6;
    for (int i = 0; i < 16; i++) out[i] = d * (float)((int)((q[i] & 15) | (high >> i & 1) << 4) - 16);
    for (int i = 0; i < 16; i++) out[16 + i] = d * (float)((int)((q[i] >> 4) | (high >> (16 + i) & 1) << 4) - 16);
  }
}

/* d f16, m f16, bits as in Q5_0: x = d q + m */
static void q5_1(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 24, out += 32) {
    const float d = load_f16(src), m = load_f16(src + 2);
    const uint32_t high = load_u32(src + 4);
    const unsigned char *q = src + 8;
    for (int i = 0; i < 16; i++) out[i] = d * (float)((q[i] & 15) | (high >> i & 1) << 4) + m;
    for (int i = 0; i < 16; i++) out[16 + i] = d * (float)((q[i] >> 4) | (high >> (16 + i) & 1) << 4) + m;
  }
}

void lct_dequant(lct_dtype t, const void *src, int64_t n, float *out) {
  const int64_t n_blocks = n / dtypes[t].block;
  switch (t) {
  case LCT_DTYPE_F32: memcpy(out, src, (size_t)n * 4); break;
  case LCT_DTYPE_F16: f16_row(src, n, out); break;
  case LCT_DTYPE_BF16: bf16_row(src, n, out); break;
  case LCT_DTYPE_Q4_0: q4_0(src, n_blocks, out); break;
  case LCT_DTYPE_Q4_1: q4_1(src, n_blocks, out); break;
  case LCT_DTYPE_Q5_0: q5_0(src, n_blocks, out); break;
  case LCT_DTYPE_Q5_1: q5_1(src, n_blocks, out); break;
  case LCT_DTYPE_Q8_0: q8_0(src, n_blocks, out); break;
  case LCT_DTYPE_Q4_K: lct_dequant_q4_k(src, n_blocks, out); break;
  case LCT_DTYPE_Q5_K: lct_dequant_q5_k(src, n_blocks, out); break;
  case LCT_DTYPE_Q6_K: lct_dequant_q6_k(src, n_blocks, out); break;
  case LCT_DTYPE_COUNT: break;
  }
}
