/* Byte planes of 16-bit values. */
#include <string.h>

#include "store/codec_impl.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low byte comes first");

void lct_pieces_gather(const lct_pieces *src, void *dst) {
  const unsigned char *from = src->data;
  unsigned char *to = dst;
  if (src->stride == src->row_bytes) {
    if (src->n_rows > 0) memcpy(to, from, src->n_rows * src->row_bytes);
    return;
  }
  for (size_t r = 0; r < src->n_rows; r++) memcpy(to + r * src->row_bytes, from + r * src->stride, src->row_bytes);
}

void lct_planes_split_portable(const void *src, size_t n, unsigned char *low, unsigned char *high) {
  const unsigned char *p = src;
  for (size_t i = 0; i < n; i++) {
    low[i] = p[2 * i];
    high[i] = p[2 * i + 1];
  }
}

void lct_planes_join_portable(const unsigned char *low, const unsigned char *high, size_t n, void *dst) {
  unsigned char *p = dst;
  for (size_t i = 0; i < n; i++) {
    p[2 * i] = low[i];
    p[2 * i + 1] = high[i];
  }
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx2"))) static size_t split_avx2(const unsigned char *src, size_t n, unsigned char *low, unsigned char *high) {
  const __m256i mask = _mm256_set1_epi16(0xff);
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i a = _mm256_loadu_si256((const __m256i *)(src + 2 * i)), b = _mm256_loadu_si256((const __m256i *)(src + 2 * i + 32));
    __m256i l = _mm256_packus_epi16(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
    __m256i h = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    _mm256_storeu_si256((__m256i *)(low + i), _mm256_permute4x64_epi64(l, 0xd8)); /* packing works within halves of a register */
    _mm256_storeu_si256((__m256i *)(high + i), _mm256_permute4x64_epi64(h, 0xd8));
  }
  return i;
}

__attribute__((target("avx2"))) static size_t join_avx2(const unsigned char *low, const unsigned char *high, size_t n, unsigned char *dst) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i l = _mm256_loadu_si256((const __m256i *)(low + i)), h = _mm256_loadu_si256((const __m256i *)(high + i));
    __m256i a = _mm256_unpacklo_epi8(l, h), b = _mm256_unpackhi_epi8(l, h);
    _mm256_storeu_si256((__m256i *)(dst + 2 * i), _mm256_permute2x128_si256(a, b, 0x20));
    _mm256_storeu_si256((__m256i *)(dst + 2 * i + 32), _mm256_permute2x128_si256(a, b, 0x31));
  }
  return i;
}

void lct_planes_split(const void *src, size_t n, unsigned char *low, unsigned char *high) {
  size_t done = __builtin_cpu_supports("avx2") ? split_avx2(src, n, low, high) : 0;
  lct_planes_split_portable((const unsigned char *)src + 2 * done, n - done, low + done, high + done);
}

void lct_planes_join(const unsigned char *low, const unsigned char *high, size_t n, void *dst) {
  size_t done = __builtin_cpu_supports("avx2") ? join_avx2(low, high, n, dst) : 0;
  lct_planes_join_portable(low + done, high + done, n - done, (unsigned char *)dst + 2 * done);
}
#else
void lct_planes_split(const void *src, size_t n, unsigned char *low, unsigned char *high) { lct_planes_split_portable(src, n, low, high); }
void lct_planes_join(const unsigned char *low, const unsigned char *high, size_t n, void *dst) {
  lct_planes_join_portable(low, high, n, dst);
}
#endif
