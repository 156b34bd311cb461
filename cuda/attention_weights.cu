/* The softmax weights themselves, for taps that want to see them. A block computes its scores twice, first for the maximum and the sum of
 * exponentials, then to write: the scores of a row need not fit anywhere, and the output is touched once. */
#include "attention_parts.cuh"
#include "vec.cuh"

#define N_WARPS 8
#define ROWS 16      /* query rows of a block */
#define TILE_KEYS 16 /* tile i of the path is warp i % N_WARPS's */

/* Running softmax of the scores that one lane sees of one row. */
struct lane_softmax {
  float max, sum;
};

struct weights_shared {
  lane_softmax warp[N_WARPS][ROWS];
};

/* One block's place in the job. */
struct block_place {
  int row;    /* of this lane: row lane / 4 of the block; the other is row + 8 */
  int seen;   /* keys that row sees; the other sees 8 more */
  int n_keys; /* that any row of the block sees */
};

/* Scores, in units of log 2, of rows g and g + 8 of the block with keys 4c .. 4c + 3 of the tile at key0; -inf behind the diagonal. So that
 * a lane's keys lie next to each other, column n of the tensor core's tile u is key 4 (n / 2) + 2 u + n % 2. */
template <typename T, int SPANS>
LCT_DEVICE void score_rows(float s[2][4], const uint4 q[2][2 * SPANS], const T *k, const int32_t *slots, int stride, int dim, int key0,
                           block_place b, float scale) {
  const int g = lct_lane() / 4, c = lct_lane() % 4;
  uint4 key[2][2 * SPANS];
#pragma unroll
  for (int u = 0; u < 2; u++) {
    int at = key0 + g / 2 * 4 + 2 * u + g % 2;
    lct_load_key<T, 2 * SPANS>(key[u], k + (int64_t)slots[at < b.n_keys ? at : b.n_keys - 1] * stride, dim);
  }
#pragma unroll
  for (int u = 0; u < 2; u++) {
    float d[4];
    lct_score_tile<T, 2 * SPANS>(d, q[0], q[1], key[u]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      bool seen = key0 + 4 * c + 2 * u + i % 2 < b.seen + i / 2 * 8;
      s[i / 2][2 * u + i % 2] = seen ? d[i] * scale : -INFINITY;
    }
  }
}

LCT_DEVICE void softmax_add(lane_softmax *x, const float s[4]) {
  float max = fmaxf(fmaxf(fmaxf(s[0], s[1]), fmaxf(s[2], s[3])), x->max);
  if (max == -INFINITY) return; /* nothing seen yet */
  x->sum *= lct_exp2(x->max - max);
#pragma unroll
  for (int i = 0; i < 4; i++) x->sum += lct_exp2(s[i] - max);
  x->max = max;
}

/* The maximum and the sum of row `row` of the block over the four lanes that share it, then over the warps in order. */
LCT_DEVICE lane_softmax whole_row(lane_softmax x, int row, weights_shared *sh) {
  lane_softmax all = x;
  all.max = fmaxf(all.max, lct_shfl_xor(all.max, 1));
  all.max = fmaxf(all.max, lct_shfl_xor(all.max, 2));
  all.sum = all.max == -INFINITY ? 0.0f : x.sum * lct_exp2(x.max - all.max);
  all.sum += lct_shfl_xor(all.sum, 1);
  all.sum += lct_shfl_xor(all.sum, 2);
  if (lct_lane() % 4 == 0) sh->warp[lct_warp()][row] = all;
  lct_sync();
#pragma unroll
  for (int w = 0; w < N_WARPS; w++) all.max = fmaxf(all.max, sh->warp[w][row].max);
  all.sum = 0.0f;
#pragma unroll
  for (int w = 0; w < N_WARPS; w++) all.sum += sh->warp[w][row].sum * lct_exp2(sh->warp[w][row].max - all.max);
  return all;
}

/* One row's weights of four keys at key0. */
LCT_DEVICE void write_weights(float *row, int key0, int n_keys, const float s[4], lane_softmax x) {
  float4 p = {lct_exp2(s[0] - x.max) / x.sum, lct_exp2(s[1] - x.max) / x.sum, lct_exp2(s[2] - x.max) / x.sum,
              lct_exp2(s[3] - x.max) / x.sum};
  if (n_keys % 4 == 0) { /* then every row is 16-byte aligned */
    if (key0 < n_keys) *reinterpret_cast<float4 *>(row + key0) = p;
    return;
  }
  if (key0 < n_keys) row[key0] = p.x;
  if (key0 + 1 < n_keys) row[key0 + 1] = p.y;
  if (key0 + 2 < n_keys) row[key0 + 2] = p.z;
  if (key0 + 3 < n_keys) row[key0 + 3] = p.w;
}

