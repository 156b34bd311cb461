/* Statistics of a run's scores: the averages, the layers that separate references, and the numbers of the findings.
 *
 * Averages are Activation Lab's: first over layers, then over snapshots, then over sources, each step a plain mean. A NaN score
 * (a zero vector) is left out of its mean; a mean of nothing is NaN. Snapshots that contain the generated reply are shown per
 * snapshot, but take no part in averages over snapshots: the published numbers are those of the conversation as given. */
#ifndef LCT_ANALYSIS_ANALYSIS_H
#define LCT_ANALYSIS_ANALYSIS_H

#include "analysis/scores.h"
#include "engine/sources.h"

/* A contrast is a cosine less the mean of the cosines over the references of the same snapshot, source and layer (score/metrics.h). */
typedef enum { LCT_STAT_COSINE, LCT_STAT_MAE, LCT_STAT_JACCARD, LCT_STAT_CONTRAST, LCT_N_STATS } lct_stat;

/* Statistics of a series, NaN left out. std is the population's, the median of an even count the mean of the middle two. */
typedef struct {
  double mean, std, median, min, max;
  int argmin; /* position of the first minimum in the series; -1 when there is none */
  size_t n, n_nan;
} lct_series_stats;
lct_status lct_series_describe(const double *v, size_t n, lct_series_stats *out, lct_error *err) LCT_CHECKED;

/* Least squares y = intercept + slope x over pairs without NaN, and Pearson's r; NaN when fewer than two distinct x (r: or y). */
typedef struct {
  double slope, intercept, r;
  size_t n;
} lct_line_fit;
lct_line_fit lct_fit_line(const double *x, const double *y, size_t n);

/* How far apart the references are at one layer. */
typedef struct {
  int layer_pos;       /* position in scores->layers */
  int highest, lowest; /* references; -1 when every one is NaN */
  double spread, highest_value, lowest_value, mean;
} lct_layer_spread;

/* Averages over the snapshots of one role. */
typedef struct {
  size_t n_snapshots;
  double *by_source;            /* (source, reference, stat) f64 */
  double *curves;               /* (source, layer, reference) f64: cosine per layer */
  double *source_mean;          /* (source) f64: mean cosine over references */
  lct_layer_spread *spread;     /* (source, layer) */
  lct_layer_spread *spread_top; /* (source, layer) by falling spread; equal ones by layer, NaN last */
} lct_role_average;

/* What is left of the cosines without the offset that all references share. */
typedef struct {
  const lct_role_average *average; /* over the user's snapshots, where there are any, else over all */
  int *order;                      /* (n) references that have a contrast there, by falling contrast; equal ones as they stand */
  size_t n;
  double offset;                     /* mean cosine over references, of the average */
  double backbone_min, backbone_max; /* as the finding's, of contrasts */
  double first, last;                /* contrasts of the fading's first_ref and last_ref */
} lct_contrast_findings;

/* The published findings' numbers for this run. Values are NaN, indices -1, where the run has nothing to say. */
typedef struct {
  double backbone_min, backbone_max; /* 1: mean cosine to a reference over all snapshots, hidden_in and hidden_out */
  int backbone_min_ref, backbone_max_ref;
  double sublayer_min, sublayer_max; /* the same of attn_out and mlp_down_out */
  int sharpest_source;               /* 2: source whose user spread is looked at (hidden_in, else the first) */
  double gap[LCT_N_RESIDUAL];        /* 3: user minus assistant mean cosine */
  int *wins_user, *wins_all;         /* 4: (reference) snapshots it scores highest in */
  int n_user, n_all;                 /* snapshots with a highest reference */
  int default_user, default_all;     /* the reference with most wins; ties: the higher mean cosine */
  int first, last;                   /* 5: first and last user snapshot with a value */
  int first_ref, last_ref;           /* best references there */
  double first_value, last_value;    /* their cosines */
  double first_ref_at_last;          /* the first one's cosine at the last snapshot */
  lct_line_fit fade;                 /* best cosine over message index, user snapshots */
  lct_contrast_findings contrast;
} lct_findings;

typedef struct {
  const lct_scores *scores; /* borrowed */
  int pooling;
  int residual[LCT_N_RESIDUAL]; /* those whose means make "the mean over sources": indexes in scores->sources; -1: not in this run */
  double *reference_mean;       /* (snapshot, source, layer) f64: mean cosine over references */
  double *by_source;            /* (snapshot, source, reference, stat) f64: mean over layers */
  double *by_message;           /* (snapshot, reference, stat) f64: mean of the residual sources' means */
  int *best;                    /* (snapshot) reference of the highest mean cosine, the first of equals; -1: none */
  lct_role_average all, user, assistant;
  lct_series_stats *intra; /* (source, stat); NULL when the run has no intra_run */
  lct_findings findings;
  lct_arena arena;
} lct_analysis;

/* pooling: one of scores->poolings, else LCT_E_USAGE. scores must outlive the analysis. */
lct_status lct_analysis_run(const lct_scores *scores, const char *pooling, lct_analysis **out, lct_error *err) LCT_CHECKED;
void lct_analysis_free(lct_analysis *a);

/* Reading the arrays. */
double lct_analysis_message(const lct_analysis *a, size_t snapshot, size_t reference, lct_stat stat);
double lct_analysis_source(const lct_analysis *a, size_t snapshot, size_t source, size_t reference, lct_stat stat);
double lct_average_source(const lct_analysis *a, const lct_role_average *r, size_t source, size_t reference, lct_stat stat);
double lct_average_curve(const lct_analysis *a, const lct_role_average *r, size_t source, size_t layer, size_t reference);
/* Mean over the residual sources of an average's by_source. */
double lct_average_message(const lct_analysis *a, const lct_role_average *r, size_t reference, lct_stat stat);
/* Mean cosine over the references of lct_average_message. */
double lct_average_offset(const lct_analysis *a, const lct_role_average *r);

#endif
