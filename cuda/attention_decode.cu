/* Attention of decoding: one new token a sequence, so K and V are read once and little is computed: what counts is that they are read
 * at the speed of memory. A sequence's keys are cut into parts of LCT_ATTN_SPLIT, one block a part and KV head; a second kernel
 * adds the parts. Every cut lies at an absolute position and every sum has a fixed order, so a token's bits are those of its path. */
#include "attention_parts.cuh"
#include "vec.cuh"

#define N_WARPS 8
#define N_HEADS 8 /* query heads of a block */
#define TILE_KEYS 16
#define N_TILES 2 /* key tiles of a warp: tile i of the part is warp i % N_WARPS's */
#define PAD 4     /* floats behind a row in shared memory: its stores spread over the banks */
#define REDUCE_WARPS 4

static_assert(N_WARPS * N_TILES * TILE_KEYS == LCT_ATTN_SPLIT, "the warps of a block share the keys of a part");

/* Shared memory of a split block. */
template <int SPANS>
struct split_shared {
  float sum[N_WARPS / 2][N_HEADS][64 * SPANS + PAD];
  float max[N_WARPS][N_HEADS];
  float exps[N_WARPS][N_HEADS];
};

/* Where a block works. */
struct part_place {
  int kv_head, head0, n_heads; /* query heads head0 .. head0 + n_heads - 1 */
  int n_keys;                  /* of the part */
  int row;
  const int32_t *slots; /* of the part's keys */
};

LCT_DEVICE part_place find_part(const lct_k_attn &a, const lct_k_token *tokens, const int32_t *part_token, int part, int rest) {
  int group = a.s.n_heads / a.s.n_kv_heads, head_tiles = (group + N_HEADS - 1) / N_HEADS;
  lct_k_token token = tokens[part_token[part]];
  int key0 = (part - token.part0) * LCT_ATTN_SPLIT, first = rest % head_tiles * N_HEADS;
  part_place p;
  p.kv_head = rest / head_tiles;
  p.head0 = p.kv_head * group + first;
  p.n_heads = group - first < N_HEADS ? group - first : N_HEADS;
  p.n_keys = token.n_keys - key0 < LCT_ATTN_SPLIT ? token.n_keys - key0 : LCT_ATTN_SPLIT;
  p.row = token.row;
  p.slots = a.slots + (int64_t)token.slots0 + key0;
  return p;
}

/* s: head g of the block with keys 2c, 2c + 1, 2c + 8, 2c + 9 of the tile, times `scale`; -inf beyond the part's last key. The slots of
 * the tile's keys are those of lanes lane0 .. lane0 + 15. */
template <typename T, int SPANS>
LCT_DEVICE void score_keys(float s[4], const uint4 *q, const T *k, int stride, int dim, int slot, int lane0, int n_keys, float scale) {
  const int g = lct_lane() / 4, c = lct_lane() % 4;
  uint4 none[2 * SPANS] = {}, key[2][2 * SPANS]; /* query rows 8 .. 15 of the tensor core stay empty */
#pragma unroll
  for (int u = 0; u < 2; u++) lct_load_key<T, 2 * SPANS>(key[u], k + (int64_t)lct_shfl(slot, lane0 + 8 * u + g) * stride, dim);
#pragma unroll
  for (int u = 0; u < 2; u++) {
    float d[4];
    lct_score_tile<T, 2 * SPANS>(d, q, none, key[u]);
    s[2 * u] = 8 * u + 2 * c < n_keys ? d[0] * scale : -INFINITY;
    s[2 * u + 1] = 8 * u + 2 * c + 1 < n_keys ? d[1] * scale : -INFINITY;
  }
}

/* Elements 64 i + 8 g .. + 7 (beyond dim: others, which are never written) of the values of keys 2c, 2c + 1, 2c + 8, 2c + 9 of a tile. */
template <typename T, int SPANS>
LCT_DEVICE void load_values(uint4 value[SPANS][4], const T *v, int stride, int dim, int slot, int lane0) {
  const int g = lct_lane() / 4, c = lct_lane() % 4;
#pragma unroll
  for (int u = 0; u < 4; u++) {
    const T *row = v + (int64_t)lct_shfl(slot, lane0 + 2 * c + 8 * (u / 2) + u % 2) * stride;
#pragma unroll
    for (int i = 0; i < SPANS; i++) {
      int at = 64 * i + 8 * g;
      value[i][u] = *reinterpret_cast<const uint4 *>(row + (i < SPANS - 1 || at < dim ? at : 0));
    }
  }
}

/* o += V^T p for the 64 elements of a span: rows of the tensor core's tile t are elements 8 g + 2 t (upper half) and 8 g + 2 t + 1, columns
 * are heads. p = hi + lo, each rounded to T: together about as exact as f32. */
