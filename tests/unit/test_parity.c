/* The engine against transformers (float32, eager attention): goldens by tests/oracle/gen_parity.py, where their form is written.
 */
#include "engine_test.h"

#include "engine/sampler.h"

#define MAX_PROMPTS 8
#define EXACT_LIMIT 1e-5

typedef struct {
  lct_buf file;
  size_t at;
  const char *like;
  uint64_t seed;
  const char *sha256;
  int32_t n_layers, vocab, n_prompts, n_taps;
  int32_t n_tokens[MAX_PROMPTS], n_rows[MAX_PROMPTS];
  const int32_t *ids[MAX_PROMPTS], *rows[MAX_PROMPTS];
  int32_t reply_prompt, n_reply;
  const int32_t *reply;
} golden;

/* The next n bytes of the file. */
static const void *take(golden *g, size_t n) {
  assert_true(n <= g->file.len - g->at);
  g->at += n;
  return g->file.data + g->at - n;
}

static int32_t take_i32(golden *g) { return *(const int32_t *)take(g, 4); }
static const float *take_f32(golden *g, size_t n) { return take(g, n * sizeof(float)); }

static golden golden_open(const char *like) {
  golden g = {0};
  lct_error err;
  char path[512];
  (void)snprintf(path, sizeof path, "%s/tests/goldens/parity/%s.bin", LCT_SOURCE_DIR, like);
  assert_ok(lct_file_read(path, 4 << 20, &g.file, &err));
  assert_string_equal(take(&g, 8), "LCTPAR2");
  g.like = take(&g, 16);
  assert_string_equal(g.like, like);
  memcpy(&g.seed, take(&g, 8), 8);
  g.sha256 = take(&g, 64);
  g.n_layers = take_i32(&g);
  g.vocab = take_i32(&g);
  g.n_prompts = take_i32(&g);
  assert_in_range(g.n_prompts, 1, MAX_PROMPTS);
  for (int i = 0; i < g.n_prompts; i++) {
    g.n_tokens[i] = take_i32(&g);
    g.n_rows[i] = take_i32(&g);
    g.ids[i] = take(&g, (size_t)g.n_tokens[i] * 4);
    g.rows[i] = take(&g, (size_t)g.n_rows[i] * 4);
  }
  g.reply_prompt = take_i32(&g);
  g.n_reply = take_i32(&g);
  g.reply = take(&g, (size_t)g.n_reply * 4);
  g.n_taps = take_i32(&g);
  return g;
}

static lct_source source_named(const char *name) {
  for (int s = 0; s < LCT_N_SOURCES; s++) {
    if (strcmp(lct_source_name((lct_source)s), name) == 0) return (lct_source)s;
  }
  fail_msg("no source %s", name);
  return LCT_N_SOURCES;
}

/* What a tap is off by: over the rows stored whole, and, from the projections, over every row of every prompt. */
typedef struct {
  double stored, stored_norm, all, all_norm;
} error_sums;

static void add_stored(error_sums *e, const shown *k, lct_source s, int layer, int row, const float **want) {
  for (int h = 0; h < shown_heads(k, s); h++) {
    int width = 0;
    const float *got = shown_row(k, s, layer, row, h, &width);
    for (int i = 0; i < width; i++, (*want)++) {
      double d = (double)got[i] - (double)**want;
      e->stored += d * d;
      e->stored_norm += (double)**want * (double)**want;
    }
  }
}

static void add_projections(error_sums *e, const shown *k, lct_source s, int layer, int row, const float *want) {
  double sum[2] = {0, 0};
  for (int h = 0; h < shown_heads(k, s); h++) {
    int width = 0;
    const float *got = shown_row(k, s, layer, row, h, &width);
    for (int i = 0; i < width; i++) {
      for (uint32_t j = 0; j < 2; j++) sum[j] += (double)got[i] * test_sign((uint32_t)(h * 4096 + i), j);
    }
  }
  for (int j = 0; j < 2; j++) e->all += (sum[j] - (double)want[j]) * (sum[j] - (double)want[j]) / 2;
}

