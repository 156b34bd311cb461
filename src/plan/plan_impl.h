/* Inside of lct_plan: the trie's nodes and what is made of them. */
#ifndef LCT_PLAN_IMPL_H
#define LCT_PLAN_IMPL_H

#include "plan/plan.h"

/* Sequence `before` up to `shared`, then len - shared ids of its own. */
typedef struct {
  int32_t before, shared; /* -1, 0: all ids are its own */
  size_t first;           /* into plan->ids */
  int32_t len;
} lct_plan_seq;

/* A trie node: ids[first, first + n) of the plan, at depths [pos0, pos0 + n), hanging under `parent`. */
typedef struct {
  int32_t parent, first_child, next_sibling; /* -1: none; children in order of their first ids */
  int32_t pos0, n;
  size_t first;
  int32_t batch, row0, segment;
} lct_plan_node;

struct lct_plan {
  int32_t *ids; /* of what is not shared */
  size_t n_ids, cap_ids;
  int64_t n_naive; /* the sequences' lengths added up */
  lct_plan_seq *seqs;
  size_t n_seqs, cap_seqs;
  lct_plan_node *nodes; /* in preorder once the plan is built: a node's number is less than those of its subtree, which follow it */
  size_t n_nodes;
  int32_t *seq_node; /* (n_seqs) node at which a sequence ends */
  lct_batch *batches;
  int32_t n_batches;
  lct_kv_range **paths; /* (n_nodes) ranges covering [0, pos0 + n) */
  int32_t *n_paths;
  bool built;
  lct_arena arena;
};

/* trie.c: nodes and seq_node of the sequences. */
lct_status lct_plan_grow_trie(lct_plan *p, lct_error *err) LCT_CHECKED;
/* The node after `at` in preorder within the subtree of root; -1: it was the last one. */
int32_t lct_plan_next_preorder(const lct_plan *p, int32_t root, int32_t at);

#endif
