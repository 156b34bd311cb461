/* The engine's invariants: a token's numbers do not depend on its company, on the number of threads, on how its prompt was cut
 * into passes. All of it bit for bit; what the numbers should be is test_parity's matter. */
#include "engine_test.h"

#define SEED 3
#define LONG 300

/* Token ids that do not repeat in an obvious way. */
static void fill_ids(int32_t *ids, int n, uint32_t seed) {
  for (int i = 0; i < n; i++) {
    uint32_t u = ((uint32_t)i + seed * 7919u) * 0x9E3779B9u;
    ids[i] = (int32_t)((u ^ (u >> 15)) % 600u);
  }
}

static void assert_same_row(const shown *a, int row_a, const shown *b, int row_b, lct_source s, int layer) {
  for (int h = 0; h < shown_heads(a, s); h++) {
    int width = 0, width_b = 0;
    const float *x = shown_row(a, s, layer, row_a, h, &width), *y = shown_row(b, s, layer, row_b, h, &width_b);
    assert_int_equal(width, width_b);
    if (memcmp(x, y, (size_t)width * sizeof *x) == 0) continue;
    for (int i = 0; i < width; i++) {
      if (memcmp(x + i, y + i, sizeof *x) == 0) continue;
      fail_msg("%s layer %d head %d, rows %d and %d, element %d: %.9g and %.9g", lct_source_name(s), layer, h, row_a, row_b, i,
               (double)x[i], (double)y[i]);
    }
  }
}

/* Rows row_a of a and row_b of b agree in every tap. */
static void assert_same_token(const shown *a, int row_a, const shown *b, int row_b) {
  for (int s = 0; s < LCT_N_SOURCES; s++) {
    int n_layers = lct_source_is_global((lct_source)s) ? 1 : a->c->n_layers;
    for (int l = 0; l < n_layers; l++) assert_same_row(a, row_a, b, row_b, (lct_source)s, l);
  }
}

/* The prompts of these tests: a conversation's prefixes, branches off it, and strangers. */
#define N_PROMPTS 12
typedef struct {
  int32_t ids[N_PROMPTS][LONG];
  const int32_t *p[N_PROMPTS];
  int32_t n[N_PROMPTS];
} prompts;

static prompts *make_prompts(void) {
  static const struct {
    int n, shared; /* with the trunk */
    uint32_t seed;
  } table[N_PROMPTS] = {{300, 300, 0}, {1, 1, 0},    {2, 2, 0},    {63, 63, 0},   {64, 64, 0}, {65, 65, 0},
                        {130, 64, 1},  {140, 97, 2}, {103, 97, 3}, {233, 230, 4}, {230, 0, 5}, {7, 0, 6}};
  prompts *p = checked_calloc(1, sizeof *p);
  for (int i = 0; i < N_PROMPTS; i++) {
    fill_ids(p->ids[i], table[i].n, table[i].seed);
    fill_ids(p->ids[i], table[i].shared, 0);
    p->p[i] = p->ids[i];
    p->n[i] = table[i].n;
  }
  return p;
}

/* Every prompt of `list` as part of one plan, against the same prompt run alone by `other`. */
static void check_company(lct_engine *e, lct_engine *other, const prompts *p, const int *list, int n_list) {
  const int32_t *ids[N_PROMPTS];
  int32_t n[N_PROMPTS];
  for (int i = 0; i < n_list; i++) {
    ids[i] = p->p[list[i]];
    n[i] = p->n[list[i]];
  }
  lct_plan *together = plan_of(ids, n, n_list, 1 << 20);
  assert_int_equal(lct_plan_n_batches(together), 1);
  shown all = run_all(e, lct_plan_batch(together, 0), NULL);
  for (int i = 0; i < n_list; i++) {
    lct_plan *alone = plan_of(&ids[i], &n[i], 1, 1 << 20);
    shown one = run_all(other, lct_plan_batch(alone, 0), NULL);
    for (int pos = 0; pos < n[i]; pos++) assert_same_token(&all, lct_plan_seq_row(together, i, pos), &one, pos);
    shown_free(&one);
    lct_plan_free(alone);
  }
  shown_free(&all);
  lct_plan_free(together);
}

