#include "capture/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lct_pool {
  int n_layers, hidden, n_sources;
  int32_t n_items, batch_rows;
  lct_source sources[LCT_N_SOURCES];
  float *vectors;             /* (source, pooling, layer, item, hidden) f32 */
  const lct_pool_rows *rows;  /* of the current batch */
  int n_rows;
  double *sums;               /* (n_rows, hidden): content sums of the source and layer being shown */
  size_t cap_sums;
};

lct_status lct_pool_new(const lct_config *c, const lct_source *sources, int n_sources, int32_t n_items, lct_pool **out,
                        lct_error *err) {
  lct_pool *p = NULL;
  LCT_TRY(lct_calloc(&p, 1, sizeof *p, "pool", err));
  p->n_layers = c->n_layers;
  p->hidden = c->hidden;
  p->n_sources = n_sources;
  p->n_items = n_items;
  memcpy(p->sources, sources, (size_t)n_sources * sizeof *sources);
  size_t n = (size_t)n_sources * LCT_N_POOLINGS * (size_t)c->n_layers * (size_t)n_items * (size_t)c->hidden;
  lct_status s = lct_alloc_aligned(&p->vectors, n, sizeof *p->vectors, "pooled vectors", err);
  if (s != LCT_OK) {
    lct_pool_free(p);
    return s;
  }
  for (size_t i = 0; i < n; i++) p->vectors[i] = NAN;
  *out = p;
  return LCT_OK;
}

void lct_pool_free(lct_pool *p) {
  if (p == NULL) return;
  free(p->vectors);
  free(p->sums);
  free(p);
}

lct_status lct_pool_begin(lct_pool *p, const lct_pool_rows *rows, int n, int32_t batch_rows, lct_error *err) {
  p->rows = rows;
  p->n_rows = n;
  p->batch_rows = batch_rows;
  return lct_grow(&p->sums, &p->cap_sums, (size_t)n * (size_t)p->hidden, sizeof *p->sums, "pool sums", err);
}

uint32_t lct_pool_wanted(const lct_pool *p) {
  uint32_t wanted = 0;
  for (int i = 0; i < p->n_sources; i++) wanted |= LCT_SOURCE_BIT(p->sources[i]);
  return wanted;
}

static float *slot(const lct_pool *p, int source, lct_pooling pooling, int layer) {
  size_t i = ((size_t)source * LCT_N_POOLINGS + (size_t)pooling) * (size_t)p->n_layers + (size_t)layer;
  return p->vectors + i * (size_t)p->n_items * (size_t)p->hidden;
}

const float *lct_pool_vectors(const lct_pool *p, int source, lct_pooling pooling, int layer) {
  return slot(p, source, pooling, layer);
}

/* Adds the rows of `range` that lie in [row0, row0 + n) to sum, in order of position: the order does not depend on the batch. */
static void add_range(double *sum, lct_kv_range range, int row0, int n, const float *data, int64_t ld, int hidden) {
  int from = range.first > row0 ? range.first : row0;
  int to = range.first + range.n < row0 + n ? range.first + range.n : row0 + n;
  for (int r = from; r < to; r++) {
    const float *x = data + (size_t)(r - row0) * (size_t)ld;
    for (int i = 0; i < hidden; i++) sum[i] += (double)x[i];
  }
}

static void take_item(lct_pool *p, int source, int layer, int k, int row0, int n, const float *data, int64_t ld) {
  const lct_pool_rows *r = &p->rows[k];
  size_t hidden = (size_t)p->hidden, at = (size_t)r->item * hidden;
  if (r->last >= row0 && r->last < row0 + n) {
    memcpy(slot(p, source, LCT_POOLING_LAST, layer) + at, data + (size_t)(r->last - row0) * (size_t)ld, hidden * sizeof(float));
  }
  if (r->content_last < 0) return;
  if (r->content_last >= row0 && r->content_last < row0 + n) {
    memcpy(slot(p, source, LCT_POOLING_CONTENT_LAST, layer) + at, data + (size_t)(r->content_last - row0) * (size_t)ld,
           hidden * sizeof(float));
  }
  double *sum = p->sums + (size_t)k * hidden;
  if (row0 == 0) memset(sum, 0, hidden * sizeof *sum);
  int32_t count = 0;
  for (int32_t i = 0; i < r->n_content; i++) {
    add_range(sum, r->content[i], row0, n, data, ld, p->hidden);
    count += r->content[i].n;
  }
  if (row0 + n < p->batch_rows) return;
  float *mean = slot(p, source, LCT_POOLING_CONTENT_MEAN, layer) + at;
  for (size_t i = 0; i < hidden; i++) mean[i] = (float)(sum[i] / count);
}

lct_status lct_pool_take(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  (void)err;
  lct_pool *p = ctx;
  for (int i = 0; i < p->n_sources; i++) {
    if (p->sources[i] != s) continue;
#pragma omp parallel for schedule(dynamic) if (p->n_rows > 8)
    for (int k = 0; k < p->n_rows; k++) take_item(p, i, layer, k, row0, n, data, ld);
  }
  return LCT_OK;
}
