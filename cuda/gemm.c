/* Products through cuBLASLt. Its matrices are column-major, so ours are their transposes: D (out, n) = W^T (out, in) X (in, n), where W's
 * columns are the rows of the weight and X's the rows of x. */
#include "gemm_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lct_status open_library(lct_gemm *g, lct_error *err) {
  LCT_TRY(lct_cublaslt_open(&g->lt, err));
  lct_lt_status status = g->lt.create(&g->handle);
  if (status != LCT_LT_OK) {
    g->handle = NULL;
    return lct_fail(err, LCT_E_DEVICE, "cuBLASLt (version number %zu) does not start on this GPU: %s (%d)", g->lt.version(),
                    lct_cublaslt_status(status), status);
  }
  return lct_cuda_malloc(LCT_GEMM_WORKSPACE, "the matrix products' workspace", &g->workspace, err);
}

lct_status lct_gemm_open(lct_dtype t, cudaStream_t stream, lct_gemm **out, lct_error *err) {
  *out = NULL;
  if (t != LCT_DTYPE_F16 && t != LCT_DTYPE_BF16) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "matrix products on the GPU are of type F16 or BF16, not %s", lct_dtype_name(t));
  }
  lct_gemm *g = NULL;
  LCT_TRY(lct_calloc(&g, 1, sizeof *g, "matrix products", err));
  g->t = t;
  g->stream = stream;
  lct_status status = open_library(g, err);
  if (status != LCT_OK) {
    lct_gemm_close(g);
    return status;
  }
  *out = g;
  return LCT_OK;
}

static void plan_free(const lct_gemm *g, lct_gemm_plan *p) {
  if (p->desc != NULL) (void)g->lt.desc_destroy(p->desc);
  if (p->w != NULL) (void)g->lt.layout_destroy(p->w);
  if (p->x != NULL) (void)g->lt.layout_destroy(p->x);
  if (p->y != NULL) (void)g->lt.layout_destroy(p->y);
}

void lct_gemm_close(lct_gemm *g) {
  if (g == NULL) return;
  for (size_t i = 0; i < g->n_plans; i++) plan_free(g, &g->plans[i]);
  free(g->plans);
  (void)cudaFree(g->workspace);
  (void)cudaFree(g->pad_x);
  (void)cudaFree(g->pad_y);
  if (g->handle != NULL) (void)g->lt.destroy(g->handle);
  lct_cublaslt_close(&g->lt);
  free(g);
}

/* The descriptors of a shape. What is the library's default is not set: alpha and beta on the host, x as it lies, a bias of y's type. */
static lct_lt_status make_descriptors(const lct_gemm *g, lct_gemm_plan *p, const void *bias) {
  lct_lt_type t = g->t == LCT_DTYPE_F16 ? LCT_LT_R_16F : LCT_LT_R_16BF;
  uint64_t in = (uint64_t)p->in, out = (uint64_t)p->out;
  int32_t trans = LCT_LT_OP_T;
  uint32_t epilogue = LCT_LT_EPILOGUE_BIAS;
  lct_lt_status s = g->lt.desc_create(&p->desc, LCT_LT_COMPUTE_32F, LCT_LT_R_32F);
  if (s == LCT_LT_OK) s = g->lt.desc_set(p->desc, LCT_LT_DESC_TRANSA, &trans, sizeof trans);
  if (s == LCT_LT_OK && p->bias) s = g->lt.desc_set(p->desc, LCT_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  if (s == LCT_LT_OK && p->bias) s = g->lt.desc_set(p->desc, LCT_LT_DESC_BIAS_POINTER, &bias, sizeof bias); /* its alignment counts */
  if (s == LCT_LT_OK) s = g->lt.layout_create(&p->w, t, in, out, p->in);
  if (s == LCT_LT_OK) s = g->lt.layout_create(&p->x, t, in, 1, p->in);
  if (s == LCT_LT_OK) s = g->lt.layout_create(&p->y, t, out, 1, p->out);
  return s;
}

static lct_status plan_new(lct_gemm *g, bool decode, const void *w, const void *bias, int64_t in, int64_t out, const lct_gemm_plan **plan,
                           lct_error *err) {
  if (in < 8 || out < 8 || in % 8 != 0 || out % 8 != 0 || in > INT32_MAX || out > INT32_MAX) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "matrix product on the GPU: %lld values in, %lld out: expected multiples of 8", (long long)in,
                    (long long)out);
  }
  LCT_TRY(lct_grow(&g->plans, &g->cap_plans, g->n_plans + 1, sizeof *g->plans, "matrix products", err));
  lct_gemm_plan *p = &g->plans[g->n_plans];
  *p = (lct_gemm_plan){.in = in, .out = out, .bias = bias != NULL, .decode = decode};
  lct_lt_status s = make_descriptors(g, p, bias);
  lct_status status = s == LCT_LT_OK ? lct_gemm_choose(g, p, w, bias, err)
                                     : lct_fail(err, LCT_E_DEVICE, "cuBLASLt: description of a %lld x %lld product: %s (%d)", (long long)in,
                                                (long long)out, lct_cublaslt_status(s), s);
  if (status != LCT_OK) {
    plan_free(g, p);
    return status;
  }
  g->n_plans++;
  *plan = p;
  return LCT_OK;
}