/* grid: (ceil(n / 16), heads); block: 256; shared: weights_shared. head_dim a multiple of 8, <= 64 * SPANS; rows of q and k and the output
 * 16-byte aligned; pos0 + n <= n_keys. Keys behind the diagonal of the block's last row are not read. */
template <typename T, int SPANS>
LCT_KERNEL(32 * N_WARPS, SPANS <= 2 ? 2 : 1)
weights_kernel(lct_k_attn a, int row0, int n, int pos0, int n_keys, int head0, float *out) {
  LCT_SHARED(weights_shared, sh);
  const int dim = a.s.head_dim, stride = a.s.n_kv_heads * dim, g = lct_lane() / 4, c = lct_lane() % 4;
  const int head = head0 + (int)blockIdx.y, first = (int)blockIdx.x * ROWS;
  const T *k = static_cast<const T *>(a.k) + head / (a.s.n_heads / a.s.n_kv_heads) * dim;
  const block_place b = {first + g, pos0 + first + g + 1, pos0 + (first + ROWS < n ? first + ROWS : n)};
  uint4 q[2][2 * SPANS];
#pragma unroll
  for (int u = 0; u < 2; u++) {
    const T *row = static_cast<const T *>(a.q) + ((int64_t)(row0 + b.row + 8 * u) * a.s.n_heads + head) * dim;
    lct_load_query<T, 2 * SPANS>(q[u], row, dim, b.row + 8 * u < n);
  }
  const float scale = a.scale * LCT_LOG2E;
  lane_softmax x[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
  float s[2][4];
  for (int key0 = lct_warp() * TILE_KEYS; key0 < b.n_keys; key0 += N_WARPS * TILE_KEYS) {
    score_rows<T, SPANS>(s, q, k, a.slots, stride, dim, key0, b, scale);
    softmax_add(&x[0], s[0]);
    softmax_add(&x[1], s[1]);
  }
  x[0] = whole_row(x[0], g, sh);
  x[1] = whole_row(x[1], g + 8, sh);

  float *to = out + ((int64_t)blockIdx.y * n + b.row) * n_keys;
  for (int key0 = lct_warp() * TILE_KEYS; key0 < n_keys; key0 += N_WARPS * TILE_KEYS) {
#pragma unroll
    for (int i = 0; i < 8; i++) s[i / 4][i % 4] = -INFINITY;
    if (key0 < b.n_keys) score_rows<T, SPANS>(s, q, k, a.slots, stride, dim, key0, b, scale);
    if (b.row < n) write_weights(to, key0 + 4 * c, n_keys, s[0], x[0]);
    if (b.row + 8 < n) write_weights(to + (int64_t)8 * n_keys, key0 + 4 * c, n_keys, s[1], x[1]);
  }
}

template <typename T>
static lct_status launch(const lct_k_attn *a, int row0, int n, int pos0, int n_keys, int head0, int n_heads, float *out,
                         cudaStream_t stream, lct_error *err) {
  const dim3 grid = lct_grid((n + ROWS - 1) / ROWS, n_heads);
  const int block = 32 * N_WARPS, bytes = (int)sizeof(weights_shared), dim = a->s.head_dim;
  if (dim <= 64) LCT_LAUNCH((weights_kernel<T, 1>), grid, block, bytes, stream, *a, row0, n, pos0, n_keys, head0, out);
  else if (dim <= 128) LCT_LAUNCH((weights_kernel<T, 2>), grid, block, bytes, stream, *a, row0, n, pos0, n_keys, head0, out);
  else if (dim <= 192) LCT_LAUNCH((weights_kernel<T, 3>), grid, block, bytes, stream, *a, row0, n, pos0, n_keys, head0, out);
  else LCT_LAUNCH((weights_kernel<T, 4>), grid, block, bytes, stream, *a, row0, n, pos0, n_keys, head0, out);
  return lct_check_launch("attention_weights", err);
}

lct_status lct_k_attention_weights(lct_dtype t, const lct_k_attn *a, int row0, int n, int pos0, int n_keys, int head0, int n_heads,
                                   float *out, cudaStream_t stream, lct_error *err) {
  LCT_TRY(lct_attn_check("attention_weights", t, &a->s, err));
  if (n == 0 || n_heads == 0) return LCT_OK;
  if (n_heads > 65535 || head0 < 0 || head0 + n_heads > a->s.n_heads || n > n_keys - pos0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention_weights: heads %d to %d of %d, rows at positions %d to %d of %d keys", head0,
                    head0 + n_heads - 1, a->s.n_heads, pos0, pos0 + n - 1, n_keys);
  }
  return (t == LCT_DTYPE_F16 ? launch<lct_f16> : launch<lct_bf16>)(a, row0, n, pos0, n_keys, head0, n_heads, out, stream, err);
}
