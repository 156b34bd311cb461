/* The loops of sums.c for vectors of WIDTH floats, 8 or 16; AT_ONCE vectors are paired with one at a time, as many as registers hold; NAME(x)
 * names a loop of this width. Whatever the width, sums run in the same LANES, so that they have the same bits. Included once a width. */
enum { NAME(PARTS) = LANES / WIDTH, NAME(HALF) = WIDTH / 2 };
typedef float NAME(vec) __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t NAME(vec_bits) __attribute__((vector_size(4 * WIDTH)));
typedef float NAME(half) __attribute__((vector_size(2 * WIDTH)));
typedef double NAME(wide) __attribute__((vector_size(4 * WIDTH)));

/* Vectors go by pointer: without AVX, returning one would change the ABI. */
INLINE void NAME(load_wide)(NAME(wide) * v, const float *p) {
  NAME(half) x;
  memcpy(&x, p, sizeof x);
  *v = __builtin_convertvector(x, NAME(wide));
}

/* Adds LANES floats to half as many doubles: lanes k and k + LANES / 2 to the k-th. */
INLINE void NAME(widen)(const NAME(vec) * x, NAME(wide) * sum) {
  float lanes[LANES];
  memcpy(lanes, x, sizeof lanes);
#pragma GCC unroll 2
  for (int p = 0; p < NAME(PARTS); p++) {
    NAME(wide) low, high;
    NAME(load_wide)(&low, lanes + p * NAME(HALF));
    NAME(load_wide)(&high, lanes + LANES / 2 + p * NAME(HALF));
    sum[p] += low + high;
  }
}

INLINE double NAME(across)(const NAME(wide) * sum) {
  double s[LANES / 2];
  memcpy(s, sum, sizeof s);
  return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

/* m, a constant of at most AT_ONCE, references at once. */
INLINE void NAME(pairs_some)(const float *v, const float *refs, size_t ld, int m, int n, lct_pair_sums *out) {
  const NAME(vec_bits) magnitude = (NAME(vec_bits)){0} + 0x7fffffffu;
  NAME(wide) dot[AT_ONCE][2] = {{{0}}}, diff[AT_ONCE][2] = {{{0}}};
  int i = 0;
  while (i + LANES <= n) {
    int end = block_end(i, n);
    NAME(vec) d[AT_ONCE][2] = {{{0}}}, a[AT_ONCE][2] = {{{0}}};
    for (; i < end; i += LANES) {
#pragma GCC unroll 2
      for (int p = 0; p < NAME(PARTS); p++) {
        NAME(vec) x, r;
        memcpy(&x, v + i + p * WIDTH, sizeof x);
#pragma GCC unroll 4
        for (int k = 0; k < m; k++) {
          memcpy(&r, refs + (size_t)k * ld + i + p * WIDTH, sizeof r);
          d[k][p] += x * r;
          a[k][p] += (NAME(vec))((NAME(vec_bits))(x - r) & magnitude);
        }
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < m; k++) {
      NAME(widen)(d[k], dot[k]);
      NAME(widen)(a[k], diff[k]);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < m; k++) {
    const float *r = refs + (size_t)k * ld;
    out[k] = (lct_pair_sums){NAME(across)(dot[k]), NAME(across)(diff[k])};
    for (int j = i; j < n; j++) {
      out[k].dot += (double)v[j] * (double)r[j];
      out[k].abs_diff += fabs((double)v[j] - (double)r[j]);
    }
  }
}

INLINE void NAME(pairs_body)(const float *v, const float *refs, size_t m, int n, lct_pair_sums *out) {
  size_t ld = (size_t)n, i = 0;
  for (; i + AT_ONCE <= m; i += AT_ONCE) NAME(pairs_some)(v, refs + i * ld, ld, AT_ONCE, n, out + i);
  for (; i < m; i++) NAME(pairs_some)(v, refs + i * ld, ld, 1, n, out + i);
}

/* m, a constant of at most 4, rows at once. */
INLINE void NAME(dots_some)(const float *x, const float *rows, size_t ld, int m, int n, double *out) {
  NAME(wide) dot[4][2] = {{{0}}};
  int i = 0;
  while (i + LANES <= n) {
    int end = block_end(i, n);
    NAME(vec) d[4][2] = {{{0}}};
    for (; i < end; i += LANES) {
#pragma GCC unroll 2
      for (int p = 0; p < NAME(PARTS); p++) {
        NAME(vec) a, r;
        memcpy(&a, x + i + p * WIDTH, sizeof a);
#pragma GCC unroll 4
        for (int k = 0; k < m; k++) {
          memcpy(&r, rows + (size_t)k * ld + i + p * WIDTH, sizeof r);
          d[k][p] += a * r;
        }
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < m; k++) NAME(widen)(d[k], dot[k]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < m; k++) {
    out[k] = NAME(across)(dot[k]);
    for (int j = i; j < n; j++) out[k] += (double)x[j] * (double)rows[(size_t)k * ld + j];
  }
}

INLINE void NAME(dots_body)(const float *x, const float *rows, size_t ld, size_t m, int n, double *out) {
  size_t i = 0;
  for (; i + 4 <= m; i += 4) NAME(dots_some)(x, rows + i * ld, ld, 4, n, out + i);
  for (; i < m; i++) NAME(dots_some)(x, rows + i * ld, ld, 1, n, out + i);
}

/* Lanes k and k + LANES / 2 are added first, as in widen. */
INLINE double NAME(square_body)(const float *v, int n) {
  NAME(wide) sum[2 * NAME(PARTS)] = {{0}};
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
#pragma GCC unroll 4
    for (int p = 0; p < 2 * NAME(PARTS); p++) {
      NAME(wide) x;
      NAME(load_wide)(&x, v + i + p * NAME(HALF));
      sum[p] += x * x;
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < NAME(PARTS); p++) sum[p] += sum[NAME(PARTS) + p];
  double s = NAME(across)(sum);
  for (; i < n; i++) s += (double)v[i] * (double)v[i];
  return s;
}
#undef WIDTH
#undef AT_ONCE
#undef NAME
