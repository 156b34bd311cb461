#include "score/top.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { GROUP = 32, MOST_MAXIMA = 512 };
#define INLINE static inline __attribute__((always_inline))
#define INFINITE 0x7f800000u
#define ANY_NAN 0x7fc00000u

/* What is done with a whole group's raw bits, per instruction set. */
typedef struct {
  uint32_t (*most)(const float *v);                  /* the largest */
  uint32_t (*reach)(const float *v, uint32_t bound); /* bit k: v[k] reaches the bound */
} group_ops;

INLINE uint32_t raw_bits(const float *v) {
  uint32_t u;
  memcpy(&u, v, 4);
  return u & 0x7fffffffu;
}

/* In the order of magnitudes, every NaN the same. */
INLINE uint32_t ordered(uint32_t bits) { return bits > INFINITE ? ANY_NAN : bits; }

static void sift_down(uint64_t *heap, int k, int at) {
  uint64_t x = heap[at];
  for (;;) {
    int child = 2 * at + 1;
    if (child >= k) break;
    if (child + 1 < k && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= x) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = x;
}

/* Adds a candidate to the k best (a min-heap once there are k). */
INLINE void offer(uint64_t *heap, int k, int *n, uint64_t candidate) {
  if (*n < k) {
    heap[(*n)++] = candidate;
    for (int i = k / 2 - 1; *n == k && i >= 0; i--) sift_down(heap, k, i);
  } else if (candidate > heap[0]) {
    heap[0] = candidate;
    sift_down(heap, k, 0);
  }
}

INLINE uint32_t group_max(const group_ops *ops, const float *v, int n) {
  if (n >= GROUP) return ops->most(v);
  uint32_t most = 0;
  for (int i = 0; i < n; i++) most = raw_bits(v + i) > most ? raw_bits(v + i) : most;
  return most;
}

INLINE uint32_t group_reach(const group_ops *ops, const float *v, int n, uint32_t bound) {
  if (n >= GROUP) return ops->reach(v, bound);
  uint32_t found = 0;
  for (int i = 0; i < n; i++) found |= (uint32_t)(raw_bits(v + i) >= bound) << i;
  return found;
}

/* The k-th largest of the groups' maxima is a bound that at least k values reach; few others do, and only in groups whose maximum does. */
INLINE void select_body(const group_ops *ops, const float *v, int n, int k, uint64_t *best) {
  uint32_t maxima[MOST_MAXIMA]; /* of the first groups, for the second round */
  int found = 0;
  for (int i = 0; i < n; i += GROUP) {
    uint32_t most = group_max(ops, v + i, n - i);
    if (i / GROUP < MOST_MAXIMA) maxima[i / GROUP] = most;
    offer(best, k, &found, (uint64_t)ordered(most) << 32 | (uint32_t)i);
  }
  uint32_t bound = (uint32_t)(best[0] >> 32);
  if (bound > INFINITE) bound = INFINITE + 1; /* any NaN */
  found = 0;
  for (int i = 0; i < n; i += GROUP) {
    if (i / GROUP < MOST_MAXIMA && maxima[i / GROUP] < bound) continue;
    for (uint32_t m = group_reach(ops, v + i, n - i, bound); m != 0; m &= m - 1) {
      int j = i + __builtin_ctz(m);
      offer(best, k, &found, (uint64_t)ordered(raw_bits(v + j)) << 32 | (uint32_t)j);
    }
  }
}

INLINE uint32_t most_base(const float *v) {
  uint32_t most = 0;
  for (int i = 0; i < GROUP; i++) most = raw_bits(v + i) > most ? raw_bits(v + i) : most;
  return most;
}
INLINE uint32_t reach_base(const float *v, uint32_t bound) {
  uint32_t found = 0;
  for (int i = 0; i < GROUP; i++) found |= (uint32_t)(raw_bits(v + i) >= bound) << i;
  return found;
}
static void select_base(const float *v, int n, int k, uint64_t *best) {
  select_body(&(const group_ops){most_base, reach_base}, v, n, k, best);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

AVX2 INLINE __m256i bits_avx2(const float *v) {
  return _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(const void *)v), _mm256_set1_epi32(0x7fffffff));
}
AVX2 INLINE uint32_t most_avx2(const float *v) {
  __m256i m = _mm256_max_epu32(_mm256_max_epu32(bits_avx2(v), bits_avx2(v + 8)), _mm256_max_epu32(bits_avx2(v + 16), bits_avx2(v + 24)));
  __m128i h = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
  h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4e));
  return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(h, _mm_shuffle_epi32(h, 0xb1)));
}
AVX2 INLINE uint32_t reach_avx2(const float *v, uint32_t bound) {
  const __m256i below = _mm256_set1_epi32((int)bound - 1); /* no value has the sign bit, so signed comparison will do */
  uint32_t found = 0;
  for (int i = 0; i < GROUP; i += 8) {
    found |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bits_avx2(v + i), below))) << i;
  }
  return found;
}
AVX2 static void select_avx2(const float *v, int n, int k, uint64_t *best) {
  select_body(&(const group_ops){most_avx2, reach_avx2}, v, n, k, best);
}

AVX512 INLINE __m512i bits_avx512(const float *v) { return _mm512_and_si512(_mm512_loadu_si512(v), _mm512_set1_epi32(0x7fffffff)); }
AVX512 INLINE uint32_t most_avx512(const float *v) {
  return _mm512_reduce_max_epu32(_mm512_max_epu32(bits_avx512(v), bits_avx512(v + 16)));
}
AVX512 INLINE uint32_t reach_avx512(const float *v, uint32_t bound) {
  const __m512i b = _mm512_set1_epi32((int)bound);
  return (uint32_t)_mm512_cmpge_epu32_mask(bits_avx512(v), b) | (uint32_t)_mm512_cmpge_epu32_mask(bits_avx512(v + 16), b) << 16;
}
AVX512 static void select_avx512(const float *v, int n, int k, uint64_t *best) {
  select_body(&(const group_ops){most_avx512, reach_avx512}, v, n, k, best);
}
#endif

void lct_top_select(const float *v, int n, int k, uint64_t *best) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    select_avx512(v, n, k, best);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    select_avx2(v, n, k, best);
    return;
  }
#endif
  select_base(v, n, k, best);
}
