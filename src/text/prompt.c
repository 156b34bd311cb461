#include "text/prompt.h"

#include <stdlib.h>
#include <string.h>

lct_role lct_role_of(const char *name) {
  return strcmp(name, "system") == 0 ? LCT_ROLE_SYSTEM : strcmp(name, "user") == 0 ? LCT_ROLE_USER : LCT_ROLE_ASSISTANT;
}

static size_t first_at(const lct_tokens *t, size_t i, size_t byte) {
  while (i < t->len && t->data[i].begin < byte) i++;
  return i;
}

/* Positions of messages [first, n_spans); content[first - 1] is known. */
static void place_messages(const lct_rendered *r, const lct_tokens *tokens, size_t first, lct_token_range *content) {
  size_t at = first > 0 ? (size_t)content[first - 1].to : 0;
  for (size_t i = first; i < r->n_spans; i++) {
    /* a message of which nothing is rendered may have its span anywhere */
    if (i > 0 && r->spans[i].begin < r->spans[i - 1].end) at = 0;
    size_t from = first_at(tokens, at, r->spans[i].begin);
    at = first_at(tokens, from, r->spans[i].end);
    content[i] = (lct_token_range){(int32_t)from, (int32_t)at};
  }
}

static lct_status no_tokens(lct_error *err) { return lct_fail(err, LCT_E_FORMAT, "a prompt renders to no tokens"); }

lct_status lct_prompt_tokenise(const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *tokens,
                               lct_token_range *content, lct_error *err) {
  lct_rendered r = {0};
  lct_status s = lct_template_render(t, messages, n, true, &r, err);
  tokens->len = 0;
  /* the template already holds every special token, so none is added (tokenizers would double Llama 3's first one) */
  if (s == LCT_OK) s = lct_encode(e, r.text.data, r.text.len, false, tokens, err);
  if (s == LCT_OK && tokens->len == 0) s = no_tokens(err);
  if (s == LCT_OK && content != NULL) place_messages(&r, tokens, 0, content);
  lct_rendered_free(&r);
  return s;
}

void lct_prompts_begin(lct_prompts *p) {
  p->rendered.text.len = p->rendered.n_spans = p->tokens.len = p->seams.len = p->n_content = p->cap_content = 0;
  p->content = NULL;
}

void lct_prompts_free(lct_prompts *p) {
  lct_rendered_free(&p->rendered);
  lct_tokens_free(&p->tokens);
  lct_seams_free(&p->seams);
  free(p->ids);
  free(p->placed);
  *p = (lct_prompts){0};
}

/* The list of positions grows in place as long as what stands in it holds: prompts before have it, too. */
static lct_status place_again(lct_prompts *p, size_t same, size_t kept, lct_arena *arena, lct_error *err) {
  size_t known = 0, n = p->rendered.n_spans;
  while (known < same && known < p->n_content && (size_t)p->content[known].from < kept && (size_t)p->content[known].to < kept) known++;
  LCT_TRY(lct_grow(&p->placed, &p->cap_placed, n, sizeof *p->placed, "messages' positions", err));
  if (known > 0) p->placed[known - 1] = p->content[known - 1];
  place_messages(&p->rendered, &p->tokens, known, p->placed);
  size_t holds = known;
  while (holds < p->n_content && p->placed[holds].from == p->content[holds].from && p->placed[holds].to == p->content[holds].to) holds++;
  if (holds < p->n_content || n > p->cap_content) {
    size_t cap = 2 * n + 8;
    lct_token_range *list = lct_arena_alloc(arena, cap * sizeof *list);
    if (list == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for messages' positions");
    if (holds > 0) memcpy(list, p->content, holds * sizeof *list);
    p->content = list;
    p->cap_content = cap;
  }
  memcpy(p->content + holds, p->placed + holds, (n - holds) * sizeof *p->content);
  p->n_content = n;
  return LCT_OK;
}

/* The ids behind those that are the same as before. */
static lct_status take_tail(lct_prompts *p, size_t n_before, size_t kept, lct_arena *arena, lct_tokenised *out, lct_error *err) {
  size_t n = p->tokens.len, shared = kept;
  while (shared < n && shared < n_before && p->ids[shared] == p->tokens.data[shared].id) shared++;
  int32_t *tail = lct_arena_alloc(arena, (n - shared) * sizeof *tail);
  if (tail == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt's tokens");
  LCT_TRY(lct_grow(&p->ids, &p->cap_ids, n, sizeof *p->ids, "a prompt's tokens", err));
  for (size_t i = shared; i < n; i++) p->ids[i] = tail[i - shared] = p->tokens.data[i].id;
  *out = (lct_tokenised){.n_tokens = (int32_t)n, .shared = (int32_t)shared, .tail = tail, .content = p->content};
  return LCT_OK;
}

lct_status lct_prompts_next(lct_prompts *p, const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_arena *arena,
                            lct_tokenised *out, lct_error *err) {
  size_t n_before = p->tokens.len, kept = 0;
  lct_same same;
  LCT_TRY(lct_template_render_on(t, messages, n, &p->rendered, &same, err));
  LCT_TRY(lct_encode_again(e, p->rendered.text.data, p->rendered.text.len, same.n_bytes, &p->tokens, &p->seams, &kept, err));
  if (p->tokens.len == 0) return no_tokens(err);
  LCT_TRY(place_again(p, same.n_messages, kept, arena, err));
  return take_tail(p, n_before, kept, arena, out, err);
}

lct_status lct_template_choose(const lct_tokenizer *t, const char *name, bool no_thinking, const char *model, lct_template *out,
                               lct_error *err) {
  if (name != NULL) {
    LCT_TRY(lct_template_by_name(name, out, err));
  } else {
    const char *jinja = lct_tokenizer_chat_template(t);
    if (jinja == NULL) {
#define TEMPLATE_NAME(id, label, what) " " label
      return lct_fail(err, LCT_E_UNSUPPORTED,
                      "%s has no chat template; name one with --chat-template, one of:" LCT_TEMPLATES(TEMPLATE_NAME), model);
#undef TEMPLATE_NAME
    }
    LCT_TRY(lct_template_recognise(jinja, out, err));
  }
  out->enable_thinking = !no_thinking;
  return LCT_OK;
}
