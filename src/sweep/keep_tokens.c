/* --keep tokens: the rows of every stored token, picked up as the pass goes, written in order of conversation and position. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

static int64_t unit_tokens(const sweep_batch *b) {
  int64_t n = 0;
  for (size_t i = 0; i < b->n_tokens; i++) n += b->tokens[i].n;
  return n;
}

static size_t row_values(const lct_axis_stream *t) { return (size_t)t->s.n_planes * (size_t)t->s.width; }

static lct_status reserve(sweep *s, size_t n, lct_error *err) {
  sweep_token_rows *k = &s->tokens_kept;
  size_t streams = (size_t)s->axes->n_streams, cap = n + n / 4;
  if (n <= k->cap) return LCT_OK;
  sweep_tokens_free(s);
  LCT_TRY(lct_calloc(&k->rows, streams, sizeof *k->rows, "token rows", err));
  LCT_TRY(lct_calloc(&k->scales, streams, sizeof *k->scales, "token rows", err));
  LCT_TRY(lct_calloc(&k->row_of_token, cap, sizeof *k->row_of_token, "token rows", err));
  for (size_t i = 0; i < streams; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    if (!t->stored) continue;
    LCT_TRY(lct_alloc_aligned(&k->rows[i], cap * row_values(t), sweep_stored_bytes(s->o->store_dtype), "token rows", err));
    size_t scales = s->o->store_dtype == LCT_STORED_INT8 ? cap * (size_t)t->s.n_planes * (size_t)sweep_scales(t->s.width) : 0;
    LCT_TRY(lct_calloc(&k->scales[i], scales, sizeof(float), "token rows", err));
  }
  k->cap = cap;
  return LCT_OK;
}

void sweep_tokens_free(sweep *s) {
  sweep_token_rows *k = &s->tokens_kept;
  for (int i = 0; s->axes != NULL && i < s->axes->n_streams; i++) {
    if (k->rows != NULL) free(k->rows[i]);
    if (k->scales != NULL) free(k->scales[i]);
  }
  free(k->rows);
  free(k->scales);
  free(k->row_of_token);
  *k = (sweep_token_rows){0};
}

/* The row of a position among an item's rows. */
static int32_t row_at(const lct_row_range *rows, int32_t n, int32_t position) {
  for (int32_t i = 0; i < n; i++) {
    if (position < rows[i].n) return rows[i].first + position;
    position -= rows[i].n;
  }
  return -1;
}

/* The batch rows of the unit's stored tokens, in order of storing; of items that are not in this batch: -1. */
static lct_status list_rows(sweep *s, const lct_stage *stage, lct_error *err) {
  const sweep_batch *b = stage->unit->client;
  int32_t *out = s->tokens_kept.row_of_token, next = 0;
  lct_arena arena = {0};
  lct_status st = LCT_OK;
  for (size_t i = 0; i < b->n_tokens && st == LCT_OK; i++) {
    const sweep_tokens *k = &b->tokens[i];
    const lct_row_range *rows = NULL;
    int32_t n = 0;
    while (next < stage->n_items && stage->items[next] < k->item) next++;
    if (next < stage->n_items && stage->items[next] == k->item) st = lct_stage_rows(stage, k->item, &arena, &rows, &n, err);
    for (int r = 0; r < k->n_ranges; r++) {
      for (int32_t at = k->ranges[r].from; at < k->ranges[r].to; at++) *out++ = row_at(rows, n, at);
    }
  }
  lct_arena_free(&arena);
  return st;
}

typedef struct {
  const sweep *s;
  int stream, plane, row0, n;
  const float *data;
  int64_t ld;
  sweep_loss *losses; /* (pieces) */
} taking;

static lct_status take_tokens(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  const taking *x = ctx;
  const sweep_token_rows *kept = &x->s->tokens_kept;
  const lct_stream *t = &x->s->axes->streams[x->stream].s;
  lct_stored type = x->s->o->store_dtype;
  size_t width = (size_t)t->width, bytes = sweep_stored_bytes(type), groups = (size_t)sweep_scales(t->width);
  (void)thread;
  (void)err;
  for (int64_t k = from; k < to; k++) {
    int32_t row = kept->row_of_token[k];
    if (row < x->row0 || row >= x->row0 + x->n) continue;
    size_t at = (size_t)k * (size_t)t->n_planes + (size_t)x->plane;
    sweep_convert(type, x->data + (int64_t)(row - x->row0) * x->ld, t->width, (char *)kept->rows[x->stream] + at * width * bytes,
                  kept->scales[x->stream] + at * groups, &x->losses[from / SWEEP_PIECE]);
  }
  return LCT_OK;
}

