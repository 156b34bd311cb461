/* Attention over whole batches, from the plan's segments to the output: a conversation alone and in company, decoding, weights. */
#include "attention_batch.h"
#include "attention_reference.h"

/* Queries, keys and values of a batch: row r's depend on the tokens of its path alone; slot == row, `more` slots behind. */
typedef struct {
  lct_attn_shape s;
  size_t n_rows, n_slots;
  uint16_t *q, *k, *v;
  test_buffer dq, dk, dv, dout;
} pass;

static uint16_t *path_values(lct_dtype t, const uint32_t *seeds, size_t n, size_t width, uint32_t salt) {
  uint16_t *p = malloc(n * width * sizeof *p);
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) {
    for (size_t e = 0; e < width; e++) p[i * width + e] = test_f32_half(t, reference_value(seeds[i] + salt, e));
  }
  return p;
}

static pass open_pass(lct_dtype t, lct_attn_shape s, const lct_batch *b, int more) {
  pass p = {.s = s, .n_rows = (size_t)b->n_rows, .n_slots = (size_t)(b->n_rows + more)};
  size_t nq = (size_t)s.n_heads * (size_t)s.head_dim, nkv = (size_t)s.n_kv_heads * (size_t)s.head_dim;
  uint32_t *seeds = calloc(p.n_slots, sizeof *seeds);
  assert_non_null(seeds);
  for (int32_t i = 0; i < b->n_segments; i++) {
    const lct_segment *seg = &b->segments[i];
    for (int32_t row = seg->row0; row < seg->row0 + seg->n_rows; row++) {
      int32_t pos = b->positions[row];
      uint32_t before = pos > 0 ? seeds[slot_of(seg, pos - 1)] : 0;
      seeds[row] = test_hash(before + 1, (uint32_t)b->tokens[row]);
    }
  }
  for (size_t i = p.n_rows; i < p.n_slots; i++) seeds[i] = (uint32_t)i;
  p.q = path_values(t, seeds, p.n_slots, nq, 1);
  p.k = path_values(t, seeds, p.n_slots, nkv, 2);
  p.v = path_values(t, seeds, p.n_slots, nkv, 3);
  p.dq = test_upload(p.q, p.n_slots * nq * 2);
  p.dk = test_upload(p.k, p.n_slots * nkv * 2);
  p.dv = test_upload(p.v, p.n_slots * nkv * 2);
  p.dout = test_output(p.n_slots * nq * 2);
  free(seeds);
  return p;
}

static uint16_t *attend(lct_backend *be, pass *p, const lct_batch *b) {
  assert_ok(lct_cuda_begin_batch(be, b, &p->s, &err));
  assert_ok(lct_cuda_attention(be, p->dq.d, &p->s, b, (lct_kv_layer){p->dk.d, p->dv.d}, p->dout.d, &err));
  CUDA_OK(cudaStreamSynchronize(be->stream));
  return test_download(&p->dout);
}

static void close_pass(pass *p) {
  test_buffer *all[] = {&p->dq, &p->dk, &p->dv, &p->dout};
  for (int i = 0; i < 4; i++) test_release(all[i]);
  free(p->q);
  free(p->k);
  free(p->v);
}

/* Row `row` of the query matrix, head h, at position pos of segment seg; its slots are the caller's to free. */
static reference_row row_of(const lct_backend *be, const pass *p, const lct_segment *seg, int32_t row, int32_t pos, int h) {
  int32_t *slots = malloc((size_t)(pos + 1) * sizeof *slots);
  assert_non_null(slots);
  for (int32_t i = 0; i <= pos; i++) slots[i] = slot_of(seg, i);
  size_t dim = (size_t)p->s.head_dim, kv = (size_t)(h / (p->s.n_heads / p->s.n_kv_heads)) * dim;
  return (reference_row){be->t,
                         (int)dim,
                         pos + 1,
                         p->s.scale,
                         p->q + ((size_t)row * (size_t)p->s.n_heads + (size_t)h) * dim,
                         p->k + kv,
                         p->v + kv,
                         (int64_t)p->s.n_kv_heads * p->s.head_dim,
                         slots};
}

static void check_rows(const lct_backend *be, const pass *p, const lct_batch *b, const uint16_t *out, int step) {
  double want[256], bound[256];
  int32_t *segment = segment_of_rows(b);
  for (int32_t row = 0; row < b->n_rows; row += step) {
    for (int h = 0; h < p->s.n_heads; h++) {
      reference_row r = row_of(be, p, &b->segments[segment[row]], row, b->positions[row], h);
      reference_attention(&r, want, bound);
      free((void *)(uintptr_t)r.slots);
      for (int i = 0; i < r.dim; i++) {
        double got = (double)test_half_f32(be->t, out[(row * p->s.n_heads + h) * r.dim + i]);
        if (!(fabs(got - want[i]) <= bound[i])) {
          fail_msg("row %d, head %d, element %d: %.9g, expected %.9g within %g", row, h, i, got, want[i], bound[i]);
        }
      }
    }
  }
  free(segment);
}

