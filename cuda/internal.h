/* What the host files of cuda/ share. */
#ifndef LCT_CUDA_INTERNAL_H
#define LCT_CUDA_INTERNAL_H

#include "engine/ops.h"
#include "gemm.h"
#include "kernels.h"
#include "memory.h"

/* Device memory that grows on demand and is kept. */
typedef struct {
  void *p;
  size_t bytes;
} lct_scratch;

/* The attention work of the current batch, made once by begin_batch and used by every layer: lct_k_attention's arguments, or with
 * `decode` lct_k_attention_decode's. The lists are device memory, all in one piece. */
typedef struct {
  bool decode;
  int n_tiles, n_tokens, n_parts;
  const lct_k_tile *tiles;
  const lct_k_token *tokens;
  const int32_t *part_token, *rows, *slots;
  lct_scratch lists, partial;
  lct_scratch weights_slots, weights_out; /* of attn_weights */
} lct_attn_work;

struct lct_backend {
  int device;
  lct_dtype t; /* F16 or BF16 */
  lct_threads *threads;
  cudaStream_t stream;
  lct_gemm *gemm;
  lct_attn_work work;
  bool poisoned; /* after a CUDA error nothing runs any more */
  lct_error first;
  bool sync;    /* LCT_CUDA_SYNC=1: wait after every op, so that an error names the right one */
  void *pinned; /* host staging */
  size_t pinned_bytes;
  lct_scratch stage, ids;    /* rows on their way to the host; row numbers and token ids on their way to the device */
  uint64_t *d_first;         /* first non-finite element, see lct_k_check_finite */
  uint64_t *d_counts;        /* (3) of lct_k_convert */
  struct lct_upload *upload; /* weights.c: staging of weights, made by the first one */
};

/* devices.c: what machine code this build has, for messages */
const char *lct_cuda_targets(void);

/* failures.c: OK while the backend lives; afterwards its first failure again. Every op starts with it. */
lct_status lct_cuda_alive(const lct_backend *be, lct_error *err) LCT_CHECKED;
/* Turns a CUDA error of `what` into a status: out of memory is LCT_E_NOMEM and leaves the backend alive, anything else poisons it. */
lct_status lct_cuda_check(lct_backend *be, cudaError_t code, const char *what, lct_error *err) LCT_CHECKED;
/* After a launcher: passes its status on (a failure poisons, but LCT_E_UNSUPPORTED), and waits when be->sync is set. */
lct_status lct_cuda_launched(lct_backend *be, lct_status status, const char *what, lct_error *err) LCT_CHECKED;
/* Device memory; LCT_E_NOMEM says how much was wanted and how much is free. */
lct_status lct_cuda_alloc(lct_backend *be, size_t bytes, const char *what, void **out, lct_error *err) LCT_CHECKED;
lct_status lct_cuda_reserve(lct_backend *be, lct_scratch *s, size_t bytes, const char *what, lct_error *err) LCT_CHECKED;
void lct_cuda_scratch_free(lct_scratch *s);

/* weights.c */
lct_status lct_cuda_weight_new(lct_backend *be, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                               lct_weight **out, lct_error *err) LCT_CHECKED;
void lct_cuda_weight_free(lct_backend *be, lct_weight *w);
lct_status lct_cuda_embedding_new(lct_backend *be, const lct_tensor *t, lct_embedding **out, lct_error *err) LCT_CHECKED;
void lct_cuda_embedding_free(lct_backend *be, lct_embedding *e);
lct_status lct_cuda_linear(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy,
                           lct_error *err) LCT_CHECKED;
lct_status lct_cuda_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) LCT_CHECKED;
void lct_cuda_upload_free(struct lct_upload *u);
lct_status lct_cuda_conversion(lct_backend *be, lct_conversion *out, lct_error *err) LCT_CHECKED;

/* attention_work.c: fills be->work for the batch */
lct_status lct_cuda_begin_batch(lct_backend *be, const lct_batch *batch, const lct_attn_shape *s, lct_error *err) LCT_CHECKED;
lct_status lct_cuda_attention(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *batch, lct_kv_layer kv, void *out,
                              lct_error *err) LCT_CHECKED;
lct_status lct_cuda_attn_weights(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_segment *seg, int row0, int n,
                                 int head0, int n_heads, lct_kv_layer kv, float *out, lct_error *err) LCT_CHECKED;
void lct_cuda_work_free(lct_attn_work *w);

/* sampler.c */
lct_status lct_cuda_choose(lct_backend *be, const void *logits, int64_t ld, int n, int vocab, const lct_sampling *s, const uint32_t *steps,
                           int top_k, lct_choice *out, lct_error *err) LCT_CHECKED;

#endif
