/* The CUDA backend: opening and closing, and the ops table. One stream; everything on it runs in order. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define PINNED_BYTES ((size_t)16 << 20) /* host staging: a read of tap rows travels in pieces of this size */

static void backend_close(lct_backend *be) {
  if (be == NULL) return;
  (void)cudaSetDevice(be->device);
  if (be->stream != NULL) (void)cudaStreamSynchronize(be->stream);
  lct_gemm_close(be->gemm);
  lct_cuda_upload_free(be->upload);
  lct_cuda_work_free(&be->work);
  lct_cuda_scratch_free(&be->stage);
  lct_cuda_scratch_free(&be->ids);
  (void)cudaFree(be->d_first);
  (void)cudaFree(be->d_counts);
  (void)cudaFreeHost(be->pinned);
  if (be->stream != NULL) (void)cudaStreamDestroy(be->stream);
  free(be);
}

static lct_status open_device(lct_backend *be, const lct_backend_options *o, lct_error *err) {
  lct_gpu gpu;
  LCT_TRY(lct_cuda_gpu(o->device, &gpu, err));
  if (!gpu.usable) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "GPU %d (%s, compute capability %d.%d): this build has no code for it (%s)", o->device,
                    gpu.name, gpu.sm / 10, gpu.sm % 10, lct_cuda_targets());
  }
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(lct_cuda_check(be, cudaStreamCreateWithFlags(&be->stream, cudaStreamNonBlocking), "cudaStreamCreate", err));
  LCT_TRY(lct_cuda_check(be, cudaMallocHost(&be->pinned, PINNED_BYTES), "pinned host memory", err));
  be->pinned_bytes = PINNED_BYTES;
  LCT_TRY(lct_cuda_alloc(be, sizeof *be->d_first, "checks", (void **)&be->d_first, err));
  LCT_TRY(lct_cuda_alloc(be, 3 * sizeof *be->d_counts, "counters", (void **)&be->d_counts, err));
  LCT_TRY(lct_cuda_check(be, cudaMemsetAsync(be->d_first, 0xff, sizeof *be->d_first, be->stream), "cudaMemset", err));
  LCT_TRY(lct_cuda_check(be, cudaMemsetAsync(be->d_counts, 0, 3 * sizeof *be->d_counts, be->stream), "cudaMemset", err));
  return lct_gemm_open(be->t, be->stream, &be->gemm, err);
}

static lct_status backend_open(const lct_backend_options *o, lct_backend **out, lct_error *err) {
  *out = NULL;
  if (o->precision == LCT_PRECISION_EXACT) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "precision exact (float32 throughout) is the CPU's; a GPU computes in f16 or bf16");
  }
  lct_backend *be = NULL;
  LCT_TRY(lct_calloc(&be, 1, sizeof *be, "CUDA backend", err));
  be->device = o->device;
  be->threads = o->threads;
  be->t = o->precision == LCT_PRECISION_BF16 ? LCT_DTYPE_BF16 : LCT_DTYPE_F16;
  const char *sync = getenv("LCT_CUDA_SYNC");
  be->sync = sync != NULL && strcmp(sync, "1") == 0;
  lct_status status = open_device(be, o, err);
  if (status != LCT_OK) {
    backend_close(be);
    return status;
  }
  *out = be;
  return LCT_OK;
}

static lct_dtype type_of(const lct_backend *be) { return be->t; }

static size_t kv_row_bytes(const lct_backend *be, const lct_attn_shape *s) {
  (void)be;
  return (size_t)s->n_kv_heads * (size_t)s->head_dim * 2;
}

static lct_status op_alloc(lct_backend *be, size_t bytes, void **out, lct_error *err) {
  *out = NULL;
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_alloc(be, bytes, "a buffer", out, err);
}

static void op_free(lct_backend *be, void *p) {
  (void)cudaSetDevice(be->device);
  (void)cudaFree(p);
}

/* From pageable memory the call returns once the source has been read, so the caller may reuse it. */
static lct_status op_upload(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_check(be, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, be->stream), "copy to the GPU", err);
}

static lct_status op_download(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  LCT_TRY(lct_cuda_check(be, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, be->stream), "copy from the GPU", err));
  return lct_cuda_check(be, cudaStreamSynchronize(be->stream), "waiting for the GPU", err);
}

static lct_status op_alloc_host(lct_backend *be, size_t bytes, void **out, lct_error *err) {
  *out = NULL;
  LCT_TRY(lct_cuda_alive(be, err));
  cudaError_t code = cudaMallocHost(out, bytes == 0 ? 1 : bytes);
  if (code != cudaErrorMemoryAllocation) return lct_cuda_check(be, code, "pinned host memory", err);
  (void)cudaGetLastError(); /* or the next launch's check finds it */
  return lct_fail(err, LCT_E_NOMEM, "out of pinned host memory: %.1f MiB wanted", (double)bytes / 1048576.0);
}

static void op_free_host(lct_backend *be, void *p) {
  (void)cudaSetDevice(be->device);
  (void)cudaFreeHost(p);
}

static lct_status op_rmsnorm(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_rmsnorm(be->t, x, w, eps, n, dim, h, be->stream, err), "rmsnorm", err);
}

static lct_status op_add_rmsnorm(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                                 lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_add_rmsnorm(be->t, x, y, w, eps, n, dim, h, be->stream, err), "add_rmsnorm", err);
}

