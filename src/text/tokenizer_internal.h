/* Inside of lct_tokenizer, shared by its loaders and the encoder. */
#ifndef LCT_TEXT_TOKENIZER_INTERNAL_H
#define LCT_TEXT_TOKENIZER_INTERNAL_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/pretok.h"
#include "text/tokenizer.h"

enum { LCT_TOKEN_ADDED = 1, LCT_TOKEN_SPECIAL = 2 };

struct lct_tokenizer {
  lct_uclasses classes;
  lct_bpe bpe;
  lct_added added;
  lct_pretok pretok;
  bool nfc;
  bool byte_level, templated; /* seen by the loader: a ByteLevel pre-tokenizer, a TemplateProcessing */
  bool trim_offsets;          /* the post-processor takes leading and trailing spaces out of the offsets */
  bool trim_keeps_first;      /* ... but for one that stands for an added prefix space */
  int32_t *prefix, *suffix;   /* what add_special puts around a text */
  size_t n_prefix, n_suffix, prefix_cap, suffix_cap;
  uint8_t *kinds; /* (vocab) LCT_TOKEN_ADDED, LCT_TOKEN_SPECIAL */
  int32_t bos, eos, pad;
  char *chat_template;
};

/* An empty tokenizer with its class tables. */
lct_status lct_tokenizer_new(lct_tokenizer **out, lct_error *err) LCT_CHECKED;
/* After vocabulary, merges, added tokens and pre-tokenizer: builds what is derived. The loader has seen to it that n different
 * ids lie in 0 .. n-1, so that there are no holes. */
lct_status lct_tokenizer_finish(lct_tokenizer *t, const char *name, lct_error *err) LCT_CHECKED;
/* Replaces the chat template. */
lct_status lct_tokenizer_set_template(lct_tokenizer *t, const char *text, size_t n, lct_error *err) LCT_CHECKED;

#endif
