/* The host's side of cuda/device.cuh: the same names with the same meaning, for kernels compiled as C++17 with -DLCT_SHIM. The threads of
 * a block are fibers (block.cpp); every warp operation and barrier carries its source line, so that threads which meet at different ones
 * are found. Test-only: nothing here is fast for its own sake. */
#ifndef LCT_SHIM_DEVICE_H
#define LCT_SHIM_DEVICE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>
#include <type_traits>

#include <cuda_runtime_api.h>

#include "base/half.h"

#define LCT_KERNEL(threads, blocks) static void
#define LCT_DEVICE inline __attribute__((always_inline))
#define LCT_SHARED(T, name) T *name = reinterpret_cast<T *>(shim_shared())
#define LCT_LAUNCH(kernel, grid, block, bytes, stream, ...) \
  shim_launch(#kernel, kernel, (grid), (block), (size_t)(bytes), (stream), __VA_ARGS__)

/* ---- block.cpp ---- */

enum shim_kind {
  SHIM_EXIT,
  SHIM_SYNC,
  SHIM_WARP_SYNC,
  SHIM_SHUFFLE,
  SHIM_BALLOT,
  SHIM_LDMATRIX,
  SHIM_LDMATRIX_TRANS,
  SHIM_MMA_F16,
  SHIM_MMA_BF16
};
struct shim_site {
  const char *file;
  int line;
};
#define SHIM_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define SHIM_HERE (shim_site{file, line})

extern uint3 shim_thread_idx, shim_block_idx;
extern dim3 shim_block_dim, shim_grid_dim;
#define threadIdx (*(const uint3 *)&shim_thread_idx)
#define blockIdx (*(const uint3 *)&shim_block_idx)
#define blockDim (*(const dim3 *)&shim_block_dim)
#define gridDim (*(const dim3 *)&shim_grid_dim)

/* What a lane brings to a matrix operation; it is done by the last lane to arrive, for all of them. */
struct shim_matrix_op {
  float *d;
  const uint32_t *a;
  uint32_t b0, b1;
  uint32_t *r;
  const void *smem;
};

void *shim_shared(void);
void shim_barrier(shim_kind kind, shim_site at);
/* Leaves `value` for the other lanes, waits for all, gives the 32 lanes' values (good until the warp's next but one operation). */
const uint64_t *shim_exchange(shim_kind kind, uint64_t value, shim_site at);
void shim_matrix(shim_kind kind, const shim_matrix_op *op, shim_site at);
uint32_t shim_atomic_add(uint32_t *p, uint32_t v);
uint64_t shim_atomic_add(uint64_t *p, uint64_t v);
uint64_t shim_atomic_min(uint64_t *p, uint64_t v);
void shim_cp_async(void *smem, const void *gmem, bool valid, shim_site at);
void shim_cp_async_commit(void);
void shim_cp_async_wait(int n);
void shim_launch_call(const char *name, dim3 grid, dim3 block, size_t bytes, cudaStream_t stream, const std::function<void()> &thread);

template <typename T>
struct shim_same {
  typedef T type;
};
template <typename... P>
void shim_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t bytes, cudaStream_t stream,
                 typename shim_same<P>::type... args) {
  shim_launch_call(name, grid, block, bytes, stream, [=] { kernel(args...); });
}

/* ---- 16-bit types: storage only ---- */

struct lct_f16 {
  uint16_t bits;
};
struct lct_bf16 {
  uint16_t bits;
};

LCT_DEVICE float lct_f32(lct_f16 x) { return lct_f16_to_f32(x.bits); }
LCT_DEVICE float lct_f32(lct_bf16 x) { return lct_bf16_to_f32(x.bits); }
template <typename T>
LCT_DEVICE T lct_from_f32(float x);
template <>
LCT_DEVICE lct_f16 lct_from_f32<lct_f16>(float x) {
  return lct_f16{lct_f32_to_f16(x)};
}
template <>
LCT_DEVICE lct_bf16 lct_from_f32<lct_bf16>(float x) {
  return lct_bf16{lct_f32_to_bf16(x)};
}
template <typename T>
LCT_DEVICE uint32_t lct_pack2(float lo, float hi) {
  return lct_from_f32<T>(lo).bits | (uint32_t)lct_from_f32<T>(hi).bits << 16;
}
template <typename T>
LCT_DEVICE float2 lct_unpack2(uint32_t v) {
  return make_float2(lct_f32(T{(uint16_t)(v & 0xffffu)}), lct_f32(T{(uint16_t)(v >> 16)}));
}

/* ---- barriers and warp operations ---- */

LCT_DEVICE void lct_sync(SHIM_SITE) { shim_barrier(SHIM_SYNC, SHIM_HERE); }
LCT_DEVICE void lct_warp_sync(SHIM_SITE) { shim_barrier(SHIM_WARP_SYNC, SHIM_HERE); }
LCT_DEVICE int lct_lane(void) { return (int)(threadIdx.x & 31u); }
LCT_DEVICE int lct_warp(void) { return (int)(threadIdx.x >> 5); }

