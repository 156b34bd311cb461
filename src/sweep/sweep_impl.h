/* Inside a sweep. The planner (a thread of its own) reads conversations, tokenises them and groups them into units; the main thread runs a
 * unit's forward pass and hands its vectors to the sink, which scores, converts and fills the store's slots. */
#ifndef LCT_SWEEP_IMPL_H
#define LCT_SWEEP_IMPL_H

#include <pthread.h>

#include "base/clock.h"
#include "archive/facts.h"
#include "archive/journal.h"
#include "archive/lines.h"
#include "capture/pool.h"
#include "subject/device.h"
#include "score/fingerprint.h"
#include "store/zarr_write.h"
#include "scenario/input.h"
#include "run/axes.h"
#include "sweep/metrics_file.h"
#include "sweep/rates.h"
#include "text/prompt.h"

enum { SWEEP_INT8_GROUP = 128 };

typedef enum { SWEEP_AT_LAST, SWEEP_AT_CONTENT_LAST, SWEEP_AT_CONTENT_MEAN, SWEEP_AT_ROLE, SWEEP_AT_RANGE } sweep_at;
typedef struct {
  char name[64];
  sweep_at kind;
  int role;          /* SWEEP_AT_ROLE */
  int64_t from, to;  /* SWEEP_AT_RANGE, as Python's slices; to INT64_MAX: the end */
} sweep_position;

/* What is pooled together; the store's array is pooled/NAME. */
typedef struct {
  char name[32];
  lct_stream s;
  lct_plane *planes;
  bool stored;       /* false: only scored */
  lct_zarr_out *pooled, *pooled_scale, *tokens, *tokens_scale; /* NULL: not kept */
} sweep_stream;

/* A source as the user names it: where its layers' vectors are. */
typedef struct {
  lct_source source;
  int stream;
  int *planes; /* (n_layers of the sweep) */
} sweep_source;

/* One snapshot: one row of the store. */
typedef struct {
  int32_t n_tokens, shared; /* the first `shared` are those of the item before it; 0: it is its conversation's first */
  const int32_t *tail;      /* (n_tokens - shared) the ids behind them; the unit's arena's */
  uint64_t hash;            /* of all ids */
  const lct_positions *content; /* (message + 1) of every message so far */
  int32_t message;
  int role;
  int32_t seq;       /* in the unit's plan, -1: from the memo */
  int32_t need_from; /* first position whose row is looked at */
  bool sets_memo;
  lct_pool_entry *entries; /* (n_positions) */
} sweep_item;

/* Tokens of one conversation that are stored. */
typedef struct {
  int32_t item;     /* whose prompt they are of */
  lct_positions *ranges;
  int n_ranges;
  int64_t first;    /* row of tokens/… */
  int32_t n;
} sweep_tokens;

typedef struct sweep_unit {
  lct_arena arena;
  sweep_item *items;
  size_t n_items, cap_items;
  sweep_tokens *tokens;
  size_t n_tokens, cap_tokens;
  lct_plan *plan;     /* NULL: nothing to run */
  int32_t prefix;     /* tokens whose keys an earlier unit left in slots [0, prefix) */
  int64_t row0;       /* store row of item 0 */
  int64_t estimate;   /* tokens it will compute, about */
  int64_t naive;
  lct_buf messages, errors; /* lines */
  int64_t conversations, rejected, truncated, replaced, skipped_rows;
  int64_t bytes_read, bytes_total; /* of the input when it was cut */
  struct sweep_unit *next;
} sweep_unit;

/* Mean and sum of squared deviations of every vector element, by role, of the current shard of rows; finished shards are merged in order. */
typedef struct {
  int64_t n[LCT_N_ROLES];
} sweep_counts;
typedef struct {
  sweep_counts *n;      /* (n_positions) */
  double **mean, **m2;  /* (n_streams) each (position, plane, role, width) */
} sweep_moments;

/* The task that keeps a finished shard's moments, one shard at a time. */
typedef struct {
  lct_task *task; /* NULL: none runs */
  int64_t shard;
  sweep_moments moments; /* the task's while it runs, else empty */
  lct_status status;
  lct_error error;
} sweep_keeper;

typedef struct planner planner;

