/* Plain types of ops, shared with kernels and their launchers: no functions here, so that a change of engine/ops.h compiles no kernel anew. */
#ifndef LCT_ENGINE_TYPES_H
#define LCT_ENGINE_TYPES_H

#include <stdbool.h>

#include "model/dtype.h"
#include "plan/range.h"

/* How the next token is chosen: lct_sample. */
typedef struct {
  bool do_sample;
  double temperature; /* as Activation Lab: logits / max(temperature, 1e-6) */
  int top_k;          /* 0: off; keeps every logit >= the k-th largest */
  double top_p;       /* <= 0 or >= 1: off; drops tokens whose cumulative probability (descending, itself included) exceeds top_p,
                         never the first */
  uint64_t seed;
} lct_sampling;

/* One of the most probable tokens. */
typedef struct {
  int32_t id;
  float logprob;
} lct_top;

/* What a row of logits says: lct_logits_describe. */
typedef struct {
  int32_t argmax;
  float argmax_logprob;
  double entropy;         /* nats, over the whole vocabulary */
  double effective_vocab; /* exp(entropy) */
  double top1_prob;
} lct_logit_stats;

typedef struct {
  int n_heads, n_kv_heads, head_dim;
  float scale; /* 1/sqrt(head_dim) */
} lct_attn_shape;

/* K and V of one layer: k, v (n_slots, n_kv_heads*head_dim), element type is the backend's business; row = slot. */
typedef struct {
  void *k, *v;
} lct_kv_layer;

/* What was lost when weights were converted to the backend's type. */
typedef struct {
  int64_t overflow, underflow, nonfinite; /* became Inf; became zero; were not finite before */
} lct_conversion;

/* Rows of a buffer that make one vector: a row as it is, or the mean over some. */
typedef struct {
  int32_t row;   /* >= 0: this row; -1: the mean */
  int32_t first; /* of the mean: ranges [first, first + n) of a list, at least one row in all */
  int32_t n;
} lct_pooled;

/* What is said of one row of logits: the next token, statistics, the most probable tokens. */
typedef struct {
  int32_t token;
  lct_logit_stats stats;
  lct_top *top; /* (top_k), the caller's */
} lct_choice;

#endif
