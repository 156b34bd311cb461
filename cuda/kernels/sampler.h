/* The next token of rows of logits. */
#ifndef LCT_CUDA_KERNELS_SAMPLER_H
#define LCT_CUDA_KERNELS_SAMPLER_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LCT_CHOOSE_MAX_TOP 1024

/* How to draw: lct_sampling_scale, lct_sampling_p53 and top_k of a sampling; draw false: argmax. */
typedef struct {
  double scale;
  uint64_t p53;
  int top_k;
  bool draw;
} lct_k_draw;

/* What lct_logits_finish needs, and the token chosen. */
typedef struct {
  double sum, weighted;
  float max;
  int32_t argmax, token, unused;
} lct_k_choice;

/* For each row of logits (n, vocab) of `type` F32, F16 or BF16 with leading dimension ld, a multiple of 8: the token that lct_sample
 * chooses with the random bits u53[row] (not read unless draw->draw), sums, and the k <= LCT_CHOOSE_MAX_TOP largest logits in descending
 * order (lower id first on a tie) -> out (n), top (n, k; logprob holds the logit). vocab <= 2^22, k <= vocab. */
lct_status lct_k_choose(lct_dtype type, const void *logits, int64_t ld, int n, int vocab, const lct_k_draw *draw, const uint64_t *u53,
                        int k, lct_k_choice *out, lct_top *top, cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
