/* Devices, errors, injected faults, launches of the host shim. */
#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim.h"
#include "shim_internal.h"

#define DEFAULT_MEMORY ((size_t)64 << 30)
/* What every GPU from compute capability 8.0 on offers: the least of them, that of 8.6 and 8.9. */
#define SHARED_BYTES 49152
#define SHARED_BYTES_OPTIN 101376

static long long env_number(const char *name, long long fallback) {
  const char *text = getenv(name);
  return text != nullptr && *text != 0 ? atoll(text) : fallback;
}

static bool env_is(const char *name, const char *value) {
  const char *text = getenv(name);
  return text != nullptr && strcmp(text, value) == 0;
}

shim_state shim = {{},
                   cudaSuccess,
                   cudaSuccess,
                   !env_is("LCT_SHIM_STREAMS", "early"),
                   env_is("LCT_SHIM_DRIVER", "0"),
                   (int)env_number("LCT_SHIM_DEVICES", 1),
                   (size_t)env_number("LCT_SHIM_MEMORY", (long long)DEFAULT_MEMORY),
                   (int)env_number("LCT_SHIM_FAIL_ALLOC", 0),
                   (int)env_number("LCT_SHIM_FAIL_LAUNCH", 0),
                   0,
                   0};

cudaError_t shim_fail(cudaError_t code) {
  if (code != cudaSuccess) shim.last = code;
  return code;
}

cudaError_t shim_usable(void) {
  if (shim.no_driver) return cudaErrorInsufficientDriver;
  if (shim.n_devices < 1) return cudaErrorNoDevice;
  return shim.sticky;
}

bool shim_count_launch(void) {
  shim.n_launches++;
  return shim.fail_launch > 0 && --shim.fail_launch == 0;
}

double shim_seconds(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- launches ---- */

static const char *chosen_schedule = getenv("LCT_SHIM_SCHEDULE");
static uint64_t n_schedules;

/* Default: in turn forward and reverse and two at random, each with copies early and late. */
static shim_schedule next_schedule(void) {
  static const shim_order orders[] = {SHIM_RANDOM, SHIM_FORWARD, SHIM_REVERSE, SHIM_RANDOM};
  uint64_t i = n_schedules++;
  shim_schedule s = {orders[i % 4], (i + i / 4) % 2 == 0, i * 0x9E3779B97F4A7C15u + 1};
  if (chosen_schedule == nullptr) return s;
  s.late = strstr(chosen_schedule, "early") == nullptr && (strstr(chosen_schedule, "late") != nullptr || i % 2 == 0);
  if (strncmp(chosen_schedule, "forward", 7) == 0) {
    s.order = SHIM_FORWARD;
  } else if (strncmp(chosen_schedule, "reverse", 7) == 0) {
    s.order = SHIM_REVERSE;
  } else if (strncmp(chosen_schedule, "random:", 7) == 0) {
    s.order = SHIM_RANDOM;
    s.state = (strtoull(chosen_schedule + 7, nullptr, 10) + i) * 0x9E3779B97F4A7C15u + 1;
  } else {
    fprintf(stderr, "shim: LCT_SHIM_SCHEDULE: expected forward, reverse or random:SEED, got %s\n", chosen_schedule);
    abort();
  }
  return s;
}

void shim_launch_call(const char *name, dim3 grid, dim3 block, size_t bytes, cudaStream_t stream, const std::function<void()> &thread) {
  SHIM_ENTER_ANYWAY;
  if (shim_usable() != cudaSuccess) {
    (void)shim_fail(shim_usable());
    return;
  }
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || block.x < 32 ||
      block.x > 1024 || block.x % 32 != 0 || block.y != 1 || block.z != 1) {
    (void)shim_fail(cudaErrorInvalidConfiguration);
    return;
  }
  if (bytes > SHARED_BYTES_OPTIN) {
    (void)shim_fail(cudaErrorInvalidValue);
    return;
  }
  bool fails = shim_count_launch();
  shim_schedule s = next_schedule();
  cudaError_t code = shim_push(stream, [=] {
    if (fails) shim.sticky = shim_fail(cudaErrorIllegalAddress);
    else shim_run_grid(name, grid, block, bytes, thread, s);
  });
  (void)shim_fail(code);
}

/* ---- what tests may ask for ---- */

