/* Rows of tables as f32, conversion of weights, the search for values that are not finite. Bound by memory; what is independent is
 * asked for together (UNROLL accesses a thread). */
#include "kernels/rows.h"
#include "vec.cuh"

#define UNROLL 4
#define THREADS 256
#define COUNTS_BYTES 12

/* dst[i] = f32(src[rows ? rows[i] : i][0..dim)): src (.., ld) S, dst (n, dim) f32; V elements an access: V divides dim and ld, and src is
 * aligned to V elements. Grid: ceil(n / (block / row_threads)). Block: a multiple of row_threads, up to THREADS; row_threads a
 * multiple of 32. Shared: none. */
template <typename S, int V>
LCT_KERNEL(THREADS, 4)
gather_kernel(const S *__restrict__ src, int64_t ld, const int32_t *__restrict__ rows, int n, int dim, int row_threads,
              float *__restrict__ dst) {
  int sub = (int)threadIdx.x / row_threads, t = (int)threadIdx.x - sub * row_threads;
  int64_t row = (int64_t)blockIdx.x * ((int)blockDim.x / row_threads) + sub;
  if (row >= n) return;
  src += (rows != nullptr ? (int64_t)rows[row] : row) * ld;
  dst += row * dim;
  int units = dim / V;
  for (int i0 = t; i0 < units; i0 += UNROLL * row_threads) {
    float v[UNROLL][V];
#pragma unroll
    for (int j = 0; j < UNROLL; j++) {
      int i = i0 + j * row_threads;
      if (i < units) lct_load<S, V>(src + (int64_t)i * V, v[j]);
    }
#pragma unroll
    for (int j = 0; j < UNROLL; j++) {
      int i = i0 + j * row_threads;
      if (i < units) lct_store<float, V>(dst + (int64_t)i * V, v[j]);
    }
  }
}

LCT_DEVICE bool is_finite(float x) {
  x = fabsf(x);
  return x <= 3.402823466e38f; /* false for NaN */
}

/* *first = min(*first, base + index of the first element of x (total) f32 that is not finite). Grid: ceil(total / (4 * UNROLL * THREADS)).
 * Block: THREADS. Shared: none. x 16-byte aligned. One warp's find is one atomic; where all is finite there is none. */
LCT_KERNEL(THREADS, 4) finite_kernel(const float *__restrict__ x, int64_t total, uint64_t base, uint64_t *__restrict__ first) {
  int64_t i0 = ((int64_t)blockIdx.x * UNROLL * THREADS + (int64_t)threadIdx.x) * 4;
  float v[UNROLL][4];
#pragma unroll
  for (int j = 0; j < UNROLL; j++) {
    int64_t i = i0 + (int64_t)j * THREADS * 4;
    v[j][0] = v[j][1] = v[j][2] = v[j][3] = 0;
    if (i + 4 <= total) {
      lct_load<float, 4>(x + i, v[j]);
    } else {
      for (int k = 0; k < 3; k++) {
        if (i + k < total) v[j][k] = x[i + k];
      }
    }
  }
  uint64_t found = UINT64_MAX;
#pragma unroll
  for (int j = UNROLL - 1; j >= 0; j--) {
#pragma unroll
    for (int k = 3; k >= 0; k--) {
      if (!is_finite(v[j][k])) found = base + (uint64_t)(i0 + (int64_t)j * THREADS * 4 + k);
    }
  }
  if (lct_ballot(found != UINT64_MAX) == 0) return;
  for (int m = 16; m > 0; m >>= 1) {
    uint64_t other = lct_shfl_xor(found, m);
    found = other < found ? other : found;
  }
  if (lct_lane() == 0) lct_atomic_min(first, found);
}

/* dst[0..n) = T(src[0..n)), counts as lct_k_convert's. V elements an access: V 4 when src and dst are aligned to it, else 1. Grid:
 * ceil(n / (V * UNROLL * THREADS)). Block: THREADS. Shared: COUNTS_BYTES. */
template <typename S, typename T, int V>
LCT_KERNEL(THREADS, 2)
convert_kernel(const S *__restrict__ src, int64_t n, T *__restrict__ dst, uint64_t *__restrict__ counts) {
  LCT_SHARED(uint32_t, block_counts);
  if (threadIdx.x < 3) block_counts[threadIdx.x] = 0;
  lct_sync();
  uint32_t c[3] = {0, 0, 0};
  int64_t i0 = ((int64_t)blockIdx.x * UNROLL * THREADS + (int64_t)threadIdx.x) * V;
#pragma unroll
  for (int j = 0; j < UNROLL; j++) {
    int64_t i = i0 + (int64_t)j * THREADS * V;
    float v[V];
    int m = i + V <= n ? V : i < n ? (int)(n - i) : 0;
    if (m == V) {
      lct_load<S, V>(src + i, v);
    } else {
      for (int k = 0; k < V; k++) v[k] = 0;
      for (int k = 0; k < m; k++) lct_load<S, 1>(src + i + k, v + k);
    }
#pragma unroll
    for (int k = 0; k < V; k++) {
      float y = lct_f32(lct_from_f32<T>(v[k]));
      c[0] += is_finite(v[k]) && !is_finite(y);
      c[1] += v[k] != 0 && y == 0;
      c[2] += !is_finite(v[k]);
    }
    if (m == V) {
      lct_store<T, V>(dst + i, v);
    } else {
      for (int k = 0; k < m; k++) lct_store<T, 1>(dst + i + k, v + k);
    }
  }
#pragma unroll
  for (int k = 0; k < 3; k++) {
    for (int m = 16; m > 0; m >>= 1) c[k] += lct_shfl_xor(c[k], m);
    if (lct_lane() == 0 && c[k] != 0) lct_atomic_add(&block_counts[k], c[k]);
  }
  lct_sync();
  if (threadIdx.x < 3 && block_counts[threadIdx.x] != 0) lct_atomic_add(&counts[threadIdx.x], (uint64_t)block_counts[threadIdx.x]);
}

