/* The CPU backend's linear and row-wise ops against numpy in float64 (tests/goldens/cpu), on every instruction set of this
 * machine, exact and fast, with 1 and 2 threads; and bit for bit against themselves in other company. */
#include "cpu_test.h"

static lct_error err;

static lct_tensor view(const char *name, lct_dtype type, int64_t rows, int64_t cols, const void *data) {
  return (lct_tensor){.name = name, .dtype = type, .rows = rows, .cols = cols, .data = data};
}

static float *as_in(lct_precision precision, float *x, size_t n) {
  return precision == LCT_PRECISION_FAST ? (float *)(void *)test_bf16(x, n) : x;
}

/* Two stacked parts, the first with a bias, over strided rows; the weights as bf16 or f32 in the "file". */
static void check_linear(lct_backend *be, lct_precision precision, int i, lct_dtype type, bool decode) {
  const lct_ops *ops = lct_cpu_ops();
  golden g = test_golden("linear", i);
  int k = g.header[0], n0 = g.header[1], n1 = g.header[2], rows = g.header[3], n = n0 + n1, ldy = n + 3;
  uint32_t s = (uint32_t)i;
  float *x = test_values(100 + s, (size_t)(rows * k), 1), *b = test_values(300 + s, (size_t)n0, 1), *y = test_blank((size_t)(rows * ldy));
  float *w = test_values(200 + s, (size_t)(n * k), 1);
  uint16_t *w16 = test_bf16(w, (size_t)(n * k));
  for (int j = 0; j < n * k; j++) w[j] = lct_bf16_to_f32(w16[j]);
  size_t part0 = (size_t)(n0 * k);
  lct_tensor t0 = view("a", type, n0, k, type == LCT_DTYPE_F32 ? (void *)w : w16);
  lct_tensor t1 = view("b", type, n1, k, type == LCT_DTYPE_F32 ? (void *)(w + part0) : w16 + part0);
  lct_tensor tb = view("c", LCT_DTYPE_F32, 1, n0, b), none = {0};
  lct_weight *weight = NULL;
  assert_ok(ops->weights.new(be, (const lct_tensor *[]){&t0, &t1}, (const lct_tensor *[]){&tb, &none}, 2, &weight, &err));
  float *in = as_in(precision, x, (size_t)(rows * k));
  assert_ok(ops->begin_batch(be, &(lct_batch){.decode = decode}, NULL, &err));
  for (int r = 0; r < rows; r += 2) { /* two rows a call, the last alone; ldy wider than the matrix */
    const char *xr = (const char *)in + (size_t)(r * k) * (precision == LCT_PRECISION_FAST ? 2 : 4);
    assert_ok(ops->linear(be, weight, xr, k, rows - r < 2 ? rows - r : 2, y + r * ldy, ldy, &err));
  }
  const float *want = g.data + (precision == LCT_PRECISION_FAST ? rows * n : 0);
  for (int r = 0; r < rows; r++) {
    assert_close(y + r * ldy, want + r * n, (size_t)n, 1e-6);
    assert_canaries(y + r * ldy, (size_t)n * 4, (size_t)ldy * 4);
  }
  assert_canaries(y, (size_t)(rows * ldy) * 4, (size_t)(rows * ldy + 16) * 4);
  ops->weights.free(be, weight);
  if (in != x) free(in);
  free(x);
  free(b);
  free(y);
  free(w);
  free(w16);
  lct_buf_free(&g.bytes);
}

static void test_linear(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    FOR_EACH_BACKEND({
      check_linear(be, precision, i, LCT_DTYPE_F32, false);
      check_linear(be, precision, i, LCT_DTYPE_BF16, false);
      check_linear(be, precision, i, LCT_DTYPE_BF16, true);
    });
  }
}

