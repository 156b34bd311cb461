/* Speed of the CPU ops, one table on stdout: GEMM and GEMV at the shapes of real models, attention at growing lengths, row-wise
 * ops as shares of a layer's time.   bench_cpu_ops [exact|fast] [threads] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "cpu/cpu.h"

#define CHECK(expr)                                        \
  do {                                                     \
    if ((expr) != LCT_OK) {                                \
      fprintf(stderr, "bench_cpu_ops: %s\n", err.message); \
      exit(1);                                             \
    }                                                      \
  } while (0)

static lct_error err;
static const lct_ops *ops;
static lct_backend *be;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *filled(size_t n, lct_dtype type) {
  void *p = NULL;
  CHECK(lct_alloc_aligned(&p, n, type == LCT_DTYPE_F32 ? 4 : 2, "bench", &err));
  uint32_t seed = 1;
  for (size_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    float v = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    if (type == LCT_DTYPE_F32) {
      ((float *)p)[i] = v;
    } else {
      ((uint16_t *)p)[i] = lct_f32_to_bf16(v);
    }
  }
  return p;
}

/* Best of several runs, after one to warm up. */
#define BEST(seconds, reps, statement)             \
  do {                                             \
    statement;                                     \
    (seconds) = INFINITY;                          \
    for (int rep_ = 0; rep_ < (reps); rep_++) {    \
      double t_ = now();                           \
      statement;                                   \
      t_ = now() - t_;                             \
      (seconds) = t_ < (seconds) ? t_ : (seconds); \
    }                                              \
  } while (0)

static void bench_linear(int64_t k, int64_t n) {
  static const int rows[] = {1000, 300, 64, 28, 4, 1};
  uint16_t *w = filled((size_t)(k * n), LCT_DTYPE_BF16);
  void *x = filled((size_t)(1000 * k), ops->in_dtype(be));
  float *y = filled((size_t)(1000 * n), LCT_DTYPE_F32);
  lct_tensor t = {.name = "w", .dtype = LCT_DTYPE_BF16, .rows = n, .cols = k, .data = w};
  const lct_tensor *parts[] = {&t};
  lct_weight *weight = NULL;
  double s = now();
  CHECK(ops->weights.new(be, parts, NULL, 1, &weight, &err));
  s = now() - s;
  printf("linear %6lld x %-6lld pack %5.1f GB/s of bf16 |", (long long)k, (long long)n, (double)(k * n) * 2e-9 / s);
  for (int i = 0; i < 6; i++) {
    int m = rows[i];
    BEST(s, (double)k * (double)n * m > 1e10 ? 5 : 30, CHECK(ops->linear(be, weight, x, k, m, y, n, &err)));
    printf("  n=%d %.0f GF/s", m, 2e-9 * m * (double)k * (double)n / s);
  }
  CHECK(ops->begin_batch(be, &(lct_batch){.decode = true}, NULL, &err));
  BEST(s, 20, CHECK(ops->linear(be, weight, x, k, 1, y, n, &err)));
  printf("  decode %.1f GB/s of bf16 (%.0f us)\n", (double)(k * n) * 2e-9 / s, s * 1e6);
  CHECK(ops->begin_batch(be, &(lct_batch){.decode = false}, NULL, &err));
  ops->weights.free(be, weight);
  free(w);
  free(x);
  free(y);
}

static void bench_attention(int n_heads, int n_kv, int d, int n, int context) {
  lct_attn_shape shape = {n_heads, n_kv, d, 1.0f / sqrtf((float)d)};
  lct_kv_range range = {0, context};
  lct_segment seg = {.n_rows = n, .pos0 = context, .kv0 = context, .n_ranges = context > 0, .ranges = &range};
  lct_batch batch = {.n_rows = n, .n_segments = 1, .n_slots = context + n, .segments = &seg};
  lct_kv_layer kv = {filled((size_t)(context + n) * (size_t)(n_kv * d), LCT_DTYPE_F32),
                     filled((size_t)(context + n) * (size_t)(n_kv * d), LCT_DTYPE_F32)};
  float *q = filled((size_t)n * (size_t)(n_heads * d), LCT_DTYPE_F32), *out = filled((size_t)n * (size_t)(n_heads * d), LCT_DTYPE_F32);
  double s, pairs = (double)n * context + 0.5 * (double)n * (n + 1);
  BEST(s, 6, CHECK(ops->attention(be, q, &shape, &batch, kv, out, &err)));
  printf("attention %2d/%d heads of %3d, %5d rows after %5d: %9.1f us %6.0f GF/s\n", n_heads, n_kv, d, n, context, s * 1e6,
         4e-9 * pairs * n_heads * d / s);
  free(q);
  free(out);
  free(kv.k);
  free(kv.v);
}

