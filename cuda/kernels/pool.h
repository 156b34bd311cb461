/* Vectors from rows, where they lie. */
#ifndef LCT_CUDA_KERNELS_POOL_H
#define LCT_CUDA_KERNELS_POOL_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* dst[i] = f32 of row list[i].row of src (`type` F32, F16 or BF16, leading dimension ld, columns [0, dim)), or of the mean over the rows of
 * its ranges: dst (n, dim) f32. Sums in double, from 0, in the order of the ranges; rounded once. */
lct_status lct_k_pool(lct_dtype type, const void *src, int64_t ld, int dim, const lct_pooled *list, const lct_row_range *ranges, int n,
                      float *dst, cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
