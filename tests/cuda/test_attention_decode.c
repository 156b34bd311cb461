/* Attention of decoding against double-precision loops; a token's bits whatever it is decoded with and wherever its keys lie. */
#include "attention_oracle.h"

/* Tokens to decode; token i sees n_keys[i] keys of its own. Values are a function of token, position and element. */
typedef struct {
  lct_dtype t;
  lct_k_heads s;
  int n_tokens;
  const int *n_keys;
  float size; /* of queries and keys */
  int trend;  /* the greatest scores: 0 anywhere, 1 the last keys, -1 the first */
} scene;

static int width(const scene *c) { return c->s.n_heads * c->s.head_dim; }
static int kv_width(const scene *c) { return c->s.n_kv_heads * c->s.head_dim; }
static int parts_of(int n_keys) { return (n_keys + LCT_ATTN_SPLIT - 1) / LCT_ATTN_SPLIT; }
static float scale_of(const scene *c) { return (float)(1 / sqrt((double)c->s.head_dim)); }

static void fill_query(const scene *c, int token, uint16_t *q) {
  for (int i = 0; i < width(c); i++) {
    float x = oracle_value((uint32_t)token, (uint32_t)i, c->size);
    q[i] = test_f32_half(c->t, c->trend != 0 ? fabsf(x) : x);
  }
}

static void fill_key(const scene *c, int token, int pos, uint16_t *k, uint16_t *v) {
  uint32_t id = 1000u + (uint32_t)token * 2000000u + (uint32_t)pos;
  int n = c->n_keys[token], order = c->trend > 0 ? pos : n - 1 - pos;
  for (int i = 0; i < kv_width(c); i++) {
    float x = oracle_value(id, (uint32_t)i, c->size);
    if (c->trend != 0) x = floorf(c->size * 8 * (float)(order + 1) / (float)n) / 8;
    k[i] = test_f32_half(c->t, x);
    v[i] = test_f32_half(c->t, oracle_value(id, 50000u + (uint32_t)i, 4));
  }
}

/* The inputs of one call, and where they lie on the device. */
typedef struct {
  int n, n_rows, n_slots, n_parts;
  int32_t *slots, *part_token;
  lct_k_token *tokens;
  uint16_t *q, *k, *v;
} call;

static int row_of(int i) { return 3 * i + 1; }

/* Tokens order[0..n) with their keys scattered over the slots by `step`, a small prime. */
static call make_call(const scene *c, const int *order, int n, int step) {
  call a = {.n = n, .n_rows = row_of(n)};
  int n_keys = 0;
  for (int i = 0; i < n; i++) n_keys += c->n_keys[order[i]];
  a.n_slots = oracle_slots(n_keys + (n_keys < 8 ? 8 : 0));
  size_t kv = (size_t)kv_width(c);
  a.slots = oracle_alloc((size_t)n_keys * 4);
  a.tokens = oracle_alloc((size_t)n * sizeof *a.tokens);
  a.q = oracle_alloc((size_t)a.n_rows * (size_t)width(c) * 2);
  a.k = oracle_alloc((size_t)a.n_slots * kv * 2);
  a.v = oracle_alloc((size_t)a.n_slots * kv * 2);
  int at = 0;
  for (int i = 0; i < n; i++) {
    int keys = c->n_keys[order[i]];
    a.tokens[i] = (lct_k_token){row_of(i), keys, at, a.n_parts, parts_of(keys)};
    a.n_parts += parts_of(keys);
    fill_query(c, order[i], a.q + (size_t)row_of(i) * (size_t)width(c));
    for (int p = 0; p < keys; p++, at++) {
      a.slots[at] = (int32_t)(((int64_t)(at + 1) * step) % a.n_slots);
      fill_key(c, order[i], p, a.k + (size_t)a.slots[at] * kv, a.v + (size_t)a.slots[at] * kv);
    }
  }
  a.part_token = oracle_alloc((size_t)a.n_parts * 4);
  for (int i = 0, p = 0; i < n; i++) {
    for (int j = 0; j < a.tokens[i].n_parts; j++) a.part_token[p++] = i;
  }
  return a;
}

