/* What kernels are written in. A kernel includes this header and nothing of CUDA, so that the same source compiles for a GPU (nvcc) and
 * for the host (LCT_SHIM: tests/shim runs the threads of a block as fibers). Blocks are one-dimensional, a multiple of 32 threads, at
 * most 1024; grids have up to three dimensions.
 *
 *   LCT_KERNEL(threads, blocks) name(args...) {...}   a kernel for blocks of at most `threads`, at least `blocks` of them on an SM
 *   LCT_SHARED(T, name)                               the block's dynamic shared memory, 128-byte aligned, as T name[]; the only kind used
 *   LCT_LAUNCH(kernel, grid, block, bytes, stream, args...)   grid: dim3 or int; bytes of shared memory
 *   lct_grid(x, y, z)                                 a dim3
 * Warp operations are always over the full warp: every lane must arrive. */
#ifndef LCT_CUDA_DEVICE_CUH
#define LCT_CUDA_DEVICE_CUH

#include <stdint.h>

#ifdef LCT_SHIM
#include "shim_device.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define LCT_KERNEL(threads, blocks) static __global__ void __launch_bounds__(threads, blocks)
#define LCT_DEVICE __device__ __forceinline__
#define LCT_SHARED(T, name)                                   \
  extern __shared__ __align__(128) unsigned char lct_smem_[]; \
  T *name = reinterpret_cast<T *>(lct_smem_)
/* More than 48 KiB of dynamic shared memory has to be asked for once a kernel and device; asking again is cheap. */
#define LCT_LAUNCH(kernel, grid, block, bytes, stream, ...)                                                          \
  do {                                                                                                               \
    if ((bytes) > 48 * 1024)                                                                                         \
      (void)cudaFuncSetAttribute((const void *)(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes)); \
    kernel<<<(grid), (block), (bytes), (stream)>>>(__VA_ARGS__);                                                     \
  } while (0)

typedef __half lct_f16;
typedef __nv_bfloat16 lct_bf16;

/* conversions: to T rounds to nearest even; beyond f16's range it becomes Inf */
LCT_DEVICE float lct_f32(lct_f16 x) { return __half2float(x); }
LCT_DEVICE float lct_f32(lct_bf16 x) { return __bfloat162float(x); }
template <typename T>
LCT_DEVICE T lct_from_f32(float x);
template <>
LCT_DEVICE lct_f16 lct_from_f32<lct_f16>(float x) {
  return __float2half_rn(x);
}
template <>
LCT_DEVICE lct_bf16 lct_from_f32<lct_bf16>(float x) {
  return __float2bfloat16_rn(x);
}
/* two values in one register, the first in the low half */
template <typename T>
LCT_DEVICE uint32_t lct_pack2(float lo, float hi);
template <>
LCT_DEVICE uint32_t lct_pack2<lct_f16>(float lo, float hi) {
  __half2 v = __floats2half2_rn(lo, hi);
  return *reinterpret_cast<uint32_t *>(&v);
}
template <>
LCT_DEVICE uint32_t lct_pack2<lct_bf16>(float lo, float hi) {
  __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
  return *reinterpret_cast<uint32_t *>(&v);
}
template <typename T>
LCT_DEVICE float2 lct_unpack2(uint32_t v);
template <>
LCT_DEVICE float2 lct_unpack2<lct_f16>(uint32_t v) {
  return __half22float2(*reinterpret_cast<__half2 *>(&v));
}
template <>
LCT_DEVICE float2 lct_unpack2<lct_bf16>(uint32_t v) {
  return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&v));
}

