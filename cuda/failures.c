/* What the CUDA backend does about failures, and its memory: after a CUDA error nothing runs any more, out of memory ends nothing. */
#include "internal.h"

/* A failure of the device ends the backend; the first one is what every later op says. */
static lct_status note(lct_backend *be, lct_status status, const char *what, const lct_error *err) {
  if (status == LCT_E_DEVICE && !be->poisoned) {
    be->poisoned = true;
    (void)lct_fail(&be->first, status, "the GPU failed before: %s", err != NULL ? err->message : what);
  }
  return status;
}

lct_status lct_cuda_check(lct_backend *be, cudaError_t code, const char *what, lct_error *err) {
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError(); /* or the next launch's check finds it again */
    return lct_fail(err, LCT_E_NOMEM, "CUDA: %s: out of GPU memory", what);
  }
  return note(be, lct_cuda_status(code, what, err), what, err);
}

lct_status lct_cuda_alive(const lct_backend *be, lct_error *err) {
  if (be->poisoned) return lct_fail(err, be->first.code, "%s", be->first.message);
  cudaError_t code = cudaSetDevice(be->device); /* the current device belongs to the calling thread */
  return code == cudaSuccess ? LCT_OK : lct_fail(err, LCT_E_DEVICE, "CUDA: choosing GPU %d: %s", be->device, cudaGetErrorString(code));
}

lct_status lct_cuda_launched(lct_backend *be, lct_status status, const char *what, lct_error *err) {
  if (status != LCT_OK) return note(be, status, what, err);
  return be->sync ? lct_cuda_check(be, cudaStreamSynchronize(be->stream), what, err) : LCT_OK;
}

lct_status lct_cuda_alloc(lct_backend *be, size_t bytes, const char *what, void **out, lct_error *err) {
  return note(be, lct_cuda_malloc(bytes, what, out, err), what, err);
}

lct_status lct_cuda_reserve(lct_backend *be, lct_scratch *s, size_t bytes, const char *what, lct_error *err) {
  if (s->bytes >= bytes && s->p != NULL) return LCT_OK;
  lct_cuda_scratch_free(s);
  bytes += bytes / 4; /* sizes creep up from batch to batch: not every step should allocate */
  LCT_TRY(lct_cuda_alloc(be, bytes, what, &s->p, err));
  s->bytes = bytes;
  return LCT_OK;
}

void lct_cuda_scratch_free(lct_scratch *s) {
  (void)cudaFree(s->p);
  *s = (lct_scratch){0};
}
