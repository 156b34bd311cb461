/* A conversation's snapshots as items of a unit, and their lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "token ids are hashed as they lie in memory");

/* The hash of an item's ids; that of what it shares with the item before is known. */
static lct_status hash_item(sweep_tokeniser *t, const lct_item *x, uint64_t *out, lct_error *err) {
  LCT_TRY(lct_grow(&t->hashes, &t->cap_hashes, (size_t)x->n_tokens + 1, sizeof *t->hashes, "hashes", err));
  if (x->shared == 0) t->hashes[0] = LCT_FNV1A;
  for (int32_t i = x->shared; i < x->n_tokens; i++) t->hashes[i + 1] = lct_fnv1a(t->hashes[i], &x->tail[i - x->shared], sizeof *x->tail);
  *out = t->hashes[x->n_tokens];
  return LCT_OK;
}

static lct_status make_item(const sweep_plan_options *o, sweep_tokeniser *t, const lct_conversation *c, int32_t k, const lct_role *roles,
                            lct_arena *arena, sweep_snapshots *out, lct_error *err) {
  lct_tokenised p;
  LCT_TRY(lct_prompts_next(&t->prompts, &o->subject->template, t->encoder, c->messages, (size_t)k + 1, arena, &p, err));
  out->items[k] =
      (lct_item){.n_tokens = p.n_tokens, .shared = p.shared, .tail = p.tail, .content = p.content, .roles = roles, .message = k, .seq = -1};
  return hash_item(t, &out->items[k], &out->hashes[k], err);
}

lct_status sweep_tokenise(const sweep_plan_options *o, sweep_tokeniser *t, const lct_conversation *c, lct_arena *arena,
                          sweep_snapshots *out, lct_error *err) {
  *out = (sweep_snapshots){0};
  size_t n = c->n_messages;
  lct_role *roles = lct_arena_alloc(arena, n * sizeof *roles);
  out->items = lct_arena_alloc(arena, n * sizeof *out->items);
  out->hashes = lct_arena_alloc(arena, n * sizeof *out->hashes);
  if (!roles || !out->items || !out->hashes) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  for (size_t k = 0; k < n; k++) roles[k] = lct_role_of(c->messages[k].role);
  lct_prompts_begin(&t->prompts);
  int32_t k = 0;
  for (; (size_t)k < n; k++) {
    lct_error local = {0};
    lct_status status = make_item(o, t, c, k, roles, arena, out, &local);
    if (status == LCT_E_NOMEM) {
      if (err != NULL) *err = local;
      return status;
    }
    if (status != LCT_OK) {
      (void)snprintf(out->reason, sizeof out->reason, "messages[%d]: %.200s", k, local.message);
      return LCT_OK;
    }
    if (out->items[k].n_tokens <= o->max_tokens) continue;
    (void)snprintf(out->reason, sizeof out->reason, "messages[%d]: the prompt up to it has %d tokens, more than %d%s", k,
                   out->items[k].n_tokens, o->max_tokens,
                   o->too_long == LCT_LONG_TRUNCATE && k > 0 ? "; the conversation is cut before it" : "");
    if (o->too_long == LCT_LONG_SKIP) return LCT_OK;
    break;
  }
  out->n = k;
  return LCT_OK;
}

lct_status sweep_move(sweep_snapshots *s, lct_arena *arena, lct_error *err) {
  if (s->n == 0) return LCT_OK;
  size_t n = (size_t)s->n;
  lct_item *out = lct_arena_alloc(arena, n * sizeof *out);
  uint64_t *hashes = lct_arena_alloc(arena, n * sizeof *hashes);
  lct_role *roles = lct_arena_alloc(arena, n * sizeof *roles);
  if (!out || !hashes || !roles) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  memcpy(out, s->items, n * sizeof *out);
  memcpy(hashes, s->hashes, n * sizeof *hashes);
  memcpy(roles, s->items[0].roles, n * sizeof *roles);
  for (size_t i = n; i-- > 0;) { /* items have lists of positions in common, of which the last needs most */
    size_t n_tail = (size_t)(out[i].n_tokens - out[i].shared), n_content = (size_t)out[i].message + 1;
    bool again = i + 1 < n && s->items[i].content == s->items[i + 1].content;
    int32_t *tail = lct_arena_alloc(arena, n_tail * sizeof *tail);
    lct_token_range *content = again ? NULL : lct_arena_alloc(arena, n_content * sizeof *content);
    if (tail == NULL || (content == NULL && !again)) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
    memcpy(tail, out[i].tail, n_tail * sizeof *tail);
    if (!again) memcpy(content, out[i].content, n_content * sizeof *content);
    out[i].tail = tail;
    out[i].content = again ? out[i + 1].content : content;
    out[i].roles = roles;
  }
  s->items = out;
  s->hashes = hashes;
  return LCT_OK;
}

