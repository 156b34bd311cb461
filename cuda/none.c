/* In place of the CUDA backend where the build has none. */
#include "base/status.h"
#include "engine/ops.h"

const lct_ops *lct_cuda_ops(void) { return NULL; }

const char *lct_cuda_build(void) { return "no CUDA"; }

lct_status lct_cuda_count(int *n, lct_error *err) {
  *n = 0;
  return lct_fail(err, LCT_E_UNSUPPORTED,
                  "this build of llmct-gpu has no CUDA: build it where nvcc is (cmake -DLCT_CUDA=ON says what is missing)");
}

lct_status lct_cuda_gpu(int device, lct_gpu *out, lct_error *err) {
  int n = 0;
  (void)device;
  *out = (lct_gpu){0};
  return lct_cuda_count(&n, err);
}
