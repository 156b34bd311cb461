/* Device and pinned memory of the host shim: each allocation a heap block of exactly its size, poisoned with NaN bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <memory>
#include <vector>

#include "fiber.h"
#include "runtime.h"
#include "shim.h"
#include "shim_internal.h"

#define ALIGNMENT 256
/* Without asan, bytes in front of and behind each allocation tell of a write beyond it when it is freed. */
#define GUARD_BYTES (SHIM_ASAN ? 0 : ALIGNMENT)
#define GUARD_VALUE 0xa5

struct allocation {
  size_t bytes;
  bool device;
};
static std::map<uintptr_t, allocation> live; /* by address */
static size_t device_bytes;                  /* in live device allocations */

static cudaError_t allocate(void **p, size_t bytes, bool device) {
  if (p == nullptr) return shim_fail(cudaErrorInvalidValue);
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  shim.n_allocations++;
  if (shim.fail_allocation > 0 && --shim.fail_allocation == 0) return shim_fail(cudaErrorMemoryAllocation);
  if (device && (bytes > shim.memory || device_bytes > shim.memory - bytes)) return shim_fail(cudaErrorMemoryAllocation);
  void *raw = nullptr;
  if (posix_memalign(&raw, ALIGNMENT, bytes + 2 * GUARD_BYTES) != 0) return shim_fail(cudaErrorMemoryAllocation);
  unsigned char *user = (unsigned char *)raw + GUARD_BYTES;
  memset(raw, GUARD_VALUE, GUARD_BYTES);
  memset(user, 0xff, bytes);
  memset(user + bytes, GUARD_VALUE, GUARD_BYTES);
  live[(uintptr_t)user] = allocation{bytes, device};
  if (device) device_bytes += bytes;
  *p = user;
  return cudaSuccess;
}

static void check_guards(const unsigned char *p, size_t bytes) {
  for (size_t i = 0; i < GUARD_BYTES; i++) {
    bool front = p[-1 - (ptrdiff_t)i] != GUARD_VALUE;
    if (!front && p[bytes + i] == GUARD_VALUE) continue;
    fprintf(stderr, "shim: an allocation of %zu bytes was written %zu bytes %s\n", bytes, i + 1,
            front ? "before its start" : "beyond its end");
    abort();
  }
}

static cudaError_t release(void *p, bool device) {
  if (p == nullptr) return shim.sticky;
  shim_drain_all(); /* freeing waits for the device */
  auto it = live.find((uintptr_t)p);
  if (it == live.end() || it->second.device != device) return shim_fail(cudaErrorInvalidValue);
  check_guards((unsigned char *)p, it->second.bytes);
  if (device) device_bytes -= it->second.bytes;
  live.erase(it);
  free((unsigned char *)p - GUARD_BYTES);
  return shim.sticky;
}

enum where { HOST, PINNED, DEVICE, OUTSIDE };

/* OUTSIDE: begins in an allocation and does not end there */
static where find(const void *p, size_t bytes) {
  auto it = live.upper_bound((uintptr_t)p);
  if (it == live.begin()) return HOST;
  --it;
  size_t offset = (uintptr_t)p - it->first;
  if (offset >= it->second.bytes) return HOST;
  if (bytes > it->second.bytes - offset) return OUTSIDE;
  return it->second.device ? DEVICE : PINNED;
}

uintptr_t shim_allocation_of(const void *p, size_t *bytes) {
  if (find(p, 1) != DEVICE) return 0;
  auto it = --live.upper_bound((uintptr_t)p);
  *bytes = it->second.bytes;
  return it->first;
}

struct copy2d {
  unsigned char *dst;
  size_t dpitch;
  const unsigned char *src;
  size_t spitch, width, height;
};

static void copy_rows(const copy2d &c) {
  for (size_t i = 0; i < c.height; i++) memcpy(c.dst + i * c.dpitch, c.src + i * c.spitch, c.width);
}

