/* What every launcher's declaration needs: types, never a table of functions of ours. */
#ifndef LCT_CUDA_KERNELS_COMMON_H
#define LCT_CUDA_KERNELS_COMMON_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "base/fail.h"
#include "engine/types.h"
#ifdef __cplusplus
}
#endif

typedef struct {
  int n_heads, n_kv_heads, head_dim; /* head_dim even, a multiple of 8, <= 256; n_kv_heads divides n_heads */
} lct_k_heads;

#endif
