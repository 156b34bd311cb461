/* What tries a matrix product (gemm_choose.c): numbers to multiply and a bitwise comparison. */
#include "device.cuh"
#include "kernels/gemm_check.h"
#include "vec.cuh"

#define THREADS 256
#define MAX_BLOCKS 528
#define UNIT 8 /* elements of 16 bytes */

LCT_DEVICE float number(int64_t i) {
  uint64_t h = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
  h = (h ^ (h >> 31)) * 0xbf58476d1ce4e5b9u;
  return (float)(int32_t)(uint32_t)(h >> 32) * 0x1p-30f;
}

/* x (n) T, n a multiple of UNIT: numbers of [-2, 2) that look random and depend on their place alone.
 * Grid: up to MAX_BLOCKS blocks, each takes every gridDim.x-th piece. Block: THREADS. */
template <typename T>
LCT_KERNEL(THREADS, 4)
fill_kernel(int64_t n, T *x) {
  int64_t step = (int64_t)gridDim.x * THREADS * UNIT;
  for (int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * UNIT; i < n; i += step) {
    uint4 v;
    v.x = lct_pack2<T>(number(i), number(i + 1));
    v.y = lct_pack2<T>(number(i + 2), number(i + 3));
    v.z = lct_pack2<T>(number(i + 4), number(i + 5));
    v.w = lct_pack2<T>(number(i + 6), number(i + 7));
    *reinterpret_cast<uint4 *>(x + i) = v;
  }
}

/* *count += pieces of 16 bytes in which a (n, units) and b (n, units) differ; rows are lda and ldb pieces apart.
 * Grid: up to MAX_BLOCKS blocks, each takes every gridDim.x-th piece. Block: THREADS. */
LCT_KERNEL(THREADS, 4) differ_kernel(const uint4 *a, int64_t lda, const uint4 *b, int64_t ldb, int64_t n, int64_t units, uint64_t *count) {
  int64_t step = (int64_t)gridDim.x * THREADS;
  uint64_t mine = 0;
  for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < n * units; i += step) {
    int64_t row = i / units, at = i - row * units;
    uint4 p = a[row * lda + at], q = b[row * ldb + at];
    if (p.x != q.x || p.y != q.y || p.z != q.z || p.w != q.w) mine++;
  }
  if (mine != 0) (void)lct_atomic_add(count, mine);
}

static int blocks_for(int64_t pieces) {
  int64_t blocks = (pieces + THREADS - 1) / THREADS;
  return blocks < MAX_BLOCKS ? (int)blocks : MAX_BLOCKS;
}

lct_status lct_k_gemm_fill(lct_dtype t, int64_t n, void *x, cudaStream_t stream, lct_error *err) {
  if (n == 0) return LCT_OK;
  if (n % UNIT != 0) return lct_fail(err, LCT_E_UNSUPPORTED, "gemm_fill: %lld elements, expected a multiple of %d", (long long)n, UNIT);
  int blocks = blocks_for(n / UNIT);
  if (t == LCT_DTYPE_F16) {
    LCT_LAUNCH(fill_kernel<lct_f16>, blocks, THREADS, 0, stream, n, (lct_f16 *)x);
  } else if (t == LCT_DTYPE_BF16) {
    LCT_LAUNCH(fill_kernel<lct_bf16>, blocks, THREADS, 0, stream, n, (lct_bf16 *)x);
  } else {
    return lct_fail(err, LCT_E_UNSUPPORTED, "gemm_fill: no kernel for type %s", lct_dtype_name(t));
  }
  return lct_check_launch("gemm_fill", err);
}

lct_status lct_k_gemm_differ(const void *a, int64_t lda, const void *b, int64_t ldb, int n, int64_t dim, uint64_t *count,
                             cudaStream_t stream, lct_error *err) {
  if (n == 0 || dim == 0) return LCT_OK;
  if (lda % UNIT != 0 || ldb % UNIT != 0 || dim % UNIT != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "gemm_differ: rows of %lld elements, %lld and %lld apart: expected multiples of %d",
                    (long long)dim, (long long)lda, (long long)ldb, UNIT);
  }
  int64_t units = dim / UNIT;
  LCT_LAUNCH(differ_kernel, blocks_for(n * units), THREADS, 0, stream, (const uint4 *)a, lda / UNIT, (const uint4 *)b, ldb / UNIT,
             (int64_t)n, units, count);
  return lct_check_launch("gemm_differ", err);
}
