#include "score/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums run in LANES float lanes (two vectors), BLOCK elements at a time, and each block's lanes go to double lanes. The number
 * of lanes is fixed here and no product is fused into a sum (AVX2 without FMA), so both instruction sets give the same bits. */
enum { HALF_LANES = 8, LANES = 2 * HALF_LANES, BLOCK = 256 };
typedef float vec_f __attribute__((vector_size(HALF_LANES * sizeof(float))));
typedef uint32_t vec_u __attribute__((vector_size(HALF_LANES * sizeof(float))));
typedef double vec_d __attribute__((vector_size(4 * sizeof(double))));

typedef struct {
  double dot, abs_diff;
} pair_sums;

static inline __attribute__((always_inline)) void step(const float *v, const float *r, vec_f *dot, vec_f *diff) {
  const vec_u magnitude = (vec_u){0} + 0x7fffffffu;
  vec_f a, b;
  memcpy(&a, v, sizeof a);
  memcpy(&b, r, sizeof b);
  vec_f product = a * b;
  *dot += product;
  *diff += (vec_f)((vec_u)(a - b) & magnitude);
}

/* Adds the eight lanes of x to the four of sum. */
static inline __attribute__((always_inline)) void widen(const vec_f *x, vec_d *sum) {
  typedef float quad __attribute__((vector_size(16)));
  quad halves[2];
  memcpy(halves, x, sizeof halves);
  *sum += __builtin_convertvector(halves[0], vec_d) + __builtin_convertvector(halves[1], vec_d);
}

static inline __attribute__((always_inline)) void pair_body(const float *v, const float *r, int n, pair_sums *out) {
  vec_d dot = {0}, diff = {0};
  int i = 0;
  while (i + LANES <= n) {
    int end = n - i < BLOCK ? i + (n - i) / LANES * LANES : i + BLOCK;
    vec_f dot0 = {0}, dot1 = {0}, diff0 = {0}, diff1 = {0};
    for (; i < end; i += LANES) {
      step(v + i, r + i, &dot0, &diff0);
      step(v + i + HALF_LANES, r + i + HALF_LANES, &dot1, &diff1);
    }
    widen(&dot0, &dot);
    widen(&dot1, &dot);
    widen(&diff0, &diff);
    widen(&diff1, &diff);
  }
  out->dot = (dot[0] + dot[1]) + (dot[2] + dot[3]);
  out->abs_diff = (diff[0] + diff[1]) + (diff[2] + diff[3]);
  for (; i < n; i++) {
    out->dot += (double)v[i] * (double)r[i];
    out->abs_diff += fabs((double)v[i] - (double)r[i]);
  }
}

static void pair_base(const float *v, const float *r, int n, pair_sums *out) { pair_body(v, r, n, out); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void pair_avx2(const float *v, const float *r, int n, pair_sums *out) {
  pair_body(v, r, n, out);
}
#endif

static void pair(const float *v, const float *r, int n, pair_sums *out) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    pair_avx2(v, r, n, out);
    return;
  }
#endif
  pair_base(v, r, n, out);
}

static double norm2(const float *v, int n) {
  double lanes[4] = {0, 0, 0, 0};
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int j = 0; j < 4; j++) lanes[j] += (double)v[i + j] * (double)v[i + j];
  }
  double s = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  for (; i < n; i++) s += (double)v[i] * (double)v[i];
  return sqrt(s);
}

/* Both sums in double throughout: for magnitudes whose products or sums leave float's range. */
static void pair_double(const float *v, const float *r, int n, pair_sums *out) {
  *out = (pair_sums){0, 0};
  for (int i = 0; i < n; i++) {
    out->dot += (double)v[i] * (double)r[i];
    out->abs_diff += fabs((double)v[i] - (double)r[i]);
  }
}

static void pair_scores(const float *v, double v_norm, const float *r, double r_norm, int n, float *cosine, float *mae) {
  double norms = v_norm * r_norm;
  pair_sums s;
  /* Inside these bounds no product overflows, and what underflows is below 1e-14 of the result. */
  if (norms >= 1e-20 && norms <= 1e30) {
    pair(v, r, n, &s);
  } else {
    pair_double(v, r, n, &s);
  }
  if (!isfinite(s.abs_diff)) pair_double(v, r, n, &s);
  *cosine = norms > 0 ? (float)(s.dot / norms) : NAN;
  *mae = n > 0 ? (float)(s.abs_diff / n) : NAN;
}

float lct_cosine(const float *v, const float *r, int n) {
  float cosine, mae;
  pair_scores(v, norm2(v, n), r, norm2(r, n), n, &cosine, &mae);
  return cosine;
}

float lct_mae(const float *v, const float *r, int n) {
  float cosine, mae;
  pair_scores(v, norm2(v, n), r, norm2(r, n), n, &cosine, &mae);
  return mae;
}

/* Top indices by |value|. A candidate is one integer, |value|'s bits above its index: larger is better, ties go to the higher
 * index, all NaN are equal and largest (as in numpy's sort). */

static int top_count(int n) { return n / 100 > 1 ? n / 100 : 1; }

static inline uint32_t magnitude_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  u &= 0x7fffffffu;
  return u > 0x7f800000u ? 0x7fc00000u : u;
}

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

