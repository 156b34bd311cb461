/* What the machine and cuBLASLt can do, measured in the same run as everything else. */
#include <math.h>
#include <string.h>

#include "cublaslt.h"
#include "gpu.h"

#define MAX_ALGOS 16
#define WORKSPACE ((size_t)64 << 20)
#define LOOPS 4 /* products (copies) between two events */

static cudaStream_t stream;
static cudaEvent_t mark[2];

static void prepare(void) {
  if (stream != NULL) return;
  BENCH_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  BENCH_CUDA(cudaEventCreate(&mark[0]));
  BENCH_CUDA(cudaEventCreate(&mark[1]));
}

static void start(void) { BENCH_CUDA(cudaEventRecord(mark[0], stream)); }

static double stop(void) {
  float ms = 0;
  BENCH_CUDA(cudaEventRecord(mark[1], stream));
  BENCH_CUDA(cudaEventSynchronize(mark[1]));
  BENCH_CUDA(cudaEventElapsedTime(&ms, mark[0], mark[1]));
  return (double)ms * 1e-3 / LOOPS;
}

double bench_copy_rate(size_t bytes, int repeats) {
  prepare();
  void *from = NULL, *to = NULL;
  double seconds[BENCH_MAX_REPEATS];
  BENCH_CUDA(cudaMalloc(&from, bytes));
  BENCH_CUDA(cudaMalloc(&to, bytes));
  BENCH_CUDA(cudaMemsetAsync(from, 1, bytes, stream));
  for (int r = -1; r < repeats; r++) {
    start();
    for (int i = 0; i < LOOPS; i++) BENCH_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
    double t = stop();
    if (r >= 0) seconds[r] = t;
  }
  BENCH_CUDA(cudaFree(from));
  BENCH_CUDA(cudaFree(to));
  return 2.0 * (double)bytes / bench_summary(seconds, repeats).median;
}

/* One product: the library's handles and the buffers. */
typedef struct {
  lct_cublaslt lt;
  lct_lt_handle handle;
  lct_lt_desc desc;
  lct_lt_layout w, x, y;
  lct_lt_pref pref;
  void *d_w, *d_x, *d_y, *workspace;
} product;

/* Random numbers: zeros would run faster than any real product. */
static void *filled(lct_dtype t, size_t n, float scale) {
  void *d = NULL;
  size_t piece = n < ((size_t)1 << 22) ? n : (size_t)1 << 22;
  float *host = NULL, *d_host = NULL;
  uint64_t *counts = NULL;
  BENCH_TRY(lct_alloc_aligned(&host, piece, sizeof *host, "random numbers", &bench_error));
  uint32_t seed = 7;
  for (size_t i = 0; i < piece; i++) {
    seed = seed * 1664525u + 1013904223u;
    host[i] = ((float)(seed >> 8) * 0x1p-23f - 1.0f) * scale;
  }
  BENCH_CUDA(cudaMalloc(&d, n * 2));
  BENCH_CUDA(cudaMalloc((void **)&d_host, piece * sizeof *host));
  BENCH_CUDA(cudaMalloc((void **)&counts, 3 * sizeof *counts));
  BENCH_CUDA(cudaMemcpy(d_host, host, piece * sizeof *host, cudaMemcpyHostToDevice));
  for (size_t i = 0; i < n; i += piece) {
    int64_t k = (int64_t)(n - i < piece ? n - i : piece);
    BENCH_TRY(lct_k_convert(LCT_DTYPE_F32, d_host, k, t, (char *)d + i * 2, counts, stream, &bench_error));
  }
  BENCH_CUDA(cudaStreamSynchronize(stream));
  BENCH_CUDA(cudaFree(d_host));
  BENCH_CUDA(cudaFree(counts));
  free(host);
  return d;
}

static bool ok(lct_lt_status status, const char *what) {
  if (status != LCT_LT_OK) fprintf(stderr, "bench_gpu: %s: %s\n", what, lct_cublaslt_status(status));
  return status == LCT_LT_OK;
}

/* y^T (out, n) = w^T (in, out)^T x^T (in, n) in the library's column-major words. */
static bool describe(product *p, lct_dtype t, uint64_t in, uint64_t out, uint64_t n) {
  const lct_lt_type type = t == LCT_DTYPE_BF16 ? LCT_LT_R_16BF : LCT_LT_R_16F;
  const int transposed = LCT_LT_OP_T;
  const uint64_t workspace = WORKSPACE;
  return ok(p->lt.create(&p->handle), "cublasLtCreate") &&
         ok(p->lt.desc_create(&p->desc, LCT_LT_COMPUTE_32F, LCT_LT_R_32F), "cublasLtMatmulDescCreate") &&
         ok(p->lt.desc_set(p->desc, LCT_LT_DESC_TRANSA, &transposed, sizeof transposed), "transpose") &&
         ok(p->lt.layout_create(&p->w, type, in, out, (int64_t)in), "layout of w") &&
         ok(p->lt.layout_create(&p->x, type, in, n, (int64_t)in), "layout of x") &&
         ok(p->lt.layout_create(&p->y, type, out, n, (int64_t)out), "layout of y") &&
         ok(p->lt.pref_create(&p->pref), "cublasLtMatmulPreferenceCreate") &&
         ok(p->lt.pref_set(p->pref, LCT_LT_PREF_WORKSPACE, &workspace, sizeof workspace), "workspace");
}