template <typename T>
LCT_DEVICE T shim_shuffle(T v, int (*source)(int lane, int by), int by, shim_site at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
  uint64_t raw = 0;
  memcpy(&raw, &v, sizeof v);
  const uint64_t *all = shim_exchange(SHIM_SHUFFLE, raw, at);
  memcpy(&v, &all[source(lct_lane(), by)], sizeof v);
  return v;
}
template <typename T>
LCT_DEVICE T lct_shfl_xor(T v, int mask, SHIM_SITE) {
  return shim_shuffle(
      v, [](int lane, int by) { return (lane ^ by) & 31; }, mask, SHIM_HERE);
}
template <typename T> /* lanes below delta keep their own */
LCT_DEVICE T lct_shfl_up(T v, int delta, SHIM_SITE) {
  return shim_shuffle(
      v, [](int lane, int by) { return lane < by ? lane : lane - by; }, delta, SHIM_HERE);
}
template <typename T>
LCT_DEVICE T lct_shfl(T v, int lane, SHIM_SITE) {
  return shim_shuffle(
      v, [](int, int by) { return by & 31; }, lane, SHIM_HERE);
}
LCT_DEVICE uint32_t lct_ballot(bool p, SHIM_SITE) {
  const uint64_t *all = shim_exchange(SHIM_BALLOT, p ? 1 : 0, SHIM_HERE);
  uint32_t mask = 0;
  for (int i = 0; i < 32; i++) mask |= (uint32_t)all[i] << i;
  return mask;
}

/* ---- atomics ---- */

LCT_DEVICE uint32_t lct_atomic_add(uint32_t *p, uint32_t v) { return shim_atomic_add(p, v); }
LCT_DEVICE uint64_t lct_atomic_add(uint64_t *p, uint64_t v) { return shim_atomic_add(p, v); }
LCT_DEVICE uint64_t lct_atomic_min(uint64_t *p, uint64_t v) { return shim_atomic_min(p, v); }

/* ---- arithmetic ---- */

/* Kernels are compiled here as nvcc compiles them, free to fuse a product with a sum; what passes through a register cannot be fused. */
#if defined(__x86_64__)
#define SHIM_ROUNDED(x) __asm__("" : "+x"(x))
#else
#define SHIM_ROUNDED(x) __asm__("" : "+w"(x))
#endif
LCT_DEVICE float lct_mul_rn(float a, float b) {
  float product = a * b;
  SHIM_ROUNDED(product);
  return product;
}
LCT_DEVICE double lct_mul_rn(double a, double b) {
  double product = a * b;
  SHIM_ROUNDED(product);
  return product;
}
LCT_DEVICE double lct_add_rn(double a, double b) { /* its operands are rounded if they are products */
  SHIM_ROUNDED(a);
  SHIM_ROUNDED(b);
  return a + b;
}
LCT_DEVICE double lct_fma_rn(double a, double b, double c) { return fma(a, b, c); }
LCT_DEVICE uint64_t lct_mulhi_u64(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a * b >> 64); }
/* flushes denormals, of x and of the result, as ex2.approx.ftz does */
LCT_DEVICE float lct_exp2(float x) {
  float y = exp2f(x);
  return y < 0x1p-126f ? 0.0f : y;
}
LCT_DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }

/* min and max of integers are built into nvcc */
#define SHIM_MIN_MAX(T)                                \
  LCT_DEVICE T min(T a, T b) { return a < b ? a : b; } \
  LCT_DEVICE T max(T a, T b) { return a > b ? a : b; }
SHIM_MIN_MAX(int)
SHIM_MIN_MAX(unsigned)
SHIM_MIN_MAX(long)
SHIM_MIN_MAX(unsigned long)
SHIM_MIN_MAX(long long)
SHIM_MIN_MAX(unsigned long long)
LCT_DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
LCT_DEVICE int __ffs(int x) { return __builtin_ffs(x); }
LCT_DEVICE int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
LCT_DEVICE unsigned __float_as_uint(float x) {
  unsigned u;
  memcpy(&u, &x, 4);
  return u;
}
LCT_DEVICE float __uint_as_float(unsigned u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
LCT_DEVICE int __float_as_int(float x) { return (int)__float_as_uint(x); }
LCT_DEVICE float __int_as_float(int u) { return __uint_as_float((unsigned)u); }

/* ---- asynchronous copies and tensor cores ---- */

LCT_DEVICE void lct_cp_async16(void *smem, const void *gmem, bool valid, SHIM_SITE) { shim_cp_async(smem, gmem, valid, SHIM_HERE); }
LCT_DEVICE void lct_cp_async_commit(void) { shim_cp_async_commit(); }
template <int N>
LCT_DEVICE void lct_cp_async_wait(void) {
  shim_cp_async_wait(N);
}

LCT_DEVICE void lct_ldmatrix_x4(uint32_t r[4], const void *smem, SHIM_SITE) {
  shim_matrix_op op = {nullptr, nullptr, 0, 0, r, smem};
  shim_matrix(SHIM_LDMATRIX, &op, SHIM_HERE);
}
LCT_DEVICE void lct_ldmatrix_x4_trans(uint32_t r[4], const void *smem, SHIM_SITE) {
  shim_matrix_op op = {nullptr, nullptr, 0, 0, r, smem};
  shim_matrix(SHIM_LDMATRIX_TRANS, &op, SHIM_HERE);
}
template <typename T>
LCT_DEVICE void lct_mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, SHIM_SITE) {
  shim_matrix_op op = {d, a, b0, b1, nullptr, nullptr};
  shim_matrix(std::is_same<T, lct_bf16>::value ? SHIM_MMA_BF16 : SHIM_MMA_F16, &op, SHIM_HERE);
}

#endif
