#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* Fills the class of every code point of block b, starting at run *r, which is left at the block's last run. */
static void fill_block(size_t b, size_t *r, uint8_t out[LCT_UC_BLOCK]) {
  for (size_t i = 0; i < LCT_UC_BLOCK; i++) {
    uint32_t cp = (uint32_t)(b * LCT_UC_BLOCK + i);
    while (*r + 1 < lct_unicode_n_classes && (lct_unicode_classes[*r + 1] >> 8) <= cp) (*r)++;
    out[i] = (uint8_t)(lct_unicode_classes[*r] & 0xFF);
  }
}

lct_status lct_uclasses_build(lct_uclasses *u, lct_error *err) {
  *u = (lct_uclasses){0};
  size_t cap = 0, run = 0, uniform[256] = {0}; /* block + 1 that holds one class throughout */
  for (size_t b = 0; b < LCT_UC_N_BLOCKS; b++) {
    uint8_t block[LCT_UC_BLOCK];
    fill_block(b, &run, block);
    bool same = memcmp(block, block + 1, LCT_UC_BLOCK - 1) == 0;
    if (same && uniform[block[0]] != 0) {
      u->index[b] = (uint16_t)(uniform[block[0]] - 1);
      continue;
    }
    lct_status s = lct_grow(&u->blocks, &cap, (u->n_blocks + 1) * LCT_UC_BLOCK, 1, "character classes", err);
    if (s != LCT_OK) {
      lct_uclasses_free(u);
      return s;
    }
    memcpy(u->blocks + u->n_blocks * LCT_UC_BLOCK, block, LCT_UC_BLOCK);
    u->index[b] = (uint16_t)u->n_blocks++;
    if (same) uniform[block[0]] = u->n_blocks;
  }
  return LCT_OK;
}

void lct_uclasses_free(lct_uclasses *u) {
  free(u->blocks);
  *u = (lct_uclasses){0};
}

size_t lct_utf8_encode(uint32_t cp, unsigned char out[4]) {
  if (cp < 0x80) {
    out[0] = (unsigned char)cp;
    return 1;
  }
  if (cp < 0x800) {
    out[0] = (unsigned char)(0xC0 | cp >> 6);
    out[1] = (unsigned char)(0x80 | (cp & 0x3F));
    return 2;
  }
  if (cp < 0x10000) {
    out[0] = (unsigned char)(0xE0 | cp >> 12);
    out[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3F));
    out[2] = (unsigned char)(0x80 | (cp & 0x3F));
    return 3;
  }
  out[0] = (unsigned char)(0xF0 | cp >> 18);
  out[1] = (unsigned char)(0x80 | (cp >> 12 & 0x3F));
  out[2] = (unsigned char)(0x80 | (cp >> 6 & 0x3F));
  out[3] = (unsigned char)(0x80 | (cp & 0x3F));
  return 4;
}
