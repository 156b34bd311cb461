/* The kernel of attention.cu, a template over the 16-bit type, head_dim and the number of K and V buffers. Its instantiations are in
 * attention_f16.cu and attention_bf16.cu, so that they compile side by side. */
#ifndef LCT_CUDA_ATTENTION_CUH
#define LCT_CUDA_ATTENTION_CUH

#include <math.h>

#include "device.cuh"
#include "kernels/attention.h"

/* Launch the variant for a->s.head_dim, which the caller has checked. `deep`: two buffers each of K and V also for head_dim 128. */
void lct_attn_launch_f16(const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream);
void lct_attn_launch_bf16(const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream);

#define ATTN_THREADS 128 /* 4 warps, 16 query rows each */
#define ATTN_KEYS LCT_ATTN_KEYS
#define ATTN_LOG2E 1.44269504088896340736f

/* Shared memory: STAGES times (K tile, V tile), a query tile where the registers cannot hold it, slots of two key tiles. A tile
 * is 64 rows of D elements; the 16-byte chunks of a row are permuted so that the 8 rows of an ldmatrix lie in different banks. */
template <int D, int STAGES>
struct attn_layout {
  static constexpr int CHUNKS = D / 8;
  static constexpr int TILE = ATTN_KEYS * D;
  static constexpr bool Q_SHARED = D > 128;
  static constexpr int Q_TILE = Q_SHARED ? 2 * STAGES : 2 * STAGES - 1; /* otherwise borrowed from the last V buffer */
  static constexpr int N_TILES = 2 * STAGES + (Q_SHARED ? 1 : 0);
  static constexpr int BYTES = N_TILES * TILE * 2 + 2 * ATTN_KEYS * 4;
};

/* At least so many blocks on an SM: bounds the registers of a thread. */
constexpr int attn_blocks(int d) { return d <= 128 ? 3 : 2; }

/* Rows of 64 and of 192 bytes begin at two places in the banks only: four permutations suffice, and 4 or 12 chunks allow no more. */
template <int D>
constexpr bool ATTN_NARROW = D == 32 || D == 96;

/* Chunk c of row r lies at chunk c ^ attn_swizzle(r): only the low bits of c change, and rows a multiple of 8 apart agree. */
template <int D>
LCT_DEVICE int attn_swizzle(int r) {
  return ATTN_NARROW<D> ? (r >> 1) & 3 : r & 7;
}

/* Offset in elements of chunk c ^ x, c known at compile time: few address registers, the rest are constants. */
template <int D>
LCT_DEVICE int attn_chunk(int c, int x) {
  constexpr int LOW = ATTN_NARROW<D> ? 3 : 7;
  return ((c & LOW) ^ x) * 8 + (c & ~LOW) * 8;
}

/* How the threads share the 16-byte chunks of a tile in N passes: in pass i this thread takes row row(i), chunk chunk(i). */
template <int D>
struct attn_pieces {
  static constexpr int WIDTH = D == 96 ? 4 : D / 8; /* chunks of a row taken by neighbouring threads */
  static constexpr int ROWS = ATTN_THREADS / WIDTH; /* rows of a pass */
  static constexpr int SPLIT = D / 8 / WIDTH;       /* passes over the same rows */
  static constexpr int N = ATTN_KEYS / ROWS * SPLIT;
  int row0, chunk0, offset0;

  LCT_DEVICE attn_pieces(void) {
    row0 = (int)threadIdx.x / WIDTH;
    chunk0 = (int)threadIdx.x % WIDTH;
    offset0 = row0 * D + (chunk0 ^ attn_swizzle<D>(row0)) * 8;
  }
  LCT_DEVICE int row(int i) const { return row0 + i / SPLIT * ROWS; }
  LCT_DEVICE int chunk(int i) const { return chunk0 + i % SPLIT * WIDTH; }
  /* where it lies in the tile: passes advance by multiples of 8 rows, but by 4 at head_dim 256, which flips bit 2 of the chunk */
  LCT_DEVICE int offset(int i) const {
    int at = ROWS % 8 == 0 || i % 2 == 0 ? offset0 : offset0 ^ 32;
    return at + i / SPLIT * ROWS * D + i % SPLIT * WIDTH * 8;
  }
};

