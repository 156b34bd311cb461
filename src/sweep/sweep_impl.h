/* Inside a sweep. The planner (a task of its own) reads conversations and makes units of them; the worker runs a unit, and the sink scores its
 * vectors, converts them and fills the store's slots. */
#ifndef LCT_SWEEP_IMPL_H
#define LCT_SWEEP_IMPL_H

#include <pthread.h>

#include "archive/facts.h"
#include "archive/journal.h"
#include "archive/lines.h"
#include "base/clock.h"
#include "run/axes.h"
#include "run/pipeline.h"
#include "scenario/input.h"
#include "store/zarr_write.h"
#include "sweep/metrics_file.h"
#include "sweep/rates.h"

enum { SWEEP_INT8_GROUP = 128, SWEEP_PIECE = 16 };

/* Tokens of one conversation that are stored. */
typedef struct {
  int32_t item; /* of the unit, whose prompt they are of */
  lct_token_range *ranges;
  int n_ranges;
  int64_t first; /* row of tokens/… */
  int32_t n;
} sweep_tokens;

/* What a sweep knows of a unit (lct_unit.client): an item is a snapshot, one row of the store. */
typedef struct {
  sweep_tokens *tokens;
  size_t n_tokens, cap_tokens;
  int64_t row0;             /* store row of item 0 */
  lct_buf messages, errors; /* lines */
  int64_t conversations, rejected, truncated, replaced, skipped_rows;
  int64_t bytes_read, bytes_total; /* of the input when the unit was cut */
} sweep_batch;

/* planner.c */
typedef struct {
  const lct_position *positions;
  int n_positions;
  const lct_subject *subject;
  int32_t max_rows;   /* tokens of a unit, about */
  int32_t max_tokens; /* of a prompt */
  lct_long too_long;
  bool stores_tokens;
  int64_t row_frontier, token_frontier; /* rows of the arrays of rows and of tokens that stand in all of them already */
} sweep_plan_options;

/* Reads the input in the background and makes units of it, a few ahead. */
typedef struct sweep_planner sweep_planner;
lct_status sweep_planner_start(const sweep_plan_options *o, lct_input *in, sweep_planner **out, lct_error *err) LCT_CHECKED;
/* The next unit, the caller's; NULL at the end. cancel as in lct_sweep_options: LCT_E_CANCELLED. */
lct_status sweep_planner_next(sweep_planner *p, const volatile int *cancel, lct_unit **out, lct_error *err) LCT_CHECKED;
void sweep_planner_free(sweep_planner *p);

/* snapshots.c: a conversation's snapshots as items. */
typedef struct {
  lct_encoder *encoder;
  lct_prompts prompts;
  uint64_t *hashes; /* (a prompt's tokens + 1) of the ids before each */
  size_t cap_hashes;
  int64_t rows, token_rows; /* of the store so far */
} sweep_tokeniser;
/* One conversation's, made in an arena. */
typedef struct {
  lct_item *items;
  uint64_t *hashes; /* (n) of each item's ids */
  int32_t n;        /* 0: it cannot be scanned */
  char reason[256]; /* why it cannot, or was truncated; "" */
} sweep_snapshots;
lct_status sweep_tokenise(const sweep_plan_options *o, sweep_tokeniser *t, const lct_conversation *c, lct_arena *arena,
                          sweep_snapshots *out, lct_error *err) LCT_CHECKED;
/* Copies items with their lists into this arena. */
lct_status sweep_move(sweep_snapshots *s, lct_arena *arena, lct_error *err) LCT_CHECKED;
lct_status sweep_unit_add(const sweep_plan_options *o, sweep_tokeniser *t, lct_unit *u, const lct_conversation *c, const sweep_snapshots *s,
                          int64_t estimate, lct_error *err) LCT_CHECKED;

/* stored_types.c: n values (a multiple of a vector's width, n / width vectors) to the stored type. scales: int8 only. */
typedef struct {
  double error2, value2, max;
  size_t saturated;
} sweep_loss;
size_t sweep_stored_bytes(lct_stored t);
lct_zarr_dtype sweep_stored_dtype(lct_stored t);
int sweep_scales(int width); /* groups of a vector */
void sweep_convert(lct_stored t, const float *v, int width, void *out, float *scales, sweep_loss *loss);
/* Of n vectors in pieces of SWEEP_PIECE; added up in order and freed, so that the sum does not depend on who was faster. */
lct_status sweep_losses_new(int64_t n, sweep_loss **out, lct_error *err) LCT_CHECKED;
void sweep_losses_add(sweep_loss *into, sweep_loss *own, int64_t n);

/* moments.c: mean and sum of squared deviations of every vector element, by role. */
typedef struct {
  int64_t n[LCT_N_ROLES];
} sweep_counts;
typedef struct {
  sweep_counts *n;     /* (n_positions) */
  double **mean, **m2; /* (n_streams) each (position, plane, role, width) */
} sweep_moments;
lct_status sweep_moments_new(const lct_axes *a, sweep_moments *m, lct_error *err) LCT_CHECKED;
void sweep_moments_free(const lct_axes *a, sweep_moments *m);
/* Adds items [from, to) of the unit. */
lct_status sweep_moments_add(const lct_axes *a, sweep_moments *m, const lct_unit *u, const lct_pool *pool, lct_threads *threads,
                             int64_t from, int64_t to, lct_error *err) LCT_CHECKED;
