/* --keep tokens: the rows of every stored token, picked up as the pass goes, written in order of conversation and position. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

static int64_t unit_tokens(const sweep_unit *u) {
  int64_t n = 0;
  for (size_t i = 0; i < u->n_tokens; i++) n += u->tokens[i].n;
  return n;
}

static size_t row_values(const sweep_stream *t) { return (size_t)t->s.n_planes * (size_t)t->s.width; }

uint32_t sweep_tokens_sources(const sweep *s) {
  uint32_t bits = 0;
  for (int i = 0; i < s->n_streams; i++) {
    for (int k = 0; s->streams[i].stored && k < s->streams[i].s.n_planes; k++) bits |= LCT_SOURCE_BIT(s->streams[i].planes[k].source);
  }
  return bits;
}

/* The batch rows of the unit's stored tokens, in order of storing. */
static void list_rows(sweep *s, const sweep_unit *u) {
  int32_t *out = s->token_of_row;
  for (size_t i = 0; i < u->n_tokens; i++) {
    const sweep_tokens *k = &u->tokens[i];
    for (int r = 0; r < k->n_ranges; r++) {
      for (int32_t at = k->ranges[r].from; at < k->ranges[r].to; at++) *out++ = lct_plan_seq_row(u->plan, u->items[k->item].seq, at);
    }
  }
}

lct_status sweep_tokens_begin(sweep *s, const sweep_unit *u, lct_error *err) {
  size_t n = (size_t)unit_tokens(u);
  if (n > s->cap_token_rows) {
    size_t cap = n + n / 4;
    s->cap_token_rows = 0;
    free(s->token_of_row);
    s->token_of_row = NULL;
    LCT_TRY(lct_calloc(&s->token_of_row, cap, sizeof *s->token_of_row, "token rows", err));
    for (int i = 0; i < s->n_streams; i++) {
      const sweep_stream *t = &s->streams[i];
      if (!t->stored) continue;
      free(s->token_rows[i]);
      free(s->token_scales[i]);
      s->token_rows[i] = NULL;
      s->token_scales[i] = NULL;
      LCT_TRY(lct_alloc_aligned(&s->token_rows[i], cap * row_values(t), sweep_stored_bytes(s->o->store_dtype), "token rows", err));
      size_t scales = s->o->store_dtype == LCT_STORED_INT8 ? cap * (size_t)t->s.n_planes * (size_t)sweep_scales(t->s.width) : 0;
      LCT_TRY(lct_calloc(&s->token_scales[i], scales, sizeof(float), "token rows", err));
    }
    s->cap_token_rows = cap;
  }
  list_rows(s, u);
  return LCT_OK;
}

/* Rows [row0, row0 + n) of a plane, on their way to the unit's tokens. */
typedef struct {
  const sweep *s;
  int stream, plane, row0, n;
  const float *data;
  int64_t ld;
} taking;

static void take_token(const void *ctx, int64_t k, sweep_loss *loss) {
  const taking *j = ctx;
  const lct_stream *t = &j->s->streams[j->stream].s;
  lct_stored type = j->s->o->store_dtype;
  int32_t row = j->s->token_of_row[k];
  if (row < j->row0 || row >= j->row0 + j->n) return;
  size_t at = (size_t)k * (size_t)t->n_planes + (size_t)j->plane;
  sweep_convert(type, j->data + (int64_t)(row - j->row0) * j->ld, t->width,
                (char *)j->s->token_rows[j->stream] + at * (size_t)t->width * sweep_stored_bytes(type),
                j->s->token_scales[j->stream] + at * (size_t)sweep_scales(t->width), loss);
}

lct_status sweep_tokens_take(sweep *s, const sweep_unit *u, lct_source src, int layer, int row0, int n, const float *data, int64_t ld,
                             lct_error *err) {
  int64_t n_tokens = unit_tokens(u);
  for (int i = 0; i < s->n_streams; i++) {
    const sweep_stream *t = &s->streams[i];
    for (int k = 0; t->stored && k < t->s.n_planes; k++) {
      if (t->planes[k].source != src || t->planes[k].layer != layer) continue;
      const taking job = {.s = s, .stream = i, .plane = k, .row0 = row0, .n = n, .data = data, .ld = ld};
      LCT_TRY(sweep_convert_all(s, i, n_tokens, take_token, &job, err));
    }
  }
  return LCT_OK;
}

/* n rows of `data` into the array, leaving out those below the frontier. first: the store's row of data's row 0. */
static lct_status append(lct_zarr_out *out, const void *data, size_t row_bytes, int64_t first, int64_t n, int64_t frontier, lct_error *err) {
  for (int64_t k = frontier > first ? frontier - first : 0; k < n;) {
    void *to = NULL;
    int64_t got = 0;
    LCT_TRY(lct_zarr_reserve(out, n - k, &to, &got, err));
    memcpy(to, (const char *)data + (size_t)k * row_bytes, (size_t)got * row_bytes);
    LCT_TRY(lct_zarr_commit(out, got, err));
    k += got;
  }
  return LCT_OK;
}

static lct_status write_ids(sweep *s, const sweep_unit *u, int64_t first, int64_t n, lct_error *err) {
  int32_t *ids = NULL, *at;
  LCT_TRY(lct_calloc(&ids, (size_t)n, sizeof *ids, "token ids", err));
  at = ids;
  for (size_t i = 0; i < u->n_tokens; i++) {
    const sweep_tokens *k = &u->tokens[i];
    for (int r = 0; r < k->n_ranges; r++) {
      sweep_item_ids(&u->items[k->item], k->ranges[r].from, k->ranges[r].to, at);
      at += k->ranges[r].to - k->ranges[r].from;
    }
  }
  lct_status st = append(s->token_ids, ids, sizeof *ids, first, n, s->token_frontier, err);
  free(ids);
  return st;
}

lct_status sweep_tokens_write(sweep *s, const sweep_unit *u, lct_error *err) {
  int64_t n = unit_tokens(u);
  if (n == 0) return LCT_OK;
  int64_t first = u->tokens[0].first;
  for (int i = 0; i < s->n_streams; i++) {
    const sweep_stream *t = &s->streams[i];
    if (!t->stored) continue;
    size_t bytes = row_values(t) * sweep_stored_bytes(s->o->store_dtype);
    LCT_TRY(append(t->tokens, s->token_rows[i], bytes, first, n, s->token_frontier, err));
    if (t->tokens_scale == NULL) continue;
    size_t scales = (size_t)t->s.n_planes * (size_t)sweep_scales(t->s.width) * sizeof(float);
    LCT_TRY(append(t->tokens_scale, s->token_scales[i], scales, first, n, s->token_frontier, err));
  }
  s->tokens = first + n;
  return write_ids(s, u, first, n, err);
}