static lct_status op_split_rope(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm,
                                float eps, const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q,
                                lct_kv_layer kv, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  lct_k_heads heads = {s->n_heads, s->n_kv_heads, s->head_dim};
  return lct_cuda_launched(
      be, lct_k_split_rope(be->t, qkv, heads, q_norm, k_norm, eps, cos_sin, positions, slots, n, q, kv.k, kv.v, be->stream, err),
      "split_rope", err);
}

static lct_status op_silu_mul(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_silu_mul(be->t, gu, n, dim, act, be->stream, err), "silu_mul", err);
}

static lct_status op_silu(lct_backend *be, const void *gu, int n, int dim, float *act, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_silu(be->t, gu, n, dim, act, be->stream, err), "silu", err);
}

/* dst and ids of a gather on the device; rows NULL: consecutive rows. */
static lct_status gather(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                         lct_error *err) {
  if (rows != NULL) {
    LCT_TRY(lct_cuda_reserve(be, &be->ids, (size_t)n * sizeof *rows, "row numbers", err));
    LCT_TRY(op_upload(be, be->ids.p, rows, (size_t)n * sizeof *rows, err));
  }
  return lct_cuda_launched(be, lct_k_gather(dtype, src, ld, rows == NULL ? NULL : be->ids.p, n, dim, dst, be->stream, err), "gather", err);
}

static lct_status op_gather_rows(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return gather(be, src, LCT_DTYPE_F32, dim, rows, n, dim, dst, err);
}

static lct_status op_read_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim,
                               float *dst, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  if (dtype != LCT_DTYPE_F32 && dtype != LCT_DTYPE_F16 && dtype != LCT_DTYPE_BF16) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "cannot read rows of type %s", lct_dtype_name(dtype));
  }
  size_t row_bytes = (size_t)dim * sizeof *dst, per_piece = be->pinned_bytes / row_bytes;
  if (per_piece == 0) return lct_fail(err, LCT_E_LIMIT, "a row of %d values is wider than the staging of %zu bytes", dim, be->pinned_bytes);
  for (int i = 0; i < n; i += (int)per_piece) {
    int k = n - i < (int)per_piece ? n - i : (int)per_piece;
    const void *from = rows != NULL ? src : (const char *)src + (size_t)i * (size_t)ld * lct_dtype_row_bytes(dtype, 1);
    LCT_TRY(lct_cuda_reserve(be, &be->stage, (size_t)k * row_bytes, "rows on their way to the host", err));
    LCT_TRY(gather(be, from, dtype, ld, rows != NULL ? rows + i : NULL, k, dim, be->stage.p, err));
    LCT_TRY(op_download(be, be->pinned, be->stage.p, (size_t)k * row_bytes, err));
    memcpy(dst + (size_t)i * (size_t)dim, be->pinned, (size_t)k * row_bytes);
  }
  return LCT_OK;
}

static lct_status op_pool_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, int dim, const lct_pooled *list,
                               const lct_row_range *ranges, int n, float *dst, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_pool(dtype, src, ld, dim, list, ranges, n, dst, be->stream, err), "pool", err);
}

static lct_status op_finite_check(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err) {
  LCT_TRY(lct_cuda_alive(be, err));
  return lct_cuda_launched(be, lct_k_check_finite(x, n, dim, tag, be->d_first, be->stream, err), "check_finite", err);
}

static lct_status op_finite_read(lct_backend *be, int *tag, int64_t *index, lct_error *err) {
  uint64_t first = 0;
  LCT_TRY(op_download(be, &first, be->d_first, sizeof first, err));
  *tag = (int)(first >> 40);
  *index = first == UINT64_MAX ? -1 : (int64_t)(first & (((uint64_t)1 << 40) - 1));
  if (*index < 0) return LCT_OK;
  return lct_cuda_check(be, cudaMemsetAsync(be->d_first, 0xff, sizeof first, be->stream), "cudaMemset", err);
}

const lct_ops *lct_cuda_ops(void) {
  static const lct_ops ops = {
      .name = "cuda",
      .host_memory = false,
      .mlp_rows = 16384, /* bounds the widest buffers; far more rows than fill a GPU */
      .open = backend_open,
      .close = backend_close,
      .in_dtype = type_of,
      .out_dtype = type_of,
      .begin_batch = lct_cuda_begin_batch,
      .kv_row_bytes = kv_row_bytes,
      .memory = {.alloc = op_alloc,
                 .free = op_free,
                 .upload = op_upload,
                 .download = op_download,
                 .alloc_host = op_alloc_host,
                 .free_host = op_free_host},
      .weights = {.new = lct_cuda_weight_new,
                  .free = lct_cuda_weight_free,
                  .embedding_new = lct_cuda_embedding_new,
                  .embedding_free = lct_cuda_embedding_free,
                  .conversion = lct_cuda_conversion},
      .embed = lct_cuda_embed,
      .linear = lct_cuda_linear,
      .rmsnorm = op_rmsnorm,
      .add_rmsnorm = op_add_rmsnorm,
      .split_rope = op_split_rope,
      .attention = lct_cuda_attention,
      .attn_weights = lct_cuda_attn_weights,
      .silu_mul = op_silu_mul,
      .silu = op_silu,
      .rows = {.read = op_read_rows, .gather = op_gather_rows, .pool = op_pool_rows},
      .finite_check = op_finite_check,
      .finite_read = op_finite_read,
      .choose = lct_cuda_choose,
  };
  return &ops;
}
