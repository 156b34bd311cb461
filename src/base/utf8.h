/* UTF-8 as Python sees it. */
#ifndef LCT_BASE_UTF8_H
#define LCT_BASE_UTF8_H

#include "base/mem.h"

/* Appends s[0..n) to out with every maximal ill-formed subsequence replaced by U+FFFD, as Python's
 * bytes.decode("utf-8", errors="replace"). *n_replaced (may be NULL) counts replacements. */
lct_status lct_utf8_replace(const char *s, size_t n, lct_buf *out, size_t *n_replaced, lct_error *err) LCT_CHECKED;
bool lct_utf8_valid(const char *s, size_t n);
/* Bytes at the front of s[0..n) that are read the same whatever follows: all but a last character that is not complete. */
size_t lct_utf8_settled(const char *s, size_t n);
/* Number of code points of valid UTF-8; and the byte length of its first n_chars code points. */
size_t lct_utf8_count(const char *s, size_t n);
size_t lct_utf8_prefix(const char *s, size_t n, size_t n_chars);

#endif