static lct_status find_plan(lct_gemm *g, bool decode, const void *w, const void *bias, int64_t in, int64_t out, const lct_gemm_plan **plan,
                            lct_error *err) {
  for (size_t i = 0; i < g->n_plans; i++) {
    const lct_gemm_plan *p = &g->plans[i];
    if (p->in == in && p->out == out && p->decode == decode && p->bias == (bias != NULL)) {
      *plan = p;
      return LCT_OK;
    }
  }
  return plan_new(g, decode, w, bias, in, out, plan, err);
}

/* Room for a padded tile. Its rows behind the last real one keep what an earlier tile left there: no row's result depends on another. */
static lct_status reserve_pad(lct_gemm *g, void **p, size_t *have, size_t bytes, lct_error *err) {
  if (*have >= bytes) return LCT_OK;
  (void)cudaFree(*p);
  *have = 0;
  LCT_TRY(lct_cuda_malloc(bytes, "a padded tile of a matrix product", p, err));
  *have = bytes;
  return lct_cuda_status(cudaMemsetAsync(*p, 0, bytes, g->stream), "cudaMemset", err);
}

static lct_status one_tile(lct_gemm *g, const lct_gemm_plan *p, const void *w, const void *bias, const void *x, int64_t ldx, int n, void *y,
                           int64_t ldy, lct_error *err) {
  bool pad = p->mode.exact && n < p->mode.tile;
  size_t x_row = (size_t)p->in * 2, y_row = (size_t)p->out * 2;
  if (pad) {
    LCT_TRY(reserve_pad(g, &g->pad_x, &g->pad_x_bytes, (size_t)p->mode.tile * x_row, err));
    LCT_TRY(reserve_pad(g, &g->pad_y, &g->pad_y_bytes, (size_t)p->mode.tile * y_row, err));
    LCT_TRY(lct_cuda_status(cudaMemcpy2DAsync(g->pad_x, x_row, x, (size_t)ldx * 2, x_row, (size_t)n, cudaMemcpyDeviceToDevice, g->stream),
                            "padding", err));
  }
  lct_lt_status s = pad ? lct_gemm_product(g, p, w, bias, g->pad_x, p->in, p->mode.tile, g->pad_y, p->out)
                        : lct_gemm_product(g, p, w, bias, x, ldx, n, y, ldy);
  if (s != LCT_LT_OK) {
    return lct_fail(err, LCT_E_DEVICE, "cuBLASLt: product of %d rows, %lld values in, %lld out%s: %s (%d)", n, (long long)p->in,
                    (long long)p->out, p->decode ? ", decoding" : "", lct_cublaslt_status(s), s);
  }
  if (!pad) return LCT_OK;
  return lct_cuda_status(cudaMemcpy2DAsync(y, (size_t)ldy * 2, g->pad_y, y_row, y_row, (size_t)n, cudaMemcpyDeviceToDevice, g->stream),
                         "unpadding", err);
}

lct_status lct_gemm_run(lct_gemm *g, bool decode, const void *w, const void *bias, int64_t in, int64_t out, const void *x, int64_t ldx,
                        int n, void *y, int64_t ldy, lct_error *err) {
  const lct_gemm_plan *p = NULL;
  if (ldx < in || ldy < out || ldx % 8 != 0 || ldy % 8 != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED,
                    "matrix product on the GPU: leading dimensions %lld of %lld values in, %lld of %lld out: expected multiples of 8, at "
                    "least the number of values",
                    (long long)ldx, (long long)in, (long long)ldy, (long long)out);
  }
  LCT_TRY(find_plan(g, decode, w, bias, in, out, &p, err));
  for (int64_t i = 0; i < n; i += p->mode.tile) {
    int rows = n - i < p->mode.tile ? (int)(n - i) : p->mode.tile;
    LCT_TRY(one_tile(g, p, w, bias, (const char *)x + i * ldx * 2, ldx, rows, (char *)y + i * ldy * 2, ldy, err));
  }
  return LCT_OK;
}

lct_status lct_gemm_prepare(lct_gemm *g, const void *w, const void *bias, int64_t in, int64_t out, lct_error *err) {
  const lct_gemm_plan *p = NULL;
  LCT_TRY(find_plan(g, false, w, bias, in, out, &p, err));
  return find_plan(g, true, w, bias, in, out, &p, err);
}

lct_status lct_gemm_describe(const lct_gemm *g, lct_buf *text, lct_error *err) {
  for (size_t i = 0; i < g->n_plans; i++) {
    const lct_gemm_plan *p = &g->plans[i];
    char mode[64] = "single rows";
    if (p->mode.tile > 1) {
      (void)snprintf(mode, sizeof mode, "tiles of %s %d rows", p->mode.exact ? "exactly" : "at most", p->mode.tile);
    }
    LCT_TRY(lct_buf_printf(text, err,
                           "%lld -> %lld%s, %s: %s, algorithm %d, tile %d, stages %d, cluster %d, split K %d (reduction %d); %d refused\n",
                           (long long)p->in, (long long)p->out, p->bias ? " + bias" : "", p->decode ? "decode" : "prefill", mode, p->id,
                           p->tile_id, p->stages, p->cluster, p->split_k, p->reduction, p->refused));
  }
  return LCT_OK;
}
