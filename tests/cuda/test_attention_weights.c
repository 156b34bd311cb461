/* Attention weights against double-precision loops and against the CPU backend; a row's bits whatever it is computed with. */
#include "attention_oracle.h"

#include "engine/ops.h"

/* A path of n_keys positions. Queries are values of their position, keys of theirs. */
typedef struct {
  lct_dtype t;
  lct_k_heads s;
  int n_keys;
  float size; /* of queries and keys */
} scene;

/* What is asked of it: the weights of n positions from pos0 on. */
typedef struct {
  int pos0, n, n_keys, head0, n_heads;
} rows;

static int width(const scene *c) { return c->s.n_heads * c->s.head_dim; }
static int kv_width(const scene *c) { return c->s.n_kv_heads * c->s.head_dim; }
static float scale_of(const scene *c) { return (float)(1 / sqrt((double)c->s.head_dim)); }

static uint16_t *queries(const scene *c, int pos0, int n) {
  uint16_t *q = oracle_alloc((size_t)n * (size_t)width(c) * 2);
  for (int r = 0; r < n; r++) {
    for (int i = 0; i < width(c); i++) {
      q[r * width(c) + i] = test_f32_half(c->t, oracle_value((uint32_t)(pos0 + r), (uint32_t)i, c->size));
    }
  }
  return q;
}

static void fill_key(const scene *c, int pos, uint16_t *k) {
  for (int i = 0; i < kv_width(c); i++) k[i] = test_f32_half(c->t, oracle_value(500000u + (uint32_t)pos, (uint32_t)i, c->size));
}

static float *weights(const scene *c, const rows *r, int step) {
  const int before = 2, n_slots = oracle_slots(r->n_keys + 8); /* rows of q in front */
  size_t w = (size_t)width(c) * 2, kv = (size_t)kv_width(c), n_out = (size_t)r->n_heads * (size_t)r->n * (size_t)r->n_keys;
  int32_t *slots = oracle_alloc((size_t)r->n_keys * 4);
  uint16_t *k = oracle_alloc((size_t)n_slots * kv * 2), *q = oracle_alloc((size_t)(before + r->n) * w), *wanted = queries(c, r->pos0, r->n);
  memcpy(q + before * width(c), wanted, (size_t)r->n * w);
  for (int p = 0; p < r->n_keys; p++) {
    slots[p] = (int32_t)(((int64_t)(p + 1) * step) % n_slots);
    if (p < r->pos0 + r->n) fill_key(c, p, k + (size_t)slots[p] * kv); /* later keys stay NaN: nobody sees them */
  }
  void *d_q = to_device(q, (size_t)(before + r->n) * w), *d_k = to_device(k, (size_t)n_slots * kv * 2);
  void *d_slots = to_device(slots, (size_t)r->n_keys * 4), *d_out = to_device(NULL, n_out * 4);
  lct_k_attn attn = {.s = c->s, .scale = scale_of(c), .q = d_q, .k = d_k, .slots = d_slots};
  assert_ok(lct_k_attention_weights(c->t, &attn, before, r->n, r->pos0, r->n_keys, r->head0, r->n_heads, d_out, NULL, &err));
  float *out = from_device(d_out, n_out * 4);
  void *inputs[] = {d_q, d_k, d_slots};
  for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) CUDA_OK(cudaFree(inputs[i]));
  free(slots);
  free(k);
  free(q);
  free(wanted);
  return out;
}

/* A warp's lane sees 4 keys of 128, and may scale its sum once for each; 2 sums over lanes, 8 over warps. Weights below f32's normal
 * numbers may be 0. */
static double relative(double size, int n_keys) { return oracle_relative(size, n_keys / 128 + 5, 4 * (n_keys / 128 + 1) + 10); }

static void check_row(const scene *c, const rows *r, const oracle_row *row, double *p, const float *got, int head) {
  double sum = 0, size = oracle_weights(row, p, &sum), bound = relative(size, row->n_keys);
  for (int j = 0; j < r->n_keys; j++) {
    if (j >= row->n_keys) {
      if (got[j] != 0) fail_msg("head %d, key %d behind the diagonal: %.9g", head, j, (double)got[j]);
      continue;
    }
    double limit = bound * p[j] + 0x1p-125;
    if (!(fabs((double)got[j] - p[j]) <= limit)) {
      fail_msg("%s, heads %d of %d over %d, %d keys, head %d, key %d of %d: %.9g, want %.9g +- %.3g",
               c->t == LCT_DTYPE_F16 ? "f16" : "bf16", c->s.n_heads, c->s.head_dim, c->s.n_kv_heads, r->n_keys, head, j, row->n_keys,
               (double)got[j], p[j], limit);
    }
  }
}

