/* What attention is to do for a batch: query tiles with their rows and paths (prefill), or tokens and parts (decode). Made on the host
 * once a pass, in one upload; every layer uses it.
 *
 * Prefill. The branches of a trie cut its trunk into many short segments, each of which would waste most of a query tile. So segments are
 * joined into chains: a segment belongs to its parent's chain when, of the parent's children, the most rows can follow through it. A
 * chain is one run of queries with one path. The parent is found through the slot before the segment's first position: the segment of
 * this batch that ends in that slot, if their paths agree. All of it costs O(rows + segments + ranges + slots listed). */
#include <stdlib.h>

#include "internal.h"

/* The tiles of so many rows are ordered together: enough to fill a GPU several times over with the longest paths first, few
 * enough that their keys and values (1 to 4 KiB a row) stay in its L2 cache while tiles of the same conversations read them again. */
#define SET_ROWS 8192

typedef struct {
  const lct_batch *batch;
  int tile_tokens; /* 64 / group */
  int32_t *parent; /* (n_segments) the segment of this batch that a segment continues, or -1 */
  int32_t *next;   /* (n_segments) the next segment of the same chain, or -1 */
  size_t n_tiles, n_rows, n_slots;
} chains;

typedef struct {
  lct_k_tile tile;
  int32_t set, longest, n_key_tiles, number; /* longest: of its set */
} ordered_tile;

static int32_t last_slot(const lct_segment *s) { return s->kv0 + s->n_rows - 1; }

/* The slot of position pos0 - 1; -1 for a root. */
static int32_t slot_before(const lct_segment *s) {
  if (s->n_ranges == 0) return -1;
  const lct_kv_range *r = &s->ranges[s->n_ranges - 1];
  return r->first + r->n - 1;
}

/* Whether s sees exactly the path of p and p's own rows, however the two cut it into ranges. */
static bool continues(const lct_segment *s, const lct_segment *p) {
  if (s->pos0 != p->pos0 + p->n_rows) return false;
  const lct_kv_range own = {p->kv0, p->n_rows};
  int32_t i = 0, j = 0, i_used = 0, j_used = 0;
  while (i < s->n_ranges && j <= p->n_ranges) {
    const lct_kv_range *a = &s->ranges[i], *b = j < p->n_ranges ? &p->ranges[j] : &own;
    int32_t a_left = a->n - i_used, b_left = b->n - j_used, n = a_left < b_left ? a_left : b_left;
    if (n > 0 && a->first + i_used != b->first + j_used) return false;
    i_used = n == a_left ? 0 : i_used + n;
    j_used = n == b_left ? 0 : j_used + n;
    i += n == a_left;
    j += n == b_left;
  }
  return i == s->n_ranges && j > p->n_ranges;
}

/* One more than the largest slot in which a segment ends or behind which one begins. */
static size_t n_end_slots(const lct_batch *batch) {
  int32_t most = -1;
  for (int32_t i = 0; i < batch->n_segments; i++) {
    int32_t before = slot_before(&batch->segments[i]), last = last_slot(&batch->segments[i]);
    if (before > most) most = before;
    if (last > most) most = last;
  }
  return (size_t)(most + 1);
}

/* owner (n_end_slots): scratch, only entries that are looked up are ever set. Parents come before their children. */
static void find_parents(chains *c, int32_t *owner) {
  const lct_segment *segments = c->batch->segments;
  int n = c->batch->n_segments;
  for (int i = 0; i < n; i++) {
    int32_t slot = slot_before(&segments[i]);
    if (slot >= 0) owner[slot] = -1;
  }
  for (int i = 0; i < n; i++) {
    int32_t slot = slot_before(&segments[i]), parent = slot >= 0 ? owner[slot] : -1;
    c->parent[i] = parent >= 0 && continues(&segments[i], &segments[parent]) ? parent : -1;
    owner[last_slot(&segments[i])] = i;
  }
}

/* rows (n_segments): scratch, the most rows that can be run through from a segment on. */
static void choose_next(chains *c, int32_t *rows) {
  const lct_segment *segments = c->batch->segments;
  int n = c->batch->n_segments;
  for (int i = 0; i < n; i++) {
    c->next[i] = -1;
    rows[i] = segments[i].n_rows;
  }
  for (int i = n - 1; i >= 0; i--) {
    int32_t parent = c->parent[i];
    if (parent < 0 || segments[parent].n_rows + rows[i] < rows[parent]) continue;
    rows[parent] = segments[parent].n_rows + rows[i]; /* of equals the first, which comes last here */
    c->next[parent] = i;
  }
}

static bool starts_chain(const chains *c, int i) { return c->parent[i] < 0 || c->next[c->parent[i]] != i; }

