/* Merge look-up, shared by building and encoding. */
#ifndef LCT_TEXT_BPE_INTERNAL_H
#define LCT_TEXT_BPE_INTERNAL_H

#include "text/bpe.h"
#include "text/hash.h"

static inline size_t lct_bpe_merge_slot(const lct_bpe *b, uint32_t left, uint32_t right) {
  return (size_t)(lct_hash_mix((uint64_t)left << 32 | right) & (b->n_merge_slots - 1));
}

/* The merge of two tokens, NULL if there is none. */
static inline const lct_bpe_merge *lct_bpe_find_merge(const lct_bpe *b, uint32_t left, uint32_t right) {
  for (size_t i = lct_bpe_merge_slot(b, left, right);; i = (i + 1) & (b->n_merge_slots - 1)) {
    const lct_bpe_merge *m = &b->merges[i];
    if (m->left == left && m->right == right) return m;
    if (m->left == LCT_BPE_NONE) return NULL;
  }
}

#endif
