#include "base/csv.h"

#include <string.h>

lct_status lct_csv_put(lct_buf *out, const char *text, lct_error *err) {
  if (strpbrk(text, ",\"\r\n") == NULL) return lct_buf_puts(out, text, err);
  LCT_TRY(lct_buf_puts(out, "\"", err));
  for (const char *quote; (quote = strchr(text, '"')) != NULL; text = quote + 1) {
    LCT_TRY(lct_buf_append(out, text, (size_t)(quote - text), err));
    LCT_TRY(lct_buf_puts(out, "\"\"", err));
  }
  LCT_TRY(lct_buf_puts(out, text, err));
  return lct_buf_puts(out, "\"", err);
}
