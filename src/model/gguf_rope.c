#include <math.h>

#include "model/gguf_internal.h"

/* The llama3 divisor of one frequency. Frequencies in float, as the writers of these files compute them. */
static double llama3_divisor(float freq, const lct_rope *p) {
  double turns = p->original_max_positions * (double)freq / (2 * 3.14159265358979323846);
  if (turns > p->high_freq_factor) return 1;
  if (turns < p->low_freq_factor) return p->factor;
  double smooth = (turns - p->low_freq_factor) / (p->high_freq_factor - p->low_freq_factor);
  return 1 / ((1 - smooth) / p->factor + smooth);
}

bool lct_gguf_rope_recognise(const float *divisors, int n, lct_rope *rope) {
  double largest = 1;
  for (int i = 0; i < n; i++) {
    if (!(divisors[i] >= 1) || isinf(divisors[i])) return false;
    if ((double)divisors[i] > largest) largest = (double)divisors[i];
  }
  if (largest == 1) return true;
  const double candidates[] = {8, 32, largest};
  for (size_t c = 0; c < sizeof candidates / sizeof candidates[0]; c++) {
    lct_rope p = {.kind = LCT_ROPE_LLAMA3,
                  .theta = rope->theta,
                  .factor = candidates[c],
                  .low_freq_factor = 1,
                  .high_freq_factor = 4,
                  .original_max_positions = 8192};
    int i = 0;
    for (; i < n; i++) {
      float freq = 1.0f / powf((float)rope->theta, (float)(2 * i) / (float)(2 * n));
      double want = llama3_divisor(freq, &p);
      if (fabs((double)divisors[i] - want) > 1e-6 * want) break;
    }
    if (i == n) {
      *rope = p;
      return true;
    }
  }
  return false;
}
