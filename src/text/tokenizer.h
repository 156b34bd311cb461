/* Byte-level BPE: text to token ids and back. Zero differences from Hugging Face's `tokenizers` is the contract. */
#ifndef LCT_TEXT_TOKENIZER_H
#define LCT_TEXT_TOKENIZER_H

#include "base/mem.h"
#include "model/model.h"

typedef struct lct_tokenizer lct_tokenizer; /* immutable after opening: may be shared by threads through lct_encoder */

typedef struct {
  int32_t id;
  /* Bytes of the input text (before normalisation) this token covers, whole characters: tokens that split one all cover it.
   * As in tokenizers, but for text that NFC changes: there the offsets cover all that went into the token. */
  uint32_t begin, end;
} lct_token;

typedef struct {
  lct_token *data;
  size_t len, cap;
} lct_tokens;
void lct_tokens_free(lct_tokens *t);

/* From a folder holding tokenizer.json (and, if present, tokenizer_config.json). */
lct_status lct_tokenizer_open_dir(const char *dir, lct_tokenizer **out, lct_error *err) LCT_CHECKED;
/* From tokenizer.json text; config (tokenizer_config.json text) may be NULL. `name` stands in messages. */
lct_status lct_tokenizer_parse(const char *json, size_t n, const char *config, size_t config_n, const char *name, lct_tokenizer **out,
                               lct_error *err) LCT_CHECKED;
/* From GGUF metadata (tokenizer.ggml.model "gpt2"; pre "qwen2", "smollm", "llama-bpe", "default"). */
lct_status lct_tokenizer_from_gguf(const lct_gguf *g, lct_tokenizer **out, lct_error *err) LCT_CHECKED;
/* The tokenizer that belongs to a model. */
lct_status lct_tokenizer_for_model(const lct_model *m, lct_tokenizer **out, lct_error *err) LCT_CHECKED;
void lct_tokenizer_free(lct_tokenizer *t);

/* Scratch of one thread (PCRE2 match data, word cache, buffers). */
typedef struct lct_encoder lct_encoder;
lct_status lct_encoder_new(const lct_tokenizer *t, lct_encoder **out, lct_error *err) LCT_CHECKED;
void lct_encoder_free(lct_encoder *e);

/* Appends the tokens of text[0..n) to *out. text must be valid UTF-8 (see lct_utf8_replace). Special-token strings in the text
 * become their ids, as tokenizers does with added tokens. add_special: apply the post-processor (e.g. Llama 3's BOS). */
lct_status lct_encode(lct_encoder *e, const char *text, size_t n, bool add_special, lct_tokens *out, lct_error *err) LCT_CHECKED;

/* A place behind an added token, where tokenising may begin again: what lies before it is tokenised whatever lies behind. */
typedef struct {
  size_t begin, search; /* what follows the token begins here; the next token is looked for from here on */
  size_t seen;          /* bytes that had a say in it and in the tokens before it (n + 1: the end of the text, too) */
  size_t n_tokens;
} lct_seam;
typedef struct {
  lct_seam *data;
  size_t len, cap;
} lct_seams;
void lct_seams_free(lct_seams *c);

/* Makes *tokens and *seams those of text[0..n), as lct_encode without special tokens does. They hold those of a text that begins with the
 * same `same` bytes (or nothing): what was found of it before the last seam that these bytes decide is kept, the rest is tokenised.
 * *kept: how many tokens stayed. On failure both are empty. */
lct_status lct_encode_again(lct_encoder *e, const char *text, size_t n, size_t same, lct_tokens *tokens, lct_seams *seams, size_t *kept,
                            lct_error *err) LCT_CHECKED;

/* Appends the decoded bytes of ids to *out; invalid UTF-8 becomes U+FFFD as `decode` does; skip_special leaves special tokens
 * out. */
lct_status lct_decode(const lct_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, lct_buf *out, lct_error *err) LCT_CHECKED;

/* The same bytes as they are: a token may hold a part of a character. */
lct_status lct_decode_bytes(const lct_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, lct_buf *out,
                            lct_error *err) LCT_CHECKED;

int32_t lct_tokenizer_vocab(const lct_tokenizer *t);                 /* ids are 0 .. vocab-1 (added tokens included) */
int32_t lct_tokenizer_id(const lct_tokenizer *t, const char *token); /* of an added or plain token's text, -1 if none */
bool lct_tokenizer_is_special(const lct_tokenizer *t, int32_t id);
/* Jinja text from chat_template.jinja, tokenizer_config.json or GGUF; NULL if none. */
const char *lct_tokenizer_chat_template(const lct_tokenizer *t);
int32_t lct_tokenizer_eos(const lct_tokenizer *t); /* -1 if none */
int32_t lct_tokenizer_bos(const lct_tokenizer *t);
int32_t lct_tokenizer_pad(const lct_tokenizer *t);

#endif
