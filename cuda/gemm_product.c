/* One product by cuBLASLt, with an algorithm that is chosen or being tried. */
#include "gemm_internal.h"

lct_lt_status lct_gemm_product(lct_gemm *g, const lct_gemm_plan *p, const void *w, const void *bias, const void *x, int64_t ldx, int n,
                               void *y, int64_t ldy) {
  const float one = 1, zero = 0;
  uint64_t cols = (uint64_t)n;
  lct_lt_status s = g->lt.layout_set(p->x, LCT_LT_LAYOUT_COLS, &cols, sizeof cols);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->x, LCT_LT_LAYOUT_LD, &ldx, sizeof ldx);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->y, LCT_LT_LAYOUT_COLS, &cols, sizeof cols);
  if (s == LCT_LT_OK) s = g->lt.layout_set(p->y, LCT_LT_LAYOUT_LD, &ldy, sizeof ldy);
  if (s == LCT_LT_OK && p->bias) s = g->lt.desc_set(p->desc, LCT_LT_DESC_BIAS_POINTER, &bias, sizeof bias);
  if (s != LCT_LT_OK) return s;
  return g->lt.matmul(g->handle, p->desc, &one, w, p->w, x, p->x, &zero, y, p->y, y, p->y, &p->algo, g->workspace, LCT_GEMM_WORKSPACE,
                      g->stream);
}
