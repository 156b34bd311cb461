#include "capture/files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "capture/files_impl.h"

enum { CONVERT_ROWS = 16 }; /* of a piece */

lct_status lct_files_new(const lct_config *c, lct_store_dtype dtype, const unsigned char *layers, lct_threads *threads, lct_files **out,
                         lct_error *err) {
  lct_files *f = NULL;
  LCT_TRY(lct_calloc(&f, 1, sizeof *f, "token files", err));
  f->cfg = *c;
  f->dtype = dtype;
  f->threads = threads;
  f->elem_bytes = dtype == LCT_STORE_F16 ? 2 : 4;
  lct_status s = lct_calloc(&f->layers, (size_t)c->n_layers, 1, "layer list", err);
  if (s != LCT_OK) {
    lct_files_free(f);
    return s;
  }
  memcpy(f->layers, layers, (size_t)c->n_layers);
  *out = f;
  return LCT_OK;
}

static void close_files(lct_files *f) {
  for (size_t i = 0; i < f->n_files; i++) {
    token_file *t = &f->files[i];
    lct_npz_abort(t->npz);
    free(t->entries);
    free(t->qkv);
    free(t->last_q);
    free(t->last_k);
    lct_buf_free(&t->index);
  }
  free(f->files);
  f->files = NULL;
  f->n_files = 0;
}

void lct_files_free(lct_files *f) {
  if (f == NULL) return;
  close_files(f);
  free(f->layers);
  free(f->rows);
  free(f->attn);
  free(f->attn_first);
  free(f);
}

size_t lct_files_saturated(const lct_files *f) { return f->saturated; }
int64_t lct_files_bytes(const lct_files *f) { return f->bytes; }

static lct_status declare(lct_files *f, token_file *t, const char *name, lct_npy_dtype dtype, int n_dims, const int64_t *dims, int *entry,
                          lct_error *err) {
  LCT_TRY(lct_npz_declare(t->npz, name, dtype, n_dims, dims, entry, err));
  LCT_TRY(lct_buf_printf(&t->index, err, "%s\"%s\": {\"shape\": [", t->index.len > 0 ? ", " : "", name));
  int64_t n = 1;
  for (int i = 0; i < n_dims; i++) {
    LCT_TRY(lct_buf_printf(&t->index, err, "%s%lld", i > 0 ? ", " : "", (long long)dims[i]));
    n *= dims[i];
  }
  f->bytes += n * (dtype == LCT_NPY_F16 ? 2 : 4);
  return lct_buf_printf(&t->index, err, "], \"dtype\": \"%s\"}", dtype == LCT_NPY_F16 ? "float16" : "float32");
}

static lct_status declare_source(lct_files *f, token_file *t, lct_source s, int layer, lct_error *err) {
  char name[64];
  if (lct_source_is_global(s)) (void)snprintf(name, sizeof name, "%s", lct_source_name(s));
  else (void)snprintf(name, sizeof name, "layer_%02d/%s", layer, lct_source_name(s));
  int64_t rows[] = {1, t->spec->n_tokens, lct_source_width(s, &f->cfg)};
  int64_t square[] = {1, f->cfg.n_heads, t->spec->n_tokens, t->spec->n_keys};
  bool attn = s == LCT_SOURCE_ATTN_WEIGHTS;
  return declare(f, t, name, f->dtype == LCT_STORE_F16 ? LCT_NPY_F16 : LCT_NPY_F32, attn ? 4 : 3, attn ? square : rows,
                 &t->entries[layer * LCT_N_SOURCES + (int)s], err);
}