/* Row-wise ops of one layer at n rows, against nothing: bytes moved a second. */
static void bench_rows(int n, int hidden, int inter, int n_heads, int n_kv, int d) {
  lct_attn_shape shape = {n_heads, n_kv, d, 1.0f};
  int width = (n_heads + 2 * n_kv) * d;
  float *x = filled((size_t)n * (size_t)hidden, LCT_DTYPE_F32), *y = filled((size_t)n * (size_t)hidden, LCT_DTYPE_F32);
  float *gu = filled((size_t)n * 2 * (size_t)inter, LCT_DTYPE_F32), *act = filled((size_t)n * (size_t)inter, LCT_DTYPE_F32);
  float *qkv = filled((size_t)n * (size_t)width, LCT_DTYPE_F32), *q = filled((size_t)n * (size_t)width, LCT_DTYPE_F32);
  lct_kv_layer kv = {filled((size_t)n * (size_t)width, LCT_DTYPE_F32), filled((size_t)n * (size_t)width, LCT_DTYPE_F32)};
  float *cs = filled((size_t)n * (size_t)d, LCT_DTYPE_F32);
  int32_t *pos = NULL;
  CHECK(lct_calloc(&pos, (size_t)n, sizeof *pos, "bench", &err));
  for (int i = 0; i < n; i++) pos[i] = i;
  memset(y, 0, (size_t)n * (size_t)hidden * 4);
  double norm, silu, rope, scan;
  BEST(norm, 20, CHECK(ops->add_rmsnorm(be, x, y, cs, 1e-5f, n, hidden, act, &err)));
  BEST(silu, 20, CHECK(ops->silu_mul(be, gu, n, inter, act, &err)));
  BEST(rope, 20, CHECK(ops->split_rope(be, qkv, &shape, NULL, NULL, 1e-5f, cs, pos, pos, n, q, kv, &err)));
  BEST(scan, 20, CHECK(ops->finite_check(be, x, n, hidden, 0, &err)));
  printf("rows %d x %d/%d: add_rmsnorm %.0f us, silu_mul %.0f us, split_rope %.0f us, finite_check %.0f us\n", n, hidden, inter, norm * 1e6,
         silu * 1e6, rope * 1e6, scan * 1e6);
  void *all[] = {x, y, gu, act, qkv, q, kv.k, kv.v, cs, pos};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

int main(int argc, char **argv) {
  lct_backend_options o = {.precision = argc > 1 && strcmp(argv[1], "fast") == 0 ? LCT_PRECISION_FAST : LCT_PRECISION_EXACT};
  CHECK(lct_threads_new(argc > 2 ? atoi(argv[2]) : 0, &o.threads, &err));
  lct_buf text = {0};
  ops = lct_cpu_ops();
  CHECK(lct_cpu_describe(&text, &err));
  double s = now();
  CHECK(ops->open(&o, &be, &err));
  printf("%s, %s, open %.1f ms\n", text.data, o.precision == LCT_PRECISION_FAST ? "fast" : "exact", (now() - s) * 1e3);
  static const int64_t shapes[][2] = {{576, 960},  {576, 576},  {576, 3072},  {1536, 576},   {896, 1152},
                                      {896, 9728}, {4864, 896}, {2048, 2560}, {2048, 22016}, {11008, 2048}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) bench_linear(shapes[i][0], shapes[i][1]);
  bench_attention(9, 3, 64, 1000, 0);
  bench_attention(9, 3, 64, 8000, 0);
  bench_attention(9, 3, 64, 3, 1000);
  bench_attention(9, 3, 64, 1, 1000);
  bench_attention(14, 2, 64, 1000, 0);
  bench_attention(16, 2, 128, 1000, 0);
  bench_attention(16, 2, 128, 8000, 0);
  bench_attention(16, 2, 128, 1, 8000);
  bench_rows(700, 576, 1536, 9, 3, 64);
  bench_rows(700, 2048, 11008, 16, 2, 128);
  ops->close(be);
  lct_threads_free(o.threads);
  lct_buf_free(&text);
  return 0;
}
