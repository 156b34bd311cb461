/* Vectors of the instruction set this file is compiled for, on GCC's vector extensions. */
#ifndef LCT_CPU_KERNELS_VEC_H
#define LCT_CPU_KERNELS_VEC_H

#include <math.h>
#include <string.h>

#include "cpu/kernels.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define LCT_CAT2(a, b) a##b
#define LCT_CAT(a, b) LCT_CAT2(a, b)
#define LCT_K(name) LCT_CAT(name, LCT_KERNEL_SUFFIX) /* one symbol per variant */

#if defined(__AVX512F__)
#define VL 16
#define NV 4 /* vectors of a row block's columns held in registers: 6 x 4 of 32 */
#elif defined(__AVX2__)
#define VL 8
#define NV 2 /* 6 x 2 of 16 */
#else
#define VL 4
#define NV 2
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef float vf_any __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint16_t vh_any __attribute__((vector_size(VL * 2), aligned(2), may_alias));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vf vload(const float *p) { return *(const vf_any *)p; }
INLINE void vstore(float *p, vf v) { *(vf_any *)p = v; }
INLINE vf vset(float x) { return x - (vf){0}; } /* x - 0 is x for every x, -0 too: folds to a broadcast */
INLINE vf vselect(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* The second operand when one is NaN. */
INLINE vf vmax(vf a, vf b) {
#if VL == 16
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VL == 8
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
  return vselect(a > b, a, b);
#endif
}
INLINE vf vmin(vf a, vf b) {
#if VL == 16
  return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VL == 8
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
  return vselect(a < b, a, b);
#endif
}

/* Lane k holds lane k ^ bit of v. */
INLINE vf vswap(vf v, int bit) {
  vi index;
  for (int i = 0; i < VL; i++) index[i] = i ^ bit;
  return __builtin_shuffle(v, index);
}
INLINE float vhsum(vf v) {
#if VL == 16
  v += vswap(v, 8);
#endif
#if VL >= 8
  v += vswap(v, 4);
#endif
  v += vswap(v, 2);
  v += vswap(v, 1);
  return v[0];
}
INLINE float vhmax(vf v) {
#if VL == 16
  v = vmax(v, vswap(v, 8));
#endif
#if VL >= 8
  v = vmax(v, vswap(v, 4));
#endif
  v = vmax(v, vswap(v, 2));
  v = vmax(v, vswap(v, 1));
  return v[0];
}

/* bf16 as the upper half of f32; to bf16 rounds to nearest even and keeps NaN. */
INLINE vf vload_bf16(const uint16_t *p) { return (vf)(__builtin_convertvector(*(const vh_any *)p, vu) << 16); }
INLINE void vstore_bf16(uint16_t *p, vf v) {
  vu u = (vu)v;
  vu rounded = u + 0x7fffu + ((u >> 16) & 1u);
  vi is_nan = ((vi)u & 0x7fffffff) > 0x7f800000;
  vu r = ((vu)is_nan & (u | 0x400000u)) | (~(vu)is_nan & rounded);
  *(vh_any *)p = __builtin_convertvector(r >> 16, vh);
}

/* The first n < VL lanes from memory, others zero; and back. */
INLINE vf vload_part(const float *p, int n) {
  float t[VL] = {0};
  for (int i = 0; i < n; i++) t[i] = p[i];
  return vload(t);
}
INLINE void vstore_part(float *p, vf v, int n) {
  float t[VL];
  vstore(t, v);
  for (int i = 0; i < n; i++) p[i] = t[i];
}
INLINE void vstore_as(void *p, int64_t i, vf v, bool bf16) {
  if (bf16) {
    vstore_bf16((uint16_t *)p + i, v);
  } else {
    vstore((float *)p + i, v);
  }
}
INLINE void vstore_part_as(void *p, int64_t i, vf v, int n, bool bf16) {
  if (bf16) {
    uint16_t t[VL];
    vstore_bf16(t, v);
    memcpy((uint16_t *)p + i, t, (size_t)n * 2);
  } else {
    vstore_part((float *)p + i, v, n);
  }
}

/* e^x = 2^n e^r, |r| <= ln2/2, polynomial in r (coefficients as in Cephes): about 1 ulp. */
INLINE vf vexp_reduced(vf x, vi *n) {
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  vf t = x * 1.44269504088896341f + magic;
  *n = (vi)t - (vi)vset(magic);
  vf nf = t - magic;
  vf r = x - nf * 0.693359375f;
  r = r - nf * -2.12194440e-4f;
  vf p = vset(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * (r * r) + r + 1.0f;
}
/* All finite x; 0 below the subnormals, Inf above, NaN stays NaN. */
INLINE vf vexp(vf x) {
  vi n;
  x = vmin(vset(90.0f), vmax(vset(-110.0f), x));
  vf y = vexp_reduced(x, &n);
  vi half = n >> 1, rest = n - half;
  return y * (vf)((half + 127) << 23) * (vf)((rest + 127) << 23);
}
/* x <= 0 (or NaN); exactly 0 below e^-87. */
INLINE vf vexp_neg(vf x) {
  vi n;
  vi tiny = x < -87.0f;
  vf y = vexp_reduced(vmax(vset(-87.0f), x), &n);
  return (vf)((vi)(y * (vf)((n + 127) << 23)) & ~tiny);
}

#endif
