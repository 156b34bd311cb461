#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

lct_status lct_fail(lct_error *err, lct_status code, const char *fmt, ...) {
  if (err == NULL) return code;
  va_list ap;
  va_start(ap, fmt);
  err->code = code;
  (void)vsnprintf(err->message, sizeof err->message, fmt, ap);
  va_end(ap);
  return code;
}

lct_status lct_fail_errno(lct_error *err, int errno_value, const char *fmt, ...) {
  if (err == NULL) return LCT_E_IO;
  va_list ap;
  va_start(ap, fmt);
  err->code = LCT_E_IO;
  int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
  va_end(ap);
  if (n > 0 && (size_t)n < sizeof err->message) {
    char text[256];
    /* GNU strerror_r returns the text, which need not be in the buffer. */
    const char *reason = strerror_r(errno_value, text, sizeof text);
    (void)snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", reason);
  }
  return LCT_E_IO;
}

lct_status lct_fail_context(lct_error *err, lct_status fallback, const char *fmt, ...) {
  if (err == NULL) return fallback;
  char inner[sizeof err->message];
  memcpy(inner, err->message, sizeof inner);
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
  va_end(ap);
  if (n > 0 && (size_t)n + 2 < sizeof err->message) {
    (void)snprintf(err->message + n, sizeof err->message - (size_t)n, ": %.*s", (int)(sizeof err->message - (size_t)n - 3), inner);
  }
  return err->code;
}
