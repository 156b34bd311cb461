#include "cpu/kernels/kernels_decl.h"

#define STRING2(x) #x
#define STRING(x) STRING2(x)

const lct_kernels LCT_K(lct_kernels) = {
    .isa = &STRING(LCT_KERNEL_SUFFIX)[1], /* "_avx2" without the underscore */
    .add_rmsnorm = LCT_K(lct_add_rmsnorm),
    .silu_mul = LCT_K(lct_silu_mul),
    .norm_rope = LCT_K(lct_norm_rope),
    .bf16_to_f32 = LCT_K(lct_bf16_to_f32),
    .f32_to_bf16 = LCT_K(lct_f32_to_bf16),
    .first_nonfinite = LCT_K(lct_first_nonfinite),
    .pack_keys = LCT_K(lct_pack_keys),
    .attn_tile = LCT_K(lct_attn_tile),
    .attn_finish = LCT_K(lct_attn_finish),
    .attn_scores = LCT_K(lct_attn_scores),
    .softmax = LCT_K(lct_softmax),
    .gemm_panel = LCT_K(lct_gemm_panel),
    .pack_f32 = LCT_K(lct_pack_f32),
    .pack_bf16 = LCT_K(lct_pack_bf16),
    .gemv_bf16 = LCT_K(lct_gemv_bf16),
#if defined(__F16C__)
    .gemv_f16 = LCT_K(lct_gemv_f16),
#endif
};
