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
    lct_token_range *scratch = lct_arena_alloc(&u->arena, ((size_t)x->message + 1) * sizeof *scratch);
    if (scratch == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt");
    const lct_prompt_shape shape = shape_of(x);
    x->first_needed = lct_positions_first(positions, n_positions, &shape, scratch);
  }
  u->n_items++;
  u->naive += x->n_tokens;
  return LCT_OK;
}

void lct_item_ids(const lct_item *x, int32_t from, int32_t to, int32_t *out) {
  for (; from < to; x--) {
    if (to <= x->shared) continue;
    int32_t first = from > x->shared ? from : x->shared;
    memcpy(out + (first - from), x->tail + (first - x->shared), (size_t)(to - first) * sizeof *out);
    to = first;
  }
}

static int32_t common(const int32_t *a, const int32_t *b, int32_t n) {
  int32_t i = 0;
  while (i < n && a[i] == b[i]) i++;
  return i;
}

int64_t lct_unit_estimate(const lct_unit *u, const lct_item *items, int32_t n) {
  int64_t tokens = 0;
  for (int32_t i = 0; i < n; i++) tokens += items[i].n_tokens - items[i].shared;
  const lct_item *first = NULL; /* of the conversation before */
  for (int32_t i = u->n_items; i-- > 0 && first == NULL;) {
    if (u->items[i].n_tokens > 0 && u->items[i].shared == 0) first = &u->items[i];
  }
  if (first == NULL || n == 0 || items[0].shared > 0) return tokens;
  return tokens - common(first->tail, items[0].tail, first->n_tokens < items[0].n_tokens ? first->n_tokens : items[0].n_tokens);
}

/* How many tokens all items begin with, those that are openers among them or not, before the first row that any looks at: within a conversation
 * neighbours tell. ids and mine are scratch, as long as the longest prompt. */
static int32_t find_common(const lct_unit *u, bool openers, int32_t *ids, int32_t *mine) {
  int32_t n = -1, last = -1; /* the item that was looked at last */
  for (int32_t i = 0; i < u->n_items; i++) {
    const lct_item *x = &u->items[i];
    if (x->n_tokens == 0 || (!openers && lct_item_is_opener(x))) continue;
    int32_t limit = x->first_needed < x->n_tokens - 1 ? x->first_needed : x->n_tokens - 1;
    if (n < 0) {
      n = limit;
      lct_item_ids(x, 0, n, ids);
    } else if (x->shared > 0 && last == i - 1) {
      n = n < limit ? n : limit;
      n = n < x->shared ? n : x->shared;
    } else {
      n = n < limit ? n : limit;
      lct_item_ids(x, 0, n, mine);
      n = common(ids, mine, n);
    }
    last = i;
  }
  return n < 0 ? 0 : n;
}

static lct_status find_commons(lct_unit *u, lct_error *err) {
  int32_t *ids = NULL, longest = 0;
  for (int32_t i = 0; i < u->n_items; i++) longest = longest > u->items[i].n_tokens ? longest : u->items[i].n_tokens;
  LCT_TRY(lct_calloc(&ids, 2 * (size_t)longest, sizeof *ids, "tokens", err));
  u->common = find_common(u, false, ids, ids + longest);
  u->common_with_openers = find_common(u, true, ids, ids + longest);
  free(ids);
  return LCT_OK;
}

/* Behind the item before it, where that is in the plan, else whole. */
static lct_status plan_item(lct_unit *u, lct_plan *p, int32_t item, bool follows, lct_error *err) {
  lct_item *x = &u->items[item];
  if (x->shared == 0) return lct_plan_add(p, x->tail, (size_t)x->n_tokens, &x->seq, err);
  if (follows) return lct_plan_add_behind(p, x[-1].seq, x->shared, x->tail, (size_t)(x->n_tokens - x->shared), &x->seq, err);
  int32_t *ids = NULL;
  LCT_TRY(lct_calloc(&ids, (size_t)x->n_tokens, sizeof *ids, "tokens", err));
  lct_item_ids(x, 0, x->n_tokens, ids);
  lct_status s = lct_plan_add(p, ids, (size_t)x->n_tokens, &x->seq, err);
  free(ids);
  return s;
}

lct_status lct_unit_plan_items(lct_unit *u, const int32_t *items, int32_t n, const lct_position *positions, int n_positions,
                               int32_t max_rows, lct_plan **out, lct_error *err) {
  lct_plan *p = NULL;
  *out = NULL;
  LCT_TRY(lct_plan_new(&p, err));
  lct_status s = LCT_OK;
  for (int32_t i = 0; i < n && s == LCT_OK; i++) s = plan_item(u, p, items[i], i > 0 && items[i - 1] == items[i] - 1, err);
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
  LCT_TRY(find_commons(u, err));
  return lct_unit_plan_items(u, items, n, positions, n_positions, max_rows, &u->plan, err);
}
