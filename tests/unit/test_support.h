/* What every cmocka test needs. */
#ifndef LCT_TEST_SUPPORT_H
#define LCT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

#define assert_ok(expr)                                                      \
  do {                                                                       \
    lct_status assert_ok_ = (expr);                                          \
    if (assert_ok_ != LCT_OK) fail_msg("%s failed: %s", #expr, err.message); \
  } while (0)

#define assert_fails(expr, status, text)      \
  do {                                        \
    assert_int_equal((expr), (status));       \
    assert_string_equal(err.message, (text)); \
  } while (0)

#endif
