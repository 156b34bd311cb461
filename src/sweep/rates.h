/* Speeds and the time left, from where a sweep stood before. */
#ifndef LCT_SWEEP_RATES_H
#define LCT_SWEEP_RATES_H

#include "llmct/llmct.h"

enum { LCT_RATES_SAMPLES = 16 }; /* a second apart at least */

typedef struct {
  double seconds;
  int64_t tokens, raw, stored;
} lct_rates_sample;

/* Zero-initialise. */
typedef struct {
  const char *phase;
  double phase_seconds; /* when it began, and how much of the input was done then */
  int64_t phase_bytes;
  lct_rates_sample samples[LCT_RATES_SAMPLES]; /* of this phase, sample i at i % LCT_RATES_SAMPLES */
  size_t n_samples;
} lct_rates;

/* Fills p's rates and seconds_left from its sums and seconds. */
void lct_rates_update(lct_rates *r, lct_sweep_progress *p);

#endif
