/* Moments, principal components and whitening against numpy in float64: goldens by tests/oracle/gen_fingerprint.py. */
#include "test_support.h"

#include <math.h>

#include "base/file.h"
#include "score/calibrate.h"

static const char *const CASES[] = {"plain", "wide", "massive", "constant", "rank2", "slow"};

typedef struct {
  lct_buf file;
  int32_t n, dim, k;
  float *x;
  double *mean, *sigma, *pc_var, *pcs, *shrinkage, *precision;
} golden;

static void *take(golden *g, size_t *at, size_t n) {
  void *p = malloc(n + 1);
  assert_non_null(p);
  assert_true(*at + n <= g->file.len);
  memcpy(p, g->file.data + *at, n);
  *at += n;
  return p;
}

static golden golden_open(const char *name) {
  lct_error err;
  golden g = {0};
  char path[512];
  (void)snprintf(path, sizeof path, "%s/tests/goldens/score/calibrate_%s.bin", LCT_SOURCE_DIR, name);
  assert_ok(lct_file_read(path, 1 << 20, &g.file, &err));
  memcpy(&g.n, g.file.data, 12);
  size_t at = 12, dim = (size_t)g.dim, k = (size_t)g.k;
  g.x = take(&g, &at, (size_t)g.n * dim * 4);
  g.mean = take(&g, &at, dim * 8);
  g.sigma = take(&g, &at, dim * 8);
  g.pc_var = take(&g, &at, k * 8);
  g.pcs = take(&g, &at, k * dim * 8);
  g.shrinkage = take(&g, &at, 8);
  g.precision = take(&g, &at, dim * dim * 8);
  assert_int_equal(at, g.file.len);
  return g;
}

static void golden_close(golden *g) {
  void *const parts[] = {g->x, g->mean, g->sigma, g->pc_var, g->pcs, g->shrinkage, g->precision};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
  lct_buf_free(&g->file);
}

static void *numbers(size_t n, size_t size) {
  void *p = calloc(n + 1, size);
  assert_non_null(p);
  return p;
}

static lct_moments moments_new(int dim) {
  double *storage = numbers(2 * (size_t)dim, sizeof *storage);
  return (lct_moments){0, dim, storage, storage + dim};
}

static void check_near(const char *name, const char *what, size_t i, double got, double want, double within) {
  if (!(fabs(got - want) <= within)) fail_msg("%s %s %zu: %.9g, expected %.9g", name, what, i, got, want);
}

static void check_moments(const char *name, const golden *g, const lct_moments *m) {
  float *mean = numbers((size_t)g->dim, sizeof *mean), *sigma = numbers((size_t)g->dim, sizeof *sigma);
  assert_int_equal(m->n, g->n);
  lct_moments_finish(m, mean, sigma);
  for (size_t i = 0; i < (size_t)g->dim; i++) {
    check_near(name, "mean", i, mean[i], g->mean[i], 1e-6 * fabs(g->mean[i]) + 1e-9);
    check_near(name, "sigma", i, sigma[i], g->sigma[i], 1e-6 * g->sigma[i]);
  }
  free(mean);
  free(sigma);
}

static void moments(void **state) {
  (void)state;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    lct_moments m = moments_new(g.dim);
    for (int i = 0; i < g.n; i++) lct_moments_add(&m, g.x + (size_t)i * (size_t)g.dim);
    check_moments(CASES[c], &g, &m);
    free(m.mean);
    golden_close(&g);
  }
}

/* Parts, an empty one among them, merged. */
static void moments_merged(void **state) {
  (void)state;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    lct_moments all = moments_new(g.dim), empty = moments_new(g.dim);
    for (int from = 0, size = 1; from < g.n; from += size, size += 2) {
      lct_moments part = moments_new(g.dim);
      for (int i = from; i < from + size && i < g.n; i++) lct_moments_add(&part, g.x + (size_t)i * (size_t)g.dim);
      lct_moments_merge(&all, &part);
      lct_moments_merge(&all, &empty);
      free(part.mean);
    }
    check_moments(CASES[c], &g, &all);
    free(all.mean);
    free(empty.mean);
    golden_close(&g);
  }
}

/* One row: its own bits, and no deviation. */
static void moments_of_one(void **state) {
  (void)state;
  const float x[3] = {1.1f, -1e30f, 3e-40f};
  float mean[3], sigma[3];
  lct_moments m = moments_new(3);
  lct_moments_finish(&m, mean, sigma);
  assert_true(mean[0] == 0 && sigma[0] == 0);
  lct_moments_add(&m, x);
  lct_moments_finish(&m, mean, sigma);
  assert_memory_equal(mean, x, sizeof x);
  assert_true(sigma[0] == 0 && sigma[1] == 0 && sigma[2] == 0);
  free(m.mean);
}

static float *to_float(const double *x, size_t n) {
  float *f = numbers(n, sizeof *f);
  for (size_t i = 0; i < n; i++) f[i] = (float)x[i];
  return f;
}

