/* Huffman-coded zstd frames: what zstd decodes is what was encoded, with and without vector instructions the same bytes, codes complete. */
#include "test_support.h"

#include <zstd.h>

#include "store/huffman.h"

static uint64_t seed = 3;

static uint32_t noise(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

/* The room that a code takes, in parts of 2^-11. */
static uint32_t room(const lct_huffman_code *c) {
  uint32_t sum = 0;
  for (int s = 0; s < 256; s++) {
    assert_true(c->bits[s] <= LCT_HUFFMAN_MAX_BITS);
    if (c->bits[s] > 0) sum += 1u << (LCT_HUFFMAN_MAX_BITS - c->bits[s]);
  }
  return sum;
}

static void test_codes(void **state) {
  (void)state;
  lct_huffman_code c;
  uint32_t count[256] = {0};
  assert_false(lct_huffman_make(count, &c));
  count[7] = 5;
  assert_false(lct_huffman_make(count, &c));
  count[200] = 1;
  assert_true(lct_huffman_make(count, &c));
  assert_true(c.bits[7] == 1 && c.bits[200] == 1 && c.bits[8] == 0);
  /* Huffman's own example: lengths by hand */
  memset(count, 0, sizeof count);
  const uint32_t five[] = {1, 1, 2, 3, 5, 8};
  for (int i = 0; i < 6; i++) count[10 + i] = five[i];
  assert_true(lct_huffman_make(count, &c));
  const uint8_t bits[] = {5, 5, 4, 3, 2, 1};
  assert_memory_equal(c.bits + 10, bits, 6);
  for (int i = 0; i < 2000; i++) {
    uint32_t a = 1, b = 1, n = 2 + noise() % 255, steep = noise() % 4;
    for (uint32_t s = 0; s < 256; s++) {
      if (steep == 0) { /* Fibonacci's numbers make the deepest trees */
        uint32_t next = a + b > 1u << 22 ? a : a + b;
        a = b, b = next;
        count[s] = s < n ? b : 0;
      } else {
        count[s] = s < n ? 1 + (noise() >> (8 + noise() % (steep * 7))) % 100000 : 0;
      }
    }
    assert_true(lct_huffman_make(count, &c));
    assert_int_equal(room(&c), 1u << LCT_HUFFMAN_MAX_BITS);
    for (int s = 0; s < 256; s++) assert_true((c.bits[s] > 0) == (count[s] > 0));
  }
}

/* n bytes whose probabilities fall by `base` of 256 from one to the next, `spread` different ones from `first` on. */
static void fill(unsigned char *p, size_t n, uint32_t base, uint32_t spread, uint32_t first) {
  for (size_t i = 0; i < n; i++) {
    uint32_t s = 0;
    while (s + 1 < spread && noise() % 256 < base) s++;
    p[i] = (unsigned char)(first + s * 37 % spread);
  }
}

static void test_streams(void **state) {
  (void)state;
  enum { N = 1000 };
  unsigned char src[N], a[N * 2 + 64], b[N * 2 + 64];
  for (int i = 0; i < 60; i++) {
    lct_huffman_code c;
    uint32_t count[256] = {0};
    fill(src, N, 256 - 4 * (uint32_t)i, 2 + noise() % 254, 0);
    src[0] = 254, src[1] = 255;
    for (size_t k = 0; k < N; k++) count[src[k]]++;
    assert_true(lct_huffman_make(count, &c));
    for (size_t n = 0; n < N; n += 1 + n / 300) {
      size_t bytes = lct_huffman_stream(&c, src, n, a), total = 1;
      assert_int_equal(bytes, lct_huffman_stream_portable(&c, src, n, b));
      assert_memory_equal(a, b, bytes);
      for (size_t k = 0; k < n; k++) total += c.bits[src[k]];
      assert_int_equal(bytes, (total + 7) / 8);
    }
    uint8_t found[256] = {0}, want[256] = {0};
    lct_huffman_present(src, N - 7, found);
    lct_huffman_present_portable(src, N - 7, want);
    assert_memory_equal(found, want, 256);
  }
}

/* A code of eleven bits a byte for bytes that are rare elsewhere: eights of 88 bits. */
static void test_long_codes(void **state) {
  (void)state;
  enum { N = 640 };
  unsigned char src[N], a[N * 2], b[N * 2];
  lct_huffman_code c;
  uint32_t count[256];
  for (uint32_t s = 0; s < 256; s++) count[s] = s == 0 ? 1u << 23 : 1 + s % 3;
  assert_true(lct_huffman_make(count, &c));
  for (size_t i = 0; i < N; i++) src[i] = (unsigned char)(i < 320 || i % 3 == 0 ? 1 + noise() % 255 : 0);
  size_t n = lct_huffman_stream(&c, src, N, a);
  assert_int_equal(n, lct_huffman_stream_portable(&c, src, N, b));
  assert_memory_equal(a, b, n);
}

static size_t round_trip(const unsigned char *src, size_t n) {
  unsigned char *dst = malloc(lct_huffman_bound(n)), *back = malloc(n + 1);
  assert_true(dst != NULL && back != NULL);
  size_t bytes = lct_huffman_frame(src, n, dst);
  if (bytes > 0) {
    assert_int_equal(ZSTD_getFrameContentSize(dst, bytes), n);
    assert_int_equal(ZSTD_findFrameCompressedSize(dst, bytes), bytes);
    size_t got = ZSTD_decompress(back, n, dst, bytes);
    if (ZSTD_isError(got)) fail_msg("%zu bytes: %s", n, ZSTD_getErrorName(got));
    assert_int_equal(got, n);
    assert_memory_equal(back, src, n);
  }
  free(dst);
  free(back);
  return bytes;
}

static void test_frames(void **state) {
  (void)state;
  enum { N = 400000 };
  static unsigned char src[N];
  static const size_t SIZES[] = {4096, 4097, 5000, 65536, 131071, 131072, 131073, 131072 + 255, 131072 + 256, 262144, 399999};
  static const uint32_t SHAPES[][3] = {
      /* base, spread, first */
      {150, 30, 0},  {150, 30, 200}, {220, 129, 0}, {220, 130, 0},  {220, 128, 1},
      {240, 250, 0}, {253, 256, 0},  {128, 3, 126}, {200, 64, 192},
  };
  for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
    fill(src, N, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2]);
    for (size_t k = 0; k < sizeof SIZES / sizeof *SIZES; k++) {
      size_t bytes = round_trip(src, SIZES[k]);
      if (i < 5) assert_true(bytes > 0 && bytes < SIZES[k]);
    }
  }
}