static lct_status put_line(sweep_batch *b, const lct_conversation *c, const lct_item *x, uint64_t hash, int64_t row,
                           const sweep_tokens *tokens, lct_error *err) {
  const lct_labels *labels = &c->labels[x->message];
  lct_token_range content = x->content[x->message];
  lct_message_line line = {.row = row,
                           .id = c->id,
                           .message = x->message,
                           .role = c->messages[x->message].role,
                           .label = labels->label,
                           .labels = labels->labels,
                           .n_labels = labels->n_labels,
                           .hash = hash,
                           .n_tokens = x->n_tokens,
                           .content_from = content.from,
                           .content_to = content.to,
                           .tokens = tokens != NULL};
  if (tokens != NULL) {
    line.first_token = tokens->first;
    line.n_stored = tokens->n;
  }
  return lct_message_line_put(&line, &b->messages, err);
}

/* Which tokens of the conversation's last prompt are stored: those of message: and range: positions, all when there are none. */
static lct_status choose_tokens(const sweep_plan_options *o, sweep_tokeniser *t, lct_unit *u, const lct_item *x, sweep_tokens *out,
                                lct_error *err) {
  unsigned char *chosen = lct_arena_alloc(&u->arena, (size_t)x->n_tokens + 1);
  lct_token_range *scratch = lct_arena_alloc(&u->arena, ((size_t)x->message + 1) * sizeof *scratch);
  if (!chosen || !scratch) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  const lct_prompt_shape shape = {.n_tokens = x->n_tokens, .content = x->content, .roles = x->roles, .message = x->message};
  bool all = true;
  for (int i = 0; i < o->n_positions; i++) {
    if (o->positions[i].at != LCT_AT_ROLE && o->positions[i].at != LCT_AT_RANGE) continue;
    all = false;
    int m = lct_position_tokens(&o->positions[i], &shape, scratch);
    for (int k = 0; k < m; k++) memset(chosen + scratch[k].from, 1, (size_t)(scratch[k].to - scratch[k].from));
  }
  if (all) memset(chosen, 1, (size_t)x->n_tokens);
  int ranges = 0;
  for (int32_t i = 0; i < x->n_tokens; i++) ranges += chosen[i] && !chosen[i + 1];
  *out = (sweep_tokens){.first = t->token_rows, .ranges = lct_arena_alloc(&u->arena, (size_t)ranges * sizeof *out->ranges)};
  if (ranges > 0 && out->ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a conversation");
  for (int32_t i = 0; i < x->n_tokens; i++) {
    if (!chosen[i]) continue;
    if (i == 0 || !chosen[i - 1]) out->ranges[out->n_ranges++] = (lct_token_range){i, i};
    out->ranges[out->n_ranges - 1].to = i + 1;
    out->n++;
  }
  t->token_rows += out->n;
  return LCT_OK;
}

lct_status sweep_unit_add(const sweep_plan_options *o, sweep_tokeniser *t, lct_unit *u, const lct_conversation *c, const sweep_snapshots *s,
                          int64_t estimate, lct_error *err) {
  sweep_batch *b = u->client;
  sweep_tokens tokens = {0};
  if (o->stores_tokens) LCT_TRY(choose_tokens(o, t, u, &s->items[s->n - 1], &tokens, err));
  for (int32_t i = 0; i < s->n; i++) {
    LCT_TRY(put_line(b, c, &s->items[i], s->hashes[i], t->rows + i, o->stores_tokens ? &tokens : NULL, err));
  }
  b->conversations++;
  b->replaced += (int64_t)c->n_replaced;
  t->rows += s->n;
  if (t->rows <= o->row_frontier && t->token_rows <= o->token_frontier) { /* it stands in the store already */
    b->skipped_rows += s->n;
    return LCT_OK;
  }
  if (u->n_items == 0) b->row0 = t->rows - s->n;
  LCT_TRY(lct_unit_begin_part(u, err));
  for (int32_t i = 0; i < s->n; i++) LCT_TRY(lct_unit_add(u, &s->items[i], o->positions, o->n_positions, err));
  u->estimate += estimate;
  if (!o->stores_tokens) return LCT_OK;
  tokens.item = u->n_items - 1;
  LCT_TRY(lct_grow(&b->tokens, &b->cap_tokens, b->n_tokens + 1, sizeof *b->tokens, "stored tokens", err));
  b->tokens[b->n_tokens++] = tokens;
  return LCT_OK;
}