static void check(const scene *c, const rows *r) {
  int group = c->s.n_heads / c->s.n_kv_heads, seen = r->pos0 + r->n;
  size_t kv = (size_t)kv_width(c), dim = (size_t)c->s.head_dim;
  float *got = weights(c, r, 7);
  uint16_t *q = queries(c, r->pos0, r->n), *k = oracle_alloc((size_t)seen * kv * 2);
  const uint16_t **keys = oracle_alloc((size_t)seen * sizeof *keys);
  double *p = oracle_alloc((size_t)seen * sizeof *p);
  for (int j = 0; j < seen; j++) fill_key(c, j, k + (size_t)j * kv);
  for (int h = 0; h < r->n_heads; h++) {
    for (int j = 0; j < seen; j++) keys[j] = k + (size_t)j * kv + (size_t)((r->head0 + h) / group) * dim;
    for (int i = 0; i < r->n; i++) {
      oracle_row row = {c->t, c->s.head_dim, r->pos0 + i + 1, scale_of(c), q + (size_t)i * (size_t)width(c) + (size_t)(r->head0 + h) * dim,
                        keys, NULL};
      check_row(c, r, &row, p, got + ((size_t)h * (size_t)r->n + (size_t)i) * (size_t)r->n_keys, r->head0 + h);
    }
  }
  free(got);
  free(q);
  free(k);
  free(keys);
  free(p);
}

static const lct_dtype types[] = {LCT_DTYPE_F16, LCT_DTYPE_BF16};

/* Every row of paths whose lengths lie around the edges of tiles of rows and keys. */
static void test_whole_paths(void **state) {
  (void)state;
  static const int n_keys[] = {1, 2, 15, 16, 17, 127, 128, 129}, dims[] = {64, 80, 96, 128, 256};
  for (int d = 0; d < 5; d++) {
    for (int i = 0; i < 8; i++) {
      scene c = {types[(d + i) % 2], {4, 2, dims[d]}, n_keys[i], 2};
      check(&c, &(rows){0, n_keys[i], n_keys[i], 0, 4});
    }
  }
}

static void test_odd_dims(void **state) {
  (void)state;
  static const int dims[] = {8, 16, 40, 56, 72, 104, 120, 136, 160, 184, 192, 200, 248};
  oracle_guard = 0;
  for (int d = 0; d < 13; d++) {
    scene c = {types[d % 2], {2, 1, dims[d]}, 50, 2};
    check(&c, &(rows){21, 29, 50, 0, 2});
  }
  oracle_guard = GUARD;
}

/* The last rows and rows in the middle of longer paths, some heads of several groups. */
static void test_rows_and_heads(void **state) {
  (void)state;
  static const int n_keys[] = {255, 256, 257, 511, 512, 513, 1000};
  for (int i = 0; i < 7; i++) {
    scene c = {types[i % 2], {14, 2, 64}, n_keys[i], 2};
    check(&c, &(rows){n_keys[i] - 1, 1, n_keys[i], 0, 14});
    check(&c, &(rows){n_keys[i] - 20, 20, n_keys[i], 6, 2});
    check(&c, &(rows){100, 17, n_keys[i], 13, 1}); /* keys behind the last row */
  }
  for (int group = 1; group <= 16; group++) check(&(scene){types[group % 2], {group * 2, 2, 64}, 40, 2}, &(rows){35, 5, 40, group - 1, 2});
}

static void test_big_scores(void **state) {
  (void)state;
  check(&(scene){LCT_DTYPE_F16, {4, 2, 128}, 300, 16}, &(rows){260, 40, 300, 0, 4});
  check(&(scene){LCT_DTYPE_BF16, {4, 2, 64}, 300, 16}, &(rows){260, 40, 300, 0, 4});
}

static void test_long_path(void **state) {
  (void)state;
  check(&(scene){LCT_DTYPE_F16, {2, 1, 8}, 1 << 17, 2}, &(rows){(1 << 17) - 2, 2, 1 << 17, 1, 1});
}

/* A row alone, one head, the path no longer than it must be, keys elsewhere: the same bits. */
static void check_company(const scene *c, int pos0, int n) {
  rows r = {pos0, n, c->n_keys, 0, c->s.n_heads};
  float *all = weights(c, &r, 7);
  for (int i = 0; i < n; i++) {
    int h = (5 * i) % c->s.n_heads, seen = pos0 + i + 1;
    float *alone = weights(c, &(rows){pos0 + i, 1, seen, h, 1}, 3);
    assert_memory_equal(alone, all + ((size_t)h * (size_t)n + (size_t)i) * (size_t)c->n_keys, (size_t)seen * 4);
    free(alone);
  }
  free(all);
}

static void test_company(void **state) {
  (void)state;
  check_company(&(scene){LCT_DTYPE_F16, {8, 2, 64}, 300, 2}, 270, 30);
  check_company(&(scene){LCT_DTYPE_BF16, {7, 1, 128}, 70, 2}, 0, 70);
}

/* The CPU backend, exact, from the same values as f32: slots in order. Its own error is at most 3e-6 in relative L2
 * (tests/unit/test_cpu_attention.c). */
