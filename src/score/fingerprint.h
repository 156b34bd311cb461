/* Fingerprints: reference vectors of labels, with what calibrates their scores, in one .safetensors file.
 *
 *   LABEL/POOLING/SOURCE          [layers, hidden] f32       mean over the label's prompts
 *   neutral/POOLING/SOURCE/mean   [layers, hidden] f32       and sigma; pcs [layers, k, hidden] f32 unit rows, pc_var [layers, k]
 *   neutral/POOLING/SOURCE/z      [layers, labels, bins, 2] f32  mean and sd of the neutral bank's cosines, bins = roles x length bins
 *   neutral/POOLING/SOURCE/whiten [layers, hidden, hidden] f32   W, and shrinkage [layers]: only when asked for (it is large)
 * "/" and "%" in labels are written %2F and %25. Metadata (strings): format "llmct-fingerprints", version, model_hash, template_hash,
 * model_id, template_name, precision, hidden, layers; labels, poolings, sources (JSON lists); prompts (JSON {label: n}); split_half (JSON
 * {label: {pooling: {source: [layers]}}}, null where a label has one prompt); neutral (JSON {prompts, pcs, whiten}; absent without a
 * bank). */
#ifndef LCT_SCORE_FINGERPRINT_H
#define LCT_SCORE_FINGERPRINT_H

#include "score/score.h"

/* roles system, user, assistant; lengths: floor(log2(tokens of the message)) clamped to 0..7 */
enum { LCT_Z_ROLES = 3, LCT_Z_LENGTHS = 8 };

enum { LCT_FINGERPRINT_VERSION = 1, LCT_FINGERPRINT_MAX_NAMES = 4096 /* labels */ };

struct lct_fingerprints {
  char *model_hash, *template_hash, *model_id, *template_name, *precision;
  int n_layers, hidden, n_labels, n_poolings, n_sources;
  char **labels, **poolings, **sources;
  int64_t *n_prompts; /* (n_labels) */
  float *vectors;     /* (n_labels, n_poolings, n_sources, n_layers, hidden) */
  float *split_half;  /* (n_labels, n_poolings, n_sources, n_layers) cosine of the two halves' means; NaN with fewer than two prompts */
  /* the neutral bank; 0 and NULL when there is none */
  int64_t n_neutral;
  float *mean, *sigma; /* (n_poolings, n_sources, n_layers, hidden) */
  int n_pcs;
  float *pcs, *pc_var; /* (n_poolings, n_sources, n_layers, n_pcs, hidden), (…, n_pcs) */
  float *whiten;       /* (n_poolings, n_sources, n_layers, hidden, hidden), NULL unless made */
  float *shrinkage;    /* (n_poolings, n_sources, n_layers) of whiten's covariance, NULL without it */
  float *z;            /* (n_poolings, n_sources, n_layers, n_labels, LCT_Z_ROLES * LCT_Z_LENGTHS, 2) */
};

/* Everything named and allocated: strings copied, vectors, split_half and, with n_neutral > 0, mean to z zeroed (pcs with n_pcs > 0, whiten
 * and shrinkage with `whiten`). The texts of `names` and the numbers n_* , hidden are read; its arrays of numbers are not. */
lct_status lct_fingerprints_new(const lct_fingerprints *names, bool whiten, lct_fingerprints **out, lct_error *err) LCT_CHECKED;
/* Number of (pooling, source, layer) among a bank's places, and of a label's among all. */
static inline size_t lct_fingerprints_place(const lct_fingerprints *f, int pooling, int source, int layer) {
  return ((size_t)pooling * (size_t)f->n_sources + (size_t)source) * (size_t)f->n_layers + (size_t)layer;
}
static inline size_t lct_fingerprints_n_places(const lct_fingerprints *f) { return lct_fingerprints_place(f, f->n_poolings, 0, 0); }
/* (hidden) f32 of a label at a place. */
static inline float *lct_fingerprints_vector(const lct_fingerprints *f, int label, size_t place) {
  return f->vectors + ((size_t)label * lct_fingerprints_n_places(f) + place) * (size_t)f->hidden;
}
/* 0 .. LCT_Z_ROLES * LCT_Z_LENGTHS - 1. */
int lct_z_bin(int role, int32_t n_tokens);

/* What lct_fingerprints_open does with a file's bytes: every name, shape and list is checked before anything is allocated by it; a vector with
 * NaN or Inf is LCT_E_NUMERIC. `file` names them in messages. */
lct_status lct_fingerprints_parse(const unsigned char *data, size_t n, const char *file, lct_fingerprints **out,
                                  lct_error *err) LCT_CHECKED;
lct_status lct_fingerprints_save(const lct_fingerprints *f, const char *path, lct_error *err) LCT_CHECKED;
/* LCT_E_USAGE says which of model, template, number of layers, hidden size, pooling, source differs or is missing. */
lct_status lct_fingerprints_check(const lct_fingerprints *f, const char *path, const char *model_hash, const char *template_hash,
                                  int n_layers, int hidden, lct_error *err) LCT_CHECKED;
/* SHA-256 of the file's bytes is the fingerprints' hash: base/file.h. */

/* Scores many vectors against all labels at once. Immutable after making: may be shared by threads, each with its own scratch. */
typedef struct lct_scorer lct_scorer;
typedef struct {
  const int *metrics; /* (n_metrics) of lct_any_metric_name, in the order of the output */
  int n_metrics;
  const char *const *poolings, *const *sources; /* by name, the order of the output; each must be in f: LCT_E_USAGE says which is not */
  int n_poolings, n_sources;
  const int *layers;
  int n_layers;
} lct_score_axes;
/* LCT_E_USAGE when a metric needs what f does not have (a neutral bank, whiten). f is borrowed. */
lct_status lct_scorer_new(const lct_fingerprints *f, const lct_score_axes *axes, lct_scorer **out, lct_error *err) LCT_CHECKED;
void lct_scorer_free(lct_scorer *s);
/* What `z` and its contrast need of a row. */
typedef struct {
  int role;         /* 0 system, 1 user, 2 assistant */
  int32_t n_tokens; /* of the message's own text */
} lct_score_row;
/* vectors (n, hidden) f32 with leading dimension ld of one (pooling, source, layer), each an index into axes' lists;
 * out[i * out_ld + reference * n_metrics + metric]. The legacy metrics are lct_score_block's, bit for bit; those that need a bank are
 * NaN of a vector with NaN or Inf, or of zeros. rows may be NULL unless z or its contrast is asked for. Results depend on the row alone, bit
 * for bit. */
lct_status lct_scorer_run(const lct_scorer *s, int pooling, int source, int layer, const float *vectors, int64_t ld, size_t n,
                          const lct_score_row *rows, float *out, int64_t out_ld, lct_error *err) LCT_CHECKED;

#endif
