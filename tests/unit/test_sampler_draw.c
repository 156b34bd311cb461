/* Draws: the weight of a token against exp, what lct_sample chooses against a plain reading of the definition in sampler.h, and how often
 * tokens come against their probabilities. */
#include "test_support.h"

#include <math.h>

#include "base/half.h"
#include "engine/sampler.h"
#include "engine/sampler_math.h"

static lct_error err;

static uint64_t table[LCT_WEIGHT_TABLE];

static int make_table(void **state) {
  (void)state;
  for (uint32_t i = 0; i < LCT_WEIGHT_TABLE; i++) table[i] = lct_weight_entry(i);
  return 0;
}

/* SplitMix64 */
static uint64_t next(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static double real(uint64_t *state) { return (double)(next(state) >> 11) * 0x1p-53; }
static float normal(uint64_t *state) { return (float)(sqrt(-2 * log(1 - real(state))) * cos(6.283185307179586 * real(state))); }

/* relative error below 2^-38, and half a unit for rounding */
static void check_weight(float max, float logit, double temperature) {
  long double want = expl(((long double)logit - (long double)max) / (long double)temperature) * 0x1p40L;
  uint64_t got = lct_token_weight(table, max, logit, lct_sampling_scale(temperature));
  if (want <= 0.5L && got == 0) return; /* 2^-41 of the largest, or less */
  long double error = fabsl((long double)got - want);
  if (error > want * 0x1p-38L + 0.5L)
    fail_msg("weight of %.9g below %.9g at %g: %llu, %.3Lf", (double)logit, (double)max, temperature, (unsigned long long)got, want);
}

static void test_weight(void **state) {
  (void)state;
  for (int i = 0; i < LCT_WEIGHT_TABLE; i++) {
    long double want = exp2l((long double)-i / 256) * 0x1p63L;
    assert_true(fabsl((long double)table[i] - want) <= 16); /* eight products, each rounded down, of rounded factors */
  }
  uint64_t s = 1;
  for (int i = 0; i < 300000; i++) {
    float max = 20 * normal(&s), d = (float)(real(&s) * (i % 3 == 0 ? 30 : i % 3 == 1 ? 3 : 0.01));
    check_weight(max, max - d, 1);
    check_weight(max, max - d, 0.1 + 3 * real(&s));
  }
  uint64_t last = LCT_WEIGHT_ONE; /* the weight falls with the logit, through all of its range, where a step is above its error */
  for (int i = 0; i <= 30 * 4096; i++) {
    uint64_t w = lct_token_weight(table, 0, -(float)i / 4096, lct_sampling_scale(1));
    assert_true(w <= last);
    last = w;
  }
  assert_int_equal(last, 0);
}

static void test_weight_edges(void **state) {
  (void)state;
  double one = lct_sampling_scale(1), none = lct_sampling_scale(INFINITY);
  assert_true(lct_token_weight(table, 3, 3, one) == LCT_WEIGHT_ONE);
  assert_true(lct_token_weight(table, 0.0f, -0.0f, one) == LCT_WEIGHT_ONE);
  assert_true(lct_token_weight(table, INFINITY, INFINITY, one) == LCT_WEIGHT_ONE);
  assert_true(lct_token_weight(table, -INFINITY, -INFINITY, one) == LCT_WEIGHT_ONE);
  assert_true(lct_token_weight(table, INFINITY, 3e38f, one) == 0);
  assert_true(lct_token_weight(table, 3, -INFINITY, one) == 0);
  assert_true(lct_token_weight(table, 3, -INFINITY, none) == 0);
  assert_true(lct_token_weight(table, 3e38f, -3e38f, lct_sampling_scale(0)) == 0);
  assert_true(lct_token_weight(table, 3, 1, none) == LCT_WEIGHT_ONE);
  float least = (float)(41 * 0.69314718055994530942);
  assert_true(lct_token_weight(table, 0, -nextafterf(least, 0), one) == 1);
  assert_true(lct_token_weight(table, 0, -nextafterf(least, 100), one) == 0);
  assert_true(lct_sampling_scale(-1) == lct_sampling_scale(1e-6) && lct_sampling_scale(NAN) == lct_sampling_scale(1e-6));
  assert_true(lct_sampling_p53(0) == 0 && lct_sampling_p53(1) == 0 && lct_sampling_p53(NAN) == 0 && lct_sampling_p53(-3) == 0);
  assert_true(lct_sampling_p53(0.5) == 1ull << 52 && lct_sampling_p53(1e-300) == 1);
}

/* ---- a plain reading of sampler.h ---- */

typedef struct {
  float logit;
  int32_t id;
} ranked;

static int by_logit(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

static int32_t plain(const lct_sampling *s, const float *logits, int vocab, uint32_t stream, uint32_t step) {
  ranked *r = calloc((size_t)vocab, sizeof *r);
  uint64_t *w = calloc((size_t)vocab, sizeof *w);
  assert_non_null(r);
  assert_non_null(w);
  for (int32_t i = 0; i < vocab; i++) r[i] = (ranked){isnan(logits[i]) ? -INFINITY : logits[i], i};
  qsort(r, (size_t)vocab, sizeof *r, by_logit);
  for (int i = 0; i < vocab; i++) w[i] = lct_token_weight(table, r[0].logit, r[i].logit, lct_sampling_scale(s->temperature));
  int n = vocab;
  if (s->top_k > 0 && s->top_k < n) {
    n = s->top_k;
    while (n < vocab && r[n].logit == r[s->top_k - 1].logit) n++;
  }
  unsigned __int128 total = 0, cumulative = 0;
  for (int i = 0; i < n; i++) total += w[i];
  if (s->top_p > 0 && s->top_p < 1) {
    uint64_t p = (uint64_t)(s->top_p * 0x1p53);
    unsigned __int128 limit = (p > 0 ? p : 1) * total >> 53;
    int keep = 1;
    cumulative = w[0];
    while (keep < n && cumulative + w[keep] <= limit) cumulative += w[keep++];
    n = keep;
    total = cumulative;
  }
  uint64_t state = s->seed + (((uint64_t)stream << 32) + step) * 0x9E3779B97F4A7C15u;
  unsigned __int128 target = (next(&state) >> 11) * total >> 53;
  int at = 0;
  cumulative = w[0];
  while (at + 1 < n && cumulative <= target) cumulative += w[++at];
  assert_true(cumulative > target);
  int32_t id = r[at].id;
  free(w);
  free(r);
  return id;
}

typedef enum { NORMAL, HALF, FEW, EQUAL, DOMINATING, NOT_NUMBERS, ALL_NAN, INFINITE, N_KINDS } kind;

static void fill(kind what, uint64_t *s, float *logits, int vocab) {
  for (int i = 0; i < vocab; i++) {
    float v = 4 * normal(s);
    uint32_t h = (uint32_t)(next(s) >> 40) % 8;
    switch (what) {
    case NORMAL: break;
    case HALF: v = lct_f16_to_f32(lct_f32_to_f16(v)); break;
    case FEW: v = h < 2 ? -0.0f : h < 4 ? 0.0f : (float)h - 6; break;
    case EQUAL: v = -7.5f; break;
    case DOMINATING: v = i == vocab / 2 ? 100 : v; break;
    case NOT_NUMBERS: v = h < 2 ? NAN : h < 4 ? -INFINITY : v; break;
    case ALL_NAN: v = NAN; break;
    default: v = h == 0 || i == vocab - 1 ? INFINITY : h == 1 ? -INFINITY : v;
    }
    logits[i] = v;
  }
}

static void check_draws(int vocab, int every) {
  static const double temperatures[] = {1, 0.7, 0.01, 10, 0}, top_ps[] = {0, 0.1, 0.9, 0.999, 1, 1e-18};
  const int top_ks[] = {0, 1, 5, 50, vocab};
  float *logits = calloc((size_t)vocab, sizeof *logits);
  assert_non_null(logits);
  uint64_t state = (uint64_t)vocab;
  for (int i = 0; i < N_KINDS * 150; i += every) {
    fill((kind)(i % N_KINDS), &state, logits, vocab);
    int j = i / N_KINDS;
    lct_sampling s = {.do_sample = true,
                      .temperature = temperatures[j % 5],
                      .top_k = top_ks[j / 5 % 5],
                      .top_p = top_ps[j / 25 % 6],
                      .seed = (uint64_t)i << 40};
    for (uint32_t step = 0; step < 3; step++) {
      int32_t token = -1, want = plain(&s, logits, vocab, (uint32_t)i, step);
      assert_ok(lct_sample(&s, logits, vocab, (uint32_t)i, step, &token, &err));
      if (token == want) continue;
      fail_msg("kind %d of %d, temperature %g, top_k %d, top_p %g, step %u: token %d, expected %d", i % N_KINDS, vocab, s.temperature,
               s.top_k, s.top_p, step, token, want);
    }
  }
  free(logits);
}

static void test_definition(void **state) {
  (void)state;
  check_draws(1, 1);
  check_draws(2, 1);
  check_draws(31, 1);
  check_draws(257, 1);
  check_draws(5000, 7);
  check_draws(151936, 331);
}

/* ---- how often tokens come ---- */

/* Pearson's statistic of n_draws draws against probabilities p; tokens expected less than ten times are taken together. */
static void check_counts(const int *count, const double *p, int vocab, int n_draws) {
  double chi = 0, rest_want = 0, rest_got = 0;
  int cells = 0;
  for (int i = 0; i < vocab; i++) {
    double want = p[i] * n_draws, d = count[i] - want;
    if (p[i] == 0) assert_int_equal(count[i], 0);
    if (want < 10) {
      rest_want += want;
      rest_got += count[i];
      continue;
    }
    chi += d * d / want;
    cells++;
  }
  if (rest_want >= 10) {
    chi += (rest_got - rest_want) * (rest_got - rest_want) / rest_want;
    cells++;
  }
  double freedom = cells - 1;
  assert_true(chi <= freedom + 4 * sqrt(2 * freedom) + 1e-9); /* four standard deviations above the mean; the draws are fixed */
}

static void draw_often(const lct_sampling *s, const float *logits, const double *p, int vocab) {
  enum { STREAMS = 4, STEPS = 25000 };
  int *count = calloc((size_t)vocab, sizeof *count);
  assert_non_null(count);
  for (uint32_t i = 0; i < STREAMS * STEPS; i++) {
    int32_t token = -1;
    assert_ok(lct_sample(s, logits, vocab, i / STEPS, i % STEPS, &token, &err));
    assert_in_range(token, 0, vocab - 1);
    count[token]++;
  }
  check_counts(count, p, vocab, STREAMS * STEPS);
  free(count);
}

static void test_frequencies(void **state) {
  (void)state;
  enum { VOCAB = 60, KEPT = 9 };
  float logits[VOCAB];
  double p[VOCAB], sum = 0;
  uint64_t random = 5;
  for (int i = 0; i < VOCAB; i++) logits[i] = 2 * normal(&random);
  for (int i = 0; i < VOCAB; i++) sum += p[i] = exp((double)logits[i] / 0.8);
  for (int i = 0; i < VOCAB; i++) p[i] /= sum;
  draw_often(&(lct_sampling){.do_sample = true, .temperature = 0.8, .seed = 1}, logits, p, VOCAB);

  for (int i = 0; i < VOCAB; i++) { /* the KEPT most probable alone */
    int above = 0;
    for (int j = 0; j < VOCAB; j++) above += logits[j] > logits[i] ? 1 : 0;
    if (above >= KEPT) p[i] = 0;
  }
  sum = 0;
  for (int i = 0; i < VOCAB; i++) sum += p[i];
  for (int i = 0; i < VOCAB; i++) p[i] /= sum;
  draw_often(&(lct_sampling){.do_sample = true, .temperature = 0.8, .top_k = KEPT, .seed = 2}, logits, p, VOCAB);

  for (int i = 0; i < VOCAB; i++) logits[i] = 3, p[i] = 1.0 / VOCAB;
  draw_often(&(lct_sampling){.do_sample = true, .temperature = 1, .seed = 3}, logits, p, VOCAB);
}

static void test_limit(void **state) {
  (void)state;
  assert_ok(lct_sampling_check(1 << 22, &err));
  assert_fails(lct_sampling_check((1 << 22) + 1, &err), LCT_E_LIMIT, "sampling from a vocabulary of 4194305 tokens: at most 4194304");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_weight),      cmocka_unit_test(test_weight_edges), cmocka_unit_test(test_definition),
      cmocka_unit_test(test_frequencies), cmocka_unit_test(test_limit),
  };
  return cmocka_run_group_tests(tests, make_table, NULL);
}
