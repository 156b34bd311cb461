/* The trie of a plan's sequences. A sequence is followed from where it leaves the one before it, so the work is that of the ids that are not
 * shared; children are found by a table of (node, first id). */
#include <stdlib.h>
#include <string.h>

#include "plan/plan_impl.h"

/* Open addressing: a node's number, -1: free. */
typedef struct {
  int32_t *slots;
  size_t mask;
} child_table;

static int32_t *find_child(const lct_plan *p, const child_table *t, int32_t parent, int32_t id) {
  uint64_t h = ((uint64_t)(uint32_t)parent << 32 | (uint32_t)id) * UINT64_C(0x9E3779B97F4A7C15);
  for (size_t i = (size_t)(h >> 32) & t->mask;; i = (i + 1) & t->mask) {
    int32_t x = t->slots[i];
    if (x < 0 || (p->nodes[x].parent == parent && p->ids[p->nodes[x].first] == id)) return &t->slots[i];
  }
}

static int32_t add_node(lct_plan *p, int32_t parent, int32_t pos0, int32_t n, size_t first) {
  p->nodes[p->n_nodes] = (lct_plan_node){.parent = parent, .first_child = -1, .next_sibling = -1, .pos0 = pos0, .n = n, .first = first};
  return (int32_t)p->n_nodes++;
}

/* Cuts node x at depth `pos`: a new upper node takes its place, x keeps its number (sequences end there) and the lower part. */
static int32_t split_node(lct_plan *p, const child_table *t, int32_t x, int32_t pos) {
  int32_t n = pos - p->nodes[x].pos0;
  int32_t *slot = find_child(p, t, p->nodes[x].parent, p->ids[p->nodes[x].first]);
  int32_t upper = add_node(p, p->nodes[x].parent, p->nodes[x].pos0, n, p->nodes[x].first);
  *slot = upper;
  p->nodes[x].parent = upper;
  p->nodes[x].pos0 = pos;
  p->nodes[x].first += (size_t)n;
  p->nodes[x].n -= n;
  *find_child(p, t, upper, p->ids[p->nodes[x].first]) = x;
  return upper;
}

/* Adds sequence s, whose `before` is in the trie. */
static void insert(lct_plan *p, const child_table *t, int32_t s) {
  const lct_plan_seq *q = &p->seqs[s];
  const int32_t *ids = p->ids + q->first;
  int32_t depth = q->shared, at = q->before >= 0 ? p->seq_node[q->before] : -1;
  while (at >= 0 && p->nodes[at].pos0 >= depth) at = p->nodes[at].parent;
  for (;;) {
    if (at >= 0) {
      int32_t pos0 = p->nodes[at].pos0, end = pos0 + p->nodes[at].n;
      const int32_t *edge = p->ids + p->nodes[at].first;
      while (depth < end && depth < q->len && edge[depth - pos0] == ids[depth - q->shared]) depth++;
      if (depth < end) at = split_node(p, t, at, depth);
    }
    if (depth == q->len) break;
    int32_t *slot = find_child(p, t, at, ids[depth - q->shared]);
    if (*slot < 0) {
      *slot = at = add_node(p, at, depth, q->len - depth, q->first + (size_t)(depth - q->shared));
      break;
    }
    at = *slot;
  }
  p->seq_node[s] = at;
}

/* Nodes with the same parent by their first ids. */
static int by_place(const void *a, const void *b, void *ctx) {
  const lct_plan *p = ctx;
  const lct_plan_node *x = &p->nodes[*(const int32_t *)a], *y = &p->nodes[*(const int32_t *)b];
  if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
  int32_t i = p->ids[x->first], k = p->ids[y->first];
  return (i > k) - (i < k);
}

/* Links children and numbers nodes in preorder. order and number: scratch (n_nodes). */
static void put_in_order(lct_plan *p, lct_plan_node *out, int32_t *order, int32_t *number) {
  size_t n = p->n_nodes;
  for (size_t i = 0; i < n; i++) order[i] = (int32_t)i;
  qsort_r(order, n, sizeof *order, by_place, p);
  int32_t root = -1;
  for (size_t i = n; i-- > 0;) { /* from the last sibling to the first */
    int32_t parent = p->nodes[order[i]].parent;
    int32_t *first = parent >= 0 ? &p->nodes[parent].first_child : &root;
    p->nodes[order[i]].next_sibling = *first;
    *first = order[i];
  }
  int32_t next = 0;
  for (int32_t at = root; at >= 0;) {
    order[next] = at;
    number[at] = next++;
    if (p->nodes[at].first_child >= 0) {
      at = p->nodes[at].first_child;
      continue;
    }
    while (at >= 0 && p->nodes[at].next_sibling < 0) at = p->nodes[at].parent;
    if (at >= 0) at = p->nodes[at].next_sibling;
  }
  for (size_t i = 0; i < n; i++) {
    lct_plan_node x = p->nodes[order[i]];
    if (x.parent >= 0) x.parent = number[x.parent];
    if (x.first_child >= 0) x.first_child = number[x.first_child];
    if (x.next_sibling >= 0) x.next_sibling = number[x.next_sibling];
    out[i] = x;
  }
  for (size_t i = 0; i < p->n_seqs; i++) p->seq_node[i] = number[p->seq_node[i]];
}

lct_status lct_plan_grow_trie(lct_plan *p, lct_error *err) {
  size_t most = 2 * p->n_seqs, slots = 4; /* a sequence adds at most one node and one split */
  lct_plan_node *sorted = NULL;
  int32_t *scratch = NULL;
  child_table t = {0};
  while (slots < 2 * most) slots *= 2;
  lct_status s = lct_calloc(&p->seq_node, p->n_seqs, sizeof *p->seq_node, "plan ends", err);
  if (s == LCT_OK) s = lct_calloc(&p->nodes, most, sizeof *p->nodes, "plan nodes", err);
  if (s == LCT_OK) s = lct_calloc(&sorted, most, sizeof *sorted, "plan nodes", err);
  if (s == LCT_OK) s = lct_calloc(&scratch, 2 * most, sizeof *scratch, "plan order", err);
  if (s == LCT_OK) s = lct_calloc(&t.slots, slots, sizeof *t.slots, "plan nodes", err);
  if (s == LCT_OK) {
    t.mask = slots - 1;
    memset(t.slots, 0xff, slots * sizeof *t.slots);
    for (size_t i = 0; i < p->n_seqs; i++) insert(p, &t, (int32_t)i);
    put_in_order(p, sorted, scratch, scratch + most);
    free(p->nodes);
    p->nodes = sorted;
    sorted = NULL;
  }
  free(sorted);
  free(scratch);
  free(t.slots);
  return s;
}
