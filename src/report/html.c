#include "report/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void append(lct_html *h, const char *s, size_t n) {
  if (h->status == LCT_OK) h->status = lct_buf_append(h->buf, s, n, h->err);
}

void lct_html_raw(lct_html *h, const char *markup) { append(h, markup, strlen(markup)); }

void lct_html_fmt(lct_html *h, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n < 0 || (size_t)n >= sizeof text) {
    if (h->status == LCT_OK) h->status = lct_fail(h->err, LCT_E_INTERNAL, "a formatted piece of the report is longer than 511 bytes");
    return;
  }
  append(h, text, (size_t)n);
}

static const char *entity(unsigned char c, bool prose) {
  switch (c) {
  case '&': return "&amp;";
  case '<': return "&lt;";
  case '>': return "&gt;";
  case '"': return "&quot;";
  case '\'': return "&#39;";
  case '\n': return prose ? NULL : " ";
  case '\t':
  case '\r': return " ";
  default: return c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL;
  }
}

static void escaped(lct_html *h, const char *s, size_t n, bool prose) {
  size_t from = 0;
  for (size_t i = 0; i < n; i++) {
    const char *e = entity((unsigned char)s[i], prose);
    if (e == NULL) continue;
    append(h, s + from, i - from);
    lct_html_raw(h, e);
    from = i + 1;
  }
  append(h, s + from, n - from);
}

static void text_n(lct_html *h, const char *s, size_t n) { escaped(h, s, n, false); }

void lct_html_prose(lct_html *h, const char *text) { escaped(h, text, strlen(text), true); }

void lct_html_text(lct_html *h, const char *text) { text_n(h, text, strlen(text)); }

void lct_html_text_cut(lct_html *h, const char *text, size_t n_chars) {
  size_t n = strlen(text);
  if (lct_utf8_count(text, n) <= n_chars) {
    text_n(h, text, n);
    return;
  }
  text_n(h, text, lct_utf8_prefix(text, n, n_chars > 0 ? n_chars - 1 : 0));
  lct_html_raw(h, "…");
}

void lct_html_token(lct_html *h, const char *token) {
  for (const char *p = token; *p != '\0'; p++) {
    if (*p == ' ') {
      lct_html_raw(h, "<i>·</i>");
    } else if (*p == '\n') {
      lct_html_raw(h, "<i>↵</i>");
    } else if (*p == '\t') {
      lct_html_raw(h, "<i>⇥</i>");
    } else {
      text_n(h, p, 1);
    }
  }
}

static void number(lct_html *h, double v, int digits, bool plus) {
  if (isnan(v)) {
    lct_html_raw(h, "–");
    return;
  }
  char text[64];
  (void)snprintf(text, sizeof text, "%.*f", digits, fabs(v));
  bool zero = strspn(text, "0.") == strlen(text);
  if (v < 0 && !zero) lct_html_raw(h, "−");
  if (v > 0 && !zero && plus) lct_html_raw(h, "+");
  lct_html_text(h, text);
}

void lct_html_num(lct_html *h, double v, int digits) { number(h, v, digits, false); }
void lct_html_signed(lct_html *h, double v, int digits) { number(h, v, digits, true); }

void lct_html_count(lct_html *h, int64_t v) {
  char text[32];
  int n = snprintf(text, sizeof text, "%lld", (long long)v);
  for (int i = 0; i < n; i++) {
    append(h, text + i, 1);
    int rest = n - 1 - i;
    if (rest > 0 && rest % 3 == 0 && text[i] != '-') lct_html_raw(h, "&thinsp;");
  }
}
