/* Axes: what a user's lists become, and that scores lie where the axes say. */
#include "test_support.h"

#include "run/axes.h"

enum { HIDDEN = 16, LAYERS = 4, ITEMS = 5 };

static const lct_config CONFIG = {
    .n_layers = LAYERS, .hidden = HIDDEN, .n_heads = 4, .n_kv_heads = 2, .head_dim = 6, .intermediate = 24, .vocab = 100};

static lct_axes *open_axes(const lct_axes_options *o, const lct_fingerprints *f) {
  lct_error err = {0};
  lct_axes *a = NULL;
  assert_ok(lct_axes_new(o, &CONFIG, f, "f.safetensors", &a, &err));
  for (int i = 0; i < a->n_streams; i++) assert_memory_equal(&a->pooled[i], &a->streams[i].s, sizeof a->pooled[i]);
  return a;
}

static void refused(const lct_axes_options *o, const lct_fingerprints *f, const char *text) {
  lct_error err = {0};
  lct_axes *a = NULL;
  assert_fails(lct_axes_new(o, &CONFIG, f, "f.safetensors", &a, &err), LCT_E_USAGE, text);
}

/* planes: "SOURCE LAYER, ..." */
static void expect_stream(const lct_axes *a, int i, const char *name, bool stored, int width, const char *planes) {
  char got[512] = "";
  assert_in_range(i, 0, a->n_streams - 1);
  const lct_axis_stream *t = &a->streams[i];
  for (int k = 0; k < t->s.n_planes; k++) {
    size_t n = strlen(got);
    (void)snprintf(got + n, sizeof got - n, "%s%s %d", k > 0 ? ", " : "", lct_source_name(t->planes[k].source), t->planes[k].layer);
  }
  assert_string_equal(t->name, name);
  assert_int_equal(t->stored, stored);
  assert_int_equal(t->s.width, width);
  assert_string_equal(got, planes);
}

static void expect_source(const lct_axes *a, int i, lct_source x, int stream, const int *planes) {
  assert_in_range(i, 0, a->n_sources - 1);
  assert_int_equal(a->sources[i].source, x);
  assert_int_equal(a->sources[i].stream, stream);
  assert_memory_equal(a->sources[i].planes, planes, (size_t)a->n_layers * sizeof *planes);
}

static void defaults(void **state) {
  (void)state;
  lct_axes *a = open_axes(&(lct_axes_options){0}, NULL);
  assert_int_equal(a->n_positions, 3);
  assert_string_equal(a->positions[1].name, "content_last");
  assert_int_equal(a->n_layers, LAYERS);
  assert_int_equal(a->n_streams, 1);
  expect_stream(a, 0, "hidden_out", true, HIDDEN, "hidden_out 0, hidden_out 1, hidden_out 2, hidden_out 3");
  expect_source(a, 0, LCT_SOURCE_HIDDEN_OUT, 0, (const int[]){0, 1, 2, 3});
  assert_memory_equal(a->tap_layers, "\1\1\1\1", LAYERS);
  assert_int_equal(a->n_metrics, 0);
  assert_int_equal(lct_axes_score_floats(a), 0);
  lct_axes_free(a);
}