/* 64 rows of K or V: row i is row slots[i] of src, zeros from row n on. */
template <typename T, int D>
LCT_DEVICE void attn_load_keys(T *tile, const T *src, int ld, const int32_t *slots, int n) {
  const attn_pieces<D> p;
#pragma unroll
  for (int i = 0; i < p.N; i++) {
    lct_cp_async16(tile + p.offset(i), src + p.chunk(i) * 8 + (int64_t)slots[p.row(i)] * ld, p.row(i) < n);
  }
}

/* The query rows of the tile for one KV head: row r is token r / group, head r % group of the group; zeros in idle rows. */
template <typename T, int D>
LCT_DEVICE void attn_load_queries(T *tile, const lct_k_attn &a, const lct_k_tile &t, int kv_head, int group) {
  const attn_pieces<D> p;
#pragma unroll
  for (int i = 0; i < p.N; i++) {
    int r = p.row(i), token = r / group;
    bool used = token < t.n_tokens;
    const T *from = static_cast<const T *>(a.q);
    if (used) from += ((int64_t)a.rows[t.row0 + token] * a.s.n_heads + kv_head * group + (r - token * group)) * D + p.chunk(i) * 8;
    lct_cp_async16(tile + p.offset(i), from, used);
  }
}

/* A fragment of the warp's 16 query rows: elements 16 step .. + 15. */
template <typename T, int D>
LCT_DEVICE void attn_query_fragment(uint32_t f[4], const T *tile, int step) {
  int lane = lct_lane(), r = lct_warp() * 16 + (lane & 15);
  lct_ldmatrix_x4(f, tile + r * D + attn_chunk<D>(2 * step, attn_swizzle<D>(r) ^ (lane >> 4)));
}

/* s (16 x 64) = Q K^T. Q from registers, or from the shared tile q_tile when q has no room for all. */
template <typename T, int D, int Q_STEPS>
LCT_DEVICE void attn_scores(float s[8][4], uint32_t q[Q_STEPS][4], const T *q_tile, const T *keys) {
  int lane = lct_lane(), r = (lane & 7) + ((lane >> 4) << 3);
  const T *row = keys + r * D;
  int x = attn_swizzle<D>(r) ^ ((lane >> 3) & 1);
#pragma unroll
  for (int n = 0; n < 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    if (Q_STEPS == 1) attn_query_fragment<T, D>(q[0], q_tile, k);
    const uint32_t *f = q[Q_STEPS == 1 ? 0 : k];
    const T *at = row + attn_chunk<D>(2 * k, x);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      uint32_t b[4];
      lct_ldmatrix_x4(b, at + n * 16 * D);
      lct_mma_16816<T>(s[2 * n], f, b[0], b[1]);
      lct_mma_16816<T>(s[2 * n + 1], f, b[2], b[3]);
    }
  }
}

/* What a thread keeps of its rows lane / 4 and lane / 4 + 8 of the warp. */
template <int D>
struct attn_rows {
  float o[D / 8][4]; /* unnormalised output, as the fragments of mma */
  float m[2];        /* largest score so far, unscaled */
  float l[2];        /* this thread's share of the sum of exponentials */
};

template <int D>
LCT_DEVICE void attn_clear(attn_rows<D> &w) {
#pragma unroll
  for (int n = 0; n < D / 8; n++) w.o[n][0] = w.o[n][1] = w.o[n][2] = w.o[n][3] = 0.0f;
  w.m[0] = w.m[1] = -INFINITY;
  w.l[0] = w.l[1] = 0.0f;
}

/* Keys behind a row's own position are not seen. key0: position of the tile's first key; pos: of the two rows. */
LCT_DEVICE void attn_mask(float s[8][4], int key0, const int pos[2]) {
  int key = key0 + 2 * (lct_lane() & 3);
#pragma unroll
  for (int n = 0; n < 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (key + n * 8 + (i & 1) > pos[i >> 1]) s[n][i] = -INFINITY;
    }
  }
}

