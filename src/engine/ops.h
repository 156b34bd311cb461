/* The ops table: what a backend must do. src/engine/forward.c is written once over it; src/cpu and cuda/ fill it.
 *
 * Buffers are the backend's (device pointers on a GPU). Element types:
 *   residual  f32                       x (n, hidden)
 *   in        ops->in_dtype(be)         GEMM inputs: f32 (cpu exact), bf16 (cpu fast), f16 (cuda)
 *   out       ops->out_dtype(be)        GEMM outputs: f32 (cpu), f16 (cuda)
 * All matrices are row-major with a leading dimension in elements where one is given. n is a number of rows (tokens), >= 1.
 * An op's result for a row depends on that row (and its KV rows) alone, never on n or on its neighbours: bit for bit. */
#ifndef LCT_ENGINE_OPS_H
#define LCT_ENGINE_OPS_H

#include "base/threads.h"
#include "engine/sampler.h"
#include "model/model.h"
#include "plan/plan.h"

typedef struct lct_backend lct_backend; /* a device and its scratch */
typedef struct lct_weight lct_weight;   /* one or more [out, in] matrices packed for GEMM, stacked along `out`, with bias */
typedef struct lct_embedding lct_embedding;

typedef struct {
  lct_precision precision;
  lct_threads
      *threads; /* of the CPU: what computes there, or fills a GPU's weights; borrowed for the backend's life; NULL: the caller's alone */
  int device;   /* number of the GPU */
  size_t weight_budget_bytes; /* packed weights beyond it are packed anew at each use; 0: the backend's choice */
} lct_backend_options;

