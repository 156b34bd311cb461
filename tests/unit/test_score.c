/* Scores against numpy (float64) and Activation Lab's functions (float32): goldens by tests/oracle/gen_score.py. */
#include "test_support.h"

#include <math.h>

#include "base/file.h"
#include "score/score.h"

static const char *const CASES[] = {"dim1",    "dim7", "dim16", "dim99", "dim199", "dim200",   "near",
                                    "massive", "ties", "zero",  "huge",  "minute", "nonfinite"};

typedef struct {
  lct_buf file;
  int32_t n_rows, n_refs, dim, has_lab;
  float *rows, *refs;
  double *expected, *lab;
} golden;

static void *take(const lct_buf *b, size_t *at, size_t n) {
  assert_true(*at + n <= b->len);
  void *p = malloc(n ? n : 1);
  assert_non_null(p);
  memcpy(p, b->data + *at, n);
  *at += n;
  return p;
}

static golden golden_open(const char *name) {
  lct_error err;
  golden g = {0};
  char path[512];
  (void)snprintf(path, sizeof path, "%s/tests/goldens/score/score_%s.bin", LCT_SOURCE_DIR, name);
  assert_ok(lct_file_read(path, 1 << 20, &g.file, &err));
  memcpy(&g.n_rows, g.file.data, 16);
  size_t at = 16, cells = (size_t)(g.n_rows * g.n_refs) * 3;
  g.rows = take(&g.file, &at, (size_t)(g.n_rows * g.dim) * 4);
  g.refs = take(&g.file, &at, (size_t)(g.n_refs * g.dim) * 4);
  g.expected = take(&g.file, &at, cells * 8);
  g.lab = g.has_lab ? take(&g.file, &at, cells * 8) : NULL;
  assert_int_equal(at, g.file.len);
  return g;
}

static void golden_close(golden *g) {
  lct_buf_free(&g->file);
  free(g->rows);
  free(g->refs);
  free(g->expected);
  free(g->lab);
}

static bool agrees(double got, double want, lct_metric m) {
  if (isnan(want) || isinf(want)) return isnan(want) ? isnan(got) : got == want;
  if (m == LCT_METRIC_JACCARD) return (float)want == (float)got;
  double scale = m == LCT_METRIC_MAE ? fabs(want) : 1.0;
  return fabs(got - want) <= 1e-6 * scale;
}

static void check_block(const char *name, const golden *g, const double *want) {
  lct_error err;
  size_t cells = (size_t)(g->n_rows * g->n_refs) * LCT_N_METRICS;
  float *out = calloc(cells, sizeof *out);
  assert_non_null(out);
  assert_ok(lct_score_block(g->rows, (size_t)g->n_rows, g->refs, (size_t)g->n_refs, g->dim, out, &err));
  for (size_t i = 0; i < cells; i++) {
    lct_metric m = (lct_metric)(i % LCT_N_METRICS);
    if (!agrees(out[i], want[i], m)) {
      fail_msg("%s cell %zu %s: %.9g, expected %.9g", name, i, lct_any_metric_name(m), (double)out[i], want[i]);
    }
  }
  free(out);
}

static void test_block_against_numpy(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    golden g = golden_open(CASES[i]);
    check_block(CASES[i], &g, g.expected);
    golden_close(&g);
  }
}

static void test_block_against_activation_lab(void **state) {
  (void)state;
  int n = 0;
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    golden g = golden_open(CASES[i]);
    if (g.has_lab) check_block(CASES[i], &g, g.lab);
    n += g.has_lab;
    golden_close(&g);
  }
  assert_int_equal(n, 7);
}

/* One pair at a time gives the very bits of the block. */
static void test_single_equals_block(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    for (int i = 0; i < g.n_rows; i++) {
      for (int j = 0; j < g.n_refs; j++) {
        const float *v = g.rows + i * g.dim, *r = g.refs + j * g.dim;
        float block[LCT_N_METRICS], single[LCT_N_METRICS];
        assert_ok(lct_score_block(v, 1, r, 1, g.dim, block, &err));
        single[LCT_METRIC_COSINE] = lct_cosine(v, r, g.dim);
        single[LCT_METRIC_MAE] = lct_mae(v, r, g.dim);
        assert_ok(lct_jaccard(v, r, g.dim, &single[LCT_METRIC_JACCARD], &err));
        for (int m = 0; m < LCT_N_METRICS; m++) {
          assert_true(single[m] == block[m] || (isnan(single[m]) && isnan(block[m])));
        }
      }
    }
    golden_close(&g);
  }
}

static void test_zero_vector_is_nan(void **state) {
  (void)state;
  const float zero[3] = {0, 0, 0}, one[3] = {1, 0, 0};
  assert_true(isnan(lct_cosine(zero, one, 3)));
  assert_true(isnan(lct_cosine(one, zero, 3)));
  assert_true(lct_cosine(one, one, 3) == 1.0f);
}

static void test_bad_sizes(void **state) {
  (void)state;
  lct_error err;
  float x = 1, out = 0;
  assert_fails(lct_score_block(&x, 1, &x, 1, 0, &out, &err), LCT_E_USAGE, "cannot score vectors of 0 values");
  assert_fails(lct_jaccard(&x, &x, -1, &out, &err), LCT_E_USAGE, "cannot score vectors of -1 values");
  assert_ok(lct_score_block(&x, 0, &x, 1, 1, &out, &err));
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(lct_any_metric_name(LCT_METRIC_COSINE), "cosine");
  assert_string_equal(lct_any_metric_name(LCT_METRIC_JACCARD), "jaccard");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_against_numpy), cmocka_unit_test(test_block_against_activation_lab),
      cmocka_unit_test(test_single_equals_block), cmocka_unit_test(test_zero_vector_is_nan),
      cmocka_unit_test(test_bad_sizes),           cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
