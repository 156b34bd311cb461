/* Embedding, gather, conversion, finite check: exact results, compared bit for bit with src/base/half.h. */
#include <float.h>

#include "rows_test.h"

static const lct_dtype sources[] = {LCT_DTYPE_F32, LCT_DTYPE_F16, LCT_DTYPE_BF16};

static float value_at(lct_dtype t, const void *p, size_t i) {
  return t == LCT_DTYPE_F32 ? ((const float *)p)[i] : test_half_f32(t, ((const uint16_t *)p)[i]);
}

static void *make_source(lct_dtype t, uint32_t seed, size_t n) {
  return t == LCT_DTYPE_F32 ? (void *)test_floats(seed, n, 100) : (void *)test_halves(t, seed, n, 100);
}

/* ---- embedding and gather ---- */

/* Rows of dim elements, ld apart, beginning col0 elements into the table; rows NULL: 0 .. n - 1. The table has n_table rows. */
static void run_gather(lct_dtype t, int64_t ld, int col0, int dim, int n_table, const int32_t *rows, int n, bool embed) {
  size_t total = (size_t)n_table * (size_t)ld;
  unsigned char *table = make_source(t, 5, total);
  char *d_table = to_device(table, total * test_size(t));
  int32_t *d_rows = rows == NULL ? NULL : to_device(rows, (size_t)n * 4);
  float *d_out = to_device(NULL, (size_t)n * (size_t)dim * 4);
  if (embed) {
    assert_ok(lct_k_embed(t, d_table, d_rows, n, dim, d_out, 0, &err));
  } else {
    assert_ok(lct_k_gather(t, d_table + (size_t)col0 * test_size(t), ld, d_rows, n, dim, d_out, 0, &err));
  }
  float *out = from_device(d_out, (size_t)n * (size_t)dim * 4);
  for (int i = 0; i < n; i++) {
    size_t at = (size_t)(rows == NULL ? i : rows[i]) * (size_t)ld + (size_t)col0;
    for (int j = 0; j < dim; j++) {
      float want = value_at(t, table, at + (size_t)j);
      assert_memory_equal(&out[(size_t)i * (size_t)dim + (size_t)j], &want, 4);
    }
  }
  device_free(d_table);
  device_free(d_rows);
  free(table);
  free(out);
}

static void test_embed(void **state) {
  (void)state;
  const int dims[] = {1, 3, 4, 5, 8, 64, 66, 100, 128, 516, 896, 2048, 4100, 4101};
  const int ns[] = {0, 1, 2, 5, 33};
  int32_t tokens[33];
  for (int i = 0; i < 33; i++) tokens[i] = (int32_t)(test_hash(9, (size_t)i) % 11);
  tokens[1] = 10;
  for (int d = 0; d < N_OF(dims); d++) {
    for (int i = 0; i < N_OF(ns); i++) run_gather(sources[(d + i) % 3], dims[d], 0, dims[d], 11, tokens, ns[i], true);
  }
}

/* Columns of wider rows, from aligned and odd places. */
static void test_gather(void **state) {
  (void)state;
  const struct {
    int64_t ld;
    int col0, dim;
  } shapes[] = {{64, 0, 64}, {96, 32, 64}, {97, 32, 64}, {96, 33, 63}, {96, 1, 64}, {1000, 500, 500}, {1000, 998, 2}, {2048, 4, 2044}};
  const int32_t rows[] = {6, 0, 3, 3, 6, 5, 1};
  for (int s = 0; s < N_OF(shapes); s++) {
    for (int k = 0; k < 3; k++) {
      run_gather(sources[k], shapes[s].ld, shapes[s].col0, shapes[s].dim, 7, rows, 7, false);
      run_gather(sources[k], shapes[s].ld, shapes[s].col0, shapes[s].dim, 7, NULL, 7, false);
      run_gather(sources[k], shapes[s].ld, shapes[s].col0, shapes[s].dim, 7, rows + 2, 1, false);
    }
  }
}

