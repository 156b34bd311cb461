/* A pass of a worker: the pool's entries, the client's takers, the keys, and the pass itself. */
#include "run/worker_impl.h"

typedef struct {
  const run_job *j;
  const lct_stage *stage;
} watcher;

static void on_layer(void *ctx, int layer) {
  const watcher *x = ctx;
  (void)layer;
  x->j->client->layer_done(x->j->client->ctx, x->stage->kind, x->stage->batch->n_rows);
}

lct_status run_stage(run_job *j, lct_stage *stage, const lct_pool_rows *rows, int32_t n, const lct_heads *heads, lct_kv *kv,
                     lct_error *err) {
  lct_worker *w = j->w;
  watcher watch = {j, stage};
  lct_pass pass = {.batch = stage->batch, .kv = kv, .cancel = j->client->cancel};
  if (heads != NULL) pass.heads = *heads;
  if (j->client->layer_done != NULL) {
    pass.layer_done = on_layer;
    pass.layer_ctx = &watch;
  }
  if (stage->pool != NULL) {
    lct_pool_begin(stage->pool, rows, n, stage->batch->n_rows);
    lct_taker taker = lct_pool_taker(stage->pool);
    LCT_TRY(lct_pass_add(&pass, &taker, err));
  }
  if (j->client->begin != NULL) LCT_TRY(j->client->begin(j->client->ctx, stage, &pass, err));
  double gemm = lct_engine_seconds_linear(w->engine);
  LCT_TRY(lct_pass_run(w->engine, &pass, err));
  w->stats.seconds_gemm += lct_engine_seconds_linear(w->engine) - gemm;
  w->stats.tokens_computed += stage->batch->n_rows;
  return LCT_OK;
}

void run_drop_keys(lct_worker *w) {
  lct_kv_free(w->engine, w->kv);
  w->kv = NULL;
  w->kv_cap = w->n_kept = 0;
}

lct_status run_reserve_keys(lct_worker *w, int32_t n_slots, lct_error *err) {
  if (n_slots <= w->kv_cap) return LCT_OK;
  run_drop_keys(w);
  int32_t n = w->o.keeps_prefix && n_slots < w->key_slots ? w->key_slots : n_slots;
  LCT_TRY(lct_kv_new(w->engine, n, &w->kv, err));
  w->kv_cap = n;
  return LCT_OK;
}

lct_status lct_stage_rows(const lct_stage *s, int32_t item, lct_arena *arena, const lct_row_range **out, int32_t *n, lct_error *err) {
  int32_t n_path = 0;
  const lct_kv_range *path = lct_plan_seq_ranges(s->plan, s->unit->items[item].seq, &n_path);
  lct_row_range *rows = lct_arena_alloc(arena, ((size_t)n_path + 1) * sizeof *rows);
  if (rows == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a prompt");
  *n = lct_cut_rows(s->cut, path, n_path, rows);
  *out = rows;
  return LCT_OK;
}

lct_status run_entries(lct_worker *w, const lct_place *places, const lct_cut_batch *cut, int32_t item, lct_pool_rows *out, lct_error *err) {
  lct_pool_entry *entries = lct_arena_alloc(&w->arena, (size_t)w->o.n_positions * sizeof *entries);
  if (entries == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  LCT_TRY(lct_pool_entries(places, w->o.n_positions, cut, &w->arena, entries, err));
  *out = (lct_pool_rows){.item = item, .entries = entries};
  return LCT_OK;
}
