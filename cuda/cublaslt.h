/* What we use of cuBLASLt, declared by ourselves and found at run time: neither its header nor its library is needed to build. The
 * values are those of its binary interface, the same in CUDA 12 and 13; tests/cuda/check_cublaslt.c holds them against the real header. */
#ifndef LCT_CUDA_CUBLASLT_H
#define LCT_CUDA_CUBLASLT_H

#include <cuda_runtime_api.h>

#include "base/mem.h"

#ifndef LCT_LT_REAL_TYPES /* check_cublaslt.c puts the real ones in their place */
typedef int lct_lt_status;
typedef struct lct_lt_context *lct_lt_handle;
typedef struct lct_lt_opaque_desc *lct_lt_desc;
typedef struct lct_lt_opaque_layout *lct_lt_layout;
typedef struct lct_lt_opaque_pref *lct_lt_pref;
typedef int lct_lt_type; /* cudaDataType */
typedef int lct_lt_compute;
typedef int lct_lt_desc_attr;
typedef int lct_lt_layout_attr;
typedef int lct_lt_pref_attr;
typedef int lct_lt_config_attr;
typedef struct {
  uint64_t data[8];
} lct_lt_algo;
typedef struct {
  lct_lt_algo algo;
  size_t workspace_bytes;
  lct_lt_status state;
  float waves;
  int reserved[4];
} lct_lt_result;
#endif

enum {
  LCT_LT_OK = 0,
  LCT_LT_R_32F = 0,
  LCT_LT_R_16F = 2,
  LCT_LT_R_16BF = 14,
  LCT_LT_COMPUTE_32F = 68,
  LCT_LT_OP_T = 1,
  LCT_LT_DESC_TRANSA = 3,
  LCT_LT_DESC_EPILOGUE = 7,
  LCT_LT_DESC_BIAS_POINTER = 8,
  LCT_LT_EPILOGUE_BIAS = 4,
  LCT_LT_LAYOUT_COLS = 3,
  LCT_LT_LAYOUT_LD = 4,
  LCT_LT_PREF_WORKSPACE = 1,
  LCT_LT_PREF_REDUCTIONS = 3,
  LCT_LT_PREF_ALIGN_A = 5,
  LCT_LT_PREF_ALIGN_B = 6,
  LCT_LT_PREF_ALIGN_C = 7,
  LCT_LT_PREF_ALIGN_D = 8,
  LCT_LT_REDUCTION_NONE = 0,
  LCT_LT_REDUCTION_INPLACE = 1,
  LCT_LT_REDUCTION_COMPUTE_TYPE = 2,
  LCT_LT_REDUCTION_OUTPUT_TYPE = 4,
  LCT_LT_CONFIG_ID = 0,
  LCT_LT_CONFIG_TILE = 1,
  LCT_LT_CONFIG_SPLIT_K = 2,
  LCT_LT_CONFIG_REDUCTION = 3,
  LCT_LT_CONFIG_STAGES = 6,
  LCT_LT_CONFIG_CLUSTER = 8
};

/* member, exported name, result, parameters */
#define LCT_LT_FUNCTIONS(X)                                                                                                             \
  X(version, cublasLtGetVersion, size_t, (void))                                                                                        \
  X(create, cublasLtCreate, lct_lt_status, (lct_lt_handle *))                                                                           \
  X(destroy, cublasLtDestroy, lct_lt_status, (lct_lt_handle))                                                                           \
  X(desc_create, cublasLtMatmulDescCreate, lct_lt_status, (lct_lt_desc *, lct_lt_compute, lct_lt_type))                                 \
  X(desc_destroy, cublasLtMatmulDescDestroy, lct_lt_status, (lct_lt_desc))                                                              \
  X(desc_set, cublasLtMatmulDescSetAttribute, lct_lt_status, (lct_lt_desc, lct_lt_desc_attr, const void *, size_t))                     \
  X(layout_create, cublasLtMatrixLayoutCreate, lct_lt_status, (lct_lt_layout *, lct_lt_type, uint64_t, uint64_t, int64_t))              \
  X(layout_destroy, cublasLtMatrixLayoutDestroy, lct_lt_status, (lct_lt_layout))                                                        \
  X(layout_set, cublasLtMatrixLayoutSetAttribute, lct_lt_status, (lct_lt_layout, lct_lt_layout_attr, const void *, size_t))             \
  X(pref_create, cublasLtMatmulPreferenceCreate, lct_lt_status, (lct_lt_pref *))                                                        \
  X(pref_destroy, cublasLtMatmulPreferenceDestroy, lct_lt_status, (lct_lt_pref))                                                        \
  X(pref_set, cublasLtMatmulPreferenceSetAttribute, lct_lt_status, (lct_lt_pref, lct_lt_pref_attr, const void *, size_t))               \
  X(heuristic, cublasLtMatmulAlgoGetHeuristic, lct_lt_status,                                                                           \
    (lct_lt_handle, lct_lt_desc, lct_lt_layout, lct_lt_layout, lct_lt_layout, lct_lt_layout, lct_lt_pref, int, lct_lt_result *, int *)) \
  X(algo_check, cublasLtMatmulAlgoCheck, lct_lt_status,                                                                                 \
    (lct_lt_handle, lct_lt_desc, lct_lt_layout, lct_lt_layout, lct_lt_layout, lct_lt_layout, const lct_lt_algo *, lct_lt_result *))     \
  X(algo_get, cublasLtMatmulAlgoConfigGetAttribute, lct_lt_status, (const lct_lt_algo *, lct_lt_config_attr, void *, size_t, size_t *)) \
  X(matmul, cublasLtMatmul, lct_lt_status,                                                                                              \
    (lct_lt_handle, lct_lt_desc, const void *, const void *, lct_lt_layout, const void *, lct_lt_layout, const void *, const void *,    \
     lct_lt_layout, void *, lct_lt_layout, const lct_lt_algo *, void *, size_t, cudaStream_t))

typedef struct {
  void *library;
#define LCT_LT_MEMBER(member, name, result, params) result(*member) params;
  LCT_LT_FUNCTIONS(LCT_LT_MEMBER)
#undef LCT_LT_MEMBER
} lct_cublaslt;

/* Looks for the library: LCT_CUBLASLT alone when set, otherwise by the loader (libcublasLt.so.13, .so.12, .so), in the toolkit's usual
 * folder, in lib/ beside the running program. LCT_E_UNSUPPORTED says where it looked and what was wrong with what it found. */
lct_status lct_cublaslt_open(lct_cublaslt *lt, lct_error *err) LCT_CHECKED;
void lct_cublaslt_close(lct_cublaslt *lt);
/* "NOT_SUPPORTED" for 15 */
const char *lct_cublaslt_status(int status);

#endif
