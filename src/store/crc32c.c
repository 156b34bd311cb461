/* CRC-32C: the instruction of SSE4.2 on three streams at once, or tables for eight bytes at a time. */
#include <pthread.h>
#include <string.h>

#include "store/codec_impl.h"

enum { STREAM_BYTES = 2048 }; /* of one of the three streams; tables shift a CRC over one and two of them */

static const uint32_t POLYNOMIAL = 0x82f63b78; /* reflected */

static uint32_t slices[8][256];    /* slices[k][b]: byte b followed by k zero bytes */
static uint32_t shifts[2][4][256]; /* shifts[j][k][b]: byte b at place k of a CRC followed by j + 1 streams of zeros */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t portable(uint32_t state, const unsigned char *p, size_t n) {
  while (n >= 8) {
    uint32_t low, high;
    memcpy(&low, p, 4);
    memcpy(&high, p + 4, 4);
    low ^= state;
    state = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^ slices[4][low >> 24] ^
            slices[3][high & 0xff] ^ slices[2][high >> 8 & 0xff] ^ slices[1][high >> 16 & 0xff] ^ slices[0][high >> 24];
    p += 8;
    n -= 8;
  }
  while (n-- > 0) state = slices[0][(state ^ *p++) & 0xff] ^ state >> 8;
  return state;
}

static void make_tables(void) {
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t v = b;
    for (int i = 0; i < 8; i++) v = (v & 1) != 0 ? v >> 1 ^ POLYNOMIAL : v >> 1;
    slices[0][b] = v;
  }
  for (int k = 1; k < 8; k++) {
    for (int b = 0; b < 256; b++) slices[k][b] = slices[k - 1][b] >> 8 ^ slices[0][slices[k - 1][b] & 0xff];
  }
  static const unsigned char zeros[STREAM_BYTES];
  for (int k = 0; k < 4; k++) {
    for (uint32_t b = 0; b < 256; b++) {
      shifts[0][k][b] = portable(b << (8 * k), zeros, STREAM_BYTES);
      shifts[1][k][b] = portable(shifts[0][k][b], zeros, STREAM_BYTES);
    }
  }
}

uint32_t lct_crc32c_portable(uint32_t crc, const void *data, size_t n) {
  (void)pthread_once(&once, make_tables);
  return ~portable(~crc, data, n);
}

#ifdef __x86_64__
#include <nmmintrin.h>

static uint64_t shift(const uint32_t table[4][256], uint64_t state) {
  return table[0][state & 0xff] ^ table[1][state >> 8 & 0xff] ^ table[2][state >> 16 & 0xff] ^ table[3][state >> 24 & 0xff];
}

static uint64_t word(const unsigned char *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

/* A CRC is linear: the state after stream a, then b, then c is a's shifted over b and c, plus b's from 0 shifted over c, plus c's from 0. */
__attribute__((target("sse4.2"))) static uint32_t with_instruction(uint32_t begin, const unsigned char *p, size_t n) {
  uint64_t state = begin;
  for (; n >= (size_t)3 * STREAM_BYTES; n -= (size_t)3 * STREAM_BYTES, p += (size_t)3 * STREAM_BYTES) {
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < STREAM_BYTES; i += 8) {
      state = _mm_crc32_u64(state, word(p + i));
      b = _mm_crc32_u64(b, word(p + STREAM_BYTES + i));
      c = _mm_crc32_u64(c, word(p + (size_t)2 * STREAM_BYTES + i));
    }
    state = shift(shifts[1], state) ^ shift(shifts[0], b) ^ c;
  }
  for (; n >= 8; n -= 8, p += 8) state = _mm_crc32_u64(state, word(p));
  uint32_t s = (uint32_t)state;
  while (n-- > 0) s = _mm_crc32_u8(s, *p++);
  return s;
}

uint32_t lct_crc32c(uint32_t crc, const void *data, size_t n) {
  (void)pthread_once(&once, make_tables);
  if (__builtin_cpu_supports("sse4.2")) return ~with_instruction(~crc, data, n);
  return ~portable(~crc, data, n);
}
#else
uint32_t lct_crc32c(uint32_t crc, const void *data, size_t n) { return lct_crc32c_portable(crc, data, n); }
#endif
