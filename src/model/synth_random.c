#include <math.h>

#include "base/half.h"
#include "model/synth_internal.h"

#define GOLDEN 0x9e3779b97f4a7c15u

static inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t lct_synth_key(uint64_t seed, const char *name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char *p = name; *p != '\0'; p++) h = (h ^ (unsigned char)*p) * 0x100000001b3u;
  return mix(seed ^ mix(h));
}

static inline int64_t lanes(uint64_t v) { return (int64_t)((v & 0xffff) + (v >> 16 & 0xffff) + (v >> 32 & 0xffff) + (v >> 48)); }

/* Twice the centred sum of eight uniform 16-bit numbers: close to normal, an exact integer. */
static inline int64_t draw(uint64_t key, uint64_t i) {
  return 2 * (lanes(mix(key + (2 * i + 1) * GOLDEN)) + lanes(mix(key + (2 * i + 2) * GOLDEN))) - 8 * 65535;
}

typedef struct {
  uint64_t key;
  int64_t first, shift;
  double unit;
  lct_dtype t;
  void *out;
} filling;

static lct_status fill(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const filling *f = ctx;
  for (int64_t i = from; i < to; i++) {
    float v = (float)((double)(draw(f->key, (uint64_t)(f->first + i)) + f->shift) * f->unit);
    if (f->t == LCT_DTYPE_F32) ((float *)f->out)[i] = v;
    else ((uint16_t *)f->out)[i] = f->t == LCT_DTYPE_F16 ? lct_f32_to_f16(v) : lct_f32_to_bf16(v);
  }
  return LCT_OK;
}

lct_status lct_synth_fill(uint64_t key, int64_t first, int64_t n, double mean, double std, lct_dtype t, lct_threads *threads, void *out,
                          lct_error *err) {
  /* A uniform integer of 0..k-1 has variance (k^2-1)/12. The mean joins as an integer: one rounding, no fused multiply-add. */
  double unit = std / sqrt(4.0 * 8.0 * (65536.0 * 65536.0 - 1.0) / 12.0);
  filling f = {.key = key, .first = first, .shift = llround(mean / unit), .unit = unit, .t = t, .out = out};
  return lct_threads_for(threads, n, 1 << 16, fill, &f, err);
}
