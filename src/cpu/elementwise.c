/* The row-wise ops: rows shared out to threads, a kernel call each. */
#include <stdlib.h>
#include <string.h>

#include "cpu/internal.h"

static bool is_bf16(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST; }

lct_status lct_cpu_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) {
  (void)err;
  int64_t dim = e->t.cols;
#pragma omp parallel for num_threads(be->n_threads) schedule(static) if (n * dim >= LCT_PARALLEL_MIN)
  for (int i = 0; i < n; i++) lct_tensor_row_f32(&e->t, tokens[i], x + i * dim);
  return LCT_OK;
}

static void norm_rows(lct_backend *be, float *x, const float *y, const float *w, float eps, int n, int64_t dim, void *h) {
  size_t size = is_bf16(be) ? 2 : 4;
#pragma omp parallel num_threads(be->n_threads) if (n * dim >= LCT_PARALLEL_MIN)
  {
    int64_t a, b;
    lct_cpu_share(n, &a, &b);
    be->kernels->add_rmsnorm(x + a * dim, y == NULL ? NULL : y + a * dim, w, eps, b - a, (int)dim,
                             h == NULL ? NULL : (char *)h + (size_t)(a * dim) * size, is_bf16(be));
  }
}

lct_status lct_cpu_rmsnorm(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err) {
  (void)err;
  norm_rows(be, (float *)x, NULL, w, eps, n, dim, h); /* without y the kernel only reads x */
  return LCT_OK;
}

lct_status lct_cpu_add_rmsnorm(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                               lct_error *err) {
  (void)err;
  norm_rows(be, x, y, w, eps, n, dim, h);
  return LCT_OK;
}

#define MAX_HEAD_DIM 1024

lct_status lct_cpu_split_rope(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm,
                              float eps, const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q,
                              lct_kv_layer kv, lct_error *err) {
  int d = s->head_dim, nq = s->n_heads, nk = s->n_kv_heads;
  if (d > MAX_HEAD_DIM || d % 2 != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "head_dim %d: expected an even number up to %d", d, MAX_HEAD_DIM);
  }
  int64_t width = (int64_t)(nq + 2 * nk) * d;
#pragma omp parallel for num_threads(be->n_threads) schedule(static) if (n * width >= LCT_PARALLEL_MIN)
  for (int i = 0; i < n; i++) {
    float tmp[MAX_HEAD_DIM];
    const float *row = (const float *)qkv + i * width;
    const float *cs = cos_sin + (int64_t)positions[i] * d;
    float *q_out = (float *)q + (int64_t)i * nq * d;
    float *k_out = (float *)kv.k + (int64_t)slots[i] * nk * d, *v_out = (float *)kv.v + (int64_t)slots[i] * nk * d;
    for (int h = 0; h < nq; h++) be->kernels->norm_rope(row + h * d, q_norm, eps, cs, d, tmp, q_out + h * d);
    row += nq * d;
    for (int h = 0; h < nk; h++) be->kernels->norm_rope(row + h * d, k_norm, eps, cs, d, tmp, k_out + h * d);
    memcpy(v_out, row + nk * d, (size_t)nk * (size_t)d * sizeof(float));
  }
  return LCT_OK;
}

static void silu_rows(lct_backend *be, const float *gu, int n, int64_t dim, void *act, bool bf16, bool mul) {
  size_t size = bf16 ? 2 : 4;
#pragma omp parallel num_threads(be->n_threads) if (n * dim >= LCT_PARALLEL_MIN)
  {
    int64_t a, b;
    lct_cpu_share(n, &a, &b);
    be->kernels->silu_mul(gu + a * 2 * dim, b - a, (int)dim, (char *)act + (size_t)(a * dim) * size, bf16, mul);
  }
}

lct_status lct_cpu_silu_mul(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err) {
  (void)err;
  silu_rows(be, gu, n, dim, act, is_bf16(be), true);
  return LCT_OK;
}

lct_status lct_cpu_silu(lct_backend *be, const void *gu, int n, int dim, float *act, lct_error *err) {
  (void)err;
  silu_rows(be, gu, n, dim, act, false, false);
  return LCT_OK;
}

lct_status lct_cpu_read_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim,
                             float *dst, lct_error *err) {
  if (dtype != LCT_DTYPE_F32 && dtype != LCT_DTYPE_BF16 && dtype != LCT_DTYPE_F16) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "cannot read rows of type %s", lct_dtype_name(dtype));
  }
#pragma omp parallel for num_threads(be->n_threads) schedule(static) if ((int64_t)n * dim >= LCT_PARALLEL_MIN)
  for (int i = 0; i < n; i++) {
    int64_t row = (rows == NULL ? i : rows[i]) * ld;
    float *out = dst + (int64_t)i * dim;
    if (dtype == LCT_DTYPE_F32) {
      memcpy(out, (const float *)src + row, (size_t)dim * sizeof(float));
    } else if (dtype == LCT_DTYPE_BF16) {
      be->kernels->bf16_to_f32((const uint16_t *)src + row, dim, out);
    } else {
      for (int j = 0; j < dim; j++) out[j] = lct_f16_to_f32(((const uint16_t *)src)[row + j]);
    }
  }
  return LCT_OK;
}

lct_status lct_cpu_gather_rows(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst, lct_error *err) {
  return lct_cpu_read_rows(be, src, LCT_DTYPE_F32, dim, rows, n, dim, dst, err);
}

lct_status lct_cpu_finite_check(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err) {
  (void)err;
  int64_t total = (int64_t)n * dim, first = INT64_MAX;
#pragma omp parallel num_threads(be->n_threads) reduction(min : first) if (total >= 4 * LCT_PARALLEL_MIN)
  {
    int64_t a, b;
    lct_cpu_share(total, &a, &b);
    int64_t i = be->kernels->first_nonfinite(x + a, b - a);
    if (i >= 0) first = a + i;
  }
  if (first != INT64_MAX && (be->bad_index < 0 || tag < be->bad_tag)) {
    be->bad_tag = tag;
    be->bad_index = first;
  }
  return LCT_OK;
}

lct_status lct_cpu_finite_read(lct_backend *be, int *tag, int64_t *index, lct_error *err) {
  (void)err;
  *tag = be->bad_tag;
  *index = be->bad_index;
  be->bad_index = -1;
  return LCT_OK;
}
