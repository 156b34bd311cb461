/* Pooled vectors made where the rows lie. A batch's vectors are a list on the backend; every plane it shows is one op that writes them into
 * a buffer, which is copied to the host at the end of the pass, and before when it is full. */
#include <stdlib.h>
#include <string.h>

#include "capture/pool_impl.h"

/* A copy of so many takes milliseconds, beside which starting it is nothing. */
#define MOST_FLOATS ((size_t)16 << 20)

void pool_device_init(pool_device *d, const lct_engine *e) {
  if (e == NULL || lct_engine_ops(e)->rows.pool == NULL) return;
  *d = (pool_device){.ops = lct_engine_ops(e), .be = lct_engine_backend(e), .most = MOST_FLOATS};
}

void pool_device_begin(pool_device *d) {
  d->listed = false;
  d->used = d->n_pieces = 0;
}

static void free_buffer(pool_device *d) {
  d->ops->memory.free(d->be, d->d_vectors);
  d->ops->memory.free_host(d->be, d->landing);
  d->d_vectors = d->landing = NULL;
  d->capacity = 0;
}

void pool_device_free(pool_device *d) {
  if (d->ops == NULL) return;
  free_buffer(d);
  d->ops->memory.free(d->be, d->d_list);
  free(d->list);
  free(d->targets);
  free(d->ranges);
  free(d->pieces);
}

/* One vector more, unless there is none: that is NaN already. */
static lct_status add_entry(pool_device *d, const lct_pool_entry *e, int32_t item, int pooling, lct_error *err) {
  if (e->row < 0 && e->n_mean == 0) return LCT_OK;
  size_t n_mean = e->row < 0 ? (size_t)e->n_mean : 0;
  LCT_TRY(lct_grow(&d->list, &d->cap_list, d->n_outs + 1, sizeof *d->list, "pooled rows", err));
  LCT_TRY(lct_grow(&d->targets, &d->cap_targets, d->n_outs + 1, sizeof *d->targets, "pooled rows", err));
  LCT_TRY(lct_grow(&d->ranges, &d->cap_ranges, d->n_ranges + n_mean, sizeof *d->ranges, "pooled rows", err));
  if (n_mean > 0) memcpy(d->ranges + d->n_ranges, e->mean, n_mean * sizeof *d->ranges);
  d->list[d->n_outs] = (lct_pooled){.row = e->row, .first = (int32_t)d->n_ranges, .n = (int32_t)n_mean};
  d->targets[d->n_outs++] = (pool_target){item, pooling};
  d->n_ranges += n_mean;
  return LCT_OK;
}

static lct_status upload_list(pool_device *d, lct_error *err) {
  size_t outs = d->n_outs * sizeof *d->list, ranges = d->n_ranges * sizeof *d->ranges;
  if (outs + ranges > d->list_bytes) {
    d->ops->memory.free(d->be, d->d_list);
    d->d_list = NULL;
    d->list_bytes = 0;
    size_t bytes = outs + ranges + (outs + ranges) / 2;
    LCT_TRY(d->ops->memory.alloc(d->be, bytes, &d->d_list, err));
    d->list_bytes = bytes;
  }
  if (d->n_outs > 0) LCT_TRY(d->ops->memory.upload(d->be, d->d_list, d->list, outs, err));
  return d->n_ranges > 0 ? d->ops->memory.upload(d->be, (char *)d->d_list + outs, d->ranges, ranges, err) : LCT_OK;
}

/* Room for the vectors of a whole batch, but no more than `most` or the widest plane. */
static lct_status reserve(lct_pool *p, lct_error *err) {
  pool_device *d = &p->device;
  size_t all = 0, widest = 0, most = d->most;
  for (int i = 0; i < p->n_streams; i++) {
    size_t plane = d->n_outs * (size_t)p->streams[i].s.width;
    all += plane * (size_t)p->streams[i].s.n_planes;
    if (plane > widest) widest = plane;
  }
  if (most < widest) most = widest;
  size_t need = all < most ? all : most, grown = 2 * d->capacity < most ? 2 * d->capacity : most;
  if (need <= d->capacity) return LCT_OK;
  if (need < grown) need = grown;
  free_buffer(d);
  LCT_TRY(d->ops->memory.alloc(d->be, need * sizeof(float), (void **)&d->d_vectors, err));
  LCT_TRY(d->ops->memory.alloc_host(d->be, need * sizeof(float), (void **)&d->landing, err));
  d->capacity = need;
  return LCT_OK;
}

