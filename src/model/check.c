/* NaN and Inf in weights, found by their exponent bits: no conversion, one pass at the speed of memory. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "model/tensors.h"

#define PIECE ((size_t)1 << 18) /* bytes a task */

static bool any_bad16(const unsigned char *p, size_t n_bytes, uint16_t exponent) {
  unsigned bad = 0;
  for (size_t i = 0; i + 2 <= n_bytes; i += 2) {
    uint16_t v;
    memcpy(&v, p + i, 2); /* a safetensors file may start its data at an odd byte */
    bad |= (v & exponent) == exponent;
  }
  return bad != 0;
}

static bool any_bad32(const unsigned char *p, size_t n_bytes) {
  unsigned bad = 0;
  for (size_t i = 0; i + 4 <= n_bytes; i += 4) {
    uint32_t v;
    memcpy(&v, p + i, 4);
    bad |= (v & 0x7f800000u) == 0x7f800000u;
  }
  return bad != 0;
}

/* Byte offsets of the float16 scales in a quantised block; the rest are small integers, so that finite scales mean finite
 * weights. */
typedef struct {
  int n, at[2];
} scales;

static scales block_scales(lct_dtype t) {
  switch (t) {
  case LCT_DTYPE_Q4_0:
  case LCT_DTYPE_Q5_0:
  case LCT_DTYPE_Q8_0: return (scales){1, {0, 0}};
  case LCT_DTYPE_Q6_K: return (scales){1, {208, 0}};
  case LCT_DTYPE_Q4_1:
  case LCT_DTYPE_Q5_1:
  case LCT_DTYPE_Q4_K:
  case LCT_DTYPE_Q5_K: return (scales){2, {0, 2}};
  default: return (scales){0, {0, 0}};
  }
}

static bool any_bad_block(const unsigned char *p, size_t n_bytes, lct_dtype t) {
  scales s = block_scales(t);
  size_t step = lct_dtype_row_bytes(t, lct_dtype_block(t));
  for (size_t i = 0; i + step <= n_bytes; i += step) {
    for (int k = 0; k < s.n; k++) {
      if (any_bad16(p + i + s.at[k], 2, 0x7c00u)) return true;
    }
  }
  return false;
}

static bool any_bad(const unsigned char *p, size_t n_bytes, lct_dtype t) {
  switch (t) {
  case LCT_DTYPE_BF16: return any_bad16(p, n_bytes, 0x7f80u);
  case LCT_DTYPE_F16: return any_bad16(p, n_bytes, 0x7c00u);
  case LCT_DTYPE_F32: return any_bad32(p, n_bytes);
  default: return any_bad_block(p, n_bytes, t);
  }
}

/* Names the first bad element in the piece, in Hugging Face's row order. */
static lct_status report(const lct_model *m, const lct_tensor *t, size_t first_byte, lct_error *err) {
  const unsigned char *data = t->data;
  size_t step = lct_dtype_row_bytes(t->dtype, lct_dtype_block(t->dtype)), i = first_byte;
  while (!any_bad(data + i, step, t->dtype)) i += step;
  int64_t element = (int64_t)(i / step) * lct_dtype_block(t->dtype);
  int64_t row = element / t->cols, col = element % t->cols;
  const char *file = lct_model_file_of(m, data);
  if (lct_dtype_block(t->dtype) != 1) {
    return lct_fail(err, LCT_E_NUMERIC,
                    "%s: tensor \"%s\": expected finite weights, found a NaN or Inf scale (%s block at row %lld, column %lld)", file,
                    t->name, lct_dtype_name(t->dtype), (long long)row, (long long)col);
  }
  if (t->perm_head_dim > 0) {
    int64_t *r = t->rows == 1 ? &col : &row, half = t->perm_head_dim / 2, within = *r % t->perm_head_dim;
    *r += within % 2 * half + within / 2 - within;
  }
  float value[1];
  uint16_t h;
  memcpy(&h, data + i, 2);
  if (t->dtype == LCT_DTYPE_F32) memcpy(value, data + i, 4);
  else value[0] = t->dtype == LCT_DTYPE_F16 ? lct_f16_to_f32(h) : lct_bf16_to_f32(h);
  return lct_fail(err, LCT_E_NUMERIC, "%s: tensor \"%s\": expected finite weights, found %s at row %lld, column %lld", file, t->name,
                  isnan(value[0]) ? "NaN"
                  : value[0] > 0  ? "Inf"
                                  : "-Inf",
                  (long long)row, (long long)col);
}

/* The first byte of the lowest piece with something in it. */
typedef struct {
  const lct_tensor *t;
  size_t total, piece, first; /* first: atomic */
} search;

static lct_status search_pieces(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread, (void)err;
  search *s = ctx;
  for (int64_t i = from; i < to; i++) {
    size_t begin = (size_t)i * s->piece, n = s->total - begin < s->piece ? s->total - begin : s->piece;
    size_t first = __atomic_load_n(&s->first, __ATOMIC_RELAXED);
    if (begin >= first || !any_bad((const unsigned char *)s->t->data + begin, n, s->t->dtype)) continue;
    while (begin < first && !__atomic_compare_exchange_n(&s->first, &first, begin, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
  }
  return LCT_OK;
}

static lct_status check_tensor(const lct_model *m, const lct_tensor *t, lct_threads *threads, lct_error *err) {
  size_t total = lct_tensor_bytes(t), step = lct_dtype_row_bytes(t->dtype, lct_dtype_block(t->dtype));
  search s = {.t = t, .total = total, .piece = PIECE / step * step, .first = total};
  LCT_TRY(lct_threads_for(threads, (int64_t)((total + s.piece - 1) / s.piece), 1, search_pieces, &s, err));
  return s.first < total ? report(m, t, s.first, err) : LCT_OK;
}

lct_status lct_model_check_finite(const lct_model *m, lct_threads *threads, lct_error *err) {
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *t = lct_model_tensor(m, i);
    if (t != NULL) LCT_TRY(check_tensor(m, t, threads, err));
  }
  return LCT_OK;
}