template <typename T>
LCT_DEVICE void add_values(float o[4][4], const uint4 value[4], const uint32_t hi[2], const uint32_t lo[2]) {
  const uint32_t w[4][4] = {{value[0].x, value[0].y, value[0].z, value[0].w},
                            {value[1].x, value[1].y, value[1].z, value[1].w},
                            {value[2].x, value[2].y, value[2].z, value[2].w},
                            {value[3].x, value[3].y, value[3].z, value[3].w}};
#pragma unroll
  for (int t = 0; t < 4; t++) {
    const uint32_t a[4] = {(w[0][t] & 0xffffu) | w[1][t] << 16, w[0][t] >> 16 | (w[1][t] & 0xffff0000u),
                           (w[2][t] & 0xffffu) | w[3][t] << 16, w[2][t] >> 16 | (w[3][t] & 0xffff0000u)};
    lct_mma_16816<T>(o[t], a, hi[0], hi[1]);
    lct_mma_16816<T>(o[t], a, lo[0], lo[1]);
  }
}

/* A pair of weights as the sum of two pairs of T. */
template <typename T>
LCT_DEVICE void split_pair(float x, float y, uint32_t *hi, uint32_t *lo) {
  *hi = lct_pack2<T>(x, y);
  float2 r = lct_unpack2<T>(*hi);
  *lo = lct_pack2<T>(x - r.x, y - r.y);
}

/* The maximum of each head's scores over the block; s: those of one warp's keys. Ends with a barrier. */
LCT_DEVICE float part_max(const float s[N_TILES][4], float (*shared)[N_HEADS]) {
  const int g = lct_lane() / 4;
  float m = -INFINITY;
#pragma unroll
  for (int i = 0; i < N_TILES; i++) m = fmaxf(m, fmaxf(fmaxf(s[i][0], s[i][1]), fmaxf(s[i][2], s[i][3])));
  m = fmaxf(m, lct_shfl_xor(m, 1));
  m = fmaxf(m, lct_shfl_xor(m, 2));
  if (lct_lane() % 4 == 0) shared[lct_warp()][g] = m;
  lct_sync();
#pragma unroll
  for (int w = 0; w < N_WARPS; w++) m = fmaxf(m, shared[w][g]);
  return m;
}

/* One warp's sums to (add: onto those of) its row block in shared memory. */
template <int SPANS>
LCT_DEVICE void keep_sums(float (*shared)[64 * SPANS + PAD], float o[SPANS][4][4], bool add) {
  const int g = lct_lane() / 4, c = lct_lane() % 4;
#pragma unroll
  for (int i = 0; i < SPANS; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float4 *to = reinterpret_cast<float4 *>(&shared[2 * c + h][64 * i + 8 * g]);
#pragma unroll
      for (int x = 0; x < 2; x++) {
        float4 v = {o[i][2 * x][h], o[i][2 * x][2 + h], o[i][2 * x + 1][h], o[i][2 * x + 1][2 + h]};
        if (add) {
          float4 other = to[x];
          v = {v.x + other.x, v.y + other.y, v.z + other.z, v.w + other.w};
        }
        to[x] = v;
      }
    }
  }
}

/* Adds the warps: w + (w + 4) first, then these four in order; writes the part's row of every head. */
template <int SPANS>
LCT_DEVICE void write_part(split_shared<SPANS> *sh, float o[SPANS][4][4], const float max, float exps, int n_heads, int dim, float *work) {
  const int warp = lct_warp(), g = lct_lane() / 4;
  exps += lct_shfl_xor(exps, 1);
  exps += lct_shfl_xor(exps, 2);
  if (lct_lane() % 4 == 0) sh->exps[warp][g] = exps;
  if (warp >= N_WARPS / 2) keep_sums<SPANS>(sh->sum[warp - N_WARPS / 2], o, false);
  lct_sync();
  if (warp < N_WARPS / 2) keep_sums<SPANS>(sh->sum[warp], o, true);
  if (warp == N_WARPS - 1 && lct_lane() % 4 == 0 && g < n_heads) {
    float sum = 0.0f;
    for (int w = 0; w < N_WARPS; w++) sum += sh->exps[w][g];
    work[(int64_t)g * (dim + 2) + dim] = max;
    work[(int64_t)g * (dim + 2) + dim + 1] = sum;
  }
  lct_sync();
  const int pairs = dim / 2;
  for (int i = (int)threadIdx.x; i < n_heads * pairs; i += 32 * N_WARPS) {
    int head = i / pairs, e = i % pairs * 2;
    float2 sum = {0.0f, 0.0f};
#pragma unroll
    for (int w = 0; w < N_WARPS / 2; w++) {
      float2 v = *reinterpret_cast<const float2 *>(&sh->sum[w][head][e]);
      sum.x += v.x;
      sum.y += v.y;
    }
    *reinterpret_cast<float2 *>(work + (int64_t)head * (dim + 2) + e) = sum;
  }
}

