/* Pooled vectors on the device: the bits that capture/pool.c makes on the host from the same rows. */
#include "rows_test.h"

#include "capture/pool.h"

enum { N_ROWS = 120 };

static const lct_dtype types[] = {LCT_DTYPE_F32, LCT_DTYPE_F16, LCT_DTYPE_BF16};

/* One row; means over runs shorter and longer than an unrolled step, over pieces, over all, over one row. */
static const lct_row_range RANGES[] = {{0, 120}, {5, 1}, {7, 15},  {9, 16},  {30, 17}, {3, 33},
                                       {1, 4},   {8, 2}, {20, 31}, {119, 1}, {0, 1},   {2, 1}};
static const lct_pooled LIST[] = {{0, 0, 0},  {-1, 0, 1}, {119, 0, 0}, {-1, 1, 1}, {-1, 2, 1}, {-1, 3, 1},
                                  {-1, 4, 1}, {-1, 5, 1}, {-1, 6, 4},  {57, 0, 0}, {-1, 9, 1}, {-1, 10, 2}};
enum { N_LIST = sizeof LIST / sizeof *LIST };

/* The same by the pool on the host: (N_LIST, dim). */
static float *pool_on_host(const float *rows, int dim) {
  const lct_plane plane = {LCT_SOURCE_HIDDEN_OUT, 0};
  const lct_stream stream = {.planes = &plane, .n_planes = 1, .width = dim};
  lct_pool_entry entries[N_LIST];
  lct_pool *p = NULL;
  for (int i = 0; i < N_LIST; i++) {
    entries[i] = (lct_pool_entry){.row = LIST[i].row, .mean = RANGES + LIST[i].first, .n_mean = LIST[i].n};
  }
  const lct_pool_rows item = {.item = 0, .entries = entries};
  float *out = malloc((size_t)N_LIST * (size_t)dim * sizeof *out);
  assert_non_null(out);
  assert_ok(lct_pool_new(NULL, &stream, 1, N_LIST, &p, &err));
  assert_ok(lct_pool_reserve(p, 1, &err));
  lct_pool_begin(p, &item, 1, N_ROWS);
  assert_ok(lct_pool_taker(p).rows(p, LCT_SOURCE_HIDDEN_OUT, 0, 0, N_ROWS, rows, dim, &err));
  for (int i = 0; i < N_LIST; i++) memcpy(out + (size_t)i * (size_t)dim, lct_pool_vectors(p, 0, i, 0), (size_t)dim * sizeof *out);
  lct_pool_free(p);
  return out;
}

/* Values of very different sizes, so that another order of a sum gives other bits, zeros of both signs, and what is not finite. */
static float *make_rows(size_t n, bool special) {
  float *x = test_floats(3, n, 1);
  for (size_t i = 0; i < n; i++) {
    x[i] = ldexpf(x[i], (int)(test_hash(4, (uint32_t)i) % 24) - 12);
    if (test_hash(5, (uint32_t)i) % 11 == 0) x[i] = -0.0f;
    if (special && test_hash(6, (uint32_t)i) % 4001 == 0) x[i] = INFINITY;
  }
  return x;
}

/* Columns [col0, col0 + dim) of rows ld apart. */
static void run_pool(lct_dtype t, int64_t ld, int col0, int dim, int dst0, bool special) {
  size_t total = (size_t)N_ROWS * (size_t)ld, floats = (size_t)N_LIST * (size_t)dim;
  float *x = make_rows(total, special), *rows = malloc((size_t)N_ROWS * (size_t)dim * sizeof *rows);
  assert_non_null(rows);
  for (size_t i = 0; i < (size_t)N_ROWS * (size_t)dim; i++) {
    rows[i] = test_round(t, x[i / (size_t)dim * (size_t)ld + (size_t)col0 + i % (size_t)dim]);
  }
  float *want = pool_on_host(rows, dim);
  test_buffer src = test_upload_as(t, x, total), list = test_upload(LIST, sizeof LIST), ranges = test_upload(RANGES, sizeof RANGES);
  test_buffer dst = test_output((floats + (size_t)dst0) * sizeof(float));
  assert_ok(lct_k_pool(t, (char *)src.d + (size_t)col0 * test_size(t), ld, dim, list.d, ranges.d, N_LIST, (float *)dst.d + dst0, 0, &err));
  float *got = test_download(&dst);
  assert_true(test_is_blank(got, 0, (size_t)dst0 * sizeof *got));
  assert_same_bits(got + dst0, want, floats * sizeof *got);
  test_unchanged(&list, LIST);
  test_unchanged(&ranges, RANGES);
  test_buffer *all[] = {&src, &list, &ranges, &dst};
  for (int i = 0; i < N_OF(all); i++) test_release(all[i]);
  free(x);
  free(rows);
  free(want);
  free(got);
}

