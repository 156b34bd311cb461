/* A batch without what a worker has already: the keys of a prefix that all of its prompts begin with, and prompts whose vectors it knows. The
 * plan stays as it is; slots and rows are numbered anew. */
#ifndef LCT_PLAN_CUT_H
#define LCT_PLAN_CUT_H

#include "plan/plan.h"

typedef struct {
  lct_batch batch;     /* n_rows 0: nothing is left to compute */
  int32_t prefix;      /* KV slots [0, prefix) hold positions [0, prefix); row r's keys go to slot prefix + r */
  const int32_t *slot; /* (slots of the plan's batch) where they are now; -1: nowhere. NULL: where they were */
} lct_cut_batch;

/* Of a batch, positions [0, prefix) are left out, which must be the same tokens in all of its sequences but those to be skipped, and so is
 * what only sequences with skip[seq] lead to (skip: (sequences of the plan), NULL: none). Lists are the arena's or the plan's. */
lct_status lct_plan_cut(const lct_plan *p, int32_t batch, int32_t prefix, const bool *skip, lct_arena *arena, lct_cut_batch *out,
                        lct_error *err) LCT_CHECKED;
/* The row of the cut batch that has a slot of the plan's batch; -1: none. */
static inline int32_t lct_cut_row(const lct_cut_batch *c, int32_t slot) {
  int32_t at = c->slot == NULL ? slot : c->slot[slot];
  return at < c->prefix ? -1 : at - c->prefix;
}
/* Ranges of the plan's slots as slots, and as rows, of the cut batch; those that lie nowhere are left out. out holds as many ranges as there are
 * numbers in them at most, and n where the plan's path is whole. Returns their number. */
int32_t lct_cut_slots(const lct_cut_batch *c, const lct_kv_range *ranges, int32_t n, lct_kv_range *out);
int32_t lct_cut_rows(const lct_cut_batch *c, const lct_kv_range *ranges, int32_t n, lct_row_range *out);

#endif
