/* What the tests of the CUDA backend share. They run on the host shim and, the same sources, on a GPU: device memory is only copied, never
 * looked at. */
#ifndef LCT_CUDA_TEST_H
#define LCT_CUDA_TEST_H

#include <cuda_runtime_api.h>
#include <math.h>

#include "test_support.h"

#include "base/half.h"
#include "base/status.h"
#include "kernels.h"
#include "model/model.h"

#define CUDA_OK(expr)                                                                                          \
  do {                                                                                                         \
    cudaError_t code_ = (expr);                                                                                \
    if (code_ != cudaSuccess) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #expr, cudaGetErrorString(code_)); \
  } while (0)

/* ---- values ---- */

static inline uint32_t test_hash(uint32_t seed, uint32_t i) {
  uint32_t u = i + seed * 0x9E3779B9u;
  u ^= u >> 16;
  u *= 0x7FEB352Du;
  u ^= u >> 15;
  u *= 0x846CA68Bu;
  u ^= u >> 16;
  return u;
}

/* in [-scale, scale), the same as in cpu_test.h */
static inline float test_value(uint32_t seed, size_t i, float scale) {
  return ((float)(test_hash(seed, (uint32_t)i) >> 8) * 0x1p-23f - 1.0f) * scale;
}

static inline float *test_floats(uint32_t seed, size_t n, float scale) {
  float *p = malloc((n > 0 ? n : 1) * sizeof *p);
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) p[i] = test_value(seed, i, scale);
  return p;
}

/* ---- element types ---- */

static inline size_t test_size(lct_dtype t) { return t == LCT_DTYPE_F32 ? 4 : 2; }
static inline float test_half_f32(lct_dtype t, uint16_t h) { return t == LCT_DTYPE_F16 ? lct_f16_to_f32(h) : lct_bf16_to_f32(h); }
static inline uint16_t test_f32_half(lct_dtype t, float x) { return t == LCT_DTYPE_F16 ? lct_f32_to_f16(x) : lct_f32_to_bf16(x); }
/* half the distance between neighbours, relative to the value: what one rounding to t costs at most (normal numbers of 11, 8, 24 bits) */
static inline double test_half_ulp(lct_dtype t) { return t == LCT_DTYPE_F16 ? 0x1p-11 : t == LCT_DTYPE_BF16 ? 0x1p-8 : 0x1p-24; }

/* x rounded to t and back: what the device sees of it */
static inline float test_round(lct_dtype t, float x) { return t == LCT_DTYPE_F32 ? x : test_half_f32(t, test_f32_half(t, x)); }

/* n elements of type t (16-bit types or f32), the caller's */
static inline void *test_encode(lct_dtype t, const float *x, size_t n) {
  unsigned char *p = malloc((n > 0 ? n : 1) * test_size(t));
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) {
    uint16_t h = t == LCT_DTYPE_F32 ? 0 : test_f32_half(t, x[i]);
    if (t == LCT_DTYPE_F32) memcpy(p + 4 * i, &x[i], 4);
    else memcpy(p + 2 * i, &h, 2);
  }
  return p;
}

static inline float *test_decode(lct_dtype t, const void *p, size_t n) {
  float *x = malloc((n > 0 ? n : 1) * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) {
    uint16_t h = 0;
    if (t == LCT_DTYPE_F32) memcpy(&x[i], (const unsigned char *)p + 4 * i, 4);
    else memcpy(&h, (const unsigned char *)p + 2 * i, 2);
    if (t != LCT_DTYPE_F32) x[i] = test_half_f32(t, h);
  }
  return x;
}

/* ---- device buffers between canaries: NaN in f32, f16 and bf16 ---- */

#define TEST_CANARY 0x7fff7fffu
#define TEST_MARGIN 1024 /* bytes of canaries in front and behind; a multiple of 256 */

typedef struct {
  unsigned char *base; /* of the allocation, on the device */
  void *d;             /* the buffer, 256-byte aligned */
  size_t bytes;
} test_buffer;

static inline void test_canaries(unsigned char *p, size_t from, size_t to) {
  uint32_t canary = TEST_CANARY;
  for (size_t i = from; i < to; i++) p[i] = ((unsigned char *)&canary)[i % 4];
}

/* data NULL: filled with canaries, an output */
static inline test_buffer test_upload(const void *data, size_t bytes) {
  test_buffer b = {NULL, NULL, bytes};
  size_t total = bytes + 2 * TEST_MARGIN;
  unsigned char *host = malloc(total);
  assert_non_null(host);
  test_canaries(host, 0, total);
  if (data != NULL) memcpy(host + TEST_MARGIN, data, bytes);
  CUDA_OK(cudaMalloc((void **)&b.base, total));
  CUDA_OK(cudaMemcpy(b.base, host, total, cudaMemcpyHostToDevice));
  b.d = b.base + TEST_MARGIN;
  free(host);
  return b;
}

