/* Weights: packed once from the file's views, or, when memory is short, packed anew at each use; and the choice between GEMM and
 * the matrix x vector products of decoding. */
#include <stdlib.h>
#include <string.h>

#include "cpu/internal.h"

static bool is_fast(const lct_backend *be) { return be->precision == LCT_PRECISION_FAST; }

/* 16-bit data in plain row order at an even address can be read as it lies. */
static bool is_plain(const lct_tensor *t, lct_dtype type) {
  return t->dtype == type && t->perm_head_dim == 0 && (uintptr_t)t->data % 2 == 0;
}

/* Rows [n0, n0 + n) of the stacked parts as f32: out (n, in). */
static void read_weight_rows(const lct_backend *be, const lct_weight *w, int64_t n0, int64_t n, float *out) {
  int part = 0;
  while (n0 >= w->parts[part].rows) n0 -= w->parts[part++].rows;
  for (int64_t i = 0; i < n; i++, n0++) {
    while (n0 >= w->parts[part].rows) n0 -= w->parts[part++].rows;
    const lct_tensor *t = &w->parts[part];
    if (is_plain(t, LCT_DTYPE_BF16)) {
      be->kernels->bf16_to_f32((const uint16_t *)t->data + n0 * w->in, w->in, out + i * w->in);
    } else {
      lct_tensor_row_f32(t, n0, out + i * w->in);
    }
  }
}

static size_t packed_bytes(const lct_weight *w) {
  size_t size = w->shape->bf16 ? 2 : 4;
  return (size_t)w->shape->kp * (size_t)w->shape->np * size;
}

typedef struct {
  const lct_backend *be;
  const lct_weight *w;
  void *packed;
} packing;

/* Blocks of columns. */
static lct_status pack_blocks(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)err;
  const packing *p = ctx;
  const lct_weight *w = p->w;
  const lct_gemm_shape *s = w->shape;
  float *rows = (float *)p->be->rows.p + (size_t)thread * (size_t)s->nb * (size_t)w->in;
  for (int64_t b = from; b < to; b++) {
    int64_t n0 = b * s->nb, n = w->out - n0 < s->nb ? w->out - n0 : s->nb, at = n0 * s->kp;
    read_weight_rows(p->be, w, n0, n, rows);
    if (s->bf16) {
      p->be->kernels->pack_bf16(rows, w->in, (int)n, (int)w->in, (int)s->kp, s->nb, (uint16_t *)p->packed + at);
      continue;
    }
    if (is_fast(p->be)) { /* our own GEMM multiplies in f32: bf16 x bf16 is exact there */
      for (size_t i = 0; i < (size_t)n * (size_t)w->in; i++) rows[i] = lct_bf16_to_f32(lct_f32_to_bf16(rows[i]));
    }
    p->be->kernels->pack_f32(rows, w->in, (int)n, (int)w->in, (int)s->kp, s->nb, (float *)p->packed + at);
  }
  return LCT_OK;
}

/* Fills `packed` in the shape's layout. */
static lct_status pack(lct_backend *be, const lct_weight *w, void *packed, lct_error *err) {
  const lct_gemm_shape *s = w->shape;
  size_t block = (size_t)s->nb * (size_t)w->in;
  LCT_TRY(lct_cpu_reserve(&be->rows, (size_t)lct_threads_count(be->threads) * block * 4, "weight packing", err));
  packing p = {be, w, packed};
  return lct_threads_for(be->threads, s->np / s->nb, 1, pack_blocks, &p, err);
}

static lct_status copy_parts(lct_weight *w, const lct_tensor *const *parts, int n_parts, lct_error *err) {
  if (n_parts < 1) return lct_fail(err, LCT_E_USAGE, "a weight needs at least one matrix");
  LCT_TRY(lct_calloc(&w->parts, (size_t)n_parts, sizeof *w->parts, "weight parts", err));
  w->n_parts = n_parts;
  w->in = parts[0]->cols;
  w->raw = true;
  for (int i = 0; i < n_parts; i++) {
    const lct_tensor *t = parts[i];
    if (t->cols != w->in || t->rows < 1 || t->cols < 1 || t->cols > INT32_MAX || t->rows > INT32_MAX) {
      return lct_fail(err, LCT_E_FORMAT, "tensor %s: [%lld, %lld] cannot be stacked below [.., %lld]", t->name, (long long)t->rows,
                      (long long)t->cols, (long long)w->in);
    }
    w->parts[i] = *t;
    w->out += t->rows;
    w->raw = w->raw && (is_plain(t, LCT_DTYPE_BF16) || is_plain(t, LCT_DTYPE_F16));
  }
  return LCT_OK;
}

static lct_status read_bias(lct_weight *w, const lct_tensor *const *biases, lct_error *err) {
  size_t n = (size_t)w->shape->np;
  LCT_TRY(lct_alloc_aligned(&w->bias, n, sizeof *w->bias, "bias", err));
  memset(w->bias, 0, n * sizeof *w->bias);
  int64_t at = 0;
  for (int i = 0; i < w->n_parts; at += w->parts[i].rows, i++) {
    const lct_tensor *b = biases == NULL ? NULL : biases[i];
    if (b == NULL || b->data == NULL) continue;
    if (b->rows * b->cols != w->parts[i].rows || b->rows != 1) {
      return lct_fail(err, LCT_E_FORMAT, "tensor %s: [%lld, %lld]: expected [1, %lld], the rows of %s", b->name, (long long)b->rows,
                      (long long)b->cols, (long long)w->parts[i].rows, w->parts[i].name);
    }
    lct_tensor_row_f32(b, 0, w->bias + at);
  }
  return LCT_OK;
}

