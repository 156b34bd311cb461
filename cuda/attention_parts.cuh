/* What the kernels of attention_decode.cu and attention_weights.cu share: scores straight from global memory.
 *
 * Both let a tensor core sum over the elements of a head in an order of its own: lane (g, c) = (lane / 4, lane % 4) takes elements
 * 32 j + 8 c .. + 7 of "its" row, one 16-byte piece for every j, as they lie in memory. Query rows and keys are taken in the same
 * order, so every product is there once and nothing has to pass through shared memory. */
#ifndef LCT_CUDA_ATTENTION_PARTS_CUH
#define LCT_CUDA_ATTENTION_PARTS_CUH

#include "device.cuh"
#include "kernels/attention.h"

#define LCT_LOG2E 1.4426950408889634f

/* The pieces of one query row of dim elements; zeros beyond dim, and when !valid. 32 N - 64 < dim <= 32 N. */
template <typename T, int N>
LCT_DEVICE void lct_load_query(uint4 piece[N], const T *row, int dim, bool valid) {
#pragma unroll
  for (int j = 0; j < N; j++) {
    int at = 32 * j + 8 * (lct_lane() % 4);
    piece[j] = {0, 0, 0, 0};
    if (valid && at < dim) piece[j] = *reinterpret_cast<const uint4 *>(row + at);
  }
}

/* The pieces of one key; beyond dim its first ones, which meet the query's zeros: a load without a condition can be issued early. */
template <typename T, int N>
LCT_DEVICE void lct_load_key(uint4 piece[N], const T *row, int dim) {
#pragma unroll
  for (int j = 0; j < N; j++) {
    int at = 32 * j + 8 * (lct_lane() % 4);
    piece[j] = *reinterpret_cast<const uint4 *>(row + (j < N - 2 || at < dim ? at : 0));
  }
}

/* s[0], s[1]: query row g with keys 2c, 2c + 1 of eight; s[2], s[3]: query row g + 8. q0, q8: pieces of rows g and g + 8, k: of key g. */
template <typename T, int N>
LCT_DEVICE void lct_score_tile(float s[4], const uint4 q0[N], const uint4 q8[N], const uint4 k[N]) {
  s[0] = s[1] = s[2] = s[3] = 0.0f;
#pragma unroll
  for (int j = 0; j < N; j++) {
    const uint32_t a[4] = {q0[j].x, q8[j].x, q0[j].y, q8[j].y}, b[4] = {q0[j].z, q8[j].z, q0[j].w, q8[j].w};
    lct_mma_16816<T>(s, a, k[j].x, k[j].y);
    lct_mma_16816<T>(s, b, k[j].z, k[j].w);
  }
}

/* What both launchers rely on. */
static inline lct_status lct_attn_check(const char *what, lct_dtype t, const lct_k_heads *s, lct_error *err) {
  if (t != LCT_DTYPE_F16 && t != LCT_DTYPE_BF16) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: keys must be f16 or bf16", what);
  if (s->head_dim < 8 || s->head_dim > 256 || s->head_dim % 8 != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: heads of %d: must be a multiple of 8, at most 256", what, s->head_dim);
  }
  if (s->n_kv_heads < 1 || s->n_heads < 1 || s->n_heads % s->n_kv_heads != 0 || s->n_heads / s->n_kv_heads > LCT_ATTN_MAX_GROUP) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: %d heads over %d KV heads: must be a multiple, at most %d to one", what, s->n_heads,
                    s->n_kv_heads, LCT_ATTN_MAX_GROUP);
  }
  return LCT_OK;
}

#endif
