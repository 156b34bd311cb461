/* The lists that attention works from (cuda/attention_work.c), expanded again and compared with what a batch means: every row in exactly one
 * tile, with its position and the slots of its path. Then attention itself through them: a conversation alone and in company. */
#include "attention_reference.h"
#include "internal.h"

static lct_error err;

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
  free(l->tiles);
  free(l->tokens);
  free(l->rows);
  free(l->parts);
  free(l->slots);
}

/* Slot of position pos of the path of segment s, by its definition. */
static int32_t slot_of(const lct_segment *s, int32_t pos) {
  if (pos >= s->pos0) return s->kv0 + pos - s->pos0;
  for (int32_t r = 0; r < s->n_ranges; r++) {
    if (pos < s->ranges[r].n) return s->ranges[r].first + pos;
    pos -= s->ranges[r].n;
  }
  return -1;
}

/* (n_rows): the segment of each row */
static int32_t *segment_of_rows(const lct_batch *b) {
  int32_t *of = malloc((size_t)(b->n_rows + 1) * sizeof *of);
  assert_non_null(of);
  for (int32_t i = 0; i < b->n_segments; i++) {
    for (int32_t k = 0; k < b->segments[i].n_rows; k++) of[b->segments[i].row0 + k] = i;
  }
  return of;
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

/* The part of a backend that the lists need. */
static lct_backend *open_backend(lct_dtype t) {
  lct_backend *be = calloc(1, sizeof *be);
  assert_non_null(be);
  be->t = t;
  CUDA_OK(cudaStreamCreateWithFlags(&be->stream, cudaStreamNonBlocking));
  return be;
}

static void close_backend(lct_backend *be) {
  CUDA_OK(cudaStreamSynchronize(be->stream));
  lct_cuda_work_free(&be->work);
  assert_null(be->work.lists.p);
  CUDA_OK(cudaStreamDestroy(be->stream));
  free(be);
}

/* n sequences, many of them beginning like one before. */
static lct_plan *random_plan(uint32_t seed, int n, int most, int max_rows) {
  lct_plan *plan = NULL;
  int32_t *ids = malloc((size_t)(n * most) * sizeof *ids), *length = calloc((size_t)n, sizeof *length), seq = 0;
  assert_non_null(ids);
  assert_non_null(length);
  assert_ok(lct_plan_new(&plan, &err));
  for (int i = 0; i < n; i++) {
    uint32_t at = (uint32_t)i * 1000;
    int shared = 0;
    if (i > 0 && test_hash(seed, at) % 4 != 0) {
      int from = (int)(test_hash(seed, at + 1) % (uint32_t)i);
      shared = (int)(test_hash(seed, at + 2) % (uint32_t)(length[from] + 1));
      memcpy(ids + i * most, ids + from * most, (size_t)shared * sizeof *ids);
    }
    length[i] = shared + (int)(test_hash(seed, at + 3) % (uint32_t)(most - shared + 1));
    if (length[i] == 0) length[i] = 1;
    for (int k = shared; k < length[i]; k++) ids[i * most + k] = (int32_t)(test_hash(seed, at + 10 + (uint32_t)k) % 3);
    assert_ok(lct_plan_add(plan, ids + i * most, (size_t)length[i], &seq, &err));
  }
  assert_ok(lct_plan_build(plan, max_rows, &err));
  free(ids);
  free(length);
  return plan;
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

/* A conversation: a trunk of n tokens with a stub of three tokens behind every `step` of them. */
static void add_conversation(lct_plan *plan, int32_t first, int n, int step) {
  int32_t *ids = malloc((size_t)(n + 3) * sizeof *ids), seq = 0;
  assert_non_null(ids);
  for (int end = step; end <= n; end += step) {
    for (int i = 0; i < end; i++) ids[i] = first + i;
    for (int i = 0; i < 3; i++) ids[end + i] = 9000 + i;
    assert_ok(lct_plan_add(plan, ids, (size_t)end + 3, &seq, &err));
  }
  free(ids);
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

/* Every sequence of a plan one token further; behind its prompt `made` tokens that were generated before. */
static void decode_batch(const lct_plan *plan, int n, int32_t kv_base, int made, lct_batch *b) {
  lct_segment *segments = calloc((size_t)n, sizeof *segments);
  int32_t *positions = calloc((size_t)n, sizeof *positions);
  assert_non_null(segments);
  assert_non_null(positions);
  for (int i = 0; i < n; i++) {
    int32_t n_ranges = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(plan, i, &n_ranges);
    lct_kv_range *ranges = calloc((size_t)n_ranges + 1, sizeof *ranges);
    assert_non_null(ranges);
    memcpy(ranges, path, (size_t)n_ranges * sizeof *ranges);
    if (made > 0) ranges[n_ranges++] = (lct_kv_range){kv_base + i * (made + 1), made};
    positions[i] = lct_plan_seq_len(plan, i) + made;
    segments[i] = (lct_segment){.row0 = i, .n_rows = 1, .pos0 = positions[i], .kv0 = kv_base + i * (made + 1) + made,
                                .n_ranges = n_ranges, .ranges = ranges};
  }
  *b = (lct_batch){.n_rows = n, .n_segments = n, .n_slots = kv_base + n * (made + 1), .decode = true, .tokens = positions,
                   .positions = positions, .segments = segments};
}

static void free_decode_batch(lct_batch *b) {
  for (int32_t i = 0; i < b->n_segments; i++) free((void *)(uintptr_t)b->segments[i].ranges);
  free((void *)(uintptr_t)b->segments);
  free((void *)(uintptr_t)b->positions);
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
  test_release(&p->dq);
  test_release(&p->dk);
  test_release(&p->dv);
  test_release(&p->dout);
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
  return (reference_row){be->t,     (int)dim,    pos + 1, p->s.scale, p->q + ((size_t)row * (size_t)p->s.n_heads + (size_t)h) * dim,
                         p->k + kv, p->v + kv, (int64_t)p->s.n_kv_heads * p->s.head_dim, slots};
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
      cmocka_unit_test(test_random_plans),  cmocka_unit_test(test_trunk_is_one_chain),      cmocka_unit_test(test_large_batch),
      cmocka_unit_test(test_odd_segments),  cmocka_unit_test(test_decode_lists),            cmocka_unit_test(test_conversation_in_company),
      cmocka_unit_test(test_decode_attention), cmocka_unit_test(test_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