static void components(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    size_t dim = (size_t)g.dim, k = (size_t)g.k;
    float *mean = to_float(g.mean, dim), *pcs = numbers(k * dim, sizeof *pcs), *var = numbers(k, sizeof *var);
    assert_ok(lct_principal_components(g.x, (size_t)g.n, g.dim, mean, g.k, pcs, var, &err));
    for (size_t i = 0; i < k; i++) {
      check_near(CASES[c], "variance", i, var[i], g.pc_var[i], 1e-6 * g.pc_var[i]);
      for (size_t j = 0; j < dim; j++) check_near(CASES[c], "component", i * dim + j, pcs[i * dim + j], g.pcs[i * dim + j], 2e-6);
    }
    free(mean);
    free(pcs);
    free(var);
    golden_close(&g);
  }
}

/* Every dimension asked for, and rows that are all alike. */
static void components_at_the_ends(void **state) {
  (void)state;
  lct_error err;
  const float square[4 * 2] = {2, 0, -2, 0, 0, 1, 0, -1}, mean[2] = {0, 0};
  float pcs[4], var[2];
  assert_ok(lct_principal_components(square, 4, 2, mean, 2, pcs, var, &err));
  const float want[4] = {1, 0, 0, 1};
  for (size_t i = 0; i < 4; i++) check_near("square", "component", i, pcs[i], want[i], 1e-6);
  check_near("square", "variance", 0, var[0], 8.0 / 3, 1e-6);
  check_near("square", "variance", 1, var[1], 2.0 / 3, 1e-6);
  const float same[3 * 2] = {5, 7, 5, 7, 5, 7}, at[2] = {5, 7};
  assert_ok(lct_principal_components(same, 3, 2, at, 2, pcs, var, &err));
  for (size_t i = 0; i < 4; i++) assert_true(pcs[i] == 0);
  assert_true(var[0] == 0 && var[1] == 0);
}

/* Equal variances in all directions: any orthonormal set will do, but a whole one. */
static void components_of_equal_variance(void **state) {
  (void)state;
  lct_error err;
  enum { DIM = 6 };
  float x[2 * DIM][DIM] = {{0}}, mean[DIM] = {0}, pcs[4][DIM], var[4];
  for (int i = 0; i < DIM; i++) {
    x[2 * i][i] = 1;
    x[2 * i + 1][i] = -1;
  }
  assert_ok(lct_principal_components(&x[0][0], 2 * DIM, DIM, mean, 4, &pcs[0][0], var, &err));
  for (int i = 0; i < 4; i++) {
    check_near("ball", "variance", (size_t)i, var[i], 2.0 / 11, 1e-6);
    for (int j = 0; j <= i; j++) {
      double dot = 0;
      for (int d = 0; d < DIM; d++) dot += (double)pcs[i][d] * (double)pcs[j][d];
      check_near("ball", "product", (size_t)i, dot, i == j ? 1 : 0, 1e-6);
    }
  }
}

/* w^T w is the inverse of the shrunk covariance. */
static void whitening(void **state) {
  (void)state;
  lct_error err;
  for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
    golden g = golden_open(CASES[c]);
    size_t dim = (size_t)g.dim;
    float *mean = to_float(g.mean, dim), *sigma = to_float(g.sigma, dim), *w = numbers(dim * dim, sizeof *w), shrinkage = -1;
    assert_ok(lct_whitening(g.x, (size_t)g.n, g.dim, mean, sigma, w, &shrinkage, &err));
    check_near(CASES[c], "shrinkage", 0, shrinkage, *g.shrinkage, 1e-6);
    for (size_t i = 0; i < dim; i++) {
      for (size_t j = 0; j < dim; j++) {
        double sum = 0;
        for (size_t k = 0; k < dim; k++) sum += (double)w[k * dim + i] * (double)w[k * dim + j];
        double scale = sqrt(g.precision[i * dim + i] * g.precision[j * dim + j]);
        check_near(CASES[c], "precision", i * dim + j, sum, g.precision[i * dim + j], 2e-6 * scale);
        if (j > i) assert_true(w[i * dim + j] == 0);
      }
    }
    free(mean);
    free(sigma);
    free(w);
    golden_close(&g);
  }
}

static void too_few(void **state) {
  (void)state;
  lct_error err;
  const float x[4] = {1, 2, 1, 2}, mean[2] = {1, 2}, sigma[2] = {0, 0};
  float out[4], one[2];
  assert_fails(lct_principal_components(x, 1, 2, mean, 1, out, one, &err), LCT_E_USAGE,
               "principal components need at least two neutral prompts, found 1");
  assert_fails(lct_principal_components(x, 2, 2, mean, 3, out, one, &err), LCT_E_USAGE, "3 principal components of vectors of 2 values");
  assert_fails(lct_whitening(x, 1, 2, mean, sigma, out, one, &err), LCT_E_USAGE, "whitening needs at least two neutral prompts, found 1");
  const float nan[4] = {1, NAN, 0, 2}, unit[2] = {1, 1};
  assert_fails(lct_whitening(nan, 2, 2, mean, unit, out, one, &err), LCT_E_NUMERIC,
               "the covariance of 2 neutral prompts is not positive definite");
  assert_ok(lct_whitening(x, 2, 2, mean, sigma, out, one, &err)); /* no variance */
  for (int i = 0; i < 4; i++) assert_true(out[i] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(moments),
      cmocka_unit_test(moments_merged),
      cmocka_unit_test(moments_of_one),
      cmocka_unit_test(components),
      cmocka_unit_test(components_at_the_ends),
      cmocka_unit_test(components_of_equal_variance),
      cmocka_unit_test(whitening),
      cmocka_unit_test(too_few),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
