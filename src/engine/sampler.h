/* From logits to the next token, and what a logit vector says: top-k log-probabilities, entropy, effective vocabulary. */
#ifndef LCT_ENGINE_SAMPLER_H
#define LCT_ENGINE_SAMPLER_H

#include "base/fail.h"
#include "engine/types.h"

/* The next token of `logits` (vocab) f32: argmax (lowest id on a tie), or a draw; vocab <= 2^22. The result is defined over integers, so
 * that every machine and every backend chooses the same token for the same logits:
 * - A token weighs w = exp((logit - largest) / temperature) * 2^40, rounded to nearest (sampler_math.h says how, to the bit). One whose
 *   probability is 2^-41 of the most probable token's, or less, weighs 0: it is never drawn.
 * - Tokens stand in descending order of logit, lower id first on a tie. top_k keeps every one with a logit >= the k-th; top_p then
 *   drops those whose cumulative weight (itself included) exceeds floor(P * total / 2^53), never the first; P is top_p * 2^53 rounded
 *   down, at least 1.
 * - The draw of step `step` of stream `stream` takes the 53 random bits u = z >> 11, z = the output of SplitMix64 at state seed +
 *   (stream * 2^32 + step + 1) * 0x9E3779B97F4A7C15, and chooses the first kept token whose cumulative weight exceeds
 *   floor(u * total / 2^53), total being that of the kept tokens.
 * NaN counts as -infinity; -0 equals +0. */
lct_status lct_sample(const lct_sampling *s, const float *logits, int vocab, uint32_t stream, uint32_t step, int32_t *token,
                      lct_error *err) LCT_CHECKED;

/* Statistics of log_softmax(logits); the k most probable tokens, descending (lower id first on a tie), into top[k]; k <= vocab.
 * NaN counts as -infinity. */
lct_status lct_logits_describe(const float *logits, int vocab, int k, lct_top *top, lct_logit_stats *stats, lct_error *err) LCT_CHECKED;

/* ---- what a backend that samples by itself shares with the above ---- */

/* LCT_E_LIMIT when so many tokens cannot be drawn from. */
lct_status lct_sampling_check(int vocab, lct_error *err) LCT_CHECKED;
/* What lct_token_weight multiplies a difference of logits with: 2^40 log2(e) / max(temperature, 1e-6). */
double lct_sampling_scale(double temperature);
/* P of top_p; 0: off. */
uint64_t lct_sampling_p53(double top_p);
/* The 53 random bits of a draw. */
uint64_t lct_sampling_u53(uint64_t seed, uint32_t stream, uint32_t step);
/* From the sums over all tokens of e^d and d e^d, d = logit - max: statistics and, in place, log-probabilities of top[k], which holds
 * logits. */
void lct_logits_finish(int32_t argmax, double max, double sum, double weighted, int k, lct_top *top, lct_logit_stats *stats);

#endif
