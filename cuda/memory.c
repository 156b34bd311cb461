#include "memory.h"

lct_status lct_cuda_status(cudaError_t code, const char *what, lct_error *err) {
  if (code == cudaSuccess) return LCT_OK;
  return lct_fail(err, LCT_E_DEVICE, "CUDA: %s: %s (%s)", what, cudaGetErrorString(code), cudaGetErrorName(code));
}

lct_status lct_cuda_malloc(size_t bytes, const char *what, void **out, lct_error *err) {
  *out = NULL;
  cudaError_t code = cudaMalloc(out, bytes == 0 ? 1 : bytes);
  if (code != cudaErrorMemoryAllocation) return lct_cuda_status(code, what, err);
  (void)cudaGetLastError(); /* or the next launch's check finds it */
  size_t free_bytes = 0, total = 0;
  LCT_TRY(lct_cuda_status(cudaMemGetInfo(&free_bytes, &total), "cudaMemGetInfo", err));
  return lct_fail(err, LCT_E_NOMEM, "out of GPU memory for %s: %.1f MiB wanted, %.1f of %.1f MiB free", what, (double)bytes / 1048576.0,
                  (double)free_bytes / 1048576.0, (double)total / 1048576.0);
}
