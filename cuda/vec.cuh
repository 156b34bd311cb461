/* Memory-bound kernels: elements of global memory as floats, several an access; and what their launchers check.
 *
 * A lane takes 4 elements an access: 16 bytes of f32, 8 of T. So a warp's access is one contiguous piece of 512 or 256 bytes, and no
 * 32-byte sector is written in two halves, as f32 would be by lanes that take the 8 elements of 16 bytes of T. Where only T is moved
 * (RoPE, MLP) a lane takes 8. */
#ifndef LCT_CUDA_VEC_CUH
#define LCT_CUDA_VEC_CUH

#include "device.cuh"
#include "kernels/common.h"

template <int BYTES>
struct alignas(BYTES) lct_raw {
  uint32_t w[BYTES / 4];
};
template <int N>
struct alignas(4 * N) lct_floats {
  float f[N];
};

/* v[0..N) = p[0..N): S is float, lct_f16 or lct_bf16; N 1, or a power of two for which p is aligned to the whole access (<= 16 bytes). */
template <typename S, int N>
LCT_DEVICE void lct_load(const S *p, float *v) {
  if constexpr (sizeof(S) == 4) {
    lct_floats<N> r = *reinterpret_cast<const lct_floats<N> *>(p);
#pragma unroll
    for (int j = 0; j < N; j++) v[j] = r.f[j];
  } else if constexpr (N == 1) {
    v[0] = lct_f32(*p);
  } else {
    lct_raw<2 *N> r = *reinterpret_cast<const lct_raw<2 * N> *>(p);
#pragma unroll
    for (int j = 0; j < N / 2; j++) {
      float2 f = lct_unpack2<S>(r.w[j]);
      v[2 * j] = f.x;
      v[2 * j + 1] = f.y;
    }
  }
}

template <typename S, int N>
LCT_DEVICE void lct_store(S *p, const float *v) {
  if constexpr (sizeof(S) == 4) {
    lct_floats<N> r;
#pragma unroll
    for (int j = 0; j < N; j++) r.f[j] = v[j];
    *reinterpret_cast<lct_floats<N> *>(p) = r;
  } else if constexpr (N == 1) {
    *p = lct_from_f32<S>(v[0]);
  } else {
    lct_raw<2 * N> r;
#pragma unroll
    for (int j = 0; j < N / 2; j++) r.w[j] = lct_pack2<S>(v[2 * j], v[2 * j + 1]);
    *reinterpret_cast<lct_raw<2 * N> *>(p) = r;
  }
}

static inline bool lct_aligned(const void *p, uintptr_t bytes) { return (uintptr_t)p % bytes == 0; }
static inline int lct_ceil_div(int64_t a, int64_t b) { return (int)((a + b - 1) / b); }
static inline int lct_round_warps(int threads) { return (threads + 31) / 32 * 32; }

static inline lct_status lct_refuse_type(lct_dtype t, const char *kernel, lct_error *err) {
  return lct_fail(err, LCT_E_UNSUPPORTED, "%s: no kernel for type %s", kernel, lct_dtype_name(t));
}

static inline lct_status lct_check_launch(const char *kernel, lct_error *err) {
  cudaError_t code = cudaGetLastError();
  if (code == cudaSuccess) return LCT_OK;
  return lct_fail(err, LCT_E_DEVICE, "%s: the launch failed: %s", kernel, cudaGetErrorString(code));
}

#endif
