/* RMSNorm, alone and behind the residual add. x (n, dim) f32, y and h (n, dim) T, w (dim) f32; dim a multiple of 4.
 *
 * A row stays in registers between its sum of squares and its write: each thread holds UNITS pieces of 4 elements, `stride` threads
 * apart. Short rows are a warp's each, others a block's. Which it is, and so the order of the sum, depends on dim alone. */
#include "kernels/norm.h"
#include "vec.cuh"

#define WARP_ROWS 4 /* rows of a block when a row is a warp's */
#define MAX_THREADS 512
#define SCRATCH_BYTES 128 /* a float per warp */

typedef struct {
  float *x;
  const void *y;
  const float *w;
  float eps;
  int n, dim;
  void *h;
  cudaStream_t stream;
} norm_args;

/* One barrier is enough where lct_block_sum has three: scratch is used once. */
LCT_DEVICE float block_sum_once(float v, float *scratch) {
  v = lct_warp_sum(v);
  if (lct_lane() == 0) scratch[lct_warp()] = v;
  lct_sync();
  float sum = 0;
  for (int i = 0; i < (int)(blockDim.x >> 5); i++) sum += scratch[i];
  return sum;
}

/* What this thread holds of a row: x + y, the new x, which is written back; and w, asked for early so that nobody waits for it after the
 * barrier. Pieces behind the row's end are zero. */
template <typename T, int UNITS, bool ADD>
LCT_DEVICE void load_row(float *x, const T *y, const float *w, bool norm, int t, int stride, int dim, float v[UNITS][4],
                         float scale[UNITS][4]) {
  float add[UNITS][4];
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
    int i = (t + u * stride) * 4;
#pragma unroll
    for (int j = 0; j < 4; j++) v[u][j] = add[u][j] = scale[u][j] = 0;
    if (i >= dim) continue;
    lct_load<float, 4>(x + i, v[u]);
    if (ADD) lct_load<T, 4>(y + i, add[u]);
    if (norm) lct_load<float, 4>(w + i, scale[u]);
  }
#pragma unroll
  for (int u = 0; ADD && u < UNITS; u++) {
    int i = (t + u * stride) * 4;
#pragma unroll
    for (int j = 0; j < 4; j++) v[u][j] += add[u][j];
    if (i < dim) lct_store<float, 4>(x + i, v[u]);
  }
}

/* Grid: WARP ? ceil(n / WARP_ROWS) : n blocks. Block: WARP ? 32 * WARP_ROWS : up to MAX_THREADS threads, with threads of a row * UNITS
 * * 4 >= dim. Shared: SCRATCH_BYTES. h NULL (with ADD only): x += y and no more, w is not read. */
template <typename T, int UNITS, bool WARP, bool ADD>
LCT_KERNEL(WARP ? 32 * WARP_ROWS : MAX_THREADS, WARP         ? 4
                                                : UNITS == 2 ? 3
                                                             : 2)
norm_kernel(float *__restrict__ x, const T *__restrict__ y, const float *__restrict__ w, float eps, int n, int dim, T *__restrict__ h) {
  LCT_SHARED(float, scratch);
  int64_t row = WARP ? (int64_t)blockIdx.x * WARP_ROWS + lct_warp() : (int64_t)blockIdx.x;
  if (row >= n) return; /* a whole warp, and only where no barrier follows */
  int t = WARP ? lct_lane() : (int)threadIdx.x, stride = WARP ? 32 : (int)blockDim.x;
  float v[UNITS][4], scale[UNITS][4];
  load_row<T, UNITS, ADD>(x + row * dim, ADD ? y + row * dim : y, w, h != nullptr, t, stride, dim, v, scale);
  if (h == nullptr) return;
  float sum = 0;
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum += v[u][j] * v[u][j];
  }
  sum = WARP ? lct_warp_sum(sum) : block_sum_once(sum, scratch);
  float inv = 1.0f / sqrtf(sum / (float)dim + eps);
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
    int i = (t + u * stride) * 4;
#pragma unroll
    for (int j = 0; j < 4; j++) v[u][j] = v[u][j] * inv * scale[u][j];
    if (i < dim) lct_store<T, 4>(h + row * dim + i, v[u]);
  }
}

/* The same for rows of any length, read twice. Grid: n blocks. Block: MAX_THREADS. Shared: SCRATCH_BYTES. A thread reads back only what it
 * wrote itself. */
