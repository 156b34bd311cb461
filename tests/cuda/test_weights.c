/* Weights and embeddings on the device, of every type a file may hold: bit for bit what lct_tensor_row_f32 gives, rounded once. A weight is
 * read back by multiplying with the identity: every sum has one term that is not zero. */
#include "cuda_test.h"
#include "engine/ops.h"
#ifdef LCT_TEST_SHIM
#include "shim.h"
#endif

static lct_error err;

static lct_backend *open_backend(lct_dtype t) {
  lct_backend *be = NULL;
  lct_backend_options o = {.precision = t == LCT_DTYPE_BF16 ? LCT_PRECISION_BF16 : LCT_PRECISION_F16};
  assert_ok(lct_cuda_ops()->open(&o, &be, &err));
  return be;
}

/* A tensor of type t: random bits with scales that keep the values between 2^-20 and 16. `shift` bytes off alignment. */
static lct_tensor tensor_new(lct_dtype t, const char *name, uint32_t seed, int64_t rows, int64_t cols, int shift) {
  size_t bytes = lct_dtype_row_bytes(t, cols) * (size_t)rows, block = lct_dtype_row_bytes(t, lct_dtype_block(t));
  unsigned char *p = malloc(bytes + 8);
  assert_non_null(p);
  unsigned char *data = p + shift;
  for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(test_hash(seed, (uint32_t)i) >> 11);
  for (size_t b = 0; b < bytes / block; b++) {
    unsigned char *at = data + b * block;
    float value = test_value(seed + 1, b, 1);
    uint16_t scale = lct_f32_to_f16(value / 256), bf16 = lct_f32_to_bf16(value), f16 = lct_f32_to_f16(value);
    switch (t) {
    case LCT_DTYPE_F32: memcpy(at, &value, 4); break;
    case LCT_DTYPE_F16: memcpy(at, &f16, 2); break;
    case LCT_DTYPE_BF16: memcpy(at, &bf16, 2); break;
    case LCT_DTYPE_Q6_K: memcpy(at + 208, &scale, 2); break;
    default: /* scale first, then a minimum or quants of which these may be two */ memcpy(at, &scale, 2); memcpy(at + 2, &scale, 2);
    }
  }
  return (lct_tensor){.name = name, .dtype = t, .rows = rows, .cols = cols, .data = data};
}

static void tensor_free(lct_tensor *t, int shift) {
  free((char *)(uintptr_t)t->data - shift);
  t->data = NULL;
}

/* y (n, out) of the weight for x (n, in), as floats */
static float *multiply(lct_backend *be, lct_dtype t, const lct_weight *w, const float *x, int n, int in, int out) {
  const lct_ops *ops = lct_cuda_ops();
  void *d_x = NULL, *d_y = NULL, *host_x = test_encode(t, x, (size_t)n * (size_t)in);
  size_t y_bytes = (size_t)n * (size_t)out * 2;
  void *host_y = malloc(y_bytes);
  assert_non_null(host_y);
  assert_ok(ops->memory.alloc(be, (size_t)n * (size_t)in * 2, &d_x, &err));
  assert_ok(ops->memory.alloc(be, y_bytes, &d_y, &err));
  assert_ok(ops->memory.upload(be, d_x, host_x, (size_t)n * (size_t)in * 2, &err));
  assert_ok(ops->linear(be, w, d_x, in, n, d_y, out, &err));
  assert_ok(ops->memory.download(be, host_y, d_y, y_bytes, &err));
  float *y = test_decode(t, host_y, (size_t)n * (size_t)out);
  ops->memory.free(be, d_x);
  ops->memory.free(be, d_y);
  free(host_x);
  free(host_y);
  return y;
}