static void check_trie(const char *like, lct_precision precision) {
  static const int everyone[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, few[] = {8, 7, 11}, one[] = {9};
  tiny t = tiny_make(like, SEED);
  prompts *p = make_prompts();
  lct_engine *e1 = open_engine(t.model, precision, 1), *e2 = open_engine(t.model, precision, 2);
  check_company(e2, e1, p, everyone, N_PROMPTS);
  check_company(e1, e2, p, few, 3);
  check_company(e1, e2, p, one, 1);
  lct_engine_free(e1);
  lct_engine_free(e2);
  free(p);
  tiny_remove(&t);
}

static void test_trie_first(void **state) {
  (void)state;
  check_trie("tiny-qwen2", TEST_FIRST);
  check_trie("tiny-qwen3", TEST_FIRST);
  check_trie("tiny-llama", TEST_FIRST);
}

static void test_trie_second(void **state) {
  (void)state;
  check_trie("tiny-qwen2", TEST_SECOND);
  check_trie("tiny-qwen3", TEST_SECOND);
}

/* More rows than the MLP's and the head's blocks hold, more positions than the first rope table, and the engine's buffers growing
 * between passes: one source is enough to see it. */
static void test_long_and_wide(void **state) {
  (void)state;
  enum { N = 30, LENGTH = 40, TRUNK = 1100 };
  static int32_t ids[N + 1][TRUNK];
  const int32_t *p[N + 1];
  int32_t n[N + 1];
  for (int i = 0; i <= N; i++) {
    n[i] = i < N ? LENGTH : TRUNK;
    fill_ids(ids[i], n[i], (uint32_t)i + 10);
    p[i] = ids[i];
  }
  tiny t = tiny_make("tiny-qwen2", SEED);
  lct_error err;
  for (int threads = 1; threads <= TEST_THREADS; threads++) {
    lct_engine *e = open_engine(t.model, TEST_FIRST, threads);
    lct_plan *together = plan_of(p, n, N + 1, 1 << 20);
    shown runs[N + 2];
    lct_plan *plans[N + 2];
    for (int i = 0; i < N + 2; i++) { /* 7 alone, all together, then everyone alone */
      plans[i] = i == 1 ? together : plan_of(&p[i == 0 ? 7 : i - 1], &n[i == 0 ? 7 : i - 1], 1, 1 << 20);
      const lct_batch *b = lct_plan_batch(plans[i], 0);
      runs[i] = shown_new(&t.model->config, b);
      lct_taker taker = shown_taker(&runs[i], LCT_SOURCE_BIT(LCT_SOURCE_LOGITS) | LCT_SOURCE_BIT(LCT_SOURCE_MLP_ACT));
      assert_ok(run_shown(e, b, NULL, &taker, &err));
    }
    for (int i = 0; i < N + 2; i++) {
      int seq = i == 0 ? 7 : i - 1;
      for (int pos = 0; i != 1 && pos < n[seq]; pos++) {
        int row = lct_plan_seq_row(together, seq, pos);
        assert_same_row(&runs[1], row, &runs[i], pos, LCT_SOURCE_LOGITS, 0);
        assert_same_row(&runs[1], row, &runs[i], pos, LCT_SOURCE_MLP_ACT, 3);
      }
    }
    for (int i = 0; i < N + 2; i++) {
      shown_free(&runs[i]);
      lct_plan_free(plans[i]);
    }
    lct_engine_free(e);
  }
  tiny_remove(&t);
}

/* A batch of one segment: rows [from, from + n) of ids at slots kv0.., seeing `ranges` before them. */
typedef struct {
  lct_segment seg;
  lct_batch batch;
  int32_t positions[LONG];
} piece;

static void make_piece(piece *x, const int32_t *ids, int from, int n, int kv0, const lct_kv_range *ranges, int n_ranges, int n_slots) {
  for (int i = 0; i < n; i++) x->positions[i] = from + i;
  x->seg = (lct_segment){.row0 = 0, .n_rows = n, .pos0 = from, .kv0 = kv0, .n_ranges = n_ranges, .ranges = ranges};
  x->batch =
      (lct_batch){.n_rows = n, .n_segments = 1, .n_slots = n_slots, .tokens = ids + from, .positions = x->positions, .segments = &x->seg};
}

/* A prompt in three passes over a KV cache, its keys scattered over the slots, against one pass. */
static void check_pieces(lct_engine *e, const int32_t *ids, int first, int second, int n) {
  lct_error err;
  lct_kv *kv = NULL;
  int n_slots = 2 * n + 50;
  assert_ok(lct_kv_new(e, n_slots, &kv, &err));
  const lct_kv_range ranges[] = {{n + 20, first}, {3, second}};
  static piece whole, parts[3];
  make_piece(&whole, ids, 0, n, 0, NULL, 0, n);
  make_piece(&parts[0], ids, 0, first, n + 20, NULL, 0, n_slots);
  make_piece(&parts[1], ids, first, second, 3, ranges, 1, n_slots);
  make_piece(&parts[2], ids, first + second, n - first - second, second + 9, ranges, 2, n_slots);
  shown fresh = run_all(e, &whole.batch, NULL);
  for (int i = 0, pos = 0; i < 3; i++) {
    shown part = run_all(e, &parts[i].batch, kv);
    for (int r = 0; r < parts[i].batch.n_rows; r++, pos++) assert_same_token(&fresh, pos, &part, r);
    shown_free(&part);
  }
  shown_free(&fresh);
  lct_kv_free(e, kv);
}

static void test_prefill_over_kept_keys(void **state) {
  (void)state;
  static const int cuts[][3] = {{1, 1, 3}, {63, 1, 70}, {64, 64, 140}, {100, 37, 300}, {5, 250, 256}};
  int32_t ids[LONG];
  fill_ids(ids, LONG, 0);
  for (int model = 0; model < 2; model++) {
    tiny t = tiny_make(model == 0 ? "tiny-qwen2" : "tiny-qwen3", SEED);
    for (int mode = 0; mode < 2 * TEST_THREADS; mode++) {
      lct_engine *e = open_engine(t.model, mode < TEST_THREADS ? TEST_FIRST : TEST_SECOND, 1 + mode % TEST_THREADS);
      for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) check_pieces(e, ids, cuts[i][0], cuts[i][1], cuts[i][2]);
      lct_engine_free(e);
    }
    tiny_remove(&t);
  }
}

