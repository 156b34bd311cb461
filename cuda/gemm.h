/* GEMM through cuBLASLt, loaded at run time: a program built with CUDA starts on a machine without it.
 *
 * Results of a row must not depend on how many rows are multiplied with it. So one algorithm without split K is chosen per (in, out) and
 * kept, and it is taken only if, on this device, it gives the same bits for a row whatever the number of rows; where none does, rows go
 * through in tiles of one fixed number, the last padded. Decode passes have an algorithm of their own (which may split K) and run in tiles
 * of at most 16 rows, padded to 16 only where the number of rows matters. */
#ifndef LCT_CUDA_GEMM_H
#define LCT_CUDA_GEMM_H

#include <cuda_runtime_api.h>

#include "base/mem.h"
#include "model/model.h"

typedef struct lct_gemm lct_gemm;

/* t: F16 or BF16, the type of x, w, bias and y; sums in f32. LCT_E_UNSUPPORTED when the library cannot be found (the message lists
 * where it was looked for; LCT_CUBLASLT names it). */
lct_status lct_gemm_open(lct_dtype t, cudaStream_t stream, lct_gemm **out, lct_error *err) LCT_CHECKED;
void lct_gemm_close(lct_gemm *g);

/* y (n, out) = x (n, in) w^T + bias: w (out, in), bias (out) or NULL; ldx, ldy in elements, multiples of 8, as are in and out. n >= 1. */
lct_status lct_gemm_run(lct_gemm *g, bool decode, const void *w, const void *bias, int64_t in, int64_t out, const void *x, int64_t ldx,
                        int n, void *y, int64_t ldy, lct_error *err) LCT_CHECKED;

/* Chooses now, for prefill and decode, what lct_gemm_run would choose at the first product of this shape: that takes up to 128 MiB of
 * device memory for a moment and waits for the stream. */
lct_status lct_gemm_prepare(lct_gemm *g, const void *w, const void *bias, int64_t in, int64_t out, lct_error *err) LCT_CHECKED;

/* One line per (in, out) used so far: shape, mode, what was chosen. Appended to text. */
lct_status lct_gemm_describe(const lct_gemm *g, lct_buf *text, lct_error *err) LCT_CHECKED;

#endif
