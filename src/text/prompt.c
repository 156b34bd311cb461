#include "text/prompt.h"

#include <string.h>

lct_role lct_role_of(const char *name) {
  return strcmp(name, "system") == 0 ? LCT_ROLE_SYSTEM : strcmp(name, "user") == 0 ? LCT_ROLE_USER : LCT_ROLE_ASSISTANT;
}

static size_t first_at(const lct_tokens *t, size_t i, size_t byte) {
  while (i < t->len && t->data[i].begin < byte) i++;
  return i;
}

lct_status lct_prompt_tokenise(const lct_template *t, lct_encoder *e, const lct_message *messages, size_t n, lct_tokens *tokens,
                               lct_positions *content, lct_error *err) {
  lct_rendered r = {0};
  lct_status s = lct_template_render(t, messages, n, true, &r, err);
  tokens->len = 0;
  /* the template already holds every special token, so none is added (tokenizers would double Llama 3's first one) */
  if (s == LCT_OK) s = lct_encode(e, r.text.data, r.text.len, false, tokens, err);
  if (s == LCT_OK && tokens->len == 0) s = lct_fail(err, LCT_E_FORMAT, "a prompt renders to no tokens");
  for (size_t i = 0, at = 0; s == LCT_OK && content != NULL && i < n; i++) {
    /* a message of which nothing is rendered may have its span anywhere */
    if (i > 0 && r.spans[i].begin < r.spans[i - 1].end) at = 0;
    size_t from = first_at(tokens, at, r.spans[i].begin);
    at = first_at(tokens, from, r.spans[i].end);
    content[i] = (lct_positions){(int32_t)from, (int32_t)at};
  }
  lct_rendered_free(&r);
  return s;
}

lct_status lct_template_choose(const lct_tokenizer *t, const char *name, bool no_thinking, const char *model, lct_template *out,
                               lct_error *err) {
  if (name != NULL) {
    LCT_TRY(lct_template_by_name(name, out, err));
  } else {
    const char *jinja = lct_tokenizer_chat_template(t);
    if (jinja == NULL) {
#define TEMPLATE_NAME(id, label, what) " " label
      return lct_fail(err, LCT_E_UNSUPPORTED, "%s has no chat template; name one with --chat-template, one of:" LCT_TEMPLATES(TEMPLATE_NAME),
                      model);
#undef TEMPLATE_NAME
    }
    LCT_TRY(lct_template_recognise(jinja, out, err));
  }
  out->enable_thinking = !no_thinking;
  return LCT_OK;
}
