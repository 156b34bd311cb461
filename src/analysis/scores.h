/* prompt_N/scores.json in memory. */
#ifndef LCT_ANALYSIS_SCORES_H
#define LCT_ANALYSIS_SCORES_H

#include "analysis/json.h"

typedef struct {
  int index;
  char *role, *preview;
  int n_tokens;
  bool generated; /* the prefix with the generated reply behind it */
} lct_snapshot;

/* Indices into `metrics`; the file names its metrics, these are the ones the analysis asks for. -1: the file has it not. */
typedef struct {
  int cosine, mae, jaccard;
} lct_metric_index;

/* One metric over the layers, per source; the file's `intra_run`. */
typedef struct {
  double *cosine, *mae, *jaccard; /* (n_layers) f64, NaN where null; NULL when absent */
} lct_intra_run;

typedef struct {
  char *file;
  size_t n_snapshots, n_poolings, n_sources, n_layers, n_references, n_metrics;
  lct_snapshot *snapshots;
  char **poolings, **sources, **references, **metrics;
  int *layers; /* ascending */
  lct_metric_index metric;
  double *values; /* (snapshot, pooling, source, layer, reference, metric) f64, NaN where null */
  size_t n_values, n_nan;
  lct_intra_run *intra; /* (n_sources), NULL when the file has none */
  lct_arena arena;      /* owns everything above */
} lct_scores;

/* Errors: LCT_E_FORMAT naming file and key (wrong type, wrong length with expected and found, unknown version), LCT_E_IO,
 * LCT_E_NOMEM. */
lct_status lct_scores_load(const char *path, lct_scores **out, lct_error *err) LCT_CHECKED;
void lct_scores_free(lct_scores *s);

/* Index of a label, -1 when it is not there. */
int lct_label_find(char *const *labels, size_t n, const char *label);

#endif
