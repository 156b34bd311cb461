/* From messages to token sequences: every reference, every prefix of every prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_impl.h"

static lct_status tokenise(scan *s, scan_item *item, const lct_message *messages, size_t n, lct_error *err) {
  lct_positions *content = NULL;
  LCT_TRY(lct_calloc(&content, n, sizeof *content, "message positions", err));
  lct_status status = lct_prompt_tokenise(&s->template, s->encoder, messages, n, &item->tokens, content, err);
  item->content = content[n - 1];
  free(content);
  item->role = messages[n - 1].role;
  item->preview = messages[n - 1].content;
  item->preview_len = messages[n - 1].content_len;
  item->present = status == LCT_OK;
  return status;
}

static lct_status check_length(const scan *s, const scan_item *item, int new_tokens, const char *what, lct_error *err) {
  int64_t need = (int64_t)item->tokens.len + new_tokens;
  if (need <= s->cfg.max_positions) return LCT_OK;
  if (new_tokens == 0) {
    return lct_fail(err, LCT_E_LIMIT, "%s is %zu tokens long, longer than the model's context of %d", what, item->tokens.len,
                    s->cfg.max_positions);
  }
  return lct_fail(err, LCT_E_LIMIT, "%s is %zu tokens long; with %d new tokens that is longer than the model's context of %d", what,
                  item->tokens.len, new_tokens, s->cfg.max_positions);
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
      LCT_TRY(lct_calloc(&out->steps, (size_t)sc->generation.max_new_tokens, sizeof *out->steps, "steps", err));
    }
  }
  return LCT_OK;
}

static lct_status make_items(scan *s, lct_error *err) {
  s->n_references = (int32_t)s->scenario->n_references;
  int64_t n = s->n_references;
  for (size_t i = 0; i < s->n_prompts; i++) {
    s->prompts[i].first_item = (int32_t)n;
    n += (int64_t)s->prompts[i].n_messages + 1;
  }
  if (n > INT32_MAX) return lct_fail(err, LCT_E_LIMIT, "%lld snapshots in one scenario", (long long)n);
  s->n_items = (int32_t)n;
  return lct_calloc(&s->items, (size_t)n, sizeof *s->items, "snapshots", err);
}

lct_status scan_tokenise(scan *s, lct_error *err) {
  LCT_TRY(expand(s, err));
  LCT_TRY(make_items(s, err));
  for (int32_t i = 0; i < s->n_references; i++) {
    const lct_reference *r = &s->scenario->references[i];
    char what[256];
    (void)snprintf(what, sizeof what, "reference \"%s\"", r->label);
    LCT_TRY(tokenise(s, &s->items[i], r->messages, r->n_messages, err));
    LCT_TRY(check_length(s, &s->items[i], 0, what, err));
  }
  for (size_t i = 0; i < s->n_prompts; i++) {
    scan_prompt *p = &s->prompts[i];
    char what[128];
    (void)snprintf(what, sizeof what, "%s (%zu messages)", p->label, p->n_messages);
    for (size_t k = 1; k <= p->n_messages; k++) {
      scan_item *item = &s->items[p->first_item + (int32_t)k - 1];
      LCT_TRY(tokenise(s, item, p->messages, k, err));
      LCT_TRY(check_length(s, item, k == p->n_messages ? s->scenario->generation.max_new_tokens : 0, what, err));
    }
  }
  return LCT_OK;
}

const scan_item *scan_prompt_item(const scan *s, const scan_prompt *p) {
  return &s->items[p->first_item + (int32_t)p->n_messages - 1];
}

/* Bytes of the tensors of one file of n tokens over n_keys keys. */
static int64_t file_bytes(const scan *s, int64_t n, int64_t n_keys) {
  int64_t per_layer = 0, global = 0, n_layers = 0;
  for (int l = 0; l < s->cfg.n_layers; l++) n_layers += s->layers[l];
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    if ((s->sources & LCT_SOURCE_BIT(i)) == 0) continue;
    int64_t values = i == LCT_SOURCE_ATTN_WEIGHTS ? s->cfg.n_heads * n * n_keys : n * lct_source_width((lct_source)i, &s->cfg);
    if (lct_source_is_global((lct_source)i)) global += values;
    else per_layer += values;
  }
  return (per_layer * n_layers + global) * (s->scenario->capture.store_dtype == LCT_STORE_F16 ? 2 : 4);
}

int64_t scan_tensor_bytes(const scan *s) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < s->n_items; i++) {
    int64_t n = (int64_t)s->items[i].tokens.len;
    if (s->items[i].present) bytes += file_bytes(s, n, n);
  }
  for (size_t i = 0; i < s->n_prompts; i++) {
    int64_t n = (int64_t)scan_prompt_item(s, &s->prompts[i])->tokens.len;
    bytes += file_bytes(s, n, n);
    for (int step = 1; step < s->scenario->generation.max_new_tokens; step++) bytes += file_bytes(s, 1, n + step);
  }
  return bytes;
}

lct_status scan_tokenise_reply(scan *s, scan_prompt *p, lct_error *err) {
  scan_item *item = &s->items[p->first_item + (int32_t)p->n_messages];
  lct_message *messages = lct_arena_alloc(&s->arena, (p->n_messages + 1) * sizeof *messages);
  if (messages == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply");
  memcpy(messages, p->messages, p->n_messages * sizeof *messages);
  messages[p->n_messages] = (lct_message){"assistant", p->reply.data, p->reply.len};
  LCT_TRY(tokenise(s, item, messages, p->n_messages + 1, err));
  item->generated = true;
  return check_length(s, item, 0, "the prompt with its reply", err);
}