static lct_status check_path(const lct_segment *s, lct_error *err) {
  int64_t covered = 0;
  for (int32_t r = 0; r < s->n_ranges; r++) covered += s->ranges[r].n;
  if (covered == s->pos0) return LCT_OK;
  return lct_fail(err, LCT_E_INTERNAL, "a segment at position %d has ancestors of %lld rows", s->pos0, (long long)covered);
}

/* Tiles are cut at multiples of tile_tokens of the position, so that a chain's cuts do not depend on where it begins. */
static lct_status count_work(chains *c, lct_error *err) {
  for (int i = 0; i < c->batch->n_segments; i++) {
    if (!starts_chain(c, i)) continue;
    const lct_segment *s = &c->batch->segments[i];
    LCT_TRY(check_path(s, err));
    int32_t end = s->pos0;
    for (int32_t j = i; j >= 0; j = c->next[j]) end += c->batch->segments[j].n_rows;
    c->n_rows += (size_t)(end - s->pos0);
    c->n_slots += (size_t)end;
    c->n_tiles += (size_t)((end - 1) / c->tile_tokens - s->pos0 / c->tile_tokens + 1);
  }
  if (c->n_slots <= INT32_MAX && c->n_tiles <= INT32_MAX) return LCT_OK;
  return lct_fail(err, LCT_E_LIMIT, "a batch whose paths have %zu rows in all is too large for the GPU's attention", c->n_slots);
}

/* Writes the slots of [0, pos0); returns their end. */
static int32_t *list_ancestors(const lct_segment *s, int32_t *to) {
  for (int32_t r = 0; r < s->n_ranges; r++) {
    for (int32_t k = 0; k < s->ranges[r].n; k++) *to++ = s->ranges[r].first + k;
  }
  return to;
}

static void list_chains(const chains *c, ordered_tile *tiles, int32_t *rows, int32_t *slots) {
  int32_t *row = rows, *slot = slots, n_tiles = 0;
  for (int i = 0; i < c->batch->n_segments; i++) {
    if (!starts_chain(c, i)) continue;
    const lct_segment *head = &c->batch->segments[i];
    int32_t row0 = (int32_t)(row - rows), slots0 = (int32_t)(slot - slots), set = row0 / SET_ROWS;
    slot = list_ancestors(head, slot);
    for (int32_t j = i; j >= 0; j = c->next[j]) {
      const lct_segment *s = &c->batch->segments[j];
      for (int32_t k = 0; k < s->n_rows; k++) {
        *slot++ = s->kv0 + k;
        *row++ = s->row0 + k;
      }
    }
    int32_t end = (int32_t)(slot - slots) - slots0;
    for (int32_t pos = head->pos0, n = 0; pos < end; pos += n) {
      n = c->tile_tokens - pos % c->tile_tokens;
      if (n > end - pos) n = end - pos;
      lct_k_tile tile = {row0 + pos - head->pos0, n, pos, slots0};
      tiles[n_tiles] = (ordered_tile){tile, set, 0, (pos + n - 1) / LCT_ATTN_KEYS + 1, n_tiles};
      n_tiles++;
    }
  }
}

static int compare_tiles(const void *a, const void *b) {
  const ordered_tile *x = a, *y = b;
  if (x->longest != y->longest) return x->longest > y->longest ? -1 : 1;
  if (x->set != y->set) return x->set < y->set ? -1 : 1;
  if (x->n_key_tiles != y->n_key_tiles) return x->n_key_tiles > y->n_key_tiles ? -1 : 1;
  return x->number < y->number ? -1 : x->number > y->number;
}

/* Longest first within a set, sets with the longest tile first: what is left at the end are short tiles on every SM. */
static lct_status order_tiles(const chains *c, ordered_tile *tiles, lct_k_tile *out, lct_error *err) {
  int32_t *longest = NULL;
  LCT_TRY(lct_calloc(&longest, c->n_rows / SET_ROWS + 1, sizeof *longest, "attention work", err));
  for (size_t i = 0; i < c->n_tiles; i++) {
    if (tiles[i].n_key_tiles > longest[tiles[i].set]) longest[tiles[i].set] = tiles[i].n_key_tiles;
  }
  for (size_t i = 0; i < c->n_tiles; i++) tiles[i].longest = longest[tiles[i].set];
  free(longest);
  qsort(tiles, c->n_tiles, sizeof *tiles, compare_tiles);
  for (size_t i = 0; i < c->n_tiles; i++) out[i] = tiles[i].tile;
  return LCT_OK;
}