typedef struct {
  const lct_sweep_options *o;
  lct_sweep_result *result;
  char *model_path;
  lct_model *model;
  lct_config cfg;
  lct_tokenizer *tokenizer;
  lct_template template;
  lct_device device;
  lct_threads *threads;
  lct_engine *engine;
  lct_fingerprints *fingerprints;
  char fingerprints_hash[65];
  lct_scorer *scorer;
  lct_arena arena;
  /* axes */
  sweep_position *positions;
  int n_positions;
  int *layers;
  int n_layers;
  sweep_source *sources;
  int n_sources;
  sweep_stream *streams;
  int n_streams;
  int *metrics;
  int n_metrics;
  int *scored_positions, n_scored_positions; /* indexes; those the fingerprints have */
  int *scored_sources, n_scored_sources;
  unsigned char *tap_layers; /* (cfg.n_layers) */
  /* sizes */
  int32_t max_rows;   /* tokens a batch */
  int32_t kv_slots;
  int32_t max_tokens; /* of a prompt */
  int64_t chunk_rows, shard_rows, token_shard;
  /* running */
  lct_pool *pool;
  lct_kv *kv;
  int32_t kv_cap;
  float **memo;       /* (n_streams) each (position, plane, width): of the system message last seen */
  void **token_rows;  /* (n_streams) each (token, plane, width) stored type, of the unit */
  float **token_scales;
  size_t cap_token_rows;
  int32_t *token_of_row; /* built per unit, see tokens.c */
  /* the store */
  lct_zarr_writer *writer;
  lct_zarr_out *scores, *token_ids, *moments_n, **moments_mean, **moments_m2;
  float *score_buffer;
  size_t cap_scores;
  lct_sweep_asked asked;
  lct_lines messages, errors;
  lct_journal_out journal;
  struct json_t *arrays; /* metas, for sweep.json */
  sweep_moments part, whole; /* of the shard being filled; of those before (the keeper's while it runs) */
  sweep_keeper keeper;
  int64_t row_frontier, token_frontier; /* rows of the arrays of rows and of tokens that stand in all of them already */
  double *error2, *value2, *error_max; /* (n_streams) of the stored type */
  int64_t rows, tokens;  /* done so far */
  int64_t bytes_read, bytes_total;
  double t_start;
  lct_rates rates;
  lct_metrics_file metrics_file;
  planner *planner;
} sweep;

/* axes.c */
lct_status sweep_axes(sweep *s, lct_error *err) LCT_CHECKED;
void sweep_axes_free(sweep *s);
/* derive.c: LCT_E_USAGE says what of --derive residual does not go with the rest. */
lct_status sweep_check_derive(const lct_axes *a, const lct_sweep_options *o, const lct_device *d, lct_error *err) LCT_CHECKED;
/* planner.c */
lct_status sweep_planner_start(sweep *s, lct_input *in, lct_error *err) LCT_CHECKED;
/* The next unit, the caller's; NULL at the end. */
lct_status sweep_planner_next(sweep *s, sweep_unit **out, lct_error *err) LCT_CHECKED;
void sweep_planner_stop(sweep *s);
void sweep_unit_free(sweep_unit *u);
/* unit.c: tokenising a conversation into a unit's items, and planning the unit. */
typedef struct {
  lct_encoder *encoder;
  lct_prompts prompts;
  uint64_t *hashes;   /* (a prompt's tokens + 1) of the ids before each */
  size_t cap_hashes;
  int32_t *kept;  /* ids whose keys stand in slots [0, n_kept) when the next unit runs */
  int32_t n_kept;
  size_t cap_kept;
  int32_t *memo;  /* ids of the system snapshot whose vectors are kept */
  int32_t n_memo;
  size_t cap_memo;
  int64_t rows, token_rows; /* of the store so far */
} sweep_tokeniser;
/* A conversation's snapshots as items in the unit's arena; *n_items 0: it cannot be scanned, and reason says why (also when it was truncated). */
lct_status sweep_tokenise(const sweep *s, sweep_tokeniser *t, const lct_conversation *c, lct_arena *arena, sweep_item **items, size_t *n_items,
                          char reason[256], lct_error *err) LCT_CHECKED;
