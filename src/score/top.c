#include "score/top.h"

#include <string.h>

enum { GROUP = 32 };
#define INLINE static inline __attribute__((always_inline))
#define INFINITE 0x7f800000u
#define ANY_NAN 0x7fc00000u

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

/* The largest raw bits of a group. */
INLINE uint32_t group_max(const float *v, int n) {
  uint32_t most = 0;
  if (n == GROUP) {
    for (int i = 0; i < GROUP; i++) {
      uint32_t u = raw_bits(v + i);
      most = u > most ? u : most;
    }
  } else {
    for (int i = 0; i < n; i++) most = raw_bits(v + i) > most ? raw_bits(v + i) : most;
  }
  return most;
}

/* The k-th largest of the groups' maxima is a bound that at least k values reach; few others do, and only in groups whose maximum does. */
INLINE void select_body(const float *v, int n, int k, uint64_t *best) {
  int found = 0;
  for (int i = 0; i < n; i += GROUP) {
    offer(best, k, &found, (uint64_t)ordered(group_max(v + i, n - i < GROUP ? n - i : GROUP)) << 32 | (uint32_t)i);
  }
  uint32_t bound = (uint32_t)(best[0] >> 32);
  if (bound > INFINITE) bound = INFINITE + 1; /* any NaN */
  found = 0;
  for (int i = 0; i < n; i += GROUP) {
    int m = n - i < GROUP ? n - i : GROUP;
    if (group_max(v + i, m) < bound) continue;
    for (int j = i; j < i + m; j++) {
      uint32_t u = raw_bits(v + j);
      if (u >= bound) offer(best, k, &found, (uint64_t)ordered(u) << 32 | (uint32_t)j);
    }
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void select_avx2(const float *v, int n, int k, uint64_t *best) { select_body(v, n, k, best); }
#endif
static void select_base(const float *v, int n, int k, uint64_t *best) { select_body(v, n, k, best); }

void lct_top_select(const float *v, int n, int k, uint64_t *best) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    select_avx2(v, n, k, best);
    return;
  }
#endif
  select_base(v, n, k, best);
}
