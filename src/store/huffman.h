/* zstd frames that hold nothing but Huffman-coded bytes, made faster than a general compressor can: a code for every 128 KiB, from a
 * sample; no search for repeats. Any zstd decoder reads them (RFC 8878). */
#ifndef LCT_STORE_HUFFMAN_H
#define LCT_STORE_HUFFMAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LCT_HUFFMAN_MAX_BITS = 11 }; /* the format's */

/* A code: of byte s the low bits[s] bits of low[s] | high[s] << 8; 0 bits: s does not occur. entry[s]: the code, and below it 8 bits of
 * bits[s]. */
typedef struct {
  uint8_t bits[256], low[256], high[256];
  uint32_t entry[256];
} lct_huffman_code;

size_t lct_huffman_bound(size_t n);
/* The frame at dst, which has room for the bound; its size, or 0 where this is not the way: less than a few KiB, one byte that is more than
 * half of all (repeats may pay), or no gain. The bytes depend on src alone, not on the processor. */
size_t lct_huffman_frame(const unsigned char *src, size_t n, unsigned char *dst);

/* The rest is for its parts and their tests. */

/* Lengths of at most LCT_HUFFMAN_MAX_BITS for the bytes with a count (two or more of them, each count less than 2^24), complete, and codes as the
 * format orders them. False when there is no such code. */
bool lct_huffman_make(const uint32_t count[256], lct_huffman_code *code);
/* The code's description as it stands before the first coded bytes; 0 when it cannot be described. dst has 256 bytes. */
size_t lct_huffman_describe(const lct_huffman_code *code, unsigned char *dst);
/* src[n - 1] first, ..., src[0] last, then a one bit; all have codes. dst has room for n * 11 / 8 + 16 bytes. */
size_t lct_huffman_stream(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst);
size_t lct_huffman_stream_portable(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst);
/* Sets present[s] to 1 for every byte s that occurs; what is set already stays. */
void lct_huffman_present(const unsigned char *src, size_t n, uint8_t present[256]);
void lct_huffman_present_portable(const unsigned char *src, size_t n, uint8_t present[256]);

#endif
