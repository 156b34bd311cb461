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

static lct_status compute_scores(const scoring *k, lct_error *err) {
  const sweep *s = k->s;
  int n = s->n_scored_positions * s->n_scored_sources * s->n_layers;
  lct_status status = LCT_OK;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < n; i++) {
    lct_error local = {0};
    lct_status st = score_one(k, i, &local);
    if (st == LCT_OK) continue;
#pragma omp critical
    if (status == LCT_OK) {
      status = st;
      if (err != NULL) *err = local;
    }
  }
  return status;
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
  const scoring k = {.s = s, .u = u, .rows = rows, .row = row};
  lct_status st = compute_scores(&k, err);
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

static void add_loss(sweep *s, int stream, const sweep_loss *own) {
  s->error2[stream] += own->error2;
  s->value2[stream] += own->value2;
  s->result->saturated += own->saturated;
  if (own->max > s->error_max[stream]) s->error_max[stream] = own->max;
}

/* Items [from, from + n) into rows of the store: (row, position, plane, width); scales (row, position, plane, groups). */
static void convert_rows(sweep *s, int stream, int64_t from, int64_t n, void *rows, float *scales) {
  const lct_stream *t = &s->streams[stream].s;
  size_t width = (size_t)t->width, bytes = sweep_stored_bytes(s->o->store_dtype), groups = (size_t)sweep_scales(t->width);
  int cells = s->n_positions * t->n_planes;
#pragma omp parallel
  {
    sweep_loss own = {0};
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < n; i++) {
      for (int k = 0; k < cells; k++) {
        const float *v = lct_pool_vectors(s->pool, stream, k / t->n_planes, k % t->n_planes) + (size_t)(from + i) * width;
        size_t at = (size_t)i * (size_t)cells + (size_t)k;
        sweep_convert(s->o->store_dtype, v, t->width, (char *)rows + at * width * bytes, scales != NULL ? scales + at * groups : NULL, &own);
      }
    }
#pragma omp critical
    add_loss(s, stream, &own);
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
    convert_rows(s, stream, i, n, rows, scales);
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
    sweep_moments_add(s, u, i, i + n);
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
