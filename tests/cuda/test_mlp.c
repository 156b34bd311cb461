/* SwiGLU: against the CPU op and a double loop. */
#include "rows_test.h"

/* Behind exp(-g): 2 ulp (the CPU's: as many), halved or better in 1 + exp(-g); sum, quotient and product half an ulp each. */
#define SILU_ERROR (8 * EPS32)
/* Where exp(-g) overflows (g < -88.72) silu is 0: the exact value is at most 88.73 exp(-88.72) in size. */
#define SILU_LOST 2.7e-37

static double silu_exact(double g) { return g / (1 + exp(-g)); }

typedef struct {
  lct_dtype t;
  int n, dim;
  uint16_t *gu;
} mlp_case;

static void run_rows(const mlp_case *c, int row0, int n, uint16_t **mul, float **act) {
  size_t total = (size_t)n * (size_t)c->dim;
  void *d_gu = to_device(c->gu + (size_t)row0 * 2 * (size_t)c->dim, total * 4), *d_mul = to_device(NULL, total * 2);
  float *d_act = to_device(NULL, total * 4);
  assert_ok(lct_k_silu_mul(c->t, d_gu, n, c->dim, d_mul, 0, &err));
  assert_ok(lct_k_silu(c->t, d_gu, n, c->dim, d_act, 0, &err));
  *mul = from_device(d_mul, total * 2);
  *act = from_device(d_act, total * 4);
  device_free(d_gu);
}

static void check_f32(float got, double want, double slack, size_t i) {
  bool ok = isnan(want) ? isnan(got) : isinf(want) ? (double)got == want : fabs((double)got - want) <= slack + 0x1p-149;
  if (!ok) fail_msg("silu, element %zu: %.9g, expected %.9g +- %.3g", i, (double)got, want, slack);
}

static void check_rows(const mlp_case *c, const uint16_t *mul, const float *act) {
  size_t total = (size_t)c->n * (size_t)c->dim;
  lct_backend *be = open_cpu();
  float *gu = test_decode(c->t, c->gu, 2 * total), *cpu_mul = test_blank(total * 4), *cpu_act = test_blank(total * 4);
  assert_ok(lct_cpu_ops()->silu_mul(be, gu, c->n, c->dim, cpu_mul, &err));
  assert_ok(lct_cpu_ops()->silu(be, gu, c->n, c->dim, cpu_act, &err));
  for (size_t i = 0; i < total; i++) {
    size_t at = i / (size_t)c->dim * 2 * (size_t)c->dim + i % (size_t)c->dim;
    double g = (double)gu[at], up = (double)gu[at + (size_t)c->dim], want = silu_exact(g);
    double slack = isfinite(want) ? fabs(want) * SILU_ERROR + SILU_LOST : 0;
    check_f32(act[i], want, slack, i);
    check_f32(act[i], (double)cpu_act[i], 2 * slack, i);
    if (isfinite(want) && isfinite(up)) {
      assert_rounded(c->t, mul[i], want * up, slack * fabs(up) + 0x1p-149, "silu(%g) * %g", g, up);
      if (!isfinite(cpu_mul[i])) continue; /* beyond f32: nothing to compare with */
      assert_rounded(c->t, mul[i], (double)cpu_mul[i], 2 * slack * fabs(up) + 0x1p-149, "CPU silu(%g) * %g", g, up);
    } else {
      assert_rounded(c->t, mul[i], (double)(float)want * up, 0, "silu(%g) * %g", g, up);
    }
  }
  free(gu);
  free(cpu_mul);
  free(cpu_act);
  lct_cpu_ops()->close(be);
}

static void run_case(mlp_case *c) {
  uint16_t *mul;
  float *act;
  run_rows(c, 0, c->n, &mul, &act);
  check_rows(c, mul, act);
  free(mul);
  free(act);
  free(c->gu);
}

static void test_shapes(void **state) {
  (void)state;
  const int dims[] = {8, 16, 248, 256, 264, 1000, 4096, 4104, 4864, 11008};
  const int ns[] = {1, 2, 5};
  for (int d = 0; d < N_OF(dims); d++) {
    for (int i = 0; i < N_OF(ns); i++) {
      for (int k = 0; k < 2; k++) {
        mlp_case c = {test_types[k], ns[i], dims[d], NULL};
        c.gu = test_halves(c.t, 1, 2 * (size_t)c.n * (size_t)c.dim, i == 1 ? 200 : 8);
        run_case(&c);
      }
    }
  }
}