/* Reads the next tap of the golden and compares. */
static error_sums compare_tap(golden *g, const shown *k, const lct_plan *p, lct_source *s, int *layer, double rough[2]) {
  error_sums e = {0};
  *s = source_named(take(g, 16));
  *layer = take_i32(g);
  int32_t width = take_i32(g);
  assert_int_equal(width, *s == LCT_SOURCE_ATTN_WEIGHTS ? k->c->n_heads : lct_source_width(*s, k->c));
  for (int i = 0; i < 2; i++) rough[i] = (double)*take_f32(g, 1);
  for (int i = 0; i < g->n_prompts; i++) {
    double norm = (double)*take_f32(g, 1);
    size_t values = 0;
    for (int r = 0; r < g->n_rows[i]; r++) values += *s == LCT_SOURCE_ATTN_WEIGHTS ? (size_t)g->rows[i][r] + 1 : 1;
    const float *want = take_f32(g, values * (size_t)width), *end = want + values * (size_t)width;
    for (int r = 0; r < g->n_rows[i]; r++) add_stored(&e, k, *s, *layer, lct_plan_seq_row(p, i, g->rows[i][r]), &want);
    assert_ptr_equal(want, end);
    want = take_f32(g, (size_t)g->n_tokens[i] * 2);
    for (int r = 0; r < g->n_tokens[i]; r++) add_projections(&e, k, *s, *layer, lct_plan_seq_row(p, i, r), want + 2 * r);
    e.all_norm += norm * norm;
  }
  return e;
}

/* All taps; exact: within EXACT_LIMIT, on the stored rows and on all of them. Otherwise within twice the oracle's own error in the type
 * (0: bfloat16, 1: float16) in which the engine computes. */
static void check_taps(golden *g, lct_engine *e, bool exact, int type) {
  double worst[LCT_N_SOURCES] = {0}, worst_all[LCT_N_SOURCES] = {0};
  lct_plan *p = plan_of(g->ids, g->n_tokens, g->n_prompts, 4096);
  assert_int_equal(lct_plan_n_batches(p), 1);
  shown k = run_all(e, lct_plan_batch(p, 0), NULL);
  int n_bad = 0;
  for (int t = 0; t < g->n_taps; t++) {
    lct_source s = LCT_SOURCE_LOGITS;
    int layer = 0;
    double rough[2] = {0, 0};
    error_sums sums = compare_tap(g, &k, p, &s, &layer, rough);
    double error = sqrt(sums.stored / sums.stored_norm), all = sqrt(sums.all) / sqrt(sums.all_norm);
    double limit = exact ? EXACT_LIMIT : 2 * rough[type], shown_error = exact || rough[type] == 0 ? error : error / rough[type];
    worst[s] = shown_error > worst[s] ? shown_error : worst[s];
    worst_all[s] = all > worst_all[s] ? all : worst_all[s];
    if (error <= limit && (!exact || all <= limit)) continue;
    print_message("%s layer %d: relative L2 error %.3g on stored rows, %.3g on all, limit %.3g\n", lct_source_name(s), layer, error, all,
                  limit);
    n_bad++;
  }
  for (int s = 0; s < LCT_N_SOURCES; s++) {
    const char *name = lct_source_name((lct_source)s);
    if (exact) print_message("  %-13s worst relative L2 %.2e stored rows, %.2e all rows\n", name, worst[s], worst_all[s]);
    else print_message("  %-13s worst error %.2f of the oracle's in %s\n", name, worst[s], type == 0 ? "bf16" : "f16");
  }
  assert_int_equal(n_bad, 0);
  assert_int_equal(g->at, g->file.len);
  shown_free(&k);
  lct_plan_free(p);
}

