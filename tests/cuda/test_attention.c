/* Prefill attention (lct_k_attention) against its definition: head_dims, groups, lengths around tile edges, large scores; keys scattered
 * over slots between NaN; what a token gets does not depend on its tile or its company. */
#include "attention_reference.h"

#define MAX_PATHS 8
#define MAX_TILES 512

static lct_error err;

/* Queries at positions pos0 .. end - 1 of a path of `end` keys. */
typedef struct {
  int pos0, end;
} span;

typedef struct {
  lct_dtype t;
  lct_k_heads s;
  float scale;
  int n_paths;
  span paths[MAX_PATHS];
  uint32_t seed;   /* of the values: depends on path and position only */
  uint32_t places; /* of the order of slots and rows */
} problem;

/* A problem laid out: slots and rows permuted, NaN wherever no path or query is. */
typedef struct {
  int n_slots, n_rows, slots0[MAX_PATHS], rows0[MAX_PATHS];
  int32_t *slots, *rows;
  uint16_t *q, *k, *v;
  size_t q_len, kv_len;
} layout;

static int group_of(const problem *p) { return p->s.n_heads / p->s.n_kv_heads; }

/* A random order of [0, n). */
static int32_t *shuffled(int n, uint32_t seed) {
  int32_t *p = malloc((size_t)(n + 1) * sizeof *p);
  assert_non_null(p);
  for (int i = 0; i < n; i++) p[i] = i;
  for (int i = n - 1; i > 0; i--) {
    int j = (int)(test_hash(seed, (uint32_t)i) % (uint32_t)(i + 1));
    int32_t x = p[i];
    p[i] = p[j];
    p[j] = x;
  }
  return p;
}

static uint16_t *canaries(size_t n) {
  uint16_t *p = malloc((n + 2) * sizeof *p);
  assert_non_null(p);
  test_canaries((unsigned char *)p, 0, (n + 2) * sizeof *p);
  return p;
}

/* Slots come in runs of seven and rows singly, twice as many as needed. */
static layout lay_out(const problem *p) {
  layout l = {0};
  int n_keys = 0, n_queries = 0;
  for (int i = 0; i < p->n_paths; i++) {
    l.slots0[i] = n_keys;
    l.rows0[i] = n_queries;
    n_keys += p->paths[i].end;
    n_queries += p->paths[i].end - p->paths[i].pos0;
  }
  l.n_slots = (2 * n_keys / 7 + 2) * 7;
  l.n_rows = 2 * n_queries + 1;
  l.rows = shuffled(l.n_rows, p->places);
  int32_t *runs = shuffled(l.n_slots / 7, p->places + 1);
  l.slots = malloc((size_t)l.n_slots * sizeof *l.slots);
  assert_non_null(l.slots);
  for (int i = 0; i < l.n_slots; i++) l.slots[i] = runs[i / 7] * 7 + i % 7;
  free(runs);
  size_t nq = (size_t)p->s.n_heads * (size_t)p->s.head_dim, nkv = (size_t)p->s.n_kv_heads * (size_t)p->s.head_dim;
  l.q_len = (size_t)l.n_rows * nq;
  l.kv_len = (size_t)l.n_slots * nkv;
  l.q = canaries(l.q_len);
  l.k = canaries(l.kv_len);
  l.v = canaries(l.kv_len);
  for (int i = 0; i < p->n_paths; i++) {
    for (int pos = 0; pos < p->paths[i].end; pos++) {
      size_t slot = (size_t)l.slots[l.slots0[i] + pos], at = (size_t)(i * 100000 + pos) * 4096;
      for (size_t e = 0; e < nkv; e++) {
        l.k[slot * nkv + e] = test_f32_half(p->t, reference_value(p->seed, at + e));
        l.v[slot * nkv + e] = test_f32_half(p->t, test_value(p->seed + 1, at + e, 2.0f));
      }
      if (pos < p->paths[i].pos0) continue;
      size_t row = (size_t)l.rows[l.rows0[i] + pos - p->paths[i].pos0];
      for (size_t e = 0; e < nq; e++) l.q[row * nq + e] = test_f32_half(p->t, reference_value(p->seed + 2, at + e));
    }
  }
  return l;
}

