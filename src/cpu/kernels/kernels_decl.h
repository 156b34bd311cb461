/* The kernels of one variant, for its table. */
#ifndef LCT_CPU_KERNELS_ROWS_H
#define LCT_CPU_KERNELS_ROWS_H

#include "cpu/kernels/vec.h"

void LCT_K(lct_add_rmsnorm)(float *x, const float *y, const float *w, float eps, int64_t n, int dim, void *h, bool bf16);
void LCT_K(lct_silu_mul)(const float *gu, int64_t n, int dim, void *act, bool bf16, bool mul);
void LCT_K(lct_norm_rope)(const float *x, const float *norm, float eps, const float *cs, int d, float *tmp, float *out);
void LCT_K(lct_bf16_to_f32)(const uint16_t *x, int64_t n, float *out);
void LCT_K(lct_f32_to_bf16)(const float *x, int64_t n, uint16_t *out);
int64_t LCT_K(lct_first_nonfinite)(const float *x, int64_t n);
void LCT_K(lct_pack_keys)(const float *const *src, int d, float *dst);
void LCT_K(lct_attn_tile)(const lct_attn_rows *a, int row0, const float *kt, const float *v, int key0);
void LCT_K(lct_attn_finish)(const lct_attn_rows *a, int row, void *out, bool bf16);
void LCT_K(lct_attn_scores)(const lct_attn_rows *a, int row0, const float *kt, float *out);
void LCT_K(lct_softmax)(float *x, int n);
void LCT_K(lct_gemm_panel)(const float *x, int64_t ldx, int n_rows, int k, const float *panel, const float *bias, int n_cols, float *y,
                           int64_t ldy);
void LCT_K(lct_pack_f32)(const float *src, int64_t ld, int n, int k, int kp, int nb, float *dst);
void LCT_K(lct_pack_bf16)(const float *src, int64_t ld, int n, int k, int kp, int nb, uint16_t *dst);
void LCT_K(lct_gemv_bf16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy);
void LCT_K(lct_gemv_f16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy);

#endif
