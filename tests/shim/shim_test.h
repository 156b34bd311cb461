/* What the tests of the shim share. */
#ifndef LCT_SHIM_TEST_H
#define LCT_SHIM_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "device.cuh"
#include "fiber.h"
#include "shim.h"

static const char *const schedules[] = {"forward,early",  "forward,late",  "reverse,early",  "reverse,late",
                                        "random:1,early", "random:2,late", "random:3,early", "random:4,late"};

static inline uint32_t hash(uint32_t u) {
  u ^= u >> 16;
  u *= 0x7FEB352Du;
  u ^= u >> 15;
  u *= 0x846CA68Bu;
  u ^= u >> 16;
  return u;
}

static inline void check(cudaError_t code) { assert_string_equal(cudaGetErrorName(code), "cudaSuccess"); }

template <typename T>
struct device {
  T *p = nullptr;
  size_t n;
  explicit device(size_t count) : n(count) { check(cudaMalloc((void **)&p, n * sizeof(T))); }
  explicit device(const std::vector<T> &v) : device(v.size()) { check(cudaMemcpy(p, v.data(), n * sizeof(T), cudaMemcpyHostToDevice)); }
  device(const device &) = delete;
  device &operator=(const device &) = delete;
  ~device() { check(cudaFree(p)); }
  std::vector<T> get() const {
    std::vector<T> v(n);
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
};

/* f ends the program, after saying `message`: it runs in a child */
template <typename F>
static void assert_dies(F f, const char *message) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  (void)fflush(nullptr);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)dup2(ends[1], 2);
    (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the other tests */
    f();
    check(cudaDeviceSynchronize());
    _exit(0);
  }
  (void)close(ends[1]);
  char text[2048];
  size_t n = 0;
  for (ssize_t got = 1; got > 0 && n + 1 < sizeof text; n += got > 0 ? (size_t)got : 0) got = read(ends[0], text + n, sizeof text - 1 - n);
  text[n] = 0;
  (void)close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) fail_msg("the program went on; it said: %s", text);
  if (strstr(text, message) == nullptr) fail_msg("expected: %s\nit said: %s", message, text);
}

#endif