template <typename T, bool ADD>
LCT_KERNEL(MAX_THREADS, 2)
norm_long_kernel(float *__restrict__ x, const T *__restrict__ y, const float *__restrict__ w, float eps, int dim, T *__restrict__ h) {
  LCT_SHARED(float, scratch);
  int64_t row = blockIdx.x;
  x += row * dim;
  float sum = 0;
  for (int i = (int)threadIdx.x * 4; i < dim; i += (int)blockDim.x * 4) {
    float v[4], add[4];
    lct_load<float, 4>(x + i, v);
    if (ADD) {
      lct_load<T, 4>(y + row * dim + i, add);
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] += add[j];
      lct_store<float, 4>(x + i, v);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) sum += v[j] * v[j];
  }
  if (h == nullptr) return;
  float inv = 1.0f / sqrtf(block_sum_once(sum, scratch) / (float)dim + eps);
  for (int i = (int)threadIdx.x * 4; i < dim; i += (int)blockDim.x * 4) {
    float v[4], scale[4];
    lct_load<float, 4>(x + i, v);
    lct_load<float, 4>(w + i, scale);
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] = v[j] * inv * scale[j];
    lct_store<T, 4>(h + row * dim + i, v);
  }
}

template <typename T, bool ADD, int UNITS, bool WARP>
static void launch_norm(const norm_args *a) {
  int threads = WARP ? 32 * WARP_ROWS : lct_round_warps(lct_ceil_div(a->dim / 4, UNITS));
  int blocks = WARP ? lct_ceil_div(a->n, WARP_ROWS) : a->n;
  LCT_LAUNCH((norm_kernel<T, UNITS, WARP, ADD>), blocks, threads, SCRATCH_BYTES, a->stream, a->x, (const T *)a->y, a->w, a->eps, a->n,
             a->dim, (T *)a->h);
}

template <typename T, bool ADD>
static lct_status run_norm(const norm_args *a, const char *name, lct_error *err) {
  int units = a->dim / 4;
  if (units <= 32) {
    launch_norm<T, ADD, 1, true>(a);
  } else if (units <= 64) {
    launch_norm<T, ADD, 2, true>(a);
  } else if (units <= 128) {
    launch_norm<T, ADD, 4, true>(a);
  } else if (units <= 256) {
    launch_norm<T, ADD, 8, true>(a);
  } else if (units <= 2 * MAX_THREADS) {
    launch_norm<T, ADD, 2, false>(a);
  } else if (units <= 4 * MAX_THREADS) {
    launch_norm<T, ADD, 4, false>(a);
  } else {
    LCT_LAUNCH((norm_long_kernel<T, ADD>), a->n, MAX_THREADS, SCRATCH_BYTES, a->stream, a->x, (const T *)a->y, a->w, a->eps, a->dim,
               (T *)a->h);
  }
  return lct_check_launch(name, err);
}

static lct_status check_norm(const norm_args *a, const char *name, lct_error *err) {
  if (a->n < 0 || a->dim <= 0 || a->dim % 4 != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: %d rows of %d elements: expected rows of a multiple of 4", name, a->n, a->dim);
  }
  if (!lct_aligned(a->x, 16) || !lct_aligned(a->w, 16) || !lct_aligned(a->y, 8) || !lct_aligned(a->h, 8)) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: a buffer is not aligned: expected 16 bytes for f32, 8 for 16-bit types", name);
  }
  return LCT_OK;
}

lct_status lct_k_rmsnorm(lct_dtype t, const float *x, const float *w, float eps, int n, int dim, void *h, cudaStream_t stream,
                         lct_error *err) {
  norm_args a = {(float *)x, nullptr, w, eps, n, dim, h, stream}; /* without y the kernels only read x */
  LCT_TRY(check_norm(&a, "rmsnorm", err));
  if (n == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) return run_norm<lct_f16, false>(&a, "rmsnorm", err);
  if (t == LCT_DTYPE_BF16) return run_norm<lct_bf16, false>(&a, "rmsnorm", err);
  return lct_refuse_type(t, "rmsnorm", err);
}

lct_status lct_k_add_rmsnorm(lct_dtype t, float *x, const void *y, const float *w, float eps, int n, int dim, void *h, cudaStream_t stream,
                             lct_error *err) {
  norm_args a = {x, y, w, eps, n, dim, h, stream};
  LCT_TRY(check_norm(&a, "add_rmsnorm", err));
  if (n == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) return run_norm<lct_f16, true>(&a, "add_rmsnorm", err);
  if (t == LCT_DTYPE_BF16) return run_norm<lct_bf16, true>(&a, "add_rmsnorm", err);
  return lct_refuse_type(t, "add_rmsnorm", err);
}
