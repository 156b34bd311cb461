/* Which GPUs there are, and whether this build has code for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Set by cmake/cuda.cmake: "80 86 89 90a" and the PTX's architecture (0: none). */
#ifndef LCT_CUDA_TARGETS
#define LCT_CUDA_TARGETS ""
#define LCT_CUDA_TARGET_PTX 10
#endif

const char *lct_cuda_targets(void) { return "machine code for " LCT_CUDA_TARGETS; }

const char *lct_cuda_build(void) {
#define DIGIT(n) (char)('0' + (n) % 10)
  static const char text[] = {
      'C', 'U', 'D', 'A', ' ', DIGIT(CUDART_VERSION / 10000), DIGIT(CUDART_VERSION / 1000), '.', DIGIT(CUDART_VERSION % 1000 / 10), '\0'};
#undef DIGIT
  return text;
}

lct_status lct_cuda_count(int *n, lct_error *err) {
  *n = 0;
  cudaError_t code = cudaGetDeviceCount(n);
  if (code == cudaSuccess && *n > 0) return LCT_OK;
  (void)cudaGetLastError();
  *n = 0;
  if (code == cudaErrorInsufficientDriver) {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
      return lct_fail(err, LCT_E_UNSUPPORTED, "no NVIDIA driver on this machine");
    }
    return lct_fail(err, LCT_E_UNSUPPORTED, "the NVIDIA driver is for CUDA %d.%d; this build needs %s", driver / 1000, driver % 1000 / 10,
                    lct_cuda_build());
  }
  if (code != cudaSuccess && code != cudaErrorNoDevice) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "CUDA cannot be used here: %s", cudaGetErrorString(code));
  }
  return lct_fail(err, LCT_E_UNSUPPORTED, "no NVIDIA GPU on this machine");
}

/* Machine code runs on its own architecture and on later minor ones of the same major, except that of an "a" architecture; PTX on its
 * own and on everything later. */
static bool has_code(int sm) {
  if (LCT_CUDA_TARGET_PTX > 0 && sm >= LCT_CUDA_TARGET_PTX) return true;
  const char *p = LCT_CUDA_TARGETS;
  while (*p != '\0') {
    char *end = NULL;
    int arch = (int)strtol(p, &end, 10);
    bool exact = *end == 'a';
    if (sm == arch || (!exact && sm / 10 == arch / 10 && sm > arch)) return true;
    p = end + strcspn(end, " ");
    p += strspn(p, " ");
  }
  return false;
}

static int attribute(int device, enum cudaDeviceAttr which) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, which, device) == cudaSuccess ? value : 0;
}

lct_status lct_cuda_gpu(int device, lct_gpu *out, lct_error *err) {
  *out = (lct_gpu){0};
  int n = 0;
  LCT_TRY(lct_cuda_count(&n, err));
  if (device < 0 || device >= n) {
    return lct_fail(err, LCT_E_USAGE, "no GPU %d: this machine has %d, numbered from 0", device, n);
  }
  struct cudaDeviceProp prop;
  size_t free_bytes = 0, total = 0;
  cudaError_t code = cudaGetDeviceProperties(&prop, device);
  if (code == cudaSuccess) code = cudaSetDevice(device);
  if (code == cudaSuccess) code = cudaMemGetInfo(&free_bytes, &total);
  if (code != cudaSuccess) return lct_fail(err, LCT_E_DEVICE, "CUDA: asking GPU %d: %s", device, cudaGetErrorString(code));
  (void)snprintf(out->name, sizeof out->name, "%s", prop.name);
  out->bytes = (int64_t)total;
  out->bytes_free = (int64_t)free_bytes;
  out->sm = prop.major * 10 + prop.minor;
  out->n_sm = prop.multiProcessorCount;
  out->clock_khz = attribute(device, cudaDevAttrClockRate);
  out->memory_clock_khz = attribute(device, cudaDevAttrMemoryClockRate);
  out->bus_bits = attribute(device, cudaDevAttrGlobalMemoryBusWidth);
  out->usable = has_code(out->sm);
  return LCT_OK;
}
