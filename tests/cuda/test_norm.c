/* RMSNorm and residual add + RMSNorm: against the CPU op and a double loop. */
#include "rows_test.h"

/* every way through the launcher: a warp's rows of 1, 2, 4, 8 pieces, a block's of 2 and 4, rows read twice; full and ragged */
static const int dims[] = {4, 12, 128, 132, 256, 260, 512, 516, 896, 1024, 1028, 1536, 2048, 4092, 4096, 4100, 5120, 8192, 8196, 12300};

typedef struct {
  lct_dtype t;
  int n, dim;
  float eps;
  float *x, *w;
  uint16_t *y; /* NULL: no add */
} norm_case;

static norm_case make_case(lct_dtype t, int n, int dim, bool add, float scale) {
  size_t total = (size_t)n * (size_t)dim;
  norm_case c = {.t = t, .n = n, .dim = dim, .eps = 1e-6f};
  c.x = test_floats(1, total, scale);
  c.w = test_floats(2, (size_t)dim, 2);
  c.y = add ? test_halves(t, 3, total, scale < 1e4f ? scale : 1e4f) : NULL;
  return c;
}

static void free_case(norm_case *c) {
  free(c->x);
  free(c->w);
  free(c->y);
}

/* Rows [row0, row0 + n) of the case on the device. *x_out: the residual afterwards; *h_out may be NULL: no norm then. */
static void run_rows(const norm_case *c, int row0, int n, float **x_out, uint16_t **h_out) {
  size_t at = (size_t)row0 * (size_t)c->dim, total = (size_t)n * (size_t)c->dim;
  float *d_x = to_device(c->x + at, total * 4), *d_w = to_device(c->w, (size_t)c->dim * 4);
  void *d_y = c->y == NULL ? NULL : to_device(c->y + at, total * 2), *d_h = to_device(NULL, total * 2);
  if (c->y == NULL) {
    assert_ok(lct_k_rmsnorm(c->t, d_x, d_w, c->eps, n, c->dim, d_h, 0, &err));
  } else {
    assert_ok(lct_k_add_rmsnorm(c->t, d_x, d_y, h_out == NULL ? NULL : d_w, c->eps, n, c->dim, h_out == NULL ? NULL : d_h, 0, &err));
  }
  *x_out = from_device(d_x, total * 4);
  uint16_t *h = from_device(d_h, total * 2);
  if (h_out != NULL) {
    *h_out = h;
  } else {
    assert_true(test_is_blank(h, 0, total * 2));
    free(h);
  }
  device_free(d_y);
  device_free(d_w);
}

/* A sum of positive terms errs by half an ulp an addition it goes through: a thread's own, 5 of its warp, up to 16 of the block, squares.
 * Its root by half of that; the mean, eps, root, reciprocal and two products by half an ulp each. */
static double kernel_error(int dim) {
  int own = dim <= 8192 ? 32 : (dim + 511) / 512;
  return (0.5 * (own + 5 + 16 + 1) + 6) * EPS32;
}

/* The same for the CPU's, whose narrowest variant adds in 16 places, then 4 + 2 together. */
static double cpu_error(int dim) { return (0.5 * (dim / 16 + 4 + 6 + 1) + 6) * EPS32; }

static void check_against_double(const norm_case *c, const float *x, const uint16_t *h) {
  for (int r = 0; r < c->n; r++) {
    const float *row = x + (size_t)r * (size_t)c->dim;
    double sum = 0;
    for (int i = 0; i < c->dim; i++) sum += (double)row[i] * (double)row[i];
    double inv = 1 / sqrt(sum / c->dim + (double)c->eps);
    for (int i = 0; i < c->dim; i++) {
      double want = (double)row[i] * inv * (double)c->w[i];
      assert_rounded(c->t, h[(size_t)r * (size_t)c->dim + (size_t)i], want, fabs(want) * kernel_error(c->dim), "row %d of %d, %d of %d", r,
                     c->n, i, c->dim);
    }
  }
}

