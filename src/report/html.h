/* Writing HTML: a sink that remembers its first failure, so that a page is written without a check on every line. */
#ifndef LCT_REPORT_HTML_H
#define LCT_REPORT_HTML_H

#include "base/mem.h"

typedef struct {
  lct_buf *buf;
  lct_error *err;
  lct_status status; /* the first failure; everything after it is dropped */
} lct_html;

/* Markup as it is. */
void lct_html_raw(lct_html *h, const char *markup);
void lct_html_fmt(lct_html *h, const char *fmt, ...) LCT_PRINTF(2, 3);
/* Text: escaped for content and quoted attributes; control characters that HTML forbids become U+FFFD. */
void lct_html_text(lct_html *h, const char *text);
/* The same with line breaks kept. */
void lct_html_prose(lct_html *h, const char *text);
/* At most n_chars code points of text, then an ellipsis. */
void lct_html_text_cut(lct_html *h, const char *text, size_t n_chars);
/* A token with its white space made visible. */
void lct_html_token(lct_html *h, const char *token);
/* A number with a true minus sign; NaN is a dash. lct_html_signed shows + too. */
void lct_html_num(lct_html *h, double v, int digits);
void lct_html_signed(lct_html *h, double v, int digits);
/* 12345 -> 12,345 with thin spaces. */
void lct_html_count(lct_html *h, int64_t v);

#endif