/* f16 weights in the file: decode reads them as they lie. The same values through f32 are the reference (held by test_linear). */
static void test_decode_f16(void **state) {
  (void)state;
  enum { K = 203, N = 37, ROWS = 4 };
  const lct_ops *ops = lct_cpu_ops();
  float *w = test_values(5, K * N, 4), *x = test_values(6, ROWS * K, 1);
  uint16_t *w16 = test_bf16(w, K * N);
  for (int i = 0; i < K * N; i++) {
    w16[i] = lct_f32_to_f16(w[i]);
    w[i] = lct_f16_to_f32(w16[i]);
  }
  lct_tensor t16 = view("w16", LCT_DTYPE_F16, N, K, w16), t32 = view("w32", LCT_DTYPE_F32, N, K, w);
  FOR_EACH_BACKEND({
    if (precision == LCT_PRECISION_FAST) {
      ops->close(be);
      break;
    }
    lct_weight *a = NULL;
    lct_weight *b = NULL;
    assert_ok(ops->weights.new(be, (const lct_tensor *[]){&t16}, NULL, 1, &a, &err));
    assert_ok(ops->weights.new(be, (const lct_tensor *[]){&t32}, NULL, 1, &b, &err));
    assert_ok(ops->begin_batch(be, &(lct_batch){.decode = true}, NULL, &err));
    for (int n = 1; n <= ROWS; n++) {
      float *got = test_blank(N * ROWS);
      float *want = test_blank(N * ROWS);
      assert_ok(ops->linear(be, a, x, K, n, got, N, &err));
      assert_ok(ops->linear(be, b, x, K, n, want, N, &err));
      assert_close(got, want, (size_t)(n * N), 1e-6);
      assert_canaries(got, (size_t)(n * N) * 4, (N * ROWS + 16) * 4);
      free(got);
      free(want);
    }
    ops->weights.free(be, a);
    ops->weights.free(be, b);
  });
  free(w);
  free(x);
  free(w16);
}

/* Rows of a batch of `total` in pieces of every size: the same bits, on 1 to 3 threads, packed or streamed. */
static void check_invariance(const char *isa, lct_precision precision, int k, int n, int total) {
  const lct_ops *ops = lct_cpu_ops();
  static const int pieces[] = {1, 2, 3, 5, 17, 33, 63, 95, 100, 129, 190, 255, 257};
  float *x32 = test_values(7, (size_t)(total * k), 1), *w = test_values(8, (size_t)(n * k), 1), *want = test_blank((size_t)(total * n));
  float *x = as_in(precision, x32, (size_t)(total * k)), *got = test_blank((size_t)(total * n));
  lct_tensor t = view("w", LCT_DTYPE_F32, n, k, w), other = view("other", LCT_DTYPE_F32, n - 1, k, w + k);
  for (int run = 0; run < 3; run++) { /* the reference, another number of threads, no memory for packed weights */
    lct_backend_options o = {.precision = precision,
                             .threads = test_threads(run == 0   ? 2
                                                     : run == 1 ? 1
                                                                : 3),
                             .weight_budget_bytes = run == 2 ? 1 : 0};
    lct_backend *be = NULL;
    assert_int_equal(setenv("LCT_CPU_ISA", isa, 1), 0);
    if (ops->open(&o, &be, &err) != LCT_OK) break;
    lct_weight *weight = NULL, *second = NULL;
    assert_ok(ops->weights.new(be, (const lct_tensor *[]){&t}, NULL, 1, &weight, &err));
    assert_ok(ops->weights.new(be, (const lct_tensor *[]){&other}, NULL, 1, &second, &err));
    if (run == 0) assert_ok(ops->linear(be, weight, x, k, total, want, n, &err));
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
      assert_ok(ops->linear(be, second, x, k, 1, got, n, &err)); /* streamed weights take turns */
      memset(got, 0, (size_t)(total * n) * 4);
      for (int r = 0; r < total; r += pieces[p]) {
        int rows = total - r < pieces[p] ? total - r : pieces[p];
        const char *xr = (const char *)x + (size_t)(r * k) * (precision == LCT_PRECISION_FAST ? 2 : 4);
        assert_ok(ops->linear(be, weight, xr, k, rows, got + r * n, n, &err));
      }
      assert_memory_equal(got, want, (size_t)(total * n) * 4);
    }
    ops->weights.free(be, weight);
    ops->weights.free(be, second);
    ops->close(be);
  }
  assert_int_equal(unsetenv("LCT_CPU_ISA"), 0);
  if (x != x32) free(x);
  free(x32);
  free(w);
  free(want);
  free(got);
}

