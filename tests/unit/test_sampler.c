/* Sampling and what is said of logits: goldens by tests/oracle/gen_engine.py (Activation Lab's masks in torch, the documented
 * generator written again in Python, torch's log_softmax in float64). */
#include "test_support.h"

#include <math.h>

#include "base/file.h"
#include "engine/sampler.h"

enum { MAX_VECTORS = 16 };

typedef struct {
  lct_buf file;
  size_t at;
  int32_t n, vocab[MAX_VECTORS];
  const float *logits[MAX_VECTORS];
} golden;

static const char *next(golden *g, size_t n) {
  assert_true(n <= g->file.len - g->at);
  g->at += n;
  return g->file.data + g->at - n;
}

static int32_t next_i32(golden *g) {
  int32_t v;
  memcpy(&v, next(g, 4), 4);
  return v;
}

static double next_f64(golden *g) {
  double v;
  memcpy(&v, next(g, 8), 8);
  return v;
}

static golden golden_open(void) {
  golden g = {0};
  lct_error err;
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/tests/goldens/parity/sampler.bin", 4 << 20, &g.file, &err));
  g.n = next_i32(&g);
  assert_in_range(g.n, 1, MAX_VECTORS);
  for (int i = 0; i < g.n; i++) {
    g.vocab[i] = next_i32(&g);
    g.logits[i] = (const float *)(const void *)next(&g, (size_t)g.vocab[i] * 4);
  }
  return g;
}

static void check_draw(golden *g) {
  lct_error err;
  uint32_t place[2]; /* stream, step */
  int32_t token = -1, vector = next_i32(g), do_sample = next_i32(g), top_k = next_i32(g);
  memcpy(place, next(g, 8), 8);
  lct_sampling s = {.do_sample = do_sample != 0, .top_k = top_k};
  s.temperature = next_f64(g);
  s.top_p = next_f64(g);
  memcpy(&s.seed, next(g, 8), 8);
  int32_t want = next_i32(g);
  assert_ok(lct_sample(&s, g->logits[vector], g->vocab[vector], place[0], place[1], &token, &err));
  if (token == want) return;
  fail_msg("vector %d, temperature %g, top_k %d, top_p %g, seed %llu, stream %u, step %u: token %d, expected %d", vector, s.temperature,
           top_k, s.top_p, (unsigned long long)s.seed, place[0], place[1], token, want);
}

static void check_description(golden *g) {
  lct_error err;
  lct_logit_stats stats;
  int32_t vector = next_i32(g), k = next_i32(g);
  double want[4]; /* entropy, effective_vocab, top1_prob, argmax_logprob */
  memcpy(want, next(g, sizeof want), sizeof want);
  int32_t argmax = next_i32(g);
  lct_top *top = calloc((size_t)k + 1, sizeof *top);
  assert_non_null(top);
  assert_ok(lct_logits_describe(g->logits[vector], g->vocab[vector], k, top, &stats, &err));
  assert_int_equal(stats.argmax, argmax);
  assert_true(fabs(stats.entropy - want[0]) <= 1e-9);
  assert_true(fabs(stats.effective_vocab - want[1]) <= 1e-9 * want[1]);
  assert_true(fabs(stats.top1_prob - want[2]) <= 1e-12);
  assert_true(fabs((double)stats.argmax_logprob - want[3]) <= 1e-7 * fabs(want[3]) + 1e-12);
  for (int32_t i = 0; i < k; i++) assert_int_equal(top[i].id, next_i32(g));
  for (int32_t i = 0; i < k; i++) {
    double logprob = next_f64(g);
    assert_true(fabs((double)top[i].logprob - logprob) <= 1e-7 * fabs(logprob) + 1e-12);
  }
  free(top);
}

static void test_against_torch(void **state) {
  (void)state;
  golden g = golden_open();
  int32_t n = next_i32(&g);
  assert_true(n > 1000);
  for (int32_t i = 0; i < n; i++) check_draw(&g);
  n = next_i32(&g);
  assert_true(n > 20);
  for (int32_t i = 0; i < n; i++) check_description(&g);
  assert_int_equal(g.at, g.file.len);
  lct_buf_free(&g.file);
}

static void test_errors(void **state) {
  (void)state;
  static const float logits[] = {1, 2, 3};
  lct_top top[4];
  lct_logit_stats stats;
  lct_error err;
  assert_fails(lct_logits_describe(logits, 3, 4, top, &stats, &err), LCT_E_USAGE, "top-k of 4 over a vocabulary of 3");
  assert_fails(lct_logits_describe(logits, 3, -1, top, &stats, &err), LCT_E_USAGE, "top-k of -1 over a vocabulary of 3");
  int32_t token = -1; /* more candidates than tokens: all of them */
  lct_sampling s = {.do_sample = true, .temperature = 1, .top_k = 4, .seed = 1};
  assert_ok(lct_sample(&s, logits, 3, 0, 0, &token, &err));
  assert_in_range(token, 0, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_torch), cmocka_unit_test(test_errors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
