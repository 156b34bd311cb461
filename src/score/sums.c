#include "score/sums.h"

#include <math.h>
#include <string.h>

enum { HALF_LANES = 8, LANES = 2 * HALF_LANES, BLOCK = 256 };
typedef float vec_f __attribute__((vector_size(HALF_LANES * sizeof(float))));
typedef uint32_t vec_u __attribute__((vector_size(HALF_LANES * sizeof(float))));
typedef double vec_d __attribute__((vector_size(4 * sizeof(double))));
#define INLINE static inline __attribute__((always_inline))

/* Vectors go by pointer: without AVX, returning one would change the ABI. */
INLINE void load(vec_f *v, const float *p) { memcpy(v, p, sizeof *v); }

/* Adds the eight lanes of x to the four of sum. */
INLINE void widen(const vec_f *x, vec_d *sum) {
  typedef float quad __attribute__((vector_size(16)));
  quad halves[2];
  memcpy(halves, x, sizeof halves);
  *sum += __builtin_convertvector(halves[0], vec_d) + __builtin_convertvector(halves[1], vec_d);
}

INLINE double across(const vec_d *x) { return ((*x)[0] + (*x)[1]) + ((*x)[2] + (*x)[3]); }

/* The end of the block that begins at i. */
INLINE int block_end(int i, int n) { return n - i < BLOCK ? i + (n - i) / LANES * LANES : i + BLOCK; }

/* m, a constant, references at once. */
INLINE void pairs_body(const float *v, const float *refs, size_t ld, int m, int n, lct_pair_sums *out) {
  const vec_u magnitude = (vec_u){0} + 0x7fffffffu;
  vec_d dot[2] = {{0}}, diff[2] = {{0}};
  int i = 0;
  while (i + LANES <= n) {
    int end = block_end(i, n);
    vec_f d[2][2] = {{{0}}}, a[2][2] = {{{0}}};
    for (; i < end; i += LANES) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; h++) {
        vec_f x, r;
        load(&x, v + i + h * HALF_LANES);
#pragma GCC unroll 2
        for (int k = 0; k < m; k++) {
          load(&r, refs + (size_t)k * ld + i + h * HALF_LANES);
          d[k][h] += x * r;
          a[k][h] += (vec_f)((vec_u)(x - r) & magnitude);
        }
      }
    }
#pragma GCC unroll 2
    for (int k = 0; k < m; k++) {
      widen(&d[k][0], &dot[k]);
      widen(&d[k][1], &dot[k]);
      widen(&a[k][0], &diff[k]);
      widen(&a[k][1], &diff[k]);
    }
  }
#pragma GCC unroll 2
  for (int k = 0; k < m; k++) {
    const float *r = refs + (size_t)k * ld;
    out[k] = (lct_pair_sums){across(&dot[k]), across(&diff[k])};
    for (int j = i; j < n; j++) {
      out[k].dot += (double)v[j] * (double)r[j];
      out[k].abs_diff += fabs((double)v[j] - (double)r[j]);
    }
  }
}

INLINE void dots_body(const float *x, const float *rows, size_t ld, int m, int n, double *out) {
  vec_d dot[4] = {{0}};
  int i = 0;
  while (i + LANES <= n) {
    int end = block_end(i, n);
    vec_f d[4][2] = {{{0}}};
    for (; i < end; i += LANES) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; h++) {
        vec_f a, r;
        load(&a, x + i + h * HALF_LANES);
#pragma GCC unroll 4
        for (int k = 0; k < m; k++) {
          load(&r, rows + (size_t)k * ld + i + h * HALF_LANES);
          d[k][h] += a * r;
        }
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < m; k++) {
      widen(&d[k][0], &dot[k]);
      widen(&d[k][1], &dot[k]);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < m; k++) {
    out[k] = across(&dot[k]);
    for (int j = i; j < n; j++) out[k] += (double)x[j] * (double)rows[(size_t)k * ld + j];
  }
}

INLINE void all_pairs(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out) {
  size_t ld = (size_t)n, i = 0;
  for (; i + 2 <= m; i += 2) pairs_body(v, refs + i * ld, ld, 2, n, out + i);
  if (i < m) pairs_body(v, refs + i * ld, ld, 1, n, out + i);
}

INLINE void all_dots(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) {
  size_t i = 0;
  for (; i + 4 <= m; i += 4) dots_body(x, rows + i * ld, ld, 4, n, out + i);
  for (; i < m; i++) dots_body(x, rows + i * ld, ld, 1, n, out + i);
}

typedef struct {
  void (*pairs)(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out);
  void (*dots)(const float *x, const float *rows, size_t ld, size_t m, int n, double *out);
} kernels;

static void pairs_base(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out) { all_pairs(v, refs, m, n, out); }
static void dots_base(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) { all_dots(x, rows, ld, m, n, out); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void pairs_avx2(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out) {
  all_pairs(v, refs, m, n, out);
}
__attribute__((target("avx2"))) static void dots_avx2(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) {
  all_dots(x, rows, ld, m, n, out);
}
#endif

static kernels choose(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return (kernels){pairs_avx2, dots_avx2};
#endif
  return (kernels){pairs_base, dots_base};
}

void lct_dots(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) { choose().dots(x, rows, ld, m, n, out); }

double lct_norm(const float *v, int n) {
  double lanes[4] = {0, 0, 0, 0};
  int i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int j = 0; j < 4; j++) lanes[j] += (double)v[i + j] * (double)v[i + j];
  }
  double s = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  for (; i < n; i++) s += (double)v[i] * (double)v[i];
  return sqrt(s);
}

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
  choose().pairs(v, refs, m, n, out);
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
