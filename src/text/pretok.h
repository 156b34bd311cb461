/* Pre-tokenisation: cutting text into words. The patterns of the known model families have matchers of their own,
 * any other Split pattern goes through PCRE2. */
#ifndef LCT_TEXT_PRETOK_H
#define LCT_TEXT_PRETOK_H

#include "text/unicode.h"

typedef enum {
  LCT_PRETOK_QWEN,   /* (?i:'s|'t|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
  LCT_PRETOK_LLAMA3, /* the same with \p{N}{1,3} */
  LCT_PRETOK_GPT2,   /* 's|'t|...| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
  LCT_PRETOK_DIGITS, /* runs of numeric characters alone */
  LCT_PRETOK_DIGIT,  /* every numeric character alone */
  LCT_PRETOK_SPACE,  /* a space in front of a piece that has none (ByteLevel's add_prefix_space) */
  LCT_PRETOK_PCRE    /* any other pattern */
} lct_pretok_kind;

#define LCT_PRETOK_MAX_STEPS 8

typedef struct {
  lct_pretok_kind kind;
  void *code; /* pcre2_code of PCRE steps; owned */
} lct_pretok_step;

typedef struct {
  lct_pretok_step steps[LCT_PRETOK_MAX_STEPS];
  size_t n_steps;
} lct_pretok;

/* Adds a step; LCT_E_UNSUPPORTED when there are too many. `name` stands in messages. */
lct_status lct_pretok_add(lct_pretok *p, lct_pretok_kind kind, const char *name, lct_error *err) LCT_CHECKED;
/* Adds a Split on a regular expression (isolated): a known matcher where the text is known, else PCRE2. */
lct_status lct_pretok_add_regex(lct_pretok *p, const char *pattern, size_t n, const char *name, lct_error *err) LCT_CHECKED;
void lct_pretok_free(lct_pretok *p);

/* End of the piece of s[0..n) that begins at p < n, for every kind but SPACE and PCRE. */
size_t lct_pretok_next(lct_pretok_kind kind, const lct_uclasses *u, const unsigned char *s, size_t p, size_t n);

/* Next match of a PCRE step in s[0..n) at or after `from`; *found is false at the end. match_data from lct_pretok_match_data. */
lct_status lct_pretok_regex_next(const lct_pretok_step *step, void *match_data, const unsigned char *s, size_t n, size_t from, bool *found,
                                 size_t *begin, size_t *end, lct_error *err) LCT_CHECKED;
/* Match data big enough for any step (NULL when memory is out); only offset 0 is looked at. */
void *lct_pretok_match_data(void);
void lct_pretok_match_data_free(void *match_data);

#endif
