/* The scorer: legacy metrics are lct_score_block's bits, calibrated ones agree with numpy in float64 (tests/oracle/gen_fingerprint.py). */
#include "test_support.h"

#include <math.h>

#include "base/file.h"
#include "score/fingerprint.h"

enum { BINS = LCT_Z_ROLES * LCT_Z_LENGTHS, N_PLAIN = LCT_METRIC_PROJECTION + 1, N_CONTRASTS = LCT_N_ALL_METRICS - N_PLAIN };
static const char *const CASES[] = {"plain", "odd", "one", "many", "blocks", "flat", "massive", "odd_values", "huge"};
static const int ALL[] = {0, 1, 2, 3, 4, 5, 6, 7};

typedef struct {
  lct_buf file;
  int32_t dim, n_labels, n_pcs, n_rows, n_whiten;
  lct_fingerprints *f; /* two layers: the case's and one of zeros; two poolings, the case's second */
  float *rows;
  lct_score_row *about;
  double *expected; /* (n_rows, n_labels, LCT_N_ALL_METRICS) */
} golden;

static void take(const golden *g, size_t *at, void *to, size_t n) {
  assert_true(*at + n <= g->file.len);
  if (n > 0) memcpy(to, g->file.data + *at, n);
  *at += n;
}

static void *space(size_t n) {
  void *p = calloc(n + 1, 1);
  assert_non_null(p);
  return p;
}

static char *POOLINGS[] = {"last", "content_mean"}, *SOURCES[] = {"hidden_out"};

static lct_fingerprints *make_fingerprints(const golden *g) {
  lct_error err;
  char *labels[128], text[128][16];
  for (int i = 0; i < g->n_labels; i++) {
    (void)snprintf(text[i], sizeof text[i], "l%d", i);
    labels[i] = text[i];
  }
  const lct_fingerprints names = {.n_layers = 2,
                                  .hidden = g->dim,
                                  .n_labels = g->n_labels,
                                  .n_poolings = 2,
                                  .n_sources = 1,
                                  .labels = labels,
                                  .poolings = POOLINGS,
                                  .sources = SOURCES,
                                  .n_neutral = 10,
                                  .n_pcs = g->n_pcs};
  lct_fingerprints *f = NULL;
  assert_ok(lct_fingerprints_new(&names, g->n_whiten > 0, &f, &err));
  return f;
}

static void read_golden(const char *kind, const char *name, lct_buf *out) {
  lct_error err;
  char path[512];
  (void)snprintf(path, sizeof path, "%s/tests/goldens/score/%s_%s.bin", LCT_SOURCE_DIR, kind, name);
  assert_ok(lct_file_read(path, 1 << 20, out, &err));
}

/* Rows of a cell, the plain metrics' from one file and the contrasts' from another, side by side. */
static double *expected_of(const golden *g, size_t *at, const char *name) {
  size_t cells = (size_t)(g->n_rows * g->n_labels);
  double *out = space(cells * LCT_N_ALL_METRICS * 8);
  lct_buf contrasts = {0};
  read_golden("contrast", name, &contrasts);
  assert_int_equal(contrasts.len, cells * N_CONTRASTS * 8);
  for (size_t i = 0; i < cells; i++) {
    take(g, at, out + i * LCT_N_ALL_METRICS, N_PLAIN * 8);
    memcpy(out + i * LCT_N_ALL_METRICS + N_PLAIN, contrasts.data + i * N_CONTRASTS * 8, N_CONTRASTS * 8);
  }
  lct_buf_free(&contrasts);
  return out;
}

static golden golden_open(const char *name) {
  golden g = {0};
  read_golden("scorer", name, &g.file);
  memcpy(&g.dim, g.file.data, 20);
  size_t at = 20, dim = (size_t)g.dim;
  lct_fingerprints *f = g.f = make_fingerprints(&g);
  size_t place = lct_fingerprints_place(f, 1, 0, 0);
  for (int i = 0; i < g.n_labels; i++) take(&g, &at, lct_fingerprints_vector(f, i, place), dim * 4);
  take(&g, &at, f->mean + place * dim, dim * 4);
  take(&g, &at, f->sigma + place * dim, dim * 4);
  if (g.n_pcs > 0) take(&g, &at, f->pcs + place * dim * (size_t)g.n_pcs, dim * (size_t)g.n_pcs * 4);
  take(&g, &at, f->z + place * (size_t)g.n_labels * BINS * 2, (size_t)g.n_labels * BINS * 2 * 4);
  if (g.n_whiten > 0) take(&g, &at, f->whiten + place * dim * dim, dim * dim * 4);
  g.rows = space((size_t)g.n_rows * dim * 4);
  take(&g, &at, g.rows, (size_t)g.n_rows * dim * 4);
  g.about = space((size_t)g.n_rows * sizeof *g.about);
  for (int i = 0; i < g.n_rows; i++) {
    int32_t role_and_tokens[2];
    take(&g, &at, role_and_tokens, sizeof role_and_tokens);
    g.about[i] = (lct_score_row){role_and_tokens[0], role_and_tokens[1]};
  }
  g.expected = expected_of(&g, &at, name);
  assert_int_equal(at, g.file.len);
  return g;
}

