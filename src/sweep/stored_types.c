/* Vectors to the stored type, and what that loses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "sweep/sweep_impl.h"

enum { BLOCK = 256 };

size_t sweep_stored_bytes(lct_stored t) { return t == LCT_STORED_F32 ? 4 : t == LCT_STORED_INT8 ? 1 : 2; }

lct_zarr_dtype sweep_stored_dtype(lct_stored t) {
  switch (t) {
  case LCT_STORED_F32: return LCT_ZARR_F32;
  case LCT_STORED_INT8: return LCT_ZARR_I8;
  case LCT_STORED_BF16: return LCT_ZARR_U16; /* Zarr has no bfloat16 that every reader knows */
  default: return LCT_ZARR_F16;
  }
}

int sweep_scales(int width) { return (width + SWEEP_INT8_GROUP - 1) / SWEEP_INT8_GROUP; }

/* q = round(v / scale), scale = max |v| / 127. */
static void quantise(const float *v, int n, int8_t *q, float *scale) {
  float most = 0;
  bool nan = false;
  for (int i = 0; i < n; i++) {
    float a = fabsf(v[i]);
    nan = nan || isnan(a);
    if (a > most) most = a;
  }
  *scale = nan ? NAN : most / 127;
  float inverse = !nan && *scale > 0 && isfinite(*scale) ? 1 / *scale : 0;
  for (int i = 0; i < n; i++) {
    float x = nearbyintf(v[i] * inverse);
    q[i] = nan ? 0 : (int8_t)(x > 127 ? 127 : x < -127 ? -127 : x);
  }
}

/* Lanes of floats, a block long: fast, and enough for a figure of three digits. */
static void add_loss(const float *v, const float *back, int n, sweep_loss *loss) {
  enum { LANES = 16 };
  float error[LANES] = {0}, value[LANES] = {0}, most[LANES] = {0};
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
    for (int k = 0; k < LANES; k++) {
      float d = v[i + k] - back[i + k], a = fabsf(d);
      error[k] += d * d;
      value[k] += v[i + k] * v[i + k];
      most[k] = a > most[k] ? a : most[k];
    }
  }
  for (int k = 0; k < LANES && i < n; k++, i++) {
    float d = v[i] - back[i], a = fabsf(d);
    error[k] += d * d;
    value[k] += v[i] * v[i];
    most[k] = a > most[k] ? a : most[k];
  }
  double e = 0, x = 0;
  for (int k = 0; k < LANES; k++) {
    e += (double)error[k];
    x += (double)value[k];
    if ((double)most[k] > loss->max) loss->max = (double)most[k];
  }
  if (!isfinite(e) || !isfinite(x)) return; /* NaN: a message without text; Inf is counted as saturated */
  loss->error2 += e;
  loss->value2 += x;
}

static void to_half(lct_stored t, const float *v, int n, uint16_t *out, sweep_loss *loss) {
  float back[BLOCK];
  for (int i = 0; i < n; i += BLOCK) {
    size_t k = (size_t)(n - i < BLOCK ? n - i : BLOCK);
    if (t == LCT_STORED_BF16) {
      lct_f32_to_bf16_array(v + i, out + i, k, &loss->saturated);
      lct_bf16_to_f32_array(out + i, back, k);
    } else {
      lct_f32_to_f16_array(v + i, out + i, k, &loss->saturated);
      lct_f16_to_f32_array(out + i, back, k);
    }
    add_loss(v + i, back, (int)k, loss);
  }
}

static void to_int8(const float *v, int width, int8_t *q, float *scales, sweep_loss *loss) {
  float back[SWEEP_INT8_GROUP];
  for (int g = 0; g < sweep_scales(width); g++) {
    int i = g * SWEEP_INT8_GROUP, n = width - i < SWEEP_INT8_GROUP ? width - i : SWEEP_INT8_GROUP;
    quantise(v + i, n, q + i, &scales[g]);
    for (int k = 0; k < n; k++) back[k] = (float)q[i + k] * scales[g];
    add_loss(v + i, back, n, loss);
  }
}

void sweep_convert(lct_stored t, const float *v, int width, void *out, float *scales, sweep_loss *loss) {
  if (t == LCT_STORED_F32) memcpy(out, v, (size_t)width * sizeof *v);
  else if (t == LCT_STORED_INT8) to_int8(v, width, out, scales, loss);
  else to_half(t, v, width, out, loss);
}

lct_status sweep_losses_new(int64_t n, sweep_loss **out, lct_error *err) {
  return lct_calloc(out, (size_t)((n + SWEEP_PIECE - 1) / SWEEP_PIECE), sizeof **out, "errors", err);
}

void sweep_losses_add(sweep_loss *into, sweep_loss *own, int64_t n) {
  for (int64_t i = 0; i < (n + SWEEP_PIECE - 1) / SWEEP_PIECE; i++) {
    into->error2 += own[i].error2;
    into->value2 += own[i].value2;
    into->saturated += own[i].saturated;
    if (own[i].max > into->max) into->max = own[i].max;
  }
  free(own);
}