static void free_call(call *a) {
  free(a->slots);
  free(a->part_token);
  free(a->tokens);
  free(a->q);
  free(a->k);
  free(a->v);
}

/* Decodes; the rows (n, width) of the tokens. Rows in between must stay as they were, as must everything behind the buffers. */
static uint16_t *decode(const scene *c, const int *order, int n, int step) {
  call a = make_call(c, order, n, step);
  size_t w = (size_t)width(c), n_keys = 0, kv = (size_t)a.n_slots * (size_t)kv_width(c) * 2;
  for (int i = 0; i < n; i++) n_keys += (size_t)a.tokens[i].n_keys;
  size_t work_bytes = (size_t)a.n_parts * (size_t)c->s.n_heads * (size_t)(c->s.head_dim + 2) * 4;
  void *q = to_device(a.q, (size_t)a.n_rows * w * 2), *k = to_device(a.k, kv), *v = to_device(a.v, kv);
  void *slots = to_device(a.slots, n_keys * 4), *out = to_device(NULL, (size_t)a.n_rows * w * 2);
  void *tokens = to_device(a.tokens, (size_t)n * sizeof *a.tokens), *part_token = to_device(a.part_token, (size_t)a.n_parts * 4);
  void *work = to_device(NULL, work_bytes);
  lct_k_attn attn = {.s = c->s, .scale = scale_of(c), .q = q, .k = k, .v = v, .slots = slots, .out = out};
  assert_ok(lct_k_attention_decode(c->t, &attn, tokens, n, part_token, a.n_parts, work, NULL, &err));
  uint16_t *rows = from_device(out, (size_t)a.n_rows * w * 2);
  free(from_device(work, work_bytes));
  void *inputs[] = {q, k, v, slots, tokens, part_token};
  for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) CUDA_OK(cudaFree(inputs[i]));
  uint16_t *got = oracle_alloc((size_t)n * w * 2);
  for (int r = 0; r < a.n_rows; r++) {
    uint16_t *row = rows + (size_t)r * w;
    if (r % 3 == 1) memcpy(got + (size_t)(r / 3) * w, row, w * 2);
    else
      for (size_t i = 0; i < w; i++) assert_int_equal(row[i], 0xffff);
  }
  free(rows);
  free_call(&a);
  return got;
}

/* One head of one token. Beyond a weight's own error: the weight as a sum of two values of T; in f16 nothing below 2^-25 of its part's
 * greatest; sums over at most 80 terms and the parts; half a unit of the last place of the result. */
static void check_head(const scene *c, const oracle_row *r, double *p, const uint16_t *got, int token, int head) {
  double sum = 0, size = oracle_weights(r, p, &sum);
  bool f16 = c->t == LCT_DTYPE_F16;
  int n_parts = parts_of(r->n_keys);
  double relative = oracle_relative(size, 3, 80 + n_parts) + (f16 ? 0x1p-22 : 0x1p-16) + (80 + n_parts) * 0x1p-23;
  for (int i = 0; i < r->dim; i++) {
    double want = 0, weighted = 0, all = 0;
    for (int j = 0; j < r->n_keys; j++) {
      double v = (double)test_half_f32(c->t, r->values[j][i]);
      want += p[j] * v;
      weighted += p[j] * fabs(v);
      all += fabs(v);
    }
    double before = relative * weighted + (f16 ? 0x1p-25 * all / sum : 0);
    double limit = before + (fabs(want) + before) * (f16 ? 0x1p-11 : 0x1p-8) + (f16 ? 0x1p-25 : 0x1p-133);
    double x = (double)test_half_f32(c->t, got[i]);
    if (!(fabs(x - want) <= limit)) {
      fail_msg("%s, heads %d of %d over %d, token %d of %d keys, head %d, element %d: %.9g, want %.9g +- %.3g", f16 ? "f16" : "bf16",
               c->s.n_heads, c->s.head_dim, c->s.n_kv_heads, token, r->n_keys, head, i, x, want, limit);
    }
  }
}

