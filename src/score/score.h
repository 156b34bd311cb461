/* Scores of one vector against one reference.
 * Legacy metrics exactly as Activation Lab computes them (notebooks/compare_runs.py). */
#ifndef LCT_SCORE_SCORE_H
#define LCT_SCORE_SCORE_H

#include "score/metrics.h"

/* The metrics of a scan, the first of the table, in the order of the metric axis of scores.json. */
enum { LCT_N_METRICS = LCT_METRIC_JACCARD + 1 };

/* (v . r) / (|v| |r|), accumulated in double; NaN when either is zero or has a NaN. */
float lct_cosine(const float *v, const float *r, int n);
/* mean |v - r|, accumulated in double. */
float lct_mae(const float *v, const float *r, int n);
/* Jaccard of the top max(1, n/100) indices by |value|; ties: the higher index wins, as a stable ascending argsort's tail. */
lct_status lct_jaccard(const float *v, const float *r, int n, float *out, lct_error *err) LCT_CHECKED;

/* References made ready once for many rows. */
typedef struct {
  const float *refs; /* (n_refs, dim), borrowed */
  size_t n_refs;
  int dim, k;        /* k: of the Jaccard's top indices */
  size_t words;      /* of a bitmap */
  double *norms;     /* (n_refs) */
  uint64_t *bitmaps; /* (n_refs, words) */
} lct_score_refs;
/* On failure nothing is left to free. */
lct_status lct_score_refs_init(lct_score_refs *r, const float *refs, size_t n_refs, int dim, lct_error *err) LCT_CHECKED;
void lct_score_refs_free(lct_score_refs *r);
/* All metrics of one vector v (dim): out (n_refs, LCT_N_METRICS). heap (r->k) is scratch; NULL leaves the Jaccard's cells alone. */
void lct_score_refs_run(const lct_score_refs *r, const float *v, uint64_t *heap, float *out);

/* All metrics of n_rows vectors against n_refs references: rows (n_rows, dim), refs (n_refs, dim), f32;
 * out (n_rows, n_refs, LCT_N_METRICS) f32. Work per reference that does not depend on the row is done once. */
lct_status lct_score_block(const float *rows, size_t n_rows, const float *refs, size_t n_refs, int dim, float *out,
                           lct_error *err) LCT_CHECKED;

#endif