/* The k best candidates of v into heap[k] (a min-heap); their low words are the indices. */
static void top_select(const float *v, int n, int k, uint64_t *heap) {
  for (int i = 0; i < k; i++) heap[i] = (uint64_t)magnitude_bits(v[i]) << 32 | (uint32_t)i;
  for (int i = k / 2 - 1; i >= 0; i--) sift_down(heap, k, i);
  enum { GROUP = 32 };
  for (int i = k; i < n; i += GROUP) {
    int end = n - i < GROUP ? n : i + GROUP;
    uint32_t threshold = (uint32_t)(heap[0] >> 32), any = 0;
    for (int j = i; j < end; j++) any |= magnitude_bits(v[j]) >= threshold;
    if (!any) continue;
    for (int j = i; j < end; j++) {
      uint64_t candidate = (uint64_t)magnitude_bits(v[j]) << 32 | (uint32_t)j;
      if (candidate <= heap[0]) continue;
      heap[0] = candidate;
      sift_down(heap, k, 0);
    }
  }
}

static void bitmap_set(uint64_t *bitmap, const uint64_t *heap, int k) {
  for (int i = 0; i < k; i++) {
    uint32_t index = (uint32_t)heap[i];
    bitmap[index / 64] |= UINT64_C(1) << (index % 64);
  }
}

static float overlap(const uint64_t *bitmap, const uint64_t *heap, int k) {
  int both = 0;
  for (int i = 0; i < k; i++) {
    uint32_t index = (uint32_t)heap[i];
    both += (int)(bitmap[index / 64] >> (index % 64) & 1);
  }
  return (float)((double)both / (double)(2 * k - both));
}

/* What is computed once a reference, and one row's candidates. */
typedef struct {
  double *ref_norms; /* (n_refs) */
  uint64_t *bitmaps; /* (n_refs, words) */
  uint64_t *heap;    /* (k) */
  size_t words;
  int k;
} scratch;

static void scratch_free(scratch *s) {
  free(s->ref_norms);
  free(s->bitmaps);
  free(s->heap);
}

static lct_status scratch_init(scratch *s, const float *refs, size_t n_refs, int dim, lct_error *err) {
  *s = (scratch){.words = ((size_t)dim + 63) / 64, .k = top_count(dim)};
  lct_status st = lct_calloc(&s->ref_norms, n_refs, sizeof *s->ref_norms, "reference norms", err);
  if (st == LCT_OK) st = lct_calloc(&s->bitmaps, n_refs, s->words * sizeof *s->bitmaps, "reference top indices", err);
  if (st == LCT_OK) st = lct_calloc(&s->heap, (size_t)s->k, sizeof *s->heap, "top indices", err);
  if (st != LCT_OK) {
    scratch_free(s);
    return st;
  }
  for (size_t i = 0; i < n_refs; i++) {
    const float *r = refs + i * (size_t)dim;
    s->ref_norms[i] = norm2(r, dim);
    top_select(r, dim, s->k, s->heap);
    bitmap_set(s->bitmaps + i * s->words, s->heap, s->k);
  }
  return LCT_OK;
}

lct_status lct_score_block(const float *rows, size_t n_rows, const float *refs, size_t n_refs, int dim, float *out,
                           lct_error *err) {
  if (dim <= 0) return lct_fail(err, LCT_E_USAGE, "cannot score vectors of %d values", dim);
  if (n_rows == 0 || n_refs == 0) return LCT_OK;
  scratch s;
  LCT_TRY(scratch_init(&s, refs, n_refs, dim, err));
  for (size_t i = 0; i < n_rows; i++) {
    const float *v = rows + i * (size_t)dim;
    double v_norm = norm2(v, dim);
    top_select(v, dim, s.k, s.heap);
    for (size_t j = 0; j < n_refs; j++) {
      float *cell = out + (i * n_refs + j) * LCT_N_METRICS;
      pair_scores(v, v_norm, refs + j * (size_t)dim, s.ref_norms[j], dim, &cell[LCT_METRIC_COSINE], &cell[LCT_METRIC_MAE]);
      cell[LCT_METRIC_JACCARD] = overlap(s.bitmaps + j * s.words, s.heap, s.k);
    }
  }
  scratch_free(&s);
  return LCT_OK;
}

lct_status lct_jaccard(const float *v, const float *r, int n, float *out, lct_error *err) {
  if (n <= 0) return lct_fail(err, LCT_E_USAGE, "cannot score vectors of %d values", n);
  scratch s;
  LCT_TRY(scratch_init(&s, r, 1, n, err));
  top_select(v, n, s.k, s.heap);
  *out = overlap(s.bitmaps, s.heap, s.k);
  scratch_free(&s);
  return LCT_OK;
}

const char *lct_metric_name(lct_metric m) {
  switch (m) {
#define METRIC_NAME(id, name) \
  case LCT_METRIC_##id: return name;
    LCT_METRICS(METRIC_NAME)
#undef METRIC_NAME
    case LCT_N_METRICS: break;
  }
  return "?";
}

const char *lct_pooling_name(lct_pooling p) {
  switch (p) {
#define POOLING_NAME(id, name) \
  case LCT_POOLING_##id: return name;
    LCT_POOLINGS(POOLING_NAME)
#undef POOLING_NAME
    case LCT_N_POOLINGS: break;
  }
  return "?";
}
