/* What the files of src/cpu share. */
#ifndef LCT_CPU_INTERNAL_H
#define LCT_CPU_INTERNAL_H

#include <dnnl.h>

#include "base/half.h"
#include "base/threads.h"
#include "cpu/cpu.h"
#include "cpu/kernels.h"

#define LCT_PARALLEL_MIN 32768 /* elements below which waking the other threads costs more than it gives */
#define LCT_GEMV_ROWS 4        /* decode rows of one matrix x vector call */

typedef struct lct_dnnl_prim lct_dnnl_prim;

/* All weights of one (in, out): packed layout and primitives. */
typedef struct lct_gemm_shape lct_gemm_shape;
struct lct_gemm_shape {
  lct_gemm_shape *next;
  int64_t k, n, kp, np; /* kp, np: as padded in the packed layout */
  int nb;               /* columns of a packed block: (np/nb) blocks of (kp, nb), bf16: (kp/2, nb, 2) */
  bool dnnl;            /* false: packed for AMX (bf16) or for gemm_panel (f32, nb 64) */
  bool bf16;            /* packed as bf16, else f32 */
  dnnl_memory_desc_t w_desc;
  lct_dnnl_prim *prims; /* made so far */
};

struct lct_weight {
  int64_t in, out;
  int n_parts;
  lct_tensor *parts; /* copies of the views; their data must outlive the weight */
  lct_gemm_shape *shape;
  float *bias;  /* (np) f32 */
  void *packed; /* NULL: streamed, packed anew at every use */
  bool raw;     /* every part is bf16 or f16 in plain row order: decoding can read the file's bytes */
};

struct lct_embedding {
  lct_tensor t;
};

/* Memory that grows on demand and is kept. */
typedef struct {
  void *p;
  size_t bytes;
} lct_scratch;

struct lct_backend {
  const lct_kernels *kernels;
  lct_precision precision;
  lct_threads *threads;
  bool decode;
  bool amx; /* where precision is fast; comes before oneDNN */
  bool use_dnnl;
  int bad_tag;       /* of the first element that was not finite */
  int64_t bad_index; /* -1: none so far */
  dnnl_engine_t engine;
  dnnl_stream_t *streams; /* (threads) */
  size_t dnnl_scratch;    /* bytes that a call of any primitive wants, at most */
  lct_gemm_shape *shapes;
  size_t packed_bytes, weight_budget;

  lct_scratch pad; /* GEMM: padded rows of x; oneDNN: and what a thread needs */
  void *pieces;    /* oneDNN: a product's */
  size_t cap_pieces;
  lct_scratch rows;           /* packing: a block of rows a thread */
  lct_scratch stream_packed;  /* the streamed weight in use */
  const lct_weight *streamed; /* what stream_packed holds */
  lct_scratch attn;           /* attention: a workspace a thread */
  lct_scratch items;          /* attention: work list */
};

/* memory.c
   64-byte aligned memory, on huge pages when it is large. Free with free(). */
lct_status lct_cpu_alloc(void *p_to_ptr, size_t bytes, const char *what, lct_error *err) LCT_CHECKED;
/* Makes *s (64-byte aligned) hold at least `bytes`; the content is lost when it grows. */
lct_status lct_cpu_reserve(lct_scratch *s, size_t bytes, const char *what, lct_error *err) LCT_CHECKED;
/* Runs body over n rows of `width` elements, on several threads where there is enough to do. */
lct_status lct_cpu_rows(lct_backend *be, int64_t n, int64_t width, lct_threads_body body, void *ctx, lct_error *err) LCT_CHECKED;
/* n rows of `width` elements of `size` bytes; rows lie lds and ldd elements apart. */
void lct_cpu_copy_rows(void *dst, int64_t ldd, const void *src, int64_t lds, int n, int64_t width, size_t size);

/* gemm.c: oneDNN, or our own kernels. */
lct_status lct_cpu_gemm_open(lct_backend *be, lct_error *err) LCT_CHECKED;
void lct_cpu_gemm_close(lct_backend *be);
lct_status lct_gemm_shape_get(lct_backend *be, int64_t k, int64_t n, lct_gemm_shape **out, lct_error *err) LCT_CHECKED;
/* y (n, out) = x (n, in) W^T + b over packed weights. */
lct_status lct_cpu_gemm_run(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                            int64_t ldy, lct_error *err) LCT_CHECKED;

/* onednn.c */
lct_status lct_cpu_dnnl_open(lct_backend *be, lct_error *err) LCT_CHECKED; /* be->use_dnnl: whether its products can be relied on */
void lct_cpu_dnnl_close(lct_backend *be);
/* Lays s out as oneDNN wants its weights; s stays as it is where we cannot rely on the answer. */
void lct_cpu_dnnl_layout(const lct_backend *be, lct_gemm_shape *s);
void lct_cpu_dnnl_free_prims(lct_gemm_shape *s);
lct_status lct_cpu_dnnl_run(lct_backend *be, const lct_weight *w, const void *packed, const void *x, int64_t ldx, int n, float *y,
                            int64_t ldy, lct_error *err) LCT_CHECKED;

/* weights.c */
lct_status lct_cpu_weight_new(lct_backend *be, const lct_tensor *const *parts, const lct_tensor *const *biases, int n_parts,
                              lct_weight **out, lct_error *err) LCT_CHECKED;
void lct_cpu_weight_free(lct_backend *be, lct_weight *w);
lct_status lct_cpu_linear(lct_backend *be, const lct_weight *w, const void *x, int64_t ldx, int n, void *y, int64_t ldy,
                          lct_error *err) LCT_CHECKED;

/* attention.c */
lct_status lct_cpu_attention(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_batch *batch, lct_kv_layer kv, void *out,
                             lct_error *err) LCT_CHECKED;
lct_status lct_cpu_attn_weights(lct_backend *be, const void *q, const lct_attn_shape *s, const lct_segment *seg, int row0, int n, int head0,
                                int n_heads, lct_kv_layer kv, float *out, lct_error *err) LCT_CHECKED;

/* elementwise.c */
lct_status lct_cpu_embed(lct_backend *be, const lct_embedding *e, const int32_t *tokens, int n, float *x, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_rmsnorm(lct_backend *be, const float *x, const float *w, float eps, int n, int dim, void *h, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_add_rmsnorm(lct_backend *be, float *x, const void *y, const float *w, float eps, int n, int dim, void *h,
                               lct_error *err) LCT_CHECKED;
lct_status lct_cpu_split_rope(lct_backend *be, const void *qkv, const lct_attn_shape *s, const float *q_norm, const float *k_norm,
                              float eps, const float *cos_sin, const int32_t *positions, const int32_t *slots, int n, void *q,
                              lct_kv_layer kv, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_silu_mul(lct_backend *be, const void *gu, int n, int dim, void *act, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_silu(lct_backend *be, const void *gu, int n, int dim, float *act, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_read_rows(lct_backend *be, const void *src, lct_dtype dtype, int64_t ld, const int32_t *rows, int n, int dim, float *dst,
                             lct_error *err) LCT_CHECKED;
lct_status lct_cpu_gather_rows(lct_backend *be, const float *src, const int32_t *rows, int n, int dim, float *dst,
                               lct_error *err) LCT_CHECKED;
lct_status lct_cpu_finite_check(lct_backend *be, const float *x, int n, int dim, int tag, lct_error *err) LCT_CHECKED;
lct_status lct_cpu_finite_read(lct_backend *be, int *tag, int64_t *index, lct_error *err) LCT_CHECKED;

#endif