static void check_bytes(const golden *g, const tiny *t) {
  lct_buf weights = {0};
  lct_error err;
  char path[128], sha[65];
  (void)snprintf(path, sizeof path, "%s/model.safetensors", t->path);
  assert_ok(lct_file_read(path, 16 << 20, &weights, &err));
  lct_sha256_hex(weights.data, weights.len, sha);
  assert_memory_equal(sha, g->sha256, 64);
  lct_buf_free(&weights);
}

static void check_model(const char *like, lct_precision precision) {
  bool exact = precision == LCT_PRECISION_EXACT;
  print_message("%s, %s\n", like, exact ? "exact" : TEST_TYPE(precision) == 0 ? "bf16" : "f16");
  golden g = golden_open(like);
  tiny t = tiny_make(like, g.seed);
  check_bytes(&g, &t);
  assert_int_equal(t.model->config.n_layers, g.n_layers);
  assert_int_equal(t.model->config.vocab, g.vocab);
  lct_engine *e = open_engine(t.model, precision, 2);
  check_taps(&g, e, exact, TEST_TYPE(precision));
  lct_engine_free(e);
  tiny_remove(&t);
  lct_buf_free(&g.file);
}

/* Prefill, then one token at a time over the kept keys. */
static void check_greedy(const char *like) {
  golden g = golden_open(like);
  tiny t = tiny_make(like, g.seed);
  lct_engine *e = open_engine(t.model, TEST_FIRST, 2);
  lct_error err;
  lct_kv *kv = NULL;
  int n = g.n_tokens[g.reply_prompt], end = n + g.n_reply;
  int32_t *ids = checked_calloc((size_t)end, sizeof *ids);
  float *logits = checked_calloc((size_t)g.vocab, sizeof *logits);
  memcpy(ids, g.ids[g.reply_prompt], (size_t)n * sizeof *ids);
  assert_ok(lct_kv_new(e, end, &kv, &err));
  lct_plan *p = plan_of((const int32_t *const[]){ids}, &n, 1, 4096);
  const lct_batch *prompt = lct_plan_batch(p, 0);
  const lct_heads last = {.rows = (const int32_t[]){n - 1}, .n = 1, .logits = logits};
  const lct_heads only = {.rows = (const int32_t[]){0}, .n = 1, .logits = logits};
  assert_ok(lct_pass_run(e, &(lct_pass){.batch = prompt, .kv = kv, .heads = last}, &err));
  for (; n < end; n++) {
    assert_ok(lct_sample(&(lct_sampling){0}, logits, g.vocab, 0, 0, &ids[n], &err));
    assert_int_equal(ids[n], g.reply[n - g.n_tokens[g.reply_prompt]]);
    lct_kv_range before = {0, n};
    lct_segment seg = {.row0 = 0, .n_rows = 1, .pos0 = n, .kv0 = n, .n_ranges = 1, .ranges = &before};
    lct_batch step = {.n_rows = 1, .n_segments = 1, .n_slots = n + 1, .decode = true, .tokens = &ids[n], .positions = &n, .segments = &seg};
    assert_ok(lct_pass_run(e, &(lct_pass){.batch = &step, .kv = kv, .heads = only}, &err));
  }
  lct_plan_free(p);
  lct_kv_free(e, kv);
  lct_engine_free(e);
  tiny_remove(&t);
  free(ids);
  free(logits);
  lct_buf_free(&g.file);
}

static void test_first(void **state) {
  (void)state;
  check_model("tiny-qwen2", TEST_FIRST);
  check_model("tiny-qwen3", TEST_FIRST);
  check_model("tiny-llama", TEST_FIRST);
}
static void test_second(void **state) {
  (void)state;
  check_model("tiny-qwen2", TEST_SECOND);
  check_model("tiny-qwen3", TEST_SECOND);
  check_model("tiny-llama", TEST_SECOND);
}
static void test_greedy(void **state) {
  (void)state;
  check_greedy("tiny-qwen2");
  check_greedy("tiny-qwen3");
  check_greedy("tiny-llama");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_first), cmocka_unit_test(test_second), cmocka_unit_test(test_greedy)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
