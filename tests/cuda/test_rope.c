/* QKV split, per-head norm, rotation, cache write: against the CPU op and a double loop. */
#include "rows_test.h"

#define N_POS 40
#define N_SLOTS 11 /* of which n are written */

typedef struct {
  lct_dtype t;
  lct_k_heads s;
  int n;
  uint16_t *qkv;
  float *q_norm, *k_norm, *cos_sin; /* norms: NULL for none */
  int32_t positions[8], slots[8];
} rope_case;

typedef struct {
  uint16_t *q, *k, *v;
} rope_result;

static size_t q_width(const rope_case *c) { return (size_t)c->s.n_heads * (size_t)c->s.head_dim; }
static size_t k_width(const rope_case *c) { return (size_t)c->s.n_kv_heads * (size_t)c->s.head_dim; }

/* norms: bit 0 for q, bit 1 for k */
static rope_case make_case(lct_dtype t, int n_heads, int n_kv, int head_dim, int n, int norms, float scale) {
  rope_case c = {.t = t, .s = {n_heads, n_kv, head_dim}, .n = n};
  c.qkv = test_halves(t, 1, (size_t)n * (q_width(&c) + 2 * k_width(&c)), scale);
  c.q_norm = norms & 1 ? test_floats(2, (size_t)head_dim, 2) : NULL;
  c.k_norm = norms & 2 ? test_floats(3, (size_t)head_dim, 3) : NULL;
  c.cos_sin = test_floats(4, (size_t)N_POS * (size_t)head_dim, 3.2f);
  for (int i = 0; i < N_POS * head_dim; i += 2) {
    float angle = c.cos_sin[i];
    c.cos_sin[i] = cosf(angle);
    c.cos_sin[i + 1] = sinf(angle);
  }
  for (int i = 0; i < n; i++) {
    c.positions[i] = (int32_t)(test_hash(5, (size_t)i) % N_POS);
    c.slots[i] = (int32_t)((7 * i + 3) % N_SLOTS); /* all different */
  }
  c.positions[0] = N_POS - 1;
  return c;
}

static void free_case(rope_case *c) {
  free(c->qkv);
  free(c->q_norm);
  free(c->k_norm);
  free(c->cos_sin);
}

static void free_result(rope_result *r) {
  free(r->q);
  free(r->k);
  free(r->v);
}

static rope_result run_rows(const rope_case *c, int row0, int n) {
  size_t d = (size_t)c->s.head_dim, nq = q_width(c), nk = k_width(c), width = nq + 2 * nk;
  void *d_qkv = to_device(c->qkv + (size_t)row0 * width, (size_t)n * width * 2), *d_q = to_device(NULL, (size_t)n * nq * 2);
  void *d_k = to_device(NULL, N_SLOTS * nk * 2), *d_v = to_device(NULL, N_SLOTS * nk * 2);
  float *d_qn = c->q_norm == NULL ? NULL : to_device(c->q_norm, d * 4), *d_kn = c->k_norm == NULL ? NULL : to_device(c->k_norm, d * 4);
  float *d_cs = to_device(c->cos_sin, N_POS * d * 4);
  int32_t *d_pos = to_device(c->positions + row0, (size_t)n * 4), *d_slots = to_device(c->slots + row0, (size_t)n * 4);
  assert_ok(lct_k_split_rope(c->t, d_qkv, c->s, d_qn, d_kn, 1e-6f, d_cs, d_pos, d_slots, n, d_q, d_k, d_v, 0, &err));
  rope_result r = {from_device(d_q, (size_t)n * nq * 2), from_device(d_k, N_SLOTS * nk * 2), from_device(d_v, N_SLOTS * nk * 2)};
  void *rest[] = {d_qkv, d_qn, d_kn, d_cs, d_pos, d_slots};
  for (int i = 0; i < N_OF(rest); i++) device_free(rest[i]);
  return r;
}

/* The norm in f32: half of (a sum over 16 own squares, 5 of lanes and theirs), 6 roundings behind it; the rotation 2 of each product. The
 * rotated value's error is relative to |a c| + |b s|. */
#define NORM_ERROR (0.5 * (16 + 5 + 1) + 6)
#define ROPE_ERROR ((NORM_ERROR + 3) * EPS32)
/* The CPU's sums go through head_dim / 16 + 10 additions. */
#define CPU_ERROR ((0.5 * (256.0 / 16 + 11) + 6 + 3) * EPS32)

