/* A conversation's snapshots as items of a unit, and the unit's plan. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

enum { MIN_PREFIX = 8 }; /* shorter prefixes are not worth keeping */

/* Positions [*from, *to) of a prompt of n tokens that a range means: as Python's slices. */
static void resolve(const sweep_position *p, int32_t n, int32_t *from, int32_t *to) {
  int64_t a = p->from < 0 ? p->from + n : p->from, b = p->to == INT64_MAX ? n : p->to < 0 ? p->to + n : p->to;
  a = a < 0 ? 0 : a > n ? n : a;
  b = b < a ? a : b > n ? n : b;
  *from = (int32_t)a;
  *to = (int32_t)b;
}

/* The ranges of positions that a mean is over; returns their number (at most message + 1). */
static int position_ranges(const sweep_position *p, const sweep_item *item, const int *roles, lct_positions *out) {
  int n = 0;
  if (p->kind == SWEEP_AT_RANGE) {
    resolve(p, item->n_tokens, &out[0].from, &out[0].to);
    return out[0].from < out[0].to;
  }
  for (int32_t m = p->kind == SWEEP_AT_ROLE ? 0 : item->message; m <= item->message; m++) {
    bool wanted = p->kind != SWEEP_AT_ROLE || roles[m] == p->role;
    if (wanted && item->content[m].from < item->content[m].to) out[n++] = item->content[m];
  }
  return n;
}

static int32_t needed_from(const sweep *s, const sweep_item *item, const int *roles, lct_positions *scratch) {
  int32_t first = item->n_tokens - 1;
  for (int i = 0; i < s->n_positions; i++) {
    if (s->positions[i].kind == SWEEP_AT_LAST) continue;
    int n = position_ranges(&s->positions[i], item, roles, scratch);
    if (n == 0) continue;
    int32_t at = s->positions[i].kind == SWEEP_AT_CONTENT_LAST ? scratch[0].to - 1 : scratch[0].from;
    if (at < first) first = at;
  }
  return first;
}

