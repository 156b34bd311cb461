/* Units through the model, one after the other. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

typedef struct {
  sweep *s;
  const sweep_unit *u;
} pass;

static lct_status on_tokens(void *ctx, lct_source src, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  const pass *p = ctx;
  return sweep_tokens_take(p->s, p->u, src, layer, row0, n, data, ld, err);
}

static void on_layer(void *ctx, int layer) {
  (void)layer;
  sweep_report(ctx, "sweep");
}

static float *memo_vector(const sweep *s, int stream, int position, int plane) {
  const lct_stream *t = &s->streams[stream].s;
  return s->memo[stream] + ((size_t)position * (size_t)t->n_planes + (size_t)plane) * (size_t)t->width;
}

/* Copies an item's vectors from the memo, or into it. */
static void copy_memo(sweep *s, size_t item, bool into) {
  for (int i = 0; i < s->n_streams; i++) {
    const lct_stream *t = &s->streams[i].s;
    for (int k = 0; k < s->n_positions * t->n_planes; k++) {
      float *v = lct_pool_vectors(s->pool, i, k / t->n_planes, k % t->n_planes) + item * (size_t)t->width;
      float *m = memo_vector(s, i, k / t->n_planes, k % t->n_planes);
      memcpy(into ? m : v, into ? v : m, (size_t)t->width * sizeof *v);
    }
  }
}

static void use_memo(sweep *s, const sweep_unit *u) {
  for (size_t i = 0; i < u->n_items; i++) {
    if (u->items[i].seq < 0) copy_memo(s, i, false);
  }
}

static void set_memo(sweep *s, const sweep_unit *u) {
  for (size_t i = 0; i < u->n_items; i++) {
    if (u->items[i].sets_memo) copy_memo(s, i, true);
  }
}

/* Keys for all layers stay between units, so that the next one finds the prefix. The planner never counts on a prefix where they must grow. */
static lct_status reserve_keys(sweep *s, int32_t n_slots, lct_error *err) {
  if (n_slots <= s->kv_cap) return LCT_OK;
  lct_kv_free(s->engine, s->kv);
  s->kv = NULL;
  s->kv_cap = 0;
  int32_t n = n_slots > s->kv_slots ? n_slots : s->kv_slots;
  LCT_TRY(lct_kv_new(s->engine, n, &s->kv, err));
  s->kv_cap = n;
  return LCT_OK;
}

static lct_status forward(sweep *s, const sweep_unit *u, lct_error *err) {
  const lct_batch *batch = lct_plan_batch(u->plan, 0);
  pass p = {s, u};
  lct_pass f = {.batch = batch, .layer_done = on_layer, .layer_ctx = s, .cancel = s->o->cancel};
  if (s->pool != NULL) {
    lct_taker vectors = lct_pool_taker(s->pool);
    LCT_TRY(lct_pass_add(&f, &vectors, err));
  }
  if (s->pool != NULL && u->n_tokens > 0) {
    lct_taker tokens = {.ctx = &p, .sources = sweep_tokens_sources(s), .layers = s->tap_layers, .rows = on_tokens};
    LCT_TRY(lct_pass_add(&f, &tokens, err));
  }
  double t0 = lct_seconds(), gemm = lct_engine_seconds_linear(s->engine);
  lct_status st = reserve_keys(s, batch->n_slots, err);
  f.kv = s->kv;
  if (st == LCT_OK) st = lct_pass_run(s->engine, &f, err);
  if (st == LCT_E_NOMEM && s->device.gpu) {
    st = lct_fail_context(err, st, "a batch of %d tokens and keys for %d does not fit %s; --memory makes batches smaller", batch->n_rows,
                          batch->n_slots, s->device.label);
  }
  s->result->seconds.forward += lct_seconds() - t0;
  s->result->seconds.gemm += lct_engine_seconds_linear(s->engine) - gemm;
  s->result->tokens_computed += batch->n_rows;
  s->result->batches++;
  return st;
}

static lct_status begin_pool(sweep *s, sweep_unit *u, lct_error *err) {
  lct_pool_rows *rows = lct_arena_alloc(&u->arena, u->n_items * sizeof *rows);
  if (rows == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  int n = 0;
  for (size_t i = 0; i < u->n_items; i++) {
    if (u->items[i].seq >= 0) rows[n++] = (lct_pool_rows){.item = (int32_t)i, .entries = u->items[i].entries};
  }
  LCT_TRY(lct_pool_reserve(s->pool, (int32_t)u->n_items, err));
  lct_pool_begin(s->pool, rows, n, u->plan != NULL ? lct_plan_batch(u->plan, 0)->n_rows : 0);
  return LCT_OK;
}

static void count_unit(sweep *s, const sweep_unit *u) {
  lct_sweep_result *r = s->result;
  r->conversations += u->conversations;
  r->rejected += u->rejected;
  r->truncated += u->truncated;
  r->utf8_replaced += (size_t)u->replaced;
  r->tokens_naive += u->naive;
  r->tokens_from_prefix += u->prefix;
  r->rows_resumed += u->skipped_rows;
  s->rows += u->skipped_rows + (int64_t)u->n_items;
  s->bytes_read = u->bytes_read;
  s->bytes_total = u->bytes_total;
}

static lct_status run_unit(sweep *s, sweep_unit *u, lct_error *err) {
  bool keeps = s->pool != NULL;
  if (keeps && u->n_items > 0) LCT_TRY(begin_pool(s, u, err));
  if (keeps && u->n_tokens > 0) LCT_TRY(sweep_tokens_begin(s, u, err));
  if (u->plan != NULL) LCT_TRY(forward(s, u, err));
  double t0 = lct_seconds();
  if (keeps && u->n_items > 0) {
    use_memo(s, u);
    set_memo(s, u);
  }
  if (keeps) LCT_TRY(sweep_sink(s, u, err));
  s->result->seconds.sink += lct_seconds() - t0;
  count_unit(s, u);
  sweep_report(s, "sweep");
  return LCT_OK;
}

lct_status sweep_run(sweep *s, lct_error *err) {
  for (;;) {
    if (s->o->cancel != NULL && *s->o->cancel) return lct_fail(err, LCT_E_CANCELLED, "interrupted after %lld snapshots", (long long)s->rows);
    sweep_unit *u = NULL;
    double t0 = lct_seconds();
    LCT_TRY(sweep_planner_next(s, &u, err));
    s->result->seconds.input += lct_seconds() - t0;
    if (u == NULL) return LCT_OK;
    lct_status st = run_unit(s, u, err);
    sweep_unit_free(u);
    LCT_TRY(st);
  }
}
