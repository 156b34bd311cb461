/* Merging one word: always the pair of lowest rank, the leftmost of equals. Short words scan an array of ranks, long ones
 * keep a heap, so that a megabyte of one letter takes n log n. */
#include <stdlib.h>
#include <string.h>

#include "text/bpe_internal.h"
#include "text/unicode.h"

#define SHORT_WORD 64

struct lct_bpe_symbol {
  uint32_t id, n_bytes; /* LCT_BPE_NONE: merged away */
  uint32_t prev, next;
};

struct lct_bpe_heap_item {
  uint64_t key; /* rank << 32 | position */
  uint32_t left, right, merged;
};

static void set_pair(const lct_bpe *b, const lct_bpe_part *parts, size_t i, uint32_t *rank, uint32_t *merged) {
  const lct_bpe_merge *m = lct_bpe_find_merge(b, parts[i].id, parts[i + 1].id);
  rank[i] = m == NULL ? UINT32_MAX : m->rank;
  merged[i] = m == NULL ? 0 : m->merged;
}

/* n <= SHORT_WORD bytes into parts[0..n). */
static size_t encode_short(const lct_bpe *b, const unsigned char *word, size_t n, lct_bpe_part *parts) {
  uint32_t rank[SHORT_WORD], merged[SHORT_WORD];
  size_t n_parts = 0, skipped = 0;
  int last = -1;
  for (size_t i = 0; i < n; i++) {
    uint32_t id = b->byte_id[word[i]];
    if (id == LCT_BPE_NONE) {
      skipped++;
      continue;
    }
    if (n_parts > 0) {
      uint32_t slot = b->byte_pair[(size_t)last << 8 | word[i]];
      rank[n_parts - 1] = slot == LCT_BPE_NONE ? UINT32_MAX : b->merges[slot].rank;
      merged[n_parts - 1] = slot == LCT_BPE_NONE ? 0 : b->merges[slot].merged;
    }
    parts[n_parts++] = (lct_bpe_part){.id = id, .n_bytes = (uint32_t)(1 + skipped)};
    skipped = 0;
    last = word[i];
  }
  while (n_parts > 1) {
    uint32_t best = UINT32_MAX;
    for (size_t i = 0; i + 1 < n_parts; i++) best = rank[i] < best ? rank[i] : best;
    if (best == UINT32_MAX) break;
    size_t at = 0;
    while (rank[at] != best) at++;
    parts[at].id = merged[at];
    parts[at].n_bytes += parts[at + 1].n_bytes;
    size_t tail = n_parts - at - 2;
    memmove(parts + at + 1, parts + at + 2, tail * sizeof *parts);
    memmove(rank + at, rank + at + 1, tail * sizeof *rank);
    memmove(merged + at, merged + at + 1, tail * sizeof *merged);
    n_parts--;
    if (at + 1 < n_parts) set_pair(b, parts, at, rank, merged);
    if (at > 0) set_pair(b, parts, at - 1, rank, merged);
  }
  return n_parts;
}

static lct_status push(const lct_bpe *b, lct_bpe_work *w, uint32_t pos, lct_error *err) {
  uint32_t next = w->symbols[pos].next;
  if (next == LCT_BPE_NONE) return LCT_OK;
  const lct_bpe_merge *m = lct_bpe_find_merge(b, w->symbols[pos].id, w->symbols[next].id);
  if (m == NULL) return LCT_OK;
  LCT_TRY(lct_grow(&w->heap, &w->heap_cap, w->n_heap + 1, sizeof *w->heap, "merge candidates", err));
  lct_bpe_heap_item item = {.key = (uint64_t)m->rank << 32 | pos, .left = m->left, .right = m->right, .merged = m->merged};
  size_t i = w->n_heap++;
  while (i > 0 && w->heap[(i - 1) / 2].key > item.key) {
    w->heap[i] = w->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  w->heap[i] = item;
  return LCT_OK;
}

static lct_bpe_heap_item pop(lct_bpe_work *w) {
  lct_bpe_heap_item top = w->heap[0], item = w->heap[--w->n_heap];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= w->n_heap) break;
    if (child + 1 < w->n_heap && w->heap[child + 1].key < w->heap[child].key) child++;
    if (w->heap[child].key >= item.key) break;
    w->heap[i] = w->heap[child];
    i = child;
  }
  w->heap[i] = item;
  return top;
}