static inline test_buffer test_output(size_t bytes) { return test_upload(NULL, bytes); }

/* n values as type t */
static inline test_buffer test_upload_as(lct_dtype t, const float *x, size_t n) {
  void *p = test_encode(t, x, n);
  test_buffer b = test_upload(p, n * test_size(t));
  free(p);
  return b;
}

/* A new copy of the buffer's bytes; what surrounds them must be untouched. Waits for the device. */
static inline void *test_download(const test_buffer *b) {
  size_t total = b->bytes + 2 * TEST_MARGIN;
  unsigned char *host = malloc(total), *want = malloc(total);
  assert_non_null(host);
  assert_non_null(want);
  CUDA_OK(cudaDeviceSynchronize());
  CUDA_OK(cudaMemcpy(host, b->base, total, cudaMemcpyDeviceToHost));
  test_canaries(want, 0, total);
  size_t end = TEST_MARGIN + b->bytes;
  for (size_t i = 0; i < TEST_MARGIN; i++) {
    if (host[i] != want[i]) fail_msg("byte %zu before the buffer of %zu bytes was written", TEST_MARGIN - i, b->bytes);
    if (host[end + i] != want[end + i]) fail_msg("byte %zu behind the buffer of %zu bytes was written", i, b->bytes);
  }
  memmove(host, host + TEST_MARGIN, b->bytes);
  free(want);
  return host;
}

static inline float *test_download_as(lct_dtype t, const test_buffer *b) {
  void *p = test_download(b);
  float *x = test_decode(t, p, b->bytes / test_size(t));
  free(p);
  return x;
}

/* The buffer holds exactly these bytes, its surroundings are untouched: an input after the kernel. */
static inline void test_unchanged(const test_buffer *b, const void *data) {
  void *p = test_download(b);
  assert_memory_equal(p, data, b->bytes);
  free(p);
}

static inline void test_release(test_buffer *b) {
  CUDA_OK(cudaFree(b->base));
  *b = (test_buffer){0};
}

/* Every byte is still a canary: an output that must not have been written. */
static inline bool test_is_blank(const void *host, size_t offset, size_t bytes) {
  uint32_t canary = TEST_CANARY;
  for (size_t i = 0; i < bytes; i++) {
    if (((const unsigned char *)host)[offset + i] != ((unsigned char *)&canary)[(offset + i) % 4]) return false;
  }
  return true;
}

/* ---- comparisons; NaN fails ---- */

static inline double test_relative_l2(const float *got, const double *want, size_t n) {
  double d = 0, w = 0;
  for (size_t i = 0; i < n; i++) {
    double e = (double)got[i] - want[i];
    d += e * e;
    w += want[i] * want[i];
  }
  return w > 0 ? sqrt(d / w) : sqrt(d);
}

#define assert_close_to(got, want, n, limit)                                                            \
  do {                                                                                                  \
    double close_ = test_relative_l2(got, want, n);                                                     \
    if (!(close_ <= (limit))) fail_msg("%s: relative L2 error %g > %g", #got, close_, (double)(limit)); \
  } while (0)

/* every element: |got - want| <= relative * |want| + absolute */
#define assert_each_close(got, want, n, relative, absolute)                                                                 \
  do {                                                                                                                      \
    for (size_t each_ = 0; each_ < (size_t)(n); each_++) {                                                                  \
      double w_ = (double)(want)[each_], g_ = (double)(got)[each_];                                                         \
      if (!(fabs(g_ - w_) <= (relative)*fabs(w_) + (absolute)))                                                             \
        fail_msg("%s[%zu] is %.9g, expected %.9g within %g relative, %g absolute", #got, each_, g_, w_, (double)(relative), \
                 (double)(absolute));                                                                                       \
    }                                                                                                                       \
  } while (0)

/* the same bits */
#define assert_same_bits(got, want, bytes)                                                                              \
  do {                                                                                                                  \
    const unsigned char *a_ = (const unsigned char *)(got), *b_ = (const unsigned char *)(want);                        \
    for (size_t byte_ = 0; byte_ < (size_t)(bytes); byte_++) {                                                          \
      if (a_[byte_] != b_[byte_]) fail_msg("%s and %s differ at byte %zu of %zu", #got, #want, byte_, (size_t)(bytes)); \
    }                                                                                                                   \
  } while (0)

/* A program that needs a GPU says so and ends with 77 where there is none. */
static inline void test_need_gpu(void) {
  int n = 0;
  cudaError_t code = cudaGetDeviceCount(&n);
  if (code == cudaSuccess && n > 0) return;
  print_message("skipped: no GPU: %s\n", code != cudaSuccess ? cudaGetErrorString(code) : "none found");
  exit(77);
}

#endif
