/* Heads from the products of q, k and v: normalised, rotated, written where keys stay. */
#ifndef LCT_CUDA_KERNELS_ROPE_H
#define LCT_CUDA_KERNELS_ROPE_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* qkv (n, (n_heads + 2 n_kv) head_dim) T -> q (n, n_heads*head_dim) T, normalised per head with q_norm (head_dim) f32 when not NULL,
 * rotated: pairs (i, i + head_dim/2) by cos_sin (n_pos, head_dim/2, 2) f32 at positions[row]. k likewise and v as it is, into row
 * slots[row] of k, v (n_slots, n_kv_heads*head_dim) T. f32 inside, rounded once at the end. */
lct_status lct_k_split_rope(lct_dtype t, const void *qkv, lct_k_heads s, const float *q_norm, const float *k_norm, float eps,
                            const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q, void *k, void *v,
                            cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