/* One copy for all lists. From pageable memory the call returns once the source has been read. */
static lct_status upload_lists(lct_backend *be, const int32_t *lists, size_t n, lct_error *err) {
  LCT_TRY(lct_cuda_reserve(be, &be->work.lists, n * sizeof *lists, "attention work", err));
  if (n == 0) return LCT_OK;
  return lct_cuda_check(be, cudaMemcpyAsync(be->work.lists.p, lists, n * sizeof *lists, cudaMemcpyHostToDevice, be->stream),
                        "copy of the attention work", err);
}

/* Lists: tiles, rows, slots. */
static lct_status list_prefill(lct_backend *be, const chains *c, lct_error *err) {
  const size_t tile_ints = c->n_tiles * (sizeof(lct_k_tile) / sizeof(int32_t)), n_rows = c->n_rows;
  int32_t *lists = NULL;
  ordered_tile *tiles = NULL;
  lct_status status = lct_alloc_aligned(&lists, tile_ints + n_rows + c->n_slots, sizeof *lists, "attention work", err);
  if (status == LCT_OK) status = lct_alloc_aligned(&tiles, c->n_tiles, sizeof *tiles, "attention work", err);
  if (status == LCT_OK) {
    list_chains(c, tiles, lists + tile_ints, lists + tile_ints + n_rows);
    status = order_tiles(c, tiles, (lct_k_tile *)(void *)lists, err);
  }
  if (status == LCT_OK) status = upload_lists(be, lists, tile_ints + n_rows + c->n_slots, err);
  free(tiles);
  free(lists);
  if (status != LCT_OK) return status;
  lct_attn_work *w = &be->work;
  w->n_tiles = (int)c->n_tiles;
  w->tiles = w->lists.p;
  w->rows = (const int32_t *)w->lists.p + tile_ints;
  w->slots = w->rows + n_rows;
  return LCT_OK;
}

static lct_status begin_prefill(lct_backend *be, const lct_batch *batch, int group, lct_error *err) {
  const size_t n = (size_t)batch->n_segments;
  int32_t *scratch = NULL;
  LCT_TRY(lct_alloc_aligned(&scratch, 3 * n + n_end_slots(batch), sizeof *scratch, "attention work", err));
  chains c = {.batch = batch, .tile_tokens = LCT_ATTN_ROWS / group, .parent = scratch, .next = scratch + n};
  find_parents(&c, scratch + 3 * n);
  choose_next(&c, scratch + 2 * n);
  lct_status status = count_work(&c, err);
  if (status == LCT_OK) status = list_prefill(be, &c, err);
  free(scratch);
  return status;
}

static int32_t n_parts_of(int32_t n_keys) { return (n_keys + LCT_ATTN_SPLIT - 1) / LCT_ATTN_SPLIT; }

/* Lists: tokens, the token of each part, slots. */
static lct_status list_decode(lct_backend *be, const lct_batch *batch, size_t n_parts, size_t n_slots, lct_error *err) {
  const size_t n = (size_t)batch->n_segments, token_ints = n * (sizeof(lct_k_token) / sizeof(int32_t));
  int32_t *lists = NULL;
  LCT_TRY(lct_alloc_aligned(&lists, token_ints + n_parts + n_slots, sizeof *lists, "attention work", err));
  lct_k_token *tokens = (lct_k_token *)(void *)lists;
  int32_t *parts = lists + token_ints, *slots = parts + n_parts, *slot = slots;
  int32_t part0 = 0;
  for (int32_t i = 0; i < batch->n_segments; i++) {
    const lct_segment *s = &batch->segments[i];
    int32_t n_keys = s->pos0 + 1;
    tokens[i] = (lct_k_token){s->row0, n_keys, (int32_t)(slot - slots), part0, n_parts_of(n_keys)};
    for (int32_t p = 0; p < tokens[i].n_parts; p++) parts[part0++] = i;
    slot = list_ancestors(s, slot);
    *slot++ = s->kv0;
  }
  lct_status status = upload_lists(be, lists, token_ints + n_parts + n_slots, err);
  free(lists);
  if (status != LCT_OK) return status;
  lct_attn_work *w = &be->work;
  w->n_tokens = (int)n;
  w->n_parts = (int)n_parts;
  w->tokens = w->lists.p;
  w->part_token = (const int32_t *)w->lists.p + token_ints;
  w->slots = w->part_token + n_parts;
  return LCT_OK;
}

static lct_status begin_decode(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err) {
  size_t n_parts = 0, n_slots = 0;
  for (int32_t i = 0; i < batch->n_segments; i++) {
    LCT_TRY(check_path(&batch->segments[i], err));
    n_slots += (size_t)batch->segments[i].pos0 + 1;
    n_parts += (size_t)n_parts_of(batch->segments[i].pos0 + 1);
  }
  if (n_slots > INT32_MAX) {
    return lct_fail(err, LCT_E_LIMIT, "a batch whose paths have %zu rows in all is too large for the GPU's attention", n_slots);
  }
  size_t partial = n_parts * (size_t)s->n_heads * ((size_t)s->head_dim + 2) * sizeof(float);
  LCT_TRY(lct_cuda_reserve(be, &be->work.partial, partial, "attention's partial sums", err));
  be->work.decode = true;
  return list_decode(be, batch, n_parts, n_slots, err);
}

