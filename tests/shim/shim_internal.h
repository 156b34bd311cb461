/* Between runtime.cpp and block.cpp. */
#ifndef LCT_SHIM_INTERNAL_H
#define LCT_SHIM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include <functional>

#include <cuda_runtime_api.h>

enum shim_order { SHIM_FORWARD, SHIM_REVERSE, SHIM_RANDOM };

struct shim_schedule {
  shim_order order;
  bool late;      /* cp.async happens at the wait, not at its issue */
  uint64_t state; /* of the random numbers */
};

/* Runs every thread of every block. */
void shim_run_grid(const char *name, dim3 grid, dim3 block, size_t bytes, const std::function<void()> &thread, shim_schedule s);

#endif
