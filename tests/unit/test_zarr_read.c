/* What zarr-python wrote, read back by every kind of selection. */
#include "zarr_fixture.h"
#include "threads_support.h"

static const char *const NAMES[] = {"pooled/hidden", "whole", "short", "f32", "ids", "i8", "f64", "i64"};
enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

/* Reads a box and holds every element against its formula. The result stands between guards. */
static void check_box(lct_zarr *z, const int64_t *rows, size_t n_rows, const int64_t *start, const int64_t *count) {
  lct_error err;
  const lct_zarr_meta *m = lct_zarr_get_meta(z);
  size_t item = lct_zarr_dtype_bytes(m->dtype), n = rows != NULL ? n_rows : (size_t)count[0], per_row = 1;
  for (int d = 1; d < m->n_dims; d++) per_row *= (size_t)count[d];
  unsigned char *got = malloc(n * per_row * item + 32), want[8];
  assert_non_null(got);
  memset(got, 0xa5, n * per_row * item + 32);
  if (rows != NULL) assert_ok(lct_zarr_read_rows(z, rows, n_rows, start, count, got + 16, &err));
  else assert_ok(lct_zarr_read(z, start, count, got + 16, &err));
  for (size_t i = 0; i < n * per_row; i++) {
    int64_t at[LCT_ZARR_MAX_DIMS];
    size_t rest = i % per_row;
    at[0] = rows != NULL ? rows[i / per_row] : start[0] + (int64_t)(i / per_row);
    for (int d = m->n_dims - 1; d > 0; d--) {
      at[d] = start[d] + (int64_t)(rest % (size_t)count[d]);
      rest /= (size_t)count[d];
    }
    (void)zarr_value(m->dtype, zarr_flat(m, at), want);
    assert_memory_equal(got + 16 + i * item, want, item);
  }
  for (size_t i = 0; i < 16; i++) assert_true(got[i] == 0xa5 && got[16 + n * per_row * item + i] == 0xa5);
  free(got);
}

static void test_whole(void **state) {
  (void)state;
  for (size_t i = 0; i < N_NAMES; i++) {
    lct_zarr *z = zarr_golden(NAMES[i]);
    static const int64_t zero[LCT_ZARR_MAX_DIMS];
    check_box(z, NULL, 0, zero, lct_zarr_get_meta(z)->shape);
    lct_zarr_free(z);
  }
}

/* Pseudo-random boxes and lists of rows, of one reader, so that what it keeps between calls is used. */
static void test_boxes(void **state) {
  (void)state;
  uint32_t random = 1;
#define NEXT(n) ((int64_t)((random = random * 1664525u + 1013904223u) >> 8) % (n))
  for (size_t i = 0; i < N_NAMES; i++) {
    lct_zarr *z = zarr_golden(NAMES[i]);
    const lct_zarr_meta *m = lct_zarr_get_meta(z);
    for (int round = 0; round < 60; round++) {
      int64_t start[LCT_ZARR_MAX_DIMS], count[LCT_ZARR_MAX_DIMS], rows[50];
      for (int d = 0; d < m->n_dims; d++) {
        start[d] = NEXT(m->shape[d]);
        count[d] = NEXT(m->shape[d] - start[d] + 1);
        if (round % 3 == 0 && d > 0) { /* whole axes: what is decoded in place */
          start[d] = 0;
          count[d] = m->shape[d];
        }
      }
      size_t n_rows = (size_t)NEXT(50);
      for (size_t r = 0; r < n_rows; r++) rows[r] = r % 4 == 1 && rows[r - 1] + 1 < m->shape[0] ? rows[r - 1] + 1 : NEXT(m->shape[0]);
      check_box(z, NULL, 0, start, count);
      check_box(z, rows, n_rows, start, count);
    }
    lct_zarr_free(z);
  }
#undef NEXT
}

static void test_meta(void **state) {
  (void)state;
  lct_zarr *z = zarr_golden("pooled/hidden");
  const lct_zarr_meta *m = lct_zarr_get_meta(z);
  assert_int_equal(m->dtype, LCT_ZARR_F16);
  assert_int_equal(m->codec, LCT_ZARR_BLOSC);
  assert_int_equal(m->n_dims, 4);
  assert_memory_equal(m->shape, ((int64_t[]){37, 2, 3, 44}), 32);
  assert_memory_equal(m->shard, ((int64_t[]){16, 2, 4, 48}), 32);
  assert_memory_equal(m->chunk, ((int64_t[]){8, 1, 2, 24}), 32);
  assert_string_equal(m->dim_names[1], "position");
  assert_string_equal(lct_zarr_attributes(z),
                      "{\"llmct\":{\"positions\":[\"last\",\"content_mean\"],\"layers\":[0,1,2]},\"note\":\"\xc3\xa9\"}");
  lct_zarr_free(z);
  z = zarr_golden("holes");
  assert_string_equal(lct_zarr_get_meta(z)->dim_names[0], "row");
  assert_string_equal(lct_zarr_get_meta(z)->dim_names[1], "");
  assert_string_equal(lct_zarr_attributes(z), "{}");
  lct_zarr_free(z);
}