/* At the first plane of a pass. */
static lct_status begin_pass(lct_pool *p, lct_error *err) {
  pool_device *d = &p->device;
  d->n_outs = d->n_ranges = 0;
  for (int k = 0; k < p->n_rows; k++) {
    for (int q = 0; q < p->n_poolings; q++) LCT_TRY(add_entry(d, &p->rows[k].entries[q], p->rows[k].item, q, err));
  }
  LCT_TRY(upload_list(d, err));
  LCT_TRY(reserve(p, err));
  d->listed = true;
  return LCT_OK;
}

/* Vectors [from, to) of the buffer, piece after piece. */
static lct_status copy_vectors(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const lct_pool *p = ctx;
  const pool_device *d = &p->device;
  for (int64_t i = from; i < to; i++) {
    const pool_piece *piece = &d->pieces[(size_t)i / d->n_outs];
    const pool_stream *t = &p->streams[piece->stream];
    size_t out = (size_t)i % d->n_outs, width = (size_t)t->s.width;
    float *vector = pool_slot(p, t, d->targets[out].pooling, piece->plane) + (size_t)d->targets[out].item * width;
    memcpy(vector, d->landing + piece->at + out * width, width * sizeof *vector);
  }
  return LCT_OK;
}

/* What is in the buffer goes to the host's vectors. */
static lct_status empty_buffer(lct_pool *p, lct_error *err) {
  pool_device *d = &p->device;
  if (d->n_pieces == 0) return LCT_OK;
  LCT_TRY(d->ops->memory.download(d->be, d->landing, d->d_vectors, d->used * sizeof(float), err));
  LCT_TRY(lct_threads_for(d->used > 1 << 16 ? p->threads : NULL, (int64_t)(d->n_pieces * d->n_outs), 16, copy_vectors, p, err));
  d->used = d->n_pieces = 0;
  return LCT_OK;
}

static lct_status take_plane(lct_pool *p, int stream, int plane, const void *data, lct_dtype dtype, int64_t ld, lct_error *err) {
  pool_device *d = &p->device;
  int width = p->streams[stream].s.width;
  size_t floats = d->n_outs * (size_t)width;
  if (d->used + floats > d->capacity) LCT_TRY(empty_buffer(p, err));
  LCT_TRY(lct_grow(&d->pieces, &d->cap_pieces, d->n_pieces + 1, sizeof *d->pieces, "pooled planes", err));
  const lct_row_range *ranges = (const lct_row_range *)(const void *)((const char *)d->d_list + d->n_outs * sizeof *d->list);
  LCT_TRY(d->ops->rows.pool(d->be, data, dtype, ld, width, d->d_list, ranges, (int)d->n_outs, d->d_vectors + d->used, err));
  d->pieces[d->n_pieces++] = (pool_piece){stream, plane, d->used};
  d->used += floats;
  return LCT_OK;
}

lct_status pool_device_take(void *ctx, lct_source s, int layer, const void *data, lct_dtype dtype, int64_t ld, lct_error *err) {
  lct_pool *p = ctx;
  if (!p->device.listed) LCT_TRY(begin_pass(p, err));
  if (p->device.n_outs == 0) return LCT_OK;
  for (int i = 0; i < p->n_streams; i++) {
    const lct_stream *t = &p->streams[i].s;
    for (int k = 0; k < t->n_planes; k++) {
      if (t->planes[k].source == s && t->planes[k].layer == layer) LCT_TRY(take_plane(p, i, k, data, dtype, ld, err));
    }
  }
  return LCT_OK;
}

lct_status pool_device_end(void *ctx, lct_error *err) { return empty_buffer(ctx, err); }
