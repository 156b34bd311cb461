/* Between the files of the shim's runtime. */
#ifndef LCT_SHIM_RUNTIME_H
#define LCT_SHIM_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <mutex>

#include <cuda_runtime_api.h>

struct shim_state {
  std::recursive_mutex lock;
  cudaError_t sticky; /* after it nothing works any more */
  cudaError_t last;   /* of cudaGetLastError */
  bool late_streams;
  bool no_driver;
  int n_devices;
  size_t memory;
  int fail_allocation, fail_launch; /* counts down; fails when it reaches 0 from 1 */
  size_t n_allocations, n_launches;
};
extern shim_state shim;

/* Notes the error for cudaGetLastError and passes it on. */
cudaError_t shim_fail(cudaError_t code);
cudaError_t shim_usable(void); /* no driver, no device, sticky error */
bool shim_count_launch(void);  /* true: this one is to fail */
double shim_seconds(void);

cudaError_t shim_push(cudaStream_t stream, std::function<void()> work);
cudaError_t shim_drain(cudaStream_t stream);
void shim_drain_default(void); /* what cudaMemcpy waits for: streams that are not non-blocking */
void shim_drain_all(void);

/* How every entry point begins. ANYWAY: works after a sticky error too. */
#define SHIM_ENTER_ANYWAY std::lock_guard<std::recursive_mutex> hold(shim.lock)
#define SHIM_ENTER   \
  SHIM_ENTER_ANYWAY; \
  if (shim_usable() != cudaSuccess) return shim_fail(shim_usable())

#endif
