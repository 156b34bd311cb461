/* The table of all metrics: what is prepared of a label once, what is done to a row, and what becomes of the two. The scorer follows it, and so
 * do the names in files and on the command line, and docs/formats.md.
 *
 * v is a row, r a label's vector; mu, sigma, W, components and bins are the neutral bank's for this pooling, source and layer (mu and sigma may
 * be the sweep's own). Nearly every metric is an affine map of v and r and a dot of the two. */
#ifndef LCT_SCORE_METRICS_H
#define LCT_SCORE_METRICS_H

#include "base/mem.h"

/* D: a dot; it has a contrast too. O: another measure.
 * id, name, map of row and label, what is kept of the mapped label, result, needs, formula.
 * The order is that of the metrics' numbers: the three of scores.json (score.h) first, those that need a bank behind them. */
#define LCT_METRIC_TABLE(D, O)                                                                                       \
  D(COSINE, "cosine", NONE, RAW, COSINE, NOTHING, "cos(v, r)")                                                       \
  O(MAE, "mae", NONE, RAW, DISTANCE, NOTHING, "mean of abs(v - r)")                                                  \
  O(JACCARD, "jaccard", NONE, TOP, OVERLAP, NOTHING, "overlap of the top max(1, hidden / 100) indices by magnitude") \
  D(CENTERED, "centered", CENTRE, UNIT, COSINE, MOMENTS, "cos(v - mu, r - mu)")                                      \
  D(STANDARDIZED, "standardized", STANDARDIZE, UNIT, COSINE, MOMENTS, "cos((v - mu) / sigma, (r - mu) / sigma)")     \
  D(WHITENED, "whitened", WHITEN, UNIT, COSINE, WHITEN, "cos(W (v - mu), W (r - mu))")                               \
  D(Z, "z", NONE, RAW, Z, BANK, "(cos(v, r) - mean) / deviation, of the bin of v's message")                         \
  D(PROJECTION, "projection", CENTRE, DIRECTION, DOT, BANK, "(v - mu) . d / abs(d), d = r - mu without its part along the components")

typedef enum {
#define LCT_METRIC_ID(id, ...) LCT_METRIC_##id,
#define LCT_METRIC_CONTRAST_ID(id, ...) LCT_METRIC_CONTRAST_##id,
#define LCT_METRIC_NO_ID(id, ...)
  LCT_METRIC_TABLE(LCT_METRIC_ID, LCT_METRIC_ID)
  /* contrast:NAME, the score minus its mean over the labels of the same row (position, source, layer) */
  LCT_METRIC_TABLE(LCT_METRIC_CONTRAST_ID, LCT_METRIC_NO_ID)
#undef LCT_METRIC_ID
#undef LCT_METRIC_CONTRAST_ID
#undef LCT_METRIC_NO_ID
      LCT_N_ALL_METRICS
} lct_metric;

/* What is done to a row and to every label's vector alike. */
typedef enum {
  LCT_MAP_NONE,        /* x */
  LCT_MAP_CENTRE,      /* x - mu */
  LCT_MAP_STANDARDIZE, /* (x - mu) / sigma, 0 where sigma is */
  LCT_MAP_WHITEN,      /* W (x - mu), W lower triangular */
  LCT_N_MAPS
} lct_metric_map;

/* What is kept of a mapped label. */
typedef enum {
  LCT_LABEL_RAW,       /* itself, and its length */
  LCT_LABEL_UNIT,      /* divided by its length */
  LCT_LABEL_DIRECTION, /* the same, without its part along the bank's components */
  LCT_LABEL_TOP,       /* which of its values are largest */
  LCT_N_LABEL_KINDS
} lct_metric_label;

/* What becomes of a mapped row and a label. */
typedef enum {
  LCT_RESULT_DOT,      /* their dot */
  LCT_RESULT_COSINE,   /* their dot by their lengths */
  LCT_RESULT_Z,        /* their cosine, less the mean and by the deviation of the row's bin */
  LCT_RESULT_DISTANCE, /* mean absolute difference */
  LCT_RESULT_OVERLAP,  /* Jaccard index of two sets of indices */
  LCT_N_RESULTS
} lct_metric_result;

/* What fingerprints must have; everything but NOTHING asks for a neutral bank. */
typedef enum {
  LCT_NEEDS_NOTHING,
  LCT_NEEDS_MOMENTS, /* mu and sigma, which may also be a sweep's own */
  LCT_NEEDS_BANK,    /* bins, components */
  LCT_NEEDS_WHITEN,  /* W */
  LCT_N_NEEDS
} lct_metric_needs;

typedef struct {
  const char *name, *formula;
  lct_metric_map map;
  lct_metric_label label;
  lct_metric_result result;
  lct_metric_needs needs;
  int contrast_of; /* the metric whose score's contrast this is, all else being that metric's; -1: none */
} lct_metric_rule;

/* A score that is NaN has no contrast (NaN) and takes no part in the mean, which is summed in double in the order of the labels. With one
 * label every contrast is 0. */
extern const lct_metric_rule LCT_METRIC_RULES[LCT_N_ALL_METRICS];

const char *lct_any_metric_name(int metric);            /* of 0 .. LCT_N_ALL_METRICS-1, "?" of others */
int lct_any_metric_by_name(const char *name, size_t n); /* -1: none */
/* A list with commas, in out (as many as lct_list_count says): one may stand twice. false: bad[0..n_bad) names none. */
bool lct_metrics_parse(const char *list, int *out, int *n_out, const char **bad, size_t *n_bad);

#endif
