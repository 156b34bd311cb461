/* What the tests of the row kernels share: device memory with canaries, inputs, the CPU backend, bounds.
 *
 * A kernel that computes in f32 and rounds once to T gives, for an exact value r and an f32 error of at most `slack`, something between
 * T(r - slack) and T(r + slack): rounding is monotone. That is what is asked, so no tolerance of the 16-bit type is guessed. */
#ifndef LCT_ROWS_TEST_H
#define LCT_ROWS_TEST_H

#include <math.h>

#include <cuda_runtime_api.h>

#include "test_support.h"

#include "base/half.h"
#include "engine/ops.h"
#include "kernels.h"

#define GUARD 4096 /* bytes of 0xff behind every buffer: NaN in every type */
#define EPS32 0x1p-24

static lct_error err;

#define assert_cuda(expr)                                                                 \
  do {                                                                                    \
    cudaError_t cuda_ = (expr);                                                           \
    if (cuda_ != cudaSuccess) fail_msg("%s failed: %s", #expr, cudaGetErrorString(cuda_)); \
  } while (0)

#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static const lct_dtype test_types[] = {LCT_DTYPE_F16, LCT_DTYPE_BF16};

/* bytes of 0xff, and the guard */
static inline void *test_blank(size_t bytes) {
  void *p = malloc(bytes + GUARD);
  assert_non_null(p);
  memset(p, 0xff, bytes + GUARD);
  return p;
}

/* host NULL: 0xff throughout */
static inline void *to_device(const void *host, size_t bytes) {
  void *d = NULL;
  assert_cuda(cudaMalloc(&d, bytes + GUARD));
  assert_cuda(cudaMemset(d, 0xff, bytes + GUARD));
  if (host != NULL && bytes > 0) assert_cuda(cudaMemcpy(d, host, bytes, cudaMemcpyHostToDevice));
  return d;
}

/* A copy of device memory, whose guard must be whole. */
static inline void *read_device(const void *d, size_t bytes) {
  unsigned char *p = test_blank(bytes);
  assert_cuda(cudaDeviceSynchronize());
  assert_cuda(cudaMemcpy(p, d, bytes + GUARD, cudaMemcpyDeviceToHost));
  for (size_t i = bytes; i < bytes + GUARD; i++) {
    if (p[i] != 0xff) fail_msg("byte %zu behind a buffer of %zu was written", i - bytes, bytes);
  }
  return p;
}

static inline void *from_device(void *d, size_t bytes) {
  void *p = read_device(d, bytes);
  assert_cuda(cudaFree(d));
  return p;
}

static inline uint32_t test_hash(uint32_t seed, size_t i) {
  uint32_t u = (uint32_t)i + seed * 0x9E3779B9u;
  u ^= u >> 16;
  u *= 0x7FEB352Du;
  u ^= u >> 15;
  u *= 0x846CA68Bu;
  return u ^ u >> 16;
}

/* n floats in [-scale, scale) */
static inline float *test_floats(uint32_t seed, size_t n, float scale) {
  float *p = test_blank(n * sizeof *p);
  for (size_t i = 0; i < n; i++) p[i] = ((float)(test_hash(seed, i) >> 8) * 0x1p-23f - 1.0f) * scale;
  return p;
}

static inline float from_t(lct_dtype t, uint16_t x) { return t == LCT_DTYPE_F16 ? lct_f16_to_f32(x) : lct_bf16_to_f32(x); }
static inline uint16_t to_t(lct_dtype t, float x) { return t == LCT_DTYPE_F16 ? lct_f32_to_f16(x) : lct_f32_to_bf16(x); }

static inline uint16_t *test_halves(lct_dtype t, uint32_t seed, size_t n, float scale) {
  float *f = test_floats(seed, n, scale);
  uint16_t *p = test_blank(n * sizeof *p);
  for (size_t i = 0; i < n; i++) p[i] = to_t(t, f[i]);
  free(f);
  return p;
}

static inline float *widen(lct_dtype t, const uint16_t *x, size_t n) {
  float *p = test_blank(n * sizeof *p);
  for (size_t i = 0; i < n; i++) p[i] = from_t(t, x[i]);
  return p;
}

/* `want` is exact up to `slack`, the error of the f32 arithmetic (of the kernel, and of the reference where that is f32). */
static inline bool is_rounded(lct_dtype t, uint16_t got, double want, double slack) {
  float g = from_t(t, got);
  if (isnan(want)) return isnan(g);
  if (isinf(want)) return g == (float)want;
  slack += fabs(want) * EPS32; /* of the bounds themselves, as floats */
  return g >= from_t(t, to_t(t, (float)(want - slack))) && g <= from_t(t, to_t(t, (float)(want + slack)));
}

#define assert_rounded(t, got, want, slack, ...)                                                               \
  do {                                                                                                         \
    double want_ = (want), slack_ = (slack);                                                                   \
    if (!is_rounded(t, got, want_, slack_)) {                                                                  \
      char where_[160];                                                                                        \
      (void)snprintf(where_, sizeof where_, __VA_ARGS__);                                                      \
      fail_msg("%s %s: %.9g, expected %.9g +- %.3g", lct_dtype_name(t), where_, (double)from_t(t, got), want_, slack_); \
    }                                                                                                          \
  } while (0)

static inline lct_backend *open_cpu(void) {
  lct_backend *be = NULL;
  lct_backend_options o = {.precision = LCT_PRECISION_EXACT, .n_threads = 1};
  assert_ok(lct_cpu_ops()->open(&o, &be, &err));
  return be;
}

/* Buffers of more than 2^31 elements are a GPU's business. */
static inline void skip_without_gpu(void) {
#ifdef LCT_TEST_SHIM
  print_message("[  SKIPPED ] more than 2^31 elements: on a GPU only\n");
  skip();
#endif
}

#endif
