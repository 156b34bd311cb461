/* SwiGLU: silu(gate) * up, and silu(gate) alone for its tap. gu (n, 2*dim) T: gate then up; dim a multiple of 8. */
#include "kernels/mlp.h"
#include "vec.cuh"

#define THREADS 256
#define UNROLL 2 /* pieces a thread */

LCT_DEVICE float silu(float g) { return g / (1.0f + expf(-g)); }

/* act (n, dim): T = silu(gate) * up with V 8, f32 = silu(gate) with V 4 (what a lane stores is 16 bytes). MUL says which. Grid: (n, parts
 * of a row). Block: up to THREADS; parts * block * UNROLL * V >= dim. Shared: none. Rows 16-byte aligned. */
template <typename T, typename O, int V, bool MUL>
LCT_KERNEL(THREADS, 4)
silu_kernel(const T *__restrict__ gu, int dim, O *__restrict__ act) {
  const T *gate = gu + (int64_t)blockIdx.x * 2 * dim;
  O *out = act + (int64_t)blockIdx.x * dim;
  int i0 = ((int)blockIdx.y * UNROLL * (int)blockDim.x + (int)threadIdx.x) * V, step = (int)blockDim.x * V;
  float g[UNROLL][V], up[UNROLL][V];
#pragma unroll
  for (int j = 0; j < UNROLL; j++) {
    int i = i0 + j * step;
    if (i >= dim) continue;
    lct_load<T, V>(gate + i, g[j]);
    if (MUL) lct_load<T, V>(gate + dim + i, up[j]);
  }
#pragma unroll
  for (int j = 0; j < UNROLL; j++) {
    int i = i0 + j * step;
    if (i >= dim) continue;
#pragma unroll
    for (int k = 0; k < V; k++) g[j][k] = MUL ? silu(g[j][k]) * up[j][k] : silu(g[j][k]);
    lct_store<O, V>(out + i, g[j]);
  }
}

template <typename T, typename O, int V, bool MUL>
static void launch_silu(const void *gu, int n, int dim, void *act, cudaStream_t stream) {
  int pieces = dim / V, parts = lct_ceil_div(pieces, UNROLL * THREADS);
  int threads = lct_round_warps(lct_ceil_div(pieces, (int64_t)UNROLL * parts));
  LCT_LAUNCH((silu_kernel<T, O, V, MUL>), lct_grid(n, parts), threads, 0, stream, (const T *)gu, dim, (O *)act);
}

static lct_status check_mlp(const void *gu, int n, int dim, const void *act, const char *name, lct_error *err) {
  if (n < 0 || dim <= 0 || dim % 8 != 0 || dim > 1 << 24) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: %d rows of %d elements: expected rows of a multiple of 8, at most 2^24", name, n, dim);
  }
  if (!lct_aligned(gu, 16) || !lct_aligned(act, 16)) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: a buffer is not aligned to 16 bytes", name);
  }
  return LCT_OK;
}

lct_status lct_k_silu_mul(lct_dtype t, const void *gu, int n, int dim, void *act, cudaStream_t stream, lct_error *err) {
  LCT_TRY(check_mlp(gu, n, dim, act, "silu_mul", err));
  if (n == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) {
    launch_silu<lct_f16, lct_f16, 8, true>(gu, n, dim, act, stream);
  } else if (t == LCT_DTYPE_BF16) {
    launch_silu<lct_bf16, lct_bf16, 8, true>(gu, n, dim, act, stream);
  } else {
    return lct_refuse_type(t, "silu_mul", err);
  }
  return lct_check_launch("silu_mul", err);
}

lct_status lct_k_silu(lct_dtype t, const void *gu, int n, int dim, float *act, cudaStream_t stream, lct_error *err) {
  LCT_TRY(check_mlp(gu, n, dim, act, "silu", err));
  if (n == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) {
    launch_silu<lct_f16, float, 4, false>(gu, n, dim, act, stream);
  } else if (t == LCT_DTYPE_BF16) {
    launch_silu<lct_bf16, float, 4, false>(gu, n, dim, act, stream);
  } else {
    return lct_refuse_type(t, "silu", err);
  }
  return lct_check_launch("silu", err);
}
