/* What the tests of the CPU ops share: inputs from an integer hash (the same as in tests/oracle/gen_cpu_ops.py), goldens, every
 * backend variant this machine has. */
#ifndef LCT_CPU_TEST_H
#define LCT_CPU_TEST_H

#include <math.h>

#include "threads_support.h"

#include "base/file.h"
#include "base/half.h"
#include "cpu/cpu.h"

#define CANARY 0x7fc0beefu /* a NaN: whatever reads it shows */

/* n floats in [-scale, scale) followed by 16 canaries. */
static inline float *test_values(uint32_t seed, size_t n, float scale) {
  float *p = NULL;
  lct_error err;
  assert_ok(lct_alloc_aligned(&p, n + 16, sizeof *p, "test", &err));
  for (size_t i = 0; i < n; i++) {
    uint32_t u = (uint32_t)i + seed * 0x9E3779B9u;
    u ^= u >> 16;
    u *= 0x7FEB352Du;
    u ^= u >> 15;
    u *= 0x846CA68Bu;
    u ^= u >> 16;
    p[i] = ((float)(u >> 8) * 0x1p-23f - 1.0f) * scale;
  }
  uint32_t canary = CANARY;
  for (size_t i = n; i < n + 16; i++) memcpy(p + i, &canary, 4);
  return p;
}

/* n floats of canary, followed by 16 more: an output buffer. */
static inline float *test_blank(size_t n) {
  float *p = malloc((n + 16) * sizeof *p);
  assert_non_null(p);
  uint32_t canary = CANARY;
  for (size_t i = 0; i < n + 16; i++) memcpy(p + i, &canary, 4);
  return p;
}

/* The canaries from element n on are untouched (bytes, for 16-bit outputs too). */
static inline void assert_canaries(const void *p, size_t bytes, size_t total_bytes) {
  const unsigned char *b = p;
  uint32_t canary = CANARY;
  for (size_t i = bytes; i < total_bytes; i++) assert_int_equal(b[i], ((unsigned char *)&canary)[i % 4]);
}

static inline uint16_t *test_bf16(const float *x, size_t n) {
  uint16_t *p = (uint16_t *)test_blank((n + 1) / 2);
  for (size_t i = 0; i < n; i++) p[i] = lct_f32_to_bf16(x[i]);
  return p;
}

static inline double relative_l2(const float *got, const float *want, size_t n) {
  double d = 0, w = 0;
  for (size_t i = 0; i < n; i++) {
    double e = (double)got[i] - (double)want[i];
    d += e * e;
    w += (double)want[i] * (double)want[i];
  }
  return w > 0 ? sqrt(d / w) : sqrt(d);
}

/* NaN fails: the comparison is written so that it does. */
#define assert_close(got, want, n, limit)                                                               \
  do {                                                                                                  \
    double close_ = relative_l2(got, want, n);                                                          \
    if (!(close_ <= (limit))) fail_msg("%s: relative L2 error %g > %g", #got, close_, (double)(limit)); \
  } while (0)

/* The largest error relative to the element's own value (absolute below 1e-30). */
static inline double worst_relative(const float *got, const float *want, size_t n) {
  double worst = 0;
  for (size_t i = 0; i < n; i++) {
    double w = fabs((double)want[i]), e = fabs((double)got[i] - (double)want[i]) / (w > 1e-30 ? w : 1);
    worst = e > worst || e != e ? e : worst;
  }
  return worst;
}

typedef struct {
  lct_buf bytes;
  const int32_t *header;
  const float *data;
} golden;

static inline golden test_golden(const char *kind, int i) {
  golden g = {0};
  lct_error err;
  char path[512];
  (void)snprintf(path, sizeof path, LCT_SOURCE_DIR "/tests/goldens/cpu/%s_%d.bin", kind, i);
  assert_ok(lct_file_read(path, 1 << 20, &g.bytes, &err));
  g.header = (const int32_t *)(const void *)g.bytes.data + 1;
  g.data = (const float *)(const void *)(g.header + g.header[-1]);
  return g;
}

enum { TEST_N_ISAS = 4 };
static const char *const test_isas[TEST_N_ISAS] = {"amx", "avx512", "avx2", "base"};

/* NULL when this machine cannot run the variant. */
static inline lct_backend *test_open(const char *isa, lct_precision precision, int n_threads) {
  lct_backend *be = NULL;
  lct_error err;
  assert_int_equal(setenv("LCT_CPU_ISA", isa, 1), 0);
  lct_backend_options o = {.precision = precision, .threads = test_threads(n_threads)};
  lct_status status = lct_cpu_ops()->open(&o, &be, &err);
  assert_int_equal(unsetenv("LCT_CPU_ISA"), 0);
  if (status == LCT_E_USAGE) {
    print_message("variant %s not run: %s\n", isa, err.message);
    return NULL;
  }
  assert_ok(status);
  return be;
}

/* Runs `statement` with `be` open on every variant, both precisions, 1 and 2 threads. */
#define FOR_EACH_BACKEND(statement)                                                   \
  for (int isa_ = 0; isa_ < TEST_N_ISAS; isa_++) {                                    \
    for (int mode_ = 0; mode_ < 4; mode_++) {                                         \
      lct_precision precision = mode_ < 2 ? LCT_PRECISION_EXACT : LCT_PRECISION_FAST; \
      lct_backend *be = test_open(test_isas[isa_], precision, 1 + mode_ % 2);         \
      if (be == NULL) break;                                                          \
      statement;                                                                      \
      lct_cpu_ops()->close(be);                                                       \
    }                                                                                 \
  }

#endif