template <typename S, int V>
static void launch_gather(const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst, cudaStream_t stream) {
  int row_threads = lct_round_warps(lct_ceil_div(dim / V, UNROLL));
  if (row_threads > THREADS) row_threads = THREADS;
  int block_rows = row_threads < 128 ? 128 / row_threads : 1;
  LCT_LAUNCH((gather_kernel<S, V>), lct_ceil_div(n, block_rows), block_rows * row_threads, 0, stream, (const S *)src, ld, rows, n, dim,
             row_threads, dst);
}

template <typename S>
static void run_gather(const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst, cudaStream_t stream) {
  bool wide = dim % 4 == 0 && ld % 4 == 0 && lct_aligned(src, 4 * sizeof(S)) && lct_aligned(dst, 16);
  if (wide) {
    launch_gather<S, 4>(src, ld, rows, n, dim, dst, stream);
  } else {
    launch_gather<S, 1>(src, ld, rows, n, dim, dst, stream);
  }
}

static lct_status gather(const char *name, lct_dtype type, const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                         cudaStream_t stream, lct_error *err) {
  if (n < 0 || dim <= 0 || ld < dim) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: %d rows of %d elements, %lld apart", name, n, dim, (long long)ld);
  }
  if (n == 0) return LCT_OK;
  if (type == LCT_DTYPE_F32) {
    run_gather<float>(src, ld, rows, n, dim, dst, stream);
  } else if (type == LCT_DTYPE_F16) {
    run_gather<lct_f16>(src, ld, rows, n, dim, dst, stream);
  } else if (type == LCT_DTYPE_BF16) {
    run_gather<lct_bf16>(src, ld, rows, n, dim, dst, stream);
  } else {
    return lct_refuse_type(type, name, err);
  }
  return lct_check_launch(name, err);
}

lct_status lct_k_embed(lct_dtype type, const void *table, const int32_t *tokens, int n, int hidden, float *x, cudaStream_t stream,
                       lct_error *err) {
  return gather("embed", type, table, hidden, tokens, n, hidden, x, stream, err);
}

lct_status lct_k_gather(lct_dtype type, const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst, cudaStream_t stream,
                        lct_error *err) {
  return gather("gather", type, src, ld, rows, n, dim, dst, stream, err);
}

lct_status lct_k_check_finite(const float *x, int n, int dim, int tag, uint64_t *first, cudaStream_t stream, lct_error *err) {
  int64_t total = (int64_t)n * dim;
  if (n < 0 || dim < 0 || tag < 0 || tag >= 1 << 24 || total >= INT64_C(1) << 40) {
    return lct_fail(err, LCT_E_UNSUPPORTED,
                    "check_finite: %d rows of %d elements, tag %d: expected fewer than 2^40 elements, a tag below 2^24", n, dim, tag);
  }
  if (!lct_aligned(x, 16)) return lct_fail(err, LCT_E_UNSUPPORTED, "check_finite: x is not aligned to 16 bytes");
  if (total == 0) return LCT_OK;
  LCT_LAUNCH(finite_kernel, lct_ceil_div(total, 4 * UNROLL * THREADS), THREADS, 0, stream, x, total, (uint64_t)tag << 40, first);
  return lct_check_launch("check_finite", err);
}

template <typename S, typename T>
static void run_convert(const void *src, int64_t n, void *dst, uint64_t *counts, cudaStream_t stream) {
  if (lct_aligned(src, 4 * sizeof(S)) && lct_aligned(dst, 8)) {
    LCT_LAUNCH((convert_kernel<S, T, 4>), lct_ceil_div(n, 4 * UNROLL * THREADS), THREADS, COUNTS_BYTES, stream, (const S *)src, n, (T *)dst,
               counts);
  } else {
    LCT_LAUNCH((convert_kernel<S, T, 1>), lct_ceil_div(n, UNROLL * THREADS), THREADS, COUNTS_BYTES, stream, (const S *)src, n, (T *)dst,
               counts);
  }
}

template <typename S>
static lct_status convert_to(const void *src, int64_t n, lct_dtype to, void *dst, uint64_t *counts, cudaStream_t stream, lct_error *err) {
  if (to == LCT_DTYPE_F16) {
    run_convert<S, lct_f16>(src, n, dst, counts, stream);
  } else if (to == LCT_DTYPE_BF16) {
    run_convert<S, lct_bf16>(src, n, dst, counts, stream);
  } else {
    return lct_refuse_type(to, "convert (to)", err);
  }
  return lct_check_launch("convert", err);
}

lct_status lct_k_convert(lct_dtype from, const void *src, int64_t n, lct_dtype to, void *dst, uint64_t counts[3], cudaStream_t stream,
                         lct_error *err) {
  if (n < 0 || n >= INT64_C(1) << 40) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "convert: %lld elements: expected fewer than 2^40", (long long)n);
  }
  if (n == 0) return LCT_OK;
  if (from == LCT_DTYPE_F32) return convert_to<float>(src, n, to, dst, counts, stream, err);
  if (from == LCT_DTYPE_F16) return convert_to<lct_f16>(src, n, to, dst, counts, stream, err);
  if (from == LCT_DTYPE_BF16) return convert_to<lct_bf16>(src, n, to, dst, counts, stream, err);
  return lct_refuse_type(from, "convert (from)", err);
}
