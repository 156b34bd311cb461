/* A row of the QKV projection taken apart: q and k normalised per head (Qwen3) and rotated, k and v written to their rows of the cache. */
#include "kernels/rope.h"
#include "vec.cuh"

#define MAX_THREADS 512

typedef struct {
  int head_dim, n_q, n_k;  /* heads */
  int lanes;               /* of one head: a power of two up to 32, at least head_dim / 2 / V */
  int head_items, v_items; /* lanes of all heads of q and k, rounded up to warps; pieces of 8 elements of v */
} row_shape;

/* V pairs (i, i + head_dim/2) of one head: normalised over the head's lanes, rotated, stored. Every lane of the warp comes here; with
 * `sums` (the same for all: a warp may hold heads of q and of k) they add their squares up. `on`: this lane has pairs. */
template <typename T, int V>
LCT_DEVICE void rotate_piece(const T *head, bool sums, const float *norm, float eps, const float *cos_sin, int half, int lanes, int i,
                             bool on, T *out) {
  float a[V], b[V];
#pragma unroll
  for (int j = 0; j < V; j++) a[j] = b[j] = 0;
  if (on) {
    lct_load<T, V>(head + i, a);
    lct_load<T, V>(head + half + i, b);
  }
  float sum = 0;
  if (sums) {
#pragma unroll
    for (int j = 0; j < V; j++) sum += a[j] * a[j] + b[j] * b[j];
    for (int m = lanes / 2; m > 0; m >>= 1) sum += lct_shfl_xor(sum, m);
  }
  if (!on) return;
  if (norm != nullptr) {
    float inv = 1.0f / sqrtf(sum / (float)(2 * half) + eps);
#pragma unroll
    for (int j = 0; j < V; j += 4) {
      float w[4], u[4];
      lct_load<float, 4>(norm + i + j, w);
      lct_load<float, 4>(norm + half + i + j, u);
#pragma unroll
      for (int k = 0; k < 4; k++) {
        a[j + k] = a[j + k] * inv * w[k];
        b[j + k] = b[j + k] * inv * u[k];
      }
    }
  }
#pragma unroll
  for (int j = 0; j < V; j += 2) {
    float cs[4]; /* cos, sin, cos, sin */
    lct_load<float, 4>(cos_sin + 2 * (i + j), cs);
#pragma unroll
    for (int k = 0; k < 2; k++) {
      float c = cs[2 * k], s = cs[2 * k + 1], x = a[j + k], y = b[j + k];
      a[j + k] = x * c - y * s;
      b[j + k] = y * c + x * s;
    }
  }
  lct_store<T, V>(out + i, a);
  lct_store<T, V>(out + half + i, b);
}

/* Grid: n blocks, one a row. Block: up to MAX_THREADS, going round over the row's items: first the lanes of all heads, q then k, in whole
 * warps; then the pieces of v. Shared: none. head_dim/2 a multiple of V, head_dim a multiple of 8; rows 16-byte aligned. */
template <typename T, int V>
LCT_KERNEL(MAX_THREADS, 2)
split_rope_kernel(const T *__restrict__ qkv, row_shape s, const float *__restrict__ q_norm, const float *__restrict__ k_norm, float eps,
                  const float *__restrict__ cos_sin, const int32_t *__restrict__ positions, const int32_t *__restrict__ slots,
                  T *__restrict__ q, T *__restrict__ k, T *__restrict__ v) {
  int64_t row = blockIdx.x, slot = slots[row];
  int d = s.head_dim, half = d / 2;
  qkv += row * (int64_t)(s.n_q + 2 * s.n_k) * d;
  q += row * s.n_q * d;
  k += slot * s.n_k * d;
  v += slot * s.n_k * d;
  cos_sin += (int64_t)positions[row] * d;
  for (int item = (int)threadIdx.x; item < s.head_items; item += (int)blockDim.x) {
    int h = item / s.lanes, i = (item & (s.lanes - 1)) * V;
    bool is_q = h < s.n_q;
    T *out = is_q ? q + h * d : k + (h - s.n_q) * d;
    bool on = h < s.n_q + s.n_k && i < half, sums = q_norm != nullptr || k_norm != nullptr;
    rotate_piece<T, V>(qkv + h * d, sums, is_q ? q_norm : k_norm, eps, cos_sin, half, s.lanes, i, on, out);
  }
  const T *values = qkv + (s.n_q + s.n_k) * d;
  int item = (int)threadIdx.x - s.head_items % (int)blockDim.x; /* the threads behind the last heads begin */
  if (item < 0) item += (int)blockDim.x;
  for (; item < s.v_items; item += (int)blockDim.x) {
    *reinterpret_cast<lct_raw<16> *>(v + item * 8) = *reinterpret_cast<const lct_raw<16> *>(values + item * 8);
  }
}

