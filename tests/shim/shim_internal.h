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

/* ---- race.cpp, where a program has it ---- */

enum shim_access { SHIM_READ, SHIM_WRITE, SHIM_ATOMIC };
extern void (*shim_race_note)(const void *p, size_t bytes, shim_access kind); /* NULL: races are not looked for */
extern uint32_t shim_race_launch;                                             /* of the running grid, from 1; 0 while none runs */
extern uint32_t shim_race_phase;                                              /* a new one after every lct_sync and for every block */
extern uint32_t shim_race_block, shim_race_warp_epoch[32];
bool shim_in_shared(const void *p);
uintptr_t shim_allocation_of(const void *p, size_t *bytes); /* the device allocation p lies in; 0: none */
__attribute__((noreturn, format(printf, 1, 2))) void shim_report(const char *format, ...);

/* Runs every thread of every block. */
void shim_run_grid(const char *name, dim3 grid, dim3 block, size_t bytes, const std::function<void()> &thread, shim_schedule s);

#endif
