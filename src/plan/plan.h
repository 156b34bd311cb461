/* The prompt trie: every distinct token once. Pure: knows neither model nor device.
 *
 * Sequences of token ids are inserted; shared prefixes become shared segments; the built plan lists segments parents first,
 * grouped into batches of whole root subtrees, with the KV slots each may see. What of a batch is known
 * already is left out by plan/cut.h. */
#ifndef LCT_PLAN_PLAN_H
#define LCT_PLAN_PLAN_H

#include "base/mem.h"
#include "plan/range.h"

/* A run of tokens on one edge of the trie: consecutive rows of its batch, consecutive KV slots, consecutive positions. */
typedef struct {
  int32_t row0, n_rows; /* rows of the batch */
  int32_t parent;       /* segment of the batch that it follows, which comes before it; -1: none, or it is no part of the batch */
  int32_t pos0;         /* absolute position of its first token */
  int32_t kv0;          /* KV slot of its first row; within a batch of a plan, slot == row */
  int32_t n_ranges;     /* ancestors' slots in order of position: covers [0, pos0) */
  const lct_kv_range *ranges;
} lct_segment;

/* What one forward pass computes. */
typedef struct {
  int32_t n_rows, n_segments;
  int32_t n_slots;          /* KV slots that must exist: max slot + 1 */
  bool decode;              /* one new token of each sequence: memory-bound kernels may be used */
  const int32_t *tokens;    /* (n_rows) */
  const int32_t *positions; /* (n_rows) */
  const lct_segment *segments;
} lct_batch;

typedef struct lct_plan lct_plan;

lct_status lct_plan_new(lct_plan **out, lct_error *err) LCT_CHECKED;
void lct_plan_free(lct_plan *p);
/* Inserts ids[0..n), n > 0. *seq numbers sequences from 0 in order of insertion (equal sequences get different numbers, same rows). */
lct_status lct_plan_add(lct_plan *p, const int32_t *ids, size_t n, int32_t *seq, lct_error *err) LCT_CHECKED;
/* The same for a sequence whose first `shared` ids are those of sequence `before` (added already, and at least as long), then ids[0..n).
 * shared + n > 0. */
lct_status lct_plan_add_behind(lct_plan *p, int32_t before, int32_t shared, const int32_t *ids, size_t n, int32_t *seq,
                               lct_error *err) LCT_CHECKED;
/* Cuts the trie into batches of whole root subtrees, at most max_rows rows each unless one subtree alone is larger. */
lct_status lct_plan_build(lct_plan *p, int32_t max_rows, lct_error *err) LCT_CHECKED;

int32_t lct_plan_n_batches(const lct_plan *p);
const lct_batch *lct_plan_batch(const lct_plan *p, int32_t i);
/* Where sequence seq lies: its batch, and its tokens' slots as ranges in order of position (they cover [0, length)). */
int32_t lct_plan_n_seqs(const lct_plan *p);
int32_t lct_plan_seq_batch(const lct_plan *p, int32_t seq);
int32_t lct_plan_seq_segment(const lct_plan *p, int32_t seq); /* of its batch: the one that it ends in */
int32_t lct_plan_seq_len(const lct_plan *p, int32_t seq);
const lct_kv_range *lct_plan_seq_ranges(const lct_plan *p, int32_t seq, int32_t *n_ranges);
/* The row of its batch that holds position pos. */
int32_t lct_plan_seq_row(const lct_plan *p, int32_t seq, int32_t pos);
/* Distinct tokens, and the sum of the sequences' lengths (what a prefix-by-prefix run computes). */
int64_t lct_plan_n_tokens(const lct_plan *p);
int64_t lct_plan_n_tokens_naive(const lct_plan *p);

/* Positions [from, to) of a path of ranges; out holds at least n of them. Returns how many were filled. */
int32_t lct_ranges_slice(const lct_kv_range *ranges, int32_t n, int32_t from, int32_t to, lct_kv_range *out);

#endif
