/* make_store DIR THREADS: a store of arrays of every kind whose values tests/oracle/check_store.py knows. Value i of an array is made of
 * mix(seed << 40 | i); the seed stands in the array's attributes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/zarr_write.h"

typedef struct {
  const char *name;
  int64_t rows;
  lct_zarr_meta meta;
} array;

#define SIZES(...) \
  { __VA_ARGS__ }
static const array ARRAYS[] = {
    {"tokens/hidden_out",
     600,
     {LCT_ZARR_F16, LCT_ZARR_BLOSC, 3, SIZES(0, 3, 64), SIZES(256, 3, 64), SIZES(64, 1, 64), {"token", "layer", "hidden"}}},
    {"tokens/large",
     300,
     {LCT_ZARR_F16, LCT_ZARR_BLOSC, 3, SIZES(0, 2, 2048), SIZES(512, 2, 2048), SIZES(256, 1, 2048), {"token", "layer"}}},
    {"tokens/ids", 600, {LCT_ZARR_I32, LCT_ZARR_ZSTD, 1, SIZES(0), SIZES(300), SIZES(100), {"token"}}},
    {"pooled/hidden_out", 130, {LCT_ZARR_F16, LCT_ZARR_BLOSC, 4, SIZES(0, 2, 3, 64), SIZES(64, 2, 3, 64), SIZES(32, 1, 1, 64), {""}}},
    {"scores", 130, {LCT_ZARR_F32, LCT_ZARR_ZSTD, 5, SIZES(0, 2, 3, 4, 5), SIZES(64, 2, 3, 4, 5), SIZES(32, 2, 3, 4, 5), {"row"}}},
    {"odd/a/b", 37, {LCT_ZARR_U16, LCT_ZARR_BLOSC, 3, SIZES(0, 5, 7), SIZES(16, 6, 9), SIZES(8, 2, 3), {""}}},
    {"odd/a/c", 37, {LCT_ZARR_F64, LCT_ZARR_ZSTD, 3, SIZES(0, 5, 7), SIZES(16, 6, 8), SIZES(4, 3, 8), {""}}},
    {"odd/tiny", 5, {LCT_ZARR_F16, LCT_ZARR_BLOSC, 2, SIZES(0, 3), SIZES(2, 3), SIZES(1, 1), {""}}},
    {"odd/edge", 3, {LCT_ZARR_F16, LCT_ZARR_BLOSC, 2, SIZES(0, 127), SIZES(2, 127), SIZES(1, 127), {""}}},
    {"odd/edge2", 3, {LCT_ZARR_F16, LCT_ZARR_BLOSC, 2, SIZES(0, 128), SIZES(2, 128), SIZES(1, 128), {""}}},
    {"odd/bytes", 20, {LCT_ZARR_I8, LCT_ZARR_ZSTD, 2, SIZES(0, 10), SIZES(16, 10), SIZES(8, 5), {""}}},
    {"odd/long", 20, {LCT_ZARR_I64, LCT_ZARR_ZSTD, 1, SIZES(0), SIZES(8), SIZES(8), {""}}},
    {"empty/f", 0, {LCT_ZARR_F16, LCT_ZARR_BLOSC, 2, SIZES(0, 4), SIZES(8, 4), SIZES(4, 4), {""}}},
    {"empty/i", 0, {LCT_ZARR_I32, LCT_ZARR_ZSTD, 1, SIZES(0), SIZES(8), SIZES(4), {""}}},
};
enum { N = sizeof ARRAYS / sizeof *ARRAYS, STEP = 7 };

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* Floats have few exponents, as activations have; integers are noise. */
static uint64_t value(lct_zarr_dtype t, uint64_t x) {
  uint64_t exponent = 10 + (x >> 20 & x >> 23 & 7);
  if (t == LCT_ZARR_F16 || t == LCT_ZARR_U16) return (x & 0x83ff) | exponent << 10;
  if (t == LCT_ZARR_F32) return (x & 0x807fffff) | (110 + exponent) << 23;
  if (t == LCT_ZARR_F64) return (x & 0x800fffffffffffff) | (1000 + exponent) << 52;
  return x;
}

static lct_status put_rows(lct_zarr_out *out, const array *a, uint64_t seed, int64_t from, int64_t to, lct_error *err) {
  int64_t values = lct_zarr_row_values(&a->meta);
  size_t item = lct_zarr_dtype_bytes(a->meta.dtype);
  while (from < to) {
    void *rows;
    int64_t n;
    LCT_TRY(lct_zarr_reserve(out, to - from, &rows, &n, err));
    for (int64_t i = 0; i < n * values; i++) {
      uint64_t v = value(a->meta.dtype, mix(seed << 40 | (uint64_t)(from * values + i)));
      memcpy((char *)rows + (size_t)i * item, &v, item);
    }
    LCT_TRY(lct_zarr_commit(out, n, err));
    from += n;
  }
  return LCT_OK;
}

static lct_status make(lct_zarr_writer *w, lct_error *err) {
  lct_zarr_out *outs[N];
  for (size_t i = 0; i < N; i++) {
    char attributes[64];
    (void)snprintf(attributes, sizeof attributes, "{\"seed\": %zu, \"rows\": %lld}", i, (long long)ARRAYS[i].rows);
    LCT_TRY(lct_zarr_writer_add(w, ARRAYS[i].name, &ARRAYS[i].meta, attributes, 0, &outs[i], err));
  }
  for (int64_t row = 0; row < 600; row += STEP) {
    for (size_t i = 0; i < N; i++) {
      int64_t to = row + STEP < ARRAYS[i].rows ? row + STEP : ARRAYS[i].rows;
      LCT_TRY(put_rows(outs[i], &ARRAYS[i], i, row, to, err));
    }
  }
  return lct_zarr_writer_finish(w, err);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: make_store DIR THREADS\n");
    return 2;
  }
  lct_error err = {0};
  lct_zarr_writer *w = NULL;
  lct_zarr_write_options o = {.fsync = LCT_FSYNC_OFF};
  lct_status s = lct_threads_new(atoi(argv[2]), &o.threads, &err);
  if (s == LCT_OK) s = lct_zarr_writer_new(argv[1], &o, &w, &err);
  if (s == LCT_OK) s = make(w, &err);
  lct_zarr_writer_free(w);
  lct_threads_free(o.threads);
  if (s != LCT_OK) fprintf(stderr, "%s\n", err.message);
  return s == LCT_OK ? 0 : 1;
}
