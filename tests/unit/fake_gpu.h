/* A CUDA backend for the tests of what lies above it: the CPU's ops under another name, that fail when told to. It takes the place of
 * cuda/ in the test's program. As it computes what the CPU does, a scan on it must leave the CPU's bytes. */
#ifndef LCT_FAKE_GPU_H
#define LCT_FAKE_GPU_H

#include "engine/ops.h"

typedef struct {
  int n_gpus;
  lct_gpu gpus[3];
  lct_status no_gpu;       /* what counting says */
  int32_t max_rows;        /* a larger batch is out of memory; 0: none is */
  int nomem_at, device_at; /* number of the pass that is out of memory once, that fails for good; 0: none */
  bool nomem_decode;       /* nomem_at counts decode passes alone */
  bool nomem_open;
  lct_conversion conversion;
  int n_passes, n_decodes, n_pooled;
  int32_t largest, last_rows;
  bool poisoned;
  lct_backend_options opened;
} fake_gpu;

static fake_gpu fake;

static lct_status fake_open(const lct_backend_options *o, lct_backend **out, lct_error *err) {
  fake.opened = *o;
  fake.poisoned = false;
  fake.n_passes = fake.n_decodes = 0;
  fake.largest = 0;
  if (fake.nomem_open) return lct_fail(err, LCT_E_NOMEM, "no room in the fake");
  lct_backend_options cpu = *o;
  cpu.precision = LCT_PRECISION_EXACT;
  return lct_cpu_ops()->open(&cpu, out, err);
}

static lct_status fake_begin(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err) {
  fake.n_passes++;
  fake.n_decodes += batch->decode;
  fake.last_rows = batch->n_rows;
  if (fake.device_at == fake.n_passes) fake.poisoned = true;
  if (fake.poisoned) return lct_fail(err, LCT_E_DEVICE, "CUDA: attention: the fake has failed");
  if (fake.max_rows > 0 && batch->n_rows > fake.max_rows) {
    return lct_fail(err, LCT_E_NOMEM, "no room in the fake for %d rows", batch->n_rows);
  }
  if (fake.nomem_at > 0 && fake.nomem_at == (fake.nomem_decode ? fake.n_decodes : fake.n_passes)) {
    fake.nomem_at = 0;
    return lct_fail(err, LCT_E_NOMEM, "no room in the fake this once");
  }
  if (batch->n_rows > fake.largest) fake.largest = batch->n_rows;
  return lct_cpu_ops()->begin_batch(be, batch, s, err);
}

/* The order of the sums is the pool's own on the host. */
static lct_status fake_pool_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, int dim, const lct_pooled *list,
                                 const lct_row_range *ranges, int n, float *dst, lct_error *err) {
  (void)be;
  fake.n_pooled++;
  if (dtype != LCT_DTYPE_F32) return lct_fail(err, LCT_E_UNSUPPORTED, "the fake pools float32 alone");
  for (int i = 0; i < n * dim; i++) {
    const lct_pooled *p = &list[i / dim];
    const float *column = (const float *)src + i % dim;
    double sum = 0;
    int count = 0;
    for (int r = p->first; r < p->first + p->n; r++) {
      for (int k = 0; k < ranges[r].n; k++) sum += (double)column[(ranges[r].first + k) * ld];
      count += ranges[r].n;
    }
    dst[i] = p->row >= 0 ? column[p->row * ld] : (float)(sum / count);
  }
  return LCT_OK;
}

static lct_status fake_conversion(lct_backend *be, lct_conversion *out, lct_error *err) {
  (void)be;
  (void)err;
  *out = fake.conversion;
  return LCT_OK;
}

const lct_ops *lct_cuda_ops(void) {
  static lct_ops ops;
  ops = *lct_cpu_ops();
  ops.name = "fake";
  ops.host_memory = false;
  ops.open = fake_open;
  ops.begin_batch = fake_begin;
  ops.rows.pool = fake_pool_rows;
  ops.weights.conversion = fake_conversion;
  return &ops;
}

const char *lct_cuda_build(void) { return "CUDA 0.0"; }

lct_status lct_cuda_count(int *n, lct_error *err) {
  *n = fake.n_gpus;
  return fake.no_gpu == LCT_OK ? LCT_OK : lct_fail(err, fake.no_gpu, "the fake is not plugged in");
}

lct_status lct_cuda_gpu(int device, lct_gpu *out, lct_error *err) {
  if (device >= fake.n_gpus) return lct_fail(err, LCT_E_USAGE, "no GPU %d", device);
  *out = fake.gpus[device];
  return LCT_OK;
}

#endif