/* One head from its definition; cpu: the CPU's answer. */
static void check_head(const rope_case *c, const uint16_t *in, const float *norm, const float *cs, const uint16_t *got, const float *cpu,
                       const char *what) {
  int d = c->s.head_dim, half = d / 2;
  double x[256], sum = 0;
  for (int i = 0; i < d; i++) {
    x[i] = (double)test_half_f32(c->t, in[i]);
    sum += x[i] * x[i];
  }
  double inv = 1 / sqrt(sum / d + (double)1e-6f);
  for (int i = 0; norm != NULL && i < d; i++) x[i] *= inv * (double)norm[i];
  for (int i = 0; i < d; i++) {
    double cosine = (double)cs[2 * (i % half)], sine = (double)cs[2 * (i % half) + 1], a = x[i % half], b = x[half + i % half];
    double want = i < half ? a * cosine - b * sine : b * cosine + a * sine;
    double size = i < half ? fabs(a * cosine) + fabs(b * sine) : fabs(b * cosine) + fabs(a * sine);
    assert_rounded(c->t, got[i], want, size * ROPE_ERROR, "%s, %d of %d", what, i, d);
    assert_rounded(c->t, got[i], (double)cpu[i], size * (ROPE_ERROR + CPU_ERROR), "%s, %d of %d, CPU", what, i, d);
  }
}

static void check_untouched(const rope_case *c, const rope_result *r) {
  for (int s = 0; s < N_SLOTS; s++) {
    bool written = false;
    for (int i = 0; i < c->n; i++) written |= c->slots[i] == s;
    size_t at = (size_t)s * k_width(c) * 2, bytes = k_width(c) * 2;
    assert_true(written || (test_is_blank(r->k, at, bytes) && test_is_blank(r->v, at, bytes)));
  }
}

static void check_result(const rope_case *c, const rope_result *r) {
  size_t d = (size_t)c->s.head_dim, nq = q_width(c), nk = k_width(c), width = nq + 2 * nk;
  lct_backend *be = open_cpu();
  lct_attn_shape s = {c->s.n_heads, c->s.n_kv_heads, c->s.head_dim, 1};
  float *qkv = test_decode(c->t, c->qkv, (size_t)c->n * width), *q = test_blank((size_t)c->n * nq * 4);
  float *k = test_blank(N_SLOTS * nk * 4), *v = test_blank(N_SLOTS * nk * 4);
  assert_ok(lct_cpu_ops()->split_rope(be, qkv, &s, c->q_norm, c->k_norm, 1e-6f, c->cos_sin, c->positions, c->slots, c->n, q,
                                      (lct_kv_layer){k, v}, &err));
  for (int i = 0; i < c->n; i++) {
    const uint16_t *row = c->qkv + (size_t)i * width;
    const float *cs = c->cos_sin + (size_t)c->positions[i] * d;
    size_t q_at = (size_t)i * nq, k_at = (size_t)c->slots[i] * nk;
    for (size_t j = 0; j < nq; j += d) check_head(c, row + j, c->q_norm, cs, r->q + q_at + j, q + q_at + j, "q");
    for (size_t j = 0; j < nk; j += d) check_head(c, row + nq + j, c->k_norm, cs, r->k + k_at + j, k + k_at + j, "k");
    assert_memory_equal(r->v + k_at, row + nq + nk, nk * 2);
  }
  check_untouched(c, r);
  free(qkv);
  free(q);
  free(k);
  free(v);
  lct_cpu_ops()->close(be);
}

static void run_case(lct_dtype t, int n_heads, int n_kv, int head_dim, int n, int norms, float scale) {
  rope_case c = make_case(t, n_heads, n_kv, head_dim, n, norms, scale);
  rope_result r = run_rows(&c, 0, n);
  check_result(&c, &r);
  free_result(&r);
  free_case(&c);
}

/* Heads of 1 to 32 lanes, some idle, in steps of 4 and of 8; groups 1 to 8; warps that hold heads of q and of k. */
static void test_shapes(void **state) {
  (void)state;
  const int dims[] = {8, 16, 24, 32, 40, 64, 72, 80, 96, 128, 136, 248, 256};
  const int heads[][2] = {{1, 1}, {2, 1}, {3, 3}, {6, 2}, {7, 1}, {14, 2}, {8, 1}, {10, 2}};
  const int ns[] = {1, 2, 8};
  for (int d = 0; d < N_OF(dims); d++) {
    for (int h = 0; h < N_OF(heads); h++) {
      for (int norms = 0; norms < 4; norms++) {
        run_case(test_types[(h + norms) % 2], heads[h][0], heads[h][1], dims[d], ns[(d + h) % 3], norms, 4);
      }
    }
  }
}

/* More work in a row than threads in a block. */
static void test_wide_rows(void **state) {
  (void)state;
  for (int norms = 0; norms < 4; norms += 3) {
    run_case(LCT_DTYPE_F16, 64, 8, 128, 2, norms, 2);
    run_case(LCT_DTYPE_BF16, 40, 40, 128, 3, norms, 2);
    run_case(LCT_DTYPE_F16, 32, 32, 256, 1, norms, 2);
  }
}

/* Keys of Qwen2 reach hundreds; sums beyond f16 become Inf; heads of zeros; heads so small that eps rules. */
static void test_sizes_of_values(void **state) {
  (void)state;
  const float scales[] = {65504, 3000, 1e-3f, 0};
  for (int i = 0; i < N_OF(scales); i++) {
    for (int k = 0; k < 4; k++) run_case(test_types[k % 2], 4, 2, 64, 3, k < 2 ? 0 : 3, scales[i]);
  }
}

