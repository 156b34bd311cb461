/* A cuBLASLt on the host: what cuda/gemm.c loads (LCT_CUBLASLT names this library), with the real library's numbers and meaning:
 * D = alpha op(A) op(B) + beta C, f16 or bf16 in and out, f32 sums, bias. The sum over k is taken in an order of its own for each
 * algorithm:
 *   1, 2  the same order whatever the number of columns
 *   3     depends on the number of columns of D, and rounds to 16 bits in between, as a split K does: every count has other bits
 *   4     the same as 1, but says that it splits K
 *   5     as 3, but depends on the column's place in D, as a stream K does
 * SHIM_CUBLASLT=normal offers 1, 2; variant 3, 4; mixed 3, 4, 1; placed 5. Work is queued on the stream when the shim's runtime is in
 * the program. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include <cuda_runtime_api.h>

#include "base/half.h"

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16F = 2, R_16BF = 14 };
enum { COMPUTE_32F = 68 };
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4 };
enum { LAYOUT_TYPE, LAYOUT_ORDER, LAYOUT_ROWS, LAYOUT_COLS, LAYOUT_LD, LAYOUT_BATCH_COUNT };
enum { DESC_COMPUTE, DESC_SCALE, DESC_POINTER_MODE, DESC_TRANSA, DESC_TRANSB, DESC_EPILOGUE = 7, DESC_BIAS = 8, DESC_BIAS_TYPE = 26 };
enum { PREF_SEARCH, PREF_WORKSPACE, PREF_REDUCTION_MASK = 3, PREF_ALIGN_A = 5, PREF_ALIGN_D = 8, PREF_MAX_WAVES = 9, PREF_IMPL_MASK = 12 };
enum { CONFIG_ID, CONFIG_TILE, CONFIG_SPLITK, CONFIG_REDUCTION, CONFIG_INNER = 7, CONFIG_CLUSTER = 8 };
enum { ALGO_PLAIN = 1, ALGO_OTHER = 2, ALGO_VARIANT = 3, ALGO_SPLIT = 4, ALGO_PLACED = 5 };

struct handle {
  uint64_t magic;
};
struct layout { /* column-major */
  int type;
  uint64_t rows, cols;
  int64_t ld;
};
struct desc {
  int compute, scale, trans_a, trans_b;
  uint32_t epilogue;
  const void *bias;
};
struct preference {
  uint64_t workspace;
};
struct algorithm {
  uint64_t data[8]; /* [0]: the id */
};
struct heuristic {
  algorithm algo;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

struct work {
  desc d;
  layout a, b, c, out;
  const void *pa, *pb, *pc;
  void *pd;
  float alpha, beta;
  int algo;
};

static const uint64_t magic = 0x6c6c6d6374;

template <typename T>
static int take(T *dst, const void *buf, size_t bytes) {
  if (buf == nullptr || bytes != sizeof *dst) return INVALID_VALUE;
  memcpy(dst, buf, sizeof *dst);
  return SUCCESS;
}

static bool sixteen(int type) { return type == R_16F || type == R_16BF; }
static float value(int type, uint16_t bits) { return type == R_16F ? lct_f16_to_f32(bits) : lct_bf16_to_f32(bits); }
static uint16_t rounded(int type, float x) { return type == R_16F ? lct_f32_to_f16(x) : lct_f32_to_bf16(x); }

/* m, n, k of D (m, n) = op(A) (m, k) op(B) (k, n); false when the operands do not fit together or are of a kind that is not here */
static int check(const desc *d, const layout *a, const layout *b, const layout *c, const layout *out, uint64_t mnk[3]) {
  if (d == nullptr || a == nullptr || b == nullptr || c == nullptr || out == nullptr) return INVALID_VALUE;
  uint64_t m = d->trans_a ? a->cols : a->rows, k = d->trans_a ? a->rows : a->cols;
  uint64_t n = d->trans_b ? b->rows : b->cols, k2 = d->trans_b ? b->cols : b->rows;
  if (k != k2 || m != out->rows || n != out->cols || m != c->rows || n != c->cols || m == 0 || n == 0 || k == 0) return INVALID_VALUE;
  const layout *all[] = {a, b, c, out};
  for (const layout *l : all) {
    if (!sixteen(l->type) || l->type != a->type) return NOT_SUPPORTED;
    if (l->ld < (int64_t)l->rows) return INVALID_VALUE;
    if (l->ld % 8 != 0) return NOT_SUPPORTED; /* the fast algorithms want 16-byte aligned columns */
  }
  if (d->compute != COMPUTE_32F || d->scale != R_32F) return NOT_SUPPORTED;
  if (d->epilogue != EPILOGUE_DEFAULT && d->epilogue != EPILOGUE_BIAS) return NOT_SUPPORTED;
  mnk[0] = m;
  mnk[1] = n;
  mnk[2] = k;
  return SUCCESS;
}

/* ---- the product ---- */

struct values { /* of all 16-bit patterns */
  std::vector<float> f16, bf16;
  values() : f16(65536), bf16(65536) {
    for (unsigned i = 0; i < 65536; i++) {
      f16[i] = lct_f16_to_f32((uint16_t)i);
      bf16[i] = lct_bf16_to_f32((uint16_t)i);
    }
  }
};

/* Vectors along k, dense and in f32: vector i of n. */
static std::vector<float> unpack(const void *p, const layout *l, bool along_columns, uint64_t n, uint64_t k) {
  static const values table;
  const float *of = l->type == R_16F ? table.f16.data() : table.bf16.data();
  const uint16_t *bits = (const uint16_t *)p;
  size_t step = along_columns ? 1 : (size_t)l->ld, next = along_columns ? (size_t)l->ld : 1;
  std::vector<float> out(n * k);
  for (uint64_t i = 0; i < n; i++) {
    for (uint64_t j = 0; j < k; j++) out[i * k + j] = of[bits[i * next + j * step]];
  }
  return out;
}

/* 16 sums side by side, then those in a tree: one order for everything. */
static float dot(const float *a, const float *b, uint64_t k) {
  float sums[16] = {0};
  uint64_t j = 0;
  for (; j + 16 <= k; j += 16) {
    for (int i = 0; i < 16; i++) sums[i] += a[j + (uint64_t)i] * b[j + (uint64_t)i];
  }
  for (int i = 0; j < k; j++, i++) sums[i] += a[j] * b[j];
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  }
  return sums[0];
}

