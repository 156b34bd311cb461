#include "sweep/rates.h"

#include <string.h>

static double per_second(int64_t now, int64_t before, double seconds) {
  return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

void lct_rates_update(lct_rates *r, lct_sweep_progress *p) {
  if (r->phase == NULL || strcmp(r->phase, p->phase) != 0) {
    *r = (lct_rates){.phase = p->phase, .phase_seconds = p->seconds, .phase_bytes = p->bytes_read};
  }
  if (r->n_samples == 0 || p->seconds - r->samples[(r->n_samples - 1) % LCT_RATES_SAMPLES].seconds >= 1) {
    r->samples[r->n_samples++ % LCT_RATES_SAMPLES] = (lct_rates_sample){p->seconds, p->tokens_computed, p->raw_bytes, p->stored_bytes};
  }
  const lct_rates_sample *oldest = &r->samples[r->n_samples > LCT_RATES_SAMPLES ? r->n_samples % LCT_RATES_SAMPLES : 0];
  double seconds = p->seconds - oldest->seconds;
  p->tokens_per_second = per_second(p->tokens_computed, oldest->tokens, seconds);
  p->raw_bytes_per_second = per_second(p->raw_bytes, oldest->raw, seconds);
  p->stored_bytes_per_second = per_second(p->stored_bytes, oldest->stored, seconds);
  double input = per_second(p->bytes_read, r->phase_bytes, p->seconds - r->phase_seconds);
  p->seconds_left = input > 0 && p->bytes_total >= p->bytes_read ? (double)(p->bytes_total - p->bytes_read) / input : -1;
}
