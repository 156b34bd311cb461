/* Trying a matrix product; sizes and leading dimensions are multiples of 8. */
#ifndef LCT_CUDA_KERNELS_GEMM_CHECK_H
#define LCT_CUDA_KERNELS_GEMM_CHECK_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x[0..n) T: numbers of [-2, 2) that depend on their place alone */
lct_status lct_k_gemm_fill(lct_dtype t, int64_t n, void *x, cudaStream_t stream, lct_error *err);
/* *count grows when the rows of a (n, dim) and b (n, dim), elements of two bytes, are not the same bits */
lct_status lct_k_gemm_differ(const void *a, int64_t lda, const void *b, int64_t ldb, int n, int64_t dim, uint64_t *count,
                             cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
