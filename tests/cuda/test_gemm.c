/* Products through cuBLASLt: against sums in double, and every row the same bits whatever is multiplied with it. On the host shim with its
 * cuBLASLt in its four moods; on a GPU the real one, where the moods are all the same. */
#include "cuda_test.h"
#include "gemm.h"
#ifdef LCT_TEST_SHIM
#include "shim.h"
#endif

#define GAP 0x7fff /* half a canary: NaN between the rows */

static lct_error err;
static cudaStream_t stream;

/* One product's operands: x (n, in) in rows of ldx, w (out, in), bias (out). The gaps between rows are NaN. */
typedef struct {
  lct_dtype t;
  int in, out, n, ldx, ldy;
  uint16_t *x, *w, *bias; /* bias NULL: none */
  test_buffer b_x, b_w, b_bias, b_y;
} problem;

static uint16_t *random_rows(lct_dtype t, uint32_t seed, int rows, int cols, int ld) {
  size_t n = (size_t)rows * (size_t)ld;
  uint16_t *p = malloc(n * 2);
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) p[i] = i % (size_t)ld < (size_t)cols ? test_f32_half(t, test_value(seed, i, 2)) : GAP;
  return p;
}

static problem problem_new(lct_dtype t, int in, int out, int n, bool bias, int gap) {
  problem p = {.t = t, .in = in, .out = out, .n = n, .ldx = in + gap, .ldy = out + gap};
  p.x = random_rows(t, 1, n, in, p.ldx);
  p.w = random_rows(t, 2, out, in, in);
  p.bias = bias ? random_rows(t, 3, 1, out, out) : NULL;
  p.b_x = test_upload(p.x, (size_t)n * (size_t)p.ldx * 2);
  p.b_w = test_upload(p.w, (size_t)out * (size_t)in * 2);
  if (bias) p.b_bias = test_upload(p.bias, (size_t)out * 2);
  p.b_y = test_output((size_t)n * (size_t)p.ldy * 2);
  return p;
}

static void problem_free(problem *p) {
  test_unchanged(&p->b_x, p->x);
  test_unchanged(&p->b_w, p->w);
  if (p->bias != NULL) test_unchanged(&p->b_bias, p->bias);
  free(p->x);
  free(p->w);
  free(p->bias);
  test_release(&p->b_x);
  test_release(&p->b_w);
  test_release(&p->b_bias);
  test_release(&p->b_y);
}

static lct_status run(lct_gemm *g, const problem *p, bool decode, int row0, int n, void *d_y) {
  const char *x = (const char *)p->b_x.d + (size_t)row0 * (size_t)p->ldx * 2;
  return lct_gemm_run(g, decode, p->b_w.d, p->b_bias.d, p->in, p->out, x, p->ldx, n, d_y, p->ldy, &err);
}

/* All rows in one call. */
static uint16_t *run_all(lct_gemm *g, const problem *p, bool decode) {
  assert_ok(run(g, p, decode, 0, p->n, p->b_y.d));
  uint16_t *y = test_download(&p->b_y);
  for (int i = 0; i < p->n; i++) {
    for (int j = p->out; j < p->ldy; j++) assert_int_equal(y[(size_t)i * (size_t)p->ldy + (size_t)j], GAP);
  }
  return y;
}

/* |y - sum| <= half an ulp of T at y, plus what in + 1 additions in f32 may lose: each at most 2^-23 of the sum of the terms' sizes
 * (tensor cores cut off instead of rounding). `partial`: a partial sum may have been rounded to T before (the shim's variant). */
static void check_values(const problem *p, const uint16_t *y, bool partial) {
  double unit = p->t == LCT_DTYPE_F16 ? 0x1p-11 : 0x1p-8, least = p->t == LCT_DTYPE_F16 ? 0x1p-25 : 0x1p-134;
  for (int i = 0; i < p->n; i++) {
    for (int j = 0; j < p->out; j++) {
      double sum = p->bias == NULL ? 0 : (double)test_half_f32(p->t, p->bias[j]), size = fabs(sum);
      for (int k = 0; k < p->in; k++) {
        double x = (double)test_half_f32(p->t, p->x[(size_t)i * (size_t)p->ldx + (size_t)k]);
        double term = x * (double)test_half_f32(p->t, p->w[(size_t)j * (size_t)p->in + (size_t)k]);
        sum += term;
        size += fabs(term);
      }
      double lost = (p->in + 1) * 0x1p-23 * size + (partial ? unit * size : 0);
      double bound = lost + unit * (fabs(sum) + lost) + least, got = (double)test_half_f32(p->t, y[(size_t)i * (size_t)p->ldy + (size_t)j]);
      if (!(fabs(got - sum) <= bound)) fail_msg("row %d, column %d: %.9g, expected %.9g within %.3g", i, j, got, sum, bound);
    }
  }
}