static float variant_dot(int type, const float *a, const float *b, uint64_t k, uint64_t n) {
  uint64_t cut = n * 40503u / 8 % k;
  float head = value(type, rounded(type, dot(a, b, cut)));
  return head + dot(a + cut, b + cut, k - cut);
}

static void multiply(const work *w) {
  uint64_t mnk[3];
  if (check(&w->d, &w->a, &w->b, &w->c, &w->out, mnk) != SUCCESS) return;
  uint64_t m = mnk[0], n = mnk[1], k = mnk[2];
  std::vector<float> b = unpack(w->pb, &w->b, !w->d.trans_b, n, k);
  int type = w->out.type;
  const uint16_t *bias = (const uint16_t *)w->d.bias, *c = (const uint16_t *)w->pc;
  uint16_t *out = (uint16_t *)w->pd;
  const uint64_t rows = 64; /* of op(A) unpacked at once */
  for (uint64_t m0 = 0; m0 < m; m0 += rows) {
    uint64_t count = m - m0 < rows ? m - m0 : rows;
    size_t offset = w->d.trans_a ? m0 * (size_t)w->a.ld : m0;
    std::vector<float> a = unpack((const uint16_t *)w->pa + offset, &w->a, w->d.trans_a, count, k);
    for (uint64_t j = 0; j < n; j++) {
      for (uint64_t i = 0; i < count; i++) {
        const float *x = &a[i * k], *y = &b[j * k];
        bool cut = w->algo == ALGO_VARIANT || w->algo == ALGO_PLACED;
        float sum = w->alpha * (cut ? variant_dot(type, x, y, k, w->algo == ALGO_VARIANT ? n : j) : dot(x, y, k));
        if (w->beta != 0) sum += w->beta * value(type, c[m0 + i + j * (size_t)w->c.ld]);
        if (w->d.epilogue == EPILOGUE_BIAS) sum += value(type, bias[m0 + i]);
        out[m0 + i + j * (size_t)w->out.ld] = rounded(type, sum);
      }
    }
  }
}