static lct_status build_weight(lct_backend *be, lct_weight *w, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                               lct_error *err) {
  LCT_TRY(copy_parts(w, parts, n_parts, err));
  LCT_TRY(lct_gemm_shape_get(be, w->in, w->out, &w->shape, err));
  LCT_TRY(read_bias(w, biases, err));
  size_t bytes = packed_bytes(w);
  if (bytes > be->weight_budget - be->packed_bytes) return LCT_OK; /* streamed */
  LCT_TRY(lct_cpu_alloc(&w->packed, bytes, "packed weights", err));
  be->packed_bytes += bytes;
  return pack(be, w, w->packed, err);
}

lct_status lct_cpu_weight_new(lct_backend *be, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                              lct_weight **out, lct_error *err) {
  lct_weight *w = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "weight", err));
  lct_status status = build_weight(be, w, parts, biases, n_parts, err);
  if (status != LCT_OK) {
    lct_cpu_weight_free(be, w);
    return status;
  }
  *out = w;
  return LCT_OK;
}

void lct_cpu_weight_free(lct_backend *be, lct_weight *w) {
  if (w == NULL) return;
  if (w->packed != NULL) be->packed_bytes -= packed_bytes(w);
  if (be->streamed == w) be->streamed = NULL;
  free(w->packed);
  free(w->bias);
  free(w->parts);
  free(w);
}

/* Can this call go through gemv on the file's own 16-bit weights? Whatever the number of rows: a row's bits must not depend on
 * how many other sequences are being decoded beside it. */
static bool use_gemv(const lct_backend *be, const lct_weight *w) {
  if (!be->decode || !w->raw || is_fast(be)) return false;
  for (int i = 0; i < w->n_parts; i++) {
    if (w->parts[i].dtype == LCT_DTYPE_F16 && be->kernels->gemv_f16 == NULL) return false;
  }
  return true;
}

/* y = x W^T + b of one part, whose rows are columns of y from `first` on. */
typedef struct {
  const lct_backend *be;
  const lct_weight *w;
  const lct_tensor *t;
  const float *x;
  int64_t ldx, ldy, first;
  int n;
  float *y;
} gemv_part;

static lct_status gemv_rows(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  const gemv_part *g = ctx;
  int rows = (int)(to - from);
  const uint16_t *data = (const uint16_t *)g->t->data + from * g->w->in;
  float *y = g->y + g->first + from;
  for (int i = 0; i < g->n; i += LCT_GEMV_ROWS) { /* the task's weights stay in the cache */
    int n_x = g->n - i < LCT_GEMV_ROWS ? g->n - i : LCT_GEMV_ROWS;
    if (g->t->dtype == LCT_DTYPE_BF16) {
      g->be->kernels->gemv_bf16(g->x + i * g->ldx, g->ldx, n_x, data, g->w->in, rows, y + i * g->ldy, g->ldy);
    } else {
      g->be->kernels->gemv_f16(g->x + i * g->ldx, g->ldx, n_x, data, g->w->in, rows, y + i * g->ldy, g->ldy);
    }
  }
  for (int i = 0; i < g->n; i++) {
    for (int j = 0; j < rows; j++) y[i * g->ldy + j] += g->w->bias[g->first + from + j];
  }
  return LCT_OK;
}

static lct_status gemv(lct_backend *be, const lct_weight *w, const float *x, int64_t ldx, int n, float *y, int64_t ldy, lct_error *err) {
  enum { ROWS = 32 }; /* of a task */
  int64_t first = 0;
  for (int p = 0; p < w->n_parts; first += w->parts[p].rows, p++) {
    const lct_tensor *t = &w->parts[p];
    gemv_part g = {.be = be, .w = w, .t = t, .x = x, .ldx = ldx, .ldy = ldy, .first = first, .n = n, .y = y};
    LCT_TRY(lct_threads_for(t->rows * w->in >= 4 * LCT_PARALLEL_MIN ? be->threads : NULL, t->rows, ROWS, gemv_rows, &g, err));
  }
  return LCT_OK;
}

lct_status lct_cpu_linear(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err) {
  if (use_gemv(be, w)) return gemv(be, w, x, ldx, n, y, ldy, err);
  if (w->packed != NULL) return lct_cpu_gemm_run(be, w, w->packed, x, ldx, n, y, ldy, err);
  if (be->streamed != w) {
    be->streamed = NULL;
    LCT_TRY(lct_cpu_reserve(&be->stream_packed, packed_bytes(w), "streamed weights", err));
    LCT_TRY(pack(be, w, be->stream_packed.p, err));
    be->streamed = w;
  }
  return lct_cpu_gemm_run(be, w, be->stream_packed.p, x, ldx, n, y, ldy, err);
}
