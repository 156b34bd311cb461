#include "capture/pool_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lct_stream lct_stream_of(lct_source s, const lct_config *c, lct_plane *planes) {
  for (int l = 0; l < c->n_layers; l++) planes[l] = (lct_plane){s, l};
  return (lct_stream){.planes = planes, .n_planes = c->n_layers, .width = lct_source_width(s, c)};
}

lct_status lct_pool_entries(const lct_place *places, int n, const lct_cut_batch *cut, lct_arena *arena, lct_pool_entry *out,
                            lct_error *err) {
  for (int i = 0; i < n; i++) {
    out[i] = (lct_pool_entry){.row = places[i].slot >= 0 ? lct_cut_row(cut, places[i].slot) : -1};
    if (places[i].n_mean == 0) continue;
    lct_row_range *mean = lct_arena_alloc(arena, (size_t)places[i].n_mean * sizeof *mean);
    if (mean == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
    out[i].n_mean = lct_cut_rows(cut, places[i].mean, places[i].n_mean, mean);
    out[i].mean = mean;
  }
  return LCT_OK;
}

/* Of a pool that looks at an engine's passes. */
static lct_status list_layers(lct_pool *p, const lct_engine *e, lct_error *err) {
  LCT_TRY(lct_calloc(&p->layers, (size_t)lct_engine_config(e)->n_layers, 1, "pool", err));
  for (int i = 0; i < p->n_streams; i++) {
    for (int k = 0; k < p->streams[i].s.n_planes; k++) {
      if (p->streams[i].s.planes[k].layer >= 0) p->layers[p->streams[i].s.planes[k].layer] = 1;
    }
  }
  return LCT_OK;
}

lct_status lct_pool_new(const lct_engine *e, const lct_stream *streams, int n_streams, int n_poolings, lct_pool **out, lct_error *err) {
  lct_pool *p = NULL;
  LCT_TRY(lct_calloc(&p, 1, sizeof *p, "pool", err));
  lct_status s = lct_calloc(&p->streams, (size_t)n_streams, sizeof *p->streams, "pool", err);
  if (s == LCT_OK) {
    p->n_streams = n_streams;
    p->n_poolings = n_poolings;
    for (int i = 0; i < n_streams; i++) p->streams[i].s = streams[i];
    if (e != NULL) s = list_layers(p, e, err);
  }
  if (s != LCT_OK) {
    lct_pool_free(p);
    return s;
  }
  p->threads = e != NULL ? lct_engine_threads(e) : NULL;
  pool_device_init(&p->device, e);
  *out = p;
  return LCT_OK;
}

void lct_pool_free(lct_pool *p) {
  if (p == NULL) return;
  pool_device_free(&p->device);
  for (int i = 0; p->streams != NULL && i < p->n_streams; i++) {
    free(p->streams[i].vectors);
    free(p->streams[i].sums);
  }
  free(p->streams);
  free(p->layers);
  free(p);
}

lct_status lct_pool_reserve(lct_pool *p, int32_t n_items, lct_error *err) {
  p->n_items = n_items;
  for (int i = 0; i < p->n_streams; i++) {
    pool_stream *t = &p->streams[i];
    size_t n = (size_t)p->n_poolings * (size_t)t->s.n_planes * (size_t)n_items * (size_t)t->s.width;
    if (n > t->capacity) {
      free(t->vectors);
      t->vectors = NULL;
      t->capacity = 0;
      LCT_TRY(lct_alloc_aligned(&t->vectors, n, sizeof *t->vectors, "pooled vectors", err));
      t->capacity = n;
    }
  }
  return LCT_OK;
}

static void fill_absent(const lct_pool *p, int pooling, int32_t item) {
  for (int i = 0; i < p->n_streams; i++) {
    const pool_stream *t = &p->streams[i];
    for (int plane = 0; plane < t->s.n_planes; plane++) {
      float *v = pool_slot(p, t, pooling, plane) + (size_t)item * (size_t)t->s.width;
      for (int k = 0; k < t->s.width; k++) v[k] = NAN;
    }
  }
}

void lct_pool_begin(lct_pool *p, const lct_pool_rows *rows, int n, int32_t batch_rows) {
  p->rows = rows;
  p->n_rows = n;
  p->batch_rows = batch_rows;
  for (int k = 0; k < n; k++) {
    for (int q = 0; q < p->n_poolings; q++) {
      if (rows[k].entries[q].row < 0 && rows[k].entries[q].n_mean == 0) fill_absent(p, q, rows[k].item);
    }
  }
  pool_device_begin(&p->device);
}

float *lct_pool_vectors(const lct_pool *p, int stream, int pooling, int plane) { return pool_slot(p, &p->streams[stream], pooling, plane); }

/* sum += the rows of x, row after row. Each element is a sum of its own, so every instruction set gives the same bits. */
static inline __attribute__((always_inline)) void add_body(double *sum, const float *x, int64_t ld, int n, int width) {
  enum { BLOCK = 32 };
  int i = 0;
  for (; i + BLOCK <= width; i += BLOCK) {
    double s[BLOCK];
    memcpy(s, sum + i, sizeof s);
    for (int r = 0; r < n; r++) {
      const float *row = x + (int64_t)r * ld + i;
      for (int k = 0; k < BLOCK; k++) s[k] += (double)row[k];
    }
    memcpy(sum + i, s, sizeof s);
  }
  for (; i < width; i++) {
    for (int r = 0; r < n; r++) sum[i] += (double)x[(int64_t)r * ld + i];
  }
}

static void add_base(double *sum, const float *x, int64_t ld, int n, int width) { add_body(sum, x, ld, n, width); }

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) static void add_avx2(double *sum, const float *x, int64_t ld, int n, int width) {
  add_body(sum, x, ld, n, width);
}
__attribute__((target("avx512f,prefer-vector-width=512"), optimize("O3"))) static void add_avx512(double *sum, const float *x, int64_t ld,
                                                                                                  int n, int width) {
  add_body(sum, x, ld, n, width);
}
#endif