static void free_layout(layout *l) {
  free(l->slots);
  free(l->rows);
  free(l->q);
  free(l->k);
  free(l->v);
}

/* Tiles cut at multiples of 64 / group, or, with `cuts`, anywhere. */
static int cut(const problem *p, const layout *l, uint32_t cuts, lct_k_tile *tiles) {
  int n_tiles = 0, most = LCT_ATTN_ROWS / group_of(p);
  for (int i = 0; i < p->n_paths; i++) {
    for (int pos = p->paths[i].pos0, n = 0; pos < p->paths[i].end; pos += n) {
      n = cuts == 0 ? most - pos % most : 1 + (int)(test_hash(cuts, (uint32_t)n_tiles) % (uint32_t)most);
      if (n > p->paths[i].end - pos) n = p->paths[i].end - pos;
      assert_true(n_tiles < MAX_TILES);
      tiles[n_tiles++] = (lct_k_tile){l->rows0[i] + pos - p->paths[i].pos0, n, pos, l->slots0[i]};
    }
  }
  return n_tiles;
}

typedef enum { CHOSEN, PLAIN, DEEP } variant; /* CHOSEN: by the launcher */

/* The whole of `out` on the host (n_rows, n_heads * head_dim); inputs must be unchanged. */
static uint16_t *run_variant(const problem *p, const layout *l, const lct_k_tile *tiles, int n_tiles, variant way) {
  test_buffer q = test_upload(l->q, l->q_len * 2), k = test_upload(l->k, l->kv_len * 2), v = test_upload(l->v, l->kv_len * 2);
  test_buffer slots = test_upload(l->slots, (size_t)l->n_slots * 4), rows = test_upload(l->rows, (size_t)l->n_rows * 4);
  test_buffer list = test_upload(tiles, (size_t)n_tiles * sizeof *tiles), out = test_output(l->q_len * 2);
  lct_k_attn a = {.s = p->s, .scale = p->scale, .q = q.d, .k = k.d, .v = v.d, .slots = slots.d, .rows = rows.d, .out = out.d};
  if (way == CHOSEN) assert_ok(lct_k_attention(p->t, &a, list.d, n_tiles, NULL, &err));
  else assert_ok(lct_k_attention_variant(p->t, &a, list.d, n_tiles, way == DEEP, NULL, &err));
  uint16_t *host = test_download(&out);
  test_unchanged(&q, l->q);
  test_unchanged(&k, l->k);
  test_unchanged(&v, l->v);
  test_buffer *all[] = {&q, &k, &v, &slots, &rows, &list, &out};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) test_release(all[i]);
  return host;
}

/* As the launcher does it; at head_dim 128 the variants must agree. */
static uint16_t *run(const problem *p, const layout *l, const lct_k_tile *tiles, int n_tiles) {
  uint16_t *out = run_variant(p, l, tiles, n_tiles, CHOSEN);
  for (int way = PLAIN; way <= DEEP && p->s.head_dim == 128; way++) {
    uint16_t *other = run_variant(p, l, tiles, n_tiles, (variant)way);
    assert_same_bits(out, other, l->q_len * 2);
    free(other);
  }
  return out;
}