/* One step of the online softmax: scores become exp2(c s - c max), sums and outputs so far are brought to the new maximum. A tile of which
 * a row sees nothing changes nothing: its factor is exp2(0) = 1 (the products are rounded: a fused one would leave their error) and its
 * terms exp2(-inf) = 0, both exact. (The first tile always
 * has a key that is seen, so a maximum is never -inf afterwards.) */
template <int D>
LCT_DEVICE void attn_softmax(attn_rows<D> &w, float s[8][4], float c) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float m = w.m[h];
#pragma unroll
    for (int n = 0; n < 8; n++) m = fmaxf(m, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
    m = fmaxf(m, lct_shfl_xor(m, 1));
    m = fmaxf(m, lct_shfl_xor(m, 2));
    float top = lct_mul_rn(m, c), factor = lct_exp2(lct_mul_rn(w.m[h], c) - top), sum = 0.0f;
    w.m[h] = m;
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
      for (int i = 2 * h; i < 2 * h + 2; i++) {
        s[n][i] = lct_exp2(fmaf(s[n][i], c, -top));
        sum += s[n][i];
      }
    }
    w.l[h] = w.l[h] * factor + sum;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
      w.o[n][2 * h] *= factor;
      w.o[n][2 * h + 1] *= factor;
    }
  }
}

/* o += P V */
template <typename T, int D>
LCT_DEVICE void attn_values(attn_rows<D> &w, const float p[8][4], const T *values) {
  int lane = lct_lane(), r = lane & 15;
  const T *row = values + r * D;
  int x = attn_swizzle<D>(r) ^ (lane >> 4);
#pragma unroll
  for (int k = 0; k < ATTN_KEYS / 16; k++) {
    const uint32_t f[4] = {lct_pack2<T>(p[2 * k][0], p[2 * k][1]), lct_pack2<T>(p[2 * k][2], p[2 * k][3]),
                           lct_pack2<T>(p[2 * k + 1][0], p[2 * k + 1][1]), lct_pack2<T>(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
      uint32_t b[4];
      lct_ldmatrix_x4_trans(b, row + attn_chunk<D>(2 * n, x) + k * 16 * D);
      lct_mma_16816<T>(w.o[2 * n], f, b[0], b[1]);
      lct_mma_16816<T>(w.o[2 * n + 1], f, b[2], b[3]);
    }
  }
}

/* The four lanes of a row hold 2 columns of 8-column pieces 0..3 in v; afterwards lane i of them holds the 8 columns of piece i. */
LCT_DEVICE void attn_transpose(uint32_t v[4]) {
  bool high = (lct_lane() & 2) != 0, odd = (lct_lane() & 1) != 0;
  uint32_t a = lct_shfl_xor(high ? v[0] : v[2], 2), b = lct_shfl_xor(high ? v[1] : v[3], 2);
  v[0] = high ? a : v[0];
  v[1] = high ? b : v[1];
  v[2] = high ? v[2] : a;
  v[3] = high ? v[3] : b;
  a = lct_shfl_xor(odd ? v[0] : v[1], 1);
  b = lct_shfl_xor(odd ? v[2] : v[3], 1);
  v[0] = odd ? a : v[0];
  v[1] = odd ? v[1] : a;
  v[2] = odd ? b : v[2];
  v[3] = odd ? v[3] : b;
}

/* Position of row r of the tile; idle rows follow the last token. */
LCT_DEVICE int attn_position(const lct_k_tile &t, int r, int group) {
  int token = r / group;
  return t.pos0 + (token < t.n_tokens ? token : t.n_tokens - 1);
}

/* Normalises, rounds once and writes the rows that are in use. */
template <typename T, int D>
LCT_DEVICE void attn_store(attn_rows<D> &w, const lct_k_attn &a, const lct_k_tile &t, int kv_head, int group) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float l = w.l[h];
    l += lct_shfl_xor(l, 1);
    l += lct_shfl_xor(l, 2);
    float inverse = 1.0f / l;
    int r = lct_warp() * 16 + lct_lane() / 4 + 8 * h, token = r / group;
    bool used = token < t.n_tokens;
    T *to = static_cast<T *>(a.out) + (lct_lane() & 3) * 8;
    if (used) to += ((int64_t)a.rows[t.row0 + token] * a.s.n_heads + kv_head * group + (r - token * group)) * D;
#pragma unroll
    for (int n = 0; n < D / 32; n++) {
      uint32_t v[4];
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] = lct_pack2<T>(w.o[4 * n + i][2 * h] * inverse, w.o[4 * n + i][2 * h + 1] * inverse);
      attn_transpose(v);
      if (used) *reinterpret_cast<uint4 *>(to + n * 32) = make_uint4(v[0], v[1], v[2], v[3]);
    }
  }
}

