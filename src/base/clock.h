/* Wall time for durations. */
#ifndef LCT_BASE_CLOCK_H
#define LCT_BASE_CLOCK_H

#include <time.h>

/* Seconds since an arbitrary moment; never runs backwards. */
static inline double lct_seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