/* Column k of the weight through row k of an identity of `in` rows, the bias through a row of zeros. */
static void check_weight(lct_backend *be, lct_dtype t, const lct_weight *w, const lct_tensor *parts, int n_parts, const float *bias) {
  int in = (int)parts[0].cols, out = 0, at = 0;
  for (int i = 0; i < n_parts; i++) out += (int)parts[i].rows;
  float *x = calloc((size_t)(in + 1) * (size_t)in, sizeof *x), *row = malloc((size_t)in * sizeof *row);
  assert_non_null(x);
  assert_non_null(row);
  for (int i = 0; i < in; i++) x[(size_t)i * (size_t)in + (size_t)i] = 1;
  float *y = multiply(be, t, w, x, in + 1, in, out);
  for (int i = 0; i < n_parts; i++) {
    for (int64_t r = 0; r < parts[i].rows; r++, at++) {
      float b = bias == NULL ? 0 : test_round(t, bias[at]);
      lct_tensor_row_f32(&parts[i], r, row);
      for (int k = 0; k < in; k++) {
        float want = test_round(t, test_round(t, row[k]) + b), got = y[(size_t)k * (size_t)out + (size_t)at];
        if (!(got == want)) fail_msg("%s[%lld][%d] is %.9g, expected %.9g", parts[i].name, (long long)r, k, (double)got, (double)want);
      }
      if (!(y[(size_t)in * (size_t)out + (size_t)at] == b)) fail_msg("%s: bias %lld", parts[i].name, (long long)r);
    }
  }
  free(x);
  free(row);
  free(y);
}

static void check_counts(lct_backend *be, int64_t overflow, int64_t underflow, int64_t nonfinite) {
  lct_conversion c;
  assert_ok(lct_cuda_ops()->weights.conversion(be, &c, &err));
  assert_int_equal(c.overflow, overflow);
  assert_int_equal(c.underflow, underflow);
  assert_int_equal(c.nonfinite, nonfinite);
}

static void test_dtypes(void **state) {
  (void)state;
  for (int ty = 0; ty < 2; ty++) {
    lct_dtype t = ty == 0 ? LCT_DTYPE_F16 : LCT_DTYPE_BF16;
    lct_backend *be = open_backend(t);
    for (int d = 0; d < LCT_DTYPE_COUNT; d++) {
      int64_t cols = lct_dtype_block((lct_dtype)d) == 1 ? 72 : 256;
      int shift = d % 2 == 1 ? 1 : 0; /* files do not align */
      lct_tensor tensor = tensor_new((lct_dtype)d, lct_dtype_name((lct_dtype)d), 7 + (uint32_t)d, 24, cols, shift);
      const lct_tensor *part = &tensor;
      lct_weight *w = NULL;
      assert_ok(lct_cuda_ops()->weights.new(be, &part, NULL, 1, &w, &err));
      check_weight(be, t, w, &tensor, 1, NULL);
      lct_cuda_ops()->weights.free(be, w);
      tensor_free(&tensor, shift);
    }
    lct_cuda_ops()->close(be);
  }
}

/* Parts of different types, one with rows in another order; one part without bias, one whose bias is absent, one in f16. */
static void test_stacked(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_tensor parts[] = {tensor_new(LCT_DTYPE_BF16, "q", 1, 16, 64, 0), tensor_new(LCT_DTYPE_Q8_0, "k", 2, 8, 64, 0),
                        tensor_new(LCT_DTYPE_F32, "v", 3, 40, 64, 0), tensor_new(LCT_DTYPE_F16, "o", 4, 8, 64, 1)};
  lct_tensor b_q = tensor_new(LCT_DTYPE_F32, "b_q", 5, 1, 16, 0), b_v = tensor_new(LCT_DTYPE_BF16, "b_v", 6, 1, 40, 0);
  lct_tensor absent = {.name = "b_o", .dtype = LCT_DTYPE_F32, .rows = 1, .cols = 8};
  parts[0].perm_head_dim = 8;
  b_q.perm_head_dim = 8;
  const lct_tensor *p[] = {&parts[0], &parts[1], &parts[2], &parts[3]}, *b[] = {&b_q, NULL, &b_v, &absent};
  float bias[72] = {0};
  lct_tensor_row_f32(&b_q, 0, bias);
  lct_tensor_row_f32(&b_v, 0, bias + 24);
  lct_weight *w = NULL;
  assert_ok(lct_cuda_ops()->weights.new(be, p, b, 4, &w, &err));
  check_weight(be, LCT_DTYPE_F16, w, parts, 4, bias);
  lct_cuda_ops()->weights.free(be, w);
  lct_cuda_ops()->close(be);
  for (int i = 0; i < 4; i++) tensor_free(&parts[i], i == 3 ? 1 : 0);
  tensor_free(&b_q, 0);
  tensor_free(&b_v, 0);
}

