/* The engine: one model on one backend. */
#ifndef LCT_ENGINE_ENGINE_H
#define LCT_ENGINE_ENGINE_H

#include "engine/sources.h"
#include "engine/ops.h"

typedef struct lct_engine lct_engine;

/* Takes the rows of some sources where they lie, in the backend's memory, so that they need not come to the host. */
typedef struct {
  void *ctx;
  uint32_t sources; /* bits; of a tap's `wanted` */
  /* All rows of the batch: data (n_rows, width) of type `dtype` on the backend, leading dimension ld. They may be overwritten by ops that
   * follow: what is done with them are ops too. */
  lct_status (*take)(void *ctx, lct_source s, int layer, const void *data, lct_dtype dtype, int64_t ld, lct_error *err);
  lct_status (*end)(void *ctx, lct_error *err); /* behind the pass's last op */
} lct_device_tap;

/* What a forward pass shows on the way. Called on the thread that runs the pass, layer by layer, in the order of the source table's
 * computation; within one (source, layer) row ranges ascend and cover [0, n_rows) of the batch. */
typedef struct {
  void *ctx;
  uint32_t wanted; /* bit (1u << LCT_SOURCE_x): only these are shown */
  const unsigned char *layers; /* (n_layers) 0/1: only these layers; NULL: all. Globals ignore it. */
  lct_device_tap device; /* takes its sources instead of `rows`; where a source comes in blocks of rows it is shown all the same */
  /* data (n, width) f32 on the host, leading dimension ld; valid during the call */
  lct_status (*rows)(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err);
  /* softmax weights of rows [row0, row0+n) of segment `segment`: (n_heads, n, n_keys) f32 */
  void (*layer_done)(void *ctx, int layer); /* may be NULL */
  lct_status (*attn)(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err);
} lct_tap;

/* KV cache of all layers, for decoding after a prefill. */
typedef struct lct_kv lct_kv;

lct_status lct_engine_new(const lct_model *m, const lct_ops *ops, const lct_backend_options *o, lct_engine **out, lct_error *err)
    LCT_CHECKED;
void lct_engine_free(lct_engine *e);
const lct_config *lct_engine_config(const lct_engine *e);
const lct_ops *lct_engine_ops(const lct_engine *e);
lct_backend *lct_engine_backend(const lct_engine *e);
/* What was lost when the engine's weights were converted to the backend's type. */
lct_status lct_engine_conversion(const lct_engine *e, lct_conversion *out, lct_error *err) LCT_CHECKED;

/* Wall time spent in matrix products so far; 0 on a device. */
double lct_engine_seconds_linear(const lct_engine *e);
/* Bytes a row (a token) of a batch takes in the workspace, and one KV slot of all layers. */
size_t lct_engine_row_bytes(const lct_engine *e);
size_t lct_engine_slot_bytes(const lct_engine *e);

lct_status lct_kv_new(lct_engine *e, int32_t n_slots, lct_kv **out, lct_error *err) LCT_CHECKED;
void lct_kv_free(lct_engine *e, lct_kv *kv);

/* One forward pass over the batch. kv: NULL when no later pass needs the keys (then one layer's worth is held). tap may be NULL.
 * logit_rows[n_logit_rows]: rows whose logits are wanted: logits (n_logit_rows, vocab) f32 on the host, may be NULL with 0 rows.
 * NaN or Inf in the residual stream: LCT_E_NUMERIC naming layer, source and token. *cancel (may be NULL) is polled per layer. */
lct_status lct_engine_forward(lct_engine *e, const lct_batch *batch, lct_kv *kv, const lct_tap *tap, const int32_t *logit_rows,
                              int n_logit_rows, float *logits, const volatile int *cancel, lct_error *err) LCT_CHECKED;

typedef struct {
  const int32_t *rows; /* (n) rows of the batch whose logits are wanted */
  int n;
  float *logits;       /* (n, vocab) f32 on the host, or NULL */
  lct_choice *choices; /* (n), or NULL: the next tokens, with sampling at steps[i] and the top_k most probable */
  const lct_sampling *sampling;
  const uint32_t *steps; /* (n) */
  int top_k;
} lct_heads;

/* As lct_engine_forward; what is wanted of the logits need not come to the host. */
lct_status lct_engine_run(lct_engine *e, const lct_batch *batch, lct_kv *kv, const lct_tap *tap, const lct_heads *heads,
                          const volatile int *cancel, lct_error *err) LCT_CHECKED;

#endif