/* barriers and warp operations */
LCT_DEVICE void lct_sync(void) { __syncthreads(); }
LCT_DEVICE void lct_warp_sync(void) { __syncwarp(); }
LCT_DEVICE int lct_lane(void) { return (int)(threadIdx.x & 31u); }
LCT_DEVICE int lct_warp(void) { return (int)(threadIdx.x >> 5); }
template <typename T> /* 4- or 8-byte arithmetic types */
LCT_DEVICE T lct_shfl_xor(T v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
template <typename T>
LCT_DEVICE T lct_shfl_up(T v, int delta) {
  return __shfl_up_sync(0xffffffffu, v, (unsigned)delta);
}
template <typename T>
LCT_DEVICE T lct_shfl(T v, int lane) {
  return __shfl_sync(0xffffffffu, v, lane);
}
LCT_DEVICE uint32_t lct_ballot(bool p) { return __ballot_sync(0xffffffffu, p); }

/* atomics on global or shared memory */
LCT_DEVICE uint32_t lct_atomic_add(uint32_t *p, uint32_t v) { return atomicAdd(p, v); }
LCT_DEVICE uint64_t lct_atomic_add(uint64_t *p, uint64_t v) {
  return atomicAdd(reinterpret_cast<unsigned long long *>(p), (unsigned long long)v);
}
LCT_DEVICE uint64_t lct_atomic_min(uint64_t *p, uint64_t v) {
  return atomicMin(reinterpret_cast<unsigned long long *>(p), (unsigned long long)v);
}

/* arithmetic that the compiler must not contract or reassociate: the same bits as on the host */
LCT_DEVICE float lct_mul_rn(float a, float b) { return __fmul_rn(a, b); }
LCT_DEVICE double lct_mul_rn(double a, double b) { return __dmul_rn(a, b); }
LCT_DEVICE double lct_add_rn(double a, double b) { return __dadd_rn(a, b); }
LCT_DEVICE double lct_fma_rn(double a, double b, double c) { return __fma_rn(a, b, c); }
LCT_DEVICE uint64_t lct_mulhi_u64(uint64_t a, uint64_t b) { return __umul64hi(a, b); }
/* 2^x, relative error about 2^-22; -inf gives 0 */
LCT_DEVICE float lct_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* 16 bytes from global to shared memory without registers; !valid: 16 zero bytes, gmem is not read. Both 16-byte aligned. */
LCT_DEVICE void lct_cp_async16(void *smem, const void *gmem, bool valid) {
  uint32_t s = (uint32_t)__cvta_generic_to_shared(smem);
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(s), "l"(gmem), "r"(bytes) : "memory");
}
LCT_DEVICE void lct_cp_async_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> /* waits until at most N of this thread's groups are under way; a barrier must follow before others read */
LCT_DEVICE void lct_cp_async_wait(void) {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Tensor cores. Four 8x8 matrices of 16-bit elements: lane l gives the address of row l%8 of matrix l/8 (16 bytes, aligned);
 * r[i] holds elements (l/4, 2*(l%4)) and the next of matrix i, or with _trans of its transpose. */
LCT_DEVICE void lct_ldmatrix_x4(uint32_t r[4], const void *smem) {
  uint32_t s = (uint32_t)__cvta_generic_to_shared(smem);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s)
               : "memory");
}
LCT_DEVICE void lct_ldmatrix_x4_trans(uint32_t r[4], const void *smem) {
  uint32_t s = (uint32_t)__cvta_generic_to_shared(smem);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s)
               : "memory");
}
/* d (16x8 f32) += a (16x16 T, row-major fragment) b (16x8 T, column fragment). With g = lane/4, c = lane%4:
 * a[0] = A(g, 2c..), a[1] = A(g+8, 2c..), a[2] = A(g, 2c+8..), a[3] = A(g+8, 2c+8..); b0 = B(2c.., g), b1 = B(2c+8.., g);
 * d[0], d[1] = D(g, 2c..), d[2], d[3] = D(g+8, 2c..) */
template <typename T>
LCT_DEVICE void lct_mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
template <>
LCT_DEVICE void lct_mma_16816<lct_f16>(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
LCT_DEVICE void lct_mma_16816<lct_bf16>(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

static inline dim3 lct_grid(int x, int y = 1, int z = 1) { return dim3((unsigned)x, (unsigned)y, (unsigned)z); }

/* Sums in a fixed order, the same in every lane (thread). `scratch` holds 32 floats of shared memory; the call starts and ends with a
 * barrier, so scratch may be used again at once. */
LCT_DEVICE float lct_warp_sum(float v) {
  for (int m = 16; m > 0; m >>= 1) v += lct_shfl_xor(v, m);
  return v;
}
LCT_DEVICE float lct_warp_max(float v) {
  for (int m = 16; m > 0; m >>= 1) v = fmaxf(v, lct_shfl_xor(v, m));
  return v;
}
LCT_DEVICE float lct_block_sum(float v, float *scratch) {
  v = lct_warp_sum(v);
  lct_sync();
  if (lct_lane() == 0) scratch[lct_warp()] = v;
  lct_sync();
  float sum = 0;
  for (int w = 0; w < (int)(blockDim.x + 31) / 32; w++) sum += scratch[w];
  lct_sync();
  return sum;
}

#endif
