/* What an engine refuses, what it notices while it runs, and which rows it shows. */
#include "engine_test.h"

#define SEED 3

static const int32_t IDS[] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170};
enum { N_IDS = sizeof IDS / sizeof *IDS };

static lct_plan *plan_one(int32_t n) { return plan_of((const int32_t *const[]){IDS}, &n, 1, 4096); }

/* Puts NaN at element (row, col) of the tensor `pick` finds, in the file. */
static tiny spoilt(const lct_tensor *(*pick)(const lct_model *), int64_t row, int64_t col) {
  tiny t = tiny_write("tiny-qwen2", SEED);
  lct_error err;
  char path[128];
  assert_ok(lct_model_map(t.path, &t.model, &err));
  const lct_tensor *x = pick(t.model);
  assert_int_equal(x->dtype, LCT_DTYPE_BF16);
  assert_int_equal(t.model->n_maps, 1);
  long at = (long)((const unsigned char *)x->data - t.model->maps[0].data) + 2 * (long)(row * x->cols + col);
  lct_model_unmap(t.model);
  t.model = NULL;
  (void)snprintf(path, sizeof path, "%s/model.safetensors", t.path);
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  const unsigned char nan[2] = {0xc0, 0x7f};
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  assert_int_equal(fwrite(nan, 1, 2, f), 2);
  assert_int_equal(fclose(f), 0);
  assert_ok(lct_model_map(t.path, &t.model, &err));
  return t;
}

static const lct_tensor *embedding(const lct_model *m) { return &m->embed; }
static const lct_tensor *down_2(const lct_model *m) { return &m->layers[2].down; }
static const lct_tensor *v_1(const lct_model *m) { return &m->layers[1].v; }

static void check_nan(const lct_tensor *(*pick)(const lct_model *), int64_t row, int64_t col, const char *message) {
  tiny t = spoilt(pick, row, col);
  lct_engine *e = open_engine(t.model, TEST_FIRST, 2);
  lct_plan *p = plan_one(N_IDS);
  lct_error err;
  float logits[2 * 600];
  const int32_t rows[] = {0, N_IDS - 1};
  lct_pass pass = {.batch = lct_plan_batch(p, 0), .heads = {.rows = rows, .n = 2, .logits = logits}};
  assert_fails(lct_pass_run(e, &pass, &err), LCT_E_NUMERIC, message);
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&t);
}

static void test_nan_weights(void **state) {
  (void)state;
  check_nan(embedding, 50, 7, "not a finite number in layer 0, embeddings, token 4 (id 50, position 4), dimension 7");
  check_nan(down_2, 9, 300, "not a finite number in layer 2, hidden_out, token 0 (id 10, position 0), dimension 9");
  check_nan(v_1, 0, 0, "not a finite number in layer 1, hidden_out, token 0 (id 10, position 0), dimension 0");
}

static void test_bad_batches(void **state) {
  (void)state;
  tiny t = tiny_make("tiny-qwen2", SEED);
  t.model->config.max_positions = N_IDS - 1;
  lct_engine *e = open_engine(t.model, TEST_FIRST, 1);
  lct_error err;
  lct_kv *kv = NULL;
  const int32_t below[] = {3, -1, 4}, above[] = {3, 599, 600}, three = 3;
  lct_plan *p = plan_of((const int32_t *const[]){below}, &three, 1, 4096);
  assert_fails(lct_pass_run(e, &(lct_pass){.batch = lct_plan_batch(p, 0)}, &err), LCT_E_FORMAT,
               "token id -1 outside the model's vocabulary of 600");
  lct_plan_free(p);
  p = plan_of((const int32_t *const[]){above}, &three, 1, 4096);
  assert_fails(lct_pass_run(e, &(lct_pass){.batch = lct_plan_batch(p, 0)}, &err), LCT_E_FORMAT,
               "token id 600 outside the model's vocabulary of 600");
  lct_plan_free(p);
  p = plan_one(N_IDS);
  assert_fails(lct_pass_run(e, &(lct_pass){.batch = lct_plan_batch(p, 0)}, &err), LCT_E_LIMIT,
               "a prompt of 17 tokens is longer than the model's context of 16");
  lct_plan_free(p);
  p = plan_one(N_IDS - 1);
  assert_ok(lct_kv_new(e, N_IDS - 2, &kv, &err));
  assert_fails(lct_pass_run(e, &(lct_pass){.batch = lct_plan_batch(p, 0), .kv = kv}, &err), LCT_E_USAGE,
               "a KV cache of 15 rows is too small for a batch that needs 16");
  lct_kv_free(e, kv);
  assert_ok(lct_pass_run(e, &(lct_pass){.batch = lct_plan_batch(p, 0)}, &err)); /* a full context works */
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&t);
}

typedef struct {
  volatile int cancel;
  int cancel_after; /* layer */
  int fail_at;      /* layer, -1: never */
  int n_rows[LCT_N_SOURCES][4];
  int n_ends;
} watch;

static void on_layer(void *ctx, int layer) {
  watch *w = ctx;
  if (layer == w->cancel_after) w->cancel = 1;
}

static lct_status on_rows(void *ctx, lct_source s, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  (void)row0;
  (void)data;
  (void)ld;
  watch *w = ctx;
  w->n_rows[s][layer < 0 ? 0 : layer] += n;
  return layer >= 0 && layer == w->fail_at ? lct_fail(err, LCT_E_IO, "the disk is full") : LCT_OK;
}

static lct_status on_attn(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  (void)segment;
  (void)n_keys;
  return on_rows(ctx, LCT_SOURCE_ATTN_WEIGHTS, layer, row0, n, data, 0, err);
}