lct_status sweep_unit_add(const sweep *s, sweep_tokeniser *t, sweep_unit *u, const lct_conversation *c, sweep_item *items, size_t n,
                          int64_t estimate, lct_error *err) LCT_CHECKED;
int64_t sweep_estimate(const sweep_tokeniser *t, const sweep_item *items, size_t n);
lct_status sweep_unit_plan(const sweep *s, sweep_tokeniser *t, sweep_unit *u, lct_error *err) LCT_CHECKED;
/* Copies items with their lists into this arena. */
lct_status sweep_move_items(sweep_item **items, size_t n, lct_arena *arena, lct_error *err) LCT_CHECKED;
/* Ids [from, to) of item x, whose conversation's items before it precede it. */
void sweep_item_ids(const sweep_item *x, int32_t from, int32_t to, int32_t *out);
/* run.c */
lct_status sweep_run(sweep *s, lct_error *err) LCT_CHECKED;
/* store.c */
lct_status sweep_store_open(sweep *s, lct_error *err) LCT_CHECKED;
lct_status sweep_store_finish(sweep *s, lct_error *err) LCT_CHECKED;
void sweep_store_close(sweep *s);
void sweep_remove_parts(const char *output); /* of the moments: when they have become arrays */
/* sink.c */
lct_status sweep_sink(sweep *s, const sweep_unit *u, lct_error *err) LCT_CHECKED;
/* tokens.c */
uint32_t sweep_tokens_sources(const sweep *s); /* bits: whose rows are stored */
lct_status sweep_tokens_begin(sweep *s, const sweep_unit *u, lct_error *err) LCT_CHECKED;
lct_status sweep_tokens_take(sweep *s, const sweep_unit *u, lct_source src, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) LCT_CHECKED;
lct_status sweep_tokens_write(sweep *s, const sweep_unit *u, lct_error *err) LCT_CHECKED;
/* convert.c: n values (a multiple of a vector's width, n / width vectors) to the stored type. Returns what saturated. scales: int8 only. */
typedef struct {
  double error2, value2, max;
  size_t saturated;
} sweep_loss;
size_t sweep_stored_bytes(lct_stored t);
lct_zarr_dtype sweep_stored_dtype(lct_stored t);
int sweep_scales(int width); /* groups of a vector */
void sweep_convert(lct_stored t, const float *v, int width, void *out, float *scales, sweep_loss *loss);
/* convert (any order, on the threads) for items [0, n) of a stream; what they lose is added to the stream's. */
typedef void (*sweep_converter)(const void *ctx, int64_t item, sweep_loss *loss);
lct_status sweep_convert_all(sweep *s, int stream, int64_t n, sweep_converter convert, const void *ctx, lct_error *err) LCT_CHECKED;
/* moments.c */
lct_status sweep_moments_new(sweep *s, sweep_moments *m, lct_error *err) LCT_CHECKED;
void sweep_moments_free(const sweep *s, sweep_moments *m);
lct_status sweep_moments_add(sweep *s, const sweep_unit *u, int64_t from, int64_t to, lct_error *err) LCT_CHECKED; /* items [from, to) */
void sweep_moments_merge(const sweep *s, sweep_moments *into, sweep_moments *part); /* and empties part */
size_t sweep_moments_values(const sweep *s, int stream); /* of mean, and of m2 */
lct_status sweep_moments_write(sweep *s, lct_error *err) LCT_CHECKED;
/* parts.c */
/* Gives part, that of a whole shard, to the keeper: it goes into a file, the journal, and whole; part is empty again. Says how the shard before ended. */
lct_status sweep_parts_save(sweep *s, int64_t shard, lct_error *err) LCT_CHECKED;
/* Waits for the keeper. */
lct_status sweep_parts_join(sweep *s, lct_error *err) LCT_CHECKED;
lct_status sweep_parts_load(sweep *s, int64_t n_shards, int64_t *loaded, lct_error *err) LCT_CHECKED; /* into whole */
/* describe.c */
lct_status sweep_describe(sweep *s, lct_error *err) LCT_CHECKED; /* fills s->asked */
struct json_t *sweep_layers_json(const sweep *s); /* the numbers of the layers */
lct_status sweep_write_state(const sweep *s, const char *state, const char *error, lct_error *err) LCT_CHECKED;
void sweep_report(sweep *s, const char *phase);

#endif
