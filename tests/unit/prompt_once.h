/* A conversation's prefixes tokenised on from one another against each tokenised whole: the unit test's and the fuzzer's question. */
#ifndef LCT_PROMPT_ONCE_H
#define LCT_PROMPT_ONCE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/prompt.h"

enum { PROMPT_ONCE_MOST = 128 }; /* messages */

/* What one prefix is, made whole. */
typedef struct {
  int32_t *ids;
  lct_token_range content[PROMPT_ONCE_MOST];
} prompt_whole;

typedef struct {
  lct_encoder *encoder;
  lct_prompts prompts;
  lct_tokens tokens;
  lct_arena arena;
  lct_tokenised made[PROMPT_ONCE_MOST];
  prompt_whole whole[PROMPT_ONCE_MOST];
  char why[600]; /* what differs */
} prompt_once;

static inline void prompt_once_free(prompt_once *x) {
  lct_encoder_free(x->encoder);
  lct_prompts_free(&x->prompts);
  lct_tokens_free(&x->tokens);
  lct_arena_free(&x->arena);
}

static inline bool prompt_once_differs(prompt_once *x, size_t k, const char *what, long long got, long long want) {
  (void)snprintf(x->why, sizeof x->why, "prefix of %zu messages: %s is %lld, whole it is %lld", k + 1, what, got, want);
  return false;
}

/* Prefix k's tokens: the tail as it is, and exactly so many shared as the ids have in common with those of the prefix before. */
static inline bool prompt_once_ids(prompt_once *x, size_t k) {
  const lct_tokenised *made = &x->made[k];
  size_t n_before = k > 0 ? (size_t)x->made[k - 1].n_tokens : 0, common = 0;
  const int32_t *ids = x->whole[k].ids;
  if ((size_t)made->n_tokens != x->tokens.len)
    return prompt_once_differs(x, k, "number of tokens", made->n_tokens, (long long)x->tokens.len);
  while (common < x->tokens.len && common < n_before && ids[common] == x->whole[k - 1].ids[common]) common++;
  if ((size_t)made->shared != common) return prompt_once_differs(x, k, "number of shared tokens", made->shared, (long long)common);
  for (int32_t i = made->shared; i < made->n_tokens; i++) {
    if (made->tail[i - made->shared] != ids[i]) return prompt_once_differs(x, k, "a token", made->tail[i - made->shared], ids[i]);
  }
  return true;
}

static inline bool prompt_once_content(prompt_once *x, size_t k) {
  for (size_t i = 0; i <= k; i++) {
    lct_token_range a = x->made[k].content[i], b = x->whole[k].content[i];
    if (a.from != b.from) return prompt_once_differs(x, k, "a message's first position", a.from, b.from);
    if (a.to != b.to) return prompt_once_differs(x, k, "a message's end", a.to, b.to);
  }
  return true;
}

/* Prefix k both ways; *failed: both fail alike. */
static inline bool prompt_once_prefix(prompt_once *x, const lct_template *t, const lct_message *m, size_t k, bool *failed) {
  lct_error a = {0}, b = {0};
  lct_status once = lct_prompts_next(&x->prompts, t, x->encoder, m, k + 1, &x->arena, &x->made[k], &a);
  lct_status whole = lct_prompt_tokenise(t, x->encoder, m, k + 1, &x->tokens, x->whole[k].content, &b);
  *failed = whole != LCT_OK;
  if (once != whole) return prompt_once_differs(x, k, "the status", once, whole);
  if (*failed) return strcmp(a.message, b.message) == 0 || prompt_once_differs(x, k, "the message of the failure", 0, 0);
  x->whole[k].ids = lct_arena_alloc(&x->arena, x->tokens.len * sizeof(int32_t));
  if (x->whole[k].ids == NULL) return prompt_once_differs(x, k, "memory", 0, 1);
  for (size_t i = 0; i < x->tokens.len; i++) x->whole[k].ids[i] = x->tokens.data[i].id;
  return prompt_once_ids(x, k);
}

/* Prefixes of m[0..n), n at most PROMPT_ONCE_MOST; false: x->why says what differs. Until the next call made and whole are those of the
 * prefixes; *n_made: how many, before the first that fails both ways. */
static inline bool prompt_once_check(prompt_once *x, const lct_template *t, const lct_message *m, size_t n, size_t *n_made) {
  lct_arena_free(&x->arena);
  lct_prompts_begin(&x->prompts);
  *n_made = 0;
  for (size_t k = 0; k < n; k++) {
    bool failed = false;
    if (!prompt_once_prefix(x, t, m, k, &failed)) return false;
    if (failed) break;
    ++*n_made;
  }
  for (size_t k = 0; k < *n_made; k++) { /* at the end: a prompt's list must outlive those that grow it */
    if (!prompt_once_content(x, k)) return false;
  }
  return true;
}

#endif
