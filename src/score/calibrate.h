/* What a neutral bank says of a place (pooling, source, layer): moments, principal components, whitening. */
#ifndef LCT_SCORE_CALIBRATE_H
#define LCT_SCORE_CALIBRATE_H

#include "base/mem.h"

/* Mean and sum of squared deviations from it, a dimension each; the storage is the caller's, zeroed at first. */
typedef struct {
  int64_t n;
  int dim;
  double *mean, *m2; /* (dim) */
} lct_moments;

/* One more row (Welford 1962). The order of rows matters to the last bits alone. */
void lct_moments_add(lct_moments *m, const float *x);
/* Everything that `from` saw (Chan, Golub, LeVeque 1983). */
void lct_moments_merge(lct_moments *into, const lct_moments *from);
/* mean (dim), sigma (dim) with n - 1 beneath; sigma is 0 with fewer than two rows. */
void lct_moments_finish(const lct_moments *m, float *mean, float *sigma);

/* The k principal components of x (n, dim) about mean (dim): pcs (k, dim) unit rows, the largest variance first, the largest value of each
 * positive; var (k) their variances, with n - 1 beneath. Beyond the rank: zero rows, variance 0. LCT_E_USAGE with n < 2. */
lct_status lct_principal_components(const float *x, size_t n, int dim, const float *mean, int k, float *pcs, float *var,
                                    lct_error *err) LCT_CHECKED;

/* w (dim, dim), lower triangular, so that w^T w is the inverse of D R* D, where D = diag(sigma) and R* is the covariance of the
 * standardised rows (x - mean) / sigma shrunk towards a multiple of the identity by Ledoit and Wolf's formula ("A well-conditioned estimator
 * for large-dimensional covariance matrices", 2004, section 3.3). It is applied to standardised rows because its one target variance would else
 * be that of the few massive activations. A dimension with sigma 0 is left out: its column is 0; without any variance (the first layer's
 * input at one and the same token) all of w is 0. *shrinkage in 0..1. LCT_E_USAGE with n < 2, LCT_E_NUMERIC when the result is not positive
 * definite: values that are not finite. */
lct_status lct_whitening(const float *x, size_t n, int dim, const float *mean, const float *sigma, float *w, float *shrinkage,
                         lct_error *err) LCT_CHECKED;

#endif