static void golden_close(golden *g) {
  lct_buf_free(&g->file);
  lct_fingerprints_free(g->f);
  free(g->rows);
  free(g->about);
  free(g->expected);
}

/* The case's place is (pooling 0, source 0, layer 1) of these axes. */
static lct_score_axes axes_of(const int *metrics, int n_metrics) {
  static const char *const poolings[] = {"content_mean"}, *const sources[] = {"hidden_out"};
  static const int layers[] = {1, 0};
  return (lct_score_axes){metrics, n_metrics, poolings, sources, 1, 1, layers, 2};
}

/* All metrics but those the case has nothing for. */
static int metrics_of(const golden *g, int metrics[LCT_N_ALL_METRICS]) {
  int n = 0;
  for (int m = 0; m < LCT_N_ALL_METRICS; m++) {
    if (LCT_METRIC_RULES[m].needs != LCT_NEEDS_WHITEN || g->n_whiten > 0) metrics[n++] = m;
  }
  return n;
}

static lct_scorer *scorer_new(const golden *g, const int *metrics, int n) {
  lct_error err;
  lct_scorer *s = NULL;
  lct_score_axes axes = axes_of(metrics, n);
  assert_ok(lct_scorer_new(g->f, &axes, &s, &err));
  return s;
}

static bool agrees(double got, double want, double scale) {
  if (isnan(want)) return isnan(got);
  return fabs(got - want) <= 1e-6 * scale;
}

/* What a metric's error in a row is measured by. */
static double scale_of(const golden *g, int row, int label, int metric) {
  if (LCT_METRIC_RULES[metric].contrast_of >= 0) { /* the largest of the scores it is made of */
    double scale = 1;
    for (int i = 0; i < g->n_labels; i++) scale = fmax(scale, scale_of(g, row, i, LCT_METRIC_RULES[metric].contrast_of));
    return scale;
  }
  double want = g->expected[(row * g->n_labels + label) * LCT_N_ALL_METRICS + metric];
  if (metric == LCT_METRIC_MAE || metric == LCT_METRIC_PROJECTION) return fmax(fabs(want), 1);
  return metric == LCT_METRIC_Z ? 20 : 1; /* a cosine over the least standard deviation of the cases */
}

static void against_numpy(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    int metrics[LCT_N_ALL_METRICS], n = metrics_of(&g, metrics);
    int64_t ld = g.n_labels * n;
    lct_scorer *s = scorer_new(&g, metrics, n);
    float *out = space((size_t)(g.n_rows * ld) * sizeof *out);
    assert_ok(lct_scorer_run(s, 0, 0, 1, g.rows, g.dim, (size_t)g.n_rows, g.about, out, ld, &err));
    for (int i = 0; i < g.n_rows * g.n_labels; i++) {
      for (int k = 0; k < n; k++) {
        double want = g.expected[i * LCT_N_ALL_METRICS + metrics[k]], got = out[i * n + k];
        bool same = isinf(want) ? got == want : agrees(got, want, scale_of(&g, i / g.n_labels, i % g.n_labels, metrics[k]));
        if (!same) fail_msg("%s cell %d %s: %.9g, expected %.9g", CASES[c], i, lct_any_metric_name(metrics[k]), got, want);
      }
    }
    free(out);
    lct_scorer_free(s);
    golden_close(&g);
  }
}

