/* A conversation's snapshots as items of a unit, and the unit's plan. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

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

/* FNV-1a over the ids behind the shared ones; what comes before them is known. */
static lct_status hash_item(sweep_tokeniser *t, sweep_item *item, lct_error *err) {
  LCT_TRY(lct_grow(&t->hashes, &t->cap_hashes, (size_t)item->n_tokens + 1, sizeof *t->hashes, "hashes", err));
  if (item->shared == 0) t->hashes[0] = UINT64_C(0xcbf29ce484222325);
  uint64_t h = t->hashes[item->shared];
  for (int32_t i = item->shared; i < item->n_tokens; i++) {
    uint32_t id = (uint32_t)item->tail[i - item->shared];
    for (int k = 0; k < 4; k++) h = (h ^ (id >> (8 * k) & 0xff)) * UINT64_C(0x100000001b3);
    t->hashes[i + 1] = h;
  }
  item->hash = h;
  return LCT_OK;
}

static lct_status fill_item(const sweep *s, sweep_tokeniser *t, const lct_conversation *c, size_t k, lct_arena *arena, sweep_item *item,
                            lct_error *err) {
  lct_tokenised p;
  LCT_TRY(lct_prompts_next(&t->prompts, &s->template, t->encoder, c->messages, k + 1, arena, &p, err));
  *item = (sweep_item){.n_tokens = p.n_tokens, .shared = p.shared, .tail = p.tail, .content = p.content, .message = (int32_t)k,
                       .role = lct_role_of(c->messages[k].role), .seq = -1};
  return hash_item(t, item, err);
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
  lct_prompts_begin(&t->prompts);
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
  int64_t tokens = -common(items[0].tail, items[0].n_tokens, t->kept, t->n_kept);
  for (size_t i = 0; i < n; i++) tokens += items[i].n_tokens - items[i].shared;
  return tokens;
}

void sweep_item_ids(const sweep_item *x, int32_t from, int32_t to, int32_t *out) {
  for (; from < to; x--) {
    if (to <= x->shared) continue;
    int32_t first = from > x->shared ? from : x->shared;
    memcpy(out + (first - from), x->tail + (first - x->shared), (size_t)(to - first) * sizeof *out);
    to = first;
  }
}

lct_status sweep_move_items(sweep_item **items, size_t n, lct_arena *arena, lct_error *err) {
  if (n == 0) return LCT_OK;
  sweep_item *out = lct_arena_alloc(arena, n * sizeof *out);
  if (out == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  memcpy(out, *items, n * sizeof *out);
  for (size_t i = n; i-- > 0;) { /* items have lists of positions in common, of which the last needs most */
    size_t n_tail = (size_t)(out[i].n_tokens - out[i].shared), n_content = (size_t)out[i].message + 1;
    bool again = i + 1 < n && (*items)[i].content == (*items)[i + 1].content;
    int32_t *tail = lct_arena_alloc(arena, n_tail * sizeof *tail);
    lct_positions *content = again ? NULL : lct_arena_alloc(arena, n_content * sizeof *content);
    if (tail == NULL || (content == NULL && !again)) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
    memcpy(tail, out[i].tail, n_tail * sizeof *tail);
    if (!again) memcpy(content, out[i].content, n_content * sizeof *content);
    out[i].tail = tail;
    out[i].content = again ? out[i + 1].content : content;
  }
  *items = out;
  return LCT_OK;
}

static lct_status put_line(sweep_unit *u, const lct_conversation *c, const sweep_item *item, int64_t row, const sweep_tokens *tokens,
                           lct_error *err) {
  const lct_labels *labels = &c->labels[item->message];
  json_t *line = json_pack("{s:I, s:s, s:i, s:s, s:o}", "row", (json_int_t)row, "id", c->id, "message", item->message, "role",
                           c->messages[item->message].role, "label", labels->label != NULL ? json_string(labels->label) : json_null());
  if (line != NULL && labels->n_labels > 1) {
    json_t *all = json_array();
    for (size_t i = 0; i < labels->n_labels; i++) json_array_append_new(all, json_string(labels->labels[i]));
    json_object_set_new(line, "labels", all);
  }
  lct_positions content = item->content[item->message];
  json_object_set_new(line, "n_tokens", json_integer(item->n_tokens));
  json_object_set_new(line, "content", json_pack("[i, i]", content.from, content.to));
  if (tokens != NULL) json_object_set_new(line, "tokens", json_pack("[I, i]", (json_int_t)tokens->first, tokens->n));
  char hash[20];
  (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)item->hash);
  json_object_set_new(line, "hash", json_string(hash));
  char *text = line != NULL ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  json_decref(line);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a line of messages.jsonl");
  lct_status status = lct_buf_puts(&u->messages, text, err);
  free(text);
  return status == LCT_OK ? lct_buf_puts(&u->messages, "\n", err) : status;
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
    if (x->n_tokens == t->n_memo && common(x->tail, x->n_tokens, t->memo, t->n_memo) == t->n_memo) x->need_from = -1;
    else last = x;
  }
  if (last == NULL) return LCT_OK;
  last->sets_memo = true;
  return keep_ids(&t->memo, &t->n_memo, &t->cap_memo, last->tail, last->n_tokens, err);
}

