/* Inside a worker. */
#ifndef LCT_RUN_WORKER_IMPL_H
#define LCT_RUN_WORKER_IMPL_H

#include "base/clock.h"
#include "run/worker.h"

struct lct_worker {
  const lct_subject *subject;
  lct_worker_options o;
  lct_engine *engine;
  lct_pool *pool, *step_pool;
  int32_t max_rows;  /* tokens a batch may have */
  int32_t key_slots; /* of the keys that stay between units: a kept prefix and a batch */
  lct_kv *kv;
  int32_t kv_cap;
  int32_t *kept; /* ids of positions [0, n_kept), whose keys stand in slots [0, n_kept) */
  int32_t n_kept;
  size_t cap_kept;
  float **memo; /* (n_streams) each (position, plane, width): vectors of the opener last computed */
  int32_t *memo_ids;
  int32_t n_memo;
  size_t cap_memo;
  lct_worker_stats stats;
  lct_arena arena; /* of the unit */
};

/* A unit being run. */
typedef struct {
  lct_worker *w;
  lct_unit *u;
  const lct_client *client;
} run_job;

/* A batch of it. */
typedef struct {
  run_job *j;
  lct_stage stage;
  lct_cut_batch cut;
  lct_generation **generations; /* (n) those that go on from its items */
  int32_t n_generations;
  int32_t n_slots; /* of keys: of the batch, of generated tokens, of replies */
  int32_t reply0;  /* first slot of replies */
} run_batch;

/* stage.c: runs stage->batch with the pool's entries (n), the client's takers and heads; kv as in lct_pass. */
lct_status run_stage(run_job *j, lct_stage *stage, const lct_pool_rows *rows, int32_t n, const lct_heads *heads, lct_kv *kv,
                     lct_error *err) LCT_CHECKED;
/* The rows that an item's places are: the pool's entries, the worker's arena's. */
lct_status run_entries(lct_worker *w, const lct_place *places, const lct_cut_batch *cut, int32_t item, lct_pool_rows *out,
                       lct_error *err) LCT_CHECKED;
/* Keys of at least n_slots, the same object as long as it is large enough. */
lct_status run_reserve_keys(lct_worker *w, int32_t n_slots, lct_error *err) LCT_CHECKED;
/* Their memory is free: batches that did not fit beside them may fit without. */
void run_drop_keys(lct_worker *w);

/* heads.c */
/* Heads for the next token of each of n generations, whose rows these are; run_heads_take records what was chosen, or frees it all. */
lct_status run_heads(run_job *j, lct_generation *const *g, int32_t n, const int32_t *rows, lct_heads *out, lct_error *err) LCT_CHECKED;
void run_heads_take(run_job *j, lct_generation *const *g, lct_heads *heads, bool chosen);
/* prefill.c: the prefill of a batch, and the first tokens of its generations. */
lct_status run_prefill(run_batch *b, lct_kv *kv, bool *stop, lct_error *err) LCT_CHECKED;
/* generate.c */
lct_status run_generate(run_batch *b, bool stop, lct_error *err) LCT_CHECKED;

/* replies.c */
lct_status run_replies(run_batch *b, lct_error *err) LCT_CHECKED;

/* memo.c: what an opener's vectors are is known from the unit before. */
bool run_memo_has(const lct_worker *w, const lct_item *x);
lct_status run_memo_set(lct_worker *w, int32_t item, const lct_item *x, lct_error *err) LCT_CHECKED;
void run_memo_get(lct_worker *w, int32_t item);

#endif
