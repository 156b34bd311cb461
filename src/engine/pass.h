/* A pass: one forward over a batch, and who is shown rows as it computes them. Takers are a list: each is added, none knows of the others,
 * and what one of them is shown does not depend on them. */
#ifndef LCT_ENGINE_PASS_H
#define LCT_ENGINE_PASS_H

#include "engine/engine.h"

/* Is shown rows of some sources, in the order of the source table's computation, layer by layer, on the thread that runs the pass. Within one
 * (source, layer) row ranges ascend and cover [0, n_rows) of the batch. Callbacks that are NULL are not called. */
typedef struct {
  void *ctx;
  uint32_t sources;            /* LCT_SOURCE_BIT: only these */
  const unsigned char *layers; /* (n_layers) 0/1: only these; NULL: all. Sources that the model has once ignore it. */
  /* data (n, width) f32 on the host, leading dimension ld; valid during the call */
  lct_status (*rows)(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err);
  /* Instead of `rows`, where all rows of the batch lie in one piece in the backend's memory: data (n_rows, width) of `dtype`, leading dimension
   * ld. Ops that follow may overwrite them: what is done with them are ops too. A source that comes in blocks goes to `rows` all the same. */
  lct_status (*device)(void *ctx, lct_source s, int layer, const void *data, lct_dtype dtype, int64_t ld, lct_error *err);
  /* softmax weights of rows [row0, row0 + n) of segment `segment`: (n_heads, n, n_keys) f32, of LCT_SOURCE_ATTN_WEIGHTS */
  lct_status (*attention)(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err);
  lct_status (*end)(void *ctx, lct_error *err); /* behind the pass's last op */
} lct_taker;

enum { LCT_MAX_TAKERS = 8 };

/* What is wanted of the logits; none of it need come to the host but what is asked for. */
typedef struct {
  const int32_t *rows; /* (n) rows of the batch whose logits are wanted */
  int n;
  float *logits;       /* (n, vocab) f32 on the host, or NULL */
  lct_choice *choices; /* (n), or NULL: the next tokens, with sampling at steps[i] and the top_k most probable */
  const lct_sampling *sampling;
  const uint32_t *steps; /* (n) */
  int top_k;
} lct_heads;

typedef struct {
  const lct_batch *batch;
  lct_kv *kv;      /* NULL: no later pass needs the keys; one layer's worth is held */
  lct_heads heads; /* rows whose logits are wanted; n == 0: none */
  lct_taker takers[LCT_MAX_TAKERS];
  int n_takers;
  void (*layer_done)(void *ctx, int layer); /* may be NULL */
  void *layer_ctx;
  const volatile int *cancel; /* may be NULL; polled at every layer: LCT_E_CANCELLED */
} lct_pass;

/* LCT_E_LIMIT beyond LCT_MAX_TAKERS. A taker of no sources is passed over. */
lct_status lct_pass_add(lct_pass *p, const lct_taker *t, lct_error *err) LCT_CHECKED;
/* NaN or Inf in the residual stream: LCT_E_NUMERIC naming layer, source and token. */
lct_status lct_pass_run(lct_engine *e, const lct_pass *p, lct_error *err) LCT_CHECKED;

#endif
