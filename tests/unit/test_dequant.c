/* Block formats against gguf-py's dequantize: random blocks, and every tensor of the real SmolLM2 file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sha256.h>

#include "base/half.h"
#include "model/dequant.h"
#include "model/gguf.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/gguf/"

static void read_file(const char *path, lct_buf *b) {
  lct_error err = {0};
  if (lct_file_read(path, (size_t)1 << 24, b, &err) != LCT_OK) fail_msg("%s", err.message);
}

static lct_dtype dtype_named(const char *name) {
  for (int t = 0; t < LCT_DTYPE_COUNT; t++) {
    if (strcmp(lct_dtype_name((lct_dtype)t), name) == 0) return (lct_dtype)t;
  }
  fail_msg("no type %s", name);
  return LCT_DTYPE_COUNT;
}

static bool same_bits(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, 4) == 0; }

static void test_random_blocks(void **state) {
  (void)state;
  lct_buf b = {0};
  read_file(GOLDENS "dequant.bin", &b);
  int n_types = 0;
  for (size_t at = 0; at < b.len; n_types++) {
    int64_t n = 0;
    lct_dtype t = dtype_named(b.data + at);
    memcpy(&n, b.data + at + 8, 8);
    const size_t n_src = lct_dtype_row_bytes(t, n);
    const char *src = b.data + at + 16, *want = src + n_src;
    assert_int_equal(n % lct_dtype_block(t), 0);
    assert_true(at + 16 + n_src + (size_t)n * 4 <= b.len);
    /* Exact copies, the source at an odd address: a read or write outside them is seen by the sanitizers. */
    char *odd = malloc(n_src + 1);
    float *got = malloc((size_t)n * sizeof *got);
    assert_non_null(odd);
    assert_non_null(got);
    memcpy(odd + 1, src, n_src);
    lct_dequant(t, odd + 1, n, got);
    for (int64_t i = 0; i < n; i++) {
      float w;
      memcpy(&w, want + 4 * i, 4);
      if (!same_bits(got[i], w))
        fail_msg("%s: element %lld: expected %a, found %a", lct_dtype_name(t), (long long)i, (double)w, (double)got[i]);
    }
    free(odd);
    free(got);
    at += 16 + n_src + (size_t)n * 4;
  }
  assert_int_equal(n_types, LCT_DTYPE_COUNT);
  lct_buf_free(&b);
}

/* The vector loops for rows of halves, against the scalar conversions of base/half.h, on every value there is. */
static void test_all_halves(void **state) {
  (void)state;
  uint16_t *h = malloc(65536 * sizeof *h);
  float *f = malloc(65536 * sizeof *f);
  assert_non_null(h);
  assert_non_null(f);
  for (int i = 0; i < 65536; i++) h[i] = (uint16_t)i;
  lct_dequant(LCT_DTYPE_F16, h, 65536, f);
  for (int i = 0; i < 65536; i++) assert_true(same_bits(f[i], lct_f16_to_f32((uint16_t)i)));
  lct_dequant(LCT_DTYPE_BF16, h, 65536, f);
  for (int i = 0; i < 65536; i++) assert_true(same_bits(f[i], lct_bf16_to_f32((uint16_t)i)));
  free(h);
  free(f);
}

static void test_row_bytes(void **state) {
  (void)state;
  assert_int_equal(lct_dtype_row_bytes(LCT_DTYPE_F32, 5), 20);
  assert_int_equal(lct_dtype_row_bytes(LCT_DTYPE_Q4_1, 576), 360);
  assert_int_equal(lct_dtype_row_bytes(LCT_DTYPE_Q6_K, 512), 420);
  assert_int_equal(lct_dtype_block(LCT_DTYPE_Q8_0), 32);
  assert_string_equal(lct_dtype_name(LCT_DTYPE_Q5_K), "Q5_K");
}

static void tensor_sha(const lct_gguf_tensor *t, char out[65]) {
  SHA2_CTX ctx;
  SHA256Init(&ctx);
  float *row = malloc((size_t)t->dims[0] * sizeof *row);
  assert_non_null(row);
  size_t row_bytes = lct_dtype_row_bytes(t->dtype, t->dims[0]);
  for (int64_t r = 0; r < t->dims[1]; r++) {
    lct_dequant(t->dtype, t->data + (size_t)r * row_bytes, t->dims[0], row);
    SHA256Update(&ctx, (const uint8_t *)row, (size_t)t->dims[0] * sizeof *row);
  }
  free(row);
  (void)SHA256End(&ctx, out);
}

static void test_smollm2_tensors(void **state) {
  (void)state;
  const char *path = getenv("LCT_SMOLLM2_GGUF");
  if (path == NULL) {
    print_message("skipped: LCT_SMOLLM2_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf\n");
    skip();
  }
  lct_error err = {0};
  lct_map map = {0};
  lct_gguf *g = NULL;
  lct_buf golden = {0};
  read_file(GOLDENS "smollm2.sha", &golden);
  if (lct_map_open(path, &map, &err) != LCT_OK || lct_gguf_parse(map.data, map.size, path, &g, &err) != LCT_OK) {
    fail_msg("%s", err.message);
  }
  size_t n = 0;
  char *save = NULL;
  for (char *line = strtok_r(golden.data, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save), n++) {
    char want[65], name[128], got[65];
    long long rows = 0, cols = 0;
    assert_int_equal(sscanf(line, "%64s %lld %lld %127s", want, &rows, &cols, name), 4);
    const lct_gguf_tensor *t = lct_gguf_tensor_at(g, n);
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_ptr_equal(lct_gguf_tensor_find(g, name), t);
    assert_int_equal(t->dims[0], cols);
    assert_int_equal(t->dims[1], rows);
    tensor_sha(t, got);
    if (strcmp(got, want) != 0) fail_msg("%s (%s): expected %s, found %s", name, lct_dtype_name(t->dtype), want, got);
  }
  assert_int_equal(n, lct_gguf_n_tensors(g));
  lct_buf_free(&golden);
  lct_gguf_free(g);
  lct_map_close(&map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_blocks),
      cmocka_unit_test(test_all_halves),
      cmocka_unit_test(test_row_bytes),
      cmocka_unit_test(test_smollm2_tensors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