static void legacy_bits(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    size_t cells = (size_t)(g.n_rows * g.n_labels) * LCT_N_METRICS, place = lct_fingerprints_place(g.f, 1, 0, 0);
    float *refs = space((size_t)(g.n_labels * g.dim) * 4), *want = space(cells * 4), *got = space(cells * 4);
    for (int i = 0; i < g.n_labels; i++) memcpy(refs + i * g.dim, lct_fingerprints_vector(g.f, i, place), (size_t)g.dim * 4);
    assert_ok(lct_score_block(g.rows, (size_t)g.n_rows, refs, (size_t)g.n_labels, g.dim, want, &err));
    lct_scorer *s = scorer_new(&g, ALL, LCT_N_METRICS);
    assert_ok(lct_scorer_run(s, 0, 0, 1, g.rows, g.dim, (size_t)g.n_rows, NULL, got, g.n_labels * LCT_N_METRICS, &err));
    for (size_t i = 0; i < cells; i++) assert_true(memcmp(&got[i], &want[i], 4) == 0 || (isnan(got[i]) && isnan(want[i])));
    free(refs);
    free(want);
    free(got);
    lct_scorer_free(s);
    golden_close(&g);
  }
}

/* A row's bits do not depend on how many there are, where they lie, or which metrics stand beside; gaps of `out` are left alone. */
static void rows_alone(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    int metrics[LCT_N_ALL_METRICS], n = metrics_of(&g, metrics);
    int64_t out_ld = g.n_labels * n + 3, ld = g.dim + 5;
    lct_scorer *s = scorer_new(&g, metrics, n);
    float *rows = space((size_t)(7 * ld) * 4), *out = space((size_t)(7 * out_ld) * 4), *one = space((size_t)out_ld * 4);
    lct_score_row about[7];
    for (int i = 0; i < 7; i++) {
      memcpy(rows + i * ld, g.rows + (i % g.n_rows) * g.dim, (size_t)g.dim * 4);
      about[i] = g.about[i % g.n_rows];
    }
    for (int64_t i = 0; i < 7 * out_ld; i++) out[i] = -77;
    assert_ok(lct_scorer_run(s, 0, 0, 1, rows, ld, 7, about, out, out_ld, &err));
    for (int i = 0; i < 7; i++) {
      int r = i % g.n_rows;
      assert_ok(lct_scorer_run(s, 0, 0, 1, g.rows + r * g.dim, g.dim, 1, &g.about[r], one, out_ld, &err));
      assert_memory_equal(out + i * out_ld, one, (size_t)(g.n_labels * n) * 4);
      for (int k = 0; k < 3; k++) assert_true(out[(i + 1) * out_ld - 1 - k] == -77);
      for (int k = 0; k < n; k++) {
        lct_scorer *single = scorer_new(&g, &metrics[k], 1);
        assert_ok(lct_scorer_run(single, 0, 0, 1, g.rows + r * g.dim, g.dim, 1, &g.about[r], one, g.n_labels, &err));
        for (int j = 0; j < g.n_labels; j++) assert_memory_equal(&one[j], &out[i * out_ld + j * n + k], 4);
        lct_scorer_free(single);
      }
    }
    free(rows);
    free(out);
    free(one);
    lct_scorer_free(s);
    golden_close(&g);
  }
}

static void check_refused(const golden *g, const lct_score_axes *axes, const char *message) {
  lct_error err = {0};
  lct_scorer *s = NULL;
  assert_fails(lct_scorer_new(g->f, axes, &s, &err), LCT_E_USAGE, message);
  assert_null(s);
}

static void errors(void **state) {
  (void)state;
  golden g = golden_open("blocks"); /* has no whiten */
  static const char *const poolings[] = {"middle"}, *const sources[] = {"q"};
  const int twice[] = {1, 0, 1}, unknown[] = {99}, layers[] = {-1}, whitened[] = {LCT_METRIC_WHITENED}, z[] = {LCT_METRIC_Z};
  const int contrast_whitened[] = {LCT_METRIC_CONTRAST_WHITENED}, contrast_z[] = {LCT_METRIC_CONTRAST_COSINE, LCT_METRIC_CONTRAST_Z};
  lct_score_axes axes = axes_of(twice, 3);
  check_refused(&g, &axes, "metric \"mae\" is asked for twice");
  axes = axes_of(unknown, 1);
  check_refused(&g, &axes, "there is no metric of number 99");
  axes = axes_of(whitened, 1);
  check_refused(&g, &axes, "metric \"whitened\" needs fingerprints made with --whiten");
  axes = axes_of(contrast_whitened, 1);
  check_refused(&g, &axes, "metric \"contrast:whitened\" needs fingerprints made with --whiten");
  axes = axes_of(ALL, 1);
  axes.poolings = poolings;
  check_refused(&g, &axes, "the fingerprints have no pooling \"middle\": they have last, content_mean");
  axes = axes_of(ALL, 1);
  axes.sources = sources;
  check_refused(&g, &axes, "the fingerprints have no source \"q\": they have hidden_out");
  axes = axes_of(ALL, 1);
  axes.layers = layers;
  check_refused(&g, &axes, "the fingerprints have no layer -1: they have 0 to 1");
  g.f->n_neutral = 0;
  axes = axes_of(z, 1);
  check_refused(&g, &axes, "metric \"z\" needs fingerprints with a neutral bank, which these were made without (fingerprint --neutral)");
  axes = axes_of(contrast_z, 2);
  check_refused(&g, &axes,
                "metric \"contrast:z\" needs fingerprints with a neutral bank, which these were made without (fingerprint --neutral)");
  lct_scorer_free(scorer_new(&g, contrast_z, 1));
  golden_close(&g);
}