/* What is lost is counted; what is f16 in the file stays f16. */
static void test_counts(void **state) {
  static const float values[16] = {0,      -0.0f,   1,      65504,    65520,    -1e6f,     3.4e38f, 1e-8f,
                                   -3e-8f, 2.9e-8f, 1e-41f, 0x1p-24f, INFINITY, -INFINITY, NAN,     0x1p-26f};
  (void)state;
  for (int ty = 0; ty < 2; ty++) {
    lct_dtype t = ty == 0 ? LCT_DTYPE_F16 : LCT_DTYPE_BF16;
    float content[8 * 72];
    uint16_t halves[8 * 72];
    int64_t lost[3] = {0};
    for (int i = 0; i < 8 * 72; i++) {
      float x = values[(i * 5 + i / 16) % 16], y = test_round(t, x);
      content[i] = x;
      halves[i] = test_f32_half(t, x);
      lost[0] += isfinite(x) && !isfinite(y);
      lost[1] += x != 0 && y == 0;
      lost[2] += !isfinite(x);
    }
    assert_true(lost[0] > 0 && lost[1] > 0 && lost[2] > 0);
    lct_tensor wide = {.name = "wide", .dtype = LCT_DTYPE_F32, .rows = 8, .cols = 72, .data = content};
    lct_tensor same = {.name = "same", .dtype = t, .rows = 8, .cols = 72, .data = halves};
    const lct_tensor *p_wide = &wide, *p_same = &same;
    lct_weight *w = NULL;
    lct_backend *be = open_backend(t);
    check_counts(be, 0, 0, 0);
    assert_ok(lct_cuda_ops()->weights.new(be, &p_wide, NULL, 1, &w, &err));
    check_counts(be, lost[0], lost[1], lost[2]);
    lct_cuda_ops()->weights.free(be, w);
    assert_ok(lct_cuda_ops()->weights.new(be, &p_same, NULL, 1, &w, &err));
    check_counts(be, lost[0], lost[1], lost[2] + lost[2] + lost[0]); /* nothing but what is Inf or NaN already */
    lct_cuda_ops()->weights.free(be, w);
    lct_cuda_ops()->close(be);
  }
}

static void check_embedding(lct_backend *be, lct_dtype type, int rows, int cols, int shift) {
  enum { N = 37 };
  const lct_ops *ops = lct_cuda_ops();
  lct_tensor t = tensor_new(type, "embed", 11, rows, cols, shift);
  lct_embedding *e = NULL;
  int32_t tokens[N];
  size_t bytes = (size_t)N * (size_t)cols * sizeof(float);
  float *want = malloc((size_t)cols * sizeof *want), *got = malloc(bytes);
  void *d_x = NULL;
  assert_non_null(want);
  assert_non_null(got);
  for (int i = 0; i < N; i++) tokens[i] = i == 0 ? rows - 1 : (int32_t)(test_hash(13, (uint32_t)i) % (uint32_t)rows);
  assert_ok(ops->weights.embedding_new(be, &t, &e, &err));
  assert_ok(ops->memory.alloc(be, bytes, &d_x, &err));
  assert_ok(ops->embed(be, e, tokens, N, d_x, &err));
  memset(tokens, 0xff, sizeof tokens); /* the caller's again */
  assert_ok(ops->memory.download(be, got, d_x, bytes, &err));
  for (int i = 0; i < N; i++) {
    lct_tensor_row_f32(&t, i == 0 ? rows - 1 : (int64_t)(test_hash(13, (uint32_t)i) % (uint32_t)rows), want);
    assert_same_bits(got + (size_t)i * (size_t)cols, want, (size_t)cols * sizeof *want);
  }
  ops->memory.free(be, d_x);
  ops->weights.embedding_free(be, e);
  ops->weights.embedding_free(be, NULL);
  free(want);
  free(got);
  tensor_free(&t, shift);
}

