/* Kernels: single-threaded inner loops, compiled once per instruction set (cmake/cpu_kernels.cmake) into one table each.
 * A kernel's result for a row does not depend on the other rows of the call: every row goes through the same instructions. */
#ifndef LCT_CPU_KERNELS_H
#define LCT_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LCT_TILE_KEYS 64 /* keys of an attention tile; columns of a weight panel of our own GEMM */
#define LCT_ROW_BLOCK 6  /* rows a matrix kernel holds in registers */
#define LCT_MAX_LANES 16

/* Query rows of one KV head while they walk over the key tiles. n_rows is a multiple of LCT_ROW_BLOCK (padding rows repeat the
 * last position), dp is head_dim rounded up to LCT_MAX_LANES. */
typedef struct {
  int n_rows, d, dp;
  float *q;     /* (n_rows, dp), scaled */
  float *o;     /* (n_rows, dp) sum of p*v so far */
  float *m;     /* (n_rows) largest score so far */
  float *l;     /* (n_rows, LCT_MAX_LANES) sum of p, by lane */
  int32_t *pos; /* (n_rows) absolute position, ascending */
} lct_attn_rows;

typedef struct {
  const char *isa;

  /* x += y unless y is NULL; h = x / sqrt(mean(x^2) + eps) * w as f32 or bf16 unless h is NULL. (n, dim) each. */
  void (*add_rmsnorm)(float *x, const float *y, const float *w, float eps, int64_t n, int dim, void *h, bool bf16);
  /* act (n, dim) f32 or bf16 = silu(gate) * up, or silu(gate) alone when mul is false; gu (n, 2*dim). */
  void (*silu_mul)(const float *gu, int64_t n, int dim, void *act, bool bf16, bool mul);
  /* One head: out = rotate(norm(x)); norm NULL: as it is. cs (d/2, 2): cos, sin. tmp (d). */
  void (*norm_rope)(const float *x, const float *norm, float eps, const float *cs, int d, float *tmp, float *out);
  void (*bf16_to_f32)(const uint16_t *x, int64_t n, float *out);
  void (*f32_to_bf16)(const float *x, int64_t n, uint16_t *out);
  /* Index of the first element that is NaN or Inf, or -1. */
  int64_t (*first_nonfinite)(const float *x, int64_t n);

  /* src[r] (d) for 64 rows -> dst (d, 64). */
  void (*pack_keys)(const float *const *src, int d, float *dst);
  /* One tile of keys [key0, key0 + 64) for rows from row0 (a multiple of LCT_ROW_BLOCK) on: online softmax and p*v.
   * kt (d, 64), v (64, dp): row j is read only when some row sees key key0 + j. */
  void (*attn_tile)(const lct_attn_rows *a, int row0, const float *kt, const float *v, int key0);
  /* out rows [0, n_out) = o / l; row r goes to out + r * d, as f32 or bf16. */
  void (*attn_finish)(const lct_attn_rows *a, int row, void *out, bool bf16);
  /* Scores of a block of LCT_ROW_BLOCK rows at row0 against one tile: out (LCT_ROW_BLOCK, 64). */
  void (*attn_scores)(const lct_attn_rows *a, int row0, const float *kt, float *out);
  /* In place softmax of x[0..n). */
  void (*softmax)(float *x, int n);

  /* Our own GEMM: y (n_rows, n_cols) = x (n_rows, k) panel^T + bias, panel (k, 64), n_cols <= 64, bias padded to 64. */
  void (*gemm_panel)(const float *x, int64_t ldx, int n_rows, int k, const float *panel, const float *bias, int n_cols, float *y,
                     int64_t ldy);
  /* Weight packing: rows (n <= nb) of k floats each, row stride ld -> dst (kp, nb) f32, zero where there is no weight. */
  void (*pack_f32)(const float *src, int64_t ld, int n, int k, int kp, int nb, float *dst);
  /* The same rounded to bf16, pairs of k together: dst (kp/2, nb, 2). */
  void (*pack_bf16)(const float *src, int64_t ld, int n, int k, int kp, int nb, uint16_t *dst);
  /* Decode: y[i*ldy + j] = x_i . w_j for n_x <= 4 rows of x and rows w_j (k) of bf16 or f16 as they lie in the file. NULL where
   * the instruction set cannot. */
  void (*gemv_bf16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy);
  void (*gemv_f16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy);
} lct_kernels;

extern const lct_kernels lct_kernels_base;
#if defined(__x86_64__)
extern const lct_kernels lct_kernels_avx2, lct_kernels_avx512;
#endif

#endif
