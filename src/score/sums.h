/* The sums under all scores. Every sum runs in 16 float lanes over blocks of 256 elements, each block's lanes go to double: a result
 * depends on its two vectors alone, not on how many are done at once, and no product is fused into a sum, so that every instruction
 * set gives the same bits. */
#ifndef LCT_SCORE_SUMS_H
#define LCT_SCORE_SUMS_H

#include "base/mem.h"

typedef struct {
  double dot, abs_diff; /* sum v r; sum |v - r| */
} lct_pair_sums;

/* |v|, in double throughout. */
double lct_norm(const float *v, int n);
/* v (n) with each of refs (m, n), whose norms are given: where |v| |r| leaves float's range the sums run in double throughout. */
void lct_sums_pairs(const float *v, double v_norm, const float *refs, const double *ref_norms, size_t m, int n, lct_pair_sums *out);
/* out[i] = x . rows[i], rows (m, n) with leading dimension ld. Products and partial sums must stay in float's range. */
void lct_dots(const float *x, const float *rows, size_t ld, size_t m, int n, double *out);
/* x . y in double throughout. */
double lct_dot_double(const float *x, const float *y, int n);
double lct_dot_f64(const double *x, const double *y, int n);

#endif
