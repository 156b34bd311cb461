/* What every libFuzzer target needs. */
#ifndef LCT_FUZZ_SUPPORT_H
#define LCT_FUZZ_SUPPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A finding, if it does not hold. */
#define FUZZ_CHECK(condition)                                                              \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                             \
    }                                                                                      \
  } while (0)

/* A failure must carry its code and a message that ends. */
static inline void fuzz_check_error(lct_status status, const lct_error *err) {
  FUZZ_CHECK(status == err->code);
  FUZZ_CHECK(err->message[0] != '\0' && memchr(err->message, '\0', sizeof err->message) != NULL);
}

/* Reads every byte, so that the sanitizer sees one outside. */
static inline unsigned fuzz_touch(const void *data, size_t n) {
  unsigned sum = 0;
  for (size_t i = 0; i < n; i++) sum += ((const unsigned char *)data)[i];
  return sum;
}

/* Keeps a value alive. */
static inline void fuzz_use(unsigned value) {
  volatile unsigned sink = value;
  (void)sink;
}

#endif