/* Where hidden_in and hidden_out are both asked for, one stream stands for them: what enters a layer is what left the one before. */
static void residual_once(void **state) {
  (void)state;
  lct_axes *a = open_axes(&(lct_axes_options){.sources = "q,hidden_in,hidden_out", .layers = "3,0-1"}, NULL);
  assert_int_equal(a->n_layers, 3);
  assert_memory_equal(a->layers, ((const int[]){0, 1, 3}), 3 * sizeof(int));
  assert_int_equal(a->n_streams, 2);
  expect_stream(a, 0, "residual", true, HIDDEN, "hidden_in 0, hidden_out 0, hidden_out 1, hidden_out 2, hidden_out 3");
  expect_stream(a, 1, "q", true, 24, "q 0, q 1, q 3");
  expect_source(a, 0, LCT_SOURCE_Q, 1, (const int[]){0, 1, 2});
  expect_source(a, 1, LCT_SOURCE_HIDDEN_IN, 0, (const int[]){0, 1, 3});
  expect_source(a, 2, LCT_SOURCE_HIDDEN_OUT, 0, (const int[]){1, 2, 4});
  assert_memory_equal(a->tap_layers, "\1\1\1\1", LAYERS); /* layer 2 leaves what enters layer 3 */
  lct_axes_free(a);
  a = open_axes(&(lct_axes_options){.sources = "hidden_in", .layers = "2"}, NULL);
  expect_stream(a, 0, "hidden_in", true, HIDDEN, "hidden_in 2");
  assert_memory_equal(a->tap_layers, "\0\0\1\0", LAYERS);
  lct_axes_free(a);
}

static void derived(void **state) {
  (void)state;
  lct_axes *a = open_axes(&(lct_axes_options){.derive_residual = true, .layers = "0-1"}, NULL);
  assert_int_equal(a->n_sources, 4);
  assert_int_equal(a->n_streams, 4);
  expect_stream(a, 0, "embeddings", true, HIDDEN, "embeddings -1");
  expect_stream(a, 1, "residual", false, HIDDEN, "hidden_in 0, hidden_out 0, hidden_out 1");
  expect_stream(a, 2, "attn_out", true, HIDDEN, "attn_out 0, attn_out 1");
  expect_stream(a, 3, "mlp_down_out", true, HIDDEN, "mlp_down_out 0, mlp_down_out 1");
  expect_source(a, 0, LCT_SOURCE_HIDDEN_IN, 1, (const int[]){0, 1});
  expect_source(a, 1, LCT_SOURCE_HIDDEN_OUT, 1, (const int[]){1, 2});
  lct_axes_free(a);
  a = open_axes(&(lct_axes_options){.derive_residual = true, .sources = "mlp_down_out,attn_out,hidden_out"}, NULL);
  expect_stream(a, 1, "residual", false, HIDDEN, "hidden_in 0, hidden_out 0, hidden_out 1, hidden_out 2, hidden_out 3");
  expect_stream(a, 2, "mlp_down_out", true, HIDDEN, "mlp_down_out 0, mlp_down_out 1, mlp_down_out 2, mlp_down_out 3");
  lct_axes_free(a);
}

static void fill(float *v, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    v[i] = (float)(int32_t)seed / (float)INT32_MAX;
  }
}

static lct_fingerprints *fingerprints(void) {
  char *labels[] = {"joy", "fear"}, *poolings[] = {"content_mean", "last"}, *sources[] = {"hidden_out", "hidden_in"};
  const lct_fingerprints names = {.model_hash = "m",
                                  .template_hash = "t",
                                  .model_id = "id",
                                  .template_name = "plain",
                                  .precision = "exact",
                                  .n_layers = LAYERS,
                                  .hidden = HIDDEN,
                                  .n_labels = 2,
                                  .n_poolings = 2,
                                  .n_sources = 2,
                                  .labels = labels,
                                  .poolings = poolings,
                                  .sources = sources};
  lct_error err = {0};
  lct_fingerprints *f = NULL;
  assert_ok(lct_fingerprints_new(&names, false, &f, &err));
  fill(f->vectors, 2 * lct_fingerprints_n_places(f) * HIDDEN, 7);
  return f;
}

