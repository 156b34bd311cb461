/* What the tests of the row kernels share, on top of cuda_test.h: the CPU backend, bounds.
 *
 * A kernel that computes in f32 and rounds once to T gives, for an exact value r and an f32 error of at most `slack`, something between
 * T(r - slack) and T(r + slack): rounding is monotone. That is what is asked, so no tolerance of the 16-bit type is guessed. */
#ifndef LCT_ROWS_TEST_H
#define LCT_ROWS_TEST_H

#include "cuda_test.h"

#include "engine/ops.h"

#define EPS32 0x1p-24

static lct_error err;

#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static const lct_dtype test_types[] = {LCT_DTYPE_F16, LCT_DTYPE_BF16};

/* n bytes of host memory */
static inline void *test_blank(size_t bytes) {
  void *p = malloc(bytes > 0 ? bytes : 1);
  assert_non_null(p);
  memset(p, 0xff, bytes);
  return p;
}

/* The test_buffer's device pointer alone: what is behind and before it is canaries. */
static inline void *to_device(const void *host, size_t bytes) { return test_upload(host, bytes).d; }

static inline void device_free(void *d) {
  if (d != NULL) CUDA_OK(cudaFree((unsigned char *)d - TEST_MARGIN));
}

/* A copy of a to_device buffer, which is freed; its canaries must be whole. */
static inline void *from_device(void *d, size_t bytes) {
  test_buffer b = {(unsigned char *)d - TEST_MARGIN, d, bytes};
  void *p = test_download(&b);
  test_release(&b);
  return p;
}

/* Nothing was written to a to_device buffer without data; frees it. */
static inline void assert_blank(void *d, size_t bytes) {
  void *p = from_device(d, bytes);
  assert_true(test_is_blank(p, 0, bytes));
  free(p);
}

static inline uint16_t *test_halves(lct_dtype t, uint32_t seed, size_t n, float scale) {
  float *f = test_floats(seed, n, scale);
  uint16_t *p = test_encode(t, f, n);
  free(f);
  return p;
}

/* `want` is exact up to `slack`, the error of the f32 arithmetic (of the kernel, and of the reference where that is f32). */
static inline bool is_rounded(lct_dtype t, uint16_t got, double want, double slack) {
  float g = test_half_f32(t, got);
  if (isnan(want)) return isnan(g);
  if (isinf(want)) return g == (float)want;
  slack += fabs(want) * EPS32; /* of the bounds themselves, as floats */
  return g >= test_half_f32(t, test_f32_half(t, (float)(want - slack))) && g <= test_half_f32(t, test_f32_half(t, (float)(want + slack)));
}

#define assert_rounded(t, got, want, slack, ...)                                                                               \
  do {                                                                                                                         \
    double want_ = (want), slack_ = (slack);                                                                                   \
    if (!is_rounded(t, got, want_, slack_)) {                                                                                  \
      char where_[160];                                                                                                        \
      (void)snprintf(where_, sizeof where_, __VA_ARGS__);                                                                      \
      fail_msg("%s %s: %.9g, expected %.9g +- %.3g", lct_dtype_name(t), where_, (double)test_half_f32(t, got), want_, slack_); \
    }                                                                                                                          \
  } while (0)

static inline lct_backend *open_cpu(void) {
  lct_backend *be = NULL;
  lct_backend_options o = {.precision = LCT_PRECISION_EXACT};
  assert_ok(lct_cpu_ops()->open(&o, &be, &err));
  return be;
}

/* Many bytes, 0xff, without canaries or a copy on the host; cudaFree frees them. */
static inline void *big_device(size_t bytes) {
  void *d = NULL;
  CUDA_OK(cudaMalloc(&d, bytes));
  CUDA_OK(cudaMemset(d, 0xff, bytes));
  return d;
}

/* Buffers of more than 2^31 elements are a GPU's business. */
static inline void skip_without_gpu(void) {
#ifdef LCT_TEST_SHIM
  print_message("[  SKIPPED ] more than 2^31 elements: on a GPU only\n");
  skip();
#endif
}

#endif