static void test_missing(void **state) {
  (void)state;
  lct_error err;
  lct_zarr *z = zarr_golden("holes");
  float got[70][4], want[4];
  assert_ok(lct_zarr_read(z, (int64_t[]){0, 0}, (int64_t[]){70, 4}, got, &err));
  for (uint64_t r = 0; r < 70; r++) {
    bool there = (r >= 4 && r < 8) || (r >= 20 && r < 24) || r >= 66;
    for (uint64_t i = 0; i < 4; i++) (void)zarr_value(LCT_ZARR_F32, r * 4 + i, &want[i]);
    for (size_t i = 0; i < 4; i++) assert_true(there ? got[r][i] == want[i] : got[r][i] != got[r][i]);
  }
  int64_t n_faults = -1;
  assert_ok(lct_zarr_verify(z, 0, 5, test_threads(2), NULL, NULL, &n_faults, &err));
  assert_int_equal(n_faults, 0);
  lct_zarr_free(z);
}

static void test_empty(void **state) {
  (void)state;
  lct_error err;
  char nothing;
  int64_t n_faults = -1;
  lct_zarr *z = zarr_golden("empty");
  assert_ok(lct_zarr_read(z, (int64_t[]){0, 0}, (int64_t[]){0, 4}, &nothing, &err));
  assert_ok(lct_zarr_read_rows(z, NULL, 0, (int64_t[]){0, 0}, (int64_t[]){0, 4}, &nothing, &err));
  assert_fails(lct_zarr_read(z, (int64_t[]){0, 0}, (int64_t[]){1, 4}, &nothing, &err), LCT_E_USAGE,
               "empty: axis 0 has 0 values, not 1 from 0 on");
  assert_ok(lct_zarr_verify(z, 0, 0, test_threads(2), NULL, NULL, &n_faults, &err));
  assert_int_equal(n_faults, 0);
  lct_zarr_free(z);
}

/* A store that is still being written: no zarr.json, the caller knows what it is. */
static void test_given_meta(void **state) {
  (void)state;
  lct_error err;
  char dir[64], path[128];
  zarr_copy("f32", dir);
  lct_zarr *z = zarr_golden("f32");
  lct_zarr_meta m = *lct_zarr_get_meta(z);
  lct_zarr_free(z);
  (void)snprintf(path, sizeof path, "%s/f32/zarr.json", dir);
  assert_int_equal(remove(path), 0);
  m.shape[0] = 8; /* one whole shard */
  assert_ok(lct_zarr_open(dir, "f32", &m, &z, &err));
  assert_string_equal(lct_zarr_attributes(z), "{}");
  check_box(z, NULL, 0, (int64_t[]){0, 0, 0}, m.shape);
  lct_zarr_free(z);
  m.chunk[1] = 2;
  assert_fails(lct_zarr_open(dir, "f32", &m, &z, &err), LCT_E_FORMAT, "f32: axis 1: shards of 5 are not whole chunks of 2");
  zarr_remove(dir);
}

static void test_outside(void **state) {
  (void)state;
  lct_error err;
  float out[4];
  lct_zarr *z = zarr_golden("holes");
  assert_fails(lct_zarr_read(z, (int64_t[]){70, 0}, (int64_t[]){1, 4}, out, &err), LCT_E_USAGE,
               "holes: axis 0 has 70 values, not 1 from 70 on");
  assert_fails(lct_zarr_read(z, (int64_t[]){0, 2}, (int64_t[]){1, 3}, out, &err), LCT_E_USAGE,
               "holes: axis 1 has 4 values, not 3 from 2 on");
  assert_fails(lct_zarr_read(z, (int64_t[]){0, INT64_MAX}, (int64_t[]){1, INT64_MAX}, out, &err), LCT_E_USAGE,
               "holes: axis 1 has 4 values, not 9223372036854775807 from 9223372036854775807 on");
  assert_fails(lct_zarr_read(z, (int64_t[]){-1, 0}, (int64_t[]){1, 4}, out, &err), LCT_E_USAGE,
               "holes: axis 0 has 70 values, not 1 from -1 on");
  assert_fails(lct_zarr_read_rows(z, (int64_t[]){3, 70}, 2, (int64_t[]){0, 0}, (int64_t[]){0, 4}, out, &err), LCT_E_USAGE,
               "holes: axis 0 has 70 values, not 1 from 70 on");
  int64_t n;
  assert_fails(lct_zarr_verify(z, 0, 6, test_threads(2), NULL, NULL, &n, &err), LCT_E_USAGE, "holes has 5 shards, not 0 to 6");
  lct_zarr_free(z);
  lct_zarr_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole), cmocka_unit_test(test_boxes),      cmocka_unit_test(test_meta),    cmocka_unit_test(test_missing),
      cmocka_unit_test(test_empty), cmocka_unit_test(test_given_meta), cmocka_unit_test(test_outside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
