/* What gemm.c (running), gemm_choose.c (choosing) and gemm_product.c (one product) share. */
#ifndef LCT_CUDA_GEMM_INTERNAL_H
#define LCT_CUDA_GEMM_INTERNAL_H

#include "cublaslt.h"
#include "gemm.h"
#include "memory.h"

#define LCT_GEMM_WORKSPACE ((size_t)32 << 20)

/* How rows go through: in products of at most `tile` rows; exact: of exactly `tile`, the last one padded. */
typedef struct {
  int tile;
  bool exact;
} lct_gemm_mode;

/* What was chosen for one shape. */
typedef struct {
  int64_t in, out;
  bool bias, decode;
  lct_gemm_mode mode;
  lct_lt_algo algo;
  int refused; /* candidates before it */
  int id, tile_id, stages, split_k, reduction, cluster;
  lct_lt_desc desc;
  lct_lt_layout w, x, y; /* x and y: columns (rows of ours) and leading dimension are set anew for each product */
} lct_gemm_plan;

struct lct_gemm {
  lct_cublaslt lt;
  lct_lt_handle handle;
  lct_dtype t;
  cudaStream_t stream;
  lct_gemm_plan *plans;
  size_t n_plans, cap_plans;
  void *workspace;     /* LCT_GEMM_WORKSPACE bytes */
  void *pad_x, *pad_y; /* a padded tile of x, of y */
  size_t pad_x_bytes, pad_y_bytes;
};

/* y (n, out) = x (n, in) w^T + bias in one call of the library, with the plan's algorithm; gives the library's status. */
lct_lt_status lct_gemm_product(lct_gemm *g, const lct_gemm_plan *p, const void *w, const void *bias, const void *x, int64_t ldx, int n,
                               void *y, int64_t ldy);
/* Sets p->mode, algorithm and what describes it. p->in, out, bias, decode and the descriptors are given; w and bias are the real ones. */
lct_status lct_gemm_choose(lct_gemm *g, lct_gemm_plan *p, const void *w, const void *bias, lct_error *err) LCT_CHECKED;

#endif
