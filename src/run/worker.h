/* A worker: everything that belongs to one device. It runs whole units, one at a time, and its results for a unit do not depend on the units
 * before: bit for bit those of any other worker. */
#ifndef LCT_RUN_WORKER_H
#define LCT_RUN_WORKER_H

#include "capture/pool.h"
#include "engine/pass.h"
#include "plan/cut.h"
#include "run/unit.h"
#include "subject/subject.h"

typedef struct {
  const lct_stream *streams; /* (n_streams) what is pooled; borrowed */
  int n_streams;
  const lct_position *positions;
  int n_positions;
  int64_t memory_bytes;    /* for batches, keys and vectors; 0: from what is free */
  int64_t extra_row_bytes; /* what a client keeps of every row */
  int32_t max_rows;        /* of a batch; 0: what memory holds, at most the device's */
  bool keeps_prefix;       /* keys of what a unit's prompts begin with serve the next unit */
} lct_worker_options;

typedef enum { LCT_STAGE_PREFILL, LCT_STAGE_STEP, LCT_STAGE_REPLY } lct_stage_kind;

/* One pass over a unit, or over a part of it. */
typedef struct {
  lct_stage_kind kind;
  const lct_unit *unit;
  const lct_batch *batch;
  const int32_t *items; /* (n_items) numbers of those whose rows are in the batch; none of a STEP */
  int32_t n_items;
  const lct_plan *plan; /* where the items lie; NULL: of a STEP, and of a REPLY over the prompts' keys, whose rows are what follows them */
  const lct_cut_batch *cut;      /* what of the plan's batch is in this one */
  lct_generation *const *active; /* (n_active) PREFILL: those whose first token it chooses; STEP: row i is active[i]'s */
  int32_t n_active;
  int32_t step;   /* STEP: from 1 */
  lct_pool *pool; /* vectors, NULL without streams: of items by their number; of a STEP one position, item i is active[i]'s row */
} lct_stage;
/* Rows of the batch that are an item's tokens, in order of position; the list is the arena's. Needs a plan. */
lct_status lct_stage_rows(const lct_stage *s, int32_t item, lct_arena *arena, const lct_row_range **out, int32_t *n,
                          lct_error *err) LCT_CHECKED;

/* What a client has to say of a worker's passes. Callbacks may be NULL; they run on the worker's thread. */
typedef struct {
  void *ctx;
  /* before the pass: takers may be added */
  lct_status (*begin)(void *ctx, const lct_stage *s, lct_pass *pass, lct_error *err);
  /* after it: vectors are in the pool, choices are recorded. *stop (STEP and PREFILL with generations): ends all generations here */
  lct_status (*end)(void *ctx, const lct_stage *s, bool *stop, lct_error *err);
  /* A generation has ended: makes the item g->reply (ids, content, roles, message), or leaves it without tokens. */
  lct_status (*reply)(void *ctx, lct_unit *u, lct_generation *g, lct_error *err);
  /* What passes over these items and their generations have done is taken back: memory was out, and they run again in smaller batches. */
  lct_status (*undo)(void *ctx, lct_unit *u, const int32_t *items, int32_t n, lct_error *err);
  /* after every layer of a pass of n rows */
  void (*layer_done)(void *ctx, lct_stage_kind kind, int32_t n_rows);
  const volatile int *cancel; /* NULL: it cannot be */
  bool whole_replies;         /* a reply's prompt runs again with it, so that all its rows are in one pass */
} lct_client;

/* Sums over the units so far. */
typedef struct {
  int64_t tokens_computed, tokens_naive, tokens_generated, tokens_from_prefix, batches;
  double seconds_prefill, seconds_decode, seconds_gemm;
  int32_t batch_rows_failed, batch_rows_shrunk_to; /* memory was out once; 0: it was not */
} lct_worker_stats;

typedef struct lct_worker lct_worker;
/* Makes the engine: weights are read. s is borrowed, and so are the options' lists. */
lct_status lct_worker_new(const lct_subject *s, const lct_worker_options *o, lct_worker **out, lct_error *err) LCT_CHECKED;
void lct_worker_free(lct_worker *w);
/* Runs a unit: prefill, generations, replies. Afterwards lct_worker_pool has the vectors of item i as its item i, until the next unit. */
lct_status lct_worker_run(lct_worker *w, lct_unit *u, const lct_client *client, lct_error *err) LCT_CHECKED;
lct_pool *lct_worker_pool(const lct_worker *w); /* NULL without streams */
lct_engine *lct_worker_engine(const lct_worker *w);
const lct_subject *lct_worker_subject(const lct_worker *w);
int32_t lct_worker_max_rows(const lct_worker *w);
const lct_worker_stats *lct_worker_get_stats(const lct_worker *w);

#endif
