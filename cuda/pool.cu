/* Pooled vectors: rows as they are, and means over rows. The order of a sum is part of its result, so a column is added up by one thread,
 * row after row; what hides the latency is that the rows of an unrolled step are asked for together, and that columns and vectors are
 * many. */
#include "kernels/pool.h"
#include "vec.cuh"

#define UNROLL 16
#define THREADS 128

/* sum[0..V) += rows 0 .. n - 1, one after the other; rows ld apart. */
template <typename S, int V>
LCT_DEVICE void add_rows(const S *__restrict__ src, int64_t ld, int n, double *sum) {
  for (int r = 0; r < n; r += UNROLL) {
    float v[UNROLL][V];
#pragma unroll
    for (int j = 0; j < UNROLL; j++) {
      if (r + j < n) lct_load<S, V>(src + (int64_t)(r + j) * ld, v[j]);
    }
#pragma unroll
    for (int j = 0; j < UNROLL; j++) {
      for (int k = 0; k < V && r + j < n; k++) sum[k] += (double)v[j][k];
    }
  }
}

/* dst[i] = f32 of row list[i].row, or of the mean over its ranges: src (.., ld) S, dst (n, dim) f32; V columns a thread: V divides dim and
 * ld, src is aligned to V elements and dst to V floats. Grid: (n, ceil(dim / (V * THREADS))). Block: THREADS. Shared: none. */
template <typename S, int V>
LCT_KERNEL(THREADS, 4)
pool_kernel(const S *__restrict__ src, int64_t ld, int dim, const lct_pooled *__restrict__ list, const lct_row_range *__restrict__ ranges,
            float *__restrict__ dst) {
  int col = ((int)blockIdx.y * THREADS + (int)threadIdx.x) * V;
  if (col >= dim) return;
  lct_pooled p = list[blockIdx.x];
  src += col;
  dst += (int64_t)blockIdx.x * dim + col;
  float v[V];
  if (p.row >= 0) {
    lct_load<S, V>(src + (int64_t)p.row * ld, v);
    lct_store<float, V>(dst, v);
    return;
  }
  double sum[V] = {};
  int count = 0;
  for (int i = p.first; i < p.first + p.n; i++) {
    lct_row_range r = ranges[i];
    add_rows<S, V>(src + (int64_t)r.first * ld, ld, r.n, sum);
    count += r.n;
  }
  for (int k = 0; k < V; k++) v[k] = (float)(sum[k] / count);
  lct_store<float, V>(dst, v);
}

template <typename S, int V>
static void launch_pool(const void *src, int64_t ld, int dim, const lct_pooled *list, const lct_row_range *ranges, int n, float *dst,
                        cudaStream_t stream) {
  LCT_LAUNCH((pool_kernel<S, V>), lct_grid(n, lct_ceil_div(dim, V * THREADS)), THREADS, 0, stream, (const S *)src, ld, dim, list, ranges,
             dst);
}

template <typename S>
static void run_pool(const void *src, int64_t ld, int dim, const lct_pooled *list, const lct_row_range *ranges, int n, float *dst,
                     cudaStream_t stream) {
  bool wide = dim % 2 == 0 && ld % 2 == 0 && lct_aligned(src, 2 * sizeof(S)) && lct_aligned(dst, 8);
  if (wide) {
    launch_pool<S, 2>(src, ld, dim, list, ranges, n, dst, stream);
  } else {
    launch_pool<S, 1>(src, ld, dim, list, ranges, n, dst, stream);
  }
}

lct_status lct_k_pool(lct_dtype type, const void *src, int64_t ld, int dim, const lct_pooled *list, const lct_row_range *ranges, int n,
                      float *dst, cudaStream_t stream, lct_error *err) {
  const int max_dim = 65535 * THREADS; /* tiles of columns are the grid's second dimension */
  if (n < 0 || dim <= 0 || dim > max_dim || ld < dim) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "pool: %d vectors of %d elements, %lld apart: expected at most %d elements", n, dim,
                    (long long)ld, max_dim);
  }
  if (n == 0) return LCT_OK;
  if (type == LCT_DTYPE_F32) {
    run_pool<float>(src, ld, dim, list, ranges, n, dst, stream);
  } else if (type == LCT_DTYPE_F16) {
    run_pool<lct_f16>(src, ld, dim, list, ranges, n, dst, stream);
  } else if (type == LCT_DTYPE_BF16) {
    run_pool<lct_bf16>(src, ld, dim, list, ranges, n, dst, stream);
  } else {
    return lct_refuse_type(type, "pool", err);
  }
  return lct_check_launch("pool", err);
}
