/* What tests of the shim and tests with injected faults may ask for; C and C++. A test that also runs on a real GPU must not use it
 * (LCT_TEST_SHIM says which build this is).
 *
 * The environment sets the same things for a whole program: LCT_SHIM_SCHEDULE=forward|reverse|random:SEED (default: a different one
 * each launch), LCT_SHIM_STREAMS=early|late, LCT_SHIM_DEVICES=N, LCT_SHIM_DRIVER=0, LCT_SHIM_MEMORY=BYTES, LCT_SHIM_FAIL_ALLOC=N,
 * LCT_SHIM_FAIL_LAUNCH=N. */
#ifndef LCT_SHIM_H
#define LCT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The n-th allocation from now on (1: the next; device and pinned host memory) fails with cudaErrorMemoryAllocation, once; 0: none. */
void shim_fail_allocation(int n);
/* The n-th launch from now on does nothing but leave a sticky cudaErrorIllegalAddress: every later call but cudaFree fails with it until
 * shim_reset; 0: none. A matrix product of the fake cuBLASLt counts as a launch. */
void shim_fail_launch(int n);
/* Total device memory; an allocation beyond it fails. 0: the default, 64 GiB. */
void shim_set_memory(size_t bytes);
/* late: streams do their work when they are waited for (the default); early: at once */
void shim_set_streams(int late);
void shim_set_devices(int n);
/* false: cudaErrorInsufficientDriver from everything */
void shim_set_driver(int present);
/* "forward", "reverse", "random:SEED" or NULL: alternating */
void shim_set_schedule(const char *schedule);
/* Faults off, errors forgotten. Allocations stay. */
void shim_reset(void);

/* since the start of the program */
size_t shim_allocations(void);      /* allocations, device and pinned */
size_t shim_live_allocations(void); /* not freed yet */
size_t shim_launches(void);

#ifdef __cplusplus
}
#endif

#endif