/* A row number times ld beyond 2^31 elements, and 2^32: the table is thought to begin so far before the buffer that its row lies in it. */
static void test_gather_far(void **state) {
  (void)state;
  const int64_t lds[] = {4096, 151936};
  for (int k = 0; k < 3; k++) {
    for (int l = 0; l < 2; l++) {
      int32_t row = (int32_t)((INT64_C(1) << 33) / lds[l]);
      unsigned char *table = make_source(sources[k], 6, 64);
      void *d_table = to_device(table, 64 * test_size(sources[k]));
      uintptr_t begin = (uintptr_t)d_table - (uintptr_t)row * (uintptr_t)lds[l] * test_size(sources[k]);
      int32_t *d_row = to_device(&row, 4);
      float *d_out = to_device(NULL, 64 * 4);
      assert_ok(lct_k_gather(sources[k], (const void *)begin, lds[l], d_row, 1, 64, d_out, 0, &err));
      float *out = from_device(d_out, 64 * 4);
      for (size_t i = 0; i < 64; i++) assert_true(out[i] == value_at(sources[k], table, i));
      device_free(d_table);
      device_free(d_row);
      free(table);
      free(out);
    }
  }
}

/* ---- finite check ---- */

static uint64_t find(const float *x, int n, int dim, int tag, uint64_t before) {
  float *d_x = to_device(x, (size_t)n * (size_t)dim * 4);
  uint64_t *d_first = to_device(&before, 8);
  assert_ok(lct_k_check_finite(d_x, n, dim, tag, d_first, 0, &err));
  uint64_t *p = from_device(d_first, 8), first = *p;
  device_free(d_x);
  free(p);
  return first;
}

static void test_finite_places(void **state) {
  (void)state;
  const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
  const struct { int n, dim; } shapes[] = {{1, 1}, {1, 3}, {2, 4}, {1, 5}, {3, 341}, {1, 4096}, {1, 4097}, {3, 2730}, {2, 4099}, {5, 896}};
  for (int s = 0; s < N_OF(shapes); s++) {
    size_t total = (size_t)shapes[s].n * (size_t)shapes[s].dim;
    float *x = test_floats(7, total, FLT_MAX);
    x[0] = FLT_MAX;
    x[total / 2] = -FLT_MAX;
    x[total - 1] = 0x1p-149f;
    assert_true(find(x, shapes[s].n, shapes[s].dim, 3, UINT64_MAX) == UINT64_MAX); /* and the canaries behind x were not looked at */
    const size_t places[] = {0, 1, 3, 4, 31, 127, 128, 1023, 1024, 4095, 4096, 4097, total / 2, total - 2, total - 1};
    for (int i = 0; i < N_OF(places); i++) {
      if (places[i] >= total) continue;
      float kept = x[places[i]];
      x[places[i]] = bad[i % 4];
      assert_int_equal(find(x, shapes[s].n, shapes[s].dim, 3, UINT64_MAX), (UINT64_C(3) << 40) + places[i]);
      x[places[i]] = kept;
    }
    free(x);
  }
}

static void test_finite_first_of_many(void **state) {
  (void)state;
  int n = 5, dim = 2051;
  float *x = test_floats(8, (size_t)n * (size_t)dim, 1);
  for (int i = 777; i < n * dim; i++) x[i] = i % 3 == 0 ? INFINITY : NAN;
  assert_int_equal(find(x, n, dim, 0, UINT64_MAX), 777);
  const uint64_t tag = UINT64_C(1) << 40;
  assert_int_equal(find(x, n, dim, 5, 4 * tag + 9000), 4 * tag + 9000); /* a lower tag stays, whatever its index */
  assert_int_equal(find(x, n, dim, 5, 6 * tag), 5 * tag + 777);
  assert_int_equal(find(x, n, dim, 5, 5 * tag + 778), 5 * tag + 777);
  assert_int_equal(find(x, n, dim, 5, 5 * tag + 776), 5 * tag + 776);
  assert_int_equal(find(x, n, dim, (1 << 24) - 1, UINT64_MAX), ((UINT64_C(1) << 24) - 1) * tag + 777);
  assert_int_equal(find(x, 0, dim, 1, 42), 42);
  free(x);
}

/* ---- conversion ---- */

/* What conversion says of one value, by half.h. */
static uint16_t convert_one(float x, lct_dtype to, uint64_t counts[3]) {
  uint16_t h = test_f32_half(to, x);
  float y = test_half_f32(to, h);
  counts[0] += isfinite(x) && !isfinite(y);
  counts[1] += x != 0 && y == 0;
  counts[2] += !isfinite(x);
  return h;
}