static void check_row(const problem *p, const layout *l, const uint16_t *out, int path, int pos) {
  int dim = p->s.head_dim, group = group_of(p);
  double want[256], bound[256];
  size_t row = (size_t)l->rows[l->rows0[path] + pos - p->paths[path].pos0];
  for (int h = 0; h < p->s.n_heads; h++) {
    size_t at = (row * (size_t)p->s.n_heads + (size_t)h) * (size_t)dim, kv = (size_t)(h / group) * (size_t)dim;
    reference_row r = {
        p->t, dim, pos + 1, p->scale, l->q + at, l->k + kv, l->v + kv, (int64_t)p->s.n_kv_heads * dim, l->slots + l->slots0[path]};
    reference_attention(&r, want, bound);
    for (int i = 0; i < dim; i++) {
      double got = (double)test_half_f32(p->t, out[at + (size_t)i]);
      if (!(fabs(got - want[i]) <= bound[i])) {
        fail_msg("head_dim %d, group %d, %s, path %d, position %d, head %d, element %d: %.9g, expected %.9g within %g", dim, group,
                 p->t == LCT_DTYPE_F16 ? "f16" : "bf16", path, pos, h, i, got, want[i], bound[i]);
      }
    }
  }
}

/* Every step-th query against the definition, and the rows of nobody untouched. */
static void check(const problem *p, const layout *l, const uint16_t *out, int step) {
  int n_queries = 0;
  for (int i = 0; i < p->n_paths; i++) {
    for (int pos = p->paths[i].end - 1; pos >= p->paths[i].pos0; pos -= step) check_row(p, l, out, i, pos);
    n_queries += p->paths[i].end - p->paths[i].pos0;
  }
  size_t row_bytes = (size_t)p->s.n_heads * (size_t)p->s.head_dim * 2;
  for (int i = n_queries; i < l->n_rows; i++) assert_true(test_is_blank(out, (size_t)l->rows[i] * row_bytes, row_bytes));
}

static void try(const problem *p, int step) {
  lct_k_tile tiles[MAX_TILES];
  layout l = lay_out(p);
  int n_tiles = cut(p, &l, 0, tiles);
  uint16_t *out = run(p, &l, tiles, n_tiles);
  check(p, &l, out, step);
  free(out);
  free_layout(&l);
}

static problem make(lct_dtype t, int head_dim, int group, int n_kv) {
  return (problem){.t = t, .s = {group * n_kv, n_kv, head_dim}, .scale = 1 / sqrtf((float)head_dim) / 4, .seed = 11, .places = 5};
}

static const lct_dtype types[] = {LCT_DTYPE_F16, LCT_DTYPE_BF16};
static const int dims[] = {64, 96, 128, 256, 32};
#define N_DIMS 5
static const int lengths[] = {1, 63, 64, 65, 127, 128, 129, 130};

/* Every head_dim with every group and type, lengths in turn; the last queries of two paths. */
static void test_groups(void **state) {
  (void)state;
  const int groups[] = {1, 2, 3, 4, 5, 6, 7, 8, 16};
  for (int d = 0; d < N_DIMS; d++) {
    for (int g = 0; g < 18; g++) {
      problem p = make(types[g / 9], dims[d], groups[g % 9], 1 + (d + g) % 2);
      p.n_paths = 2;
      p.seed = (uint32_t)(100 * d + g);
      for (int i = 0; i < 2; i++) {
        int end = lengths[(d * 3 + g + 3 * i) % 8];
        p.paths[i] = (span){end > 10 ? end - 10 : 0, end};
      }
      try(&p, 2);
    }
  }
}

/* Every length in one launch, from a position in the middle of a tile or from the beginning; both types. */
static void test_lengths(void **state) {
  (void)state;
  for (int t = 0; t < 2; t++) {
    problem p = make(types[t], 64, 7 - 4 * t, 1);
    for (int i = 0; i < 8; i++) p.paths[p.n_paths++] = (span){lengths[i] > 70 ? 60 : 0, lengths[i]};
    try(&p, 7);
  }
}

/* A whole prompt at each head_dim and type: first tiles, diagonal tiles, several tiles. */
static void test_prompts(void **state) {
  (void)state;
  for (int d = 0; d < N_DIMS; d++) {
    for (int t = 0; t < 2; t++) {
      problem p = make(types[t], dims[d], 2, 1);
      p.n_paths = 1;
      p.paths[0] = (span){0, 130};
      try(&p, 5);
    }
  }
}

