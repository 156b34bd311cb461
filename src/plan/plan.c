#include "plan/plan_impl.h"

#include <stdlib.h>
#include <string.h>

lct_status lct_plan_new(lct_plan **out, lct_error *err) { return lct_calloc(out, 1, sizeof **out, "plan", err); }

void lct_plan_free(lct_plan *p) {
  if (p == NULL) return;
  free(p->ids);
  free(p->seqs);
  free(p->nodes);
  free(p->seq_node);
  lct_arena_free(&p->arena);
  free(p);
}

lct_status lct_plan_add(lct_plan *p, const int32_t *ids, size_t n, int32_t *seq, lct_error *err) {
  return lct_plan_add_behind(p, -1, 0, ids, n, seq, err);
}

lct_status lct_plan_add_behind(lct_plan *p, int32_t before, int32_t shared, const int32_t *ids, size_t n, int32_t *seq, lct_error *err) {
  if ((size_t)shared + n == 0) return lct_fail(err, LCT_E_USAGE, "a prompt of no tokens cannot be planned");
  if (n > (size_t)(INT32_MAX / 2 - shared) || p->n_ids > INT32_MAX - n || p->n_seqs >= INT32_MAX / 2) {
    return lct_fail(err, LCT_E_LIMIT, "plan of more than %d tokens", INT32_MAX);
  }
  LCT_TRY(lct_grow(&p->ids, &p->cap_ids, p->n_ids + n, sizeof *p->ids, "plan tokens", err));
  LCT_TRY(lct_grow(&p->seqs, &p->cap_seqs, p->n_seqs + 1, sizeof *p->seqs, "plan sequences", err));
  if (n > 0) memcpy(p->ids + p->n_ids, ids, n * sizeof *ids);
  p->seqs[p->n_seqs] = (lct_plan_seq){.before = shared > 0 ? before : -1, .shared = shared, .first = p->n_ids, .len = shared + (int32_t)n};
  p->n_ids += n;
  p->n_naive += shared + (int64_t)n;
  *seq = (int32_t)p->n_seqs++;
  return LCT_OK;
}

int32_t lct_plan_next_preorder(const lct_plan *p, int32_t root, int32_t at) {
  if (p->nodes[at].first_child >= 0) return p->nodes[at].first_child;
  while (at != root && p->nodes[at].next_sibling < 0) at = p->nodes[at].parent;
  return at == root ? -1 : p->nodes[at].next_sibling;
}

/* Gives every node its batch and rows; returns the number of batches. */
static int32_t place_nodes(lct_plan *p, int32_t max_rows) {
  int32_t batch = 0, rows = 0;
  for (size_t r = 0; r < p->n_nodes; r++) {
    if (p->nodes[r].parent >= 0) continue;
    int32_t size = 0;
    for (int32_t at = (int32_t)r; at >= 0; at = lct_plan_next_preorder(p, (int32_t)r, at)) size += p->nodes[at].n;
    if (rows > 0 && rows + size > max_rows) {
      batch++;
      rows = 0;
    }
    for (int32_t at = (int32_t)r; at >= 0; at = lct_plan_next_preorder(p, (int32_t)r, at)) {
      p->nodes[at].batch = batch;
      p->nodes[at].row0 = rows;
      rows += p->nodes[at].n;
    }
  }
  return batch + 1;
}