static void test_embeddings(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  for (int d = 0; d < LCT_DTYPE_COUNT; d++) {
    check_embedding(be, (lct_dtype)d, 50, lct_dtype_block((lct_dtype)d) == 1 ? 24 : 256, d % 2);
  }
  check_embedding(be, LCT_DTYPE_F32, 1, 8, 0);
  check_embedding(be, LCT_DTYPE_F32, 1290, 4096, 0);  /* more than a piece of 16 MiB */
  check_embedding(be, LCT_DTYPE_BF16, 2700, 8192, 1); /* and more than two */
  check_embedding(be, LCT_DTYPE_Q8_0, 2600, 4096, 0);
  check_counts(be, 0, 0, 0);
  lct_cuda_ops()->close(be);
}

/* A weight of two pieces of 16 MiB; the first ends within a row. */
static void test_pieces(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_BF16);
  lct_tensor t = tensor_new(LCT_DTYPE_F32, "long", 17, 174776, 24, 0);
  const lct_tensor *part = &t;
  lct_weight *w = NULL;
  assert_ok(lct_cuda_ops()->weights.new(be, &part, NULL, 1, &w, &err));
  check_weight(be, LCT_DTYPE_BF16, w, &t, 1, NULL);
  lct_cuda_ops()->weights.free(be, w);
  tensor_free(&t, 0);
  lct_cuda_ops()->close(be);
}

static void test_refusals(void **state) {
  (void)state;
  const lct_ops *ops = lct_cuda_ops();
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_tensor a = tensor_new(LCT_DTYPE_F32, "a", 1, 16, 16, 0), odd_cols = tensor_new(LCT_DTYPE_F32, "odd.cols", 1, 16, 12, 0);
  lct_tensor odd_rows = tensor_new(LCT_DTYPE_F32, "odd.rows", 1, 12, 16, 0);
  const lct_tensor *p[2] = {&odd_cols, &a}, *b[1] = {&odd_rows};
  lct_weight *w = NULL;
  assert_fails(ops->weights.new(be, p, NULL, 1, &w, &err), LCT_E_UNSUPPORTED,
               "tensor odd.cols: [16, 12]: the GPU multiplies matrices whose rows and columns are multiples of 8");
  p[0] = &odd_rows;
  assert_fails(ops->weights.new(be, p, NULL, 1, &w, &err), LCT_E_UNSUPPORTED,
               "tensor odd.rows: [12, 16]: the GPU multiplies matrices whose rows and columns are multiples of 8");
  p[0] = &a;
  p[1] = &odd_cols;
  assert_fails(ops->weights.new(be, p, NULL, 2, &w, &err), LCT_E_FORMAT, "tensor odd.cols: [16, 12] cannot be stacked below [.., 16]");
  assert_fails(ops->weights.new(be, p, b, 1, &w, &err), LCT_E_FORMAT, "tensor odd.rows: [12, 16]: expected [1, 16], the rows of a");
  assert_fails(ops->weights.new(be, p, NULL, 0, &w, &err), LCT_E_USAGE, "a weight needs at least one matrix");
  assert_null(w);
  ops->weights.free(be, NULL);
  tensor_free(&a, 0);
  tensor_free(&odd_cols, 0);
  tensor_free(&odd_rows, 0);
  ops->close(be);
}