static lct_gemm *open_gemm(lct_dtype t) {
  lct_gemm *g = NULL;
  assert_ok(lct_gemm_open(t, stream, &g, &err));
  return g;
}

static void set_mood(const char *mood) { assert_int_equal(setenv("SHIM_CUBLASLT", mood, 1), 0); }

static void test_values(void **state) {
  static const struct {
    int in, out, gap;
    bool bias;
  } shapes[] = {{64, 48, 0, true}, {8, 264, 8, false}, {328, 8, 16, true}, {72, 136, 24, false}, {8, 8, 0, true}};
  static const int counts[] = {1, 2, 15, 16, 17, 33, 200};
  (void)state;
  set_mood("normal");
  for (int ty = 0; ty < 2; ty++) {
    lct_dtype t = ty == 0 ? LCT_DTYPE_F16 : LCT_DTYPE_BF16;
    lct_gemm *g = open_gemm(t);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
      for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (int decode = 0; decode < 2; decode++) {
          problem p = problem_new(t, shapes[s].in, shapes[s].out, counts[c], shapes[s].bias, shapes[s].gap);
          uint16_t *y = run_all(g, &p, decode == 1);
          check_values(&p, y, false);
          free(y);
          problem_free(&p);
        }
      }
    }
    lct_gemm_close(g);
  }
}

/* Rows [row0, row0 + n) of a call of their own are those of the call with all. */
static void check_window(lct_gemm *g, const problem *p, bool decode, const uint16_t *all, int row0, int n) {
  size_t row = (size_t)p->ldy * 2;
  test_buffer b_y = test_output((size_t)n * row);
  assert_ok(run(g, p, decode, row0, n, b_y.d));
  uint16_t *y = test_download(&b_y);
  if (memcmp(y, all + (size_t)row0 * (size_t)p->ldy, (size_t)n * row) != 0) {
    fail_msg("%s: rows %d to %d of %d have other bits in a call of their own", decode ? "decode" : "prefill", row0, row0 + n - 1, p->n);
  }
  free(y);
  test_release(&b_y);
}

static void check_invariance(const char *mood, lct_dtype t) {
  static const int windows[][2] = {{0, 1},   {999, 1},   {511, 1},   {3, 2},   {0, 16},  {5, 16},
                                   {17, 31}, {100, 128}, {488, 512}, {1, 513}, {0, 1000}};
  set_mood(mood);
  lct_gemm *g = open_gemm(t);
  problem p = problem_new(t, 136, 40, 1000, true, 8);
  for (int decode = 0; decode < 2; decode++) {
    uint16_t *all = run_all(g, &p, decode == 1);
    check_values(&p, all, strcmp(mood, "normal") != 0);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) check_window(g, &p, decode == 1, all, windows[i][0], windows[i][1]);
    free(all);
  }
  problem_free(&p);
  lct_gemm_close(g);
}

static void test_invariance(void **state) {
  (void)state;
  check_invariance("normal", LCT_DTYPE_F16);
  check_invariance("normal", LCT_DTYPE_BF16);
  check_invariance("mixed", LCT_DTYPE_F16);
  check_invariance("mixed", LCT_DTYPE_BF16);
  check_invariance("variant", LCT_DTYPE_F16);
  check_invariance("variant", LCT_DTYPE_BF16);
  check_invariance("placed", LCT_DTYPE_F16);
  check_invariance("placed", LCT_DTYPE_BF16);
}

/* NaN and Inf stay in their rows, also within a padded tile. */
static void test_neighbours(void **state) {
  static const char *const moods[] = {"normal", "variant"};
  (void)state;
  for (int m = 0; m < 2; m++) {
    set_mood(moods[m]);
    lct_gemm *g = open_gemm(LCT_DTYPE_F16);
    problem p = problem_new(LCT_DTYPE_F16, 64, 24, 37, false, 0);
    for (int decode = 0; decode < 2; decode++) {
      uint16_t *clean = run_all(g, &p, decode == 1);
      void *d_bad = (char *)p.b_x.d + 36 * 64 * 2; /* the last row */
      CUDA_OK(cudaMemset(d_bad, 0xff, 64 * 2));
      CUDA_OK(cudaDeviceSynchronize());
      uint16_t *dirty = run_all(g, &p, decode == 1);
      assert_memory_equal(clean, dirty, 36 * 24 * 2);
      for (int j = 0; j < 24; j++) assert_true(isnan(test_half_f32(LCT_DTYPE_F16, dirty[36 * 24 + j])));
      check_window(g, &p, decode == 1, clean, 0, 36); /* a tile that follows the NaN in the same room */
      CUDA_OK(cudaMemcpy(d_bad, p.x + 36 * 64, 64 * 2, cudaMemcpyHostToDevice));
      CUDA_OK(cudaDeviceSynchronize());
      free(clean);
      free(dirty);
    }
    problem_free(&p);
    lct_gemm_close(g);
  }
}