/* The path of a query tile for one KV head. */
template <typename T>
struct attn_path {
  const T *k, *v; /* key and value of slot i: k + i * ld, v + i * ld */
  const int32_t *slots;
  int ld, n_keys;

  LCT_DEVICE attn_path(const lct_k_attn &a, const lct_k_tile &t, int kv_head) {
    k = static_cast<const T *>(a.k) + kv_head * a.s.head_dim;
    v = static_cast<const T *>(a.v) + kv_head * a.s.head_dim;
    slots = a.slots + t.slots0;
    ld = a.s.n_kv_heads * a.s.head_dim;
    n_keys = t.pos0 + t.n_tokens;
  }
  LCT_DEVICE int slot(int key) const { return key < n_keys ? slots[key] : 0; }
};

/* Brings the queries, slots of key tiles 0 and 1, and key tile 0 (with two stages its values too). Q fragments go to registers if they
 * have room; the shared query tile may be overwritten after the next barrier. */
template <typename T, int D, int STAGES, int Q_STEPS>
LCT_DEVICE void attn_begin(uint32_t q[Q_STEPS][4], T *shared, int32_t *slots, const lct_k_attn &a, const lct_k_tile &t,
                           const attn_path<T> &path, int kv_head, int group) {
  typedef attn_layout<D, STAGES> L;
  T *q_tile = shared + L::Q_TILE * L::TILE;
  attn_load_queries<T, D>(q_tile, a, t, kv_head, group);
  slots[threadIdx.x] = path.slot((int)threadIdx.x);
  lct_sync();
  attn_load_keys<T, D>(shared, path.k, path.ld, slots, path.n_keys);
  if (STAGES == 2) attn_load_keys<T, D>(shared + L::TILE, path.v, path.ld, slots, path.n_keys);
  lct_cp_async_commit();
  lct_cp_async_wait<0>();
  lct_sync();
  if (!L::Q_SHARED) {
#pragma unroll
    for (int i = 0; i < Q_STEPS; i++) attn_query_fragment<T, D>(q[i], q_tile, i);
  }
}

/* Grid n_tiles * n_kv_heads, KV heads next to each other; block 128; shared memory attn_layout::BYTES. A block is one query tile: 64 rows
 * (token, head of the group) of one KV head, and walks over the key tiles 0, 64, ... of its path.
 * With two stages tile j + 1 is loaded while tile j is used. With one stage V(j) is loaded during Q K(j)^T and K(j + 1) during P V(j).
 * Slots are read two tiles ahead. Warps without rows in use load and wait like the others.
 * Preconditions: every tile has 1 <= n_tokens <= 64 / group; slots and rows are in range; q, k, v and out are 16-byte aligned; keys and
 * values of the path are finite; scale > 0. */
