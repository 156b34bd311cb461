#include "score/sums.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, BLOCK = 256 };
#define INLINE static inline __attribute__((always_inline))

/* The end of the block that begins at i. */
INLINE int block_end(int i, int n) { return n - i < BLOCK ? i + (n - i) / LANES * LANES : i + BLOCK; }

#define NAME(x) x##_8
#define WIDTH 8
#define AT_ONCE 2
#include "score/sums_kernels.h"

#if defined(__x86_64__)
#define NAME(x) x##_16
#define WIDTH 16
#define AT_ONCE 4
#include "score/sums_kernels.h"
#endif

typedef struct {
  void (*pairs)(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out);
  void (*dots)(const float *x, const float *rows, size_t ld, size_t m, int n, double *out);
  double (*square)(const float *v, int n);
} kernels;

#define DEFINE_KERNELS(isa, width, attributes)                                                                    \
  attributes static void pairs_##isa(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out) {    \
    pairs_body_##width(v, refs, m, n, out);                                                                       \
  }                                                                                                               \
  attributes static void dots_##isa(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) { \
    dots_body_##width(x, rows, ld, m, n, out);                                                                    \
  }                                                                                                               \
  attributes static double square_##isa(const float *v, int n) { return square_body_##width(v, n); }              \
  static const kernels isa = {pairs_##isa, dots_##isa, square_##isa};

DEFINE_KERNELS(base, 8, )
#if defined(__x86_64__)
DEFINE_KERNELS(avx2, 8, __attribute__((target("avx2"))))
DEFINE_KERNELS(avx512, 16, __attribute__((target("avx512f,prefer-vector-width=512"))))
#endif

static const kernels *choose(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return &avx512;
  if (__builtin_cpu_supports("avx2")) return &avx2;
#endif
  return &base;
}

void lct_dots(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) { choose()->dots(x, rows, ld, m, n, out); }

double lct_norm(const float *v, int n) { return sqrt(choose()->square(v, n)); }

double lct_dot_double(const float *x, const float *y, int n) {
  double s = 0;
  for (int i = 0; i < n; i++) s += (double)x[i] * (double)y[i];
  return s;
}

static lct_pair_sums pair_double(const float *v, const float *r, int n) {
  lct_pair_sums s = {lct_dot_double(v, r, n), 0};
  for (int i = 0; i < n; i++) s.abs_diff += fabs((double)v[i] - (double)r[i]);
  return s;
}

void lct_sums_pairs(const float *v, double v_norm, const float *refs, const double *ref_norms, size_t m, int n, lct_pair_sums *out) {
  choose()->pairs(v, refs, m, n, out);
  for (size_t i = 0; i < m; i++) {
    double norms = v_norm * ref_norms[i];
    /* Inside these bounds no product overflows, and what underflows is below 1e-14 of the result. */
    bool in_range = norms >= 1e-20 && norms <= 1e30 && isfinite(out[i].abs_diff);
    if (!in_range) out[i] = pair_double(v, refs + i * (size_t)n, n);
  }
}

double lct_dot_f64(const double *x, const double *y, int n) {
  double lanes[4] = {0, 0, 0, 0};
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int j = 0; j < 4; j++) lanes[j] += x[i + j] * y[i + j];
  }
  double s = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < n; i++) s += x[i] * y[i];
  return s;
}