static void run(void *arg) { multiply((work *)arg); }
static void release(void *arg) { delete (work *)arg; }

static bool on_device(const void *p, const layout *l) {
  typedef int (*function)(const void *, size_t);
  function f = (function)dlsym(RTLD_DEFAULT, "shim_is_device");
  return f == nullptr || f(p, (((size_t)l->cols - 1) * (size_t)l->ld + l->rows) * 2) != 0;
}

extern "C" {
#define EXPORT __attribute__((visibility("default")))

EXPORT size_t cublasLtGetVersion(void);
EXPORT const char *cublasLtGetStatusString(int status);
EXPORT const char *cublasLtGetStatusName(int status);
EXPORT int cublasLtCreate(handle **h);
EXPORT int cublasLtDestroy(handle *h);
EXPORT int cublasLtMatmulDescCreate(desc **d, int compute, int scale);
EXPORT int cublasLtMatmulDescDestroy(desc *d);
EXPORT int cublasLtMatmulDescSetAttribute(desc *d, int attr, const void *buf, size_t bytes);
EXPORT int cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld);
EXPORT int cublasLtMatrixLayoutDestroy(layout *l);
EXPORT int cublasLtMatrixLayoutSetAttribute(layout *l, int attr, const void *buf, size_t bytes);
EXPORT int cublasLtMatmulPreferenceCreate(preference **p);
EXPORT int cublasLtMatmulPreferenceDestroy(preference *p);
EXPORT int cublasLtMatmulPreferenceSetAttribute(preference *p, int attr, const void *buf, size_t bytes);
EXPORT int cublasLtMatmulAlgoGetHeuristic(handle *h, const desc *d, const layout *a, const layout *b, const layout *c, const layout *out,
                                          const preference *p, int wanted, heuristic *results, int *n_results);
EXPORT int cublasLtMatmulAlgoConfigGetAttribute(const algorithm *algo, int attr, void *buf, size_t bytes, size_t *written);
EXPORT int cublasLtMatmulAlgoCheck(handle *h, const desc *d, const layout *a, const layout *b, const layout *c, const layout *out,
                                   const algorithm *algo, heuristic *result);
EXPORT int cublasLtMatmul(handle *h, const desc *d, const void *alpha, const void *pa, const layout *a, const void *pb, const layout *b,
                          const void *beta, const void *pc, const layout *c, void *pd, const layout *out, const algorithm *algo,
                          void *workspace, size_t workspace_bytes, cudaStream_t stream);

size_t cublasLtGetVersion(void) { return 130000; }

const char *cublasLtGetStatusName(int status) {
  switch (status) {
  case SUCCESS: return "CUBLAS_STATUS_SUCCESS";
  case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
  case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
  case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
  case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  default: return "CUBLAS_STATUS_UNKNOWN";
  }
}

const char *cublasLtGetStatusString(int status) {
  switch (status) {
  case SUCCESS: return "success";
  case NOT_INITIALIZED: return "the library was not initialized";
  case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
  case EXECUTION_FAILED: return "the GPU program failed to execute";
  case NOT_SUPPORTED: return "the functionality requested is not supported";
  default: return "<unknown>";
  }
}

int cublasLtCreate(handle **h) {
  if (h == nullptr) return INVALID_VALUE;
  *h = new handle{magic};
  return SUCCESS;
}

int cublasLtDestroy(handle *h) {
  if (h == nullptr || h->magic != magic) return NOT_INITIALIZED;
  delete h;
  return SUCCESS;
}

int cublasLtMatmulDescCreate(desc **d, int compute, int scale) {
  if (d == nullptr) return INVALID_VALUE;
  *d = new desc{compute, scale, 0, 0, EPILOGUE_DEFAULT, nullptr};
  return SUCCESS;
}

int cublasLtMatmulDescDestroy(desc *d) {
  delete d;
  return SUCCESS;
}

