/* Conversions against numpy and torch (goldens by tests/oracle/gen_convert.py), and every implementation against half.h. */
#include "test_support.h"

#include "base/convert.h"
#include "base/file.h"
#include "base/half.h"

static float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static void test_goldens(void **state) {
  (void)state;
  lct_error err;
  lct_buf b = {0};
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/tests/goldens/convert/convert.bin", 1 << 20, &b, &err));
  int32_t n, counts[2];
  memcpy(&n, b.data, 4);
  size_t count = (size_t)n;
  assert_int_equal(b.len, 4 + count * 8 + 8);
  float *x = malloc(count * 4);
  uint16_t *want = malloc(count * 4), *got = malloc(count * 2);
  assert_true(x != NULL && want != NULL && got != NULL);
  memcpy(x, b.data + 4, count * 4);
  memcpy(want, b.data + 4 + count * 4, count * 4);
  memcpy(counts, b.data + 4 + count * 8, 8);
  for (int l = 0; l <= (int)lct_convert_best(); l++) {
    size_t saturated = 5;
    lct_f32_to_f16_level((lct_convert_level)l, x, got, count, &saturated);
    assert_memory_equal(got, want, count * 2);
    assert_int_equal(saturated, 5 + counts[0]);
  }
  size_t saturated = 0;
  lct_f32_to_bf16_array(x, got, count, &saturated);
  assert_memory_equal(got, want + count, count * 2);
  assert_int_equal(saturated, counts[1]);
  lct_buf_free(&b);
  free(x);
  free(want);
  free(got);
}

enum { N = 16384 };

/* A batch of floats through every implementation, element by element against half.h. */
static void check_batch(const float *x, size_t n) {
  static uint16_t got[N];
  size_t want_saturated = 0;
  for (size_t i = 0; i < n; i++) {
    want_saturated += (lct_f32_to_f16(x[i]) & 0x7fff) == 0x7c00 && x[i] - x[i] == 0;
  }
  for (int l = 0; l <= (int)lct_convert_best(); l++) {
    size_t saturated = 0;
    lct_f32_to_f16_level((lct_convert_level)l, x, got, n, &saturated);
    for (size_t i = 0; i < n; i++) {
      uint16_t want = lct_f32_to_f16(x[i]);
      if (got[i] != want) fail_msg("f16 level %d of %a: %04x, not %04x", l, (double)x[i], got[i], want);
    }
    assert_int_equal(saturated, want_saturated);
  }
  lct_f32_to_bf16_array(x, got, n, NULL);
  for (size_t i = 0; i < n; i++) {
    if (got[i] != lct_f32_to_bf16(x[i])) fail_msg("bf16 of %a: %04x, not %04x", (double)x[i], got[i], lct_f32_to_bf16(x[i]));
  }
}

/* Every sign, exponent and leading mantissa, with the low bits around every rounding boundary; all 2^32 with LCT_TEST_BIG=1. */
static void test_float_to_half_everywhere(void **state) {
  (void)state;
  static const uint32_t low[] = {0,      1,      0xfff,  0x1000, 0x1001, 0x1fff, 0x2fff, 0x3000, 0x3001,
                                 0x7fff, 0x8000, 0x8001, 0xb000, 0xd001, 0xefff, 0xf000, 0xf001, 0xffff};
  static float x[N];
  size_t n = 0;
  bool all = getenv("LCT_TEST_BIG") != NULL;
  uint32_t n_low = all ? 65536 : (uint32_t)(sizeof low / sizeof *low);
  for (uint32_t top = 0; top < 65536; top++) {
    for (uint32_t j = 0; j < n_low; j++) {
      x[n++] = float_of(top << 16 | (all ? j : low[j]));
      if (n == N) {
        check_batch(x, n);
        n = 0;
      }
    }
  }
  check_batch(x, n);
}

static void test_half_to_float_all(void **state) {
  (void)state;
  static uint16_t h[65536];
  static float got[65536];
  for (uint32_t i = 0; i < 65536; i++) h[i] = (uint16_t)i;
  for (int l = 0; l <= (int)lct_convert_best(); l++) {
    memset(got, 0x55, sizeof got);
    lct_f16_to_f32_level((lct_convert_level)l, h, got, 65536);
    for (uint32_t i = 0; i < 65536; i++) {
      float want = lct_f16_to_f32(h[i]);
      if (memcmp(&got[i], &want, 4) != 0) fail_msg("level %d: %04x gives %a, not %a", l, h[i], (double)got[i], (double)want);
    }
  }
  lct_bf16_to_f32_array(h, got, 65536);
  for (uint32_t i = 0; i < 65536; i++) {
    float want = lct_bf16_to_f32(h[i]);
    assert_memory_equal(&got[i], &want, 4);
  }
}

/* Every length and a misaligned start: nothing outside dst is touched. */
static void test_lengths(void **state) {
  (void)state;
  float x[70], back[70];
  uint16_t h[70];
  for (int i = 0; i < 70; i++) x[i] = (float)i * 0.37f - 9.0f;
  for (int l = 0; l <= (int)lct_convert_best(); l++) {
    for (size_t n = 0; n < 66; n++) {
      memset(h, 0xee, sizeof h);
      memset(back, 0xee, sizeof back);
      lct_f32_to_f16_level((lct_convert_level)l, x + 1, h + 1, n, NULL);
      lct_f16_to_f32_level((lct_convert_level)l, h + 1, back + 1, n);
      for (size_t i = 0; i < n; i++) {
        assert_int_equal(h[1 + i], lct_f32_to_f16(x[1 + i]));
        assert_true(back[1 + i] == lct_f16_to_f32(h[1 + i]));
      }
      assert_int_equal(h[0], 0xeeee);
      assert_int_equal(h[1 + n], 0xeeee);
      assert_true(memcmp(&back[1 + n], "\xee\xee\xee\xee", 4) == 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_goldens),
      cmocka_unit_test(test_float_to_half_everywhere),
      cmocka_unit_test(test_half_to_float_all),
      cmocka_unit_test(test_lengths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