#ifdef LCT_TEST_SHIM
/* Every allocation fails once: a status that says what was wanted, nothing left behind, and the backend goes on. */
/* A kernel that fails ends the backend, whichever call finds it: every later op says what failed first. */
static void test_poisoned(void **state) {
  (void)state;
  const lct_ops *ops = lct_cuda_ops();
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  float *x = NULL;
  void *h = NULL;
  assert_ok(ops->memory.alloc(be, 64 * sizeof *x, (void **)&x, &err));
  assert_ok(ops->memory.alloc(be, 64 * 2, &h, &err));
  shim_fail_launch(1);
  float host[64] = {0};
  lct_status first = ops->rmsnorm(be, x, x, 1e-6f, 1, 64, h, &err);
  if (first == LCT_OK) first = ops->memory.download(be, host, x, sizeof host, &err);
  assert_int_equal(first, LCT_E_DEVICE);
  assert_non_null(strstr(err.message, "illegal memory access"));
  char later[sizeof err.message + 32];
  (void)snprintf(later, sizeof later, "the GPU failed before: %s", err.message);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ops->memory.download(be, host, x, sizeof host, &err), LCT_E_DEVICE);
    assert_string_equal(err.message, later);
  }
  ops->memory.free(be, x);
  ops->memory.free(be, h);
  ops->close(be);
  shim_reset();
}

static void test_faults(void **state) {
  (void)state;
  const lct_ops *ops = lct_cuda_ops();
  lct_tensor a = tensor_new(LCT_DTYPE_F32, "model.a.weight", 1, 16, 24, 0), b = tensor_new(LCT_DTYPE_F32, "model.a.bias", 2, 1, 16, 0);
  const lct_tensor *p = &a, *pb = &b;
  bool done = false;
  for (int n = 1; !done; n++) {
    lct_weight *w = NULL;
    lct_embedding *e = NULL;
    size_t live = shim_live_allocations();
    lct_backend *be = open_backend(LCT_DTYPE_F16);
    shim_fail_allocation(n);
    lct_status s = ops->weights.new(be, &p, &pb, 1, &w, &err);
    if (s == LCT_OK) s = ops->weights.embedding_new(be, &a, &e, &err);
    shim_fail_allocation(0);
    done = s == LCT_OK;
    if (!done) {
      assert_int_equal(s, LCT_E_NOMEM);
      assert_non_null(strstr(err.message, "out of "));
      if (w == NULL) assert_ok(ops->weights.new(be, &p, &pb, 1, &w, &err));
      if (e == NULL) assert_ok(ops->weights.embedding_new(be, &a, &e, &err));
    }
    ops->weights.free(be, w);
    ops->weights.embedding_free(be, e);
    ops->close(be);
    assert_int_equal(shim_live_allocations(), live);
    assert_true(n < 100);
  }
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_weight *w = NULL;
  assert_ok(ops->weights.new(be, &p, &pb, 1, &w, &err)); /* staging is there */
  ops->weights.free(be, w);
  lct_tensor big = tensor_new(LCT_DTYPE_Q4_0, "model.big.weight", 3, 65536, 4096, 0);
  const lct_tensor *p_big = &big;
  shim_set_memory((size_t)256 << 20);
  assert_int_equal(ops->weights.new(be, &p_big, NULL, 1, &w, &err), LCT_E_NOMEM);
  assert_non_null(strstr(err.message, "out of GPU memory for tensor model.big.weight: 512.0 MiB wanted, "));
  shim_set_memory(0);
  ops->close(be);
  tensor_free(&big, 0);
  tensor_free(&a, 0);
  tensor_free(&b, 0);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dtypes),     cmocka_unit_test(test_stacked),  cmocka_unit_test(test_counts),
      cmocka_unit_test(test_embeddings), cmocka_unit_test(test_pieces),   cmocka_unit_test(test_refusals),
#ifdef LCT_TEST_SHIM
      cmocka_unit_test(test_faults),     cmocka_unit_test(test_poisoned),
#endif
  };
  test_need_gpu();
#ifdef LCT_TEST_CUBLASLT
  if (setenv("LCT_CUBLASLT", LCT_TEST_CUBLASLT, 0) != 0) return 1;
#endif
  return cmocka_run_group_tests(tests, NULL, NULL);
}