void sweep_moments_merge(const lct_axes *a, sweep_moments *into, sweep_moments *part); /* and empties part */
size_t sweep_moments_values(const lct_axes *a, int stream);                            /* of mean, and of m2 */

/* Where a stream goes; NULL: not kept. */
typedef struct {
  lct_zarr_out *pooled, *pooled_scale, *tokens, *tokens_scale, *mean, *m2;
  sweep_loss loss; /* of the stored type */
} sweep_out;

/* The task that keeps a finished shard's moments, one shard at a time. */
typedef struct {
  lct_task *task;
  int64_t shard;
  sweep_moments moments; /* the task's while it runs, else empty */
  lct_status status;
  lct_error error;
} sweep_keeper;

/* The store: what is written where, and what of it stands. */
typedef struct {
  const lct_sweep_options *o;
  const lct_axes *axes;
  const char *fingerprints_hash;
  lct_threads *threads;
  int64_t chunk_rows, shard_rows, token_shard;
  int64_t row_frontier, token_frontier; /* as in sweep_plan_options */
  lct_zarr_writer *writer;
  lct_zarr_out *scores, *token_ids, *moments_n;
  sweep_out *streams; /* (n_streams) */
  lct_lines messages, errors;
  lct_journal_out journal;
  struct json_t *arrays;     /* for sweep.json */
  sweep_moments part, whole; /* of the shard being filled; of those before (the keeper's while it runs) */
  sweep_keeper keeper;
} sweep_store;

/* --keep tokens: rows of the unit's stored tokens, in the stored type. */
typedef struct {
  void **rows; /* (n_streams) each (token, plane, width) stored type */
  float **scales;
  size_t cap;            /* tokens */
  int32_t *row_of_token; /* in the batch that is run; -1: it is not in it */
  int64_t n;             /* tokens of the unit */
} sweep_token_rows;

typedef struct {
  const lct_sweep_options *o;
  lct_sweep_result *result;
  lct_arena arena;
  lct_subject *subject;
  lct_fingerprints *fingerprints;
  char fingerprints_hash[65];
  lct_axes *axes;
  lct_worker *worker;
  sweep_planner *planner;
  lct_sweep_asked asked;
  sweep_store store;
  sweep_token_rows tokens_kept;
  float *score_buffer;
  size_t cap_scores;
  int32_t max_tokens;   /* of a prompt */
  int64_t rows, tokens; /* done so far */
  int64_t bytes_read, bytes_total;
  double t_start;
  lct_rates rates;
  lct_metrics_file metrics_file;
} sweep;

/* store.c: of a store whose options, axes, threads and sizes are set. */
lct_status sweep_store_open(sweep_store *s, const lct_sweep_asked *asked, lct_error *err) LCT_CHECKED;
lct_status sweep_store_finish(sweep_store *s, int64_t rows, lct_error *err) LCT_CHECKED;
void sweep_store_close(sweep_store *s);
/* store_arrays.c */
void sweep_store_choose_sizes(sweep_store *s); /* of chunks and shards */
lct_status sweep_store_add_arrays(sweep_store *s, lct_error *err) LCT_CHECKED;
lct_status sweep_store_write_moments(sweep_store *s, lct_error *err) LCT_CHECKED;
/* parts.c */
/* Gives part, that of a whole shard, to the keeper: it goes into a file, the journal, and whole; part is empty again. Says how the shard before ended. */
lct_status sweep_parts_save(sweep_store *s, int64_t shard, lct_error *err) LCT_CHECKED;
/* Waits for the keeper. */
lct_status sweep_parts_join(sweep_store *s, lct_error *err) LCT_CHECKED;
lct_status sweep_parts_load(sweep_store *s, int64_t n_shards, int64_t *loaded, lct_error *err) LCT_CHECKED; /* into whole */
void sweep_parts_remove(const char *output); /* when they have become arrays */
/* keep_tokens.c */
lct_status sweep_tokens_begin(sweep *s, const lct_stage *stage, lct_pass *pass, lct_error *err) LCT_CHECKED;
lct_status sweep_tokens_write(sweep *s, const lct_unit *u, lct_error *err) LCT_CHECKED;
void sweep_tokens_free(sweep *s);
/* fill_store.c: a sink. */
lct_status sweep_take_unit(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) LCT_CHECKED;
/* derive.c: LCT_E_USAGE says what of --derive residual does not go with the rest. */
lct_status sweep_check_derive(const lct_axes *a, const lct_sweep_options *o, const lct_device *d, lct_error *err) LCT_CHECKED;
/* describe.c */
lct_status sweep_describe(sweep *s, lct_error *err) LCT_CHECKED; /* fills s->asked */
size_t sweep_saturated(const sweep *s);                          /* values that became Inf in the stored type */
lct_status sweep_write_state(const sweep *s, const char *state, const char *error, lct_error *err) LCT_CHECKED;
/* show.c */
void sweep_show(sweep *s, const char *phase, lct_sweep_state state);

#endif