/* Every gate there is, NaN and Inf among them, times small, large and odd values of up. */
static void test_all_gates(void **state) {
  (void)state;
  const float ups[] = {1, -0.333f, 1000, 0, 6e-5f};
  for (int k = 0; k < 2; k++) {
    mlp_case c = {test_types[k], 8, 8192, test_blank(65536 * 4)};
    for (int i = 0; i < 65536; i++) {
      uint16_t *row = c.gu + (size_t)(i / 8192) * 16384;
      row[i % 8192] = (uint16_t)i;
      row[8192 + i % 8192] = test_f32_half(c.t, ups[i % 5]);
    }
    run_case(&c);
  }
}

static void test_nonfinite_up(void **state) {
  (void)state;
  const float ups[] = {INFINITY, -INFINITY, NAN, 65504};
  for (int k = 0; k < 2; k++) {
    mlp_case c = {test_types[k], 2, 64, NULL};
    c.gu = test_halves(c.t, 2, 256, 5);
    for (int i = 0; i < 64; i++) c.gu[64 + i] = test_f32_half(c.t, ups[i % 4]);
    c.gu[0] = 0; /* 0 * Inf */
    run_case(&c);
  }
}

static void test_company(void **state) {
  (void)state;
  for (int k = 0; k < 2; k++) {
    mlp_case c = {test_types[k], 6, 1000, NULL};
    c.gu = test_halves(c.t, 3, 12000, 6);
    uint16_t *all_mul, *mul;
    float *all_act, *act;
    run_rows(&c, 0, c.n, &all_mul, &all_act);
    const int parts[][2] = {{0, 1}, {5, 1}, {2, 3}};
    for (int p = 0; p < N_OF(parts); p++) {
      size_t at = (size_t)parts[p][0] * 1000, total = (size_t)parts[p][1] * 1000;
      run_rows(&c, parts[p][0], parts[p][1], &mul, &act);
      assert_memory_equal(mul, all_mul + at, total * 2);
      assert_memory_equal(act, all_act + at, total * 4);
      free(mul);
      free(act);
    }
    free(all_mul);
    free(all_act);
    free(c.gu);
  }
}

static void test_refusals(void **state) {
  (void)state;
  float *d = to_device(NULL, 1024);
  assert_ok(lct_k_silu_mul(LCT_DTYPE_F16, d, 0, 8, d, 0, &err));
  assert_ok(lct_k_silu(LCT_DTYPE_F16, d, 0, 8, d, 0, &err));
  assert_fails(lct_k_silu_mul(LCT_DTYPE_F32, d, 1, 8, d, 0, &err), LCT_E_UNSUPPORTED, "silu_mul: no kernel for type F32");
  assert_fails(lct_k_silu(LCT_DTYPE_Q4_K, d, 1, 8, d, 0, &err), LCT_E_UNSUPPORTED, "silu: no kernel for type Q4_K");
  assert_fails(lct_k_silu_mul(LCT_DTYPE_F16, d, 1, 12, d, 0, &err), LCT_E_UNSUPPORTED,
               "silu_mul: 1 rows of 12 elements: expected rows of a multiple of 8, at most 2^24");
  assert_fails(lct_k_silu(LCT_DTYPE_F16, d, 1, 8, d + 1, 0, &err), LCT_E_UNSUPPORTED, "silu: a buffer is not aligned to 16 bytes");
  assert_blank(d, 1024);
}

/* The last row lies beyond 2^31 elements of gu. */
static void test_many_rows(void **state) {
  (void)state;
  skip_without_gpu();
  mlp_case c = {LCT_DTYPE_BF16, 1, 1032, NULL};
  c.gu = test_halves(c.t, 4, 2064, 5);
  int n = (1 << 20) + 1;
  size_t row = (size_t)c.dim, total = (size_t)n * row;
  uint16_t *d_gu = big_device(total * 4), *d_mul = big_device(total * 2), *mul = test_blank(row * 2);
  float *d_act = big_device(total * 4), *act = test_blank(row * 4);
  CUDA_OK(cudaMemcpy(d_gu + 2 * (total - row), c.gu, row * 4, cudaMemcpyHostToDevice));
  assert_ok(lct_k_silu_mul(c.t, d_gu, n, c.dim, d_mul, 0, &err));
  assert_ok(lct_k_silu(c.t, d_gu, n, c.dim, d_act, 0, &err));
  CUDA_OK(cudaMemcpy(mul, d_mul + total - row, row * 2, cudaMemcpyDeviceToHost));
  CUDA_OK(cudaMemcpy(act, d_act + total - row, row * 4, cudaMemcpyDeviceToHost));
  check_rows(&c, mul, act);
  CUDA_OK(cudaFree(d_gu));
  CUDA_OK(cudaFree(d_mul));
  CUDA_OK(cudaFree(d_act));
  free(mul);
  free(act);
  free(c.gu);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),  cmocka_unit_test(test_all_gates), cmocka_unit_test(test_nonfinite_up),
      cmocka_unit_test(test_company), cmocka_unit_test(test_refusals),  cmocka_unit_test(test_many_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
