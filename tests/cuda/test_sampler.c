/* Choosing on the GPU against lct_sample and lct_logits_describe: the same tokens, always; the same most probable tokens; statistics that
 * differ by the order of summation alone. */
#include "cuda_test.h"

#include "engine/ops.h"

#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static const lct_dtype types[] = {LCT_DTYPE_F32, LCT_DTYPE_F16, LCT_DTYPE_BF16};

static lct_error err;

/* ---- rows of logits ---- */

typedef enum { NORMAL, WIDE, TIES, EQUAL, DOMINATING, HUGE_RANGE, ZEROS, NOT_NUMBERS, ALL_NAN, INFINITE, N_KINDS } kind;

static float normal(uint32_t seed, size_t i) {
  double u = ((double)(test_hash(seed, (uint32_t)i) >> 8) + 0.5) * 0x1p-24;
  double v = (double)(test_hash(seed ^ 0x55555555u, (uint32_t)i) >> 8) * 0x1p-24;
  return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static float logit(kind what, uint32_t seed, size_t i, int vocab) {
  bool chosen = i == test_hash(seed, 0x80000000u) % (uint32_t)vocab;
  uint32_t h = test_hash(seed + 1, (uint32_t)i);
  switch (what) {
  case NORMAL: return 3 * normal(seed, i);
  case WIDE: return 10 * normal(seed, i) - 40;
  case TIES: return (float)(h % 13) * 0.5f - 3;
  case EQUAL: return -1.25f;
  case DOMINATING: return chosen ? 60 : normal(seed, i);
  case HUGE_RANGE: return 15000 * normal(seed, i);
  case ZEROS: return h % 3 == 0 ? -0.0f : h % 3 == 1 ? 0.0f : -(float)(h >> 8) * 0x1p-24f;
  case NOT_NUMBERS: return h % 4 == 0 ? NAN : h % 4 == 1 ? -INFINITY : normal(seed, i);
  case ALL_NAN: return h % 2 == 0 ? NAN : -NAN;
  default: return h % 50 == 7 || chosen ? INFINITY : h % 3 == 0 ? -INFINITY : normal(seed, i);
  }
}

typedef struct {
  lct_dtype type;
  int n, vocab;
  int64_t ld;
  float *host; /* (n, ld) as the type holds them; NaN behind vocab */
  test_buffer d;
} rows;

static rows rows_new(lct_dtype type, const kind *kinds, int n, int vocab, uint32_t seed) {
  rows r = {.type = type, .n = n, .vocab = vocab, .ld = (vocab + 7) / 8 * 8 + 8};
  size_t size = (size_t)n * (size_t)r.ld;
  r.host = malloc((size + 1) * sizeof *r.host);
  assert_non_null(r.host);
  for (int i = 0; i < n; i++) {
    for (int64_t j = 0; j < r.ld; j++) {
      float v = j < vocab ? logit(kinds[i], seed + 17 * (uint32_t)i, (size_t)j, vocab) : NAN;
      r.host[i * r.ld + j] = test_round(type, v);
    }
  }
  r.d = test_upload_as(type, r.host, size);
  return r;
}

static void rows_free(rows *r) {
  test_release(&r->d);
  free(r->host);
}

/* ---- running ---- */

typedef struct {
  lct_k_choice *choices; /* (n) */
  lct_top *top;          /* (n, k) */
} result;

static uint64_t bits_of(const lct_sampling *s, uint32_t step) { return lct_sampling_u53(s->seed, 0, step); }

/* Row i draws as step step0 + i. */
static result run(const rows *r, const lct_sampling *s, uint32_t step0, int k) {
  lct_k_draw draw = {.scale = lct_sampling_scale(s->temperature),
                     .p53 = lct_sampling_p53(s->top_p),
                     .top_k = s->top_k,
                     .draw = s->do_sample};
  uint64_t *u53 = malloc((size_t)r->n * sizeof *u53);
  assert_non_null(u53);
  for (int i = 0; i < r->n; i++) u53[i] = bits_of(s, step0 + (uint32_t)i);
  test_buffer d_u53 = test_upload(u53, (size_t)r->n * sizeof *u53), out = test_output((size_t)r->n * sizeof(lct_k_choice));
  test_buffer top = test_output((size_t)r->n * (size_t)k * sizeof(lct_top));
  assert_ok(lct_k_choose(r->type, r->d.d, r->ld, r->n, r->vocab, &draw, d_u53.d, k, out.d, top.d, NULL, &err));
  result got = {test_download(&out), test_download(&top)};
  test_unchanged(&d_u53, u53);
  test_release(&d_u53);
  test_release(&out);
  test_release(&top);
  free(u53);
  return got;
}

static void result_free(result *r) {
  free(r->choices);
  free(r->top);
}

/* ---- checking ---- */

static bool close_to(double got, double want, double relative, double absolute) {
  return isnan(want) ? isnan(got) : got == want || fabs(got - want) <= relative * fabs(want) + absolute;
}

static void check_row(const rows *r, const lct_sampling *s, uint32_t step, int k, int i, result *got) {
  const float *logits = r->host + i * r->ld;
  int32_t token = -1;
  assert_ok(lct_sample(s, logits, r->vocab, 0, step, &token, &err));
  lct_k_choice *c = &got->choices[i];
  if (c->token != token) {
    fail_msg("%s, row %d, vocabulary %d, temperature %g, top_k %d, top_p %g, step %u: token %d, expected %d", lct_dtype_name(r->type), i,
             r->vocab, s->temperature, s->top_k, s->top_p, step, c->token, token);
  }
  lct_top *want = calloc((size_t)k + 1, sizeof *want), *top = got->top + (size_t)i * (size_t)k;
  assert_non_null(want);
  lct_logit_stats want_stats, stats;
  assert_ok(lct_logits_describe(logits, r->vocab, k, want, &want_stats, &err));
  for (int j = 0; j < k; j++) {
    assert_int_equal(top[j].id, want[j].id);
    float v = logits[top[j].id];
    if (top[j].logprob != (isnan(v) ? -INFINITY : v)) {
      fail_msg("logit %g of token %d, expected %g", (double)top[j].logprob, top[j].id, (double)v);
    }
  }
  lct_logits_finish(c->argmax, (double)c->max, c->sum, c->weighted, k, top, &stats);
  assert_int_equal(stats.argmax, want_stats.argmax);
  /* sums of up to 2^20 doubles, each with an error of half a unit an addition: 2^-33 at worst */
  assert_true(close_to(stats.entropy, want_stats.entropy, 1e-9, 1e-12));
  assert_true(close_to(stats.effective_vocab, want_stats.effective_vocab, 1e-9, 0));
  assert_true(close_to(stats.top1_prob, want_stats.top1_prob, 1e-9, 0));
  assert_true(close_to((double)stats.argmax_logprob, (double)want_stats.argmax_logprob, 0x1p-23, 1e-12)); /* rounded to f32 */
  for (int j = 0; j < k; j++) assert_true(close_to((double)top[j].logprob, (double)want[j].logprob, 0x1p-23, 1e-9));
  free(want);
}

static void check(const rows *r, const lct_sampling *s, uint32_t step0, int k) {
  result got = run(r, s, step0, k);
  for (int i = 0; i < r->n; i++) check_row(r, s, step0 + (uint32_t)i, k, i, &got);
  void *p = test_encode(r->type, r->host, (size_t)r->n * (size_t)r->ld);
  test_unchanged(&r->d, p);
  free(p);
  result_free(&got);
}

static lct_sampling sampling(uint32_t i, int vocab) {
  static const double temperatures[] = {1, 0.7, 0.01, 0.3, 2, 10, 0, 1e9}, top_ps[] = {0, 0.9, 0.1, 0.999, 1, 1e-20, 0.5};
  const int top_ks[] = {0, 50, 1, 5, vocab, vocab - 1};
  return (lct_sampling){.do_sample = true,
                        .temperature = temperatures[i % N_OF(temperatures)],
                        .top_p = top_ps[i / 2 % N_OF(top_ps)],
                        .top_k = top_ks[i % N_OF(top_ks)],
                        .seed = i};
}

static int least(int a, int b) { return a < b ? a : b; }

static void test_like_cpu(void **state) {
  (void)state;
  static const int vocabs[] = {257, 31, 2, 1, 8, 5000};
  static const int n_rounds[] = {8, 4, 2, 1, 2, 2};
  kind kinds[3 * N_KINDS];
  for (int i = 0; i < N_OF(kinds); i++) kinds[i] = (kind)(i % N_KINDS);
  uint32_t seed = 0;
  for (int t = 0; t < N_OF(types); t++) {
    for (int v = 0; v < N_OF(vocabs); v++) {
      rows r = rows_new(types[t], kinds, N_OF(kinds), vocabs[v], 1000 * (uint32_t)v + (uint32_t)t);
      for (int i = 0; i < n_rounds[v]; i++, seed++) {
        lct_sampling s = sampling(seed, vocabs[v]);
        const int ks[] = {20, LCT_CHOOSE_MAX_TOP, 128, 0, 1};
        check(&r, &s, 7 * seed, least(ks[i % N_OF(ks)], vocabs[v]));
      }
      rows_free(&r);
    }
  }
}

/* Qwen's vocabulary, and one beyond 2^20 whose last chunk is short. */
static void test_large(void **state) {
  (void)state;
  static const kind kinds[] = {NORMAL, TIES, EQUAL};
  for (int t = 0; t < N_OF(types); t++) {
    rows r = rows_new(types[t], kinds, N_OF(kinds), 151936, 77 + (uint32_t)t);
    lct_sampling s = {.do_sample = true, .temperature = 0.7, .top_k = t == 1 ? 20 : 0, .top_p = t == 2 ? 0 : 0.95, .seed = 3};
    check(&r, &s, 5, t == 0 ? 128 : 20);
    rows_free(&r);
  }
  rows r = rows_new(LCT_DTYPE_F16, kinds, 1, (1 << 20) + 3, 5);
  check(&r, &(lct_sampling){.do_sample = true, .temperature = 1, .seed = 9}, 0, 5);
  rows_free(&r);
}

static void test_greedy(void **state) {
  (void)state;
  kind kinds[N_KINDS];
  for (int i = 0; i < N_KINDS; i++) kinds[i] = (kind)i;
  for (int t = 0; t < N_OF(types); t++) {
    rows r = rows_new(types[t], kinds, N_KINDS, 1003, 9);
    check(&r, &(lct_sampling){0}, 0, 3);
    rows_free(&r);
  }
}

/* A row alone, and as another row among others: the same bits. */
static void test_company(void **state) {
  (void)state;
  static const kind kinds[] = {TIES, NORMAL, DOMINATING, WIDE, HUGE_RANGE};
  enum { VOCAB = 4099, K = 33 };
  lct_sampling s = {.do_sample = true, .temperature = 1.3, .top_k = 900, .top_p = 0.97, .seed = 1};
  for (int t = 0; t < N_OF(types); t++) {
    rows all = rows_new(types[t], kinds, N_OF(kinds), VOCAB, 3);
    result together = run(&all, &s, 40, K);
    for (int i = 0; i < all.n; i++) {
      rows one = all;
      one.n = 1;
      one.d = test_upload_as(types[t], all.host + i * all.ld, (size_t)all.ld);
      result alone = run(&one, &s, 40 + (uint32_t)i, K);
      assert_same_bits(alone.choices, together.choices + i, sizeof *alone.choices);
      assert_same_bits(alone.top, together.top + i * K, K * sizeof *alone.top);
      result_free(&alone);
      test_release(&one.d);
    }
    result_free(&together);
    rows_free(&all);
  }
}

/* Through the backend: the op of ops.h, against the CPU's. */
static void check_op(lct_precision precision, lct_dtype t) {
  enum { VOCAB = 1000, N = 12, K = 20 };
  kind kinds[N];
  uint32_t steps[N];
  lct_top top[2][N][K];
  lct_choice got[N], want[N];
  lct_backend *be = NULL, *cpu = NULL;
  assert_ok(lct_cuda_ops()->open(&(lct_backend_options){.precision = precision}, &be, &err));
  assert_ok(lct_cpu_ops()->open(&(lct_backend_options){.precision = LCT_PRECISION_EXACT}, &cpu, &err));
  assert_int_equal(lct_cuda_ops()->out_dtype(be), t);
  for (int i = 0; i < N; i++) {
    kinds[i] = (kind)(i % NOT_NUMBERS);
    steps[i] = (uint32_t)(i * i);
    got[i].top = top[0][i];
    want[i].top = top[1][i];
  }
  rows r = rows_new(t, kinds, N, VOCAB, 21);
  for (int i = 0; i < 4; i++) {
    lct_sampling s = {.do_sample = i > 0, .temperature = 0.8, .top_k = i == 2 ? 40 : 0, .top_p = i == 3 ? 0.9 : 0, .seed = 1u << 31};
    int k = i == 1 ? 0 : K;
    assert_ok(lct_cuda_ops()->choose(be, r.d.d, r.ld, N, VOCAB, &s, steps, k, got, &err));
    assert_ok(lct_cpu_ops()->choose(cpu, r.host, r.ld, N, VOCAB, &s, steps, k, want, &err));
    for (int j = 0; j < N; j++) {
      assert_int_equal(got[j].token, want[j].token);
      assert_int_equal(got[j].stats.argmax, want[j].stats.argmax);
      assert_true(close_to(got[j].stats.entropy, want[j].stats.entropy, 1e-9, 1e-12));
      for (int m = 0; m < k; m++) {
        assert_int_equal(top[0][j][m].id, top[1][j][m].id);
        assert_true(close_to((double)top[0][j][m].logprob, (double)top[1][j][m].logprob, 0x1p-23, 1e-9));
      }
    }
  }
  assert_fails(lct_cuda_ops()->choose(be, r.d.d, r.ld, N, VOCAB, &(lct_sampling){0}, steps, 1025, got, &err), LCT_E_UNSUPPORTED,
               "the 1025 most probable tokens of a step: on a GPU at most 1024");
  rows_free(&r);
  lct_cuda_ops()->close(be);
  lct_cpu_ops()->close(cpu);
}

static void test_op(void **state) {
  (void)state;
  check_op(LCT_PRECISION_F16, LCT_DTYPE_F16);
  check_op(LCT_PRECISION_BF16, LCT_DTYPE_BF16);
}

static void test_limits(void **state) {
  (void)state;
  static const kind kinds[] = {NORMAL};
  rows r = rows_new(LCT_DTYPE_F16, kinds, 1, 64, 1);
  lct_k_draw draw = {.scale = 1};
  test_buffer out = test_output(sizeof(lct_k_choice));
  void *p = r.d.d;
  assert_ok(lct_k_choose(LCT_DTYPE_F16, p, r.ld, 0, 64, &draw, NULL, 0, out.d, NULL, NULL, &err));
  assert_fails(lct_k_choose(LCT_DTYPE_F16, p, 68, 1, 64, &draw, NULL, 0, out.d, NULL, NULL, &err), LCT_E_UNSUPPORTED,
               "choose: 64 logits a row, rows 68 apart: expected a multiple of 8 that is no less");
  assert_int_equal(lct_k_choose(LCT_DTYPE_F16, p, 56, 1, 64, &draw, NULL, 0, out.d, NULL, NULL, &err), LCT_E_UNSUPPORTED);
  assert_fails(lct_k_choose(LCT_DTYPE_F16, p, 4096, 1, 4000, &draw, NULL, 1025, out.d, NULL, NULL, &err), LCT_E_UNSUPPORTED,
               "choose: the 1025 most probable of 4000 tokens: on a GPU at most 1024");
  assert_int_equal(lct_k_choose(LCT_DTYPE_F16, p, 64, 1, 64, &draw, NULL, 65, out.d, NULL, NULL, &err), LCT_E_UNSUPPORTED);
  assert_int_equal(lct_k_choose(LCT_DTYPE_F16, p, 5 << 20, 1, 5 << 20, &draw, NULL, 1, out.d, NULL, NULL, &err), LCT_E_LIMIT);
  assert_int_equal(lct_k_choose(LCT_DTYPE_Q8_0, p, 64, 1, 64, &draw, NULL, 1, out.d, NULL, NULL, &err), LCT_E_UNSUPPORTED);
  void *untouched = test_download(&out);
  assert_true(test_is_blank(untouched, TEST_MARGIN % 4, out.bytes));
  free(untouched);
  test_release(&out);
  rows_free(&r);
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_like_cpu), cmocka_unit_test(test_large), cmocka_unit_test(test_greedy),
      cmocka_unit_test(test_company),  cmocka_unit_test(test_op),    cmocka_unit_test(test_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
