/* What the tests of the store's reader share: the goldens of tests/oracle/gen_zarr.py and copies of them to break. */
#ifndef LCT_ZARR_FIXTURE_H
#define LCT_ZARR_FIXTURE_H

#include "test_support.h"

#include "base/file.h"
#include "store/zarr_read.h"

#define ZARR_GOLDENS LCT_SOURCE_DIR "/tests/goldens/store/zarr"

/* Element i as gen_zarr.py makes it; returns its bytes. */
static inline size_t zarr_value(lct_zarr_dtype t, uint64_t i, void *out) {
  uint32_t h = (uint32_t)((i + 1) * UINT64_C(2654435761));
  uint16_t f16 = (uint16_t)((h >> 16 & 0x83ff) | (12 + (h >> 8 & 3)) << 10);
  double f64 = (double)h / 1048576.0 - 2048.0;
  float f32 = (float)f64;
  int64_t i64 = (int64_t)((uint64_t)h * h) >> 1;
  if (t == LCT_ZARR_F16) memcpy(out, &f16, 2);
  if (t == LCT_ZARR_F32) memcpy(out, &f32, 4);
  if (t == LCT_ZARR_F64) memcpy(out, &f64, 8);
  if (t == LCT_ZARR_I64) memcpy(out, &i64, 8);
  if (t == LCT_ZARR_I8 || t == LCT_ZARR_U16 || t == LCT_ZARR_I32) memcpy(out, &h, lct_zarr_dtype_bytes(t));
  return lct_zarr_dtype_bytes(t);
}

/* The element at a place given by its index along every axis. */
static inline uint64_t zarr_flat(const lct_zarr_meta *m, const int64_t *at) {
  uint64_t flat = 0;
  for (int d = 0; d < m->n_dims; d++) flat = flat * (uint64_t)m->shape[d] + (uint64_t)at[d];
  return flat;
}

static inline lct_zarr *zarr_golden(const char *name) {
  lct_error err;
  lct_zarr *z = NULL;
  assert_ok(lct_zarr_open(ZARR_GOLDENS, name, NULL, &z, &err));
  return z;
}

/* A new folder with a copy of a golden array, called `name` too. */
static inline void zarr_copy(const char *name, char dir[64]) {
  char command[512];
  (void)snprintf(dir, 64, "/tmp/lct-zarr-XXXXXX");
  assert_non_null(mkdtemp(dir));
  (void)snprintf(command, sizeof command, "cp -r '%s/%s' '%s/'", ZARR_GOLDENS, name, dir);
  assert_int_equal(system(command), 0);
}

static inline void zarr_remove(const char *dir) {
  char command[128];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(system(command), 0);
}

#endif
