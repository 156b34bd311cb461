#include "engine/rope.h"

#include <math.h>

/* Every step is rounded to f32 where transformers' tensors are f32: an angle's error grows with the position, so an inverse
 * frequency that differs in its last bit would show in the fifth digit of a tap at a few thousand tokens. */
void lct_rope_inv_freq(const lct_rope *r, int head_dim, float *inv_freq) {
  const float two_pi = (float)(2.0 * M_PI);
  for (int i = 0; i < head_dim / 2; i++) {
    float exponent = (float)(2 * i) / (float)head_dim;
    float f = 1.0f / (float)pow(r->theta, (double)exponent);
    if (r->kind == LCT_ROPE_LLAMA3) {
      float factor = (float)r->factor, low = (float)r->low_freq_factor, high = (float)r->high_freq_factor;
      float old_context = (float)r->original_max_positions;
      float wavelength = two_pi / f;
      if (wavelength > old_context / low) {
        f /= factor;
      } else if (wavelength >= old_context / high) {
        float smooth = (old_context / wavelength - low) / (high - low);
        f = (1.0f - smooth) * f / factor + smooth * f;
      }
    }
    inv_freq[i] = f;
  }
}

void lct_rope_table(const float *inv_freq, int head_dim, int pos0, int n_pos, float *cos_sin) {
  int half = head_dim / 2;
  for (int p = 0; p < n_pos; p++) {
    for (int i = 0; i < half; i++) {
      float angle = (float)(pos0 + p) * inv_freq[i];
      cos_sin[((size_t)p * (size_t)half + (size_t)i) * 2] = (float)cos((double)angle);
      cos_sin[((size_t)p * (size_t)half + (size_t)i) * 2 + 1] = (float)sin((double)angle);
    }
  }
}