/* src begins src0 elements into its buffer, dst dst0 into its. */
static void run_convert(lct_dtype from, const void *src, size_t n, lct_dtype to, size_t src0, size_t dst0) {
  uint64_t counts[3] = {5, UINT64_C(1) << 33, 0}, want_counts[3];
  memcpy(want_counts, counts, sizeof counts);
  char *d_src = to_device(NULL, (src0 + n) * test_size(from));
  if (n > 0) CUDA_OK(cudaMemcpy(d_src + src0 * test_size(from), src, n * test_size(from), cudaMemcpyHostToDevice));
  uint16_t *d_dst = to_device(NULL, (dst0 + n) * 2);
  uint64_t *d_counts = to_device(counts, sizeof counts);
  assert_ok(lct_k_convert(from, d_src + src0 * test_size(from), (int64_t)n, to, d_dst + dst0, d_counts, 0, &err));
  uint16_t *dst = from_device(d_dst, (dst0 + n) * 2);
  uint64_t *got_counts = from_device(d_counts, sizeof counts);
  assert_true(test_is_blank(dst, 0, dst0 * 2));
  for (size_t i = 0; i < n; i++) {
    float x = value_at(from, src, i);
    uint16_t want = convert_one(x, to, want_counts), got = dst[dst0 + i];
    if (isnan(x) ? !isnan(test_half_f32(to, got)) : got != want) {
      fail_msg("%s to %s, element %zu of %zu: %a gave %04x, expected %04x", lct_dtype_name(from), lct_dtype_name(to), i, n, (double)x, got,
               want);
    }
  }
  for (int i = 0; i < 3; i++) assert_int_equal(got_counts[i], want_counts[i]);
  device_free(d_src);
  free(dst);
  free(got_counts);
}

static void test_convert_all_halves(void **state) {
  (void)state;
  uint16_t *all = test_blank(65536 * 2);
  for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
  for (int k = 0; k < 4; k++) run_convert(test_types[k % 2], all, 65536, test_types[k / 2], 0, 0);
  free(all);
}

/* Every float whose upper 16 bits are any and whose lower are at or beside a tie of f16 or bf16; then the limits. */
static void test_convert_floats(void **state) {
  (void)state;
  const uint32_t low[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xffff};
  for (int k = 0; k < N_OF(low); k++) {
    float *x = test_blank(65536 * 4);
    for (uint32_t i = 0; i < 65536; i++) {
      uint32_t u = i << 16 | low[k];
      memcpy(&x[i], &u, 4);
    }
    run_convert(LCT_DTYPE_F32, x, 65536, LCT_DTYPE_F16, 0, 0);
    run_convert(LCT_DTYPE_F32, x, 65536, LCT_DTYPE_BF16, 0, 0);
    free(x);
  }
  float limits[] = {65504,     65519.996f,  65520,           -65520,    65536,    1e30f,    FLT_MAX,      -FLT_MAX,
                    0x1p-24f,  0x1p-25f,    0x1.000002p-25f, -0x1p-25f, 0x1p-26f, 0x1p-14f, 0x1.ffcp-15f, 0x1p-133f,
                    0x1p-134f, 0x1.8p-134f, 0x1p-149f,       0,         -0.0f,    INFINITY, -INFINITY,    NAN};
  run_convert(LCT_DTYPE_F32, limits, sizeof limits / 4, LCT_DTYPE_F16, 0, 0);
  run_convert(LCT_DTYPE_F32, limits, sizeof limits / 4, LCT_DTYPE_BF16, 0, 0);
}

static void test_convert_sizes(void **state) {
  (void)state;
  const size_t ns[] = {0, 1, 3, 4, 5, 1023, 1024, 4095, 4096, 4097, 9001};
  const size_t offsets[][2] = {{0, 0}, {1, 0}, {0, 1}, {2, 2}, {3, 3}, {4, 4}, {8, 5}};
  for (int i = 0; i < N_OF(ns); i++) {
    for (int k = 0; k < 3; k++) {
      void *src = make_source(sources[k], 11, ns[i]);
      for (int o = 0; o < N_OF(offsets); o++) {
        run_convert(sources[k], src, ns[i], test_types[(i + o) % 2], offsets[o][0], offsets[o][1]);
      }
      free(src);
    }
  }
}