/* A stub at the end of a long path, the largest of everything. */
static void test_long_path(void **state) {
  (void)state;
  problem p = make(LCT_DTYPE_F16, 64, 8, 2);
  p.n_paths = 2;
  p.paths[0] = (span){1997, 2000};
  p.paths[1] = (span){350, 353};
  try(&p, 1);
  p = make(LCT_DTYPE_BF16, 256, 16, 2);
  p.n_paths = 1;
  p.paths[0] = (span){381, 385};
  try(&p, 1);
}

/* Scores up to +-10000: weights of 0 and 1, maxima that jump from tile to tile. */
static void test_big_scores(void **state) {
  (void)state;
  for (int d = 0; d < N_DIMS; d++) {
    problem p = make(types[d % 2], dims[d], 4, 1);
    p.scale = 10000.0f / 16 / (float)dims[d];
    p.n_paths = 1;
    p.paths[0] = (span){250, 260};
    layout l = lay_out(&p);
    double most = 0;
    for (size_t i = 0; i < (size_t)dims[d]; i++) { /* the last query agrees with key 3, is the opposite of key 4 */
      size_t kv_at = (size_t)dims[d], row = (size_t)l.rows[l.rows0[0] + 9] * 4 * kv_at;
      l.q[row + i] = test_f32_half(p.t, i % 2 == 0 ? 4 : -4);
      l.k[(size_t)l.slots[3] * kv_at + i] = test_f32_half(p.t, i % 2 == 0 ? 4 : -4);
      l.k[(size_t)l.slots[4] * kv_at + i] = test_f32_half(p.t, i % 2 == 0 ? -4 : 4);
      most += 16 * (double)p.scale;
    }
    assert_true(most > 9999);
    lct_k_tile tiles[MAX_TILES];
    int n_tiles = cut(&p, &l, 0, tiles);
    uint16_t *out = run(&p, &l, tiles, n_tiles);
    check(&p, &l, out, 1);
    free(out);
    free_layout(&l);
  }
}

/* All values equal to one number: so is the output, whatever the weights. */
static void test_equal_values(void **state) {
  (void)state;
  problem p = make(LCT_DTYPE_F16, 128, 8, 1);
  p.n_paths = 1;
  p.paths[0] = (span){120, 131};
  layout l = lay_out(&p);
  for (int i = 0; i < 131; i++) {
    for (size_t e = 0; e < 128; e++) l.v[(size_t)l.slots[i] * 128 + e] = test_f32_half(p.t, -60000.0f);
  }
  lct_k_tile tiles[MAX_TILES];
  int n_tiles = cut(&p, &l, 0, tiles);
  uint16_t *out = run(&p, &l, tiles, n_tiles);
  check(&p, &l, out, 1);
  free(out);
  free_layout(&l);
}

static void assert_same_rows(const problem *p, const layout *a, const uint16_t *x, const layout *b, const uint16_t *y) {
  size_t row = (size_t)p->s.n_heads * (size_t)p->s.head_dim;
  for (int i = 0; i < p->n_paths; i++) {
    for (int j = 0; j < p->paths[i].end - p->paths[i].pos0; j++) {
      assert_same_bits(x + (size_t)a->rows[a->rows0[i] + j] * row, y + (size_t)b->rows[b->rows0[i] + j] * row, row * 2);
    }
  }
}

