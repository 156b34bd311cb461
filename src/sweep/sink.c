/* A unit's vectors on their way out: scores, stored types, moments. Rows below the frontier stand already and are left out. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

/* The first item that does not stand in the store. */
static int64_t first_new(const sweep *s, const sweep_unit *u) { return s->row_frontier > u->row0 ? s->row_frontier - u->row0 : 0; }

static size_t score_row(const sweep *s) {
  return (size_t)s->n_scored_positions * (size_t)s->n_scored_sources * (size_t)s->n_layers * (size_t)s->fingerprints->n_labels *
         (size_t)s->n_metrics;
}

typedef struct {
  sweep *s;
  const sweep_unit *u;
  const lct_score_row *rows;
  size_t row; /* floats of one row of the store */
} scoring;

/* One (position, source, layer) of all items. */
static lct_status score_one(const scoring *k, int number, lct_error *err) {
  const sweep *s = k->s;
  int layer = number % s->n_layers, source = number / s->n_layers % s->n_scored_sources, position = number / s->n_layers / s->n_scored_sources;
  const sweep_source *x = &s->sources[s->scored_sources[source]];
  const float *vectors = lct_pool_vectors(s->pool, x->stream, s->scored_positions[position], x->planes[layer]);
  size_t cell = (size_t)s->fingerprints->n_labels * (size_t)s->n_metrics;
  return lct_scorer_run(s->scorer, position, source, layer, vectors, s->streams[x->stream].s.width, k->u->n_items, k->rows,
                        s->score_buffer + (size_t)number * cell, (int64_t)k->row, err);
}

static lct_status score_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  for (int64_t i = from; i < to; i++) LCT_TRY(score_one(ctx, (int)i, err));
  return LCT_OK;
}

static lct_status write_scores(sweep *s, const sweep_unit *u, lct_error *err) {
  if (s->scorer == NULL) return LCT_OK;
  size_t row = score_row(s), need = row * u->n_items;
  if (need > s->cap_scores) {
    free(s->score_buffer);
    s->score_buffer = NULL;
    LCT_TRY(lct_alloc_aligned(&s->score_buffer, need, sizeof *s->score_buffer, "scores", err));
    s->cap_scores = need;
  }
  lct_score_row *rows = NULL;
  LCT_TRY(lct_calloc(&rows, u->n_items, sizeof *rows, "scores", err));
  for (size_t i = 0; i < u->n_items; i++) {
    const lct_positions *own = &u->items[i].content[u->items[i].message];
    rows[i] = (lct_score_row){.role = u->items[i].role, .n_tokens = own->to - own->from};
  }
  scoring k = {.s = s, .u = u, .rows = rows, .row = row};
  lct_status st = lct_threads_for(s->threads, (int64_t)s->n_scored_positions * s->n_scored_sources * s->n_layers, 1, score_some, &k, err);
  free(rows);
  LCT_TRY(st);
  for (int64_t i = first_new(s, u); i < (int64_t)u->n_items;) {
    void *to = NULL;
    int64_t n = 0;
    LCT_TRY(lct_zarr_reserve(s->scores, (int64_t)u->n_items - i, &to, &n, err));
    memcpy(to, s->score_buffer + (size_t)i * row, (size_t)n * row * sizeof(float));
    LCT_TRY(lct_zarr_commit(s->scores, n, err));
    i += n;
  }
  return LCT_OK;
}

/* Items from `from` on into rows of the store: (row, position, plane, width); scales (row, position, plane, groups). */
typedef struct {
  const sweep *s;
  int stream;
  int64_t from;
  void *rows;
  float *scales;
} converting;

static void convert_row(const void *ctx, int64_t i, sweep_loss *loss) {
  const converting *c = ctx;
  const lct_stream *t = &c->s->streams[c->stream].s;
  size_t width = (size_t)t->width, bytes = sweep_stored_bytes(c->s->o->store_dtype), groups = (size_t)sweep_scales(t->width);
  int cells = c->s->n_positions * t->n_planes;
  for (int k = 0; k < cells; k++) {
    const float *v = lct_pool_vectors(c->s->pool, c->stream, k / t->n_planes, k % t->n_planes) + (size_t)(c->from + i) * width;
    size_t at = (size_t)i * (size_t)cells + (size_t)k;
    sweep_convert(c->s->o->store_dtype, v, t->width, (char *)c->rows + at * width * bytes, c->scales != NULL ? c->scales + at * groups : NULL, loss);
  }
}

static lct_status write_pooled(sweep *s, const sweep_unit *u, int stream, lct_error *err) {
  sweep_stream *t = &s->streams[stream];
  for (int64_t i = first_new(s, u); i < (int64_t)u->n_items;) {
    void *rows = NULL, *scales = NULL;
    int64_t n = 0, m = 0;
    LCT_TRY(lct_zarr_reserve(t->pooled, (int64_t)u->n_items - i, &rows, &n, err));
    if (t->pooled_scale != NULL) { /* both arrays have the same chunks */
      LCT_TRY(lct_zarr_reserve(t->pooled_scale, n, &scales, &m, err));
      if (m < n) n = m;
    }
    const converting c = {.s = s, .stream = stream, .from = i, .rows = rows, .scales = scales};
    LCT_TRY(sweep_convert_all(s, stream, n, convert_row, &c, err));
    LCT_TRY(lct_zarr_commit(t->pooled, n, err));
    if (t->pooled_scale != NULL) LCT_TRY(lct_zarr_commit(t->pooled_scale, n, err));
    i += n;
  }
  return LCT_OK;
}

/* Shard by shard of rows. */
static lct_status add_moments(sweep *s, const sweep_unit *u, lct_error *err) {
  int64_t i = first_new(s, u);
  while (i < (int64_t)u->n_items) {
    int64_t in_shard = s->shard_rows - (u->row0 + i) % s->shard_rows, n = (int64_t)u->n_items - i;
    if (n > in_shard) n = in_shard;
    LCT_TRY(sweep_moments_add(s, u, i, i + n, err));
    i += n;
    if (n == in_shard) LCT_TRY(sweep_parts_save(s, (u->row0 + i) / s->shard_rows - 1, err));
  }
  return LCT_OK;
}

lct_status sweep_sink(sweep *s, const sweep_unit *u, lct_error *err) {
  LCT_TRY(lct_lines_append(&s->messages, &u->messages, err));
  LCT_TRY(lct_lines_append(&s->errors, &u->errors, err));
  if (u->n_items == 0) return LCT_OK;
  LCT_TRY(write_scores(s, u, err));
  for (int i = 0; i < s->n_streams; i++) {
    if (s->streams[i].pooled != NULL) LCT_TRY(write_pooled(s, u, i, err));
  }
  if (s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(sweep_tokens_write(s, u, err));
  return add_moments(s, u, err);
}
