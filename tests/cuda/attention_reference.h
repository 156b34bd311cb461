/* Attention of one query row from its definition in double precision, with a bound of the kernels' error.
 *
 * Queries and keys are multiples of 1/8 within +-4, so a dot product is exact in f32 in any order of its sum: the score's error comes from
 * what follows. Relative to a weight, with S the largest |score|:
 *   - log2(e), scale times it, the maximum times that, their difference and what rescaling from tile to tile adds: at most 8 roundings of
 *     numbers up to 2 S, in the numerator and in the sum it is divided by
 *   - an exponential and its product a tile (2^-22 + 2^-23), twice
 *   - sums of n positive terms: 2^-23 each (a tensor core does not round to nearest), for numerator and denominator
 *   - the weight rounded to T before it meets the value: half an ulp; below f16's normal numbers 2^-25 of the largest weight
 * and last the output's own rounding to T. */
#ifndef LCT_ATTENTION_REFERENCE_H
#define LCT_ATTENTION_REFERENCE_H

#include "cuda_test.h"

typedef struct {
  lct_dtype t;
  int dim, n_keys;
  float scale;
  const uint16_t *q;
  const uint16_t *k, *v; /* row i begins at i * ld */
  int64_t ld;
  const int32_t *slots; /* (n_keys) */
} reference_row;

/* A multiple of 1/8 within +-4. */
static inline float reference_value(uint32_t seed, size_t i) { return (float)(int)(test_hash(seed, (uint32_t)i) % 65) / 8.0f - 4.0f; }

/* weights (n_keys): softmax. Returns the bound of their relative error in f32; *largest: of the weights. */
static inline double reference_weights(const reference_row *r, double *weights, double *largest) {
  double max = -INFINITY, size = 0, sum = 0;
  for (int j = 0; j < r->n_keys; j++) {
    double dot = 0;
    for (int i = 0; i < r->dim; i++) {
      dot += (double)test_half_f32(r->t, r->q[i]) * (double)test_half_f32(r->t, r->k[r->slots[j] * r->ld + i]);
    }
    weights[j] = dot * (double)r->scale;
    max = fmax(max, weights[j]);
    size = fmax(size, fabs(weights[j]));
  }
  for (int j = 0; j < r->n_keys; j++) sum += weights[j] = exp(weights[j] - max);
  for (int j = 0; j < r->n_keys; j++) weights[j] /= sum;
  *largest = 1 / sum;
  int n_tiles = (r->n_keys + LCT_ATTN_KEYS - 1) / LCT_ATTN_KEYS;
  return expm1(2 * 8 * 2 * size * 0x1p-24) + 2 * (n_tiles + 1) * 0x1.8p-22 + (2 * r->n_keys + 4) * 0x1p-23;
}

/* out, bound (dim): the row's attention and how far a kernel may be from it. */
static inline void reference_attention(const reference_row *r, double *out, double *bound) {
  double *w = malloc((size_t)r->n_keys * sizeof *w), largest = 0;
  assert_non_null(w);
  double relative = reference_weights(r, w, &largest) + test_half_ulp(r->t);
  double tiny = r->t == LCT_DTYPE_F16 ? 0x1p-25 : 0x1p-126;
  for (int i = 0; i < r->dim; i++) {
    double sum = 0, size = 0, all = 0;
    for (int j = 0; j < r->n_keys; j++) {
      double v = (double)test_half_f32(r->t, r->v[r->slots[j] * r->ld + i]);
      sum += w[j] * v;
      size += w[j] * fabs(v);
      all += fabs(v);
    }
    double before = relative * size + tiny * largest * all;
    out[i] = sum;
    bound[i] = before + test_half_ulp(r->t) * (fabs(sum) + before) + tiny;
  }
  free(w);
}

#endif
