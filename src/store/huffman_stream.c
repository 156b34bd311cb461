/* The two passes over all bytes: which of them occur, and their codes end to end. With AVX-512 VBMI 64 bytes at a time: tables of 256 entries
 * lie in four registers, and codes are joined to pairs, fours and eights side by side, so that one store takes eight. */
#include <string.h>

#include "store/huffman.h"

void lct_huffman_present_portable(const unsigned char *src, size_t n, uint8_t present[256]) {
  for (size_t i = 0; i < n; i++) present[src[i]] = 1;
}

/* Bits that wait for a whole byte: fewer than eight between two calls. */
typedef struct {
  uint64_t bits;
  unsigned n;
  unsigned char *at;
} bit_writer;

/* Up to 56 bits; writes eight bytes, of which those behind the whole ones are written again. */
static inline void put_bits(bit_writer *w, uint64_t bits, unsigned n) {
  w->bits |= bits << w->n;
  w->n += n;
  memcpy(w->at, &w->bits, 8);
  w->at += w->n >> 3;
  w->bits >>= w->n & 56;
  w->n &= 7;
}

static size_t close_bits(bit_writer *w, const unsigned char *begin) {
  put_bits(w, 1, 1);
  if (w->n > 0) w->at++;
  return (size_t)(w->at - begin);
}

static void put_symbols(bit_writer *w, const lct_huffman_code *code, const unsigned char *src, size_t n) {
  for (; n >= 4; n -= 4) {
    uint32_t a = code->entry[src[n - 1]], b = code->entry[src[n - 2]], c = code->entry[src[n - 3]], d = code->entry[src[n - 4]];
    uint64_t ab = a >> 8 | (uint64_t)(b >> 8) << (a & 0xff), cd = c >> 8 | (uint64_t)(d >> 8) << (c & 0xff);
    unsigned ab_bits = (a & 0xff) + (b & 0xff);
    put_bits(w, ab | cd << ab_bits, ab_bits + (c & 0xff) + (d & 0xff));
  }
  while (n-- > 0) put_bits(w, code->entry[src[n]] >> 8, code->bits[src[n]]);
}

size_t lct_huffman_stream_portable(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst) {
  bit_writer w = {.at = dst};
  put_symbols(&w, code, src, n);
  return close_bits(&w, dst);
}

#ifdef __x86_64__
#include <immintrin.h>

#define VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

typedef struct {
  __m512i part[4];
} byte_table;

VBMI static inline byte_table load_table(const uint8_t table[256]) {
  byte_table t;
  for (int i = 0; i < 4; i++) t.part[i] = _mm512_loadu_si512(table + 64 * i);
  return t;
}

VBMI static inline __m512i look_up(const byte_table *t, __m512i x) {
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), _mm512_permutex2var_epi8(t->part[0], x, t->part[1]),
                                _mm512_permutex2var_epi8(t->part[2], x, t->part[3]));
}

VBMI static void present_vbmi(const unsigned char *src, size_t n, uint8_t present[256]) {
  byte_table t = load_table(present);
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512i x = _mm512_loadu_si512(src + i), known = look_up(&t, x);
    if (_mm512_test_epi8_mask(known, known) == UINT64_MAX) continue;
    lct_huffman_present_portable(src + i, 64, present);
    t = load_table(present);
  }
  lct_huffman_present_portable(src + i, n - i, present);
}

/* Codes of 64 bytes, later ones lower: eights in 64-bit lanes with their lengths, and the fours (even and odd ones) they are made of. */
typedef struct {
  __m512i eight, eight_bits, even, even_bits, odd, odd_bits;
} joined;

