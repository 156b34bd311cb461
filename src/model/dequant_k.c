#include <string.h>

#include "base/half.h"
#include "model/dequant.h"

static float load_f16(const unsigned char *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return lct_f16_to_f32(h);
}

/* Eight 6-bit scales and eight 6-bit minima in 12 bytes. Bytes 0-3 and 4-7 hold scales and minima 0-3 in their low six
 * bits; bytes 8-11 hold the low four bits of scales (low half) and minima (high half) 4-7, whose upper two are the top
 * two bits of bytes 0-3 and 4-7. */
static void unpack_scales(const unsigned char *p, unsigned char scale[8], unsigned char min[8]) {
  for (int i = 0; i < 4; i++) {
    scale[i] = p[i] & 63;
    min[i] = p[4 + i] & 63;
    scale[4 + i] = (unsigned char)((p[8 + i] & 15) | (p[i] >> 2 & 48));
    min[4 + i] = (unsigned char)(p[8 + i] >> 4 | (p[4 + i] >> 2 & 48));
  }
}

/* d f16, dmin f16, scales[12], 4-bit q[256]; 8 groups of 32, group j in half j % 2 of bytes 32 (j / 2) ..:
 * x = (d scale_j) q - (dmin min_j) */
void lct_dequant_q4_k(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 144) {
    const float d = load_f16(src), dmin = load_f16(src + 2);
    unsigned char scale[8], min[8];
    unpack_scales(src + 4, scale, min);
    for (int j = 0; j < 8; j++, out += 32) {
      const float dj = d * (float)scale[j], mj = dmin * (float)min[j];
      const unsigned char *q = src + 16 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int i = 0; i < 32; i++) out[i] = dj * (float)(q[i] >> shift & 15) - mj;
    }
  }
}

/* As Q4_K, with 32 bytes before q whose bit j of byte i is the fifth bit of element i of group j. */
void lct_dequant_q5_k(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 176) {
    const float d = load_f16(src), dmin = load_f16(src + 2);
    const unsigned char *high = src + 16;
    unsigned char scale[8], min[8];
    unpack_scales(src + 4, scale, min);
    for (int j = 0; j < 8; j++, out += 32) {
      const float dj = d * (float)scale[j], mj = dmin * (float)min[j];
      const unsigned char *q = src + 48 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int i = 0; i < 32; i++) out[i] = dj * (float)((q[i] >> shift & 15) | (high[i] >> j & 1) << 4) - mj;
    }
  }
}

/* Low 4 bits [128], high 2 bits [64], scales i8[16], d f16. Two halves of 128 elements, each in four groups of 32:
 * group g takes half g / 2 of low bytes 32 (g % 2) .., and bits 2 g of the high bytes.
 * Element e: x = (d scale_(e/16)) (q - 32) */
void lct_dequant_q6_k(const unsigned char *src, int64_t n_blocks, float *out) {
  for (int64_t b = 0; b < n_blocks; b++, src += 210) {
    const signed char *scale = (const signed char *)src + 192;
    const float d = load_f16(src + 208);
    for (int g = 0; g < 8; g++, out += 32) {
      const unsigned char *low = src + 64 * (g / 4) + 32 * (g % 2), *high = src + 128 + 32 * (g / 4);
      const int low_shift = 4 * (g / 2 % 2), high_shift = 2 * (g % 4);
      const float d0 = d * (float)scale[2 * g], d1 = d * (float)scale[2 * g + 1];
      for (int i = 0; i < 32; i++) {
        const int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
        out[i] = (i < 16 ? d0 : d1) * (float)(q - 32);
      }
    }
  }
}
