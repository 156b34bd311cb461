/* The lists that attention works from (cuda/attention_work.c), expanded again and compared with what a batch means: each row in just one
 * tile, with its position and the slots of its path. */
#include "attention_batch.h"

typedef struct {
  lct_k_tile *tiles;
  lct_k_token *tokens;
  int32_t *rows, *parts, *slots;
  size_t n_slots;
} lists;

static void *fetch(const void *d, size_t bytes) {
  void *p = malloc(bytes + 1);
  assert_non_null(p);
  CUDA_OK(cudaDeviceSynchronize());
  CUDA_OK(cudaMemcpy(p, d, bytes, cudaMemcpyDeviceToHost));
  return p;
}

/* The slots lie behind everything else, in one allocation. */
static lists fetch_lists(const lct_attn_work *w, size_t n_rows, size_t n_slots) {
  lists l = {.n_slots = n_slots};
  if (w->decode) {
    l.tokens = fetch(w->tokens, (size_t)w->n_tokens * sizeof *l.tokens);
    l.parts = fetch(w->part_token, (size_t)w->n_parts * sizeof *l.parts);
  } else {
    l.tiles = fetch(w->tiles, (size_t)w->n_tiles * sizeof *l.tiles);
    l.rows = fetch(w->rows, n_rows * sizeof *l.rows);
  }
  assert_true((const char *)(w->slots + n_slots) <= (const char *)w->lists.p + w->lists.bytes);
  l.slots = fetch(w->slots, n_slots * sizeof *l.slots);
  return l;
}

static void free_lists(lists *l) {
  void *all[] = {l->tiles, l->tokens, l->rows, l->parts, l->slots};
  for (int i = 0; i < 5; i++) free(all[i]);
}

/* Checks the prefill lists; returns the number of tiles. */
static int check_prefill(const lct_backend *be, const lct_batch *b, int tile_tokens) {
  const lct_attn_work *w = &be->work;
  assert_false(w->decode);
  size_t n_slots = 0;
  lct_k_tile *tiles = fetch(w->tiles, (size_t)w->n_tiles * sizeof *tiles);
  for (int t = 0; t < w->n_tiles; t++) {
    size_t end = (size_t)(tiles[t].slots0 + tiles[t].pos0 + tiles[t].n_tokens);
    if (end > n_slots) n_slots = end;
  }
  free(tiles);
  lists l = fetch_lists(w, (size_t)b->n_rows, n_slots);
  int32_t *segment = segment_of_rows(b);
  int *seen = calloc((size_t)b->n_rows, sizeof *seen);
  assert_non_null(seen);
  for (int t = 0; t < w->n_tiles; t++) {
    const lct_k_tile *tile = &l.tiles[t];
    assert_in_range(tile->n_tokens, 1, tile_tokens);
    assert_int_equal(tile->pos0 / tile_tokens, (tile->pos0 + tile->n_tokens - 1) / tile_tokens);
    for (int32_t i = 0; i < tile->n_tokens; i++) {
      assert_in_range(tile->row0 + i, 0, b->n_rows - 1);
      int32_t row = l.rows[tile->row0 + i];
      assert_in_range(row, 0, b->n_rows - 1);
      seen[row]++;
      assert_int_equal(b->positions[row], tile->pos0 + i);
      for (int32_t pos = 0; pos <= tile->pos0 + i; pos++) {
        assert_int_equal(l.slots[tile->slots0 + pos], slot_of(&b->segments[segment[row]], pos));
      }
    }
  }
  for (int32_t i = 0; i < b->n_rows; i++) assert_int_equal(seen[i], 1);
  free(seen);
  free(segment);
  free_lists(&l);
  return w->n_tiles;
}

static void check_decode(const lct_backend *be, const lct_batch *b, const lct_attn_shape *s) {
  const lct_attn_work *w = &be->work;
  assert_true(w->decode);
  assert_int_equal(w->n_tokens, b->n_segments);
  size_t n_slots = 0;
  for (int32_t i = 0; i < b->n_segments; i++) n_slots += (size_t)b->segments[i].pos0 + 1;
  lists l = fetch_lists(w, 0, n_slots);
  int32_t part = 0;
  for (int32_t i = 0; i < b->n_segments; i++) {
    const lct_segment *seg = &b->segments[i];
    const lct_k_token *t = &l.tokens[i];
    assert_int_equal(t->row, seg->row0);
    assert_int_equal(t->n_keys, seg->pos0 + 1);
    assert_int_equal(t->part0, part);
    assert_int_equal(t->n_parts, (t->n_keys + LCT_ATTN_SPLIT - 1) / LCT_ATTN_SPLIT);
    for (int32_t p = 0; p < t->n_parts; p++) assert_int_equal(l.parts[part++], i);
    for (int32_t pos = 0; pos < t->n_keys; pos++) assert_int_equal(l.slots[t->slots0 + pos], slot_of(seg, pos));
  }
  assert_int_equal(w->n_parts, part);
  assert_true(w->partial.bytes >= (size_t)part * (size_t)s->n_heads * (size_t)(s->head_dim + 2) * sizeof(float));
  free_lists(&l);
}

