/* Our own GEMM (where oneDNN has none that keeps a row's bits), weight packing, and the matrix x vector products of decoding. */
#include "cpu/kernels/kernels_decl.h"
#include "cpu/kernels/transpose.h"

#define R LCT_ROW_BLOCK
#define PANEL 64
#define K_BLOCK 512 /* K_BLOCK x 64 floats of a panel stay in the second level cache while the rows pass */

/* y (R, NV vectors) = [first: bias, else y] + x panel. rows[r] points at x's row, at the first k of this block. */
INLINE void gemm_block(const float *const rows[R], int k, const float *panel, vf acc[R][NV]) {
  for (int i = 0; i < k; i++) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) bv[j] = vload(panel + (int64_t)i * PANEL + j * VL);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      vf av = vset(rows[r][i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[r][j] += av * bv[j];
    }
  }
}

/* One block of rows and K_BLOCK of k: sums so far are in y (or zero), n_rows <= R and n_cols <= 64 of them exist. */
static void gemm_rows(const float *x, int64_t ldx, int n_rows, int k, const float *panel, const float *bias, bool first, bool last,
                      int n_cols, float *y, int64_t ldy) {
  const float *rows[R];
  _Alignas(64) float t[R][PANEL] = {{0}};
  for (int r = 0; r < R; r++) rows[r] = x + (r < n_rows ? r : 0) * ldx; /* missing rows: computed and thrown away */
  for (int r = 0; r < n_rows && !first; r++) memcpy(t[r], y + r * ldy, (size_t)n_cols * sizeof(float));
  for (int c = 0; c < PANEL; c += NV * VL) {
    vf acc[R][NV];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[r][j] = vload(t[r] + c + j * VL);
    }
    gemm_block(rows, k, panel + c, acc);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) vstore(t[r] + c + j * VL, last ? acc[r][j] + vload(bias + c + j * VL) : acc[r][j]);
    }
  }
  for (int r = 0; r < n_rows; r++) memcpy(y + r * ldy, t[r], (size_t)n_cols * sizeof(float));
}

void LCT_K(lct_gemm_panel)(const float *x, int64_t ldx, int n_rows, int k, const float *panel, const float *bias, int n_cols, float *y,
                           int64_t ldy) {
  for (int k0 = 0; k0 < k; k0 += K_BLOCK) {
    int kn = k - k0 < K_BLOCK ? k - k0 : K_BLOCK;
    for (int r = 0; r < n_rows; r += R) {
      gemm_rows(x + r * ldx + k0, ldx, n_rows - r < R ? n_rows - r : R, kn, panel + (int64_t)k0 * PANEL, bias, k0 == 0, k0 + kn == k,
                n_cols, y + r * ldy, ldy);
    }
  }
}

/* Rows src + j * ld of k floats, VL at a time; the last rows may be missing. */
void LCT_K(lct_pack_f32)(const float *src, int64_t ld, int n, int k, int kp, int nb, float *dst) {
  int j = 0;
  for (; j + VL <= nb && j + VL <= n; j += VL) {
    const float *rows[VL];
    for (int i = 0; i < VL; i++) rows[i] = src + (j + i) * ld;
    transpose_rows(rows, k, dst + j, nb);
  }
  for (int i = 0; i < k; i++) {
    for (int c = j; c < nb; c++) dst[(int64_t)i * nb + c] = c < n ? src[c * ld + i] : 0.0f;
  }
  memset(dst + (int64_t)k * nb, 0, (size_t)(kp - k) * (size_t)nb * sizeof *dst);
}

void LCT_K(lct_pack_bf16)(const float *src, int64_t ld, int n, int k, int kp, int nb, uint16_t *dst) {
  enum { K_CHUNK = 256 };
  _Alignas(64) uint16_t t[VL][K_CHUNK]; /* VL rows as bf16; a pair of k moves as one four-byte element */
  const float *rows[VL];
  for (int i = 0; i < VL; i++) rows[i] = (const float *)(const void *)t[i];
  for (int j = 0; j < nb; j += VL) {
    for (int k0 = 0; k0 < kp; k0 += K_CHUNK) {
      int kn = kp - k0 < K_CHUNK ? kp - k0 : K_CHUNK;
      int have = k - k0 < 0 ? 0 : k - k0 < kn ? k - k0 : kn;
      memset(t, 0, sizeof t);
      for (int i = 0; i < VL && j + i < n; i++) LCT_K(lct_f32_to_bf16)(src + (j + i) * ld + k0, have, t[i]);
      transpose_rows(rows, kn / 2, (float *)(void *)dst + (int64_t)k0 / 2 * nb + j, nb);
    }
  }
}

INLINE vf load_w(const uint16_t *p, bool f16) {
#if VL == 16
  if (f16) return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif defined(__F16C__)
  if (f16) return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#endif
  (void)f16;
  return vload_bf16(p);
}

/* 4 rows of w x n_x rows of x; missing rows of w repeat the last one. */
INLINE void gemv4(const float *x, int64_t ldx, int n_x, const uint16_t *const w[4], int64_t k, bool f16, float sum[4][4]) {
  vf acc[4][4] = {0};
  int64_t i = 0;
  for (; i + VL <= k; i += VL) {
    vf wv[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) wv[j] = load_w(w[j] + i, f16);
#pragma GCC unroll 4
    for (int r = 0; r < n_x; r++) {
      vf xv = vload(x + r * ldx + i);
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) acc[r][j] += xv * wv[j];
    }
  }
  if (i < k) {
    uint16_t tail[VL] = {0};
    for (int j = 0; j < 4; j++) {
      memcpy(tail, w[j] + i, (size_t)(k - i) * 2);
      vf wv = load_w(tail, f16);
      for (int r = 0; r < n_x; r++) acc[r][j] += vload_part(x + r * ldx + i, (int)(k - i)) * wv;
    }
  }
  for (int r = 0; r < n_x; r++) {
    for (int j = 0; j < 4; j++) sum[r][j] = vhsum(acc[r][j]);
  }
}

INLINE void gemv(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, bool f16, float *y, int64_t ldy) {
  for (int j = 0; j < n_w; j += 4) {
    const uint16_t *rows[4];
    float sum[4][4];
    int n = n_w - j < 4 ? n_w - j : 4;
    for (int i = 0; i < 4; i++) rows[i] = w + (j + (i < n ? i : n - 1)) * k;
    switch (n_x) {
    case 1: gemv4(x, ldx, 1, rows, k, f16, sum); break;
    case 2: gemv4(x, ldx, 2, rows, k, f16, sum); break;
    case 3: gemv4(x, ldx, 3, rows, k, f16, sum); break;
    default: gemv4(x, ldx, 4, rows, k, f16, sum); break;
    }
    for (int r = 0; r < n_x; r++) memcpy(y + r * ldy + j, sum[r], (size_t)n * sizeof(float));
  }
}

void LCT_K(lct_gemv_bf16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy) {
  gemv(x, ldx, n_x, w, k, n_w, false, y, ldy);
}

void LCT_K(lct_gemv_f16)(const float *x, int64_t ldx, int n_x, const uint16_t *w, int64_t k, int n_w, float *y, int64_t ldy) {
  gemv(x, ldx, n_x, w, k, n_w, true, y, ldy);
}
