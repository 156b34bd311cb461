/* A fast hash for the tokenizer's own tables; its values are never stored. */
#ifndef LCT_TEXT_HASH_H
#define LCT_TEXT_HASH_H

#include <stdint.h>
#include <string.h>

static inline uint64_t lct_hash_mix(uint64_t h) {
  h *= UINT64_C(0x9E3779B97F4A7C15);
  return h ^ (h >> 32);
}

static inline uint64_t lct_hash_bytes(const void *data, size_t n) {
  const unsigned char *p = data;
  uint64_t h = n, w;
  for (; n >= 8; n -= 8, p += 8) {
    memcpy(&w, p, 8);
    h = lct_hash_mix(h ^ w);
  }
  w = 0;
  if (n > 0) memcpy(&w, p, n);
  return lct_hash_mix(h ^ w);
}

#endif
