/* Tokens of a text, for people to read. */
#include <stdlib.h>

#include "base/utf8.h"
#include "model/model.h"
#include "text/tokenizer.h"

static lct_status list(const lct_tokenizer *t, const lct_tokens *tokens, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, "", err));
  for (size_t i = 0; i < tokens->len; i++) {
    const lct_token *k = &tokens->data[i];
    LCT_TRY(lct_buf_printf(out, err, "%d\t%u-%u\t", k->id, k->begin, k->end));
    lct_buf piece = {0};
    lct_status s = lct_decode(t, &k->id, 1, false, &piece, err);
    for (size_t c = 0; s == LCT_OK && c < piece.len; c++) {
      if (piece.data[c] == '\n') s = lct_buf_puts(out, "\\n", err);
      else if (piece.data[c] == '\t') s = lct_buf_puts(out, "\\t", err);
      else if (piece.data[c] == '\r') s = lct_buf_puts(out, "\\r", err);
      else s = lct_buf_append(out, &piece.data[c], 1, err);
    }
    lct_buf_free(&piece);
    LCT_TRY(s);
    LCT_TRY(lct_buf_puts(out, "\n", err));
  }
  return LCT_OK;
}

static lct_status encode(const lct_tokenizer *t, const char *text, size_t len, bool add_special, lct_buf *out, lct_error *err) {
  lct_encoder *e = NULL;
  lct_tokens tokens = {0};
  lct_buf clean = {0};
  lct_status s = lct_encoder_new(t, &e, err);
  if (s == LCT_OK) s = lct_utf8_replace(text, len, &clean, NULL, err);
  if (s == LCT_OK) s = lct_encode(e, clean.data != NULL ? clean.data : "", clean.len, add_special, &tokens, err);
  if (s == LCT_OK) s = list(t, &tokens, out, err);
  lct_buf_free(&clean);
  lct_tokens_free(&tokens);
  lct_encoder_free(e);
  return s;
}

lct_status lct_tokenize(const char *model, const char *text, size_t len, bool add_special, char **out, lct_error *err) {
  char *path = NULL;
  lct_model *m = NULL;
  lct_tokenizer *t = NULL;
  lct_buf b = {0};
  lct_status s = lct_model_resolve(model, NULL, &path, err);
  if (s == LCT_OK) s = lct_model_map(path, &m, err);
  if (s == LCT_OK) s = lct_tokenizer_for_model(m, &t, err);
  if (s == LCT_OK) s = encode(t, text, len, add_special, &b, err);
  lct_tokenizer_free(t);
  lct_model_unmap(m);
  free(path);
  *out = NULL;
  if (s == LCT_OK) *out = b.data;
  else lct_buf_free(&b);
  return s;
}