static void check_against_cpu(lct_backend *be, const scene *c, const rows *r) {
  int group = c->s.n_heads / c->s.n_kv_heads;
  size_t n_q = (size_t)r->n * (size_t)width(c), kv = (size_t)c->n_keys * (size_t)kv_width(c);
  size_t n_out = (size_t)r->n_heads * (size_t)r->n * (size_t)c->n_keys;
  uint16_t *q16 = queries(c, r->pos0, r->n), *k16 = oracle_alloc(kv * 2);
  for (int p = 0; p < c->n_keys; p++) fill_key(c, p, k16 + (size_t)p * (size_t)kv_width(c));
  float *q = oracle_alloc(n_q * 4), *k = oracle_alloc(kv * 4), *want = oracle_alloc(n_out * 4), *got = weights(c, r, 7);
  for (size_t i = 0; i < n_q; i++) q[i] = test_half_f32(c->t, q16[i]);
  for (size_t i = 0; i < kv; i++) k[i] = test_half_f32(c->t, k16[i]);
  lct_attn_shape shape = {c->s.n_heads, c->s.n_kv_heads, c->s.head_dim, scale_of(c)};
  lct_kv_range before = {0, r->pos0};
  lct_segment seg = {.n_rows = r->n, .pos0 = r->pos0, .kv0 = r->pos0, .n_ranges = 1, .ranges = &before};
  assert_ok(lct_cpu_ops()->attn_weights(be, q, &shape, &seg, 0, r->n, r->head0, r->n_heads, (lct_kv_layer){k, NULL}, want, &err));
  double size = 0, difference = 0, norm = 0, *p = oracle_alloc((size_t)c->n_keys * sizeof *p), sum = 0;
  const uint16_t **keys = oracle_alloc((size_t)c->n_keys * sizeof *keys);
  for (int j = 0; j < c->n_keys; j++) keys[j] = k16 + (size_t)j * (size_t)kv_width(c) + (size_t)(r->head0 / group * c->s.head_dim);
  for (int i = 0; i < r->n; i++) {
    const uint16_t *query = q16 + (size_t)i * (size_t)width(c) + r->head0 * c->s.head_dim;
    oracle_row row = {c->t, c->s.head_dim, c->n_keys, scale_of(c), query, keys, NULL};
    size = fmax(size, oracle_weights(&row, p, &sum));
  }
  for (size_t i = 0; i < n_out; i++) {
    difference += pow((double)got[i] - (double)want[i], 2);
    norm += pow((double)want[i], 2);
  }
  double limit = 3e-6 + relative(size, c->n_keys);
  if (!(sqrt(difference / norm) <= limit)) fail_msg("relative L2 difference to the CPU %g > %g", sqrt(difference / norm), limit);
  void *mine[] = {q16, k16, q, k, want, got, p, keys};
  for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) free(mine[i]);
}

static void test_cpu(void **state) {
  (void)state;
  lct_backend *be = NULL;
  lct_backend_options o = {.precision = LCT_PRECISION_EXACT};
  assert_ok(lct_cpu_ops()->open(&o, &be, &err));
  for (int t = 0; t < 2; t++) {
    check_against_cpu(be, &(scene){types[t], {8, 2, 128}, 200, 2}, &(rows){150, 50, 200, 5, 1});
    check_against_cpu(be, &(scene){types[t], {7, 1, 64}, 333, 2}, &(rows){0, 333, 333, 3, 1});
  }
  lct_cpu_ops()->close(be);
}

static void refuse(lct_dtype t, lct_k_heads s, const rows *r, const char *message) {
  lct_k_attn attn = {.s = s, .scale = 1};
  assert_int_equal(lct_k_attention_weights(t, &attn, 0, r->n, r->pos0, r->n_keys, r->head0, r->n_heads, NULL, NULL, &err),
                   LCT_E_UNSUPPORTED);
  assert_string_equal(err.message, message);
}

static void test_limits(void **state) {
  (void)state;
  lct_k_attn attn = {.s = {4, 2, 64}, .scale = 1};
  assert_ok(lct_k_attention_weights(LCT_DTYPE_F16, &attn, 0, 0, 5, 5, 0, 4, NULL, NULL, &err));
  refuse(LCT_DTYPE_F32, (lct_k_heads){4, 2, 64}, &(rows){0, 1, 1, 0, 4}, "attention_weights: keys must be f16 or bf16");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 260}, &(rows){0, 1, 1, 0, 4},
         "attention_weights: heads of 260: must be a multiple of 8, at most 256");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 64}, &(rows){0, 1, 1, 2, 3},
         "attention_weights: heads 2 to 4 of 4, rows at positions 0 to 0 of 1 keys");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 64}, &(rows){3, 2, 4, 0, 4},
         "attention_weights: heads 0 to 3 of 4, rows at positions 3 to 4 of 4 keys");
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole_paths), cmocka_unit_test(test_odd_dims),  cmocka_unit_test(test_rows_and_heads),
      cmocka_unit_test(test_big_scores),  cmocka_unit_test(test_long_path), cmocka_unit_test(test_company),
      cmocka_unit_test(test_cpu),         cmocka_unit_test(test_limits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