/* The bytes of a long word as a linked list of symbols; returns how many there are. */
static size_t link_symbols(const lct_bpe *b, lct_bpe_work *w, const unsigned char *word, size_t n) {
  size_t count = 0, skipped = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t id = b->byte_id[word[i]];
    if (id == LCT_BPE_NONE) {
      skipped++;
      continue;
    }
    w->symbols[count] = (lct_bpe_symbol){.id = id,
                                         .n_bytes = (uint32_t)(1 + skipped),
                                         .prev = count == 0 ? LCT_BPE_NONE : (uint32_t)(count - 1),
                                         .next = (uint32_t)(count + 1)};
    count++;
    skipped = 0;
  }
  if (count > 0) w->symbols[count - 1].next = LCT_BPE_NONE;
  return count;
}

static lct_status encode_long(const lct_bpe *b, lct_bpe_work *w, const unsigned char *word, size_t n, lct_error *err) {
  LCT_TRY(lct_grow(&w->symbols, &w->symbols_cap, n, sizeof *w->symbols, "a long word", err));
  size_t count = link_symbols(b, w, word, n);
  w->n_heap = 0;
  for (size_t i = 0; i + 1 < count; i++) LCT_TRY(push(b, w, (uint32_t)i, err));
  lct_bpe_symbol *s = w->symbols;
  while (w->n_heap > 0) {
    lct_bpe_heap_item item = pop(w);
    uint32_t pos = (uint32_t)item.key, next = s[pos].next;
    if (s[pos].id != item.left || next == LCT_BPE_NONE || s[next].id != item.right) continue; /* one of them has merged since */
    s[pos].id = item.merged;
    s[pos].n_bytes += s[next].n_bytes;
    s[pos].next = s[next].next;
    s[next].id = LCT_BPE_NONE;
    if (s[pos].next != LCT_BPE_NONE) s[s[pos].next].prev = pos;
    LCT_TRY(push(b, w, pos, err));
    if (s[pos].prev != LCT_BPE_NONE) LCT_TRY(push(b, w, s[pos].prev, err));
  }
  for (size_t i = 0; count > 0 && i != LCT_BPE_NONE; i = s[i].next) {
    w->parts[w->n_parts++] = (lct_bpe_part){.id = s[i].id, .n_bytes = s[i].n_bytes};
  }
  return LCT_OK;
}

/* Id of the token that is the whole word, LCT_BPE_NONE if there is none. */
static lct_status find_whole(const lct_bpe *b, lct_bpe_work *w, const unsigned char *word, size_t n, uint32_t *id, lct_error *err) {
  w->spelled.len = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char text[4];
    LCT_TRY(lct_buf_append(&w->spelled, text, lct_utf8_encode(lct_bpe_byte_char(word[i]), text), err));
  }
  *id = lct_bpe_find(b, w->spelled.data, w->spelled.len);
  return LCT_OK;
}

lct_status lct_bpe_encode(const lct_bpe *b, lct_bpe_work *w, const unsigned char *word, size_t n, lct_error *err) {
  w->n_parts = 0;
  LCT_TRY(lct_grow(&w->parts, &w->parts_cap, n, sizeof *w->parts, "the parts of a word", err));
  if (b->whole_words) {
    uint32_t id = LCT_BPE_NONE;
    LCT_TRY(find_whole(b, w, word, n, &id, err));
    if (id != LCT_BPE_NONE) {
      w->parts[w->n_parts++] = (lct_bpe_part){.id = id, .n_bytes = (uint32_t)n};
      return LCT_OK;
    }
  }
  if (n > SHORT_WORD) return encode_long(b, w, word, n, err);
  w->n_parts = encode_short(b, word, n, w->parts);
  return LCT_OK;
}

void lct_bpe_work_free(lct_bpe_work *w) {
  free(w->parts);
  free(w->symbols);
  free(w->heap);
  lct_buf_free(&w->spelled);
  *w = (lct_bpe_work){0};
}