static lct_status fill_item(const sweep *s, sweep_tokeniser *t, const lct_conversation *c, size_t k, lct_arena *arena, sweep_item *item,
                            lct_error *err) {
  item->content = lct_arena_alloc(arena, (k + 1) * sizeof *item->content);
  if (item->content == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  LCT_TRY(lct_prompt_tokenise(&s->template, t->encoder, c->messages, k + 1, &t->tokens, item->content, err));
  item->n_tokens = (int32_t)t->tokens.len;
  item->message = (int32_t)k;
  item->role = lct_role_of(c->messages[k].role);
  item->seq = -1;
  item->ids = lct_arena_alloc(arena, t->tokens.len * sizeof *item->ids);
  if (item->ids == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  for (size_t i = 0; i < t->tokens.len; i++) item->ids[i] = t->tokens.data[i].id;
  return LCT_OK;
}

static lct_status find_needed(const sweep *s, const lct_conversation *c, sweep_item *items, size_t n, lct_error *err) {
  int *roles = NULL;
  lct_positions *scratch = NULL;
  LCT_TRY(lct_calloc(&roles, n, sizeof *roles, "roles", err));
  lct_status status = lct_calloc(&scratch, n, sizeof *scratch, "positions", err);
  for (size_t k = 0; k < n; k++) roles[k] = lct_role_of(c->messages[k].role);
  for (size_t k = 0; k < n && status == LCT_OK; k++) items[k].need_from = needed_from(s, &items[k], roles, scratch);
  free(roles);
  free(scratch);
  return status;
}

lct_status sweep_tokenise(const sweep *s, sweep_tokeniser *t, const lct_conversation *c, lct_arena *arena, sweep_item **items, size_t *n_items,
                          char reason[256], lct_error *err) {
  *n_items = 0;
  reason[0] = '\0';
  sweep_item *out = lct_arena_alloc(arena, c->n_messages * sizeof *out);
  if (out == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  size_t n = 0;
  for (; n < c->n_messages; n++) {
    lct_error local = {0};
    lct_status status = fill_item(s, t, c, n, arena, &out[n], &local);
    if (status == LCT_E_NOMEM) {
      if (err != NULL) *err = local;
      return status;
    }
    if (status != LCT_OK) {
      (void)snprintf(reason, 256, "messages[%zu]: %.200s", n, local.message);
      return LCT_OK;
    }
    if (out[n].n_tokens <= s->max_tokens) continue;
    (void)snprintf(reason, 256, "messages[%zu]: the prompt up to it has %d tokens, more than %d%s", n, out[n].n_tokens, s->max_tokens,
                   s->o->too_long == LCT_LONG_TRUNCATE && n > 0 ? "; the conversation is cut before it" : "");
    if (s->o->too_long == LCT_LONG_SKIP) return LCT_OK;
    break;
  }
  LCT_TRY(find_needed(s, c, out, n, err));
  *items = out;
  *n_items = n;
  return LCT_OK;
}

static int32_t common(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b) {
  int32_t n = n_a < n_b ? n_a : n_b, i = 0;
  while (i < n && a[i] == b[i]) i++;
  return i;
}

/* Tokens that the items add to a unit's trie: each shares most with its predecessor; the first with the kept prefix. */
int64_t sweep_estimate(const sweep_tokeniser *t, const sweep_item *items, size_t n) {
  int64_t tokens = 0;
  for (size_t i = 0; i < n; i++) {
    int32_t shared = i == 0 ? common(items[0].ids, items[0].n_tokens, t->kept, t->n_kept)
                            : common(items[i].ids, items[i].n_tokens, items[i - 1].ids, items[i - 1].n_tokens);
    tokens += items[i].n_tokens - shared;
  }
  return tokens;
}

static lct_status put_line(sweep_unit *u, const lct_conversation *c, const sweep_item *item, int64_t row, const sweep_tokens *tokens,
                           lct_error *err) {
  const lct_labels *labels = &c->labels[item->message];
  lct_positions content = item->content[item->message];
  lct_message_line line = {.row = row, .id = c->id, .message = item->message, .role = c->messages[item->message].role, .label = labels->label,
                           .labels = labels->labels, .n_labels = labels->n_labels, .ids = item->ids, .n_tokens = item->n_tokens,
                           .content_from = content.from, .content_to = content.to, .tokens = tokens != NULL};
  if (tokens != NULL) {
    line.first_token = tokens->first;
    line.n_stored = tokens->n;
  }
  return lct_message_line_put(&line, &u->messages, err);
}

/* Which tokens of the conversation's last prompt are stored: those of message: and range: positions, all when there are none. */
static lct_status choose_tokens(const sweep *s, sweep_tokeniser *t, sweep_unit *u, const lct_conversation *c, const sweep_item *item,
                                sweep_tokens *out, lct_error *err) {
  size_t n = (size_t)item->message + 1;
  unsigned char *chosen = lct_arena_alloc(&u->arena, (size_t)item->n_tokens + 1);
  int *roles = lct_arena_alloc(&u->arena, n * sizeof *roles);
  lct_positions *scratch = lct_arena_alloc(&u->arena, n * sizeof *scratch);
  if (!chosen || !roles || !scratch) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  bool all = true;
  for (size_t k = 0; k < n; k++) roles[k] = lct_role_of(c->messages[k].role);
  for (int i = 0; i < s->n_positions; i++) {
    if (s->positions[i].kind != SWEEP_AT_ROLE && s->positions[i].kind != SWEEP_AT_RANGE) continue;
    all = false;
    int m = position_ranges(&s->positions[i], item, roles, scratch);
    for (int k = 0; k < m; k++) memset(chosen + scratch[k].from, 1, (size_t)(scratch[k].to - scratch[k].from));
  }
  if (all) memset(chosen, 1, (size_t)item->n_tokens);
  int ranges = 0;
  for (int32_t i = 0; i < item->n_tokens; i++) ranges += chosen[i] && !chosen[i + 1];
  *out = (sweep_tokens){.first = t->token_rows, .ranges = lct_arena_alloc(&u->arena, (size_t)ranges * sizeof *out->ranges)};
  if (ranges > 0 && out->ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  for (int32_t i = 0; i < item->n_tokens; i++) {
    if (!chosen[i]) continue;
    if (i == 0 || !chosen[i - 1]) out->ranges[out->n_ranges++] = (lct_positions){i, i};
    out->ranges[out->n_ranges - 1].to = i + 1;
    out->n++;
  }
  t->token_rows += out->n;
  return LCT_OK;
}

lct_status sweep_unit_add(const sweep *s, sweep_tokeniser *t, sweep_unit *u, const lct_conversation *c, sweep_item *items, size_t n,
                          int64_t estimate, lct_error *err) {
  sweep_tokens tokens = {0}, *stored = NULL;
  if (s->o->keep == LCT_KEEP_TOKENS) {
    LCT_TRY(choose_tokens(s, t, u, c, &items[n - 1], &tokens, err));
    stored = &tokens;
  }
  for (size_t i = 0; i < n; i++) LCT_TRY(put_line(u, c, &items[i], t->rows + (int64_t)i, stored, err));
  u->conversations++;
  u->replaced += (int64_t)c->n_replaced;
  t->rows += (int64_t)n;
  if (t->rows <= s->row_frontier && t->token_rows <= s->token_frontier) { /* it stands in the store already */
    u->skipped_rows += (int64_t)n;
    return LCT_OK;
  }
  if (u->n_items == 0) u->row0 = t->rows - (int64_t)n;
  LCT_TRY(lct_grow(&u->items, &u->cap_items, u->n_items + n, sizeof *u->items, "snapshots", err));
  memcpy(u->items + u->n_items, items, n * sizeof *items);
  u->n_items += n;
  u->estimate += estimate;
  for (size_t i = 0; i < n; i++) u->naive += items[i].n_tokens;
  if (stored == NULL) return LCT_OK;
  tokens.item = (int32_t)u->n_items - 1;
  LCT_TRY(lct_grow(&u->tokens, &u->cap_tokens, u->n_tokens + 1, sizeof *u->tokens, "stored tokens", err));
  u->tokens[u->n_tokens++] = tokens;
  return LCT_OK;
}

static lct_status keep_ids(int32_t **to, int32_t *n_to, size_t *cap, const int32_t *ids, int32_t n, lct_error *err) {
  LCT_TRY(lct_grow(to, cap, (size_t)n + 1, sizeof **to, "kept tokens", err));
  memcpy(*to, ids, (size_t)n * sizeof *ids);
  *n_to = n;
  return LCT_OK;
}

/* A conversation's system message is often that of the one before: its snapshot's vectors are then taken from the memo. */
static lct_status use_memo(const sweep *s, sweep_tokeniser *t, sweep_unit *u, lct_error *err) {
  if (s->o->keep == LCT_KEEP_TOKENS) return LCT_OK;
  sweep_item *last = NULL;
  for (size_t i = 0; i < u->n_items; i++) {
    sweep_item *x = &u->items[i];
    if (x->message != 0 || x->role != 0) continue;
    if (x->n_tokens == t->n_memo && common(x->ids, x->n_tokens, t->memo, t->n_memo) == t->n_memo) x->need_from = -1;
    else last = x;
  }
  if (last == NULL) return LCT_OK;
  last->sets_memo = true;
  return keep_ids(&t->memo, &t->n_memo, &t->cap_memo, last->ids, last->n_tokens, err);
}

/* The kept prefix serves the unit when every item begins with it and needs no row inside it. Otherwise the unit is computed whole, and what
 * its items all begin with stands in the first slots afterwards. */
static lct_status choose_prefix(const sweep *s, sweep_tokeniser *t, sweep_unit *u, lct_error *err) {
  const sweep_item *first = NULL;
  int32_t shared = 0, with_kept = t->n_kept;
  for (size_t i = 0; i < u->n_items; i++) {
    const sweep_item *x = &u->items[i];
    if (x->need_from < 0) continue;
    if (first == NULL) {
      first = x;
      shared = x->need_from;
    }
    int32_t limit = x->need_from < x->n_tokens - 1 ? x->need_from : x->n_tokens - 1;
    shared = common(first->ids, shared < limit ? shared : limit, x->ids, x->n_tokens);
    with_kept = common(t->kept, with_kept < limit ? with_kept : limit, x->ids, x->n_tokens);
  }
  if (first == NULL || s->o->keep == LCT_KEEP_TOKENS) return LCT_OK;
  if (t->n_kept > 0 && with_kept == t->n_kept && u->estimate + t->n_kept <= s->kv_slots) {
    u->prefix = t->n_kept;
    return LCT_OK;
  }
  t->n_kept = 0;
  return shared < MIN_PREFIX ? LCT_OK : keep_ids(&t->kept, &t->n_kept, &t->cap_kept, first->ids, shared, err);
}

static lct_status make_entries(const sweep *s, sweep_unit *u, sweep_item *x, const int *roles, lct_positions *scratch, lct_error *err) {
  int32_t n_path = 0;
  const lct_kv_range *path = lct_plan_seq_ranges(u->plan, x->seq, &n_path);
  x->entries = lct_arena_alloc(&u->arena, (size_t)s->n_positions * sizeof *x->entries);
  if (x->entries == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  for (int i = 0; i < s->n_positions; i++) {
    lct_pool_entry *e = &x->entries[i];
    *e = (lct_pool_entry){.row = -1};
    if (s->positions[i].kind == SWEEP_AT_LAST) {
      e->row = lct_plan_seq_row(u->plan, x->seq, x->n_tokens - 1);
      continue;
    }
    int n = position_ranges(&s->positions[i], x, roles, scratch);
    if (n == 0) continue;
    if (s->positions[i].kind == SWEEP_AT_CONTENT_LAST) {
      e->row = lct_plan_seq_row(u->plan, x->seq, scratch[0].to - 1);
      continue;
    }
    lct_kv_range *slots = lct_arena_alloc(&u->arena, (size_t)n_path * sizeof *slots);
    lct_row_range *mean = lct_arena_alloc(&u->arena, (size_t)n * (size_t)n_path * sizeof *mean);
    if (slots == NULL || mean == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
    for (int k = 0; k < n; k++) {
      int32_t n_slots = lct_ranges_slice(path, n_path, scratch[k].from, scratch[k].to, slots);
      e->n_mean += lct_plan_rows(u->plan, slots, n_slots, mean + e->n_mean);
    }
    e->mean = mean;
  }
  return LCT_OK;
}

/* Roles of a conversation's messages from its items: items of one conversation follow each other, message after message. */
static lct_status make_all_entries(const sweep *s, sweep_unit *u, lct_error *err) {
  int *roles = lct_arena_alloc(&u->arena, u->n_items * sizeof *roles);
  lct_positions *scratch = lct_arena_alloc(&u->arena, u->n_items * sizeof *scratch);
  if (roles == NULL || scratch == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  for (size_t i = 0; i < u->n_items; i++) {
    roles[u->items[i].message] = u->items[i].role;
    if (u->items[i].seq >= 0) LCT_TRY(make_entries(s, u, &u->items[i], roles, scratch, err));
  }
  return LCT_OK;
}

static lct_status build(sweep_unit *u, lct_error *err) {
  LCT_TRY(lct_plan_new(&u->plan, err));
  lct_plan_set_prefix(u->plan, u->prefix);
  for (size_t i = 0; i < u->n_items; i++) {
    sweep_item *x = &u->items[i];
    if (x->need_from >= 0) LCT_TRY(lct_plan_add(u->plan, x->ids, (size_t)x->n_tokens, &x->seq, err));
  }
  return lct_plan_build(u->plan, INT32_MAX, err);
}

lct_status sweep_unit_plan(const sweep *s, sweep_tokeniser *t, sweep_unit *u, lct_error *err) {
  if (u->n_items == 0) return LCT_OK;
  LCT_TRY(use_memo(s, t, u, err));
  LCT_TRY(choose_prefix(s, t, u, err));
  size_t n = 0;
  for (size_t i = 0; i < u->n_items; i++) n += u->items[i].need_from >= 0;
  if (n == 0) return LCT_OK;
  LCT_TRY(build(u, err));
  if (u->prefix > 0 && lct_plan_batch(u->plan, 0)->n_slots > s->kv_slots) { /* larger keys would lose the prefix: computed whole */
    lct_plan_free(u->plan);
    u->plan = NULL;
    u->prefix = t->n_kept = 0;
    LCT_TRY(build(u, err));
  }
  return make_all_entries(s, u, err);
}
