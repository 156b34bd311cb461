#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sampler_math.h"

#define DIGIT 11 /* bits that one pass of sorting looks at */
#define N_PASSES 3
#define MAX_VOCAB (1 << 22) /* the weights' sum stays below 2^63 */

static float without_nan(float v) { return v == v ? v : -INFINITY; }

/* Ascending as logits descend; equal for equal logits. */
static uint32_t rank_of(float v) {
  uint32_t u;
  float sure = v == 0.0f ? 0.0f : v;
  memcpy(&u, &sure, 4);
  return (u >> 31) != 0 ? u : 0x7fffffffu - u;
}

static int32_t argmax(const float *v, int n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++) {
    if (without_nan(v[i]) > without_nan(v[best])) best = i;
  }
  return best;
}

double lct_sampling_scale(double temperature) { return 0x1.71547652b82fep40 / (temperature > 1e-6 ? temperature : 1e-6); }

uint64_t lct_sampling_p53(double top_p) {
  if (!(top_p > 0.0 && top_p < 1.0)) return 0;
  return top_p < 0x1p-53 ? 1 : (uint64_t)(top_p * 0x1p53);
}

uint64_t lct_sampling_u53(uint64_t seed, uint32_t stream, uint32_t step) {
  uint64_t z = seed + ((((uint64_t)stream << 32) | step) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (z ^ (z >> 31)) >> 11;
}

lct_status lct_sampling_check(int vocab, lct_error *err) {
  if (vocab <= MAX_VOCAB) return LCT_OK;
  return lct_fail(err, LCT_E_LIMIT, "sampling from a vocabulary of %d tokens: at most %d", vocab, MAX_VOCAB);
}

/* The tokens that weigh something, as rank << 32 | id, and their weights. */
typedef struct {
  uint64_t table[LCT_WEIGHT_TABLE];
  const float *logits;
  float max;
  double scale;
  uint64_t *items, *spare; /* (vocab) */
  int n;
} candidates;

static uint64_t weight_of(const candidates *c, int32_t id) {
  return lct_token_weight(c->table, c->max, without_nan(c->logits[id]), c->scale);
}

/* By rank, keeping the order of equals, which is that of their ids. */
static void sort(candidates *c) {
  for (int pass = 0; pass < N_PASSES; pass++) {
    uint32_t at[1 << DIGIT] = {0}, begin = 0;
    int shift = 32 + pass * DIGIT, mask = (1 << DIGIT) - 1;
    for (int i = 0; i < c->n; i++) at[(int)(c->items[i] >> shift) & mask]++;
    for (int d = 0; d <= mask; d++) {
      uint32_t count = at[d];
      at[d] = begin;
      begin += count;
    }
    for (int i = 0; i < c->n; i++) c->spare[at[(int)(c->items[i] >> shift) & mask]++] = c->items[i];
    uint64_t *swap = c->items;
    c->items = c->spare;
    c->spare = swap;
  }
}

/* The first token of the order whose cumulative weight exceeds target (the last, if there is none); *before: that of those before it. */
static int32_t pick(const candidates *c, uint64_t target, uint64_t *before) {
  *before = 0;
  for (int i = 0;; i++) {
    int32_t id = (int32_t)(uint32_t)c->items[i];
    uint64_t w = weight_of(c, id);
    if (*before + w > target || i == c->n - 1) return id;
    *before += w;
  }
}

static int32_t draw(const lct_sampling *s, candidates *c, int vocab, uint64_t u53) {
  uint64_t total = 0, before = 0;
  for (int32_t i = 0; i < vocab; i++) {
    uint64_t w = weight_of(c, i);
    if (w == 0) continue;
    c->items[c->n++] = (uint64_t)rank_of(without_nan(c->logits[i])) << 32 | (uint32_t)i;
    total += w;
  }
  sort(c);
  if (s->top_k > 0 && s->top_k < c->n) {
    int n = s->top_k;
    while (n < c->n && c->items[n] >> 32 == c->items[s->top_k - 1] >> 32) n++;
    c->n = n;
    total = 0;
    for (int i = 0; i < n; i++) total += weight_of(c, (int32_t)(uint32_t)c->items[i]);
  }
  uint64_t p53 = lct_sampling_p53(s->top_p);
  if (p53 > 0) {
    (void)pick(c, lct_part_53(p53, total), &before);
    total = before; /* 0 where only the first is kept: it is the first whose cumulative weight exceeds 0 */
  }
  return pick(c, lct_part_53(u53, total), &before);
}

lct_status lct_sample(const lct_sampling *s, const float *logits, int vocab, uint32_t stream, uint32_t step, int32_t *token,
                      lct_error *err) {
  int32_t best = *token = argmax(logits, vocab);
  if (!s->do_sample) return LCT_OK;
  LCT_TRY(lct_sampling_check(vocab, err));
  candidates c = {.logits = logits, .max = without_nan(logits[best]), .scale = lct_sampling_scale(s->temperature)};
  uint64_t *memory = NULL;
  LCT_TRY(lct_alloc_aligned(&memory, (size_t)vocab, 2 * sizeof *memory, "sampling", err));
  c.items = memory;
  c.spare = memory + vocab;
  for (uint32_t i = 0; i < LCT_WEIGHT_TABLE; i++) c.table[i] = lct_weight_entry(i);
  *token = draw(s, &c, vocab, lct_sampling_u53(s->seed, stream, step));
  free(memory);
  return LCT_OK;
}

/* The k largest in descending order: a sorted list of k, since k is some tens and nearly every candidate fails its first test. */
static void top_k(const float *logits, int vocab, int k, lct_top *top) {
  int n = 0;
  for (int32_t i = 0; i < vocab; i++) {
    float v = without_nan(logits[i]);
    if (n == k && !(v > top[n - 1].logprob)) continue;
    int at = n < k ? n++ : n - 1;
    while (at > 0 && top[at - 1].logprob < v) {
      top[at] = top[at - 1];
      at--;
    }
    top[at] = (lct_top){i, v};
  }
}

void lct_logits_finish(int32_t best, double max, double sum, double weighted, int k, lct_top *top, lct_logit_stats *stats) {
  double log_sum = log(sum);
  /* H = -sum p log p with log p = d - log_sum */
  stats->argmax = best;
  stats->argmax_logprob = (float)-log_sum;
  stats->entropy = log_sum - weighted / sum;
  stats->effective_vocab = exp(stats->entropy);
  stats->top1_prob = 1.0 / sum;
  for (int i = 0; i < k; i++) top[i].logprob = (float)((double)top[i].logprob - max - log_sum);
}

lct_status lct_logits_describe(const float *logits, int vocab, int k, lct_top *top, lct_logit_stats *stats, lct_error *err) {
  if (k < 0 || k > vocab) return lct_fail(err, LCT_E_USAGE, "top-k of %d over a vocabulary of %d", k, vocab);
  int32_t best = argmax(logits, vocab);
  double max = without_nan(logits[best]), sum = 0, weighted = 0;
  for (int i = 0; i < vocab; i++) {
    double d = (double)without_nan(logits[i]) - max, e = exp(d);
    sum += e;
    if (e > 0) weighted += e * d; /* not 0 * -infinity */
  }
  if (k > 0) top_k(logits, vocab, k, top);
  lct_logits_finish(best, max, sum, weighted, k, top, stats);
  return LCT_OK;
}
