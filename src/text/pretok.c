#include "text/pretok.h"

#include <string.h>

/* Bytes of 's 't 'm 'd 're 've 'll at the apostrophe s[p], 0 if none. fold: (?i), where the long s is an s too. */
static size_t contraction(const unsigned char *s, size_t p, size_t n, bool fold) {
  if (p + 1 >= n) return 0;
  unsigned a = s[p + 1], b = p + 2 < n ? s[p + 2] : 0;
  if (fold) {
    if (a == 0xC5 && b == 0xBF) return 3;
    if (a - 'A' < 26u) a |= 0x20;
    if (b - 'A' < 26u) b |= 0x20;
  }
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  return 0;
}

/* End of the run of characters from p that have one of the class bits `any`. */
static size_t run_of(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, unsigned any) {
  size_t len;
  while (p < n && (lct_uclass_at(u, s + p, &len) & any) != 0) p += len;
  return p;
}

/* End of the run of characters that are neither space nor letter nor number. */
static size_t run_of_others(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n) {
  size_t len;
  while (p < n && (lct_uclass_at(u, s + p, &len) & (LCT_UC_SPACE | LCT_UC_LETTER | LCT_UC_NUMBER)) == 0) p += len;
  return p;
}

/* \s*[\r\n]+ (with_newlines), then \s+(?!\S)|\s+, at a space character. */
static size_t run_of_spaces(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, bool with_newlines) {
  size_t at = p, last = p, newline = 0, len;
  while (at < n && (lct_uclass_at(u, s + at, &len) & LCT_UC_SPACE) != 0) {
    if (s[at] == '\n' || s[at] == '\r') newline = at + 1;
    last = at;
    at += len;
  }
  if (with_newlines && newline > p) return newline;
  /* the last space of a run belongs to the word behind it, unless it is the only one */
  return at == n || last == p ? at : last;
}

static size_t up_to_numbers(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, int most) {
  size_t len;
  for (int i = 0; i < most && p < n && (lct_uclass_at(u, s + p, &len) & LCT_UC_NUMBER) != 0; i++) p += len;
  return p;
}

static size_t next_qwen(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, int most_digits) {
  size_t len;
  unsigned c = s[p], class = lct_uclass_at(u, s + p, &len), next = 0;
  if (c == '\'') {
    size_t k = contraction(s, p, n, true);
    if (k > 0) return p + k;
  }
  size_t after = p + len, next_len = 0;
  if (class & LCT_UC_LETTER) return run_of(u, s, after, n, LCT_UC_LETTER);
  if (class & LCT_UC_NUMBER) return up_to_numbers(u, s, p, n, most_digits);
  if (after < n) next = lct_uclass_at(u, s + after, &next_len);
  if (c != '\r' && c != '\n' && (next & LCT_UC_LETTER)) return run_of(u, s, after + next_len, n, LCT_UC_LETTER);
  size_t others = c == ' ' ? after : p;
  size_t end = run_of_others(u, s, others, n);
  if (end > others) {
    while (end < n && (s[end] == '\r' || s[end] == '\n')) end++;
    return end;
  }
  return run_of_spaces(u, s, p, n, true);
}

static size_t next_gpt2(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n) {
  if (s[p] == '\'') {
    size_t k = contraction(s, p, n, false);
    if (k > 0) return p + k;
  }
  size_t at = s[p] == ' ' && p + 1 < n ? p + 1 : p, len;
  unsigned class = lct_uclass_at(u, s + at, &len);
  if (class & LCT_UC_LETTER) return run_of(u, s, at + len, n, LCT_UC_LETTER);
  if (class & LCT_UC_NUMBER) return run_of(u, s, at + len, n, LCT_UC_NUMBER);
  if ((class & LCT_UC_SPACE) == 0) return run_of_others(u, s, at + len, n);
  return run_of_spaces(u, s, p, n, false);
}

static size_t next_digits(const lct_uclasses *u, const unsigned char *s, size_t p, size_t n, bool one_by_one) {
  size_t len;
  bool numeric = (lct_uclass_at(u, s + p, &len) & LCT_UC_NUMERIC) != 0;
  if (numeric && one_by_one) return p + len;
  do {
    p += len;
  } while (p < n && ((lct_uclass_at(u, s + p, &len) & LCT_UC_NUMERIC) != 0) == numeric);
  return p;
}

size_t lct_pretok_next(lct_pretok_kind kind, const lct_uclasses *u, const unsigned char *s, size_t p, size_t n) {
  switch (kind) {
  case LCT_PRETOK_QWEN: return next_qwen(u, s, p, n, 1);
  case LCT_PRETOK_LLAMA3: return next_qwen(u, s, p, n, 3);
  case LCT_PRETOK_GPT2: return next_gpt2(u, s, p, n);
  case LCT_PRETOK_DIGITS: return next_digits(u, s, p, n, false);
  case LCT_PRETOK_DIGIT: return next_digits(u, s, p, n, true);
  case LCT_PRETOK_SPACE:
  case LCT_PRETOK_PCRE: break;
  }
  return n;
}
