/* Embedding, gathers, conversions, checks. */
#ifndef LCT_CUDA_KERNELS_ROWS_H
#define LCT_CUDA_KERNELS_ROWS_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x[i] = table[tokens[i]], table (vocab, hidden) of `type` F32, F16 or BF16 -> x (n, hidden) f32 */
lct_status lct_k_embed(lct_dtype type, const void *table, const int32_t *tokens, int n, int hidden, float *x, cudaStream_t stream,
                       lct_error *err);
/* dst[i] = f32(src[rows ? rows[i] : i][0..dim)): src of `type` F32, F16 or BF16 with leading dimension ld -> dst (n, dim) f32 */
lct_status lct_k_gather(lct_dtype type, const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst, cudaStream_t stream,
                        lct_error *err);
/* *first = min(*first, tag << 40 | index) over the elements of x (n, dim) f32 that are not finite; n * dim < 2^40 */
lct_status lct_k_check_finite(const float *x, int n, int dim, int tag, uint64_t *first, cudaStream_t stream, lct_error *err);
/* dst[0..n) of `to` (F16 or BF16) from src of `from` (F32, F16, BF16): round to nearest even. counts[0] += finite values that became Inf,
 * counts[1] += non-zero values that became zero, counts[2] += values that were not finite before */
lct_status lct_k_convert(lct_dtype from, const void *src, int64_t n, lct_dtype to, void *dst, uint64_t counts[3], cudaStream_t stream,
                         lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
