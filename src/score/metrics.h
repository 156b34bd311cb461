/* All metrics a sweep can have: the legacy ones of score.h first, then the calibrated ones. */
#ifndef LCT_SCORE_METRICS_H
#define LCT_SCORE_METRICS_H

#include "score/score.h"

/* id, name, what: v a vector, r a reference; mu, sigma, cov of the neutral bank (or of the sweep itself) for this pooling, source, layer */
#define LCT_CALIBRATED(X)                                                                                             \
  X(CENTERED, "centered", "cos(v - mu, r - mu)")                                                                      \
  X(STANDARDIZED, "standardized", "cos((v - mu) / sigma, (r - mu) / sigma)")                                          \
  X(WHITENED, "whitened", "cos(W (v - mu), W (r - mu)), W^T W the inverse of the shrinkage covariance")               \
  X(Z, "z", "(cos(v, r) - mean) / sd of the neutral bank's cosines with r, of the same role and a like length")       \
  X(PROJECTION, "projection", "(v - mu) . d / |d|, d = r - mu without the neutral bank's principal components")

typedef enum {
  LCT_METRIC_CALIBRATED_FIRST = LCT_N_METRICS - 1,
#define LCT_CALIBRATED_ENUM(id, name, what) LCT_METRIC_##id,
  LCT_CALIBRATED(LCT_CALIBRATED_ENUM)
#undef LCT_CALIBRATED_ENUM
      LCT_N_ALL_METRICS
} lct_calibrated_metric;

const char *lct_any_metric_name(int metric); /* of 0 .. LCT_N_ALL_METRICS-1 */
int lct_any_metric_by_name(const char *name, size_t n); /* -1: none */
/* A list with commas, in out (as many as lct_list_count says): one may stand twice. false: bad[0..n_bad) names none. */
bool lct_metrics_parse(const char *list, int *out, int *n_out, const char **bad, size_t *n_bad);

#endif
