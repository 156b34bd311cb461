#include "run/unit.h"

#include <stdlib.h>
#include <string.h>

lct_status lct_unit_new(lct_unit **out, lct_error *err) { return lct_calloc(out, 1, sizeof **out, "a batch of prompts", err); }

void lct_unit_free(lct_unit *u) {
  if (u == NULL) return;
  if (u->client_free != NULL) u->client_free(u->client);
  for (int32_t i = 0; i < u->n_generations; i++) {
    for (int32_t k = 0; k < u->generations[i].n; k++) free(u->generations[i].choices[k].top);
  }
  lct_plan_free(u->plan);
  lct_arena_free(&u->arena);
  free(u->items);
  free(u->parts);
  free(u);
}

lct_status lct_unit_begin_part(lct_unit *u, lct_error *err) {
  LCT_TRY(lct_grow(&u->parts, &u->cap_parts, (size_t)u->n_parts + 1, sizeof *u->parts, "prompts", err));
  u->parts[u->n_parts++] = u->n_items;
  return LCT_OK;
}

static lct_prompt_shape shape_of(const lct_item *x) {
  return (lct_prompt_shape){.n_tokens = x->n_tokens, .content = x->content, .roles = x->roles, .message = x->message};
}

lct_status lct_unit_add(lct_unit *u, const lct_item *item, const lct_position *positions, int n_positions, lct_error *err) {
  if (u->n_items == INT32_MAX) return lct_fail(err, LCT_E_LIMIT, "a batch of more than %d prompts", INT32_MAX);
  LCT_TRY(lct_grow(&u->items, &u->cap_items, (size_t)u->n_items + 1, sizeof *u->items, "prompts", err));
  lct_item *x = &u->items[u->n_items];
  *x = *item;
  x->seq = -1;
  x->places = NULL;
  x->done = false;
  if (x->n_tokens > 0) {
    lct_positions *scratch = lct_arena_alloc(&u->arena, ((size_t)x->message + 1) * sizeof *scratch);
    if (scratch == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt");
    const lct_prompt_shape shape = shape_of(x);
    x->first_needed = lct_positions_first(positions, n_positions, &shape, scratch);
  }
  u->n_items++;
  u->naive += x->n_tokens;
  return LCT_OK;
}

static int32_t common(const lct_item *a, const lct_item *b, int32_t limit) {
  int32_t n = a->n_tokens < b->n_tokens ? a->n_tokens : b->n_tokens, i = 0;
  if (n > limit) n = limit;
  while (i < n && a->ids[i] == b->ids[i]) i++;
  return i;
}

int64_t lct_unit_estimate(const lct_unit *u, const lct_item *item) {
  return u->n_items == 0 ? item->n_tokens : item->n_tokens - common(item, &u->items[u->n_items - 1], INT32_MAX);
}

/* What the items begin with and need no row of; with openers, and without. */
static void find_common(lct_unit *u) {
  const lct_item *first = NULL, *first_of_all = NULL;
  for (int32_t i = 0; i < u->n_items; i++) {
    const lct_item *x = &u->items[i];
    if (x->n_tokens == 0) continue;
    int32_t limit = x->first_needed < x->n_tokens - 1 ? x->first_needed : x->n_tokens - 1;
    if (first_of_all == NULL) {
      first_of_all = x;
      u->common_with_openers = limit;
    }
    u->common_with_openers = common(first_of_all, x, u->common_with_openers < limit ? u->common_with_openers : limit);
    if (lct_item_is_opener(x)) continue;
    if (first == NULL) {
      first = x;
      u->common = limit;
    }
    u->common = common(first, x, u->common < limit ? u->common : limit);
  }
}

lct_status lct_unit_plan_items(lct_unit *u, const int32_t *items, int32_t n, const lct_position *positions, int n_positions, int32_t max_rows,
                               lct_plan **out, lct_error *err) {
  lct_plan *p = NULL;
  *out = NULL;
  LCT_TRY(lct_plan_new(&p, err));
  lct_status s = LCT_OK;
  for (int32_t i = 0; i < n && s == LCT_OK; i++) {
    lct_item *x = &u->items[items[i]];
    s = lct_plan_add(p, x->ids, (size_t)x->n_tokens, &x->seq, err);
  }
  if (s == LCT_OK) s = lct_plan_build(p, max_rows, err);
  for (int32_t i = 0; i < n && s == LCT_OK && n_positions > 0; i++) {
    lct_item *x = &u->items[items[i]];
    const lct_prompt_shape shape = shape_of(x);
    int32_t n_path = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(p, x->seq, &n_path);
    x->places = lct_arena_alloc(&u->arena, (size_t)n_positions * sizeof *x->places);
    if (x->places == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
    else s = lct_positions_place(positions, n_positions, &shape, path, n_path, &u->arena, x->places, err);
  }
  if (s == LCT_OK) *out = p;
  else lct_plan_free(p);
  return s;
}

lct_status lct_unit_plan(lct_unit *u, const lct_position *positions, int n_positions, int32_t max_rows, lct_error *err) {
  int32_t *items = lct_arena_alloc(&u->arena, (size_t)u->n_items * sizeof *items), n = 0;
  if (items == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a batch of prompts");
  for (int32_t i = 0; i < u->n_items; i++) {
    if (u->items[i].n_tokens > 0) items[n++] = i;
  }
  if (n == 0) return LCT_OK;
  find_common(u);
  return lct_unit_plan_items(u, items, n, positions, n_positions, max_rows, &u->plan, err);
}
