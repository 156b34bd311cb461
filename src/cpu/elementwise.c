/* The row-wise ops: rows shared out to threads, a kernel call each. */
#include <stdlib.h>
#include <string.h>

#include "cpu/internal.h"

static bool is_bf16(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST; }

typedef struct {
  const lct_tensor *t;
  const int32_t *tokens;
  float *x;
} embedding;

static lct_status embed_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const embedding *e = ctx;
  for (int64_t i = from; i < to; i++) lct_tensor_row_f32(e->t, e->tokens[i], e->x + i * e->t->cols);
  return LCT_OK;
}

lct_status lct_cpu_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) {
  embedding job = {&e->t, tokens, x};
  return lct_cpu_rows(be, n, e->t.cols, embed_rows, &job, err);
}

typedef struct {
  const lct_backend *be;
  float *x;
  const float *y, *w;
  float eps;
  int dim;
  void *h;
} norm;

static lct_status norm_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const norm *j = ctx;
  int64_t at = from * j->dim;
  size_t size = is_bf16(j->be) ? 2 : 4;
  j->be->kernels->add_rmsnorm(j->x + at, j->y == NULL ? NULL : j->y + at, j->w, j->eps, to - from, j->dim,
                              j->h == NULL ? NULL : (char *)j->h + (size_t)at * size, is_bf16(j->be));
  return LCT_OK;
}

lct_status lct_cpu_rmsnorm(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err) {
  norm j = {be, (float *)x, NULL, w, eps, dim, h}; /* without y the kernel only reads x */
  return lct_cpu_rows(be, n, dim, norm_rows, &j, err);
}

lct_status lct_cpu_add_rmsnorm(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                               lct_error *err) {
  norm j = {be, x, y, w, eps, dim, h};
  return lct_cpu_rows(be, n, dim, norm_rows, &j, err);
}

#define MAX_HEAD_DIM 1024

typedef struct {
  const lct_backend *be;
  const lct_attn_shape *s;
  const float *qkv, *q_norm, *k_norm, *cos_sin;
  float eps;
  const int32_t *positions, *slots;
  float *q, *k, *v;
} rope;

static lct_status rope_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const rope *j = ctx;
  const lct_kernels *kernels = j->be->kernels;
  int d = j->s->head_dim, nq = j->s->n_heads, nk = j->s->n_kv_heads;
  float tmp[MAX_HEAD_DIM];
  for (int64_t i = from; i < to; i++) {
    const float *row = j->qkv + i * (nq + 2 * nk) * d, *cs = j->cos_sin + (int64_t)j->positions[i] * d;
    float *q = j->q + i * nq * d, *k = j->k + (int64_t)j->slots[i] * nk * d;
    for (int h = 0; h < nq; h++) kernels->norm_rope(row + h * d, j->q_norm, j->eps, cs, d, tmp, q + h * d);
    row += nq * d;
    for (int h = 0; h < nk; h++) kernels->norm_rope(row + h * d, j->k_norm, j->eps, cs, d, tmp, k + h * d);
    memcpy(j->v + (int64_t)j->slots[i] * nk * d, row + nk * d, (size_t)nk * (size_t)d * sizeof(float));
  }
  return LCT_OK;
}

lct_status lct_cpu_split_rope(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm,
                              float eps, const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q,
                              lct_kv_layer kv, lct_error *err) {
  int d = s->head_dim;
  if (d > MAX_HEAD_DIM || d % 2 != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "head_dim %d: expected an even number up to %d", d, MAX_HEAD_DIM);
  }
  rope j = {.be = be,
            .s = s,
            .qkv = qkv,
            .q_norm = q_norm,
            .k_norm = k_norm,
            .cos_sin = cos_sin,
            .eps = eps,
            .positions = positions,
            .slots = slots,
            .q = q,
            .k = kv.k,
            .v = kv.v};
  return lct_cpu_rows(be, n, (int64_t)(s->n_heads + 2 * s->n_kv_heads) * d, rope_rows, &j, err);
}

typedef struct {
  const lct_backend *be;
  const float *gu;
  int dim;
  void *act;
  bool bf16, mul;
} activation;

static lct_status silu_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const activation *j = ctx;
  int64_t at = from * j->dim;
  j->be->kernels->silu_mul(j->gu + 2 * at, to - from, j->dim, (char *)j->act + (size_t)at * (j->bf16 ? 2 : 4), j->bf16, j->mul);
  return LCT_OK;
}

lct_status lct_cpu_silu_mul(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err) {
  activation j = {be, gu, dim, act, is_bf16(be), true};
  return lct_cpu_rows(be, n, dim, silu_rows, &j, err);
}

lct_status lct_cpu_silu(lct_backend *be, const void *gu, int n, int dim, float *act, lct_error *err) {
  activation j = {be, gu, dim, act, false, false};
  return lct_cpu_rows(be, n, dim, silu_rows, &j, err);
}

typedef struct {
  const lct_backend *be;
  const void *src;
  lct_dtype dtype;
  int64_t ld;
  const int32_t *rows;
  int dim;
  float *dst;
} reading;

static lct_status read_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const reading *j = ctx;
  for (int64_t i = from; i < to; i++) {
    int64_t row = (j->rows == NULL ? i : j->rows[i]) * j->ld;
    float *out = j->dst + i * j->dim;
    if (j->dtype == LCT_DTYPE_F32) {
      memcpy(out, (const float *)j->src + row, (size_t)j->dim * sizeof(float));
    } else if (j->dtype == LCT_DTYPE_BF16) {
      j->be->kernels->bf16_to_f32((const uint16_t *)j->src + row, j->dim, out);
    } else {
      for (int k = 0; k < j->dim; k++) out[k] = lct_f16_to_f32(((const uint16_t *)j->src)[row + k]);
    }
  }
  return LCT_OK;
}

lct_status lct_cpu_read_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                             lct_error *err) {
  if (dtype != LCT_DTYPE_F32 && dtype != LCT_DTYPE_BF16 && dtype != LCT_DTYPE_F16) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "cannot read rows of type %s", lct_dtype_name(dtype));
  }
  reading j = {be, src, dtype, ld, rows, dim, dst};
  return lct_cpu_rows(be, n, dim, read_some, &j, err);
}

lct_status lct_cpu_gather_rows(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst, lct_error *err) {
  return lct_cpu_read_rows(be, src, LCT_DTYPE_F32, dim, rows, n, dim, dst, err);
}

typedef struct {
  const lct_kernels *kernels;
  const float *x;
  int64_t first; /* atomic: the lowest found so far */
} search;

static lct_status search_part(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  search *j = ctx;
  int64_t i = j->kernels->first_nonfinite(j->x + from, to - from), first = __atomic_load_n(&j->first, __ATOMIC_RELAXED);
  while (i >= 0 && from + i < first &&
         !__atomic_compare_exchange_n(&j->first, &first, from + i, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return LCT_OK;
}

lct_status lct_cpu_finite_check(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err) {
  search j = {be->kernels, x, INT64_MAX};
  LCT_TRY(lct_cpu_rows(be, (int64_t)n * dim, 1, search_part, &j, err));
  if (j.first != INT64_MAX && (be->bad_index < 0 || tag < be->bad_tag)) {
    be->bad_tag = tag;
    be->bad_index = j.first;
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
