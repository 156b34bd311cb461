/* Launchers of the kernels: one op family a .cu file. C linkage; every pointer named d_* or without `host_` is device memory.
 *
 * T below is the 16-bit type `t` of GEMM inputs and outputs, keys and values: LCT_DTYPE_F16 or LCT_DTYPE_BF16. Matrices are row-major
 * and dense unless a leading dimension (in elements) is given; base addresses are 256-byte aligned (cudaMalloc), rows 16-byte aligned
 * where a kernel says so. A launcher checks the limits it relies on (LCT_E_UNSUPPORTED names them), launches on the stream, checks the
 * launch (LCT_E_DEVICE names the kernel) and never synchronises. n == 0 launches nothing and succeeds.
 * A row's result depends on that row alone, bit for bit. */
#ifndef LCT_CUDA_KERNELS_H
#define LCT_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "base/status.h"
#include "engine/ops.h"

/* ---- rows.cu: embedding, gathers, conversions, checks ---- */

/* x[i] = table[tokens[i]], table (vocab, hidden) of `type` F32, F16 or BF16 -> x (n, hidden) f32 */
lct_status lct_k_embed(lct_dtype type, const void *table, const int32_t *tokens, int n, int hidden, float *x, cudaStream_t stream,
                       lct_error *err);
/* dst[i] = f32(src[rows ? rows[i] : i][0..dim)): src of `type` F32, F16 or BF16 with leading dimension ld -> dst (n, dim) f32 */
lct_status lct_k_gather(lct_dtype type, const void *src, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                        cudaStream_t stream, lct_error *err);
/* *first = min(*first, tag << 40 | index) over the elements of x (n, dim) f32 that are not finite; n * dim < 2^40 */
lct_status lct_k_check_finite(const float *x, int n, int dim, int tag, uint64_t *first, cudaStream_t stream, lct_error *err);
/* dst[0..n) of `to` (F16 or BF16) from src of `from` (F32, F16, BF16): round to nearest even. counts[0] += finite values that became Inf,
 * counts[1] += non-zero values that became zero, counts[2] += values that were not finite before */
lct_status lct_k_convert(lct_dtype from, const void *src, int64_t n, lct_dtype to, void *dst, uint64_t counts[3], cudaStream_t stream,
                         lct_error *err);

/* ---- pool.cu ---- */

/* dst[i] = f32 of row list[i].row of src (`type` F32, F16 or BF16, leading dimension ld, columns [0, dim)), or of the mean over the rows of
 * its ranges: dst (n, dim) f32. Sums in double, from 0, in the order of the ranges; rounded once. */
lct_status lct_k_pool(lct_dtype type, const void *src, int64_t ld, int dim, const lct_pooled *list, const lct_row_range *ranges, int n,
                      float *dst, cudaStream_t stream, lct_error *err);

/* ---- norm.cu: x (n, dim) f32, w (dim) f32, h (n, dim) T; dim a multiple of 4 ---- */

/* h = x / sqrt(mean(x^2) + eps) * w */
lct_status lct_k_rmsnorm(lct_dtype t, const float *x, const float *w, float eps, int n, int dim, void *h, cudaStream_t stream,
                         lct_error *err);
/* x += y (n, dim) T; then h = rmsnorm(x) unless h is NULL */
lct_status lct_k_add_rmsnorm(lct_dtype t, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                             cudaStream_t stream, lct_error *err);

/* ---- rope.cu ---- */

typedef struct {
  int n_heads, n_kv_heads, head_dim; /* head_dim even, a multiple of 8, <= 256; n_kv_heads divides n_heads */
} lct_k_heads;

/* qkv (n, (n_heads + 2 n_kv) head_dim) T -> q (n, n_heads*head_dim) T, normalised per head with q_norm (head_dim) f32 when not NULL,
 * rotated: pairs (i, i + head_dim/2) by cos_sin (n_pos, head_dim/2, 2) f32 at positions[row]. k likewise and v as it is, into row
 * slots[row] of k, v (n_slots, n_kv_heads*head_dim) T. f32 inside, rounded once at the end. */
