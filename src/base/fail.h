/* Errors: one status, one message, written by the innermost failure. */
#ifndef LCT_BASE_FAIL_H
#define LCT_BASE_FAIL_H

#include "llmct/status.h"

/* Writes code and the formatted message into *err (if not NULL) and returns code. */
lct_status lct_fail(lct_error *err, lct_status code, const char *fmt, ...) LCT_PRINTF(3, 4);

/* As lct_fail, and appends ": " and the text of errno_value. */
lct_status lct_fail_errno(lct_error *err, int errno_value, const char *fmt, ...) LCT_PRINTF(3, 4);

/* Puts "prefix: " in front of a message already written; returns err's code (or fallback when err is NULL). */
lct_status lct_fail_context(lct_error *err, lct_status fallback, const char *fmt, ...) LCT_PRINTF(3, 4);

/* Returns from the calling function with the failure. Use only where nothing has to be freed. */
#define LCT_TRY(expr)                        \
  do {                                       \
    lct_status lct_try_ = (expr);            \
    if (lct_try_ != LCT_OK) return lct_try_; \
  } while (0)

/* Jumps to `label` with `status` set: for functions that own something. */
#define LCT_TRY_GOTO(status, expr, label) \
  do {                                    \
    (status) = (expr);                    \
    if ((status) != LCT_OK) goto label;   \
  } while (0)

#endif
