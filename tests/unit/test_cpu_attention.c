/* Attention of the CPU backend against numpy in float64 (tests/goldens/cpu), and bit for bit against itself under every way of
 * cutting a sequence into segments, on every instruction set of this machine, with 1 and 2 threads. */
#include "cpu_test.h"

#define N_CASES 9

static lct_error err;

typedef struct {
  int n, step;
  lct_attn_shape shape;
  float *q, *k, *v; /* (n, n_heads * d), (n, n_kv * d) x2: slot == position */
  golden g;
} attn_case;

static attn_case load_case(int i) {
  attn_case c = {.g = test_golden("attention", i)};
  const int32_t *h = c.g.header;
  c.n = h[0];
  c.step = h[4];
  c.shape = (lct_attn_shape){h[1], h[2], h[3], (float)(1.0 / sqrt((double)h[3]))};
  uint32_t s = 1000 + 10 * (uint32_t)i;
  c.q = test_values(s, (size_t)(c.n * h[1] * h[3]), 4);
  c.k = test_values(s + 1, (size_t)(c.n * h[2] * h[3]), 4);
  c.v = test_values(s + 2, (size_t)(c.n * h[2] * h[3]), 1);
  return c;
}

static void free_case(attn_case *c) {
  free(c->q);
  free(c->k);
  free(c->v);
  lct_buf_free(&c->g.bytes);
}

/* One segment, slots in order; NaN lies behind every buffer. */
static void check_golden(lct_backend *be, lct_precision precision, int i) {
  const lct_ops *ops = lct_cpu_ops();
  attn_case c = load_case(i);
  size_t width = (size_t)(c.shape.n_heads * c.shape.head_dim), total = (size_t)c.n * width;
  size_t bytes = total * (precision == LCT_PRECISION_FAST ? 2 : 4);
  double limit = precision == LCT_PRECISION_FAST ? 0.003 : 2e-6;
  lct_segment seg = {.n_rows = c.n};
  lct_batch batch = {.n_rows = c.n, .n_segments = 1, .n_slots = c.n, .segments = &seg};
  lct_kv_layer kv = {c.k, c.v};
  float *out = test_blank(total), *row = test_blank(width);
  assert_ok(ops->attention(be, c.q, &c.shape, &batch, kv, out, &err));
  assert_canaries(out, bytes, (total + 16) * 4);
  const float *want = c.g.data;
  for (int32_t r = 0; r < c.n; r += c.step, want += width) {
    assert_ok(ops->rows.read(be, out, ops->in_dtype(be), (int64_t)width, &r, 1, (int)width, row, &err));
    assert_close(row, want, width, limit);
  }
  int rows = c.n > 1 ? 2 : 1; /* the weights of the last rows */
  size_t n_weights = (size_t)(c.shape.n_heads * rows * c.n);
  float *p = test_blank(n_weights);
  assert_ok(ops->attn_weights(be, c.q, &c.shape, &seg, c.n - rows, rows, 0, c.shape.n_heads, kv, p, &err));
  assert_close(p, want, n_weights, 3e-6);
  for (size_t j = 0; j < n_weights; j++) assert_true(want[j] != 0 || p[j] < 1e-30f);
  assert_canaries(p, n_weights * 4, (n_weights + 16) * 4);
  free(p);
  free(out);
  free(row);
  free_case(&c);
}

static void test_goldens(void **state) {
  (void)state;
  for (int i = 0; i < N_CASES; i++) FOR_EACH_BACKEND(check_golden(be, precision, i));
}

/* The sequence cut at `cuts` into a chain of segments whose KV slots lie in reverse order of the segments, with a gap of NaN
 * between them: attention must give the reference's bits. */
