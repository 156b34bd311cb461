/* From messages to the unit: every reference, every prefix of every prompt, and what is generated behind the prompts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/item.h"
#include "scan/scan_impl.h"

/* What an item shows of its last message. */
static void describe(scan_item *item, const lct_message *last) {
  item->role = last->role;
  item->preview = last->content;
  item->preview_len = last->content_len;
}

static lct_status check_length(const scan *s, const lct_item *x, int new_tokens, const char *what, lct_error *err) {
  int max = s->subject->cfg.max_positions;
  if ((int64_t)x->n_tokens + new_tokens <= max) return LCT_OK;
  if (new_tokens == 0) {
    return lct_fail(err, LCT_E_LIMIT, "%s is %d tokens long, longer than the model's context of %d", what, x->n_tokens, max);
  }
  return lct_fail(err, LCT_E_LIMIT, "%s is %d tokens long; with %d new tokens that is longer than the model's context of %d", what,
                  x->n_tokens, new_tokens, max);
}

/* One run a prompt, or one a prefix with run_at_each_message; labels as Activation Lab's. */
static lct_status expand(scan *s, lct_error *err) {
  const lct_scenario *sc = s->scenario;
  size_t n = 0;
  for (size_t i = 0; i < sc->n_prompts; i++) n += sc->prompts[i].run_at_each_message ? sc->prompts[i].n_messages : 1;
  LCT_TRY(lct_calloc(&s->prompts, n, sizeof *s->prompts, "prompts", err));
  for (size_t i = 0; i < sc->n_prompts; i++) {
    const lct_prompt *p = &sc->prompts[i];
    for (size_t k = p->run_at_each_message ? 1 : p->n_messages; k <= p->n_messages; k++) {
      scan_prompt *out = &s->prompts[s->n_prompts++];
      out->messages = p->messages;
      out->n_messages = k;
      if (p->run_at_each_message) (void)snprintf(out->label, sizeof out->label, "prompt_%zu_msg%zuof%zu", i, k, p->n_messages);
      else (void)snprintf(out->label, sizeof out->label, "prompt_%zu", i);
      LCT_TRY(lct_calloc(&out->indexes, (size_t)sc->generation.max_new_tokens, sizeof(char *), "steps", err));
    }
  }
  return LCT_OK;
}

static lct_status count_items(scan *s, lct_error *err) {
  s->n_references = (int32_t)s->scenario->n_references;
  int64_t n = s->n_references;
  for (size_t i = 0; i < s->n_prompts; i++) {
    s->prompts[i].first_item = (int32_t)n;
    n += (int64_t)s->prompts[i].n_messages + 1;
  }
  if (n > INT32_MAX) return lct_fail(err, LCT_E_LIMIT, "%lld snapshots in one scenario", (long long)n);
  return lct_calloc(&s->items, (size_t)n, sizeof *s->items, "snapshots", err);
}

static lct_status add_reference(scan *s, int32_t number, lct_tokens *scratch, lct_error *err) {
  const lct_reference *r = &s->scenario->references[number];
  char what[256];
  lct_item x;
  (void)snprintf(what, sizeof what, "reference \"%s\"", r->label);
  LCT_TRY(lct_item_make(s->subject, s->encoder, r->messages, r->n_messages, scratch, &s->unit->arena, &x, err));
  LCT_TRY(check_length(s, &x, 0, what, err));
  describe(&s->items[number], &r->messages[r->n_messages - 1]);
  LCT_TRY(lct_unit_begin_part(s->unit, err));
  return lct_unit_add(s->unit, &x, s->axes->positions, s->axes->n_positions, err);
}