static lct_status open_file(lct_files *f, token_file *t, lct_error *err) {
  const lct_config *c = &f->cfg;
  size_t n_layers = (size_t)c->n_layers, dim_v = (size_t)(c->n_kv_heads * c->head_dim);
  LCT_TRY(lct_calloc(&t->entries, n_layers * LCT_N_SOURCES, sizeof *t->entries, "entries", err));
  for (size_t i = 0; i < n_layers * LCT_N_SOURCES; i++) t->entries[i] = -1;
  t->qkv_entry = -1;
  LCT_TRY(lct_npz_create(t->spec->path, &t->npz, err));
  for (int l = -1; l < c->n_layers; l++) {
    for (int s = 0; s < LCT_N_SOURCES; s++) {
      bool global = lct_source_is_global((lct_source)s);
      if ((t->spec->sources & LCT_SOURCE_BIT(s)) == 0 || global != (l < 0) || (l >= 0 && !f->layers[l])) continue;
      LCT_TRY(declare_source(f, t, (lct_source)s, l < 0 ? 0 : l, err));
    }
  }
  if (!t->spec->qkv_last) return LCT_OK;
  LCT_TRY(lct_calloc(&t->qkv, n_layers * dim_v, sizeof *t->qkv, "qkv_last", err));
  LCT_TRY(lct_calloc(&t->last_q, (size_t)(c->n_heads * c->head_dim), sizeof *t->last_q, "qkv_last", err));
  LCT_TRY(lct_calloc(&t->last_k, dim_v, sizeof *t->last_k, "qkv_last", err));
  int64_t dims[] = {c->n_layers, (int64_t)dim_v};
  return declare(f, t, "qkv_last", LCT_NPY_F32, 2, dims, &t->qkv_entry, err);
}

static lct_status reserve_attention(lct_files *f, const lct_batch *b, lct_error *err) {
  free(f->attn_first);
  f->attn_first = NULL;
  LCT_TRY(lct_calloc(&f->attn_first, (size_t)b->n_segments + 1, sizeof *f->attn_first, "attention offsets", err));
  for (int s = 0; s < b->n_segments; s++) {
    const lct_segment *seg = &b->segments[s];
    f->attn_first[s + 1] = f->attn_first[s] + (size_t)f->cfg.n_heads * (size_t)seg->n_rows * (size_t)(seg->pos0 + seg->n_rows);
  }
  return lct_grow(&f->attn, &f->cap_attn, f->attn_first[b->n_segments], f->elem_bytes, "attention weights of a layer", err);
}

lct_status lct_files_begin(lct_files *f, const lct_file_spec *specs, size_t n, const lct_batch *batch, lct_error *err) {
  close_files(f);
  f->batch = batch;
  f->wanted = 0;
  LCT_TRY(lct_calloc(&f->files, n, sizeof *f->files, "token files", err));
  f->n_files = n;
  for (size_t i = 0; i < n; i++) {
    f->files[i].spec = &specs[i];
    f->wanted |= specs[i].sources;
    if (specs[i].qkv_last) f->wanted |= LCT_SOURCE_BIT(LCT_SOURCE_Q) | LCT_SOURCE_BIT(LCT_SOURCE_K) | LCT_SOURCE_BIT(LCT_SOURCE_V);
    LCT_TRY(open_file(f, &f->files[i], err));
  }
  return f->wanted & LCT_SOURCE_BIT(LCT_SOURCE_ATTN_WEIGHTS) ? reserve_attention(f, batch, err) : LCT_OK;
}

void files_convert(lct_files *f, const float *src, void *dst, size_t n) {
  size_t saturated = 0;
  if (f->dtype == LCT_STORE_F16) lct_f32_to_f16_array(src, dst, n, &saturated);
  else memcpy(dst, src, n * sizeof *src);
  (void)__atomic_add_fetch(&f->saturated, saturated, __ATOMIC_RELAXED);
}

/* Rows of one source and layer on their way into the files. */
typedef struct {
  lct_files *f;
  lct_source source;
  int layer; /* -1: a global source */
  int row0, n;
  const float *data;
  int64_t ld;
  size_t width, row_bytes; /* row_bytes: of a converted row */
} shown_rows;

static lct_status convert_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const shown_rows *s = ctx;
  for (int64_t r = from; r < to; r++) files_convert(s->f, s->data + r * s->ld, (char *)s->f->rows + (size_t)r * s->row_bytes, s->width);
  return LCT_OK;
}

