/* Pooled vectors: per item (a snapshot or a reference), pooling and plane (a source at a layer) one vector, picked up as the forward pass
 * goes. Planes are grouped into streams, which are what is stored and scored together: usually one source at its layers; the residual
 * stream is hidden_in of layer 0 and hidden_out of every layer. */
#ifndef LCT_CAPTURE_POOL_H
#define LCT_CAPTURE_POOL_H

#include "capture/position.h"
#include "engine/pass.h"
#include "plan/cut.h"

/* One vector of an item: a row of the batch, or the mean over some. */
typedef struct {
  int32_t row;               /* -1: the mean */
  const lct_row_range *mean; /* rows, ascending position; borrowed until the batch is done */
  int32_t n_mean;            /* 0: there is no such vector, it is NaN */
} lct_pool_entry;

/* Entries from places: the rows of a batch that was cut from the places' plan. Lists are the arena's. */
lct_status lct_pool_entries(const lct_place *places, int n, const lct_cut_batch *cut, lct_arena *arena, lct_pool_entry *out,
                            lct_error *err) LCT_CHECKED;

/* Which rows of the coming batch make an item's vectors. */
typedef struct {
  int32_t item;
  const lct_pool_entry *entries; /* (n_poolings) */
} lct_pool_rows;

typedef struct {
  lct_source source;
  int layer; /* -1: of a global source */
} lct_plane;

typedef struct {
  const lct_plane *planes; /* (n_planes), all of one width; borrowed for the pool's life */
  int n_planes, width;
} lct_stream;

/* One source at every layer; planes (n_layers) is filled and borrowed. */
lct_stream lct_stream_of(lct_source s, const lct_config *c, lct_plane *planes);

typedef struct lct_pool lct_pool;

/* e: whose passes the pool will look at, outlives it; NULL: the rows come from elsewhere (lct_pool_taker(p).rows). */
lct_status lct_pool_new(const lct_engine *e, const lct_stream *streams, int n_streams, int n_poolings, lct_pool **out,
                        lct_error *err) LCT_CHECKED;
void lct_pool_free(lct_pool *p);
/* Makes room for the vectors of n_items items, undefined until a batch has made them. Pointers to vectors of before are gone. */
lct_status lct_pool_reserve(lct_pool *p, int32_t n_items, lct_error *err) LCT_CHECKED;
/* Makes the pool look at the rows of the next batch; vectors that the items lack are NaN now. rows is borrowed until the batch is done. */
void lct_pool_begin(lct_pool *p, const lct_pool_rows *rows, int n, int32_t batch_rows);
/* Shows the pool the batch's rows: on the host, or where they lie in the backend's memory, if that has an op for it; the vectors are the
 * pool's when the pass is over. What no plane asks for is passed over. Borrows the pool. */
lct_taker lct_pool_taker(lct_pool *p);
/* (n_items, width) f32 of one stream, pooling, plane: item after item. */
float *lct_pool_vectors(const lct_pool *p, int stream, int pooling, int plane);

#endif