/* A prompt's snapshots; the one with the reply has no tokens yet. */
static lct_status add_prompt(scan *s, const scan_prompt *p, lct_prompts *prompts, lct_error *err) {
  char what[128];
  lct_role *roles = lct_arena_alloc(&s->unit->arena, p->n_messages * sizeof *roles);
  if (roles == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt");
  for (size_t i = 0; i < p->n_messages; i++) roles[i] = lct_role_of(p->messages[i].role);
  (void)snprintf(what, sizeof what, "%s (%zu messages)", p->label, p->n_messages);
  LCT_TRY(lct_unit_begin_part(s->unit, err));
  lct_prompts_begin(prompts);
  for (size_t k = 1; k <= p->n_messages; k++) {
    lct_tokenised t;
    LCT_TRY(lct_prompts_next(prompts, &s->subject->template, s->encoder, p->messages, k, &s->unit->arena, &t, err));
    const lct_item x = {.n_tokens = t.n_tokens,
                        .shared = t.shared,
                        .tail = t.tail,
                        .content = t.content,
                        .roles = roles,
                        .message = (int32_t)k - 1,
                        .seq = -1};
    LCT_TRY(check_length(s, &x, k == p->n_messages ? s->scenario->generation.max_new_tokens : 0, what, err));
    describe(&s->items[p->first_item + (int32_t)k - 1], &p->messages[k - 1]);
    LCT_TRY(lct_unit_add(s->unit, &x, s->axes->positions, s->axes->n_positions, err));
  }
  return lct_unit_add(s->unit, &(lct_item){.seq = -1}, s->axes->positions, s->axes->n_positions, err);
}

static lct_status add_items(scan *s, lct_error *err) {
  lct_tokens scratch = {0};
  lct_prompts prompts = {0};
  lct_status status = LCT_OK;
  for (int32_t i = 0; i < s->n_references && status == LCT_OK; i++) status = add_reference(s, i, &scratch, err);
  for (size_t i = 0; i < s->n_prompts && status == LCT_OK; i++) status = add_prompt(s, &s->prompts[i], &prompts, err);
  lct_tokens_free(&scratch);
  lct_prompts_free(&prompts);
  return status;
}

static lct_status add_generations(scan *s, lct_error *err) {
  const lct_scenario *sc = s->scenario;
  lct_unit *u = s->unit;
  size_t n_tokens = (size_t)sc->generation.max_new_tokens;
  lct_sampling *sampling = lct_arena_alloc(&u->arena, sizeof *sampling);
  u->generations = lct_arena_alloc(&u->arena, (s->n_prompts + 1) * sizeof *u->generations);
  if (sampling == NULL || u->generations == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for what is generated");
  *sampling = (lct_sampling){.do_sample = sc->generation.do_sample,
                             .temperature = sc->generation.temperature,
                             .top_k = sc->generation.top_k,
                             .top_p = sc->generation.top_p,
                             .seed = (uint64_t)sc->generation.seed};
  u->sampling = sampling;
  u->top_k = sc->capture.top_k_probs < s->subject->cfg.vocab ? sc->capture.top_k_probs : s->subject->cfg.vocab;
  for (size_t i = 0; i < s->n_prompts; i++) {
    lct_choice *choices = lct_arena_alloc(&u->arena, n_tokens * sizeof *choices);
    if (choices == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu steps", n_tokens);
    int32_t item = scan_prompt_item(&s->prompts[i]);
    u->generations[u->n_generations++] =
        (lct_generation){.item = item, .reply = item + 1, .max_tokens = (int32_t)n_tokens, .choices = choices};
  }
  return LCT_OK;
}

lct_status scan_make_unit(scan *s, lct_error *err) {
  LCT_TRY(expand(s, err));
  LCT_TRY(count_items(s, err));
  LCT_TRY(add_items(s, err));
  LCT_TRY(add_generations(s, err));
  return lct_unit_plan(s->unit, s->axes->positions, s->axes->n_positions, s->subject->device.batch_rows, err);
}

/* Bytes of the tensors of one file of n tokens over n_keys keys. */
static int64_t file_bytes(const scan *s, int64_t n, int64_t n_keys) {
  const lct_config *c = &s->subject->cfg;
  int64_t per_layer = 0, global = 0, n_layers = 0;
  for (int l = 0; l < c->n_layers; l++) n_layers += s->layers[l];
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    if ((s->sources & LCT_SOURCE_BIT(i)) == 0) continue;
    int64_t values = i == LCT_SOURCE_ATTN_WEIGHTS ? c->n_heads * n * n_keys : n * lct_source_width((lct_source)i, c);
    if (lct_source_is_global((lct_source)i)) global += values;
    else per_layer += values;
  }
  return (per_layer * n_layers + global) * (s->scenario->capture.store_dtype == LCT_STORE_F16 ? 2 : 4);
}

int64_t scan_tensor_bytes(const scan *s) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < s->unit->n_items; i++) {
    int64_t n = s->unit->items[i].n_tokens;
    if (n > 0) bytes += file_bytes(s, n, n);
  }
  for (size_t i = 0; i < s->n_prompts; i++) {
    int64_t n = s->unit->items[scan_prompt_item(&s->prompts[i])].n_tokens;
    bytes += file_bytes(s, n, n);
    for (int step = 1; step < s->scenario->generation.max_new_tokens; step++) bytes += file_bytes(s, 1, n + step);
  }
  return bytes;
}

/* The reply is the generated tokens' text without the end token: the template writes its own. */
static lct_status decode_reply(scan *s, const lct_generation *g, lct_buf *out, lct_error *err) {
  size_t n = (size_t)g->n;
  if (n > 0 && lct_subject_is_end(s->subject, g->choices[n - 1].token)) n--;
  int32_t *ids = NULL;
  LCT_TRY(lct_calloc(&ids, n, sizeof *ids, "reply", err));
  for (size_t i = 0; i < n; i++) ids[i] = g->choices[i].token;
  lct_status status = lct_decode(s->subject->tokenizer, ids, n, true, out, err);
  free(ids);
  return status;
}

lct_status scan_make_reply(scan *s, lct_unit *u, size_t number, lct_error *err) {
  scan_prompt *p = &s->prompts[number];
  const lct_generation *g = &u->generations[number];
  LCT_TRY(decode_reply(s, g, &p->reply, err));
  if (p->reply.len == 0) return LCT_OK;
  lct_message *messages = lct_arena_alloc(&u->arena, (p->n_messages + 1) * sizeof *messages);
  if (messages == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply");
  memcpy(messages, p->messages, p->n_messages * sizeof *messages);
  messages[p->n_messages] = (lct_message){"assistant", p->reply.data, p->reply.len};
  lct_tokens scratch = {0};
  lct_status status = lct_item_make(s->subject, s->encoder, messages, p->n_messages + 1, &scratch, &u->arena, &u->items[g->reply], err);
  lct_tokens_free(&scratch);
  LCT_TRY(status);
  describe(&s->items[g->reply], &messages[p->n_messages]);
  s->items[g->reply].generated = true;
  return check_length(s, &u->items[g->reply], 0, "the prompt with its reply", err);
}