static bool one_row_each(const lct_batch *batch) {
  for (int32_t i = 0; i < batch->n_segments; i++) {
    if (batch->segments[i].n_rows != 1) return false;
  }
  return true;
}

lct_status lct_cuda_begin_batch(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  lct_attn_work *w = &be->work;
  w->decode = false;
  w->n_tiles = w->n_tokens = w->n_parts = 0;
  if (s->n_kv_heads < 1 || s->n_heads < 1 || s->n_heads % s->n_kv_heads != 0 || s->n_heads / s->n_kv_heads > LCT_ATTN_MAX_GROUP) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention: %d heads, %d KV heads; heads must be a multiple, at most %d times as many",
                    s->n_heads, s->n_kv_heads, LCT_ATTN_MAX_GROUP);
  }
  if (batch->decode && one_row_each(batch)) return begin_decode(be, batch, s, err);
  return begin_prefill(be, batch, s->n_heads / s->n_kv_heads, err);
}

static lct_k_heads heads_of(const lct_attn_shape *s) { return (lct_k_heads){s->n_heads, s->n_kv_heads, s->head_dim}; }

lct_status lct_cuda_attention(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *batch, lct_kv_layer kv, void *out,
                              lct_error *err) {
  (void)batch; /* begin_batch has seen it */
  LCT_TRY(lct_cuda_alive(be, err));
  const lct_attn_work *w = &be->work;
  lct_k_attn a = {.s = heads_of(s), .scale = s->scale, .q = q, .k = kv.k, .v = kv.v, .slots = w->slots, .rows = w->rows, .out = out};
  lct_status status = w->decode ? lct_k_attention_decode(be->t, &a, w->tokens, w->n_tokens, w->part_token, w->n_parts, w->partial.p,
                                                         be->stream, err)
                                : lct_k_attention(be->t, &a, w->tiles, w->n_tiles, be->stream, err);
  return lct_cuda_launched(be, status, w->decode ? "attention (decode)" : "attention", err);
}

static lct_status upload_path(lct_backend *be, const lct_segment *s, lct_error *err) {
  const size_t n = (size_t)s->pos0 + (size_t)s->n_rows, bytes = n * sizeof(int32_t);
  int32_t *slots = NULL;
  LCT_TRY(check_path(s, err));
  LCT_TRY(lct_alloc_aligned(&slots, n, sizeof *slots, "attention path", err));
  int32_t *own = list_ancestors(s, slots);
  for (int32_t i = 0; i < s->n_rows; i++) own[i] = s->kv0 + i;
  lct_status status = lct_cuda_reserve(be, &be->work.weights_slots, bytes, "attention path", err);
  if (status == LCT_OK) {
    status = lct_cuda_check(be, cudaMemcpyAsync(be->work.weights_slots.p, slots, bytes, cudaMemcpyHostToDevice, be->stream),
                            "copy of an attention path", err);
  }
  free(slots);
  return status;
}

lct_status lct_cuda_attn_weights(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_segment *seg, int row0, int n,
                                 int head0, int n_heads, lct_kv_layer kv, float *out, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(upload_path(be, seg, err));
  const int n_keys = seg->pos0 + seg->n_rows;
  const size_t bytes = (size_t)n_heads * (size_t)n * (size_t)n_keys * sizeof *out;
  lct_scratch *weights = &be->work.weights_out;
  LCT_TRY(lct_cuda_reserve(be, weights, bytes, "attention weights", err));
  lct_k_attn a = {.s = heads_of(s), .scale = s->scale, .q = q, .k = kv.k, .slots = be->work.weights_slots.p};
  lct_status status = lct_k_attention_weights(be->t, &a, row0, n, seg->pos0 + row0 - seg->row0, n_keys, head0, n_heads, weights->p,
                                              be->stream, err);
  LCT_TRY(lct_cuda_launched(be, status, "attention weights", err));
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(out, weights->p, bytes, cudaMemcpyDeviceToHost, be->stream), "attention weights", err));
  return lct_cuda_check(be, cudaStreamSynchronize(be->stream), "attention weights", err);
}

void lct_cuda_work_free(lct_attn_work *w) {
  lct_cuda_scratch_free(&w->lists);
  lct_cuda_scratch_free(&w->partial);
  lct_cuda_scratch_free(&w->weights_slots);
  lct_cuda_scratch_free(&w->weights_out);
  *w = (lct_attn_work){0};
}