/* How much of ids[0..n) all items that are run begin with, before the first row that any looks at: within a conversation neighbours tell. */
static lct_status shared_by_all(const sweep_unit *u, const int32_t *ids, int32_t n, int32_t *out, lct_error *err) {
  int32_t *mine = NULL;
  LCT_TRY(lct_calloc(&mine, (size_t)n, sizeof *mine, "tokens", err));
  for (size_t i = 0; i < u->n_items; i++) {
    const sweep_item *x = &u->items[i];
    if (x->need_from < 0) continue;
    int32_t limit = x->need_from < x->n_tokens - 1 ? x->need_from : x->n_tokens - 1;
    if (limit < n) n = limit;
    if (x->shared > 0 && x[-1].need_from >= 0) {
      if (x->shared < n) n = x->shared;
      continue;
    }
    sweep_item_ids(x, 0, n, mine);
    n = common(mine, n, ids, n);
  }
  free(mine);
  *out = n;
  return LCT_OK;
}

/* The kept prefix serves the unit when every item begins with it and needs no row inside it. Otherwise the unit is computed whole, and what
 * its items all begin with stands in the first slots afterwards. */
static lct_status choose_prefix(const sweep *s, sweep_tokeniser *t, sweep_unit *u, lct_error *err) {
  if (s->o->keep == LCT_KEEP_TOKENS) return LCT_OK;
  const sweep_item *first = u->items, *end = u->items + u->n_items;
  while (first < end && first->need_from < 0) first++;
  if (first == end) return LCT_OK;
  int32_t shared = 0;
  LCT_TRY(shared_by_all(u, t->kept, t->n_kept, &shared, err));
  if (t->n_kept > 0 && shared == t->n_kept && u->estimate + t->n_kept <= s->kv_slots) {
    u->prefix = t->n_kept;
    return LCT_OK;
  }
  t->n_kept = 0;
  LCT_TRY(lct_grow(&t->kept, &t->cap_kept, (size_t)first->need_from + 1, sizeof *t->kept, "kept tokens", err));
  sweep_item_ids(first, 0, first->need_from, t->kept);
  LCT_TRY(shared_by_all(u, t->kept, first->need_from, &shared, err));
  if (shared >= MIN_PREFIX) t->n_kept = shared;
  return LCT_OK;
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
    lct_kv_range *slots = lct_arena_alloc(&u->arena, (size_t)n * (size_t)n_path * sizeof *slots);
    lct_row_range *mean = lct_arena_alloc(&u->arena, (size_t)n * (size_t)n_path * sizeof *mean);
    if (slots == NULL || mean == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
    for (int k = 0; k < n; k++) e->n_mean += lct_ranges_slice(path, n_path, scratch[k].from, scratch[k].to, slots + e->n_mean);
    for (int k = 0; k < e->n_mean; k++) mean[k] = (lct_row_range){slots[k].first - u->prefix, slots[k].n};
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

/* An item behind the one before it, if that is in the plan, else whole. */
static lct_status add_item(sweep_unit *u, sweep_item *x, lct_error *err) {
  if (x->shared == 0 || x[-1].seq >= 0) {
    int32_t before = x->shared > 0 ? x[-1].seq : -1;
    return lct_plan_add_behind(u->plan, before, x->shared, x->tail, (size_t)(x->n_tokens - x->shared), &x->seq, err);
  }
  int32_t *ids = lct_arena_alloc(&u->arena, (size_t)x->n_tokens * sizeof *ids);
  if (ids == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  sweep_item_ids(x, 0, x->n_tokens, ids);
  return lct_plan_add(u->plan, ids, (size_t)x->n_tokens, &x->seq, err);
}

static lct_status build(sweep_unit *u, lct_error *err) {
  LCT_TRY(lct_plan_new(&u->plan, err));
  lct_plan_set_prefix(u->plan, u->prefix);
  for (size_t i = 0; i < u->n_items; i++) {
    if (u->items[i].need_from >= 0) LCT_TRY(add_item(u, &u->items[i], err));
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
