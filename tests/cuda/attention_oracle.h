/* What the tests of decoding and of the attention weights share: device memory with guards, inputs, attention in double precision from
 * its definition with a bound of the kernels' error.
 *
 * Queries and keys are multiples of 1/8 within +-size, so every dot product is exact in f32 whatever the order of its sum, and the bound
 * of a weight's error needs only what comes after it. Bits 0xff are NaN in every floating type and -1 as a number. */
#ifndef LCT_ATTENTION_ORACLE_H
#define LCT_ATTENTION_ORACLE_H

#include "cuda_test.h"

#define GUARD 4096 /* bytes of 0xff behind every buffer on the host and, unless oracle_guard is changed, on the device */

static lct_error err;
static size_t oracle_guard = GUARD; /* 0: a read behind a buffer is one behind an allocation, for those who can see that */

static inline void *oracle_alloc(size_t bytes) {
  void *p = malloc(bytes + GUARD);
  assert_non_null(p);
  memset(p, 0xff, bytes + GUARD);
  return p;
}

/* host NULL: 0xff throughout */
static inline void *to_device(const void *host, size_t bytes) {
  void *d = NULL;
  CUDA_OK(cudaMalloc(&d, bytes + oracle_guard));
  CUDA_OK(cudaMemset(d, 0xff, bytes + oracle_guard));
  if (host != NULL) CUDA_OK(cudaMemcpy(d, host, bytes, cudaMemcpyHostToDevice));
  return d;
}

/* A copy of device memory whose guard must be whole; frees it. */
static inline void *from_device(void *d, size_t bytes) {
  unsigned char *p = oracle_alloc(bytes);
  CUDA_OK(cudaDeviceSynchronize());
  CUDA_OK(cudaMemcpy(p, d, bytes + oracle_guard, cudaMemcpyDeviceToHost));
  CUDA_OK(cudaFree(d));
  for (size_t i = bytes; i < bytes + GUARD; i++) assert_int_equal(p[i], 0xff);
  return p;
}

/* A multiple of 1/8 within +-size, from two numbers. */
static inline float oracle_value(uint32_t a, uint32_t b, float size) {
  uint32_t u = a * 0x9E3779B9u ^ (b + 0x7F4A7C15u) * 0x85EBCA6Bu;
  u ^= u >> 16;
  u *= 0x7FEB352Du;
  u ^= u >> 15;
  u *= 0x846CA68Bu;
  u ^= u >> 16;
  int steps = (int)(size * 8);
  return (float)((int)(u % (uint32_t)(2 * steps + 1)) - steps) / 8;
}

/* The smallest prime above n: of so many slots, i * step modulo it are n different ones and never slot 0. */
static inline int oracle_slots(int n) {
  for (int p = n + 1;; p++) {
    int d = 2;
    while (d * d <= p && p % d != 0) d++;
    if (d * d > p && p > 1) return p;
  }
}

/* One query row of one head over its keys: row j of k (and v) begins at keys[j]. */
typedef struct {
  lct_dtype t;
  int dim, n_keys;
  float scale;
  const uint16_t *q;
  const uint16_t *const *keys, *const *values;
} oracle_row;

/* p (n_keys): softmax weights. Returns the largest |score|; *sum: of exponentials relative to the greatest. */
static inline double oracle_weights(const oracle_row *r, double *p, double *sum) {
  double max = -INFINITY, size = 0;
  for (int j = 0; j < r->n_keys; j++) {
    double dot = 0;
    for (int i = 0; i < r->dim; i++) dot += (double)test_half_f32(r->t, r->q[i]) * (double)test_half_f32(r->t, r->keys[j][i]);
    p[j] = dot * (double)r->scale;
    max = fmax(max, p[j]);
    size = fmax(size, fabs(p[j]));
  }
  *sum = 0;
  for (int j = 0; j < r->n_keys; j++) *sum += p[j] = exp(p[j] - max);
  for (int j = 0; j < r->n_keys; j++) p[j] /= *sum;
  return size;
}

/* Relative error of a weight computed in f32 with exact dot products. A score (in units of log 2) has three roundings: log2(e), times
 * scale, times dot; the maximum has the same; their difference, at most twice as large, one more: together 8 * 2^-24 of the largest
 * score, in a numerator and in the denominator. Each of `exps` exponentials and their products adds 2^-22 + 2^-23, each of `adds`
 * sums of positive terms 2^-23 (a tensor core does not round to nearest), the division 2^-24. */
static inline double oracle_relative(double size, int exps, int adds) {
  return expm1(2 * size * 8 * 0x1p-24) + (double)exps * 0x1.8p-22 + (double)(adds + 1) * 0x1p-23;
}

#endif