static void check_against_cpu(const norm_case *c, const float *x, const uint16_t *h) {
  size_t total = (size_t)c->n * (size_t)c->dim;
  lct_backend *be = open_cpu();
  float *want_x = test_blank(total * 4), *want_h = test_blank(total * 4);
  memcpy(want_x, c->x, total * 4);
  if (c->y == NULL) {
    assert_ok(lct_cpu_ops()->rmsnorm(be, want_x, c->w, c->eps, c->n, c->dim, want_h, &err));
  } else {
    float *y = test_decode(c->t, c->y, total);
    assert_ok(lct_cpu_ops()->add_rmsnorm(be, want_x, y, c->w, c->eps, c->n, c->dim, want_h, &err));
    free(y);
  }
  assert_memory_equal(x, want_x, total * 4); /* the residual: the same bits */
  for (size_t i = 0; h != NULL && i < total; i++) {
    double want = (double)want_h[i];
    double slack = fabs(want) * (kernel_error(c->dim) + cpu_error(c->dim));
    assert_rounded(c->t, h[i], want, slack, "element %zu of (%d, %d), CPU", i, c->n, c->dim);
  }
  free(want_x);
  free(want_h);
  lct_cpu_ops()->close(be);
}

static void run_case(lct_dtype t, int n, int dim, bool add, float scale) {
  norm_case c = make_case(t, n, dim, add, scale);
  float *x;
  uint16_t *h;
  run_rows(&c, 0, n, &x, &h);
  check_against_double(&c, x, h);
  check_against_cpu(&c, x, h);
  free(x);
  free(h);
  if (add) {
    run_rows(&c, 0, n, &x, NULL);
    check_against_cpu(&c, x, NULL);
    free(x);
  }
  free_case(&c);
}

static void test_shapes(void **state) {
  (void)state;
  const int ns[] = {1, 2, 5};
  for (int d = 0; d < N_OF(dims); d++) {
    for (int i = 0; i < N_OF(ns); i++) {
      for (int k = 0; k < 4; k++) run_case(test_types[k % 2], ns[i], dims[d], k >= 2, 3);
    }
  }
}

/* The residual of a large model: 1e4 .. 1e8, beyond f16 by far; and rows so small that eps rules. */
static void test_sizes_of_values(void **state) {
  (void)state;
  const float scales[] = {1e-20f, 1e-4f, 1e4f, 1e8f, 1e15f};
  for (int s = 0; s < N_OF(scales); s++) {
    for (int k = 0; k < 4; k++) {
      run_case(test_types[k % 2], 3, 896, k >= 2, scales[s]);
      run_case(test_types[k % 2], 2, 2048, k >= 2, scales[s]);
    }
  }
}

/* One massive activation; a row of zeros; results beyond f16 become Inf. */
static void test_special_rows(void **state) {
  (void)state;
  for (int k = 0; k < 2; k++) {
    lct_dtype t = test_types[k];
    norm_case c = make_case(t, 4, 1536, false, 1);
    c.x[7] = 2e4f;
    for (int i = 0; i < c.dim; i++) c.x[c.dim + i] = i % 2 == 0 ? 0.0f : -0.0f;
    c.x[2 * c.dim + 5] = NAN;
    c.x[3 * c.dim + 1535] = INFINITY;
    c.w[9] = 1e30f;
    float *x;
    uint16_t *h;
    run_rows(&c, 0, c.n, &x, &h);
    check_against_double(&c, x, h);
    assert_true(t == LCT_DTYPE_BF16 || isinf(test_half_f32(t, h[9])));
    assert_int_equal(h[c.dim] & 0x7fff, 0);
    assert_true(isnan(test_half_f32(t, h[2 * c.dim]))); /* NaN anywhere: the whole row */
    assert_true(isnan(test_half_f32(t, h[3 * c.dim + 1535])));
    assert_int_equal(h[3 * c.dim] & 0x7fff, 0); /* beside Inf: zeros */
    free(x);
    free(h);
    free_case(&c);
  }
}

