#include "base/convert.h"

#include <stdbool.h>

#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* Finite, and Inf in binary16. */
static bool saturates_f16(float f) {
  uint32_t u = bits_of(f) & 0x7fffffffu;
  return u >= 0x477ff000u && u < 0x7f800000u;
}

static size_t to_f16_portable(const float *src, uint16_t *dst, size_t n) {
  size_t saturated = 0;
  for (size_t i = 0; i < n; i++) {
    dst[i] = lct_f32_to_f16(src[i]);
    saturated += saturates_f16(src[i]);
  }
  return saturated;
}

static void from_f16_portable(const uint16_t *src, float *dst, size_t n) {
  for (size_t i = 0; i < n; i++) dst[i] = lct_f16_to_f32(src[i]);
}

#if defined(__x86_64__)
/* The instructions keep a NaN's payload (and quiet it) where half.h does not: groups holding a NaN, which should not occur,
 * go through half.h. */

__attribute__((target("avx2,f16c"))) static size_t to_f16_f16c(const float *src, uint16_t *dst, size_t n) {
  const __m256 abs_mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 limit = _mm256_set1_ps(65520.0f), inf = _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000));
  size_t saturated = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 x = _mm256_loadu_ps(src + i), a = _mm256_and_ps(x, abs_mask);
    if (_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0) {
      saturated += to_f16_portable(src + i, dst + i, 8);
      continue;
    }
    __m256 big = _mm256_and_ps(_mm256_cmp_ps(a, limit, _CMP_GE_OQ), _mm256_cmp_ps(a, inf, _CMP_LT_OQ));
    saturated += (size_t)__builtin_popcount((unsigned)_mm256_movemask_ps(big));
    _mm_storeu_si128((__m128i *)(void *)(dst + i), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  return saturated + to_f16_portable(src + i, dst + i, n - i);
}

__attribute__((target("avx512f"))) static size_t to_f16_avx512(const float *src, uint16_t *dst, size_t n) {
  const __m512 limit = _mm512_set1_ps(65520.0f), inf = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000));
  size_t saturated = 0, i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512 x = _mm512_loadu_ps(src + i), a = _mm512_abs_ps(x);
    if (_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0) {
      saturated += to_f16_portable(src + i, dst + i, 16);
      continue;
    }
    __mmask16 big = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(a, limit, _CMP_GE_OQ), a, inf, _CMP_LT_OQ);
    saturated += (size_t)__builtin_popcount((unsigned)big);
    __m256i h = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((__m256i *)(void *)(dst + i), h);
  }
  return saturated + to_f16_portable(src + i, dst + i, n - i);
}

__attribute__((target("avx2,f16c"))) static void from_f16_f16c(const uint16_t *src, float *dst, size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(src + i)));
    if (_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0) {
      from_f16_portable(src + i, dst + i, 8);
    } else {
      _mm256_storeu_ps(dst + i, x);
    }
  }
  from_f16_portable(src + i, dst + i, n - i);
}

__attribute__((target("avx512f"))) static void from_f16_avx512(const uint16_t *src, float *dst, size_t n) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512 x = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(src + i)));
    if (_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0) {
      from_f16_portable(src + i, dst + i, 16);
    } else {
      _mm512_storeu_ps(dst + i, x);
    }
  }
  from_f16_portable(src + i, dst + i, n - i);
}
#endif

lct_convert_level lct_convert_best(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return LCT_CONVERT_AVX512;
  /* F16C is older than AVX2 and every processor with AVX2 has it; clang 14 cannot ask for it by name. */
  if (__builtin_cpu_supports("avx2")) return LCT_CONVERT_F16C;
#endif
  return LCT_CONVERT_PORTABLE;
}

void lct_f32_to_f16_level(lct_convert_level l, const float *src, uint16_t *dst, size_t n, size_t *n_saturated) {
  size_t saturated = 0;
  switch (l) {
#if defined(__x86_64__)
  case LCT_CONVERT_AVX512: saturated = to_f16_avx512(src, dst, n); break;
  case LCT_CONVERT_F16C: saturated = to_f16_f16c(src, dst, n); break;
#endif
  default: saturated = to_f16_portable(src, dst, n); break;
  }
  if (n_saturated != NULL) *n_saturated += saturated;
}

void lct_f16_to_f32_level(lct_convert_level l, const uint16_t *src, float *dst, size_t n) {
  switch (l) {
#if defined(__x86_64__)
  case LCT_CONVERT_AVX512: from_f16_avx512(src, dst, n); break;
  case LCT_CONVERT_F16C: from_f16_f16c(src, dst, n); break;
#endif
  default: from_f16_portable(src, dst, n); break;
  }
}

void lct_f32_to_f16_array(const float *src, uint16_t *dst, size_t n, size_t *n_saturated) {
  lct_f32_to_f16_level(lct_convert_best(), src, dst, n, n_saturated);
}

void lct_f16_to_f32_array(const uint16_t *src, float *dst, size_t n) { lct_f16_to_f32_level(lct_convert_best(), src, dst, n); }

/* Plain integer arithmetic: the compiler vectorises both for the baseline, and memory is the limit. */

void lct_f32_to_bf16_array(const float *restrict src, uint16_t *restrict dst, size_t n, size_t *n_saturated) {
  size_t saturated = 0;
  enum { BLOCK = 1024 }; /* a 32-bit counter keeps the vector lanes narrow */
  for (size_t i = 0; i < n; i += BLOCK) {
    size_t end = n - i < BLOCK ? n : i + BLOCK;
    uint32_t count = 0;
    for (size_t j = i; j < end; j++) {
      uint32_t u = bits_of(src[j]), a = u & 0x7fffffffu;
      uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
      dst[j] = (uint16_t)(a > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
      count += (a >= 0x7f7f8000u) & (a < 0x7f800000u);
    }
    saturated += count;
  }
  if (n_saturated != NULL) *n_saturated += saturated;
}

void lct_bf16_to_f32_array(const uint16_t *src, float *dst, size_t n) {
  for (size_t i = 0; i < n; i++) dst[i] = lct_bf16_to_f32(src[i]);
}