static void test_random_plans(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  for (uint32_t seed = 1; seed <= 60; seed++) {
    int group = 1 + (int)(seed % 16), most = 20 + (int)(seed % 7) * 25;
    lct_attn_shape s = {2 * group, 2, 64, 0.125f};
    lct_plan *plan = random_plan(seed, 1 + (int)(seed % 23), most, 1 + (int)(test_hash(seed, 7) % 400));
    for (int32_t i = 0; i < lct_plan_n_batches(plan); i++) {
      assert_ok(lct_cuda_begin_batch(be, lct_plan_batch(plan, i), &s, &err));
      (void)check_prefill(be, lct_plan_batch(plan, i), LCT_ATTN_ROWS / group);
    }
    lct_plan_free(plan);
  }
  close_backend(be);
}

/* The trunk, cut into 20 segments by its branches, is one chain: its tiles are those of one run of tokens. */
static void test_trunk_is_one_chain(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {16, 2, 64, 0.125f};
  lct_plan *plan = NULL;
  assert_ok(lct_plan_new(&plan, &err));
  add_conversation(plan, 0, 700, 35);
  add_conversation(plan, 1000, 350, 35);
  assert_ok(lct_plan_build(plan, 10000, &err));
  const lct_batch *b = lct_plan_batch(plan, 0);
  assert_true(b->n_segments > 50);
  assert_ok(lct_cuda_begin_batch(be, b, &s, &err));
  int tiles = check_prefill(be, b, 8), want = (703 + 7) / 8 + (353 + 7) / 8; /* the last stub continues its trunk */
  for (int end = 35; end < 700; end += 35) {
    int cuts = (end + 2) / 8 - end / 8 + 1;
    want += end < 350 ? 2 * cuts : cuts;
  }
  assert_int_equal(tiles, want);
  lct_k_tile *t = fetch(be->work.tiles, (size_t)tiles * sizeof *t);
  for (int i = 1; i < tiles; i++) { /* longest first, in units of key tiles */
    assert_true((t[i].pos0 + t[i].n_tokens - 1) / LCT_ATTN_KEYS <= (t[i - 1].pos0 + t[i - 1].n_tokens - 1) / LCT_ATTN_KEYS);
  }
  free(t);
  lct_plan_free(plan);
  close_backend(be);
}

/* Many rows: tiles are ordered in sets, and every row still comes once. */
static void test_large_batch(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {14, 2, 64, 0.125f};
  lct_plan *plan = NULL;
  assert_ok(lct_plan_new(&plan, &err));
  for (int i = 0; i < 60; i++) add_conversation(plan, 10000 * (i + 1), i == 40 ? 900 : 300, 100);
  assert_ok(lct_plan_build(plan, 100000, &err));
  const lct_batch *b = lct_plan_batch(plan, 0);
  assert_true(b->n_rows > 2 * 8192);
  assert_ok(lct_cuda_begin_batch(be, b, &s, &err));
  (void)check_prefill(be, b, 9);
  lct_k_tile first;
  CUDA_OK(cudaMemcpy(&first, be->work.tiles, sizeof first, cudaMemcpyDeviceToHost));
  assert_int_equal((first.pos0 + first.n_tokens - 1) / LCT_ATTN_KEYS, 902 / LCT_ATTN_KEYS);
  lct_plan_free(plan);
  close_backend(be);
}

/* Batches that no plan makes: ranges cut where they need not be, empty ones, a segment that ends in its neighbour's slot but on another
 * path, slots far beyond n_slots. */