static lct_status take_plane(sweep *s, taking *x, lct_error *err) {
  int64_t n = s->tokens_kept.n;
  LCT_TRY(sweep_losses_new(n, &x->losses, err));
  lct_status st = lct_threads_for(s->subject->threads, n, SWEEP_PIECE, take_tokens, x, err);
  sweep_losses_add(&s->store.streams[x->stream].loss, x->losses, n);
  return st;
}

static lct_status take_rows(void *ctx, lct_source src, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  sweep *s = ctx;
  for (int i = 0; i < s->axes->n_streams; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    for (int k = 0; t->stored && k < t->s.n_planes; k++) {
      if (t->planes[k].source != src || t->planes[k].layer != layer) continue;
      taking x = {s, i, k, row0, n, data, ld, NULL};
      LCT_TRY(take_plane(s, &x, err));
    }
  }
  return LCT_OK;
}

lct_status sweep_tokens_begin(sweep *s, const lct_stage *stage, lct_pass *pass, lct_error *err) {
  const sweep_batch *b = stage->unit->client;
  int64_t n = unit_tokens(b);
  if (n == 0) return LCT_OK;
  LCT_TRY(reserve(s, (size_t)n, err));
  s->tokens_kept.n = n;
  LCT_TRY(list_rows(s, stage, err));
  lct_taker taker = {.ctx = s, .layers = s->axes->tap_layers, .rows = take_rows};
  for (int i = 0; i < s->axes->n_streams; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    for (int k = 0; t->stored && k < t->s.n_planes; k++) taker.sources |= LCT_SOURCE_BIT(t->planes[k].source);
  }
  return lct_pass_add(pass, &taker, err);
}

/* n rows of `data` into the array, leaving out those below the frontier. first: the store's row of data's row 0. */
static lct_status append(lct_zarr_out *out, const void *data, size_t row_bytes, int64_t first, int64_t n, int64_t frontier,
                         lct_error *err) {
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

static lct_status write_ids(sweep *s, const lct_unit *u, int64_t first, int64_t n, lct_error *err) {
  const sweep_batch *b = u->client;
  int32_t *ids = NULL, *at;
  LCT_TRY(lct_calloc(&ids, (size_t)n, sizeof *ids, "token ids", err));
  at = ids;
  for (size_t i = 0; i < b->n_tokens; i++) {
    const sweep_tokens *k = &b->tokens[i];
    for (int r = 0; r < k->n_ranges; r++) {
      lct_item_ids(&u->items[k->item], k->ranges[r].from, k->ranges[r].to, at);
      at += k->ranges[r].to - k->ranges[r].from;
    }
  }
  lct_status st = append(s->store.token_ids, ids, sizeof *ids, first, n, s->store.token_frontier, err);
  free(ids);
  return st;
}

lct_status sweep_tokens_write(sweep *s, const lct_unit *u, lct_error *err) {
  const sweep_batch *b = u->client;
  int64_t n = unit_tokens(b);
  if (n == 0) return LCT_OK;
  int64_t first = b->tokens[0].first, frontier = s->store.token_frontier;
  for (int i = 0; i < s->axes->n_streams; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    const sweep_out *to = &s->store.streams[i];
    if (!t->stored) continue;
    LCT_TRY(append(to->tokens, s->tokens_kept.rows[i], row_values(t) * sweep_stored_bytes(s->o->store_dtype), first, n, frontier, err));
    if (to->tokens_scale == NULL) continue;
    size_t scales = (size_t)t->s.n_planes * (size_t)sweep_scales(t->s.width) * sizeof(float);
    LCT_TRY(append(to->tokens_scale, s->tokens_kept.scales[i], scales, first, n, frontier, err));
  }
  s->tokens = first + n;
  return write_ids(s, u, first, n, err);
}
