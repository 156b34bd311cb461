/* CUDA's results as ours, and device memory; for those who have no backend to poison. */
#ifndef LCT_CUDA_MEMORY_H
#define LCT_CUDA_MEMORY_H

#include <cuda_runtime_api.h>

#include "base/status.h"

/* LCT_OK, or LCT_E_DEVICE naming what was done. */
lct_status lct_cuda_status(cudaError_t code, const char *what, lct_error *err) LCT_CHECKED;
/* Device memory, free with cudaFree. LCT_E_NOMEM says how much was wanted and how much is free. */
lct_status lct_cuda_malloc(size_t bytes, const char *what, void **out, lct_error *err) LCT_CHECKED;

#endif
