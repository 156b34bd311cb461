/* Added tokens: strings that are cut out of the text before anything else happens to it. */
#ifndef LCT_TEXT_ADDED_H
#define LCT_TEXT_ADDED_H

#include "text/unicode.h"

typedef struct {
  const char *content; /* NUL-terminated; owned by the list's arena */
  size_t n;
  int32_t id;
  bool special, lstrip, rstrip, single_word, normalized;
} lct_added_token;

typedef struct {
  uint32_t token;   /* index of the token that ends here, UINT32_MAX if none */
  uint32_t child;   /* first child, 0 if none */
  uint32_t sibling; /* next child of the same parent, 0 if none */
  unsigned char byte;
} lct_added_node;

/* A trie over token texts; node 0 is the root. */
typedef struct {
  lct_added_node *nodes;
  size_t n_nodes, cap;
  uint32_t first[256]; /* root's child by byte, 0 if none */
  int only_first;      /* the one byte that every token begins with, -1 if there are more */
} lct_added_trie;

typedef struct {
  lct_arena arena;
  lct_added_token *tokens;
  size_t n_tokens, cap;
  lct_added_trie raw;        /* matched on the text as it is */
  lct_added_trie normalized; /* matched after normalisation */
} lct_added;

/* Appends a token (content is copied). */
lct_status lct_added_append(lct_added *a, const lct_added_token *token, lct_error *err) LCT_CHECKED;
/* After all tokens: the tries. nfc: the texts of normalized tokens are normalised first. */
lct_status lct_added_finish(lct_added *a, const lct_uclasses *u, bool nfc, lct_error *err) LCT_CHECKED;
const lct_added_token *lct_added_find(const lct_added *a, const char *content, size_t n);
void lct_added_free(lct_added *a);

typedef struct {
  size_t begin, end; /* bytes, with stripped spaces */
  size_t seen;       /* bytes [0, seen) were looked at to find it; n + 1: where the text ends had a say, too */
  const lct_added_token *token;
} lct_added_match;

/* Finds the next token in s[0..n) at or after *at, which moves behind the match found by the text itself (without stripping).
 * `floor` is where the previous match ended, stripped spaces included. */
bool lct_added_next(const lct_added *a, const lct_added_trie *t, const lct_uclasses *u, const unsigned char *s, size_t n, size_t floor,
                    size_t *at, lct_added_match *out);

#endif
