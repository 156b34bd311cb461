/* Rotary position embedding's angles, as transformers computes them (modeling_rope_utils: default and llama3). */
#ifndef LCT_ENGINE_ROPE_H
#define LCT_ENGINE_ROPE_H

#include "model/model.h"

/* inv_freq (head_dim/2) f32 */
void lct_rope_inv_freq(const lct_rope *r, int head_dim, float *inv_freq);
/* cos_sin (n_pos, head_dim/2, 2) f32 for positions pos0 .. pos0 + n_pos - 1 */
void lct_rope_table(const float *inv_freq, int head_dim, int pos0, int n_pos, float *cos_sin);

#endif
