/* Attention tiles: 6 query rows x 64 keys in registers, for every row the same chain of operations.
 *
 * A row's keys come in tiles of 64 by absolute position, ascending; a key behind the causal diagonal has p == 0 exactly, and
 * adding 0 changes no bit, so it does not matter which other rows share the tile. */
#include "cpu/kernels/kernels_decl.h"
#include "cpu/kernels/transpose.h"

#define R LCT_ROW_BLOCK
#define TK LCT_TILE_KEYS

void LCT_K(lct_pack_keys)(const float *const *src, int d, float *dst) {
  for (int j = 0; j < TK; j += VL) transpose_rows(src + j, d, dst + j, TK);
}

/* acc += a (R, k; leading dimension lda) b (k, nv vectors; leading dimension ldb): one chain per element, k ascending. */
INLINE void multiply(const float *a, int lda, const float *b, int ldb, int k, int nv, vf acc[R][NV]) {
  for (int i = 0; i < k; i++) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) bv[j] = vload(b + (int64_t)i * ldb + j * VL);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      vf av = vset(a[r * lda + i]);
#pragma GCC unroll 4
      for (int j = 0; j < nv; j++) acc[r][j] += av * bv[j];
    }
  }
}

INLINE void scores(const float *q, int dp, int d, const float *kt, float *s) {
  for (int c = 0; c < TK; c += NV * VL) {
    vf acc[R][NV] = {0};
    multiply(q, dp, kt + c, TK, d, NV, acc);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) vstore(s + r * TK + c + j * VL, acc[r][j]);
    }
  }
}

void LCT_K(lct_attn_scores)(const lct_attn_rows *a, int row0, const float *kt, float *out) {
  scores(a->q + (int64_t)row0 * a->dp, a->dp, a->d, kt, out);
}

/* s (64) of one row -> p; n_seen keys are visible. Updates m and l, returns the factor for what was summed before. */
INLINE float softmax_step(float *s, int n_seen, float *m, float *l) {
  for (int j = n_seen; j < TK; j++) s[j] = -INFINITY;
  vf top = vload(s);
#pragma GCC unroll 16
  for (int j = VL; j < TK; j += VL) top = vmax(top, vload(s + j));
  float new_m = vhmax(top);
  new_m = new_m > *m ? new_m : *m;
  float scale = vexp_neg(vset(*m - new_m))[0];
  *m = new_m;
  vf sum = vload(l) * scale;
#pragma GCC unroll 16
  for (int j = 0; j < TK; j += VL) {
    vf p = vexp_neg(vload(s + j) - new_m);
    vstore(s + j, p);
    sum += p;
  }
  vstore(l, sum);
  return scale;
}

/* o (R, nv vectors) = o * scale + p v over n_keys keys. */
INLINE void accumulate(float *o, int dp, const float *scale, const float *p, const float *v, int n_keys, int nv) {
  vf acc[R][NV];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) acc[r][j] = vload(o + r * dp + j * VL) * scale[r];
  }
  multiply(p, TK, v, dp, n_keys, nv, acc);
#pragma GCC unroll 6
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) vstore(o + r * dp + j * VL, acc[r][j]);
  }
}

void LCT_K(lct_attn_tile)(const lct_attn_rows *a, int row0, const float *kt, const float *v, int key0) {
  _Alignas(64) float s[R * TK];
  float scale[R];
  for (int row = row0; row < a->n_rows; row += R) {
    scores(a->q + (int64_t)row * a->dp, a->dp, a->d, kt, s);
    int n_keys = 0; /* seen by any row of the block */
    for (int r = 0; r < R; r++) {
      int seen = a->pos[row + r] - key0 + 1;
      if (seen <= 0) { /* this row's keys all lie before this tile */
        for (int j = 0; j < TK; j++) s[r * TK + j] = 0.0f;
        scale[r] = 1.0f;
        continue;
      }
      seen = seen < TK ? seen : TK;
      n_keys = seen > n_keys ? seen : n_keys;
      scale[r] = softmax_step(s + r * TK, seen, a->m + row + r, a->l + (int64_t)(row + r) * LCT_MAX_LANES);
    }
    float *o = a->o + (int64_t)row * a->dp;
    int c = 0;
    for (; c + NV * VL <= a->dp; c += NV * VL) accumulate(o + c, a->dp, scale, s, v + c, n_keys, NV);
    for (; c < a->dp; c += VL) accumulate(o + c, a->dp, scale, s, v + c, n_keys, 1);
  }
}

void LCT_K(lct_attn_finish)(const lct_attn_rows *a, int row, void *out, bool bf16) {
  float inv = 1.0f / vhsum(vload(a->l + (int64_t)row * LCT_MAX_LANES));
  const float *o = a->o + (int64_t)row * a->dp;
  int i = 0;
  for (; i + VL <= a->d; i += VL) vstore_as(out, i, vload(o + i) * inv, bf16);
  if (i < a->d) vstore_part_as(out, i, vload(o + i) * inv, a->d - i, bf16);
}