static void test_odd_segments(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {8, 1, 64, 0.125f};
  const int32_t positions[] = {0, 1, 2, 3, 4, 5, 6, 7, 4, 5}, tokens[10] = {0};
  const lct_kv_range parent_path[] = {{50, 1}, {90, 0}, {51, 3}}, child_path[] = {{50, 2}, {52, 2}, {10, 0}, {10, 2}, {12, 1}};
  const lct_kv_range whole[] = {{40, 4}};
  /* rows 0..3: an own path; 4..6 behind foreign slots 50..53; 7 continues them; 8, 9 begin behind slot 43, which is row 3's */
  lct_segment segments[] = {{.row0 = 0, .n_rows = 4, .pos0 = 0, .kv0 = 40},
                            {.row0 = 4, .n_rows = 3, .pos0 = 4, .kv0 = 10, .n_ranges = 3, .ranges = parent_path},
                            {.row0 = 7, .n_rows = 1, .pos0 = 7, .kv0 = 1000, .n_ranges = 5, .ranges = child_path},
                            {.row0 = 8, .n_rows = 2, .pos0 = 4, .kv0 = 20, .n_ranges = 1, .ranges = whole}};
  lct_batch b = {.n_rows = 10, .n_segments = 4, .n_slots = 1, .tokens = tokens, .positions = positions, .segments = segments};
  assert_ok(lct_cuda_begin_batch(be, &b, &s, &err));
  assert_int_equal(check_prefill(be, &b, 8), 2); /* rows 0..3 and 8, 9; rows 4..7 */
  const lct_kv_range other[] = {{39, 1}, {41, 3}};
  segments[3].ranges = other; /* ends in slot 43 as well, begins elsewhere */
  segments[3].n_ranges = 2;
  assert_ok(lct_cuda_begin_batch(be, &b, &s, &err));
  assert_int_equal(check_prefill(be, &b, 8), 3);
  b.decode = true; /* more than one row a segment: not the decoding kernel's */
  assert_ok(lct_cuda_begin_batch(be, &b, &s, &err));
  assert_int_equal(check_prefill(be, &b, 8), 3);
  segments[3].n_ranges = 1;
  assert_fails(lct_cuda_begin_batch(be, &b, &s, &err), LCT_E_INTERNAL, "a segment at position 4 has ancestors of 1 rows");
  assert_int_equal(be->work.n_tiles, 0);
  s.n_heads = 17;
  assert_fails(lct_cuda_begin_batch(be, &b, &s, &err), LCT_E_UNSUPPORTED,
               "attention: 17 heads, 1 KV heads; heads must be a multiple, at most 16 times as many");
  close_backend(be);
}

static void test_decode_lists(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  for (uint32_t seed = 1; seed <= 20; seed++) {
    int n = 1 + (int)(seed % 9);
    lct_attn_shape s = {8, 2, 64, 0.125f};
    lct_plan *plan = random_plan(seed + 100, n, 30 + (int)seed * 30, 1 << 20);
    lct_batch b;
    decode_batch(plan, n, lct_plan_batch(plan, 0)->n_rows, (int)(seed % 4), &b);
    assert_ok(lct_cuda_begin_batch(be, &b, &s, &err));
    check_decode(be, &b, &s);
    free_decode_batch(&b);
    lct_plan_free(plan);
  }
  close_backend(be);
}

/* Keys of exactly one part, one more, one less. */
static void test_decode_parts(void **state) {
  (void)state;
  lct_backend *be = open_backend(LCT_DTYPE_F16);
  lct_attn_shape s = {4, 4, 64, 0.125f};
  const int32_t keys[] = {1, LCT_ATTN_SPLIT - 1, LCT_ATTN_SPLIT, LCT_ATTN_SPLIT + 1, 2 * LCT_ATTN_SPLIT, 4 * LCT_ATTN_SPLIT + 1};
  lct_kv_range ranges[6];
  lct_segment segments[6];
  int32_t positions[6];
  for (int i = 0; i < 6; i++) {
    positions[i] = keys[i] - 1;
    ranges[i] = (lct_kv_range){2000 * i, positions[i]};
    segments[i] =
        (lct_segment){.row0 = 5 - i, .n_rows = 1, .pos0 = positions[i], .kv0 = 2000 * i + 1500, .n_ranges = i > 0, .ranges = &ranges[i]};
  }
  const lct_batch b =
      {.n_rows = 6, .n_segments = 6, .n_slots = 12000, .decode = true, .tokens = positions, .positions = positions, .segments = segments};
  assert_ok(lct_cuda_begin_batch(be, &b, &s, &err));
  check_decode(be, &b, &s);
  close_backend(be);
}

int main(void) {
  test_need_gpu();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_plans), cmocka_unit_test(test_trunk_is_one_chain), cmocka_unit_test(test_large_batch),
      cmocka_unit_test(test_odd_segments), cmocka_unit_test(test_decode_lists),       cmocka_unit_test(test_decode_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