/* The slots of node i's path: its parent's (adjacent slots merged), then its own. */
static lct_status make_path(lct_plan *p, int32_t i, lct_error *err) {
  const lct_plan_node *x = &p->nodes[i];
  int32_t n = x->parent >= 0 ? p->n_paths[x->parent] : 0;
  lct_kv_range *r = lct_arena_alloc(&p->arena, (size_t)(n + 1) * sizeof *r);
  if (r == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the plan's paths");
  if (x->parent >= 0) memcpy(r, p->paths[x->parent], (size_t)n * sizeof *r);
  if (n > 0 && r[n - 1].first + r[n - 1].n == x->row0) r[n - 1].n += x->n;
  else r[n++] = (lct_kv_range){x->row0, x->n};
  p->paths[i] = r;
  p->n_paths[i] = n;
  return LCT_OK;
}

static lct_status fill_batches(lct_plan *p, lct_error *err) {
  int32_t *n_rows = lct_arena_alloc(&p->arena, (size_t)p->n_batches * sizeof *n_rows);
  int32_t *n_segs = lct_arena_alloc(&p->arena, (size_t)p->n_batches * sizeof *n_segs);
  p->batches = lct_arena_alloc(&p->arena, (size_t)p->n_batches * sizeof *p->batches);
  p->paths = lct_arena_alloc(&p->arena, p->n_nodes * sizeof(lct_kv_range *));
  p->n_paths = lct_arena_alloc(&p->arena, p->n_nodes * sizeof *p->n_paths);
  if (!n_rows || !n_segs || !p->batches || !p->paths || !p->n_paths) return lct_fail(err, LCT_E_NOMEM, "out of memory for the plan");
  for (size_t i = 0; i < p->n_nodes; i++) {
    n_rows[p->nodes[i].batch] += p->nodes[i].n;
    n_segs[p->nodes[i].batch]++;
  }
  for (int32_t b = 0; b < p->n_batches; b++) {
    int32_t *tokens = lct_arena_alloc(&p->arena, (size_t)n_rows[b] * sizeof *tokens);
    int32_t *positions = lct_arena_alloc(&p->arena, (size_t)n_rows[b] * sizeof *positions);
    lct_segment *segments = lct_arena_alloc(&p->arena, (size_t)n_segs[b] * sizeof *segments);
    if (!tokens || !positions || !segments) return lct_fail(err, LCT_E_NOMEM, "out of memory for a batch of %d tokens", n_rows[b]);
    p->batches[b] = (lct_batch){.n_rows = n_rows[b], .n_slots = n_rows[b], .tokens = tokens, .positions = positions, .segments = segments};
  }
  for (size_t r = 0; r < p->n_nodes; r++) {
    if (p->nodes[r].parent >= 0) continue;
    for (int32_t at = (int32_t)r; at >= 0; at = lct_plan_next_preorder(p, (int32_t)r, at)) {
      LCT_TRY(make_path(p, at, err));
      const lct_plan_node *x = &p->nodes[at];
      lct_batch *b = &p->batches[x->batch];
      p->nodes[at].segment = b->n_segments;
      lct_segment *s = (lct_segment *)&b->segments[b->n_segments++];
      *s = (lct_segment){.row0 = x->row0, .n_rows = x->n, .pos0 = x->pos0, .kv0 = x->row0};
      s->parent = x->parent >= 0 ? p->nodes[x->parent].segment : -1;
      s->ranges = x->parent >= 0 ? p->paths[x->parent] : NULL;
      s->n_ranges = x->parent >= 0 ? p->n_paths[x->parent] : 0;
      memcpy((int32_t *)b->tokens + x->row0, p->ids + x->first, (size_t)x->n * sizeof(int32_t));
      for (int32_t k = 0; k < x->n; k++) ((int32_t *)b->positions)[x->row0 + k] = s->pos0 + k;
    }
  }
  return LCT_OK;
}

lct_status lct_plan_build(lct_plan *p, int32_t max_rows, lct_error *err) {
  if (p->built) return lct_fail(err, LCT_E_USAGE, "the plan is already built");
  if (p->n_seqs == 0) return lct_fail(err, LCT_E_USAGE, "a plan needs at least one prompt");
  LCT_TRY(lct_plan_grow_trie(p, err));
  p->n_batches = place_nodes(p, max_rows);
  LCT_TRY(fill_batches(p, err));
  p->built = true;
  return LCT_OK;
}

int32_t lct_plan_n_batches(const lct_plan *p) { return p->n_batches; }
const lct_batch *lct_plan_batch(const lct_plan *p, int32_t i) { return &p->batches[i]; }
int32_t lct_plan_n_seqs(const lct_plan *p) { return (int32_t)p->n_seqs; }
int32_t lct_plan_seq_segment(const lct_plan *p, int32_t seq) { return p->nodes[p->seq_node[seq]].segment; }
int32_t lct_plan_seq_batch(const lct_plan *p, int32_t seq) { return p->nodes[p->seq_node[seq]].batch; }
int32_t lct_plan_seq_len(const lct_plan *p, int32_t seq) { return p->seqs[seq].len; }

const lct_kv_range *lct_plan_seq_ranges(const lct_plan *p, int32_t seq, int32_t *n_ranges) {
  *n_ranges = p->n_paths[p->seq_node[seq]];
  return p->paths[p->seq_node[seq]];
}

int32_t lct_plan_seq_row(const lct_plan *p, int32_t seq, int32_t pos) {
  int32_t n = 0;
  const lct_kv_range *r = lct_plan_seq_ranges(p, seq, &n);
  for (int32_t i = 0; i < n; i++) {
    if (pos < r[i].n) return r[i].first + pos;
    pos -= r[i].n;
  }
  return -1;
}

int64_t lct_plan_n_tokens(const lct_plan *p) {
  int64_t n = 0;
  for (size_t i = 0; i < p->n_nodes; i++) n += p->nodes[i].n;
  return n;
}

int64_t lct_plan_n_tokens_naive(const lct_plan *p) { return p->n_naive; }

int32_t lct_ranges_slice(const lct_kv_range *ranges, int32_t n, int32_t from, int32_t to, lct_kv_range *out) {
  int32_t at = 0, count = 0;
  for (int32_t i = 0; i < n; i++) {
    int32_t lo = from > at ? from - at : 0, hi = to - at < ranges[i].n ? to - at : ranges[i].n;
    if (lo < hi) out[count++] = (lct_kv_range){ranges[i].first + lo, hi - lo};
    at += ranges[i].n;
  }
  return count;
}
