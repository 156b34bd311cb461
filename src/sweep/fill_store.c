/* A unit's vectors on their way out: scores, stored types, moments. Rows below the frontier stand already and are left out. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

/* The first item that does not stand in the store. */
static int64_t first_new(const sweep *s, const lct_unit *u) {
  int64_t row0 = ((const sweep_batch *)u->client)->row0;
  return s->store.row_frontier > row0 ? s->store.row_frontier - row0 : 0;
}

static lct_status write_scores(sweep *s, const lct_unit *u, const lct_pool *pool, lct_error *err) {
  size_t row = lct_axes_score_floats(s->axes), need = row * (size_t)u->n_items;
  if (row == 0) return LCT_OK;
  if (need > s->cap_scores) {
    free(s->score_buffer);
    s->score_buffer = NULL;
    s->cap_scores = 0;
    LCT_TRY(lct_alloc_aligned(&s->score_buffer, need, sizeof *s->score_buffer, "scores", err));
    s->cap_scores = need;
  }
  lct_score_row *rows = NULL;
  LCT_TRY(lct_calloc(&rows, (size_t)u->n_items, sizeof *rows, "scores", err));
  for (int32_t i = 0; i < u->n_items; i++) {
    const lct_item *x = &u->items[i];
    rows[i] = (lct_score_row){.role = (int)x->roles[x->message], .n_tokens = x->content[x->message].to - x->content[x->message].from};
  }
  lct_status st = lct_axes_score(s->axes, pool, u->n_items, rows, s->subject->threads, s->score_buffer, err);
  free(rows);
  LCT_TRY(st);
  for (int64_t i = first_new(s, u); i < u->n_items;) {
    void *to = NULL;
    int64_t n = 0;
    LCT_TRY(lct_zarr_reserve(s->store.scores, u->n_items - i, &to, &n, err));
    memcpy(to, s->score_buffer + (size_t)i * row, (size_t)n * row * sizeof(float));
    LCT_TRY(lct_zarr_commit(s->store.scores, n, err));
    i += n;
  }
  return LCT_OK;
}

typedef struct {
  const sweep *s;
  const lct_pool *pool;
  int stream;
  int64_t first; /* item of rows[0] */
  char *rows;
  float *scales;
  sweep_loss *losses; /* (pieces) */
} converting;

/* Items [from, to) into rows of the store: (row, position, plane, width); scales (row, position, plane, groups). */
static lct_status convert_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  const converting *x = ctx;
  const lct_stream *t = &x->s->axes->streams[x->stream].s;
  lct_stored type = x->s->o->store_dtype;
  size_t width = (size_t)t->width, bytes = sweep_stored_bytes(type), groups = (size_t)sweep_scales(t->width);
  int cells = x->s->axes->n_positions * t->n_planes;
  (void)thread;
  (void)err;
  for (int64_t i = from; i < to; i++) {
    for (int k = 0; k < cells; k++) {
      const float *v = lct_pool_vectors(x->pool, x->stream, k / t->n_planes, k % t->n_planes) + (size_t)(x->first + i) * width;
      size_t at = (size_t)i * (size_t)cells + (size_t)k;
      sweep_convert(type, v, t->width, x->rows + at * width * bytes, x->scales != NULL ? x->scales + at * groups : NULL,
                    &x->losses[from / SWEEP_PIECE]);
    }
  }
  return LCT_OK;
}

static lct_status convert(sweep *s, const lct_pool *pool, int stream, int64_t first, int64_t n, void *rows, float *scales, lct_error *err) {
  converting x = {.s = s, .pool = pool, .stream = stream, .first = first, .rows = rows, .scales = scales};
  LCT_TRY(sweep_losses_new(n, &x.losses, err));
  lct_status st = lct_threads_for(s->subject->threads, n, SWEEP_PIECE, convert_rows, &x, err);
  sweep_losses_add(&s->store.streams[stream].loss, x.losses, n);
  return st;
}

static lct_status write_pooled(sweep *s, const lct_unit *u, const lct_pool *pool, int stream, lct_error *err) {
  sweep_out *t = &s->store.streams[stream];
  for (int64_t i = first_new(s, u); i < u->n_items;) {
    void *rows = NULL, *scales = NULL;
    int64_t n = 0, m = 0;
    LCT_TRY(lct_zarr_reserve(t->pooled, u->n_items - i, &rows, &n, err));
    if (t->pooled_scale != NULL) { /* both arrays have the same chunks */
      LCT_TRY(lct_zarr_reserve(t->pooled_scale, n, &scales, &m, err));
      if (m < n) n = m;
    }
    LCT_TRY(convert(s, pool, stream, i, n, rows, scales, err));
    LCT_TRY(lct_zarr_commit(t->pooled, n, err));
    if (t->pooled_scale != NULL) LCT_TRY(lct_zarr_commit(t->pooled_scale, n, err));
    i += n;
  }
  return LCT_OK;
}

/* Shard by shard of rows. */
static lct_status add_moments(sweep *s, const lct_unit *u, const lct_pool *pool, lct_error *err) {
  sweep_store *store = &s->store;
  int64_t i = first_new(s, u), row0 = ((const sweep_batch *)u->client)->row0;
  while (i < u->n_items) {
    int64_t in_shard = store->shard_rows - (row0 + i) % store->shard_rows, n = u->n_items - i;
    if (n > in_shard) n = in_shard;
    LCT_TRY(sweep_moments_add(s->axes, &store->part, u, pool, store->threads, i, i + n, err));
    i += n;
    if (n == in_shard) LCT_TRY(sweep_parts_save(store, (row0 + i) / store->shard_rows - 1, err));
  }
  return LCT_OK;
}

static lct_status fill(sweep *s, const lct_unit *u, const lct_pool *pool, lct_error *err) {
  const sweep_batch *b = u->client;
  LCT_TRY(lct_lines_append(&s->store.messages, &b->messages, err));
  LCT_TRY(lct_lines_append(&s->store.errors, &b->errors, err));
  if (u->n_items == 0) return LCT_OK;
  LCT_TRY(write_scores(s, u, pool, err));
  for (int i = 0; i < s->axes->n_streams; i++) {
    if (s->store.streams[i].pooled != NULL) LCT_TRY(write_pooled(s, u, pool, i, err));
  }
  if (s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(sweep_tokens_write(s, u, err));
  return add_moments(s, u, pool, err);
}

static void count(sweep *s, const lct_unit *u) {
  const sweep_batch *b = u->client;
  lct_sweep_result *r = s->result;
  r->conversations += b->conversations;
  r->rejected += b->rejected;
  r->truncated += b->truncated;
  r->utf8_replaced += (size_t)b->replaced;
  r->rows_resumed += b->skipped_rows;
  s->rows += b->skipped_rows + u->n_items;
  s->bytes_read = b->bytes_read;
  s->bytes_total = b->bytes_total;
}

lct_status sweep_take_unit(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) {
  sweep *s = ctx;
  double t0 = lct_seconds();
  if (s->o->keep != LCT_KEEP_NOTHING) LCT_TRY(fill(s, u, lct_worker_pool(w), err));
  s->result->seconds.sink += lct_seconds() - t0;
  count(s, u);
  sweep_show(s, "sweep", LCT_SWEEP_RUNNING);
  return LCT_OK;
}