/* With one label a score is its own mean. */
static void contrast_of_one(void **state) {
  (void)state;
  lct_error err;
  golden g = golden_open("one");
  const int metrics[] = {LCT_METRIC_CONTRAST_COSINE, LCT_METRIC_PROJECTION, LCT_METRIC_CONTRAST_PROJECTION, LCT_METRIC_CONTRAST_Z};
  float out[4];
  lct_scorer *s = scorer_new(&g, metrics, 4);
  assert_ok(lct_scorer_run(s, 0, 0, 1, g.rows, g.dim, 1, g.about, out, 4, &err));
  assert_true(out[0] == 0 && out[1] != 0 && out[2] == 0 && out[3] == 0);
  lct_scorer_free(s);
  golden_close(&g);
}

/* Every role and length has its own mean and standard deviation. */
static void z_bins(void **state) {
  (void)state;
  lct_error err;
  assert_int_equal(lct_z_bin(0, 0), 0);
  assert_int_equal(lct_z_bin(0, 1), 0);
  assert_int_equal(lct_z_bin(1, 2), 9);
  assert_int_equal(lct_z_bin(1, 3), 9);
  assert_int_equal(lct_z_bin(2, 127), 22);
  assert_int_equal(lct_z_bin(2, 128), 23);
  assert_int_equal(lct_z_bin(2, INT32_MAX), 23);
  golden g = golden_open("one");
  const int metrics[] = {LCT_METRIC_Z};
  float *z = g.f->z + lct_fingerprints_place(g.f, 1, 0, 0) * BINS * 2, cosine = lct_cosine(g.rows, g.f->vectors + 2 * g.dim, g.dim),
        out = 0;
  for (int bin = 0; bin < BINS; bin++) {
    z[2 * bin] = cosine - (float)(bin + 1);
    z[2 * bin + 1] = 1;
  }
  lct_scorer *s = scorer_new(&g, metrics, 1);
  for (int bin = 0; bin < BINS; bin++) {
    lct_score_row about = {bin / LCT_Z_LENGTHS, 1 << bin % LCT_Z_LENGTHS};
    assert_ok(lct_scorer_run(s, 0, 0, 1, g.rows, g.dim, 1, &about, &out, 1, &err));
    assert_true(fabs((double)out - (bin + 1)) < 1e-5);
  }
  lct_scorer_free(s);
  golden_close(&g);
}

static void names(void **state) {
  (void)state;
  static const char *const expected[] = {"cosine",
                                         "mae",
                                         "jaccard",
                                         "centered",
                                         "standardized",
                                         "whitened",
                                         "z",
                                         "projection",
                                         "contrast:cosine",
                                         "contrast:centered",
                                         "contrast:standardized",
                                         "contrast:whitened",
                                         "contrast:z",
                                         "contrast:projection"};
  assert_int_equal(LCT_N_ALL_METRICS, 14);
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) {
    assert_string_equal(lct_any_metric_name(i), expected[i]);
    assert_int_equal(lct_any_metric_by_name(expected[i], strlen(expected[i])), i);
  }
  assert_int_equal(lct_any_metric_by_name("cosines", 6), 0);
  assert_int_equal(lct_any_metric_by_name("cosines", 7), -1);
  assert_int_equal(lct_any_metric_by_name("", 0), -1);
  assert_int_equal(lct_any_metric_by_name("contrast:mae", 12), -1);
  assert_int_equal(lct_any_metric_by_name("contrast:", 9), -1);
  assert_string_equal(lct_any_metric_name(-1), "?");
  assert_string_equal(lct_any_metric_name(LCT_N_ALL_METRICS), "?");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(against_numpy), cmocka_unit_test(legacy_bits),     cmocka_unit_test(rows_alone), cmocka_unit_test(errors),
      cmocka_unit_test(z_bins),        cmocka_unit_test(contrast_of_one), cmocka_unit_test(names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