static void check_token(const scene *c, int token, const uint16_t *got) {
  int n = c->n_keys[token], group = c->s.n_heads / c->s.n_kv_heads;
  size_t kv = (size_t)kv_width(c), dim = (size_t)c->s.head_dim;
  uint16_t *q = oracle_alloc((size_t)width(c) * 2), *k = oracle_alloc((size_t)n * kv * 2), *v = oracle_alloc((size_t)n * kv * 2);
  const uint16_t **keys = oracle_alloc((size_t)n * sizeof *keys), **values = oracle_alloc((size_t)n * sizeof *values);
  double *p = oracle_alloc((size_t)n * sizeof *p);
  fill_query(c, token, q);
  for (int j = 0; j < n; j++) fill_key(c, token, j, k + (size_t)j * kv, v + (size_t)j * kv);
  for (int h = 0; h < c->s.n_heads; h++) {
    for (int j = 0; j < n; j++) {
      keys[j] = k + (size_t)j * kv + (size_t)(h / group) * dim;
      values[j] = v + (size_t)j * kv + (size_t)(h / group) * dim;
    }
    oracle_row r = {c->t, c->s.head_dim, n, scale_of(c), q + (size_t)h * dim, keys, values};
    check_head(c, &r, p, got + (size_t)h * dim, token, h);
  }
  free(q);
  free(k);
  free(v);
  free(keys);
  free(values);
  free(p);
}

static void check_scene(const scene *c) {
  int order[64] = {0};
  for (int i = 0; i < c->n_tokens; i++) order[i] = i;
  uint16_t *got = decode(c, order, c->n_tokens, 7);
  for (int i = 0; i < c->n_tokens; i++) check_token(c, i, got + (size_t)i * (size_t)width(c));
  free(got);
}

static const lct_dtype types[] = {LCT_DTYPE_F16, LCT_DTYPE_BF16};

static void test_head_dims(void **state) {
  (void)state;
  static const int n_keys[] = {1, 2, 255, 256, 257, 511, 512, 513, 1000}, dims[] = {64, 80, 96, 128, 256};
  for (int t = 0; t < 2; t++) {
    for (int d = 0; d < 5; d++) check_scene(&(scene){types[t], {4, 1, dims[d]}, 9, n_keys, 2, 0});
  }
}

/* The smallest heads, and those at the edges of what a kernel variant takes. */
static void test_odd_dims(void **state) {
  (void)state;
  static const int n_keys[] = {1, 15, 16, 17, 297}; /* 346: with one more a prime, so the last slot is used */
  static const int dims[] = {8, 16, 40, 56, 72, 104, 120, 136, 160, 184, 192, 200, 248};
  oracle_guard = 0;
  for (int d = 0; d < 13; d++) check_scene(&(scene){types[d % 2], {2, 1, dims[d]}, 5, n_keys, 2, 0});
  oracle_guard = GUARD;
}

static void test_groups(void **state) {
  (void)state;
  static const int n_keys[] = {3, 127, 270}, kv_heads[] = {1, 2, 3};
  for (int group = 1; group <= 16; group++) {
    int kv = kv_heads[group % 3];
    check_scene(&(scene){types[group % 2], {group * kv, kv, 64}, 3, n_keys, 2, 0});
  }
  check_scene(&(scene){LCT_DTYPE_F16, {7, 1, 128}, 3, n_keys, 2, 0});
  check_scene(&(scene){LCT_DTYPE_BF16, {16, 1, 256}, 3, n_keys, 2, 0});
}