/* One token a tile, tiles in reverse, tiles cut anywhere, other slots and rows: the same bits. */
static void test_company(void **state) {
  (void)state;
  for (int d = 0; d < N_DIMS; d++) {
    problem p = make(types[d % 2], dims[d], d == 1 ? 5 : 7, 1), other = p;
    p.scale *= 3;
    p.n_paths = other.n_paths = 2;
    p.paths[0] = (span){50, 75};
    p.paths[1] = (span){125, 130};
    other = p;
    other.places = 77;
    layout l = lay_out(&p), m = lay_out(&other);
    lct_k_tile tiles[MAX_TILES], reversed[MAX_TILES];
    int n = cut(&p, &l, 0, tiles);
    uint16_t *whole = run(&p, &l, tiles, n);
    for (uint32_t way = 1; way <= 4; way++) {
      int k = cut(&other, &m, way, reversed);
      if (way == 1) { /* one token a tile */
        k = 0;
        for (int i = 0; i < 2; i++) {
          for (int pos = p.paths[i].pos0; pos < p.paths[i].end; pos++) {
            reversed[k++] = (lct_k_tile){m.rows0[i] + pos - p.paths[i].pos0, 1, pos, m.slots0[i]};
          }
        }
      }
      for (int i = 0; i < k / 2; i++) {
        lct_k_tile x = reversed[i];
        reversed[i] = reversed[k - 1 - i];
        reversed[k - 1 - i] = x;
      }
      uint16_t *out = run(&other, &m, reversed, k);
      assert_same_rows(&p, &l, whole, &m, out);
      free(out);
    }
    free(whole);
    free_layout(&l);
    free_layout(&m);
  }
}

/* Queries 20 .. 63 next to queries 64 .. 83, for whose sake a key tile is walked over of which the former see nothing: it must leave no
 * trace. Many elements, because a trace would be a last bit of f32. */
static void test_masked_tiles(void **state) {
  (void)state;
  problem p = make(LCT_DTYPE_F16, 256, 1, 2);
  p.scale *= 2;
  p.n_paths = 1;
  p.paths[0] = (span){20, 84};
  layout l = lay_out(&p);
  const lct_k_tile whole = {l.rows0[0], 64, 20, l.slots0[0]};
  const lct_k_tile halves[2] = {{l.rows0[0], 44, 20, l.slots0[0]}, {l.rows0[0] + 44, 20, 64, l.slots0[0]}};
  uint16_t *a = run(&p, &l, &whole, 1), *b = run(&p, &l, halves, 2);
  assert_same_rows(&p, &l, a, &l, b);
  free(a);
  free(b);
  free_layout(&l);
}

static void test_refusals(void **state) {
  (void)state;
  lct_k_attn a = {.s = {8, 2, 80}, .scale = 1};
  assert_fails(lct_k_attention(LCT_DTYPE_F16, &a, NULL, 1, NULL, &err), LCT_E_UNSUPPORTED,
               "attention: head_dim 80; the GPU can do 32, 64, 96, 128, 256");
  a.s = (lct_k_heads){34, 2, 64};
  assert_fails(lct_k_attention(LCT_DTYPE_F16, &a, NULL, 1, NULL, &err), LCT_E_UNSUPPORTED,
               "attention: 34 heads, 2 KV heads; heads must be a multiple, at most 16 times as many");
  a.s.n_heads = 33;
  assert_int_equal(lct_k_attention(LCT_DTYPE_F16, &a, NULL, 1, NULL, &err), LCT_E_UNSUPPORTED);
  a.s = (lct_k_heads){8, 2, 64};
  assert_fails(lct_k_attention(LCT_DTYPE_F32, &a, NULL, 1, NULL, &err), LCT_E_UNSUPPORTED, "attention: queries must be f16 or bf16");
  a.scale = 0;
  assert_fails(lct_k_attention(LCT_DTYPE_F16, &a, NULL, 1, NULL, &err), LCT_E_UNSUPPORTED, "attention: scale 0 is not positive");
  a.scale = 1;
  assert_fails(lct_k_attention(LCT_DTYPE_F16, &a, NULL, INT32_MAX, NULL, &err), LCT_E_UNSUPPORTED,
               "attention: 2147483647 query tiles of 2 KV heads are too many for a launch");
  assert_ok(lct_k_attention(LCT_DTYPE_F16, &a, NULL, 0, NULL, &err));
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_groups),    cmocka_unit_test(test_lengths),      cmocka_unit_test(test_prompts),
      cmocka_unit_test(test_long_path), cmocka_unit_test(test_big_scores),   cmocka_unit_test(test_equal_values),
      cmocka_unit_test(test_company),   cmocka_unit_test(test_masked_tiles), cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