void files_qkv_last(lct_files *f, token_file *t, lct_source s, int layer, const float *row) {
  size_t nq = (size_t)(f->cfg.n_heads * f->cfg.head_dim), nkv = (size_t)(f->cfg.n_kv_heads * f->cfg.head_dim);
  if (s == LCT_SOURCE_Q) memcpy(t->last_q, row, nq * sizeof *row);
  if (s == LCT_SOURCE_K) memcpy(t->last_k, row, nkv * sizeof *row);
  if (s != LCT_SOURCE_V) return;
  size_t m = nq < nkv ? nq : nkv;
  double dot = 0;
  for (size_t i = 0; i < m; i++) dot += (double)t->last_q[i] * (double)t->last_k[i];
  float score = (float)(dot / sqrt((double)m));
  for (size_t i = 0; i < nkv; i++) t->qkv[(size_t)layer * nkv + i] = score * row[i];
}

static int32_t last_row(const lct_file_spec *s) { return s->ranges[s->n_ranges - 1].first + s->ranges[s->n_ranges - 1].n - 1; }

/* The file's slice of the rows: those of its ranges, ascending. */
static lct_status put_slices(lct_files *f, token_file *t, const void *arg, lct_error *err) {
  const shown_rows *r = arg;
  int32_t last = last_row(t->spec);
  if (t->spec->qkv_last && last >= r->row0 && last < r->row0 + r->n) {
    files_qkv_last(f, t, r->source, r->layer, r->data + (size_t)(last - r->row0) * (size_t)r->ld);
  }
  int entry = t->entries[(r->layer < 0 ? 0 : r->layer) * LCT_N_SOURCES + (int)r->source];
  for (int32_t i = 0; entry >= 0 && i < t->spec->n_ranges; i++) {
    lct_row_range range = t->spec->ranges[i];
    int from = range.first > r->row0 ? range.first : r->row0;
    int to = range.first + range.n < r->row0 + r->n ? range.first + range.n : r->row0 + r->n;
    if (from >= to) continue;
    const char *rows = (const char *)f->rows + (size_t)(from - r->row0) * r->row_bytes;
    LCT_TRY(lct_npz_put(t->npz, entry, rows, (size_t)(to - from) * r->row_bytes, err));
  }
  return LCT_OK;
}

typedef struct {
  lct_files *f;
  file_task task;
  const void *arg;
} each;

static lct_status run_task(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  const each *e = ctx;
  for (int64_t i = from; i < to; i++) LCT_TRY(e->task(e->f, &e->f->files[i], e->arg, err));
  return LCT_OK;
}

lct_status files_for_each(lct_files *f, file_task task, const void *arg, lct_error *err) {
  each e = {f, task, arg};
  return lct_threads_for(f->threads, (int64_t)f->n_files, 1, run_task, &e, err);
}

static lct_status take_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  lct_files *f = ctx;
  size_t width = (size_t)lct_source_width(s, &f->cfg), row_bytes = width * f->elem_bytes;
  LCT_TRY(lct_grow(&f->rows, &f->cap_rows, (size_t)n * width, f->elem_bytes, "converted rows", err));
  shown_rows rows = {f, s, layer, row0, n, data, ld, width, row_bytes};
  LCT_TRY(lct_threads_for(f->threads, n, CONVERT_ROWS, convert_rows, &rows, err));
  return files_for_each(f, put_slices, &rows, err);
}

lct_taker lct_files_taker(lct_files *f) {
  return (lct_taker){.ctx = f, .sources = f->wanted, .layers = f->layers, .rows = take_rows, .attention = files_attention};
}

lct_status lct_files_finish(lct_files *f, lct_error *err) {
  lct_status status = LCT_OK;
  for (size_t i = 0; i < f->n_files; i++) {
    token_file *t = &f->files[i];
    if (status == LCT_OK && t->qkv_entry >= 0) {
      size_t n = (size_t)f->cfg.n_layers * (size_t)(f->cfg.n_kv_heads * f->cfg.head_dim);
      status = lct_npz_put(t->npz, t->qkv_entry, t->qkv, n * sizeof *t->qkv, err);
    }
    if (status != LCT_OK) break; /* the rest is aborted by close_files */
    status = lct_npz_finish(t->npz, false, err);
    t->npz = NULL;
  }
  close_files(f);
  return status;
}

lct_status lct_files_index(const lct_files *f, size_t file, lct_buf *out, lct_error *err) {
  const lct_buf *index = &f->files[file].index;
  return lct_buf_printf(out, err, "{%s}", index->data != NULL ? index->data : "");
}