/* Ordinary host memory is read at once, and written before the call returns; pinned memory whenever the stream gets there. */
static cudaError_t copy(copy2d c, cudaMemcpyKind kind, cudaStream_t stream, bool async) {
  if (c.width == 0 || c.height == 0) return cudaSuccess;
  if (c.height > 1 && (c.dpitch < c.width || c.spitch < c.width)) return cudaErrorInvalidValue;
  where to = find(c.dst, (c.height - 1) * c.dpitch + c.width), from = find(c.src, (c.height - 1) * c.spitch + c.width);
  bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice || (kind == cudaMemcpyDefault && to == DEVICE);
  bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice || (kind == cudaMemcpyDefault && from == DEVICE);
  if (to == OUTSIDE || from == OUTSIDE || to_device != (to == DEVICE) || from_device != (from == DEVICE)) return cudaErrorInvalidValue;
  if (!async) {
    shim_drain_default();
    if (shim.sticky == cudaSuccess) copy_rows(c);
    return shim.sticky;
  }
  std::shared_ptr<std::vector<unsigned char>> staged;
  if (from == HOST) {
    staged = std::make_shared<std::vector<unsigned char>>(c.width * c.height);
    copy_rows(copy2d{staged->data(), c.width, c.src, c.spitch, c.width, c.height});
    c.src = staged->data();
    c.spitch = c.width;
  }
  cudaError_t code = shim_push(stream, [staged, c] { copy_rows(c); });
  if (code == cudaSuccess && to == HOST) code = shim_drain(stream);
  return code == cudaSuccess && to == HOST ? shim.sticky : code;
}

extern "C" {

/* for the fake cuBLASLt */
__attribute__((visibility("default"))) int shim_is_device(const void *p, size_t bytes) {
  SHIM_ENTER_ANYWAY;
  return find(p, bytes) == DEVICE;
}

size_t shim_live_allocations(void) { return live.size(); }

cudaError_t cudaMalloc(void **p, size_t bytes) {
  SHIM_ENTER;
  return allocate(p, bytes, true);
}

cudaError_t cudaFree(void *p) {
  SHIM_ENTER_ANYWAY;
  return release(p, true);
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
  SHIM_ENTER;
  return allocate(p, bytes, false);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) { return cudaMallocHost(p, bytes); }

cudaError_t cudaFreeHost(void *p) {
  SHIM_ENTER_ANYWAY;
  return release(p, false);
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind) {
  SHIM_ENTER;
  return shim_fail(copy(copy2d{(unsigned char *)dst, bytes, (const unsigned char *)src, bytes, bytes, 1}, kind, nullptr, false));
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  SHIM_ENTER;
  return shim_fail(copy(copy2d{(unsigned char *)dst, bytes, (const unsigned char *)src, bytes, bytes, 1}, kind, stream, true));
}

cudaError_t cudaMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height, cudaMemcpyKind kind) {
  SHIM_ENTER;
  return shim_fail(copy(copy2d{(unsigned char *)dst, dpitch, (const unsigned char *)src, spitch, width, height}, kind, nullptr, false));
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  SHIM_ENTER;
  return shim_fail(copy(copy2d{(unsigned char *)dst, dpitch, (const unsigned char *)src, spitch, width, height}, kind, stream, true));
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
  SHIM_ENTER;
  if (bytes == 0) return cudaSuccess;
  if (find(p, bytes) != DEVICE) return shim_fail(cudaErrorInvalidValue);
  return shim_fail(shim_push(stream, [=] { memset(p, value, bytes); }));
}

cudaError_t cudaMemset(void *p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

cudaError_t cudaMemGetInfo(size_t *bytes_free, size_t *bytes_total) {
  SHIM_ENTER;
  if (bytes_free == nullptr || bytes_total == nullptr) return shim_fail(cudaErrorInvalidValue);
  *bytes_total = shim.memory;
  *bytes_free = shim.memory > device_bytes ? shim.memory - device_bytes : 0;
  return cudaSuccess;
}
}
