/* Attention weights arrive row by row for all heads and leave head by head: one layer of them is held. */
#include <stdlib.h>
#include <string.h>

#include "capture/files_impl.h"

static char *block_row(const lct_files *f, int segment, int head, int row) {
  const lct_segment *s = &f->batch->segments[segment];
  size_t keys = (size_t)(s->pos0 + s->n_rows);
  size_t at = f->attn_first[segment] + ((size_t)head * (size_t)s->n_rows + (size_t)(row - s->row0)) * keys;
  return (char *)f->attn + at * f->elem_bytes;
}

/* Weights (n_heads, n, n_keys) of rows [row0, row0 + n) of a segment. */
typedef struct {
  lct_files *f;
  int segment, row0, n, n_keys;
  const float *data;
} shown_weights;

static lct_status convert_heads(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const shown_weights *w = ctx;
  for (int64_t h = from; h < to; h++) {
    for (int r = 0; r < w->n; r++) {
      files_convert(w->f, w->data + (h * w->n + r) * w->n_keys, block_row(w->f, w->segment, (int)h, w->row0 + r), (size_t)w->n_keys);
    }
  }
  return LCT_OK;
}

lct_status files_attention(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  lct_files *f = ctx;
  shown_weights w = {.f = f, .segment = segment, .row0 = row0, .n = n, .n_keys = n_keys, .data = data};
  LCT_TRY(lct_threads_for(f->threads, f->cfg.n_heads, 1, convert_heads, &w, err));
  const lct_segment *s = &f->batch->segments[f->batch->n_segments - 1];
  if (segment < f->batch->n_segments - 1 || row0 + n < s->row0 + s->n_rows) return LCT_OK;
  return files_write_attention(f, layer, err);
}

/* The segment that holds a row: segments are in ascending order of row. */
static int segment_of(const lct_batch *b, int row) {
  int lo = 0, hi = b->n_segments - 1;
  while (lo < hi) {
    int mid = (lo + hi + 1) / 2;
    if (b->segments[mid].row0 <= row) lo = mid;
    else hi = mid - 1;
  }
  return lo;
}

/* One head of one file as a dense (n_tokens, n_keys) block: a row's own segment may know fewer keys than the file has. */
static void gather_head(const lct_files *f, const lct_file_spec *spec, int head, char *block) {
  size_t row_bytes = (size_t)spec->n_keys * f->elem_bytes;
  for (int32_t i = 0; i < spec->n_ranges; i++) {
    for (int32_t k = 0; k < spec->ranges[i].n; k++) {
      int row = spec->ranges[i].first + k, segment = segment_of(f->batch, row);
      size_t keys = (size_t)(f->batch->segments[segment].pos0 + f->batch->segments[segment].n_rows);
      size_t bytes = keys * f->elem_bytes < row_bytes ? keys * f->elem_bytes : row_bytes;
      memcpy(block, block_row(f, segment, head, row), bytes);
      memset(block + bytes, 0, row_bytes - bytes);
      block += row_bytes;
    }
  }
}

static lct_status write_file(lct_files *f, token_file *t, const void *arg, lct_error *err) {
  int entry = t->entries[*(const int *)arg * LCT_N_SOURCES + LCT_SOURCE_ATTN_WEIGHTS];
  if (entry < 0) return LCT_OK;
  size_t bytes = (size_t)t->spec->n_tokens * (size_t)t->spec->n_keys * f->elem_bytes;
  char *block = NULL;
  LCT_TRY(lct_alloc_aligned(&block, bytes, 1, "attention weights of a head", err));
  lct_status s = LCT_OK;
  for (int h = 0; h < f->cfg.n_heads && s == LCT_OK; h++) {
    gather_head(f, t->spec, h, block);
    s = lct_npz_put(t->npz, entry, block, bytes, err);
  }
  free(block);
  return s;
}

lct_status files_write_attention(lct_files *f, int layer, lct_error *err) { return files_for_each(f, write_file, &layer, err); }
