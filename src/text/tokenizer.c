#include "text/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void lct_tokens_free(lct_tokens *t) {
  if (t == NULL) return;
  free(t->data);
  *t = (lct_tokens){0};
}

void lct_seams_free(lct_seams *c) {
  free(c->data);
  *c = (lct_seams){0};
}

lct_status lct_tokenizer_new(lct_tokenizer **out, lct_error *err) {
  lct_tokenizer *t = NULL;
  LCT_TRY(lct_calloc(&t, 1, sizeof *t, "a tokenizer", err));
  t->bos = t->eos = t->pad = -1;
  lct_status s = lct_uclasses_build(&t->classes, err);
  if (s != LCT_OK) {
    free(t);
    return s;
  }
  *out = t;
  return LCT_OK;
}

void lct_tokenizer_free(lct_tokenizer *t) {
  if (t == NULL) return;
  lct_uclasses_free(&t->classes);
  lct_bpe_free(&t->bpe);
  lct_added_free(&t->added);
  lct_pretok_free(&t->pretok);
  free(t->prefix);
  free(t->suffix);
  free(t->kinds);
  free(t->chat_template);
  free(t);
}

lct_status lct_tokenizer_finish(lct_tokenizer *t, const char *name, lct_error *err) {
  if (t->bpe.n_tokens == 0) return lct_fail(err, LCT_E_FORMAT, "%s: the vocabulary is empty", name);
  LCT_TRY(lct_bpe_finish(&t->bpe, err));
  LCT_TRY(lct_added_finish(&t->added, &t->classes, t->nfc, err));
  LCT_TRY(lct_calloc(&t->kinds, t->bpe.n_tokens, 1, "special tokens", err));
  for (size_t i = 0; i < t->added.n_tokens; i++) {
    t->kinds[t->added.tokens[i].id] = (uint8_t)(LCT_TOKEN_ADDED | (t->added.tokens[i].special ? LCT_TOKEN_SPECIAL : 0));
  }
  return LCT_OK;
}

lct_status lct_tokenizer_set_template(lct_tokenizer *t, const char *text, size_t n, lct_error *err) {
  char *copy = NULL;
  LCT_TRY(lct_calloc(&copy, n + 1, 1, "the chat template", err));
  memcpy(copy, text, n);
  free(t->chat_template);
  t->chat_template = copy;
  return LCT_OK;
}

lct_status lct_decode_bytes(const lct_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_append(out, "", 0, err));
  for (size_t i = 0; i < n; i++) {
    if (ids[i] < 0 || (size_t)ids[i] >= t->bpe.n_tokens) continue; /* tokenizers leaves ids out that it does not know */
    if (skip_special && (t->kinds[ids[i]] & LCT_TOKEN_SPECIAL)) continue;
    LCT_TRY(lct_buf_append(out, t->bpe.tokens[ids[i]].bytes, t->bpe.tokens[ids[i]].bytes_len, err));
  }
  return LCT_OK;
}

lct_status lct_decode(const lct_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, lct_buf *out, lct_error *err) {
  lct_buf raw = {0};
  lct_status s = lct_decode_bytes(t, ids, n, skip_special, &raw, err);
  if (s == LCT_OK) s = lct_utf8_replace(raw.data, raw.len, out, NULL, err);
  lct_buf_free(&raw);
  return s;
}

int32_t lct_tokenizer_vocab(const lct_tokenizer *t) { return (int32_t)t->bpe.n_tokens; }

int32_t lct_tokenizer_id(const lct_tokenizer *t, const char *token) {
  const lct_added_token *added = lct_added_find(&t->added, token, strlen(token));
  if (added != NULL) return added->id;
  uint32_t id = lct_bpe_find(&t->bpe, token, strlen(token));
  return id == LCT_BPE_NONE ? -1 : (int32_t)id;
}

bool lct_tokenizer_is_special(const lct_tokenizer *t, int32_t id) {
  return id >= 0 && (size_t)id < t->bpe.n_tokens && (t->kinds[id] & LCT_TOKEN_SPECIAL) != 0;
}

const char *lct_tokenizer_chat_template(const lct_tokenizer *t) { return t->chat_template; }
int32_t lct_tokenizer_eos(const lct_tokenizer *t) { return t->eos; }
int32_t lct_tokenizer_bos(const lct_tokenizer *t) { return t->bos; }
int32_t lct_tokenizer_pad(const lct_tokenizer *t) { return t->pad; }
