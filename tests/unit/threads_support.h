/* Pools for tests: one of every size, kept until the program ends. */
#ifndef LCT_THREADS_SUPPORT_H
#define LCT_THREADS_SUPPORT_H

#include "test_support.h"

#include "base/threads.h"

/* n: 0 to 8; 0: none. */
static inline lct_threads *test_threads(int n) {
  static lct_threads *pools[9];
  lct_error err;
  assert_in_range(n, 0, 8);
  if (n > 0 && pools[n] == NULL) assert_ok(lct_threads_new(n, &pools[n], &err));
  return pools[n];
}

#endif
