/* A sweep's directory, read: rows, vectors under the names of their sources, scores; checked from end to end. Also one that is still being
 * written or was interrupted: then the rows are those that stand in every array, as the journal says.
 * Not for two threads at once. */
#ifndef LCT_ARCHIVE_H
#define LCT_ARCHIVE_H

#include "store/zarr_read.h"

struct json_t;

typedef struct {
  const char *const *names;
  int n;
} lct_names;

/* Everything is the archive's. */
typedef struct {
  const char *dir, *state, *keep, *store_dtype, *template_name, *template_hash, *precision, *device;
  bool done, derived;      /* state is done; the residual stream is derived from its addends */
  int64_t n_rows;          /* that stand in messages.jsonl and in every array of rows */
  int64_t n_tokens;        /* rows that stand in every array of tokens */
  int64_t n_messages;      /* lines of messages.jsonl */
  int64_t n_conversations; /* different ids in messages.jsonl */
  int64_t n_rejected;
  struct {
    const char *id, *hash;
    int n_layers, hidden;
  } model;
  lct_names positions, sources; /* as asked of the sweep */
  int *layers;
  int n_layers;
  struct { /* the axes of `scores` */
    lct_names positions, sources, references, metrics;
    int *layers;
    int n_layers;
    int64_t n; /* scores a row; 0: there are none */
  } scores;
  const struct json_t *json; /* sweep.json */
} lct_archive_info;

typedef struct lct_archive lct_archive;

/* LCT_E_IO, LCT_E_FORMAT: no sweep here, or one whose sweep.json, journal or messages.jsonl cannot be read. */
lct_status lct_archive_open(const char *dir, lct_archive **out, lct_error *err) LCT_CHECKED;
void lct_archive_free(lct_archive *a);
const lct_archive_info *lct_archive_get_info(const lct_archive *a);

/* One row of messages.jsonl. Strings are valid until the next call of lct_archive_row or lct_archive_find. */
typedef struct {
  int64_t row;
  const char *id, *role, *label; /* label NULL: none */
  int message;
  int32_t n_tokens; /* of the snapshot's prompt */
  int32_t content_from, content_to;
  int64_t first_token, n_stored; /* rows of tokens/…; n_stored 0: none */
} lct_archive_row_info;
lct_status lct_archive_row(lct_archive *a, int64_t row, lct_archive_row_info *out, lct_error *err) LCT_CHECKED;
/* The conversation's first row; LCT_E_USAGE when there is no such id. */
lct_status lct_archive_find(lct_archive *a, const char *id, int64_t *row, lct_error *err) LCT_CHECKED;

/* Vectors of `source` at `layer`, (n, width) f32 whatever the stored type, from the array of that name, from the residual stream's planes, or
 * added up (--derive residual: embeddings, then attn_out and mlp_down_out layer by layer, each addition rounded to float32).
 * LCT_E_USAGE says what there is. Going up through the layers with the same rows costs one read each. */
lct_status lct_archive_width(lct_archive *a, bool tokens, const char *source, int *width, lct_error *err) LCT_CHECKED;
lct_status lct_archive_vectors(lct_archive *a, const char *source, const char *position, int layer, int64_t first_row, size_t n, float *out,
                               lct_error *err) LCT_CHECKED;
/* The same of stored tokens: rows of tokens/SOURCE. */
lct_status lct_archive_token_vectors(lct_archive *a, const char *source, int layer, int64_t first_token, size_t n, float *out,
                                     lct_error *err) LCT_CHECKED;
lct_status lct_archive_token_ids(lct_archive *a, int64_t first_token, size_t n, int32_t *out, lct_error *err) LCT_CHECKED;
/* From now on the scores are those of DIR/scores/NAME.zarr, which `lct_score` wrote, and the info's axes of scores theirs. Once an archive. */
lct_status lct_archive_use_scores(lct_archive *a, const char *name, lct_error *err) LCT_CHECKED;
/* (n, scored positions, scored sources, scored layers, references, metrics) f32. */
lct_status lct_archive_scores(lct_archive *a, int64_t first_row, size_t n, float *out, lct_error *err) LCT_CHECKED;

/* Mean and standard deviation over the whole sweep, all roles together, of (source, position, layer): what calibrates scores with the sweep
 * itself. (width) each; *count vectors. LCT_E_USAGE when the sweep is not done. */
lct_status lct_archive_moments(lct_archive *a, const char *source, const char *position, int layer, double *mean, double *sigma,
                               int64_t *count, lct_error *err) LCT_CHECKED;

typedef struct {
  const char *name;
  const lct_zarr_meta *meta;      /* shape[0] as it stands */
  int64_t n_shards, stored_bytes; /* in the journal */
} lct_archive_array;
size_t lct_archive_n_arrays(const lct_archive *a);
lct_archive_array lct_archive_array_at(const lct_archive *a, size_t i);

/* Everything: each shard's size against the journal, each checksum, zarr.json against sweep.json, rows against messages.jsonl; also the
 * arrays in DIR/scores. */
lct_status lct_archive_verify(lct_archive *a, lct_zarr_fault fault, void *ctx, int64_t *n_faults, lct_error *err) LCT_CHECKED;

#endif