/* One part of one token for up to 8 query heads of a KV head.
 * grid: (n_parts * n_kv_heads * ceil(group / 8)), KV heads of a part next to each other; block: 256; shared: split_shared<SPANS>.
 * head_dim a multiple of 8, <= 64 * SPANS; rows of q, k and v 16-byte aligned. work: (n_parts, n_heads, head_dim + 2), the maximum in
 * units of log 2. K and V of a tile go from global memory to registers as the tensor core wants them, 16 bytes a lane. */
template <typename T, int SPANS>
LCT_KERNEL(32 * N_WARPS, SPANS == 1   ? 3
                         : SPANS == 2 ? 2
                                      : 1)
split_kernel(lct_k_attn a, const lct_k_token *tokens, const int32_t *part_token, int blocks_of_part, float *work) {
  LCT_SHARED(split_shared<SPANS>, sh);
  const int part = (int)blockIdx.x / blocks_of_part, warp = lct_warp(), lane = lct_lane(), dim = a.s.head_dim;
  const part_place p = find_part(a, tokens, part_token, part, (int)blockIdx.x % blocks_of_part);
  const int stride = a.s.n_kv_heads * dim;
  const T *k = static_cast<const T *>(a.k) + p.kv_head * dim, *v = static_cast<const T *>(a.v) + p.kv_head * dim;

  const int my_key = (warp + lane / TILE_KEYS * N_WARPS) * TILE_KEYS + lane % TILE_KEYS;
  const int slot = p.slots[my_key < p.n_keys ? my_key : p.n_keys - 1]; /* keys that are not there: the last one, with weight 0 */
  uint4 q[2 * SPANS], value[N_TILES][SPANS][4];
  const int64_t q_row = (int64_t)p.row * a.s.n_heads + p.head0 + lane / 4;
  lct_load_query<T, 2 * SPANS>(q, static_cast<const T *>(a.q) + q_row * dim, dim, lane / 4 < p.n_heads);

  float s[N_TILES][4];
#pragma unroll
  for (int i = 0; i < N_TILES; i++) {
    int n_keys = p.n_keys - (warp + i * N_WARPS) * TILE_KEYS; /* of this tile on */
    score_keys<T, SPANS>(s[i], q, k, stride, dim, slot, i * TILE_KEYS, n_keys, a.scale * LCT_LOG2E);
  }
  load_values<T, SPANS>(value[0], v, stride, dim, slot, 0);
  const float max = part_max(s, sh->max);

  float o[SPANS][4][4] = {}, exps = 0.0f;
#pragma unroll
  for (int i = 0; i < N_TILES; i++) {
    if (i > 0) load_values<T, SPANS>(value[i], v, stride, dim, slot, i * TILE_KEYS);
    uint32_t hi[2], lo[2];
#pragma unroll
    for (int x = 0; x < 2; x++) {
      float e0 = lct_exp2(s[i][2 * x] - max), e1 = lct_exp2(s[i][2 * x + 1] - max);
      exps += e0 + e1;
      split_pair<T>(e0, e1, &hi[x], &lo[x]);
    }
#pragma unroll
    for (int j = 0; j < SPANS; j++) add_values<T>(o[j], value[i][j], hi, lo);
  }
  write_part<SPANS>(sh, o, max, exps, p.n_heads, dim, work + ((int64_t)part * a.s.n_heads + p.head0) * (dim + 2));
}

/* The greatest maximum of a head's parts, the same in every thread. shared: (REDUCE_WARPS). */
LCT_DEVICE float whole_max(const float *rows, int64_t stride, int n_parts, int dim, float *shared) {
  float m = -INFINITY;
  for (int p = (int)threadIdx.x; p < n_parts; p += 32 * REDUCE_WARPS) m = fmaxf(m, rows[p * stride + dim]);
  m = lct_warp_max(m);
  if (lct_lane() == 0) shared[lct_warp()] = m;
  lct_sync();
#pragma unroll
  for (int w = 0; w < REDUCE_WARPS; w++) m = fmaxf(m, shared[w]);
  return m;
}

/* out row of one head of one token = its parts' sums / sums of exponentials.
 * grid: (n_tokens * n_heads); block: 128; shared: REDUCE_WARPS * (head_dim + 2) floats. Warp w adds parts w, w + 4, ... in order of
 * position, then the warps are added in order. */
