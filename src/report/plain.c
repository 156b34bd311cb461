#include "report/plain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* C0, DEL, and C1 (which are two bytes, 0xC2 0x80-0x9F, in UTF-8) become spaces: a message must not steer a terminal. */
static lct_status append_safe(lct_buf *out, const char *s, size_t n, lct_error *err) {
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)s[i];
    bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0;
    if (c1) i++;
    bool space = c < 0x20 || c == 0x7f || c1;
    LCT_TRY(lct_buf_append(out, space ? " " : s + i, 1, err));
  }
  return LCT_OK;
}

lct_status lct_plain_pad(lct_buf *out, const char *text, int width, bool right, lct_error *err) {
  size_t n = strlen(text), room = width > 0 ? (size_t)width : 0, chars = lct_utf8_count(text, n);
  bool cut = chars > room;
  if (cut) n = lct_utf8_prefix(text, n, room > 0 ? room - 1 : 0);
  int pad = cut ? 0 : (int)(room - chars);
  if (right && pad > 0) LCT_TRY(lct_buf_printf(out, err, "%*s", pad, ""));
  LCT_TRY(append_safe(out, text, n, err));
  if (cut && room > 0) LCT_TRY(lct_buf_puts(out, "…", err));
  return !right && pad > 0 ? lct_buf_printf(out, err, "%*s", pad, "") : LCT_OK;
}

lct_status lct_plain_num(lct_buf *out, double v, int width, int digits, bool plus, lct_error *err) {
  if (isnan(v)) return lct_buf_printf(out, err, "%*s", width, "-");
  char text[48];
  (void)snprintf(text, sizeof text, plus ? "%+.*f" : "%.*f", digits, v);
  bool zero = strspn(text, "+-0.") == strlen(text);
  return lct_buf_printf(out, err, "%*s", width, zero ? text + strspn(text, "+-") : text);
}

lct_status lct_plain_wrap(lct_buf *out, const char *text, int width, int indent, lct_error *err) {
  size_t column = 0;
  for (const char *p = text; *p != '\0';) {
    size_t n = strcspn(p, " "), chars = lct_utf8_count(p, n);
    if (column > 0 && column + 1 + chars > (size_t)(width > 0 ? width : 0)) {
      LCT_TRY(lct_buf_printf(out, err, "\n%*s", indent, ""));
      column = (size_t)indent;
    } else if (column > 0) {
      LCT_TRY(lct_buf_puts(out, " ", err));
      column++;
    }
    LCT_TRY(append_safe(out, p, n, err));
    column += chars;
    p += n;
    while (*p == ' ') p++;
  }
  return lct_buf_puts(out, "\n", err);
}
