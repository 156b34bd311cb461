/* Inside the pool: vectors on the host, and what makes them on a backend whose memory is not the host's. */
#ifndef LCT_CAPTURE_POOL_IMPL_H
#define LCT_CAPTURE_POOL_IMPL_H

#include "capture/pool.h"

typedef struct {
  lct_stream s;
  float *vectors;  /* (pooling, plane, item, width) f32 */
  size_t capacity; /* floats */
  double *sums;    /* (n_rows, n_poolings, width): of the plane being shown */
  size_t cap_sums;
} pool_stream;

/* Vectors of a plane in the buffer: (n_outs, width), beginning at float `at`. */
typedef struct {
  int stream, plane;
  size_t at;
} pool_piece;

/* The vectors of a batch are numbers of a list, the same for every plane. */
typedef struct {
  int32_t item;
  int32_t pooling;
} pool_target;

typedef struct {
  const lct_ops *ops; /* NULL: vectors are made on the host */
  lct_backend *be;
  lct_pooled *list;      /* (n_outs) */
  pool_target *targets;  /* (n_outs) */
  lct_row_range *ranges; /* (n_ranges) */
  size_t cap_list, cap_targets, cap_ranges, n_outs, n_ranges;
  bool listed;  /* the batch's list is on the backend */
  void *d_list; /* list, then ranges */
  size_t list_bytes;
  float *d_vectors, *landing;  /* (capacity) floats on the backend; the same on the host */
  size_t capacity, used, most; /* most: of capacity, unless one plane alone is larger */
  pool_piece *pieces;          /* what is in the buffer */
  size_t cap_pieces, n_pieces;
} pool_device;

struct lct_pool {
  lct_threads *threads; /* the engine's; NULL without one */
  int n_streams, n_poolings;
  int32_t n_items, batch_rows;
  pool_stream *streams;
  unsigned char *layers;     /* (the engine's n_layers) 0/1: those of the planes; NULL without an engine */
  const lct_pool_rows *rows; /* of the current batch */
  int n_rows;
  pool_device device;
};

/* Where the vectors of all items lie. */
static inline float *pool_slot(const lct_pool *p, const pool_stream *t, int pooling, int plane) {
  size_t i = (size_t)pooling * (size_t)t->s.n_planes + (size_t)plane;
  return t->vectors + i * (size_t)p->n_items * (size_t)t->s.width;
}

void pool_device_init(pool_device *d, const lct_engine *e);
/* A new batch: what the last one left in the buffer is forgotten. */
void pool_device_begin(pool_device *d);
void pool_device_free(pool_device *d);
/* The taker's callbacks; ctx is the pool. */
lct_status pool_device_take(void *ctx, lct_source s, int layer, const void *data, lct_dtype dtype, int64_t ld, lct_error *err) LCT_CHECKED;
lct_status pool_device_end(void *ctx, lct_error *err) LCT_CHECKED;

#endif
