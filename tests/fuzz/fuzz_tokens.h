/* Encoding and decoding with whatever tokenizer came out of a fuzzed file. */
#ifndef LCT_FUZZ_TOKENS_H
#define LCT_FUZZ_TOKENS_H

#include "base/utf8.h"
#include "fuzz_support.h"
#include "text/tokenizer.h"

static inline void fuzz_decode(const lct_tokenizer *t, const lct_tokens *tokens) {
  lct_error err = {0};
  int32_t *ids = calloc(tokens->len + 1, sizeof *ids);
  FUZZ_CHECK(ids != NULL);
  for (size_t i = 0; i < tokens->len; i++) ids[i] = tokens->data[i].id;
  for (int skip = 0; skip < 2; skip++) {
    lct_buf out = {0};
    lct_status s = lct_decode(t, ids, tokens->len, skip == 1, &out, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    FUZZ_CHECK(s != LCT_OK || out.len == 0 || lct_utf8_valid(out.data, out.len));
    lct_buf_free(&out);
  }
  free(ids);
}

/* Encodes text (made valid UTF-8 first), checks ids and spans, decodes. */
static inline void fuzz_encode(const lct_tokenizer *t, lct_encoder *e, const char *text, size_t n) {
  lct_error err = {0};
  lct_buf valid = {0};
  FUZZ_CHECK(lct_utf8_replace(text, n, &valid, NULL, &err) == LCT_OK);
  for (int special = 0; special < 2; special++) {
    lct_tokens tokens = {0};
    lct_status s = lct_encode(e, valid.data, valid.len, special == 1, &tokens, &err);
    if (s != LCT_OK) fuzz_check_error(s, &err);
    for (size_t i = 0; s == LCT_OK && i < tokens.len; i++) {
      const lct_token *token = &tokens.data[i];
      FUZZ_CHECK(token->id >= 0 && token->id < lct_tokenizer_vocab(t));
      FUZZ_CHECK(token->begin <= token->end && token->end <= valid.len);
    }
    if (s == LCT_OK) fuzz_decode(t, &tokens);
    lct_tokens_free(&tokens);
  }
  lct_buf_free(&valid);
}

/* The same with an encoder of its own. */
static inline void fuzz_round_trip(const lct_tokenizer *t, const char *text, size_t n) {
  lct_error err = {0};
  lct_encoder *e = NULL;
  lct_status s = lct_encoder_new(t, &e, &err);
  if (s != LCT_OK) {
    fuzz_check_error(s, &err);
    return;
  }
  fuzz_encode(t, e, text, n);
  lct_encoder_free(e);
}

#endif