static void test_linear_invariance(void **state) {
  (void)state;
  for (int fast = 0; fast < 2; fast++) {
    lct_precision precision = fast ? LCT_PRECISION_FAST : LCT_PRECISION_EXACT;
    for (int i = 0; i < TEST_N_ISAS; i++) check_invariance(test_isas[i], precision, 77, 130, 270);
    for (int i = 0; i < 2; i++) {
      check_invariance(test_isas[i], precision, 576, 960, 270);
      check_invariance(test_isas[i], precision, 1536, 576, 270);
      check_invariance(test_isas[i], precision, 4864, 128, 270);
    }
  }
}

static void test_weight_errors(void **state) {
  (void)state;
  const lct_ops *ops = lct_cpu_ops();
  float data[12] = {0};
  lct_tensor a = view("a", LCT_DTYPE_F32, 2, 4, data), b = view("b", LCT_DTYPE_F32, 2, 3, data), c = view("c", LCT_DTYPE_F32, 1, 3, data);
  lct_backend *be = test_open("base", LCT_PRECISION_EXACT, 1);
  lct_weight *w = NULL;
  assert_fails(ops->weights.new(be, (const lct_tensor *[]){&a, &b}, NULL, 2, &w, &err), LCT_E_FORMAT,
               "tensor b: [2, 3] cannot be stacked below [.., 4]");
  assert_fails(ops->weights.new(be, (const lct_tensor *[]){&a}, (const lct_tensor *[]){&c}, 1, &w, &err), LCT_E_FORMAT,
               "tensor c: [1, 3]: expected [1, 2], the rows of a");
  assert_fails(ops->weights.new(be, NULL, NULL, 0, &w, &err), LCT_E_USAGE, "a weight needs at least one matrix");
  assert_null(w);
  ops->close(be);
}

static void check_norm(lct_backend *be, lct_precision precision, int i) {
  const lct_ops *ops = lct_cpu_ops();
  golden g = test_golden("norm", i);
  int n = g.header[0], dim = g.header[1];
  size_t total = (size_t)(n * dim), bytes = total * (precision == LCT_PRECISION_FAST ? 2 : 4);
  uint32_t s = (uint32_t)i;
  float *x = test_values(400 + s, total, 64), *y = test_values(500 + s, total, 1), *w = test_values(600 + s, (size_t)dim, 2);
  float *h = test_blank(total), *back = test_blank(total);
  double limit = precision == LCT_PRECISION_FAST ? 0.00393 : 3e-7; /* bf16: half a unit of the eighth bit, 2^-8 */
  assert_ok(ops->rmsnorm(be, x, w, 1e-6f, n, dim, h, &err));
  assert_canaries(h, bytes, (total + 16) * 4);
  assert_ok(ops->rows.read(be, h, ops->in_dtype(be), dim, NULL, n, dim, back, &err));
  assert_close(back, g.data, total, limit);
  assert_ok(ops->add_rmsnorm(be, x, y, w, 1e-6f, n, dim, h, &err));
  assert_memory_equal(x, g.data + total, total * 4); /* one float addition: exact */
  assert_canaries(x, total * 4, (total + 16) * 4);
  assert_ok(ops->rows.read(be, h, ops->in_dtype(be), dim, NULL, n, dim, back, &err));
  assert_close(back, g.data + 2 * total, total, limit);
  float *first = test_values(400 + s, total, 64);
  assert_ok(ops->add_rmsnorm(be, first, y, NULL, 1e-6f, n, dim, NULL, &err));
  assert_memory_equal(first, x, total * 4);
  free(first);
  free(x);
  free(y);
  free(w);
  free(h);
  free(back);
  lct_buf_free(&g.bytes);
}

static void test_norm(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) FOR_EACH_BACKEND(check_norm(be, precision, i));
}

static void check_silu(lct_backend *be, lct_precision precision, int i) {
  const lct_ops *ops = lct_cpu_ops();
  golden g = test_golden("silu", i);
  int n = g.header[0], dim = g.header[1];
  size_t total = (size_t)(n * dim), bytes = total * (precision == LCT_PRECISION_FAST ? 2 : 4);
  float *gu = test_values(700 + (uint32_t)i, 2 * total, 128), *act = test_blank(total), *back = test_blank(total);
  assert_ok(ops->silu(be, gu, n, dim, act, &err));
  assert_true(worst_relative(act, g.data, total) < 3e-7);
  assert_canaries(act, total * 4, (total + 16) * 4);
  free(act);
  act = test_blank(total);
  assert_ok(ops->silu_mul(be, gu, n, dim, act, &err));
  assert_canaries(act, bytes, (total + 16) * 4);
  assert_ok(ops->rows.read(be, act, ops->in_dtype(be), dim, NULL, n, dim, back, &err));
  assert_true(worst_relative(back, g.data + total, total) < (precision == LCT_PRECISION_FAST ? 0.00393 : 4e-7));
  free(gu);
  free(act);
  free(back);
  lct_buf_free(&g.bytes);
}