static lct_plan *conversations(int before, int after) {
  lct_plan *plan = NULL;
  assert_ok(lct_plan_new(&plan, &err));
  add_conversation(plan, 5000, 140, 35); /* sequences 0..3 */
  for (int i = 0; i < before; i++) add_conversation(plan, 1000 * i + 100, 60 + 10 * i, 30);
  for (int i = 0; i < after; i++) add_conversation(plan, 10000 + 1000 * i, 75 - 10 * i, 25);
  if (before > 0) add_conversation(plan, 5000, 163, 23); /* the same beginning, other branches */
  assert_ok(lct_plan_build(plan, 100000, &err));
  return plan;
}

/* The conversation alone and among others, whose branches cut its trunk elsewhere: right, and the same bits. */
static void test_conversation_in_company(void **state) {
  (void)state;
  for (int t = 0; t < 2; t++) {
    lct_backend *be = open_backend(t == 0 ? LCT_DTYPE_F16 : LCT_DTYPE_BF16);
    lct_attn_shape s = {14, 2, 64, 0.03f};
    lct_plan *alone = conversations(0, 0), *many = conversations(3, 2);
    const lct_batch *a = lct_plan_batch(alone, 0), *b = lct_plan_batch(many, 0);
    pass pa = open_pass(be->t, s, a, 0), pb = open_pass(be->t, s, b, 0);
    uint16_t *x = attend(be, &pa, a), *y = attend(be, &pb, b);
    check_rows(be, &pa, a, x, 11);
    check_rows(be, &pb, b, y, 29);
    size_t width = (size_t)(s.n_heads * s.head_dim);
    for (int32_t seq = 0; seq < 4; seq++) {
      for (int32_t pos = 0; pos < lct_plan_seq_len(alone, seq); pos++) {
        size_t i = (size_t)lct_plan_seq_row(alone, seq, pos), j = (size_t)lct_plan_seq_row(many, seq, pos);
        assert_same_bits(pa.q + i * width, pb.q + j * width, width * 2);
        assert_same_bits(x + i * width, y + j * width, width * 2);
      }
    }
    free(x);
    free(y);
    close_pass(&pa);
    close_pass(&pb);
    lct_plan_free(alone);
    lct_plan_free(many);
    close_backend(be);
  }
}

/* A decode batch goes to the decoding kernel, with its lists. */
static void test_decode_attention(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {6, 2, 128, 0.03f};
  lct_plan *plan = random_plan(5, 6, 290, 1 << 20);
  lct_batch b;
  int n_rows = lct_plan_batch(plan, 0)->n_rows;
  decode_batch(plan, 6, n_rows, 2, &b);
  pass p = open_pass(be->t, s, lct_plan_batch(plan, 0), 6 * 3);
  uint16_t *out = attend(be, &p, &b);
  check_rows(be, &p, &b, out, 1);
  free(out);
  close_pass(&p);
  free_decode_batch(&b);
  lct_plan_free(plan);
  close_backend(be);
}

/* Softmax weights of some rows and heads of one segment. */
static void test_weights(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {8, 2, 64, 0.03f};
  lct_plan *plan = conversations(0, 0);
  const lct_batch *b = lct_plan_batch(plan, 0);
  pass p = open_pass(be->t, s, b, 0);
  for (int32_t i = 0; i < b->n_segments; i++) {
    const lct_segment *seg = &b->segments[i];
    int first = seg->n_rows / 2, n = seg->n_rows - first, n_keys = seg->pos0 + seg->n_rows;
    float *out = malloc((size_t)(3 * n * n_keys) * sizeof *out);
    double *want = malloc((size_t)n_keys * sizeof *want);
    assert_non_null(out);
    assert_non_null(want);
    assert_ok(lct_cuda_attn_weights(be, p.dq.d, &s, seg, seg->row0 + first, n, 3, 3, (lct_kv_layer){p.dk.d, p.dv.d}, out, &err));
    for (int h = 0; h < 3; h++) {
      for (int k = 0; k < n; k++) {
        int32_t pos = seg->pos0 + first + k;
        reference_row r = row_of(be, &p, seg, seg->row0 + first + k, pos, 3 + h);
        double largest = 0, relative = reference_weights(&r, want, &largest);
        free((void *)(uintptr_t)r.slots);
        for (int32_t j = pos + 1; j < n_keys; j++) want[j] = 0;
        assert_each_close(out + (h * n + k) * n_keys, want, n_keys, relative, 0x1p-120);
      }
    }
    free(out);
    free(want);
  }
  close_pass(&p);
  lct_plan_free(plan);
  close_backend(be);
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_conversation_in_company),
      cmocka_unit_test(test_decode_attention),
      cmocka_unit_test(test_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
