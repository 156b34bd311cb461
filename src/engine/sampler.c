#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  float logit;
  int32_t id;
} ranked;

static int by_logit(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

static int32_t argmax(const float *v, int n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++) {
    if (v[i] > v[best]) best = i;
  }
  return best;
}

static double uniform(uint64_t seed, uint32_t stream, uint32_t step) {
  uint64_t z = seed + ((((uint64_t)stream << 32) | step) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return (double)(z >> 11) * 0x1p-53;
}

/* How many of the n descending candidates survive top-k and top-p; probs receives their unnormalised probabilities. */
static int keep(const lct_sampling *s, const ranked *r, int n, double temperature, double *probs) {
  if (s->top_k > 0 && s->top_k < n) {
    int k = s->top_k;
    while (k < n && r[k].logit == r[s->top_k - 1].logit) k++;
    n = k;
  }
  double total = 0;
  for (int i = 0; i < n; i++) total += probs[i] = exp(((double)r[i].logit - (double)r[0].logit) / temperature);
  if (s->top_p <= 0.0 || s->top_p >= 1.0) return n;
  double cumulative = probs[0] / total;
  int k = 1;
  while (k < n && (cumulative += probs[k] / total) <= s->top_p) k++;
  return k;
}

lct_status lct_sample(const lct_sampling *s, const float *logits, int vocab, uint32_t stream, uint32_t step, int32_t *token,
                      lct_error *err) {
  *token = argmax(logits, vocab);
  if (!s->do_sample) return LCT_OK;
  ranked *r = NULL;
  double *probs = NULL;
  LCT_TRY(lct_calloc(&r, (size_t)vocab, sizeof *r, "sampling", err));
  lct_status status = lct_calloc(&probs, (size_t)vocab, sizeof *probs, "sampling", err);
  if (status == LCT_OK) {
    for (int32_t i = 0; i < vocab; i++) r[i] = (ranked){logits[i], i};
    qsort(r, (size_t)vocab, sizeof *r, by_logit);
    int n = keep(s, r, vocab, s->temperature > 1e-6 ? s->temperature : 1e-6, probs);
    double total = 0, cumulative = 0;
    for (int i = 0; i < n; i++) total += probs[i];
    double target = uniform(s->seed, stream, step) * total;
    int pick = 0;
    while (pick < n - 1 && (cumulative += probs[pick]) <= target) pick++;
    *token = r[pick].id;
  }
  free(probs);
  free(r);
  return status;
}

/* The k largest in descending order: a sorted list of k, since k is some tens and nearly every candidate fails its first test. */
static void top_k(const float *logits, int vocab, int k, lct_top *top) {
  int n = 0;
  for (int32_t i = 0; i < vocab; i++) {
    if (n == k && !(logits[i] > top[n - 1].logprob)) continue;
    int at = n < k ? n++ : n - 1;
    while (at > 0 && top[at - 1].logprob < logits[i]) {
      top[at] = top[at - 1];
      at--;
    }
    top[at] = (lct_top){i, logits[i]};
  }
}

lct_status lct_logits_describe(const float *logits, int vocab, int k, lct_top *top, lct_logit_stats *stats, lct_error *err) {
  if (k < 0 || k > vocab) return lct_fail(err, LCT_E_USAGE, "top-k of %d over a vocabulary of %d", k, vocab);
  int32_t best = argmax(logits, vocab);
  double max = logits[best], sum = 0, weighted = 0;
  for (int i = 0; i < vocab; i++) {
    double d = (double)logits[i] - max, e = exp(d);
    sum += e;
    weighted += e * d;
  }
  double log_sum = log(sum);
  /* H = -sum p log p with log p = d - log_sum */
  stats->argmax = best;
  stats->argmax_logprob = (float)-log_sum;
  stats->entropy = log_sum - weighted / sum;
  stats->effective_vocab = exp(stats->entropy);
  stats->top1_prob = 1.0 / sum;
  if (k > 0) {
    top_k(logits, vocab, k, top);
    for (int i = 0; i < k; i++) top[i].logprob = (float)((double)top[i].logprob - max - log_sum);
  }
  return LCT_OK;
}