/* Scores of some hundreds, whose exponentials are 0 or 1 or in between; the greatest first, last or anywhere. */
static void test_big_scores(void **state) {
  (void)state;
  static const int n_keys[] = {40, 257, 700};
  for (int trend = -1; trend <= 1; trend++) {
    check_scene(&(scene){LCT_DTYPE_F16, {4, 2, 128}, 3, n_keys, 16, trend});
    check_scene(&(scene){LCT_DTYPE_BF16, {4, 2, 64}, 3, n_keys, 8, trend});
  }
}

static void test_many_parts(void **state) {
  (void)state;
  static const int n_keys[] = {1 << 20, 4 * LCT_ATTN_SPLIT, 4 * LCT_ATTN_SPLIT + 1};
  check_scene(&(scene){LCT_DTYPE_F16, {1, 1, 8}, 3, n_keys, 2, 0});
}

/* Alone, in another order, with its keys elsewhere: the same bits. */
static void check_company(const scene *c) {
  int order[64] = {0}, n = c->n_tokens;
  size_t w = (size_t)width(c);
  for (int i = 0; i < n; i++) order[i] = i;
  uint16_t *all = decode(c, order, n, 7);
  for (int i = 0; i < n; i++) order[i] = (3 * i + 2) % n; /* n is no multiple of 3 */
  uint16_t *shuffled = decode(c, order, n, 1);
  for (int i = 0; i < n; i++) {
    assert_memory_equal(shuffled + (size_t)i * w, all + (size_t)order[i] * w, w * 2);
    uint16_t *alone = decode(c, &i, 1, 5);
    assert_memory_equal(alone, all + (size_t)i * w, w * 2);
    free(alone);
  }
  free(all);
  free(shuffled);
}

static void test_company(void **state) {
  (void)state;
  static const int n_keys[] = {1, 600, 256, 31, 257, 100, 16};
  check_company(&(scene){LCT_DTYPE_F16, {8, 2, 64}, 7, n_keys, 2, 0});
  check_company(&(scene){LCT_DTYPE_BF16, {7, 1, 128}, 7, n_keys, 2, 0});
  check_company(&(scene){LCT_DTYPE_F16, {10, 1, 80}, 7, n_keys, 2, 0});
}

static void test_nothing(void **state) {
  (void)state;
  lct_k_attn attn = {.s = {4, 2, 64}, .scale = 1};
  assert_ok(lct_k_attention_decode(LCT_DTYPE_F16, &attn, NULL, 0, NULL, 0, NULL, NULL, &err));
}

static void refuse(lct_dtype t, lct_k_heads s, const char *message) {
  lct_k_attn attn = {.s = s, .scale = 1};
  assert_int_equal(lct_k_attention_decode(t, &attn, NULL, 1, NULL, 1, NULL, NULL, &err), LCT_E_UNSUPPORTED);
  assert_string_equal(err.message, message);
}

static void test_refusals(void **state) {
  (void)state;
  refuse(LCT_DTYPE_F32, (lct_k_heads){4, 2, 64}, "attention_decode: keys must be f16 or bf16");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 60}, "attention_decode: heads of 60: must be a multiple of 8, at most 256");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 264}, "attention_decode: heads of 264: must be a multiple of 8, at most 256");
  refuse(LCT_DTYPE_F16, (lct_k_heads){4, 2, 0}, "attention_decode: heads of 0: must be a multiple of 8, at most 256");
  refuse(LCT_DTYPE_F16, (lct_k_heads){5, 2, 64}, "attention_decode: 5 heads over 2 KV heads: must be a multiple, at most 16 to one");
  refuse(LCT_DTYPE_F16, (lct_k_heads){17, 1, 64}, "attention_decode: 17 heads over 1 KV heads: must be a multiple, at most 16 to one");
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_head_dims),  cmocka_unit_test(test_odd_dims),   cmocka_unit_test(test_groups),
                                     cmocka_unit_test(test_big_scores), cmocka_unit_test(test_many_parts), cmocka_unit_test(test_company),
                                     cmocka_unit_test(test_nothing),    cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
