#include "base/utf8.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

/* Bytes of ASCII at the front of s[0..n), eight at a time. */
static size_t ascii_run(const unsigned char *s, size_t n) {
  size_t i = 0;
  while (n - i >= 8) {
    uint64_t word;
    memcpy(&word, s + i, sizeof word);
    if (word & UINT64_C(0x8080808080808080)) break;
    i += 8;
  }
  while (i < n && s[i] < 0x80) i++;
  return i;
}

/* What a lead byte promises: how long the sequence is (0: no lead byte) and the range of the second byte, which is where
 * overlong forms, surrogates and values beyond U+10FFFF are told apart (Unicode, table 3-7). */
static size_t lead_shape(unsigned char lead, unsigned char *low, unsigned char *high) {
  *low = 0x80;
  *high = 0xBF;
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) {
    if (lead == 0xE0) *low = 0xA0;
    if (lead == 0xED) *high = 0x9F;
    return 3;
  }
  if (lead > 0xF4) return 0;
  if (lead == 0xF0) *low = 0x90;
  if (lead == 0xF4) *high = 0x8F;
  return 4;
}

/* Length (>= 1) of the sequence, or of the maximal ill-formed subsequence, at the front of s[0..n), n > 0. */
static size_t sequence(const unsigned char *s, size_t n, bool *ok) {
  unsigned char low, high;
  size_t want = lead_shape(s[0], &low, &high), got = 1;
  while (got < want && got < n && s[got] >= low && s[got] <= high) {
    got++;
    low = 0x80;
    high = 0xBF;
  }
  *ok = got == want;
  return got;
}

/* Bytes of valid UTF-8 at the front of s[0..n). */
static size_t valid_run(const unsigned char *s, size_t n) {
  size_t i = 0;
  while (i < n) {
    i += ascii_run(s + i, n - i);
    if (i == n) break;
    bool ok;
    size_t len = sequence(s + i, n - i, &ok);
    if (!ok) break;
    i += len;
  }
  return i;
}

lct_status lct_utf8_replace(const char *s, size_t n, lct_buf *out, size_t *n_replaced, lct_error *err) {
  const unsigned char *u = (const unsigned char *)s;
  size_t count = 0, i = 0;
  if (n == 0) LCT_TRY(lct_buf_append(out, "", 0, err)); /* data must be a string even when there is nothing to add */
  while (i < n) {
    size_t run = valid_run(u + i, n - i);
    LCT_TRY(lct_buf_append(out, s + i, run, err));
    i += run;
    if (i == n) break;
    bool ok;
    i += sequence(u + i, n - i, &ok);
    LCT_TRY(lct_buf_append(out, REPLACEMENT, sizeof REPLACEMENT - 1, err));
    count++;
  }
  if (n_replaced != NULL) *n_replaced = count;
  return LCT_OK;
}

size_t lct_utf8_settled(const char *s, size_t n) {
  const unsigned char *u = (const unsigned char *)s;
  size_t i = 0;
  while (i < n) {
    unsigned char low, high;
    bool ok;
    size_t len = sequence(u + i, n - i, &ok);
    if (!ok && i + len == n && len < lead_shape(u[i], &low, &high)) return i;
    i += len;
  }
  return n;
}

bool lct_utf8_valid(const char *s, size_t n) { return n == 0 || valid_run((const unsigned char *)s, n) == n; }

size_t lct_utf8_count(const char *s, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xC0) != 0x80;
  return count;
}

size_t lct_utf8_prefix(const char *s, size_t n, size_t n_chars) {
  for (size_t i = 0; i < n; i++) {
    if (((unsigned char)s[i] & 0xC0) == 0x80) continue;
    if (n_chars == 0) return i;
    n_chars--;
  }
  return n;
}