lct_status lct_k_split_rope(lct_dtype t, const void *qkv, lct_k_heads s, const float *q_norm, const float *k_norm, float eps,
                            const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q, void *k, void *v,
                            cudaStream_t stream, lct_error *err);

/* ---- mlp.cu: gu (n, 2*dim) T: gate then up; dim a multiple of 8 ---- */

lct_status lct_k_silu_mul(lct_dtype t, const void *gu, int n, int dim, void *act, cudaStream_t stream, lct_error *err); /* (n, dim) T */
lct_status lct_k_silu(lct_dtype t, const void *gu, int n, int dim, float *act, cudaStream_t stream, lct_error *err);    /* (n, dim) f32 */

/* ---- attention.cu (prefill), attention_decode.cu, attention_weights.cu ---- */

#define LCT_ATTN_ROWS 64       /* rows of a query tile: (token, head of the group) pairs, token-major */
#define LCT_ATTN_KEYS 64       /* keys of a tile, cut at absolute positions 0, 64, 128, ... */
#define LCT_ATTN_MAX_GROUP 16  /* query heads of one KV head */
#define LCT_ATTN_SPLIT 256     /* keys of one part in decoding, cut at absolute positions 0, 256, ... */

/* Up to LCT_ATTN_ROWS / group query tokens of one path: their positions are pos0 .. pos0 + n_tokens - 1 and each sees positions up to
 * its own. Key position p of the path lies in KV row slots[slots0 + p]. */
typedef struct {
  int32_t row0;     /* rows[row0 + i]: row in q and out of token i */
  int32_t n_tokens;
  int32_t pos0;
  int32_t slots0;
} lct_k_tile;

typedef struct {
  lct_k_heads s;
  float scale;             /* of q.k */
  const void *q;           /* (n_rows, n_heads*head_dim) T */
  const void *k, *v;       /* (n_slots, n_kv_heads*head_dim) T */
  const int32_t *slots;    /* see lct_k_tile */
  const int32_t *rows;
  void *out;               /* (n_rows, n_heads*head_dim) T */
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

/* ---- gemm_check.cu: trying a matrix product; sizes and leading dimensions are multiples of 8 ---- */

/* x[0..n) T: numbers of [-2, 2) that depend on their place alone */
lct_status lct_k_gemm_fill(lct_dtype t, int64_t n, void *x, cudaStream_t stream, lct_error *err);
/* *count grows when the rows of a (n, dim) and b (n, dim), elements of two bytes, are not the same bits */
lct_status lct_k_gemm_differ(const void *a, int64_t lda, const void *b, int64_t ldb, int n, int64_t dim, uint64_t *count,
                             cudaStream_t stream, lct_error *err);

/* ---- sampler.cu ---- */

#define LCT_CHOOSE_MAX_TOP 1024

/* How to draw: lct_sampling_scale, lct_sampling_p53 and top_k of a sampling; draw false: argmax. */
typedef struct {
  double scale;
  uint64_t p53;
  int top_k;
  bool draw;
} lct_k_draw;

/* What lct_logits_finish needs, and the token chosen. */
typedef struct {
  double sum, weighted;
  float max;
  int32_t argmax, token, unused;
} lct_k_choice;

/* For each row of logits (n, vocab) of `type` F32, F16 or BF16 with leading dimension ld, a multiple of 8: the token that lct_sample
 * chooses with the random bits u53[row] (not read unless draw->draw), sums, and the k <= LCT_CHOOSE_MAX_TOP largest logits in descending
 * order (lower id first on a tie) -> out (n), top (n, k; logprob holds the logit). vocab <= 2^22, k <= vocab. */
lct_status lct_k_choose(lct_dtype type, const void *logits, int64_t ld, int n, int vocab, const lct_k_draw *draw, const uint64_t *u53,
                        int k, lct_k_choice *out, lct_top *top, cudaStream_t stream, lct_error *err);

#ifdef __cplusplus
}
#endif
#endif