static lct_status on_end(void *ctx, lct_error *err) {
  (void)err;
  watch *w = ctx;
  w->n_ends++;
  return LCT_OK;
}

static lct_pass pass_of(watch *w, const lct_batch *b, uint32_t sources, const unsigned char *layers) {
  lct_error err;
  lct_pass p = {.batch = b, .layer_done = on_layer, .layer_ctx = w, .cancel = &w->cancel};
  lct_taker t = {.ctx = w, .sources = sources, .layers = layers, .rows = on_rows, .attention = on_attn, .end = on_end};
  assert_ok(lct_pass_add(&p, &t, &err));
  return p;
}

static void test_cancel_and_taker_failure(void **state) {
  (void)state;
  tiny t = tiny_make("tiny-qwen2", SEED);
  lct_engine *e = open_engine(t.model, TEST_FIRST, 1);
  lct_plan *p = plan_one(N_IDS);
  const lct_batch *b = lct_plan_batch(p, 0);
  lct_error err;
  watch w = {.cancel = 1, .cancel_after = -1, .fail_at = -1};
  lct_pass pass = pass_of(&w, b, ALL_SOURCES, NULL);
  assert_fails(lct_pass_run(e, &pass, &err), LCT_E_CANCELLED, "interrupted at layer 0 of 4");
  w = (watch){.cancel_after = 1, .fail_at = -1};
  assert_fails(lct_pass_run(e, &pass, &err), LCT_E_CANCELLED, "interrupted at layer 2 of 4");
  assert_int_equal(w.n_rows[LCT_SOURCE_HIDDEN_OUT][1], N_IDS);
  assert_int_equal(w.n_rows[LCT_SOURCE_HIDDEN_IN][2], 0);
  w = (watch){.cancel_after = -1, .fail_at = 2};
  assert_fails(lct_pass_run(e, &pass, &err), LCT_E_IO, "the disk is full");
  assert_int_equal(w.n_ends, 0);
  w = (watch){.cancel_after = -1, .fail_at = -1}; /* and after all that it still runs */
  assert_ok(lct_pass_run(e, &pass, &err));
  assert_int_equal(w.n_rows[LCT_SOURCE_LOGITS][0], N_IDS);
  assert_int_equal(w.n_ends, 1);
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&t);
}

/* Each source alone, on layers 1 and 3 alone: it and nothing else is shown, globals whatever the layers. */
static void test_only_what_is_wanted(void **state) {
  (void)state;
  static const unsigned char layers[] = {0, 1, 0, 1};
  tiny t = tiny_make("tiny-llama", SEED);
  lct_engine *e = open_engine(t.model, TEST_SECOND, 2);
  lct_plan *p = plan_one(N_IDS);
  lct_error err;
  for (int wanted = 0; wanted < LCT_N_SOURCES; wanted++) {
    watch w = {.cancel_after = -1, .fail_at = -1};
    lct_pass pass = pass_of(&w, lct_plan_batch(p, 0), LCT_SOURCE_BIT(wanted), layers);
    assert_ok(lct_pass_run(e, &pass, &err));
    for (int s = 0; s < LCT_N_SOURCES; s++) {
      for (int l = 0; l < 4; l++) {
        bool expected = s == wanted && (lct_source_is_global((lct_source)s) ? l == 0 : layers[l] != 0);
        assert_int_equal(w.n_rows[s][l], expected ? N_IDS : 0);
      }
    }
  }
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&t);
}

/* A list has an end, and who takes nothing is not in it. */
static void test_list_of_takers(void **state) {
  (void)state;
  lct_error err;
  lct_pass p = {0};
  lct_taker none = {.rows = on_rows}, one = {.rows = on_rows, .sources = LCT_SOURCE_BIT(LCT_SOURCE_Q)};
  for (int i = 0; i < LCT_MAX_TAKERS; i++) {
    assert_ok(lct_pass_add(&p, &none, &err));
    assert_ok(lct_pass_add(&p, &one, &err));
    assert_int_equal(p.n_takers, i + 1);
  }
  assert_ok(lct_pass_add(&p, &none, &err));
  assert_fails(lct_pass_add(&p, &one, &err), LCT_E_LIMIT, "a pass has at most 8 takers");
}

/* logit_rows in any order, twice, and more than one block of them: the bits of the logits tap. */
static void test_logit_rows(void **state) {
  (void)state;
  tiny t = tiny_make("tiny-llama", SEED);
  lct_engine *e = open_engine(t.model, TEST_FIRST, 2);
  lct_plan *p = plan_one(N_IDS);
  lct_error err;
  enum { N = 300 };
  int32_t rows[N];
  float *logits = checked_calloc((size_t)N * 600, sizeof *logits);
  for (int i = 0; i < N; i++) rows[i] = (i * 5 + 3) % N_IDS;
  shown k = run_all(e, lct_plan_batch(p, 0), NULL);
  lct_pass pass = {.batch = lct_plan_batch(p, 0), .heads = {.rows = rows, .n = N, .logits = logits}};
  assert_ok(lct_pass_run(e, &pass, &err));
  for (int i = 0; i < N; i++) {
    int width = 0;
    assert_memory_equal(logits + i * 600, shown_row(&k, LCT_SOURCE_LOGITS, -1, rows[i], 0, &width), 600 * sizeof *logits);
  }
  shown_free(&k);
  free(logits);
  lct_plan_free(p);
  lct_engine_free(e);
  tiny_remove(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nan_weights),         cmocka_unit_test(test_bad_batches),    cmocka_unit_test(test_cancel_and_taker_failure),
      cmocka_unit_test(test_only_what_is_wanted), cmocka_unit_test(test_list_of_takers), cmocka_unit_test(test_logit_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