static void test_silu(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) FOR_EACH_BACKEND(check_silu(be, precision, i));
}

static void check_rope(lct_backend *be, int i) {
  const lct_ops *ops = lct_cpu_ops();
  golden g = test_golden("rope", i);
  int n = g.header[0], heads = g.header[1], kv = g.header[2], d = g.header[3];
  lct_attn_shape shape = {heads, kv, d, 1.0f};
  size_t width = (size_t)((heads + 2 * kv) * d), nq = (size_t)(heads * d), nk = (size_t)(kv * d), n_slots = 2 * (size_t)n;
  assert_int_equal(ops->kv_row_bytes(be, &shape), nk * 4);
  float *qkv = test_values(800 + (uint32_t)i, (size_t)n * width, 4), *q = test_blank((size_t)n * nq);
  float *qn = test_values(900 + (uint32_t)i, (size_t)d, 2), *kn = test_values(910 + (uint32_t)i, (size_t)d, 2);
  lct_kv_layer layer = {test_blank(n_slots * nk), test_blank(n_slots * nk)};
  int32_t positions[8];
  int32_t slots[8];
  for (int r = 0; r < n; r++) {
    positions[r] = 3 * r;
    slots[r] = 2 * (n - 1 - r); /* backwards, every other one */
  }
  bool normed = g.header[4] != 0;
  const float *want_q = g.data + 50 * d, *want_k = want_q + (size_t)n * nq;
  assert_ok(ops->split_rope(be, qkv, &shape, normed ? qn : NULL, normed ? kn : NULL, 1e-6f, g.data, positions, slots, n, q, layer, &err));
  assert_close(q, want_q, (size_t)n * nq, 2e-7);
  assert_canaries(q, (size_t)n * nq * 4, ((size_t)n * nq + 16) * 4);
  for (int r = 0; r < n; r++) {
    float *k_row = (float *)layer.k + (size_t)slots[r] * nk, *v_row = (float *)layer.v + (size_t)slots[r] * nk;
    assert_close(k_row, want_k + (size_t)r * nk, nk, 2e-7);
    assert_memory_equal(v_row, qkv + (size_t)r * width + nq + nk, nk * 4);
    assert_canaries(k_row + nk, 0, nk * 4); /* the slots between, and what lies behind the last */
    assert_canaries(v_row + nk, 0, nk * 4);
  }
  free(qkv);
  free(q);
  free(qn);
  free(kn);
  free(layer.k);
  free(layer.v);
  lct_buf_free(&g.bytes);
}

static void test_rope(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) FOR_EACH_BACKEND(check_rope(be, i));
}

static int64_t first_bad(lct_backend *be, const float *x, int n, int dim) {
  int tag = 0;
  int64_t at = 0;
  assert_ok(lct_cpu_ops()->finite_check(be, x, n, dim, 3, &err));
  assert_ok(lct_cpu_ops()->finite_read(be, &tag, &at, &err));
  if (at >= 0) assert_int_equal(tag, 3);
  return at;
}

static void check_finite(lct_backend *be) {
  enum { N = 37, DIM = 4001 };
  const lct_ops *ops = lct_cpu_ops();
  float *x = test_values(1, (size_t)N * DIM, 2);
  static const int64_t places[] = {0, 15, 16, 4095, 4096, 5000, 74000, (int64_t)N * DIM - 1};
  assert_int_equal(first_bad(be, x, N, DIM), -1); /* NaN behind the end does not count */
  x[3] = 3.4e38f;
  x[4] = -1e-40f;
  assert_int_equal(first_bad(be, x, N, DIM), -1);
  for (int i = 7; i >= 0; i--) { /* from the back: the first one counts */
    x[places[i]] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
    assert_int_equal(first_bad(be, x, N, DIM), places[i]);
  }
  int tag = 0;
  int64_t at = 0;
  for (int i = 7; i >= 0; i--) assert_ok(ops->finite_check(be, x + places[i], 1, 1, 10 + i, &err)); /* the lowest tag is kept */
  assert_ok(ops->finite_check(be, x + places[3], 1, 1, 90, &err));
  assert_ok(ops->finite_read(be, &tag, &at, &err));
  assert_true(tag == 10 && at == 0);
  free(x);
}

