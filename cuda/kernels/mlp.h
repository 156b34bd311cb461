/* The MLP's activation: gu (n, 2*dim) T: gate then up; dim a multiple of 8. */
#ifndef LCT_CUDA_KERNELS_MLP_H
#define LCT_CUDA_KERNELS_MLP_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

lct_status lct_k_silu_mul(lct_dtype t, const void *gu, int n, int dim, void *act, cudaStream_t stream, lct_error *err); /* (n, dim) T */
lct_status lct_k_silu(lct_dtype t, const void *gu, int n, int dim, float *act, cudaStream_t stream, lct_error *err);    /* (n, dim) f32 */

#ifdef __cplusplus
}
#endif
#endif
