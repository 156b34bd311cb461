/* From logits to the next token, and what a logit vector says: top-k log-probabilities, entropy, effective vocabulary. */
#ifndef LCT_ENGINE_SAMPLER_H
#define LCT_ENGINE_SAMPLER_H

#include "base/mem.h"

typedef struct {
  bool do_sample;
  double temperature; /* as Activation Lab: logits / max(temperature, 1e-6) */
  int top_k;          /* 0: off; keeps every logit >= the k-th largest */
  double top_p;       /* <= 0 or >= 1: off; drops tokens whose cumulative probability (descending, itself included) exceeds top_p,
                         never the first */
  uint64_t seed;
} lct_sampling;

/* The next token of `logits` (vocab) f32: argmax (lowest id on a tie), or a draw. The draw of step `step` of stream `stream` uses
 * u = (z >> 11) * 2^-53 with z = the output of SplitMix64 at state seed + (stream * 2^32 + step + 1) * 0x9E3779B97F4A7C15, and takes the
 * first kept token, in descending order of logit (lower id first on a tie), whose cumulative probability exceeds u. */
lct_status lct_sample(const lct_sampling *s, const float *logits, int vocab, uint32_t stream, uint32_t step, int32_t *token,
                      lct_error *err) LCT_CHECKED;

typedef struct {
  int32_t id;
  float logprob;
} lct_top;

typedef struct {
  int32_t argmax;
  float argmax_logprob;
  double entropy;         /* nats, over the whole vocabulary */
  double effective_vocab; /* exp(entropy) */
  double top1_prob;
} lct_logit_stats;

/* Statistics of log_softmax(logits); the k most probable tokens, descending (lower id first on a tie), into top[k]; k <= vocab. */
lct_status lct_logits_describe(const float *logits, int vocab, int k, lct_top *top, lct_logit_stats *stats, lct_error *err) LCT_CHECKED;

#endif