static void test_company(void **state) {
  (void)state;
  for (int k = 0; k < 2; k++) {
    rope_case c = make_case(test_types[k], 14, 2, 64, 8, 3, 4);
    rope_result all = run_rows(&c, 0, 8);
    const int parts[][2] = {{0, 1}, {7, 1}, {2, 5}};
    for (int p = 0; p < N_OF(parts); p++) {
      rope_result r = run_rows(&c, parts[p][0], parts[p][1]);
      assert_memory_equal(r.q, all.q + (size_t)parts[p][0] * q_width(&c), (size_t)parts[p][1] * q_width(&c) * 2);
      for (int i = parts[p][0]; i < parts[p][0] + parts[p][1]; i++) {
        size_t at = (size_t)c.slots[i] * k_width(&c);
        assert_memory_equal(r.k + at, all.k + at, k_width(&c) * 2);
        assert_memory_equal(r.v + at, all.v + at, k_width(&c) * 2);
      }
      free_result(&r);
    }
    free_result(&all);
    free_case(&c);
  }
}

/* Slots and positions whose offsets go beyond 2^31 elements: the caches and the table are thought to begin so far before their buffers. */
static void test_far_slots(void **state) {
  (void)state;
  rope_case c = make_case(LCT_DTYPE_F16, 4, 2, 128, 1, 3, 4);
  size_t d = 128, nq = q_width(&c), nk = k_width(&c);
  int32_t slot = 1 << 24, position = 1 << 25;
  void *d_qkv = to_device(c.qkv, (nq + 2 * nk) * 2), *d_q = to_device(NULL, nq * 2), *d_k = to_device(NULL, nk * 2);
  void *d_v = to_device(NULL, nk * 2);
  float *d_qn = to_device(c.q_norm, d * 4), *d_kn = to_device(c.k_norm, d * 4), *d_cs = to_device(c.cos_sin, d * 4);
  int32_t *d_slot = to_device(&slot, 4), *d_pos = to_device(&position, 4);
  uintptr_t k = (uintptr_t)d_k - (uintptr_t)slot * nk * 2, v = (uintptr_t)d_v - (uintptr_t)slot * nk * 2;
  uintptr_t cs = (uintptr_t)d_cs - (uintptr_t)position * d * 4;
  assert_ok(lct_k_split_rope(c.t, d_qkv, c.s, d_qn, d_kn, 1e-6f, (const float *)cs, d_pos, d_slot, 1, d_q, (void *)k, (void *)v, 0, &err));
  c.slots[0] = c.positions[0] = 0;
  rope_result far = {from_device(d_q, nq * 2), from_device(d_k, nk * 2), from_device(d_v, nk * 2)}, near = run_rows(&c, 0, 1);
  assert_memory_equal(far.q, near.q, nq * 2);
  assert_memory_equal(far.k, near.k, nk * 2);
  assert_memory_equal(far.v, near.v, nk * 2);
  void *rest[] = {d_qkv, d_qn, d_kn, d_cs, d_slot, d_pos};
  for (int i = 0; i < N_OF(rest); i++) device_free(rest[i]);
  free_result(&far);
  free_result(&near);
  free_case(&c);
}

static lct_status try_shape(lct_dtype t, lct_k_heads s, int n, char *d, float *cs) {
  return lct_k_split_rope(t, d, s, NULL, NULL, 0, cs, (int32_t *)(void *)d, (int32_t *)(void *)d, n, d, d, d, 0, &err);
}

static void test_refusals(void **state) {
  (void)state;
  char *d = to_device(NULL, 1024);
  float *cs = (float *)(void *)d;
  assert_ok(try_shape(LCT_DTYPE_F16, (lct_k_heads){2, 1, 64}, 0, d, cs));
  assert_fails(try_shape(LCT_DTYPE_F32, (lct_k_heads){2, 1, 64}, 1, d, cs), LCT_E_UNSUPPORTED, "split_rope: no kernel for type F32");
  assert_fails(try_shape(LCT_DTYPE_F16, (lct_k_heads){2, 1, 60}, 1, d, cs), LCT_E_UNSUPPORTED,
               "split_rope: head_dim 60: expected a multiple of 8, at most 256");
  assert_fails(try_shape(LCT_DTYPE_F16, (lct_k_heads){2, 1, 264}, 1, d, cs), LCT_E_UNSUPPORTED,
               "split_rope: head_dim 264: expected a multiple of 8, at most 256");
  assert_fails(try_shape(LCT_DTYPE_F16, (lct_k_heads){3, 2, 64}, 1, d, cs), LCT_E_UNSUPPORTED,
               "split_rope: 1 rows of 3 heads over 2 KV heads: expected a whole number of heads a KV head");
  assert_fails(try_shape(LCT_DTYPE_F16, (lct_k_heads){2, 1, 64}, 1, d, cs + 1), LCT_E_UNSUPPORTED,
               "split_rope: a buffer is not aligned to 16 bytes");
  assert_blank(d, 1024);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),  cmocka_unit_test(test_wide_rows), cmocka_unit_test(test_sizes_of_values),
      cmocka_unit_test(test_company), cmocka_unit_test(test_far_slots), cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