static void assert_contains(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void test_describe(void **state) {
  (void)state;
  static const struct {
    const char *mood, *prefill, *decode;
  } expected[] = {
      {"normal", "64 -> 40 + bias, prefill: tiles of at most 65536 rows, algorithm 1,",
       "64 -> 40 + bias, decode: tiles of at most 16 rows, algorithm 1,"},
      {"mixed", "prefill: tiles of at most 65536 rows, algorithm 1, tile 20, stages 0, cluster 0, split K 1 (reduction 0); 2 refused\n",
       "decode: tiles of at most 16 rows, algorithm 4, tile 20, stages 0, cluster 0, split K 2 (reduction 2); 1 refused\n"},
      {"variant", "prefill: tiles of exactly 512 rows, algorithm 3,", "decode: tiles of at most 16 rows, algorithm 4,"},
      {"placed", "prefill: single rows, algorithm 5, tile 20, stages 0, cluster 0, split K 1 (reduction 0); 2 refused\n",
       "decode: single rows, algorithm 5, tile 20, stages 0, cluster 0, split K 1 (reduction 0); 2 refused\n"},
  };
  for (size_t m = 0; m < sizeof expected / sizeof *expected; m++) {
    set_mood(expected[m].mood);
    lct_gemm *g = open_gemm(LCT_DTYPE_F16);
    problem p = problem_new(LCT_DTYPE_F16, 64, 40, 3, true, 0);
    lct_buf text = {0};
    assert_ok(lct_gemm_describe(g, &text, &err));
    assert_int_equal(text.len, 0);
    assert_ok(lct_gemm_prepare(g, p.b_w.d, p.b_bias.d, p.in, p.out, &err));
    assert_ok(lct_gemm_prepare(g, p.b_w.d, p.b_bias.d, p.in, p.out, &err)); /* once is enough */
    assert_ok(lct_gemm_describe(g, &text, &err));
    int lines = 0;
    for (size_t i = 0; i < text.len; i++) lines += text.data[i] == '\n';
    assert_int_equal(lines, 2);
#ifdef LCT_TEST_SHIM
    assert_contains(text.data, expected[m].prefill);
    assert_contains(text.data, expected[m].decode);
#else
    print_message("%s", text.data);
#endif
    lct_buf_free(&text);
    problem_free(&p);
    lct_gemm_close(g);
  }
}

static void test_refusals(void **state) {
  (void)state;
  set_mood("normal");
  lct_gemm *g = NULL;
  assert_int_equal(lct_gemm_open(LCT_DTYPE_F32, stream, &g, &err), LCT_E_UNSUPPORTED);
  assert_null(g);
  g = open_gemm(LCT_DTYPE_F16);
  problem p = problem_new(LCT_DTYPE_F16, 16, 16, 4, false, 0);
  assert_fails(lct_gemm_run(g, false, p.b_w.d, NULL, 12, 16, p.b_x.d, 16, 4, p.b_y.d, 16, &err), LCT_E_UNSUPPORTED,
               "matrix product on the GPU: 12 values in, 16 out: expected multiples of 8");
  assert_fails(lct_gemm_run(g, true, p.b_w.d, NULL, 16, 20, p.b_x.d, 16, 3, p.b_y.d, 24, &err), LCT_E_UNSUPPORTED,
               "matrix product on the GPU: 16 values in, 20 out: expected multiples of 8");
  const char *leading =
      "matrix product on the GPU: leading dimensions 20 of 16 values in, 16 of 16 out: expected multiples of 8, at least "
      "the number of values";
  assert_fails(lct_gemm_run(g, false, p.b_w.d, NULL, 16, 16, p.b_x.d, 20, 3, p.b_y.d, 16, &err), LCT_E_UNSUPPORTED, leading);
  assert_int_equal(lct_gemm_run(g, false, p.b_w.d, NULL, 16, 16, p.b_x.d, 16, 3, p.b_y.d, 8, &err), LCT_E_UNSUPPORTED);
  void *y = test_download(&p.b_y); /* nothing was written */
  assert_true(test_is_blank(y, 0, p.b_y.bytes));
  free(y);
  problem_free(&p);
  lct_gemm_close(g);
  lct_gemm_close(NULL);
}

static void test_library_missing(void **state) {
  (void)state;
  lct_gemm *g = NULL;
  const char *old = getenv("LCT_CUBLASLT");
  char *saved = old == NULL ? NULL : strdup(old);
  assert_int_equal(setenv("LCT_CUBLASLT", "/nonexistent/libcublasLt.so", 1), 0);
  assert_fails(lct_gemm_open(LCT_DTYPE_F16, stream, &g, &err), LCT_E_UNSUPPORTED,
               "cuBLASLt (the GPU's matrix products) cannot be used; LCT_CUBLASLT says /nonexistent/libcublasLt.so: no such file");
  assert_null(g);
  assert_int_equal(setenv("LCT_CUBLASLT", "libm.so.6", 1), 0); /* a library, but another one */
  assert_fails(lct_gemm_open(LCT_DTYPE_F16, stream, &g, &err), LCT_E_UNSUPPORTED,
               "cuBLASLt (the GPU's matrix products) cannot be used; LCT_CUBLASLT says libm.so.6: it has no cublasLtGetVersion");
  assert_int_equal(unsetenv("LCT_CUBLASLT"), 0);
  lct_status status = lct_gemm_open(LCT_DTYPE_F16, stream, &g, &err);
  if (status == LCT_E_UNSUPPORTED) { /* no library here: every place is named */
    assert_contains(err.message, "libcublasLt.so.13: ");
    assert_contains(err.message, "libcublasLt.so.12: ");
    assert_contains(err.message, "/usr/local/cuda/lib64/libcublasLt.so");
    assert_contains(err.message, "/lib/libcublasLt.so: no such file");
    assert_contains(err.message, "LCT_CUBLASLT");
  }
  lct_gemm_close(g);
  if (saved != NULL) assert_int_equal(setenv("LCT_CUBLASLT", saved, 1), 0);
  free(saved);
}

#ifdef LCT_TEST_SHIM
/* Every allocation and every launch once fails: a status that says so, nothing left behind. */
static void test_faults(void **state) {
  (void)state;
  set_mood("variant"); /* with padded tiles */
  problem p = problem_new(LCT_DTYPE_F16, 16, 24, 5, true, 0);
  size_t live = shim_live_allocations();
  bool done = false;
  for (int n = 1; !done; n++) {
    lct_gemm *g = NULL;
    shim_fail_allocation(n);
    lct_status s = lct_gemm_open(LCT_DTYPE_F16, stream, &g, &err);
    if (s == LCT_OK) s = run(g, &p, false, 0, 5, p.b_y.d);
    if (s == LCT_OK) s = run(g, &p, true, 0, 5, p.b_y.d);
    if (s != LCT_OK) {
      assert_int_equal(s, LCT_E_NOMEM);
      assert_contains(err.message, "out of GPU memory for ");
      assert_contains(err.message, " MiB free");
      if (g != NULL) assert_ok(run(g, &p, false, 0, 5, p.b_y.d)); /* it goes on */
    }
    shim_fail_allocation(0);
    CUDA_OK(cudaStreamSynchronize(stream));
    lct_gemm_close(g);
    assert_int_equal(shim_live_allocations(), live);
    done = s == LCT_OK;
    assert_true(n < 100);
  }
  done = false;
  for (int n = 1; !done; n++) {
    lct_gemm *g = open_gemm(LCT_DTYPE_F16);
    shim_fail_launch(n);
    lct_status s = run(g, &p, false, 0, 5, p.b_y.d);
    done = s == LCT_OK && cudaStreamSynchronize(stream) == cudaSuccess;
    if (s != LCT_OK) assert_int_equal(s, LCT_E_DEVICE);
    lct_gemm_close(g);
    shim_reset();
    assert_int_equal(shim_live_allocations(), live);
    assert_true(n < 200);
  }
  problem_free(&p);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),   cmocka_unit_test(test_invariance), cmocka_unit_test(test_neighbours),
      cmocka_unit_test(test_describe), cmocka_unit_test(test_refusals),   cmocka_unit_test(test_library_missing),
#ifdef LCT_TEST_SHIM
      cmocka_unit_test(test_faults),
#endif
  };
  test_need_gpu();
#ifdef LCT_TEST_CUBLASLT
  if (setenv("LCT_CUBLASLT", LCT_TEST_CUBLASLT, 0) != 0) return 1;
#endif
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  (void)cudaStreamDestroy(stream);
  return failed;
}
