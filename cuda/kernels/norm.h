/* RMSNorm: x (n, dim) f32, w (dim) f32, h (n, dim) T; dim a multiple of 4. */
#ifndef LCT_CUDA_KERNELS_NORM_H
#define LCT_CUDA_KERNELS_NORM_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* h = x / sqrt(mean(x^2) + eps) * w */
lct_status lct_k_rmsnorm(lct_dtype t, const float *x, const float *w, float eps, int n, int dim, void *h, cudaStream_t stream,
                         lct_error *err);
/* x += y (n, dim) T; then h = rmsnorm(x) unless h is NULL */
lct_status lct_k_add_rmsnorm(lct_dtype t, float *x, const void *y, const float *w, float eps, int n, int dim, void *h, cudaStream_t stream,
                             lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