extern "C" {

void shim_fail_allocation(int n) { shim.fail_allocation = n; }
void shim_fail_launch(int n) { shim.fail_launch = n; }
void shim_set_memory(size_t bytes) { shim.memory = bytes > 0 ? bytes : DEFAULT_MEMORY; }
void shim_set_devices(int n) { shim.n_devices = n; }
void shim_set_driver(int present) { shim.no_driver = present == 0; }
void shim_set_streams(int late) { shim.late_streams = late != 0; }
void shim_set_schedule(const char *schedule) {
  chosen_schedule = schedule;
  n_schedules = 0;
}
void shim_reset(void) {
  shim_drain_all();
  shim.sticky = shim.last = cudaSuccess;
  shim.fail_allocation = shim.fail_launch = 0;
  shim.memory = DEFAULT_MEMORY;
  shim.n_devices = 1;
  shim.no_driver = false;
  shim.late_streams = true;
  shim_set_schedule(nullptr);
}
size_t shim_allocations(void) { return shim.n_allocations; }
size_t shim_launches(void) { return shim.n_launches; }

/* ---- devices ---- */

static thread_local int current_device;

cudaError_t cudaGetDeviceCount(int *count) {
  SHIM_ENTER_ANYWAY;
  if (count == nullptr) return shim_fail(cudaErrorInvalidValue);
  *count = 0;
  if (shim.no_driver) return shim_fail(cudaErrorInsufficientDriver);
  if (shim.n_devices < 1) return shim_fail(cudaErrorNoDevice);
  *count = shim.n_devices;
  return shim_fail(shim.sticky);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device) {
  SHIM_ENTER;
  if (prop == nullptr) return shim_fail(cudaErrorInvalidValue);
  if (device < 0 || device >= shim.n_devices) return shim_fail(cudaErrorInvalidDevice);
  memset(prop, 0, sizeof *prop);
  (void)snprintf(prop->name, sizeof prop->name, "llmct shim (host)");
  prop->totalGlobalMem = shim.memory;
  prop->sharedMemPerBlock = SHARED_BYTES;
  prop->sharedMemPerBlockOptin = SHARED_BYTES_OPTIN;
  prop->sharedMemPerMultiprocessor = SHARED_BYTES_OPTIN + 1024;
  prop->warpSize = 32;
  prop->maxThreadsPerBlock = 1024;
  prop->maxThreadsPerMultiProcessor = 1536;
  prop->major = 8;
  prop->minor = 9;
  prop->multiProcessorCount = 4;
  prop->memoryBusWidth = 128;
  prop->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attr, int device) {
  SHIM_ENTER;
  if (value == nullptr) return shim_fail(cudaErrorInvalidValue);
  cudaDeviceProp prop;
  cudaError_t code = cudaGetDeviceProperties(&prop, device);
  if (code != cudaSuccess) return code;
  switch (attr) {
  case cudaDevAttrMaxThreadsPerBlock: *value = prop.maxThreadsPerBlock; break;
  case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)prop.sharedMemPerBlock; break;
  case cudaDevAttrWarpSize: *value = prop.warpSize; break;
  case cudaDevAttrClockRate: *value = 1000000; break;
  case cudaDevAttrMultiProcessorCount: *value = prop.multiProcessorCount; break;
  case cudaDevAttrMemoryClockRate: *value = 1000000; break;
  case cudaDevAttrGlobalMemoryBusWidth: *value = prop.memoryBusWidth; break;
  case cudaDevAttrL2CacheSize: *value = prop.l2CacheSize; break;
  case cudaDevAttrComputeCapabilityMajor: *value = prop.major; break;
  case cudaDevAttrComputeCapabilityMinor: *value = prop.minor; break;
  case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)prop.sharedMemPerMultiprocessor; break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)prop.sharedMemPerBlockOptin; break;
  default: return shim_fail(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  SHIM_ENTER;
  if (device < 0 || device >= shim.n_devices) return shim_fail(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
  SHIM_ENTER;
  if (device == nullptr) return shim_fail(cudaErrorInvalidValue);
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
  SHIM_ENTER_ANYWAY;
  if (version == nullptr) return shim_fail(cudaErrorInvalidValue);
  *version = shim.no_driver ? 0 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  SHIM_ENTER_ANYWAY;
  if (version == nullptr) return shim_fail(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *func, cudaFuncAttribute attr, int value) {
  SHIM_ENTER;
  if (func == nullptr) return shim_fail(cudaErrorInvalidDeviceFunction);
  if (attr == cudaFuncAttributeMaxDynamicSharedMemorySize && value > SHARED_BYTES_OPTIN) return shim_fail(cudaErrorInvalidValue);
  return cudaSuccess;
}

/* ---- errors ---- */

cudaError_t cudaPeekAtLastError(void) {
  SHIM_ENTER_ANYWAY;
  return shim.last;
}

cudaError_t cudaGetLastError(void) {
  SHIM_ENTER_ANYWAY;
  cudaError_t code = shim.last;
  shim.last = shim.sticky; /* a sticky error stays */
  return code;
}

static const struct {
  cudaError_t code;
  const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const char *cudaGetErrorName(cudaError_t error) {
  for (const auto &e : errors) {
    if (e.code == error) return e.name;
  }
  return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
  for (const auto &e : errors) {
    if (e.code == error) return e.text;
  }
  return "unrecognized error code";
}
}
