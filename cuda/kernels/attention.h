/* attention.cu (prefill), attention_decode.cu, attention_weights.cu. */
#ifndef LCT_CUDA_KERNELS_ATTENTION_H
#define LCT_CUDA_KERNELS_ATTENTION_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LCT_ATTN_ROWS 64      /* rows of a query tile: (token, head of the group) pairs, token-major */
#define LCT_ATTN_KEYS 64      /* keys of a tile, cut at absolute positions 0, 64, 128, ... */
#define LCT_ATTN_MAX_GROUP 16 /* query heads of one KV head */
#define LCT_ATTN_SPLIT 256    /* keys of one part in decoding, cut at absolute positions 0, 256, ... */

/* Up to LCT_ATTN_ROWS / group query tokens of one path: their positions are pos0 .. pos0 + n_tokens - 1 and each sees positions up to
 * its own. Key position p of the path lies in KV row slots[slots0 + p]. */
typedef struct {
  int32_t row0; /* rows[row0 + i]: row in q and out of token i */
  int32_t n_tokens;
  int32_t pos0;
  int32_t slots0;
} lct_k_tile;

typedef struct {
  lct_k_heads s;
  float scale;          /* of q.k */
  const void *q;        /* (n_rows, n_heads*head_dim) T */
  const void *k, *v;    /* (n_slots, n_kv_heads*head_dim) T */
  const int32_t *slots; /* see lct_k_tile */
  const int32_t *rows;
  void *out; /* (n_rows, n_heads*head_dim) T */
} lct_k_attn;

/* Causal attention of n_tiles query tiles; head_dim 32, 64, 96, 128, 256; group <= LCT_ATTN_MAX_GROUP. f32 scores, softmax and sums. */
lct_status lct_k_attention(lct_dtype t, const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, cudaStream_t stream, lct_error *err);
/* The same, bit for bit; at head_dim 128 with two buffers each of keys and values when `deep`, else with one. lct_k_attention chooses by the
 * shared memory of the current device. */
lct_status lct_k_attention_variant(lct_dtype t, const lct_k_attn *a, const lct_k_tile *tiles, int n_tiles, bool deep, cudaStream_t stream,
                                   lct_error *err);

/* One decoded token: query row `row` over n_keys keys in n_parts = ceil(n_keys / LCT_ATTN_SPLIT) parts, whose partial results are
 * numbers part0 .. part0 + n_parts - 1 of the workspace. */
typedef struct {
  int32_t row, n_keys, slots0, part0, n_parts;
} lct_k_token;

/* tokens (n_tokens) and part_token (n_parts in all: the token each part belongs to) on the device; work (n_parts, n_heads, head_dim + 2)
 * f32: unnormalised sum, then maximum, then sum of exponentials. Parts are added in order of position. head_dim a multiple of 8, <= 256. */
lct_status lct_k_attention_decode(lct_dtype t, const lct_k_attn *a, const lct_k_token *tokens, int n_tokens, const int32_t *part_token,
                                  int n_parts, float *work, cudaStream_t stream, lct_error *err);

/* Softmax weights of n query rows row0 .. row0 + n - 1 (consecutive positions from pos0; a->rows is not used) for heads
 * head0 .. head0 + n_heads - 1 over keys 0 .. n_keys - 1 of the path slots[0..n_keys): out (n_heads, n, n_keys) f32, zero behind the
 * causal diagonal. a->slots is the path; a->v and a->out are not used. */
lct_status lct_k_attention_weights(lct_dtype t, const lct_k_attn *a, int row0, int n, int pos0, int n_keys, int head0, int n_heads,
                                   float *out, cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
