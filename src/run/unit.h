/* A unit of work: prompts with the positions wanted of each, by one trie. A unit is a plan and knows no device: it may go to any worker. */
#ifndef LCT_RUN_UNIT_H
#define LCT_RUN_UNIT_H

#include "capture/position.h"
#include "engine/ops.h"
#include "plan/plan.h"

/* One prompt whose state is wanted. Lists are the unit's arena's. */
typedef struct {
  int32_t n_tokens; /* 0: it is not known yet (a reply), or will not be run */
  int32_t shared;   /* its first tokens that are those of the item before it in the unit, as far as is known; 0: a conversation's first */
  const int32_t *tail;            /* (n_tokens - shared) the ids behind them */
  const lct_token_range *content; /* (message + 1) */
  const lct_role *roles;          /* (message + 1) */
  int32_t message;                /* the last one's index */
  int32_t first_needed;           /* the first position whose row is looked at */
  int32_t seq;                    /* in the unit's plan; -1: not in it */
  lct_place *places;              /* (n_positions) in slots of that plan */
  bool done;                      /* its vectors are complete */
} lct_item;

/* What is generated behind an item's prompt. */
typedef struct {
  int32_t item;        /* whose prompt it goes on from */
  int32_t reply;       /* item of the snapshot that ends with the reply; -1: none */
  int32_t max_tokens;  /* at least 1 */
  bool runs_on;        /* end tokens do not end it */
  lct_choice *choices; /* (max_tokens) the unit's arena's, but for their top (top_k), which is the unit's */
  int32_t n;           /* so far */
  bool finished;
  int32_t kv0; /* slots of its tokens, the worker's */
} lct_generation;

typedef struct lct_unit {
  lct_arena arena;
  int64_t number; /* in the order of units, from 0 */
  lct_item *items;
  int32_t n_items;
  size_t cap_items;
  /* Items that run together or not at all, e.g. a conversation's: part g is [parts[g], parts[g + 1]), the last one ends at n_items. */
  int32_t *parts;
  int32_t n_parts;
  size_t cap_parts;
  lct_generation *generations;
  int32_t n_generations;
  const lct_sampling *sampling;
  int top_k;
  lct_plan *plan; /* of all items that have tokens; NULL: nothing to run */
  /* Positions [0, common) are the same tokens in all items but openers (system messages' own snapshots, of which a worker may know the vectors
   * already), and no row of them is looked at; [0, common_with_openers) in all. */
  int32_t common, common_with_openers;
  int64_t estimate; /* tokens it computes, about */
  int64_t naive;    /* tokens of all its prompts */
  void *client;     /* whoever made the unit */
  void (*client_free)(void *client);
  struct lct_unit *next; /* of a list of units */
} lct_unit;

lct_status lct_unit_new(lct_unit **out, lct_error *err) LCT_CHECKED;
void lct_unit_free(lct_unit *u);
/* Begins a part; the items added from here on are its. */
lct_status lct_unit_begin_part(lct_unit *u, lct_error *err) LCT_CHECKED;
/* Adds an item, copied; its lists must be the unit's arena's. first_needed is worked out from the positions. */
lct_status lct_unit_add(lct_unit *u, const lct_item *item, const lct_position *positions, int n_positions, lct_error *err) LCT_CHECKED;
/* Tokens that a conversation's items would add to the unit's trie, about: the first shares most with the first of the one before. */
int64_t lct_unit_estimate(const lct_unit *u, const lct_item *items, int32_t n);
/* Ids [from, to) of an item that stands behind those it shares ids with. */
void lct_item_ids(const lct_item *x, int32_t from, int32_t to, int32_t *out);
/* The trie, where the positions' vectors come from, and what all items begin with. max_rows: of a batch (unless one subtree is larger);
 * INT32_MAX: one batch. */
lct_status lct_unit_plan(lct_unit *u, const lct_position *positions, int n_positions, int32_t max_rows, lct_error *err) LCT_CHECKED;
/* The same of some items, for a plan of their own, the caller's: their seq and places are its from now on. */
lct_status lct_unit_plan_items(lct_unit *u, const int32_t *items, int32_t n, const lct_position *positions, int n_positions,
                               int32_t max_rows, lct_plan **out, lct_error *err) LCT_CHECKED;
/* A system message's own snapshot. */
static inline bool lct_item_is_opener(const lct_item *x) { return x->message == 0 && x->shared == 0 && x->roles[0] == LCT_ROLE_SYSTEM; }

#endif