static void test_shapes(void **state) {
  (void)state;
  const struct {
    int64_t ld;
    int col0, dim, dst0;
  } shapes[] = {{1, 0, 1, 0},   {2, 0, 2, 0},    {3, 0, 3, 0},     {64, 0, 64, 0},   {64, 0, 64, 1},     {66, 1, 64, 0},
                {67, 2, 64, 2}, {96, 32, 63, 0}, {256, 0, 256, 0}, {258, 0, 258, 0}, {600, 300, 300, 2}, {896, 0, 896, 0}};
  for (int s = 0; s < N_OF(shapes); s++) {
    for (int k = 0; k < N_OF(types); k++) run_pool(types[k], shapes[s].ld, shapes[s].col0, shapes[s].dim, shapes[s].dst0, false);
  }
}

static void test_not_finite(void **state) {
  (void)state;
  for (int k = 0; k < N_OF(types); k++) run_pool(types[k], 130, 0, 130, 0, true);
}

/* A row number times ld beyond 2^32 elements: the buffer is thought to begin so far before its rows. */
static void test_far(void **state) {
  (void)state;
  const int64_t ld = 151936;
  const int32_t row = (int32_t)((INT64_C(1) << 33) / ld);
  const lct_row_range range = {row, 1};
  const lct_pooled list[] = {{row, 0, 0}, {-1, 0, 1}};
  float *x = test_floats(8, 64, 1);
  test_buffer src = test_upload_as(LCT_DTYPE_F16, x, 64), d_list = test_upload(list, sizeof list),
              ranges = test_upload(&range, sizeof range);
  test_buffer dst = test_output(2 * 64 * sizeof(float));
  uintptr_t begin = (uintptr_t)src.d - (uintptr_t)row * (uintptr_t)ld * 2;
  assert_ok(lct_k_pool(LCT_DTYPE_F16, (const void *)begin, ld, 64, d_list.d, ranges.d, 2, dst.d, 0, &err));
  float *got = test_download(&dst);
  for (int i = 0; i < 2 * 64; i++) assert_true(got[i] == test_round(LCT_DTYPE_F16, x[i % 64]));
  test_buffer *all[] = {&src, &d_list, &ranges, &dst};
  for (int i = 0; i < N_OF(all); i++) test_release(all[i]);
  free(x);
  free(got);
}

static void test_refusals(void **state) {
  (void)state;
  float *d = to_device(NULL, 1024);
  assert_fails(lct_k_pool(LCT_DTYPE_Q8_0, d, 4, 4, (void *)d, (void *)d, 1, d, 0, &err), LCT_E_UNSUPPORTED,
               "pool: no kernel for type Q8_0");
  assert_fails(lct_k_pool(LCT_DTYPE_F32, d, 3, 4, (void *)d, (void *)d, 1, d, 0, &err), LCT_E_UNSUPPORTED,
               "pool: 1 vectors of 4 elements, 3 apart: expected at most 8388480 elements");
  assert_ok(lct_k_pool(LCT_DTYPE_F32, d, 4, 4, (void *)d, (void *)d, 0, d, 0, &err));
  assert_blank(d, 1024);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_far),
      cmocka_unit_test(test_refusals),
  };
  test_need_gpu();
  return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
