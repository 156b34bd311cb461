#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#define NO_TOKEN UINT32_MAX

lct_status lct_added_append(lct_added *a, const lct_added_token *token, lct_error *err) {
  LCT_TRY(lct_grow(&a->tokens, &a->cap, a->n_tokens + 1, sizeof *a->tokens, "added tokens", err));
  lct_added_token t = *token;
  t.content = lct_arena_strndup(&a->arena, token->content, token->n);
  if (t.content == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for added tokens");
  a->tokens[a->n_tokens++] = t;
  return LCT_OK;
}

static uint32_t find_child(const lct_added_trie *t, uint32_t node, unsigned char byte) {
  if (node == 0) return t->first[byte];
  uint32_t c = t->nodes[node].child;
  while (c != 0 && t->nodes[c].byte != byte) c = t->nodes[c].sibling;
  return c;
}

static lct_status add_node(lct_added_trie *t, uint32_t parent, unsigned char byte, uint32_t *out, lct_error *err) {
  LCT_TRY(lct_grow(&t->nodes, &t->cap, t->n_nodes + 1, sizeof *t->nodes, "added tokens", err));
  *out = (uint32_t)t->n_nodes;
  t->nodes[t->n_nodes] = (lct_added_node){.token = NO_TOKEN, .byte = byte};
  if (t->n_nodes > 0) {
    t->nodes[t->n_nodes].sibling = t->nodes[parent].child;
    t->nodes[parent].child = *out;
    if (parent == 0) t->first[byte] = *out;
  }
  t->n_nodes++;
  return LCT_OK;
}

static lct_status add_text(lct_added_trie *t, const unsigned char *s, size_t n, uint32_t token, lct_error *err) {
  uint32_t node = 0;
  if (t->n_nodes == 0) LCT_TRY(add_node(t, 0, 0, &node, err));
  for (size_t i = 0; i < n; i++) {
    uint32_t next = find_child(t, node, s[i]);
    if (next == 0) LCT_TRY(add_node(t, node, s[i], &next, err));
    node = next;
  }
  if (node != 0 && t->nodes[node].token == NO_TOKEN) t->nodes[node].token = token; /* of equal texts the first */
  return LCT_OK;
}

static void find_only_first(lct_added_trie *t) {
  int count = 0;
  t->only_first = -1;
  for (int i = 0; i < 256; i++) {
    if (t->first[i] == 0) continue;
    t->only_first = i;
    count++;
  }
  if (count > 1) t->only_first = -1;
}

lct_status lct_added_finish(lct_added *a, const lct_uclasses *u, bool nfc, lct_error *err) {
  lct_nfc work = {0};
  lct_status s = LCT_OK;
  for (size_t i = 0; i < a->n_tokens && s == LCT_OK; i++) {
    const unsigned char *text = (const unsigned char *)a->tokens[i].content;
    size_t n = a->tokens[i].n;
    if (!a->tokens[i].normalized) {
      s = add_text(&a->raw, text, n, (uint32_t)i, err);
    } else if (!nfc) {
      s = add_text(&a->normalized, text, n, (uint32_t)i, err);
    } else {
      s = lct_nfc_apply(&work, u, text, n, err);
      if (s == LCT_OK) s = add_text(&a->normalized, work.text, work.len, (uint32_t)i, err);
    }
  }
  lct_nfc_free(&work);
  find_only_first(&a->raw);
  find_only_first(&a->normalized);
  return s;
}

const lct_added_token *lct_added_find(const lct_added *a, const char *content, size_t n) {
  for (size_t i = 0; i < a->n_tokens; i++) {
    if (a->tokens[i].n == n && memcmp(a->tokens[i].content, content, n) == 0) return &a->tokens[i];
  }
  return NULL;
}

void lct_added_free(lct_added *a) {
  lct_arena_free(&a->arena);
  free(a->tokens);
  free(a->raw.nodes);
  free(a->normalized.nodes);
  *a = (lct_added){0};
}

static void look(size_t *seen, size_t to) {
  if (*seen < to) *seen = to;
}

/* The longest token that begins at p; *end gets its end. */
static const lct_added_token *match_at(const lct_added *a, const lct_added_trie *t, const unsigned char *s, size_t p, size_t n, size_t *end,
                                       size_t *seen) {
  const lct_added_token *best = NULL;
  uint32_t node = 0, next;
  size_t i = p;
  while (i < n && (next = find_child(t, node, s[i])) != 0) {
    node = next;
    i++;
    if (t->nodes[node].token == NO_TOKEN) continue;
    best = &a->tokens[t->nodes[node].token];
    *end = i;
  }
  look(seen, t->nodes[node].child != 0 ? i + 1 : i); /* where no token goes on, what follows is not asked */
  return best;
}

static size_t char_before(const unsigned char *s, size_t p) {
  do {
    p--;
  } while (p > 0 && (s[p] & 0xC0) == 0x80);
  return p;
}

/* Is there a word character directly before p, or directly at p? */
static bool word_before(const lct_uclasses *u, const unsigned char *s, size_t p) {
  size_t len;
  return p > 0 && (lct_uclass_at(u, s + char_before(s, p), &len) & LCT_UC_WORD) != 0;
}

static bool word_at(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, size_t *seen) {
  size_t len = 1;
  bool word = p < n && (lct_uclass_at(u, s + p, &len) & LCT_UC_WORD) != 0;
  look(seen, p + len);
  return word;
}

static void strip(const lct_uclasses *u, const unsigned char *s, size_t n, size_t floor, lct_added_match *m) {
  size_t len = 1;
  while (m->token->lstrip && m->begin > floor) {
    size_t before = char_before(s, m->begin);
    if ((lct_uclass_at(u, s + before, &len) & LCT_UC_SPACE) == 0) break;
    m->begin = before;
  }
  if (!m->token->rstrip) return;
  while (m->end < n && (lct_uclass_at(u, s + m->end, &len) & LCT_UC_SPACE) != 0) m->end += len;
  look(&m->seen, m->end < n ? m->end + len : n + 1);
}

/* Next position at or after p where some token may begin. */
static size_t next_candidate(const lct_added_trie *t, const unsigned char *s, size_t p, size_t n) {
  if (t->only_first >= 0) {
    const unsigned char *hit = memchr(s + p, t->only_first, n - p);
    return hit == NULL ? n : (size_t)(hit - s);
  }
  while (p < n && t->first[s[p]] == 0) p++;
  return p;
}

bool lct_added_next(const lct_added *a, const lct_added_trie *t, const lct_uclasses *u, const unsigned char *s, size_t n, size_t floor,
                    size_t *at, lct_added_match *out) {
  if (t->n_nodes <= 1) return false;
  size_t seen = 0;
  for (size_t p = *at; p < n && (p = next_candidate(t, s, p, n)) < n; p++) {
    size_t end = 0;
    const lct_added_token *token = match_at(a, t, s, p, n, &end, &seen);
    if (token == NULL) continue;
    if (token->single_word && (word_before(u, s, p) || word_at(u, s, end, n, &seen))) {
      p = end - 1; /* the search goes on behind a match that is thrown away */
      continue;
    }
    *at = end;
    *out = (lct_added_match){.begin = p, .end = end, .seen = seen, .token = token};
    strip(u, s, n, floor, out);
    return true;
  }
  return false;
}