int cublasLtMatmulDescSetAttribute(desc *d, int attr, const void *buf, size_t bytes) {
  if (d == nullptr) return INVALID_VALUE;
  int32_t mode = 0;
  switch (attr) {
  case DESC_COMPUTE: return take(&d->compute, buf, bytes);
  case DESC_SCALE: return take(&d->scale, buf, bytes);
  case DESC_TRANSA: return take(&d->trans_a, buf, bytes);
  case DESC_TRANSB: return take(&d->trans_b, buf, bytes);
  case DESC_EPILOGUE: return take(&d->epilogue, buf, bytes);
  case DESC_BIAS: return take(&d->bias, buf, bytes);
  case DESC_BIAS_TYPE: return take(&mode, buf, bytes);
  case DESC_POINTER_MODE: return take(&mode, buf, bytes) == SUCCESS && mode == 0 ? SUCCESS : NOT_SUPPORTED;
  default: return NOT_SUPPORTED;
  }
}

int cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  if (l == nullptr) return INVALID_VALUE;
  *l = new layout{type, rows, cols, ld};
  return SUCCESS;
}

int cublasLtMatrixLayoutDestroy(layout *l) {
  delete l;
  return SUCCESS;
}

int cublasLtMatrixLayoutSetAttribute(layout *l, int attr, const void *buf, size_t bytes) {
  if (l == nullptr) return INVALID_VALUE;
  int32_t n = 0;
  switch (attr) {
  case LAYOUT_TYPE: return take(&l->type, buf, bytes);
  case LAYOUT_ORDER: return take(&n, buf, bytes) == SUCCESS && n == 0 ? SUCCESS : NOT_SUPPORTED;
  case LAYOUT_ROWS: return take(&l->rows, buf, bytes);
  case LAYOUT_COLS: return take(&l->cols, buf, bytes);
  case LAYOUT_LD: return take(&l->ld, buf, bytes);
  case LAYOUT_BATCH_COUNT: return take(&n, buf, bytes) == SUCCESS && n == 1 ? SUCCESS : NOT_SUPPORTED;
  default: return NOT_SUPPORTED;
  }
}

int cublasLtMatmulPreferenceCreate(preference **p) {
  if (p == nullptr) return INVALID_VALUE;
  *p = new preference{0};
  return SUCCESS;
}

int cublasLtMatmulPreferenceDestroy(preference *p) {
  delete p;
  return SUCCESS;
}

int cublasLtMatmulPreferenceSetAttribute(preference *p, int attr, const void *buf, size_t bytes) {
  if (p == nullptr) return INVALID_VALUE;
  uint32_t ignored = 0;
  uint64_t ignored_long = 0;
  float waves = 0;
  switch (attr) {
  case PREF_WORKSPACE: return take(&p->workspace, buf, bytes);
  case PREF_IMPL_MASK: return take(&ignored_long, buf, bytes);
  case PREF_MAX_WAVES: return take(&waves, buf, bytes);
  default: break;
  }
  if (attr == PREF_SEARCH || attr == PREF_REDUCTION_MASK || (attr >= PREF_ALIGN_A && attr <= PREF_ALIGN_D))
    return take(&ignored, buf, bytes);
  return NOT_SUPPORTED;
}

int cublasLtMatmulAlgoCheck(handle *h, const desc *d, const layout *a, const layout *b, const layout *c, const layout *out,
                            const algorithm *algo, heuristic *result) {
  if (h == nullptr || h->magic != magic) return NOT_INITIALIZED;
  if (algo == nullptr || result == nullptr || algo->data[0] < ALGO_PLAIN || algo->data[0] > ALGO_PLACED) return INVALID_VALUE;
  uint64_t mnk[3];
  int code = check(d, a, b, c, out, mnk);
  *result = heuristic{*algo, 0, code, 1.0f, {0}};
  return code;
}

