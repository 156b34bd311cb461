/* Pooled vectors: per item (a snapshot or a reference), pooling, source and layer one vector, picked up as the forward pass goes. */
#ifndef LCT_CAPTURE_POOL_H
#define LCT_CAPTURE_POOL_H

#include "engine/engine.h"
#include "score/score.h"

/* Which rows of the coming batch make an item's vectors. */
typedef struct {
  int32_t item;
  int32_t last;         /* row of the prompt's last token */
  int32_t content_last; /* row of the last token of the message's own text, -1: it has none */
  const lct_kv_range *content; /* rows of the message's own text, ascending position; borrowed until the batch is done */
  int32_t n_content;
} lct_pool_rows;

typedef struct lct_pool lct_pool;

/* Vectors of n_items items for the given per-layer sources of width hidden. Vectors never shown stay NaN. */
lct_status lct_pool_new(const lct_config *c, const lct_source *sources, int n_sources, int32_t n_items, lct_pool **out,
                        lct_error *err) LCT_CHECKED;
void lct_pool_free(lct_pool *p);
/* Makes the pool look at the rows of the next batch. */
lct_status lct_pool_begin(lct_pool *p, const lct_pool_rows *rows, int n, int32_t batch_rows, lct_error *err) LCT_CHECKED;
uint32_t lct_pool_wanted(const lct_pool *p);
/* The tap's rows callback; ctx is the pool. */
lct_status lct_pool_take(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) LCT_CHECKED;
/* (n_items, hidden) f32 of one source, pooling, layer: item after item. source is an index into the sources given. */
const float *lct_pool_vectors(const lct_pool *p, int source, lct_pooling pooling, int layer);

#endif