/* A decode pass of n sequences of different lengths, all over keys of one trunk. */
typedef struct {
  lct_kv_range ranges[8];
  lct_segment segments[8];
  lct_batch batch;
} step;

static shown decode(step *d, lct_engine *e, lct_kv *kv, const int32_t *tokens, const int32_t *seen, int n, int kv0) {
  for (int i = 0; i < n; i++) {
    d->ranges[i] = (lct_kv_range){0, seen[i]};
    d->segments[i] = (lct_segment){.row0 = i, .n_rows = 1, .pos0 = seen[i], .kv0 = kv0 + i, .n_ranges = 1, .ranges = &d->ranges[i]};
  }
  d->batch = (lct_batch){.n_rows = n,
                         .n_segments = n,
                         .n_slots = kv0 + n,
                         .decode = true,
                         .tokens = tokens,
                         .positions = seen,
                         .segments = d->segments};
  return run_all(e, &d->batch, kv);
}

/* Sequences decoded together, again, and each alone. */
static void check_decode(lct_engine *e) {
  static const int32_t tokens[] = {5, 17, 5, 599, 0, 300, 44}, seen[] = {1, 64, 64, 65, 150, 199, 200};
  enum { N = 7, TRUNK = 200 };
  static piece trunk;
  static step together, repeated, single;
  int32_t ids[LONG];
  lct_error err;
  lct_kv *kv = NULL;
  fill_ids(ids, TRUNK, 0);
  assert_ok(lct_kv_new(e, TRUNK + 2 * N, &kv, &err));
  make_piece(&trunk, ids, 0, TRUNK, 0, NULL, 0, TRUNK);
  assert_ok(lct_pass_run(e, &(lct_pass){.batch = &trunk.batch, .kv = kv}, &err));
  shown all = decode(&together, e, kv, tokens, seen, N, TRUNK);
  shown again = decode(&repeated, e, kv, tokens, seen, N, TRUNK + N);
  for (int i = 0; i < N; i++) {
    shown alone = decode(&single, e, kv, tokens + i, seen + i, 1, TRUNK + i);
    assert_same_token(&all, i, &again, i);
    assert_same_token(&all, i, &alone, 0);
    shown_free(&alone);
  }
  shown_free(&again);
  shown_free(&all);
  lct_kv_free(e, kv);
}

static void test_decode(void **state) {
  (void)state;
  tiny t = tiny_make("tiny-qwen2", SEED);
  for (int mode = 0; mode < 2 * TEST_THREADS; mode++) {
    lct_engine *e = open_engine(t.model, mode < TEST_THREADS ? TEST_FIRST : TEST_SECOND, 1 + mode % TEST_THREADS);
    check_decode(e);
    lct_engine_free(e);
  }
  tiny_remove(&t);
}

/* Softmax rows: they sum to one, and nothing stands behind the diagonal. */
static void test_attention_weights(void **state) {
  (void)state;
  tiny t = tiny_make("tiny-qwen3", SEED);
  prompts *p = make_prompts();
  lct_engine *e = open_engine(t.model, TEST_FIRST, 2);
  lct_plan *plan = plan_of(p->p, p->n, N_PROMPTS, 1 << 20);
  const lct_batch *b = lct_plan_batch(plan, 0);
  shown k = run_all(e, b, NULL);
  for (int i = 0; i < b->n_segments; i++) {
    const lct_segment *s = &b->segments[i];
    int keys = s->pos0 + s->n_rows;
    for (int r = 0; r < s->n_rows * k.c->n_heads; r++) {
      const float *w = k.attn[b->n_segments + i] + (size_t)r * (size_t)keys;
      double sum = 0;
      for (int j = 0; j < keys; j++) {
        sum += (double)w[j];
        bool future = j > s->pos0 + r % s->n_rows;
        if (future && w[j] != 0.0f) fail_msg("segment %d row %d: weight %g on key %d", i, r, (double)w[j], j);
      }
      assert_true(fabs(sum - 1) < 1e-5);
    }
  }
  shown_free(&k);
  lct_plan_free(plan);
  lct_engine_free(e);
  free(p);
  tiny_remove(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_trie_first),    cmocka_unit_test(test_trie_second),
      cmocka_unit_test(test_long_and_wide), cmocka_unit_test(test_prefill_over_kept_keys),
      cmocka_unit_test(test_decode),        cmocka_unit_test(test_attention_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