/* A row gives the same bits in any company. */
static void test_company(void **state) {
  (void)state;
  const int some[] = {64, 896, 2048, 5120, 8196};
  for (int d = 0; d < N_OF(some); d++) {
    for (int k = 0; k < 4; k++) {
      norm_case c = make_case(test_types[k % 2], 7, some[d], k >= 2, 2);
      float *all_x, *x;
      uint16_t *all_h, *h;
      run_rows(&c, 0, c.n, &all_x, &all_h);
      const int parts[][2] = {{0, 1}, {3, 1}, {6, 1}, {1, 5}, {2, 3}};
      for (int p = 0; p < N_OF(parts); p++) {
        size_t at = (size_t)parts[p][0] * (size_t)c.dim, total = (size_t)parts[p][1] * (size_t)c.dim;
        run_rows(&c, parts[p][0], parts[p][1], &x, &h);
        assert_memory_equal(x, all_x + at, total * 4);
        assert_memory_equal(h, all_h + at, total * 2);
        free(x);
        free(h);
      }
      free(all_x);
      free(all_h);
      free_case(&c);
    }
  }
}

static void test_refusals(void **state) {
  (void)state;
  float *d = to_device(NULL, 1024);
  assert_ok(lct_k_rmsnorm(LCT_DTYPE_F16, d, d, 0, 0, 64, d, 0, &err)); /* no rows: nothing happens */
  assert_ok(lct_k_add_rmsnorm(LCT_DTYPE_BF16, d, d, d, 0, 0, 64, d, 0, &err));
  assert_fails(lct_k_rmsnorm(LCT_DTYPE_F32, d, d, 0, 1, 64, d, 0, &err), LCT_E_UNSUPPORTED, "rmsnorm: no kernel for type F32");
  assert_fails(lct_k_add_rmsnorm(LCT_DTYPE_Q8_0, d, d, d, 0, 1, 64, d, 0, &err), LCT_E_UNSUPPORTED, "add_rmsnorm: no kernel for type Q8_0");
  assert_fails(lct_k_rmsnorm(LCT_DTYPE_F16, d, d, 0, 1, 66, d, 0, &err), LCT_E_UNSUPPORTED,
               "rmsnorm: 1 rows of 66 elements: expected rows of a multiple of 4");
  assert_fails(lct_k_rmsnorm(LCT_DTYPE_F16, d + 1, d, 0, 1, 64, d, 0, &err), LCT_E_UNSUPPORTED,
               "rmsnorm: a buffer is not aligned: expected 16 bytes for f32, 8 for 16-bit types");
  assert_blank(d, 1024);
}

/* 2^20 + 1 rows of 2052: the last row lies beyond 2^31 elements. */
static void test_many_rows(void **state) {
  (void)state;
  skip_without_gpu();
  int n = (1 << 20) + 1, dim = 2052;
  size_t total = (size_t)n * (size_t)dim, at = total - (size_t)dim;
  norm_case c = make_case(LCT_DTYPE_F16, 1, dim, false, 3);
  float *d_x = big_device(total * 4), *d_w = to_device(c.w, (size_t)dim * 4);
  uint16_t *d_h = big_device(total * 2), *h = test_blank((size_t)dim * 2);
  CUDA_OK(cudaMemcpy(d_x + at, c.x, (size_t)dim * 4, cudaMemcpyHostToDevice));
  assert_ok(lct_k_rmsnorm(c.t, d_x, d_w, c.eps, n, dim, d_h, 0, &err));
  CUDA_OK(cudaMemcpy(h, d_h + at, (size_t)dim * 2, cudaMemcpyDeviceToHost));
  check_against_double(&c, c.x, h);
  CUDA_OK(cudaFree(d_x));
  CUDA_OK(cudaFree(d_h));
  device_free(d_w);
  free(h);
  free_case(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),  cmocka_unit_test(test_sizes_of_values), cmocka_unit_test(test_special_rows),
      cmocka_unit_test(test_company), cmocka_unit_test(test_refusals),        cmocka_unit_test(test_many_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