static void test_refusals(void **state) {
  (void)state;
  float *d = to_device(NULL, 1024);
  uint64_t *d_counts = to_device(NULL, 24);
  assert_fails(lct_k_embed(LCT_DTYPE_Q4_0, d, (int32_t *)d, 1, 4, d, 0, &err), LCT_E_UNSUPPORTED, "embed: no kernel for type Q4_0");
  assert_fails(lct_k_gather(LCT_DTYPE_Q8_0, d, 4, NULL, 1, 4, d, 0, &err), LCT_E_UNSUPPORTED, "gather: no kernel for type Q8_0");
  assert_fails(lct_k_gather(LCT_DTYPE_F32, d, 3, NULL, 1, 4, d, 0, &err), LCT_E_UNSUPPORTED, "gather: 1 rows of 4 elements, 3 apart");
  assert_fails(lct_k_convert(LCT_DTYPE_F32, d, 4, LCT_DTYPE_F32, d, d_counts, 0, &err), LCT_E_UNSUPPORTED,
               "convert (to): no kernel for type F32");
  assert_fails(lct_k_convert(LCT_DTYPE_Q6_K, d, 4, LCT_DTYPE_F16, d, d_counts, 0, &err), LCT_E_UNSUPPORTED,
               "convert (from): no kernel for type Q6_K");
  assert_fails(lct_k_check_finite(d, 1, 4, 1 << 24, d_counts, 0, &err), LCT_E_UNSUPPORTED,
               "check_finite: 1 rows of 4 elements, tag 16777216: expected fewer than 2^40 elements, a tag below 2^24");
  assert_fails(lct_k_check_finite(d + 1, 1, 4, 0, d_counts, 0, &err), LCT_E_UNSUPPORTED, "check_finite: x is not aligned to 16 bytes");
  assert_ok(lct_k_gather(LCT_DTYPE_F32, d, 4, NULL, 0, 4, d, 0, &err));
  device_free(d_counts);
  assert_blank(d, 1024);
}

/* More than 2^32 bytes and 2^31 elements: the last is found, and converted. */
static void test_many_elements(void **state) {
  (void)state;
  skip_without_gpu();
  int n = (1 << 20) + 1, dim = 2052;
  size_t total = (size_t)n * (size_t)dim;
  float *d_x = big_device(total * 4), bad = INFINITY;
  uint16_t *d_h = big_device(total * 2), got = 0;
  uint64_t none[4] = {UINT64_MAX, 0, 0, 0}, *d_numbers = to_device(none, sizeof none);
  CUDA_OK(cudaMemset(d_x, 0, total * 4));
  CUDA_OK(cudaMemcpy(d_x + total - 1, &bad, 4, cudaMemcpyHostToDevice));
  assert_ok(lct_k_check_finite(d_x, n, dim, 2, d_numbers, 0, &err));
  assert_ok(lct_k_convert(LCT_DTYPE_F32, d_x, (int64_t)total, LCT_DTYPE_F16, d_h, d_numbers + 1, 0, &err));
  CUDA_OK(cudaMemcpy(&got, d_h + total - 1, 2, cudaMemcpyDeviceToHost));
  uint64_t *numbers = from_device(d_numbers, sizeof none);
  assert_int_equal(numbers[0], (UINT64_C(2) << 40) + total - 1);
  assert_int_equal(numbers[1], 0);
  assert_int_equal(numbers[2], 0);
  assert_int_equal(numbers[3], 1);
  assert_int_equal(got, 0x7c00);
  free(numbers);
  CUDA_OK(cudaFree(d_x));
  CUDA_OK(cudaFree(d_h));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_embed),
      cmocka_unit_test(test_gather),
      cmocka_unit_test(test_gather_far),
      cmocka_unit_test(test_finite_places),
      cmocka_unit_test(test_finite_first_of_many),
      cmocka_unit_test(test_convert_all_halves),
      cmocka_unit_test(test_convert_floats),
      cmocka_unit_test(test_convert_sizes),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_many_elements),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