VBMI static inline joined join(__m512i bits, __m512i low, __m512i high) {
  const __m512i byte = _mm512_set1_epi16(0xff), half = _mm512_set1_epi32(0xffff), word = _mm512_set1_epi64(0xffffffff);
  /* bytes of even and odd places, in 16-bit lanes */
  __m512i even = _mm512_or_si512(_mm512_and_si512(low, byte), _mm512_slli_epi16(high, 8));
  __m512i odd = _mm512_or_si512(_mm512_srli_epi16(low, 8), _mm512_andnot_si512(byte, high));
  __m512i odd_bits = _mm512_srli_epi16(bits, 8), pair_bits = _mm512_add_epi16(_mm512_and_si512(bits, byte), odd_bits);
  /* the first and the second pair of a 32-bit lane */
  __m512i a = _mm512_or_si512(_mm512_and_si512(odd, half),
                              _mm512_sllv_epi32(_mm512_and_si512(even, half), _mm512_and_si512(odd_bits, half)));
  __m512i b = _mm512_or_si512(_mm512_srli_epi32(odd, 16), _mm512_sllv_epi32(_mm512_srli_epi32(even, 16), _mm512_srli_epi32(odd_bits, 16)));
  __m512i b_bits = _mm512_srli_epi32(pair_bits, 16), four_bits = _mm512_add_epi32(_mm512_and_si512(pair_bits, half), b_bits);
  joined j;
  j.even = _mm512_or_si512(_mm512_and_si512(b, word), _mm512_sllv_epi64(_mm512_and_si512(a, word), _mm512_and_si512(b_bits, word)));
  j.odd = _mm512_or_si512(_mm512_srli_epi64(b, 32), _mm512_sllv_epi64(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b_bits, 32)));
  j.even_bits = _mm512_and_si512(four_bits, word);
  j.odd_bits = _mm512_srli_epi64(four_bits, 32);
  j.eight = _mm512_or_si512(j.odd, _mm512_sllv_epi64(j.even, j.odd_bits));
  j.eight_bits = _mm512_add_epi64(j.even_bits, j.odd_bits);
  return j;
}

VBMI static size_t stream_vbmi(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst) {
  enum { MOST = 56 }; /* of put_bits */
  byte_table bits = load_table(code->bits), low = load_table(code->low), high = load_table(code->high);
  bit_writer w = {.at = dst};
  uint64_t v[8], v_bits[8], u[8], u_bits[8];
  for (; n >= 64; n -= 64) {
    __m512i x = _mm512_loadu_si512(src + n - 64);
    joined j = join(look_up(&bits, x), look_up(&low, x), look_up(&high, x));
    if (_mm512_cmpgt_epu64_mask(j.eight_bits, _mm512_set1_epi64(MOST)) == 0) {
      _mm512_storeu_si512(v, j.eight);
      _mm512_storeu_si512(v_bits, j.eight_bits);
      for (int i = 7; i >= 0; i--) put_bits(&w, v[i], (unsigned)v_bits[i]);
    } else {
      _mm512_storeu_si512(v, j.odd);
      _mm512_storeu_si512(v_bits, j.odd_bits);
      _mm512_storeu_si512(u, j.even);
      _mm512_storeu_si512(u_bits, j.even_bits);
      for (int i = 7; i >= 0; i--) {
        put_bits(&w, v[i], (unsigned)v_bits[i]);
        put_bits(&w, u[i], (unsigned)u_bits[i]);
      }
    }
  }
  put_symbols(&w, code, src, n);
  return close_bits(&w, dst);
}

static bool has_vbmi(void) {
  return __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

void lct_huffman_present(const unsigned char *src, size_t n, uint8_t present[256]) {
  (has_vbmi() ? present_vbmi : lct_huffman_present_portable)(src, n, present);
}

size_t lct_huffman_stream(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst) {
  return (has_vbmi() ? stream_vbmi : lct_huffman_stream_portable)(code, src, n, dst);
}
#else
void lct_huffman_present(const unsigned char *src, size_t n, uint8_t present[256]) { lct_huffman_present_portable(src, n, present); }

size_t lct_huffman_stream(const lct_huffman_code *code, const unsigned char *src, size_t n, unsigned char *dst) {
  return lct_huffman_stream_portable(code, src, n, dst);
}
#endif
