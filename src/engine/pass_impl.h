/* Inside a pass: what its layers share, the kinds of layers, and the showing of rows. */
#ifndef LCT_ENGINE_PASS_IMPL_H
#define LCT_ENGINE_PASS_IMPL_H

#include "engine/engine_impl.h"
#include "engine/pass.h"

typedef struct {
  lct_engine *e;
  const lct_ops *ops;
  lct_backend *be;
  const lct_batch *batch;
  const lct_taker *takers;
  int n_takers;
  int n; /* rows */
} engine_pass;

/* Checks the batch, makes room for it, and brings to the backend what its ops need to know. *kv NULL: one layer's worth, the engine's. */
lct_status pass_begin(engine_pass *p, lct_kv **kv, lct_error *err) LCT_CHECKED;
/* Behind the last op. */
lct_status pass_end(const engine_pass *p, lct_error *err) LCT_CHECKED;

/* Whether anyone takes source s of the layer. */
bool pass_wants(const engine_pass *p, lct_source s, int layer);
/* Shows rows [row0, row0 + n) of source s: `data` is the backend's buffer whose first row is row0, columns [col0, col0 + width). */
lct_status pass_show(const engine_pass *p, lct_source s, int layer, int row0, int n, const void *data, lct_dtype dtype, int64_t ld,
                     int64_t col0, lct_error *err) LCT_CHECKED;
/* Dense softmax weights of the queries in the workspace. */
lct_status pass_show_attention(const engine_pass *p, int layer, lct_kv_layer kv, lct_error *err) LCT_CHECKED;

/* Looks for NaN and Inf in the residual stream. Tags: 0 the embeddings, l + 1 what layer l leaves. */
lct_status pass_check_finite(const engine_pass *p, int tag, lct_error *err) LCT_CHECKED;
/* Fails if any has been found. */
lct_status pass_read_finite(const engine_pass *p, lct_error *err) LCT_CHECKED;

/* y = x W^T + b. On the host the time it takes is counted; a device's is not known when the call returns. */
lct_status pass_linear(const engine_pass *p, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy,
                       lct_error *err) LCT_CHECKED;

/* block_attention.c, block_mlp.c. A block finds the normed rows of the residual stream in the workspace, adds what it computes to the stream,
 * and leaves its normed rows for the block that follows. */
lct_status attention_block(const engine_pass *p, int layer, lct_kv_layer kv, lct_error *err) LCT_CHECKED;
lct_status mlp_block(const engine_pass *p, int layer, lct_error *err) LCT_CHECKED;

#endif