template <typename T, int D, int STAGES>
LCT_KERNEL(ATTN_THREADS, attn_blocks(D))
attention_kernel(lct_k_attn a, const lct_k_tile *tiles) {
  typedef attn_layout<D, STAGES> L;
  LCT_SHARED(T, shared);
  int32_t *slots = reinterpret_cast<int32_t *>(shared + L::N_TILES * L::TILE);
  const int group = a.s.n_heads / a.s.n_kv_heads, kv_head = (int)blockIdx.x % a.s.n_kv_heads, r0 = lct_warp() * 16, tid = (int)threadIdx.x;
  const lct_k_tile t = tiles[(int)blockIdx.x / a.s.n_kv_heads];
  const attn_path<T> path(a, t, kv_head);
  const int pos[2] = {attn_position(t, r0 + lct_lane() / 4, group), attn_position(t, r0 + lct_lane() / 4 + 8, group)};
  const bool active = r0 / group < t.n_tokens;
  const float c = a.scale * ATTN_LOG2E;
  constexpr int Q_STEPS = L::Q_SHARED ? 1 : D / 16;
  uint32_t q[Q_STEPS][4];
  float s[8][4];
  attn_rows<D> w;
  attn_clear(w);
  attn_begin<T, D, STAGES, Q_STEPS>(q, shared, slots, a, t, path, kv_head, group);
  for (int key0 = 0; key0 < path.n_keys; key0 += ATTN_KEYS) {
    const int odd = key0 / ATTN_KEYS & 1, left = path.n_keys - key0;
    const bool more = left > ATTN_KEYS;
    int32_t *of = slots + odd * ATTN_KEYS, *of_next = slots + (odd ^ 1) * ATTN_KEYS;
    T *keys = shared + (STAGES == 2 ? odd * 2 * L::TILE : 0), *next = shared + (STAGES == 2 ? (odd ^ 1) * 2 * L::TILE : 0);
    lct_cp_async_wait<0>();
    lct_sync(); /* this tile has arrived; what the next loads replace is no longer read */
    if (STAGES == 2 && more) {
      attn_load_keys<T, D>(next, path.k, path.ld, of_next, left - ATTN_KEYS);
      attn_load_keys<T, D>(next + L::TILE, path.v, path.ld, of_next, left - ATTN_KEYS);
    }
    if (STAGES == 1) attn_load_keys<T, D>(keys + L::TILE, path.v, path.ld, of, left);
    lct_cp_async_commit();
    if (active) {
      attn_scores<T, D, Q_STEPS>(s, q, shared + L::Q_TILE * L::TILE, keys);
      if (key0 + ATTN_KEYS - 1 > t.pos0) attn_mask(s, key0, pos);
      attn_softmax<D>(w, s, c);
    }
    if (STAGES == 1) {
      lct_cp_async_wait<0>();
      lct_sync(); /* the values have arrived; the keys are no longer read */
      if (more) attn_load_keys<T, D>(next, path.k, path.ld, of_next, left - ATTN_KEYS);
      lct_cp_async_commit();
    }
    const int32_t slot = tid < ATTN_KEYS ? path.slot(key0 + 2 * ATTN_KEYS + tid) : 0;
    if (active) attn_values<T, D>(w, s, keys + L::TILE);
    if (tid < ATTN_KEYS) of[tid] = slot; /* this tile's slots have been used: those of the tile after the next one */
  }
  if (active) attn_store<T, D>(w, a, tiles[(int)blockIdx.x / a.s.n_kv_heads], kv_head, group);
}

template <typename T, int D, int STAGES>
static void attn_launch_variant(const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, cudaStream_t stream) {
  constexpr int bytes = attn_layout<D, STAGES>::BYTES;
  LCT_LAUNCH((attention_kernel<T, D, STAGES>), lct_grid(n_tiles * a->s.n_kv_heads), ATTN_THREADS, bytes, stream, *a, tiles);
}

template <typename T>
static void attn_launch(const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream) {
  switch (a->s.head_dim) {
  case 32: attn_launch_variant<T, 32, 2>(a, tiles, n_tiles, stream); break;
  case 64: attn_launch_variant<T, 64, 2>(a, tiles, n_tiles, stream); break;
  case 96: attn_launch_variant<T, 96, 2>(a, tiles, n_tiles, stream); break;
  case 128:
    if (deep) attn_launch_variant<T, 128, 2>(a, tiles, n_tiles, stream);
    else attn_launch_variant<T, 128, 1>(a, tiles, n_tiles, stream);
    break;
  case 256: attn_launch_variant<T, 256, 1>(a, tiles, n_tiles, stream); break;
  }
}

#endif