int cublasLtMatmulAlgoGetHeuristic(handle *h, const desc *d, const layout *a, const layout *b, const layout *c, const layout *out,
                                   const preference *p, int wanted, heuristic *results, int *n_results) {
  if (h == nullptr || h->magic != magic) return NOT_INITIALIZED;
  if (p == nullptr || results == nullptr || n_results == nullptr || wanted < 1) return INVALID_VALUE;
  *n_results = 0;
  uint64_t mnk[3];
  int code = check(d, a, b, c, out, mnk);
  if (code != SUCCESS) return code;
  const char *mode = getenv("SHIM_CUBLASLT");
  std::vector<uint64_t> ids = {ALGO_PLAIN, ALGO_OTHER};
  if (mode != nullptr && strcmp(mode, "variant") == 0) ids = {ALGO_VARIANT, ALGO_SPLIT};
  if (mode != nullptr && strcmp(mode, "mixed") == 0) ids = {ALGO_VARIANT, ALGO_SPLIT, ALGO_PLAIN};
  if (mode != nullptr && strcmp(mode, "placed") == 0) ids = {ALGO_PLACED};
  for (uint64_t id : ids) {
    if (*n_results == wanted) break;
    results[(*n_results)++] = heuristic{{{id}}, 0, SUCCESS, 1.0f, {0}};
  }
  return SUCCESS;
}

int cublasLtMatmulAlgoConfigGetAttribute(const algorithm *algo, int attr, void *buf, size_t bytes, size_t *written) {
  if (algo == nullptr || attr < CONFIG_ID || attr > CONFIG_CLUSTER) return INVALID_VALUE;
  uint32_t n = 0;
  if (attr == CONFIG_ID) n = (uint32_t)algo->data[0];
  if (attr == CONFIG_TILE) n = 20; /* 128x128 */
  if (attr == CONFIG_SPLITK) n = algo->data[0] == ALGO_SPLIT ? 2 : 1;
  if (attr == CONFIG_REDUCTION) n = algo->data[0] == ALGO_SPLIT ? 2 : 0;
  size_t size = attr >= CONFIG_INNER ? 2 : 4;
  if (written != nullptr) *written = size;
  if (buf == nullptr) return SUCCESS;
  if (bytes < size) return INVALID_VALUE;
  memcpy(buf, &n, size); /* little-endian */
  return SUCCESS;
}

int cublasLtMatmul(handle *h, const desc *d, const void *alpha, const void *pa, const layout *a, const void *pb, const layout *b,
                   const void *beta, const void *pc, const layout *c, void *pd, const layout *out, const algorithm *algo, void *, size_t,
                   cudaStream_t stream) {
  if (h == nullptr || h->magic != magic) return NOT_INITIALIZED;
  uint64_t mnk[3];
  int code = check(d, a, b, c, out, mnk);
  if (code != SUCCESS) return code;
  if (alpha == nullptr || beta == nullptr || pa == nullptr || pb == nullptr || pc == nullptr || pd == nullptr) return INVALID_VALUE;
  if (algo != nullptr && (algo->data[0] < ALGO_PLAIN || algo->data[0] > ALGO_PLACED)) return INVALID_VALUE;
  if (d->epilogue == EPILOGUE_BIAS && d->bias == nullptr) return INVALID_VALUE;
  if (((uintptr_t)pa | (uintptr_t)pb | (uintptr_t)pc | (uintptr_t)pd) % 16 != 0) return NOT_SUPPORTED;
  layout bias = {d->compute, mnk[0], 1, (int64_t)mnk[0]};
  if (!on_device(pa, a) || !on_device(pb, b) || !on_device(pc, c) || !on_device(pd, out) ||
      (d->epilogue == EPILOGUE_BIAS && !on_device(d->bias, &bias)))
    return EXECUTION_FAILED;
  work *w = new work{*d, *a, *b, *c, *out, pa, pb, pc, pd, 0, 0, algo != nullptr ? (int)algo->data[0] : ALGO_PLAIN};
  memcpy(&w->alpha, alpha, 4);
  memcpy(&w->beta, beta, 4);
  typedef int (*function)(cudaStream_t, void (*)(void *), void (*)(void *), void *);
  function push = (function)dlsym(RTLD_DEFAULT, "shim_stream_push");
  if (push != nullptr) return push(stream, run, release, w) == 0 ? SUCCESS : EXECUTION_FAILED;
  run(w);
  release(w);
  return SUCCESS;
}
}
