/* Inside the engine: weights on the backend, the workspace, the KV cache. */
#ifndef LCT_ENGINE_IMPL_H
#define LCT_ENGINE_IMPL_H

#include "engine/engine.h"

typedef struct {
  float *attn_norm, *mlp_norm; /* (hidden) on the backend */
  float *q_norm, *k_norm;      /* (head_dim) on the backend, NULL when absent */
  lct_weight *qkv, *o, *gate_up, *down;
} engine_layer;

/* Rows of logits held at once. */
#define LCT_LOGIT_ROWS 128

typedef struct {
  int32_t cap_rows;
  float *x;                       /* (rows, hidden) f32 residual stream */
  void *h;                        /* (rows, hidden) in */
  void *qkv;                      /* (rows, q + 2 kv) out */
  void *q;                        /* (rows, n_heads*head_dim), at most 4 bytes an element */
  void *ctx;                      /* (rows, n_heads*head_dim) in */
  void *y;                        /* (rows, hidden) out */
  void *gate_up;                  /* (ops->mlp_rows, 2*intermediate) out */
  void *act;                      /* (ops->mlp_rows, intermediate) in */
  float *silu;                    /* (ops->mlp_rows, intermediate) f32, for the mlp_act tap */
  void *logits;                   /* (LCT_LOGIT_ROWS, vocab) out */
  float *head_x;                  /* (LCT_LOGIT_ROWS, hidden) f32 */
  void *head_h;                   /* (LCT_LOGIT_ROWS, hidden) in */
  int32_t *d_positions, *d_slots; /* (rows) */
  int32_t *slots;                 /* (rows) host */
  float *stage;                   /* rows on their way to the host */
  size_t stage_floats;
} engine_workspace;

struct lct_kv {
  int32_t n_slots;
  int n_layers;
  lct_kv_layer *layers;
};

struct lct_engine {
  const lct_model *model;
  lct_config cfg;
  const lct_ops *ops;
  lct_backend *be;
  lct_threads *threads;
  lct_embedding *embed;
  lct_weight *head;
  float *final_norm;
  engine_layer *layers;
  lct_attn_shape attn;
  float *inv_freq;  /* (head_dim/2) host */
  float *d_cos_sin; /* (cap_positions, head_dim/2, 2) */
  int cap_positions;
  lct_kv *one_layer; /* keys of the current layer alone, for passes that keep none */
  engine_workspace ws;
  double seconds_linear;
};

static inline size_t engine_dtype_bytes(lct_dtype t) { return lct_dtype_row_bytes(t, 1); }
/* Makes room for batches of n_rows rows and positions below n_positions. */
lct_status engine_reserve(lct_engine *e, int32_t n_rows, int n_positions, lct_error *err) LCT_CHECKED;
void engine_workspace_free(lct_engine *e);
lct_status engine_kv_new(lct_engine *e, int n_layers, int32_t n_slots, lct_kv **out, lct_error *err) LCT_CHECKED;

#endif