typedef struct {
  const char *name;
  bool host_memory; /* buffers are ordinary host memory: takers may look at them in place */
  int mlp_rows;     /* rows of the MLP's widest activations held at once */
  lct_status (*open)(const lct_backend_options *o, lct_backend **out, lct_error *err);
  void (*close)(lct_backend *be);
  lct_dtype (*in_dtype)(const lct_backend *be);
  lct_dtype (*out_dtype)(const lct_backend *be);
  /* Before the first op of a pass over the batch: what attention needs to know of it. With batch->decode (one token a sequence) linear may
   * use memory-bound kernels whose results need not be bit-equal to a prefill's, but still depend on their own row alone. */
  lct_status (*begin_batch)(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err);
  size_t (*kv_row_bytes)(const lct_backend *be, const lct_attn_shape *s); /* of k or of v, one row */

  struct {
    lct_status (*alloc)(lct_backend *be, size_t bytes, void **out, lct_error *err);
    void (*free)(lct_backend *be, void *p);
    lct_status (*upload)(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err);
    lct_status (*download)(lct_backend *be, void *dst, const void *src, size_t bytes, lct_error *err);
    /* host memory that the backend copies to and from fastest */
    lct_status (*alloc_host)(lct_backend *be, size_t bytes, void **out, lct_error *err);
    void (*free_host)(lct_backend *be, void *p);
  } memory;

  /* from file views, read through lct_tensor_row_f32 (or faster where the type allows it, same values); the views' data must outlive
   * the weight */
  struct {
    lct_status (*new)(lct_backend *be, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts, lct_weight **out,
                      lct_error *err); /* biases[i] may be NULL or absent: zeros */
    void (*free)(lct_backend *be, lct_weight *w);
    lct_status (*embedding_new)(lct_backend *be, const lct_tensor *t, lct_embedding **out, lct_error *err);
    void (*embedding_free)(lct_backend *be, lct_embedding *e);
    /* of all weights so far */
    lct_status (*conversion)(lct_backend *be, lct_conversion *out, lct_error *err);
  } weights;

  /* x[i] = embedding[tokens[i]], (n, hidden) f32; tokens on the host, checked against vocab by the caller */
  lct_status (*embed)(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err);
  /* y (n, w.out) = x (n, w.in) W^T + b;  ldx, ldy in elements */
  lct_status (*linear)(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy, lct_error *err);
  /* h = x / sqrt(mean(x^2) + eps) * w, x (n, dim) f32 -> h (n, dim) in. Sum in f32 or better. */
  lct_status (*rmsnorm)(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err);
  /* x += y (n, dim) out; then h = rmsnorm(x) unless h is NULL */
  lct_status (*add_rmsnorm)(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h, lct_error *err);
  /* qkv (n, (n_heads + 2 n_kv) head_dim) out -> q (n, n_heads*head_dim) backend's type, normalised per head when q_norm/k_norm are
   * given (Qwen3), rotated (pairs (i, i + head_dim/2), cos_sin (n_pos, head_dim/2, 2) f32 on the backend) at positions[i];
   * k rotated, v, written to kv at slots kv0_of_row. positions and slots (n) are on the backend. */
  lct_status (*split_rope)(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm, float eps,
                           const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q, lct_kv_layer kv,
                           lct_error *err);
  /* causal attention of every segment of begin_batch's batch over its ancestors' slots, then its own rows. out (n_rows, n_heads*head_dim) in.
   * Tiles of keys are cut at multiples of 64 of the absolute position; online softmax in f32. */
  lct_status (*attention)(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *batch, lct_kv_layer kv, void *out,
                          lct_error *err);
  /* softmax weights of query rows [row0, row0+n) of the batch, all of them in segment seg, heads [head0, head0+n_heads):
   * out (n_heads, n, n_keys) f32 on the HOST, n_keys = pos0 + n_rows of the segment; keys in order of position, zero behind the
   * causal diagonal. */
  lct_status (*attn_weights)(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_segment *seg, int row0, int n, int head0,
                             int n_heads, lct_kv_layer kv, float *out, lct_error *err);
  /* gu (n, 2*dim) out: gate then up -> act = silu(gate)*up (n, dim) in */
  lct_status (*silu_mul)(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err);
  /* silu of the gate half as f32 (n, dim): the mlp_act tap */
  lct_status (*silu)(lct_backend *be, const void *gu, int n, int dim, float *act, lct_error *err);
  struct {
    /* rows (on the host; NULL: 0..n-1) of src (type `dtype`, leading dimension ld, columns [0, dim)) as f32 to the HOST: dst (n, dim) */
    lct_status (*read)(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                       lct_error *err);
    /* dst[i] = src[rows[i]], (n, dim) f32, both on the backend; rows on the host */
    lct_status (*gather)(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst, lct_error *err);
    /* dst (n, dim) f32: of src (type `dtype`, leading dimension ld, columns [0, dim)) the row of list[i], or the mean of the rows of its
     * ranges, summed in double from 0 in their order and rounded once: no other bits, whatever the batch. src, list, ranges and dst are
     * on the backend. NULL where host_memory: there vectors are made where rows are shown (capture/pool.c). */
    lct_status (*pool)(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, int dim, const lct_pooled *list,
                       const lct_row_range *ranges, int n, float *dst, lct_error *err);
  } rows;
  /* Notes the first element of x (n, dim) f32 that is not finite under `tag` (>= 0), without waiting for it; of several checks the one
   * with the lowest tag is kept. */
  lct_status (*finite_check)(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err);
  /* What has been noted since the last call: *index < 0 when nothing. */
  lct_status (*finite_read)(lct_backend *be, int *tag, int64_t *index, lct_error *err);
  /* The next token of each row of logits (n, vocab) out, leading dimension ld, at step steps[i] (lct_sample, stream 0), and what
   * lct_logits_describe says; the same tokens on every backend for the same logits. choices (n) on the host. */
  lct_status (*choose)(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_sampling *s, const uint32_t *steps,
                       int top_k, lct_choice *choices, lct_error *err);
} lct_ops;

/* The CPU backend (src/cpu): exact = f32 GEMM, fast = bf16 GEMM inputs with f32 accumulation. */
const lct_ops *lct_cpu_ops(void);

/* The CUDA backend (cuda/): f16 or bf16 GEMM inputs and outputs, f32 accumulation. NULL in a build without CUDA. */
const lct_ops *lct_cuda_ops(void);
const char *lct_cuda_build(void); /* "CUDA 13.0", "no CUDA" */

typedef struct {
  char name[256];
  int64_t bytes, bytes_free;
  int sm, n_sm; /* compute capability as 90; multiprocessors */
  int64_t clock_khz, memory_clock_khz, bus_bits;
  bool usable; /* this build has code for it */
} lct_gpu;

/* How many GPUs there are. LCT_E_UNSUPPORTED says why none can be used: no CUDA in this build, no driver, no device. */
lct_status lct_cuda_count(int *n, lct_error *err);
lct_status lct_cuda_gpu(int device, lct_gpu *out, lct_error *err);

#endif
