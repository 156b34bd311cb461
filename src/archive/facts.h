/* sweep.json: what was asked of a sweep, what it ran on, how it stands. Written here, read by lct_archive_open and lct_sweep_read_done. */
#ifndef LCT_ARCHIVE_FACTS_H
#define LCT_ARCHIVE_FACTS_H

#include <jansson.h>

#include "archive/archive.h"

const char *lct_keep_name(lct_keep k);     /* "scores", "pooled", "tokens" */
const char *lct_stored_name(lct_stored t); /* "f16", "bf16", "f32", "int8" */

/* What was asked. Everything is borrowed. */
typedef struct {
  const char *model_hash, *template_name, *template_hash, *precision;
  bool gpu;
  lct_names inputs;
  lct_keep keep;
  lct_stored store_dtype;
  bool derive_residual;
  lct_names positions, sources, metrics;
  const int *layers;
  int n_layers;
  const char *fingerprints; /* their file; NULL: none */
  const char *fingerprints_hash;
  lct_names labels; /* of the fingerprints */
  int64_t shard_rows, token_shard;
  lct_long too_long;
  int max_tokens;
} lct_sweep_asked;

/* What a resumed sweep must have in common, for the journal's head; the caller's. NULL: out of memory. */
json_t *lct_sweep_config_json(const lct_sweep_asked *q);

/* What the stored type cost the vectors of a stream. */
typedef struct {
  const char *stream;
  double relative_l2, max_abs;
} lct_store_error;

/* How it stands. Everything is borrowed. */
typedef struct {
  const lct_sweep_asked *asked;
  const lct_sweep_result *result; /* counts, seconds, device */
  const char *state;              /* "running", "done", "interrupted", "failed" */
  const char *error;              /* NULL: none */
  const char *llmct_version;
  json_t *model, *machine;
  json_t *arrays;                /* list of lct_sweep_array_json, whatever rows they say */
  const lct_store_error *errors; /* (n_errors) */
  int n_errors;
} lct_sweep_facts;

/* An array of the store as sweep.json says it, the caller's; attributes are borrowed. NULL: out of memory. */
json_t *lct_sweep_array_json(const char *name, const lct_zarr_meta *m, json_t *attributes);
/* Writes DIR/sweep.json whole or not at all. */
lct_status lct_sweep_facts_write(const char *dir, const lct_sweep_facts *f, lct_error *err) LCT_CHECKED;
bool lct_sweep_is_in(const char *dir); /* whether there is a DIR/sweep.json */
/* Whether DIR/sweep.json says that the sweep is done: then its counts are in *r. */
bool lct_sweep_read_done(const char *dir, lct_sweep_result *r);

#endif
