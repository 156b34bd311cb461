/* Byte-pair encoding of one word: vocabulary, merges, and the merging itself. */
#ifndef LCT_TEXT_BPE_H
#define LCT_TEXT_BPE_H

#include "base/mem.h"

typedef struct {
  const char *text;  /* as the file spells it (byte-level alphabet), NUL-terminated; owned by the arena; NULL: a hole */
  const char *bytes; /* what it decodes to; may equal text */
  uint32_t text_len, bytes_len;
  bool in_model; /* the model's own: found by its text */
} lct_bpe_token;

typedef struct {
  uint32_t left, right; /* LCT_BPE_NONE: free slot */
  uint32_t rank, merged;
} lct_bpe_merge;

#define LCT_BPE_NONE UINT32_MAX

typedef struct {
  lct_arena arena;
  lct_bpe_token *tokens; /* (n_tokens), by id */
  size_t n_tokens, tokens_cap;
  uint32_t *by_text; /* open addressing, id or LCT_BPE_NONE; (n_slots), a power of two */
  size_t n_slots, n_texts;
  lct_bpe_merge *merges; /* open addressing; (n_merge_slots), a power of two */
  size_t n_merge_slots;
  uint32_t byte_id[256]; /* token of a single byte, LCT_BPE_NONE where the vocabulary has none: such a byte is dropped */
  uint32_t *byte_pair;   /* (256, 256) merge slot of two single bytes, LCT_BPE_NONE if they do not merge */
  bool whole_words;      /* ignore_merges: a word that is a token is that token */
} lct_bpe;

/* Adds token `id` with this text (n bytes). LCT_E_FORMAT on a duplicate id or text. An added token that is not in_model is
 * there for decoding: it is not found by its text. */
lct_status lct_bpe_add_token(lct_bpe *b, uint32_t id, const char *text, size_t n, bool in_model, const char *name,
                             lct_error *err) LCT_CHECKED;
/* Id of a text, LCT_BPE_NONE if there is none. */
uint32_t lct_bpe_find(const lct_bpe *b, const char *text, size_t n);
/* Room for n merges; call once, before lct_bpe_add_merge. */
lct_status lct_bpe_reserve_merges(lct_bpe *b, size_t n, lct_error *err) LCT_CHECKED;
/* Merge number `rank` of the list: left and right must be tokens, and so must their concatenation. */
lct_status lct_bpe_add_merge(lct_bpe *b, uint32_t rank, const char *left, size_t left_n, const char *right, size_t right_n,
                             const char *name, lct_error *err) LCT_CHECKED;
/* After all tokens and merges: the byte tables. */
lct_status lct_bpe_finish(lct_bpe *b, lct_error *err) LCT_CHECKED;
void lct_bpe_free(lct_bpe *b);

/* The byte-level alphabet: the code point that stands for a byte, and back (-1: not in the alphabet). */
uint32_t lct_bpe_byte_char(unsigned char byte);
int lct_bpe_char_byte(uint32_t cp);

/* One part of a word: a token and how many bytes of the word it covers. */
typedef struct {
  uint32_t id, n_bytes;
} lct_bpe_part;

typedef struct lct_bpe_heap_item lct_bpe_heap_item;
typedef struct lct_bpe_symbol lct_bpe_symbol;

/* Scratch; zero-initialise, reusable. The result is parts[0..n_parts). */
typedef struct {
  lct_bpe_part *parts;
  size_t n_parts, parts_cap;
  lct_bpe_symbol *symbols; /* of long words */
  size_t symbols_cap;
  lct_bpe_heap_item *heap;
  size_t n_heap, heap_cap;
  lct_buf spelled; /* the word in the byte-level alphabet, for whole_words */
} lct_bpe_work;

/* Splits a word of n >= 1 bytes (n < 2^32). Bytes without a token are counted to no part. */
lct_status lct_bpe_encode(const lct_bpe *b, lct_bpe_work *w, const unsigned char *word, size_t n, lct_error *err) LCT_CHECKED;
void lct_bpe_work_free(lct_bpe_work *w);

#endif