typedef struct {
  const void *qkv;
  lct_k_heads s;
  const float *q_norm, *k_norm;
  float eps;
  const float *cos_sin;
  const int32_t *positions, *slots;
  int n;
  void *q, *k, *v;
  cudaStream_t stream;
} rope_args;

template <typename T, int V>
static void launch_rope(const rope_args *a) {
  int d = a->s.head_dim, lanes = 1;
  while (lanes * V < d / 2) lanes *= 2;
  int head_items = lct_round_warps((a->s.n_heads + a->s.n_kv_heads) * lanes);
  row_shape s = {d, a->s.n_heads, a->s.n_kv_heads, lanes, head_items, a->s.n_kv_heads * d / 8};
  int items = s.head_items + s.v_items, rounds = lct_ceil_div(items, MAX_THREADS);
  int threads = lct_round_warps(lct_ceil_div(items, rounds));
  LCT_LAUNCH((split_rope_kernel<T, V>), a->n, threads, 0, a->stream, (const T *)a->qkv, s, a->q_norm, a->k_norm, a->eps, a->cos_sin,
             a->positions, a->slots, (T *)a->q, (T *)a->k, (T *)a->v);
}

template <typename T>
static lct_status run_rope(const rope_args *a, lct_error *err) {
  if (a->s.head_dim % 16 == 0) {
    launch_rope<T, 8>(a);
  } else {
    launch_rope<T, 4>(a);
  }
  return lct_check_launch("split_rope", err);
}

static lct_status check_rope(const rope_args *a, lct_error *err) {
  lct_k_heads s = a->s;
  if (s.head_dim <= 0 || s.head_dim % 8 != 0 || s.head_dim > 256) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "split_rope: head_dim %d: expected a multiple of 8, at most 256", s.head_dim);
  }
  if (a->n < 0 || s.n_kv_heads <= 0 || s.n_heads <= 0 || s.n_heads % s.n_kv_heads != 0 || s.n_heads > 1 << 16) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "split_rope: %d rows of %d heads over %d KV heads: expected a whole number of heads a KV head",
                    a->n, s.n_heads, s.n_kv_heads);
  }
  const void *pointers[] = {a->qkv, a->q, a->k, a->v, a->q_norm, a->k_norm, a->cos_sin};
  for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++) {
    if (!lct_aligned(pointers[i], 16)) return lct_fail(err, LCT_E_UNSUPPORTED, "split_rope: a buffer is not aligned to 16 bytes");
  }
  return LCT_OK;
}

lct_status lct_k_split_rope(lct_dtype t, const void *qkv, lct_k_heads s, const float *q_norm, const float *k_norm, float eps,
                            const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q, void *k, void *v,
                            cudaStream_t stream, lct_error *err) {
  rope_args a = {qkv, s, q_norm, k_norm, eps, cos_sin, positions, slots, n, q, k, v, stream};
  LCT_TRY(check_rope(&a, err));
  if (n == 0) return LCT_OK;
  if (t == LCT_DTYPE_F16) return run_rope<lct_f16>(&a, err);
  if (t == LCT_DTYPE_BF16) return run_rope<lct_bf16>(&a, err);
  return lct_refuse_type(t, "split_rope", err);
}