static void add_rows(double *sum, const float *x, int64_t ld, int n, int width) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    add_avx512(sum, x, ld, n, width);
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    add_avx2(sum, x, ld, n, width);
    return;
  }
#endif
  add_base(sum, x, ld, n, width);
}

/* Rows [row0, row0 + n) of a plane, for the mean over an entry's rows: in order of position, whatever the batch. */
static void take_mean(const lct_pool *p, const pool_stream *t, const lct_pool_entry *e, double *sum, float *out, int row0, int n,
                      const float *data, int64_t ld) {
  int width = t->s.width;
  int32_t count = 0;
  if (row0 == 0) memset(sum, 0, (size_t)width * sizeof *sum);
  for (int32_t i = 0; i < e->n_mean; i++) {
    int from = e->mean[i].first > row0 ? e->mean[i].first : row0;
    int to = e->mean[i].first + e->mean[i].n < row0 + n ? e->mean[i].first + e->mean[i].n : row0 + n;
    if (from < to) add_rows(sum, data + (int64_t)(from - row0) * ld, ld, to - from, width);
    count += e->mean[i].n;
  }
  if (row0 + n < p->batch_rows) return;
  for (int i = 0; i < width; i++) out[i] = (float)(sum[i] / count);
}

/* Rows [row0, row0 + n) of a plane, on their way to the items' vectors. */
typedef struct {
  const lct_pool *p;
  const pool_stream *t;
  int plane, row0, n;
  const float *data;
  int64_t ld;
} taking;

static void take_item(const taking *j, int k) {
  const lct_pool *p = j->p;
  const pool_stream *t = j->t;
  size_t width = (size_t)t->s.width, at = (size_t)p->rows[k].item * width;
  for (int q = 0; q < p->n_poolings; q++) {
    const lct_pool_entry *e = &p->rows[k].entries[q];
    float *out = pool_slot(p, t, q, j->plane) + at;
    if (e->row >= j->row0 && e->row < j->row0 + j->n) {
      memcpy(out, j->data + (int64_t)(e->row - j->row0) * j->ld, width * sizeof *out);
    } else if (e->row < 0 && e->n_mean > 0) {
      take_mean(p, t, e, t->sums + ((size_t)k * (size_t)p->n_poolings + (size_t)q) * width, out, j->row0, j->n, j->data, j->ld);
    }
  }
}

static lct_status take_items(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  for (int64_t k = from; k < to; k++) take_item(ctx, (int)k);
  return LCT_OK;
}

static lct_status take_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  lct_pool *p = ctx;
  for (int i = 0; i < p->n_streams; i++) {
    pool_stream *t = &p->streams[i];
    for (int plane = 0; plane < t->s.n_planes; plane++) {
      if (t->s.planes[plane].source != s || t->s.planes[plane].layer != layer) continue;
      size_t need = (size_t)p->n_rows * (size_t)p->n_poolings * (size_t)t->s.width;
      LCT_TRY(lct_grow(&t->sums, &t->cap_sums, need, sizeof *t->sums, "pool sums", err));
      taking job = {.p = p, .t = t, .plane = plane, .row0 = row0, .n = n, .data = data, .ld = ld};
      LCT_TRY(lct_threads_for(p->n_rows > 8 ? p->threads : NULL, p->n_rows, 1, take_items, &job, err));
    }
  }
  return LCT_OK;
}

lct_taker lct_pool_taker(lct_pool *p) {
  lct_taker t = {.ctx = p, .layers = p->layers, .rows = take_rows};
  for (int i = 0; i < p->n_streams; i++) {
    for (int k = 0; k < p->streams[i].s.n_planes; k++) t.sources |= LCT_SOURCE_BIT(p->streams[i].s.planes[k].source);
  }
  if (p->device.ops != NULL) {
    t.device = pool_device_take;
    t.end = pool_device_end;
  }
  return t;
}