template <typename T>
LCT_KERNEL(32 * REDUCE_WARPS, 8)
reduce_kernel(lct_k_attn a, const lct_k_token *tokens, const float *work) {
  LCT_SHARED(float, shared);
  const int dim = a.s.head_dim, warp = lct_warp(), lane = lct_lane();
  const int head = (int)blockIdx.x % a.s.n_heads;
  const lct_k_token token = tokens[(int)blockIdx.x / a.s.n_heads];
  const int64_t stride = (int64_t)a.s.n_heads * (dim + 2);
  const float *rows = work + token.part0 * stride + (int64_t)head * (dim + 2);
  float *exps = shared, *maxima = shared + REDUCE_WARPS, *sums = shared + 2 * REDUCE_WARPS;
  const float max = whole_max(rows, stride, token.n_parts, dim, maxima);

  float2 sum[4] = {}; /* elements 64 i + 2 lane, + 1 */
  float exp_sum = 0.0f;
#pragma unroll 4
  for (int p = warp; p < token.n_parts; p += REDUCE_WARPS) {
    const float *row = rows + p * stride;
    float weight = lct_exp2(row[dim] - max);
    exp_sum += weight * row[dim + 1];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (64 * i + 2 * lane >= dim) continue;
      float2 x = *reinterpret_cast<const float2 *>(row + 64 * i + 2 * lane);
      sum[i].x += weight * x.x;
      sum[i].y += weight * x.y;
    }
  }
  if (lane == 0) exps[warp] = exp_sum;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (64 * i + 2 * lane < dim) *reinterpret_cast<float2 *>(sums + warp * dim + 64 * i + 2 * lane) = sum[i];
  }
  lct_sync();
  uint32_t *out = reinterpret_cast<uint32_t *>(static_cast<T *>(a.out) + ((int64_t)token.row * a.s.n_heads + head) * dim);
  for (int e = 2 * (int)threadIdx.x; e < dim; e += 2 * 32 * REDUCE_WARPS) {
    float x = 0.0f, y = 0.0f, total = 0.0f;
    for (int w = 0; w < REDUCE_WARPS; w++) {
      x += sums[w * dim + e];
      y += sums[w * dim + e + 1];
      total += exps[w];
    }
    out[e / 2] = lct_pack2<T>(x / total, y / total);
  }
}

template <typename T, int SPANS>
static void launch_split(const lct_k_attn *a, const lct_k_token *tokens, const int32_t *part_token, int n_parts, int blocks_of_part,
                         float *work, cudaStream_t stream) {
  LCT_LAUNCH((split_kernel<T, SPANS>), n_parts * blocks_of_part, 32 * N_WARPS, sizeof(split_shared<SPANS>), stream, *a, tokens, part_token,
             blocks_of_part, work);
}

template <typename T>
static lct_status launch(const lct_k_attn *a, const lct_k_token *tokens, int n_tokens, const int32_t *part_token, int n_parts,
                         int blocks_of_part, float *work, cudaStream_t stream, lct_error *err) {
  int dim = a->s.head_dim;
  if (dim <= 64) launch_split<T, 1>(a, tokens, part_token, n_parts, blocks_of_part, work, stream);
  else if (dim <= 128) launch_split<T, 2>(a, tokens, part_token, n_parts, blocks_of_part, work, stream);
  else if (dim <= 192) launch_split<T, 3>(a, tokens, part_token, n_parts, blocks_of_part, work, stream);
  else launch_split<T, 4>(a, tokens, part_token, n_parts, blocks_of_part, work, stream);
  LCT_TRY(lct_check_launch("attention_decode (split)", err));
  size_t bytes = (size_t)REDUCE_WARPS * (size_t)(dim + 2) * sizeof(float);
  LCT_LAUNCH((reduce_kernel<T>), n_tokens * a->s.n_heads, 32 * REDUCE_WARPS, bytes, stream, *a, tokens, work);
  return lct_check_launch("attention_decode (reduce)", err);
}

lct_status lct_k_attention_decode(lct_dtype t, const lct_k_attn *a, const lct_k_token *tokens, int n_tokens, const int32_t *part_token,
                                  int n_parts, float *work, cudaStream_t stream, lct_error *err) {
  LCT_TRY(lct_attn_check("attention_decode", t, &a->s, err));
  if (n_tokens == 0) return LCT_OK;
  int blocks_of_part = a->s.n_kv_heads * ((a->s.n_heads / a->s.n_kv_heads + N_HEADS - 1) / N_HEADS);
  if (n_parts > INT32_MAX / blocks_of_part || n_tokens > INT32_MAX / a->s.n_heads) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "attention_decode: %d tokens in %d parts of %d heads are too many for one launch", n_tokens,
                    n_parts, a->s.n_heads);
  }
  return (t == LCT_DTYPE_F16 ? launch<lct_f16> : launch<lct_bf16>)(a, tokens, n_tokens, part_token, n_parts, blocks_of_part, work, stream,
                                                                   err);
}