static void check_cuts(lct_backend *be, const attn_case *c, const int *cuts, int n_cuts, const float *want) {
  const lct_ops *ops = lct_cpu_ops();
  size_t nk = (size_t)(c->shape.n_kv_heads * c->shape.head_dim), width = (size_t)(c->shape.n_heads * c->shape.head_dim);
  lct_segment segs[16];
  lct_kv_range ranges[16];
  int n_segs = n_cuts + 1, slots = c->n + 3 * n_segs;
  float *k = test_blank((size_t)slots * nk), *v = test_blank((size_t)slots * nk), *out = test_blank((size_t)c->n * width);
  int slot = slots;
  for (int i = 0; i < n_segs; i++) {
    int from = i == 0 ? 0 : cuts[i - 1], to = i == n_cuts ? c->n : cuts[i];
    slot -= to - from + 3;
    ranges[i] = (lct_kv_range){slot, to - from};
    segs[i] = (lct_segment){.row0 = from, .n_rows = to - from, .pos0 = from, .kv0 = slot, .n_ranges = i, .ranges = ranges};
    memcpy(k + (size_t)slot * nk, c->k + (size_t)from * nk, (size_t)(to - from) * nk * 4);
    memcpy(v + (size_t)slot * nk, c->v + (size_t)from * nk, (size_t)(to - from) * nk * 4);
  }
  lct_batch batch = {.n_rows = c->n, .n_segments = n_segs, .n_slots = slots, .segments = segs};
  assert_ok(ops->attention(be, c->q, &c->shape, &batch, (lct_kv_layer){k, v}, out, &err));
  assert_memory_equal(out, want, (size_t)c->n * width * 4);
  /* the weights of the last segment, the same bits as row by row */
  const lct_segment *last = &segs[n_segs - 1];
  size_t rows = (size_t)last->n_rows, keys = (size_t)c->n, heads = (size_t)c->shape.n_heads;
  float *all = test_blank(heads * rows * keys), *one = test_blank(heads * keys);
  assert_ok(ops->attn_weights(be, c->q, &c->shape, last, last->row0, (int)rows, 0, c->shape.n_heads, (lct_kv_layer){k, v}, all, &err));
  for (size_t r = 0; r < rows; r++) {
    assert_ok(ops->attn_weights(be, c->q, &c->shape, last, last->row0 + (int)r, 1, 0, c->shape.n_heads, (lct_kv_layer){k, v}, one, &err));
    for (size_t h = 0; h < heads; h++) {
      assert_memory_equal(one + h * keys, all + (h * rows + r) * keys, keys * 4);
      float *head = test_blank(keys);
      assert_ok(ops->attn_weights(be, c->q, &c->shape, last, last->row0 + (int)r, 1, (int)h, 1, (lct_kv_layer){k, v}, head, &err));
      assert_memory_equal(head, one + h * keys, keys * 4);
      assert_canaries(head, keys * 4, (keys + 16) * 4);
      free(head);
    }
  }
  free(all);
  free(one);
  free(k);
  free(v);
  free(out);
}

static void check_splits(lct_backend *be, lct_precision precision, int i, float *const reference) {
  static const int cuts[][8] = {{1}, {64}, {63}, {65, 66}, {1, 2, 3, 4, 5, 6, 7, 8}, {7, 64, 65, 128, 129, 130}, {100, 103, 107, 199}};
  static const int n_cuts[] = {1, 1, 1, 2, 8, 6, 4};
  attn_case c = load_case(i);
  size_t total = (size_t)(c.n * c.shape.n_heads * c.shape.head_dim);
  lct_segment seg = {.n_rows = c.n};
  lct_batch batch = {.n_rows = c.n, .n_segments = 1, .n_slots = c.n, .segments = &seg};
  float *want = test_blank(total);
  assert_ok(lct_cpu_ops()->attention(be, c.q, &c.shape, &batch, (lct_kv_layer){c.k, c.v}, want, &err));
  if (precision == LCT_PRECISION_EXACT && reference != NULL) { /* 1 thread wrote it, 2 threads must agree */
    if (isnan(reference[0])) memcpy(reference, want, total * 4);
    assert_memory_equal(reference, want, total * 4);
  }
  for (size_t s = 0; s < sizeof cuts / sizeof cuts[0]; s++) {
    if (cuts[s][n_cuts[s] - 1] < c.n) check_cuts(be, &c, cuts[s], n_cuts[s], want);
  }
  free(want);
  free_case(&c);
}

static void test_splits(void **state) {
  (void)state;
  for (int i = 0; i < N_CASES; i++) {
    float *reference = NULL;
    FOR_EACH_BACKEND({
      if (mode_ == 0) {
        free(reference);
        reference = test_blank((size_t)200 * 8 * 128);
      }
      check_splits(be, precision, i, reference);
    });
    free(reference);
  }
}

static void test_shape_error(void **state) {
  (void)state;
  lct_backend *be = test_open("base", LCT_PRECISION_EXACT, 1);
  lct_attn_shape shape = {5, 2, 64, 1.0f};
  lct_batch batch = {0};
  assert_fails(lct_cpu_ops()->attention(be, NULL, &shape, &batch, (lct_kv_layer){0}, NULL, &err), LCT_E_UNSUPPORTED,
               "attention with 5 heads, 2 KV heads of 64: heads must be a multiple of KV heads");
  lct_cpu_ops()->close(be);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_goldens), cmocka_unit_test(test_splits), cmocka_unit_test(test_shape_error)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