/* Random shapes, more of them: descriptions of every kind. */
static void test_descriptions(void **state) {
  (void)state;
  enum { N = 5000 };
  static unsigned char src[N];
  int n_made = 0;
  for (int i = 0; i < 1500; i++) {
    fill(src, N, 100 + noise() % 156, 2 + noise() % 255, 0);
    for (uint32_t k = noise() % 60; k > 0; k--) src[noise() % N] = (unsigned char)noise();
    n_made += round_trip(src, N) > 0;
  }
  assert_true(n_made > 1000);
}

/* What is left to others: short, one byte nearly alone, noise. */
static void test_left_alone(void **state) {
  (void)state;
  enum { N = 200000 };
  static unsigned char src[N];
  fill(src, N, 150, 30, 0);
  assert_int_equal(round_trip(src, 4095), 0);
  assert_int_equal(round_trip(src, 0), 0);
  memset(src, 9, N);
  assert_int_equal(round_trip(src, N), 0);
  fill(src, N, 100, 30, 0);
  assert_int_equal(round_trip(src, N), 0);
  for (size_t i = 0; i < N; i++) src[i] = (unsigned char)noise();
  assert_int_equal(round_trip(src, N), 0);
  /* a block that does not shrink is stored among others */
  fill(src, 131072, 150, 30, 0);
  size_t bytes = round_trip(src, N);
  assert_true(bytes > N - 131072 && bytes < N - 20000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codes),  cmocka_unit_test(test_streams),      cmocka_unit_test(test_long_codes),
      cmocka_unit_test(test_frames), cmocka_unit_test(test_descriptions), cmocka_unit_test(test_left_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
