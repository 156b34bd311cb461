/* Inside of lct_plan: the trie's nodes and what is made of them. */
#ifndef LCT_PLAN_IMPL_H
#define LCT_PLAN_IMPL_H

#include "plan/plan.h"

typedef struct {
  size_t first; /* into plan->ids */
  int32_t len;
} lct_plan_seq;

/* A trie node: the tokens [pos0, pos0 + n) of sequence `seq`, hanging under `parent`. */
typedef struct {
  int32_t parent, first_child, last_child, next_sibling;
  int32_t seq, pos0, n;
  int32_t batch, row0, segment;
} lct_plan_node;

struct lct_plan {
  int32_t prefix;
  lct_kv_range prefix_range; /* the slots of the prefix */
  int32_t *ids; /* of what follows the prefix */
  size_t n_ids, cap_ids;
  lct_plan_seq *seqs;
  size_t n_seqs, cap_seqs;
  lct_plan_node *nodes;
  size_t n_nodes, cap_nodes;
  int32_t *seq_node; /* (n_seqs) node at which a sequence ends */
  lct_batch *batches;
  int32_t n_batches;
  lct_kv_range **paths; /* (n_nodes) ranges covering [0, pos0 + n) */
  int32_t *n_paths;
  bool built;
  lct_arena arena;
};

/* The node after `at` in preorder within the subtree of root; -1: it was the last one. */
int32_t lct_plan_next_preorder(const lct_plan *p, int32_t root, int32_t at);

#endif