static void refusals(void **state) {
  (void)state;
  lct_fingerprints *f = fingerprints();
  refused(&(lct_axes_options){.layers = "1-4"}, NULL, "--layers: expected layers 0 to 3 such as 0-11,23, found \"1-4\"");
  refused(&(lct_axes_options){.sources = "q,q"}, NULL, "--sources: \"q\" stands twice");
  refused(&(lct_axes_options){.sources = "logits"}, NULL,
          "--sources: expected some of hidden_in, hidden_out, q, k, v, attn_out, mlp_gate, mlp_up, "
          "mlp_act, mlp_down_in, mlp_down_out, found \"logits\"");
  refused(&(lct_axes_options){.positions = "last,last"}, NULL, "--positions: \"last\" stands twice");
  refused(&(lct_axes_options){.metrics = "cosine"}, NULL, "--metrics needs --fingerprints");
  refused(&(lct_axes_options){.positions = "range:0:2"}, f, "f.safetensors has no vectors for any of the positions asked for");
  refused(&(lct_axes_options){.sources = "v"}, f, "f.safetensors has no vectors for any of the sources asked for");
  refused(&(lct_axes_options){.metrics = "mae,mae"}, f, "metric \"mae\" is asked for twice");
  lct_fingerprints_free(f);
}

/* Each score is that of the vector its place in the row names, whoever computes it. */
static void scores_lie_where_the_axes_say(void **state) {
  (void)state;
  lct_error err = {0};
  lct_fingerprints *f = fingerprints();
  lct_axes *a = open_axes(&(lct_axes_options){.positions = "last,content_last,content_mean",
                                              .sources = "attn_out,hidden_in,hidden_out",
                                              .layers = "0,2-3",
                                              .metrics = "mae,cosine"},
                          f);
  lct_pool *pool = NULL;
  lct_threads *threads = NULL;
  assert_ok(lct_pool_new(NULL, a->pooled, a->n_streams, a->n_positions, &pool, &err));
  assert_ok(lct_pool_reserve(pool, ITEMS, &err));
  assert_ok(lct_threads_new(3, &threads, &err));
  for (int i = 0; i < a->n_streams; i++) {
    for (int p = 0; p < a->n_positions; p++) {
      for (int k = 0; k < a->pooled[i].n_planes; k++)
        fill(lct_pool_vectors(pool, i, p, k), ITEMS * HIDDEN, (uint32_t)(i * 100 + p * 10 + k));
    }
  }
  size_t row = lct_axes_score_floats(a);
  assert_int_equal(row, 2 * 2 * 3 * 2 * 2); /* positions, sources that the fingerprints have, layers, references, metrics */
  float got[ITEMS * 48], again[ITEMS * 48];
  const lct_score_row rows[ITEMS] = {{0}};
  assert_ok(lct_axes_score(a, pool, ITEMS, rows, threads, got, &err));
  assert_ok(lct_axes_score(a, pool, ITEMS, rows, NULL, again, &err));
  assert_memory_equal(got, again, sizeof got);
  /* of the residual stream (stream 0): last is position 0, content_mean 2; hidden_in of layers 0, 2, 3 are planes 0, 2, 3 and hidden_out 1, 3, 4 */
  static const int position_of[] = {0, 2}, plane_of[2][3] = {{0, 2, 3}, {1, 3, 4}}, layers[] = {0, 2, 3}, pooling_of[] = {1, 0},
                   source_of[] = {1, 0};
  for (size_t at = 0; at < row; at++) {
    int metric = (int)at % 2, label = (int)at / 2 % 2, l = (int)at / 4 % 3, source = (int)at / 12 % 2, p = (int)at / 24;
    const float *r = lct_fingerprints_vector(f, label, lct_fingerprints_place(f, pooling_of[p], source_of[source], layers[l]));
    for (int item = 0; item < ITEMS; item++) {
      const float *v = lct_pool_vectors(pool, 0, position_of[p], plane_of[source][l]) + item * HIDDEN;
      float want[LCT_N_METRICS];
      assert_ok(lct_score_block(v, 1, r, 1, HIDDEN, want, &err));
      assert_true(got[(size_t)item * row + at] == want[metric == 0 ? LCT_METRIC_MAE : LCT_METRIC_COSINE]);
    }
  }
  lct_threads_free(threads);
  lct_pool_free(pool);
  lct_axes_free(a);
  lct_fingerprints_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(residual_once),
      cmocka_unit_test(derived),
      cmocka_unit_test(refusals),
      cmocka_unit_test(scores_lie_where_the_axes_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
