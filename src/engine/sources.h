/* The table of sources: the only place that names a tap, says where it is cut and how wide it is. Names are Activation Lab's. */
#ifndef LCT_ENGINE_SOURCES_H
#define LCT_ENGINE_SOURCES_H

#include "model/model.h"

/* id, name, width (an expression over `const lct_config *c`; attn_weights is (heads, q, kv) and has no fixed width: 0), group, where cut
 * group: which key of a scenario's `capture` asks for it */
#define LCT_SOURCES(X)                                                                                                    \
  X(HIDDEN_IN, "hidden_in", c->hidden, HIDDEN, "residual stream entering the layer")                                      \
  X(HIDDEN_OUT, "hidden_out", c->hidden, HIDDEN, "residual stream leaving the layer; the last one before the final norm") \
  X(Q, "q", c->n_heads * c->head_dim, QKV, "q_proj with bias, before q-norm and RoPE")                                    \
  X(K, "k", c->n_kv_heads * c->head_dim, QKV, "k_proj with bias, before k-norm and RoPE")                                 \
  X(V, "v", c->n_kv_heads * c->head_dim, QKV, "v_proj with bias")                                                         \
  X(ATTN_WEIGHTS, "attn_weights", 0, ATTENTION, "softmax(QK^T/sqrt(head_dim)) per head")                                  \
  X(ATTN_OUT, "attn_out", c->hidden, QKV, "o_proj output")                                                                \
  X(MLP_GATE, "mlp_gate", c->intermediate, MLP, "gate_proj output")                                                       \
  X(MLP_UP, "mlp_up", c->intermediate, MLP, "up_proj output")                                                             \
  X(MLP_ACT, "mlp_act", c->intermediate, MLP, "silu(gate), the output of act_fn")                                         \
  X(MLP_DOWN_IN, "mlp_down_in", c->intermediate, MLP, "silu(gate)*up, the input of down_proj")                            \
  X(MLP_DOWN_OUT, "mlp_down_out", c->hidden, MLP, "down_proj output")                                                     \
  X(EMBEDDINGS, "embeddings", c->hidden, HIDDEN, "token embedding (global)")                                              \
  X(LOGITS, "logits", c->vocab, LOGITS, "lm_head output (global)")

typedef enum {
#define LCT_SOURCE_ENUM(id, name, width, group, where) LCT_SOURCE_##id,
  LCT_SOURCES(LCT_SOURCE_ENUM)
#undef LCT_SOURCE_ENUM
      LCT_N_SOURCES
} lct_source;

typedef enum { LCT_GROUP_HIDDEN, LCT_GROUP_QKV, LCT_GROUP_ATTENTION, LCT_GROUP_MLP, LCT_GROUP_LOGITS } lct_source_group;

/* The sources that add up along the residual stream, in the order of the axis of a scan's scores. */
enum { LCT_N_RESIDUAL = 4 };
extern const lct_source LCT_RESIDUAL_SOURCES[LCT_N_RESIDUAL];

const char *lct_source_name(lct_source s);
lct_source_group lct_source_get_group(lct_source s);
int lct_source_width(lct_source s, const lct_config *c); /* 0 for attn_weights */
bool lct_source_is_global(lct_source s);                 /* embeddings, logits: not per layer */
#define LCT_SOURCE_BIT(s) (1u << (s))

#endif
