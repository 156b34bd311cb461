/* Our declarations of cuBLASLt (cuda/cublaslt.h) against the real header: a compilation is the test. Built only where cublasLt.h is found
 * (LCT_CUBLASLT_INCLUDE); our function types are made of the real types, so that a prototype that differs in one parameter is an error. */
#include <cublasLt.h>

typedef cublasStatus_t lct_lt_status;
typedef cublasLtHandle_t lct_lt_handle;
typedef cublasLtMatmulDesc_t lct_lt_desc;
typedef cublasLtMatrixLayout_t lct_lt_layout;
typedef cublasLtMatmulPreference_t lct_lt_pref;
typedef cudaDataType_t lct_lt_type;
typedef cublasComputeType_t lct_lt_compute;
typedef cublasLtMatmulDescAttributes_t lct_lt_desc_attr;
typedef cublasLtMatrixLayoutAttribute_t lct_lt_layout_attr;
typedef cublasLtMatmulPreferenceAttributes_t lct_lt_pref_attr;
typedef cublasLtMatmulAlgoConfigAttributes_t lct_lt_config_attr;
typedef cublasLtMatmulAlgo_t lct_lt_algo;
typedef cublasLtMatmulHeuristicResult_t lct_lt_result;

#define LCT_LT_REAL_TYPES
#include "cublaslt.h"

#define SAME_FUNCTION(member, name, result, params) \
  _Static_assert(__builtin_types_compatible_p(__typeof__(&name), __typeof__(((lct_cublaslt *)0)->member)), #name " has another prototype");
LCT_LT_FUNCTIONS(SAME_FUNCTION)

/* the types that stand for these: int, a pointer, and two structs */
#define LIKE_INT(t) _Static_assert(sizeof(t) == sizeof(int) && (t)1 / 2 == 0, #t " is not passed like an int")
#define LIKE_POINTER(t) _Static_assert(sizeof(t) == sizeof(void *) && sizeof(*(t)0) > 0, #t " is not a pointer")
LIKE_INT(cublasStatus_t);
LIKE_INT(cudaDataType_t);
LIKE_INT(cublasComputeType_t);
LIKE_INT(cublasLtMatmulDescAttributes_t);
LIKE_INT(cublasLtMatrixLayoutAttribute_t);
LIKE_INT(cublasLtMatmulPreferenceAttributes_t);
LIKE_INT(cublasLtMatmulAlgoConfigAttributes_t);
LIKE_POINTER(cublasLtMatmulDesc_t);
LIKE_POINTER(cublasLtMatrixLayout_t);
LIKE_POINTER(cublasLtMatmulPreference_t);
_Static_assert(sizeof(cublasLtHandle_t) == sizeof(void *), "a handle is not a pointer");
_Static_assert(sizeof(cublasLtMatmulAlgo_t) == 8 * sizeof(uint64_t), "an algorithm has another size");
_Static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == 96 && offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) == 64 &&
                   offsetof(cublasLtMatmulHeuristicResult_t, state) == 72 && offsetof(cublasLtMatmulHeuristicResult_t, wavesCount) == 76,
               "a heuristic's result has another layout");

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs " has another value")
SAME(LCT_LT_OK, CUBLAS_STATUS_SUCCESS);
SAME(LCT_LT_R_32F, CUDA_R_32F);
SAME(LCT_LT_R_16F, CUDA_R_16F);
SAME(LCT_LT_R_16BF, CUDA_R_16BF);
SAME(LCT_LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(LCT_LT_OP_T, CUBLAS_OP_T);
SAME(LCT_LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(LCT_LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(LCT_LT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(LCT_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(LCT_LT_LAYOUT_COLS, CUBLASLT_MATRIX_LAYOUT_COLS);
SAME(LCT_LT_LAYOUT_LD, CUBLASLT_MATRIX_LAYOUT_LD);
SAME(LCT_LT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(LCT_LT_PREF_REDUCTIONS, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(LCT_LT_PREF_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(LCT_LT_PREF_ALIGN_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(LCT_LT_PREF_ALIGN_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(LCT_LT_PREF_ALIGN_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(LCT_LT_REDUCTION_NONE, CUBLASLT_REDUCTION_SCHEME_NONE);
SAME(LCT_LT_REDUCTION_INPLACE, CUBLASLT_REDUCTION_SCHEME_INPLACE);
SAME(LCT_LT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(LCT_LT_REDUCTION_OUTPUT_TYPE, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
SAME(LCT_LT_CONFIG_ID, CUBLASLT_ALGO_CONFIG_ID);
SAME(LCT_LT_CONFIG_TILE, CUBLASLT_ALGO_CONFIG_TILE_ID);
SAME(LCT_LT_CONFIG_SPLIT_K, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
SAME(LCT_LT_CONFIG_REDUCTION, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
SAME(LCT_LT_CONFIG_STAGES, CUBLASLT_ALGO_CONFIG_STAGES_ID);
SAME(LCT_LT_CONFIG_CLUSTER, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
SAME(7, CUBLAS_STATUS_INVALID_VALUE); /* the names of lct_cublaslt_status */
SAME(13, CUBLAS_STATUS_EXECUTION_FAILED);
SAME(15, CUBLAS_STATUS_NOT_SUPPORTED);

int main(void) { return 0; }