static void close_product(product *p) {
  if (p->pref != NULL) (void)p->lt.pref_destroy(p->pref);
  if (p->y != NULL) (void)p->lt.layout_destroy(p->y);
  if (p->x != NULL) (void)p->lt.layout_destroy(p->x);
  if (p->w != NULL) (void)p->lt.layout_destroy(p->w);
  if (p->desc != NULL) (void)p->lt.desc_destroy(p->desc);
  if (p->handle != NULL) (void)p->lt.destroy(p->handle);
  lct_cublaslt_close(&p->lt);
}

/* Median seconds of one product, INFINITY when the algorithm fails. */
static double time_algo(product *p, const lct_lt_algo *algo, int repeats) {
  const float one = 1, zero = 0;
  double seconds[BENCH_MAX_REPEATS];
  for (int r = -1; r < repeats; r++) {
    start();
    for (int i = 0; i < LOOPS; i++) {
      if (p->lt.matmul(p->handle, p->desc, &one, p->d_w, p->w, p->d_x, p->x, &zero, p->d_y, p->y, p->d_y, p->y, algo, p->workspace,
                       WORKSPACE, stream) != LCT_LT_OK) {
        return INFINITY;
      }
    }
    double t = stop();
    if (r >= 0) seconds[r] = t;
  }
  return bench_summary(seconds, repeats).median;
}

static double fastest(product *p, lct_dtype t, int64_t in, int64_t out, int n, int repeats) {
  lct_lt_result found[MAX_ALGOS];
  int n_found = 0;
  double best = INFINITY;
  int best_at = -1;
  if (describe(p, t, (uint64_t)in, (uint64_t)out, (uint64_t)n) &&
      ok(p->lt.heuristic(p->handle, p->desc, p->w, p->x, p->y, p->y, p->pref, MAX_ALGOS, found, &n_found),
         "cublasLtMatmulAlgoGetHeuristic")) {
    BENCH_CUDA(cudaMalloc(&p->workspace, WORKSPACE));
    for (int i = 0; i < n_found; i++) {
      double seconds = time_algo(p, &found[i].algo, 3);
      if (seconds < best) best = seconds, best_at = i;
    }
    if (best_at >= 0) best = time_algo(p, &found[best_at].algo, repeats);
    BENCH_CUDA(cudaFree(p->workspace));
  }
  return best;
}

static double own_choice(const product *p, lct_dtype t, int64_t in, int64_t out, int n, int repeats) {
  lct_gemm *g = NULL;
  double seconds[BENCH_MAX_REPEATS];
  BENCH_TRY(lct_gemm_open(t, stream, &g, &bench_error));
  for (int r = -1; r < repeats; r++) {
    if (r >= 0) start();
    for (int i = 0; i < LOOPS; i++) {
      BENCH_TRY(lct_gemm_run(g, false, p->d_w, NULL, in, out, p->d_x, in, n, p->d_y, out, &bench_error));
    }
    if (r >= 0) seconds[r] = stop();
  }
  BENCH_CUDA(cudaStreamSynchronize(stream));
  lct_gemm_close(g);
  return bench_summary(seconds, repeats).median;
}

void bench_gemm_rate(lct_dtype t, int64_t in, int64_t out, int n, int repeats, double *library, double *own) {
  product p = {0};
  lct_error err = {0};
  prepare();
  *library = *own = 0;
  p.d_w = filled(t, (size_t)(in * out), 1.0f / sqrtf((float)in));
  p.d_x = filled(t, (size_t)(in * n), 1.0f);
  BENCH_CUDA(cudaMalloc(&p.d_y, (size_t)(out * n) * 2));
  double flops = 2.0 * (double)in * (double)out * (double)n;
  if (lct_cublaslt_open(&p.lt, &err) == LCT_OK) *library = flops / fastest(&p, t, in, out, n, repeats);
  else fprintf(stderr, "bench_gpu: cuBLASLt's own rate is not measured: %s\n", err.message);
  *own = flops / own_choice(&p, t, in, out, n, repeats);
  close_product(&p);
  void *buffers[] = {p.d_w, p.d_x, p.d_y};
  for (int i = 0; i < 3; i++) BENCH_CUDA(cudaFree(buffers[i]));
}