static void test_finite(void **state) {
  (void)state;
  FOR_EACH_BACKEND(check_finite(be));
}

static void test_copies(void **state) {
  (void)state;
  enum { VOCAB = 300, DIM = 150, N = 290 };
  const lct_ops *ops = lct_cpu_ops();
  lct_backend *be = test_open("base", LCT_PRECISION_EXACT, 2);
  float *table = test_values(2, (size_t)VOCAB * DIM, 1), *x = test_blank((size_t)N * DIM), *row = test_blank(DIM - 1);
  uint16_t *half = test_bf16(table, (size_t)VOCAB * DIM);
  int32_t tokens[N];
  for (int i = 0; i < N; i++) tokens[i] = (i * 77 + 299) % VOCAB;
  lct_tensor t = view("embed", LCT_DTYPE_BF16, VOCAB, DIM, half);
  lct_embedding *e = NULL;
  assert_ok(ops->weights.embedding_new(be, &t, &e, &err));
  assert_ok(ops->embed(be, e, tokens, N, x, &err));
  assert_canaries(x, (size_t)N * DIM * 4, ((size_t)N * DIM + 16) * 4);
  for (int i = 0; i < N * DIM; i++) assert_true(x[i] == lct_bf16_to_f32(half[tokens[i / DIM] * DIM + i % DIM]));
  ops->weights.embedding_free(be, e);
  ops->weights.embedding_free(be, NULL);
  /* chosen rows, a narrower cut, each type */
  for (int i = 0; i < VOCAB * DIM; i++) half[i] = lct_f32_to_f16(table[i]);
  assert_ok(ops->rows.read(be, half, LCT_DTYPE_F16, DIM, (const int32_t[]){299}, 1, DIM - 1, row, &err));
  assert_canaries(row, (DIM - 1) * 4, (DIM + 15) * 4);
  for (int j = 0; j < DIM - 1; j++) assert_true(row[j] == lct_f16_to_f32(half[299 * DIM + j]));
  assert_ok(ops->rows.read(be, table, LCT_DTYPE_F32, DIM, (const int32_t[]){7}, 1, DIM - 1, row, &err));
  assert_memory_equal(row, table + 7 * DIM, (DIM - 1) * 4);
  assert_fails(ops->rows.read(be, half, LCT_DTYPE_Q8_0, DIM, NULL, 1, DIM, row, &err), LCT_E_UNSUPPORTED, "cannot read rows of type Q8_0");
  void *p = NULL;
  assert_ok(ops->memory.alloc(be, 100, &p, &err));
  assert_ok(ops->memory.upload(be, p, table, 100, &err));
  assert_ok(ops->memory.download(be, row, p, 100, &err));
  assert_memory_equal(row, table, 100);
  ops->memory.free(be, p);
  ops->close(be);
  ops->close(NULL);
  free(table);
  free(x);
  free(row);
  free(half);
}

static void test_describe(void **state) {
  (void)state;
  lct_buf b = {0};
  assert_int_equal(setenv("LCT_CPU_ISA", "base", 1), 0);
  assert_ok(lct_cpu_describe(&b, &err));
  assert_memory_equal(b.data, "base kernels, oneDNN 2.", 23);
  lct_buf_free(&b);
  assert_int_equal(setenv("LCT_CPU_ISA", "sse9", 1), 0);
  assert_int_equal(lct_cpu_describe(&b, &err), LCT_E_USAGE);
  assert_int_equal(unsetenv("LCT_CPU_ISA"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_linear),        cmocka_unit_test(test_decode_f16), cmocka_unit_test(test_linear_invariance),
      cmocka_unit_test(test_weight_errors), cmocka_unit_test(test_norm),       cmocka_unit_test(test_silu),
      cmocka_unit_test(test_rope),          cmocka_unit_test(test_finite),     cmocka_unit_test(test_copies),
      cmocka_unit_test(test_describe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
