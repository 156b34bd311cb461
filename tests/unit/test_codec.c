/* Chunk codecs: frames that c-blosc and zstd made (goldens by tests/oracle/gen_codec.py), round trips, hostile frames. */
#include "test_support.h"

#include "base/file.h"
#include "store/codec_impl.h"

static lct_codec *codec;

static int make_codec(void **state) {
  (void)state;
  return lct_codec_new(&codec, NULL) == LCT_OK ? 0 : -1;
}

static int free_codec(void **state) {
  (void)state;
  lct_codec_free(codec);
  lct_codec_free(NULL);
  return 0;
}

static uint64_t seed = 7;

static uint32_t noise(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

/* A copy that ends where its memory ends, so that a sanitiser sees one byte too many. */
static unsigned char *exact(const void *data, size_t n) {
  unsigned char *p = malloc(n > 0 ? n : 1);
  assert_non_null(p);
  if (n > 0) memcpy(p, data, n);
  return p;
}

/* The golden file. */
typedef struct {
  lct_buf b;
  size_t at;
} reader;

static uint32_t next32(reader *r) {
  uint32_t v;
  assert_true(r->at + 4 <= r->b.len);
  memcpy(&v, r->b.data + r->at, 4);
  r->at += 4;
  return v;
}

static const char *next_bytes(reader *r, size_t n) {
  assert_true(r->at + n <= r->b.len);
  r->at += n;
  return r->b.data + r->at - n;
}

static void check_golden_frame(reader *r, const char *data) {
  lct_error err = {0};
  char name[128];
  size_t n_name = next32(r);
  (void)snprintf(name, sizeof name, "%.*s", (int)n_name, next_bytes(r, n_name));
  uint32_t kind = next32(r), expected = next32(r), raw = next32(r), n = next32(r);
  unsigned char *frame = exact(next_bytes(r, n), n), *got = exact(NULL, 0);
  got = realloc(got, raw > 0 ? raw : 1);
  assert_non_null(got);
  lct_status s = kind == 0 ? lct_blosc_decode(codec, frame, n, got, raw, &err) : lct_zstd_decode(codec, frame, n, got, raw, &err);
  if (s != (expected == 0 ? LCT_OK : LCT_E_UNSUPPORTED)) fail_msg("%s: %d %s", name, s, err.message);
  if (expected == 0 && memcmp(got, data, raw) != 0) fail_msg("%s: other bytes", name);
  if (expected == 1 && strstr(err.message, strcmp(name, "bits") == 0 ? "shuffled by bits" : name) == NULL)
    fail_msg("%s: %s", name, err.message);
  free(frame);
  free(got);
}

static void test_goldens(void **state) {
  (void)state;
  lct_error err;
  reader r = {0};
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/tests/goldens/store/codec.bin", 1 << 20, &r.b, &err));
  size_t n = next32(&r);
  const char *data = next_bytes(&r, n);
  for (uint32_t i = next32(&r); i > 0; i--) {
    uint32_t bytes = next32(&r), want = next32(&r);
    assert_int_equal(lct_crc32c(0, data, bytes), want);
    assert_int_equal(lct_crc32c_portable(0, data, bytes), want);
  }
  uint32_t n_frames = next32(&r);
  assert_true(n_frames > 60);
  for (uint32_t i = 0; i < n_frames; i++) check_golden_frame(&r, data);
  assert_int_equal(r.at, r.b.len);
  lct_buf_free(&r.b);
}

static void test_crc(void **state) {
  (void)state;
  assert_int_equal(lct_crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720's polynomial, the usual check value */
  enum { N = 40000 };
  static unsigned char data[N];
  for (size_t i = 0; i < N; i++) data[i] = (unsigned char)noise();
  for (int i = 0; i < 400; i++) {
    size_t n = i < 200 ? noise() % 300 : noise() % (N - 16), from = noise() % 16, cut = n > 0 ? noise() % n : 0;
    uint32_t want = lct_crc32c_portable(5, data + from, n);
    assert_int_equal(lct_crc32c(5, data + from, n), want);
    assert_int_equal(lct_crc32c(lct_crc32c(5, data + from, cut), data + from + cut, n - cut), want);
  }
}

static void test_planes(void **state) {
  (void)state;
  enum { N = 300 };
  unsigned char src[2 * N + 1], low[N], high[N], back[2 * N + 1], want_low[N], want_high[N];
  for (size_t i = 0; i < sizeof src; i++) src[i] = (unsigned char)noise();
  for (size_t n = 0; n <= N; n++) {
    size_t odd = n & 1;
    lct_planes_split(src + odd, n, low, high);
    lct_planes_split_portable(src + odd, n, want_low, want_high);
    assert_memory_equal(low, want_low, n);
    assert_memory_equal(high, want_high, n);
    for (size_t i = 0; i < n; i++) assert_true(low[i] == src[odd + 2 * i] && high[i] == src[odd + 2 * i + 1]);
    lct_planes_join(low, high, n, back + odd);
    assert_memory_equal(back + odd, src + odd, 2 * n);
    lct_planes_join_portable(low, high, n, back + odd);
    assert_memory_equal(back + odd, src + odd, 2 * n);
  }
}

typedef enum { ACTIVATIONS, NOISE, ZEROS, ROUNDED, SHORT, N_KINDS } kind;

/* n values of 16 bits: exponents as skewed as activations'; noise; zeros; activations with a short mantissa, and with a long end of zeros. */
static void fill(kind k, uint16_t *v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t x = noise(), few = 10 + (x >> 16 & x >> 19 & 7);
    v[i] = (uint16_t)((x & 0x83ff) | few << 10);
    if (k == NOISE) v[i] = (uint16_t)x;
    if (k == ZEROS || (k == SHORT && i > n / 8)) v[i] = 0;
    if (k == ROUNDED) v[i] &= 0xfff8;
  }
}

/* Encodes `rows` rows of `values` out of rows of `stride` values, decodes, compares; returns the frame's bytes in *frame. */
static size_t round_trip(const uint16_t *data, size_t rows, size_t values, size_t stride, unsigned char **frame) {
  lct_error err;
  size_t raw = rows * values * 2, n = 0;
  unsigned char *dst = exact(NULL, 0), *back = malloc(raw + 1);
  dst = realloc(dst, lct_codec_bound(raw));
  assert_true(dst != NULL && back != NULL);
  assert_ok(lct_blosc_encode(codec, &(lct_pieces){data, rows, values * 2, stride * 2}, dst, &n, &err));
  *frame = exact(dst, n);
  assert_ok(lct_blosc_decode(codec, *frame, n, back, raw, &err));
  for (size_t r = 0; r < rows; r++) assert_memory_equal(back + r * values * 2, data + r * stride, values * 2);
  assert_true(n <= raw + 16);
  free(dst);
  free(back);
  return n;
}

static void test_round_trip(void **state) {
  (void)state;
  static const size_t SIZES[] = {0, 1, 5, 127, 128, 129, 1000, 1001, 4095, 65535, 65536, 70001};
  for (int k = 0; k < N_KINDS; k++) {
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
      unsigned char *frame;
      uint16_t *v = malloc(SIZES[i] * 2 + 2);
      assert_non_null(v);
      fill((kind)k, v, SIZES[i]);
      (void)round_trip(v, 1, SIZES[i], SIZES[i], &frame);
      free(frame);
      free(v);
    }
  }
}

/* The bytes depend on the values alone, not on how they lay in memory nor on what was encoded before. */
static void test_strided(void **state) {
  (void)state;
  enum { ROWS = 70, VALUES = 48, STRIDE = 144 };
  static uint16_t wide[ROWS * STRIDE], close[ROWS * VALUES];
  unsigned char *a, *b;
  fill(ACTIVATIONS, wide, ROWS * STRIDE);
  for (size_t r = 0; r < ROWS; r++) memcpy(close + r * VALUES, wide + r * STRIDE + VALUES, VALUES * 2);
  size_t n = round_trip(wide + VALUES, ROWS, VALUES, STRIDE, &a), m = round_trip(close, ROWS, VALUES, VALUES, &b);
  assert_int_equal(n, m);
  assert_memory_equal(a, b, n);
  free(a);
  free(b);
}

static uint32_t get32(const unsigned char *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

static void test_layout(void **state) {
  (void)state;
  enum { N = 1 << 16 };
  static uint16_t v[N];
  unsigned char *frame;
  fill(ACTIVATIONS, v, N);
  size_t n = round_trip(v, 1, N, N, &frame);
  const unsigned char head[] = {2, 1, 0x81, 2}; /* zstd, shuffled, may be split; 16-bit values */
  assert_memory_equal(frame, head, 4);
  assert_int_equal(get32(frame + 4), 2 * N);
  assert_int_equal(get32(frame + 8), 2 * N);
  assert_int_equal(get32(frame + 12), n);
  assert_int_equal(get32(frame + 16), 20);
  assert_int_equal(get32(frame + 20), N);
  for (size_t i = 0; i < N; i++) assert_int_equal(frame[24 + i], v[i] & 0xff);
  assert_int_equal(get32(frame + 24 + N), n - 28 - N);
  assert_true(n < 2 * N / 1.1);
  free(frame);
  fill(ROUNDED, v, N);
  assert_true(round_trip(v, 1, N, N, &frame) < 2 * N / 1.4);
  free(frame);
  fill(SHORT, v, N);
  assert_true(round_trip(v, 1, N, N, &frame) < 2 * N / 6);
  free(frame);
  fill(NOISE, v, N);
  assert_int_equal(round_trip(v, 1, N, N, &frame), 2 * N + 16);
  assert_int_equal(frame[2], 0x83);
  free(frame);
}

static void test_zstd(void **state) {
  (void)state;
  lct_error err;
  enum { ROWS = 40, VALUES = 33, STRIDE = 50 };
  static uint16_t v[ROWS * STRIDE], close[ROWS * VALUES], back[ROWS * VALUES];
  static unsigned char a[20000], b[20000];
  fill(SHORT, v, ROWS * STRIDE);
  for (size_t r = 0; r < ROWS; r++) memcpy(close + r * VALUES, v + r * STRIDE, sizeof *v * VALUES);
  size_t n, m;
  assert_true(lct_codec_bound(sizeof back) < sizeof a);
  assert_ok(lct_zstd_encode(codec, &(lct_pieces){v, ROWS, VALUES * 2, STRIDE * 2}, 1, a, &n, &err));
  assert_ok(lct_zstd_encode(codec, &(lct_pieces){close, 1, sizeof close, sizeof close}, 1, b, &m, &err));
  assert_int_equal(n, m);
  assert_memory_equal(a, b, n);
  assert_int_equal(ZSTD_getFrameContentSize(a, n), sizeof close);
  assert_ok(lct_zstd_decode(codec, a, n, back, sizeof back, &err));
  assert_memory_equal(back, close, sizeof back);
  assert_int_equal(lct_zstd_decode(codec, a, n, back, sizeof back - 2, &err), LCT_E_FORMAT);
  unsigned char *wide = malloc(sizeof back + 2);
  assert_non_null(wide);
  assert_fails(lct_zstd_decode(codec, a, n, wide, sizeof back + 2, &err), LCT_E_FORMAT, "zstd frame: 2640 bytes, expected 2642");
  free(wide);
}

static void refuse(const unsigned char *frame, size_t n, size_t raw, const char *message) {
  lct_error err;
  unsigned char *src = exact(frame, n), *dst = malloc(raw + 1);
  assert_non_null(dst);
  lct_status s = lct_blosc_decode(codec, src, n, dst, raw, &err);
  assert_int_not_equal(s, LCT_OK);
  assert_string_equal(err.message, message);
  free(src);
  free(dst);
}

static void test_refusals(void **state) {
  (void)state;
  enum { N = 600, BYTES = 16 + 4 + 2 * (4 + N) };
  unsigned char f[BYTES] = {2, 1, 0x81, 2}, back[2 * N]; /* two planes, both stored */
  const uint32_t sizes[] = {2 * N, 2 * N, BYTES, 20, N};
  lct_error err;
  memcpy(f + 4, sizes, sizeof sizes);
  memcpy(f + 24 + N, sizes + 4, 4);
  f[24] = 7, f[28 + N] = 9;
  assert_ok(lct_blosc_decode(codec, f, BYTES, back, 2 * N, &err));
  assert_true(back[0] == 7 && back[1] == 9 && back[2] == 0);
  refuse(f, 15, 1200, "Blosc frame: 15 bytes, its header alone has 16");
  refuse(f, BYTES - 1, 1200, "Blosc frame: says it has 1228 bytes, and there are 1227");
  refuse(f, BYTES, 1202, "Blosc frame: 1200 raw bytes, expected 1202");
  f[0] = 3;
  refuse(f, BYTES, 1200, "Blosc frame: version 3, expected 2");
  f[0] = 2, f[2] = 0xa1;
  refuse(f, BYTES, 1200, "Blosc frame: compressor 5 is none");
  f[2] = 0x83;
  refuse(f, BYTES, 1200, "Blosc frame: stored, with 1212 bytes for 1200 raw bytes");
  f[2] = 0x81, f[8] = 0xb1;
  refuse(f, BYTES, 1200, "Blosc frame: blocks of 1201 bytes in 1200");
  f[8] = 1, f[9] = 0;
  refuse(f, BYTES, 1200, "Blosc frame: 1200 blocks in 1228 bytes");
  f[8] = 0xb0, f[9] = 4, f[16] = 0xc9, f[17] = 4;
  refuse(f, BYTES, 1200, "Blosc frame: a stream begins at byte 1225 of 1228");
  f[16] = 20, f[17] = 0, f[21] = 0xff;
  refuse(f, BYTES, 1200, "Blosc frame: a stream of 65368 bytes at byte 24 of 1228");
  f[21] = 2, f[20] = 0x57;
  refuse(f, BYTES, 1200, "Blosc frame: a stream: Unknown frame descriptor");
  size_t n;
  assert_fails(lct_blosc_encode(codec, &(lct_pieces){f, 1, 3, 3}, back, &n, &err), LCT_E_LIMIT,
               "a chunk of 3 bytes in rows of 3: a Blosc frame takes whole values and at most 715827542 bytes");
}

/* Whatever is in a frame, decoding ends and stays within the two buffers (their ends are the memory's). */
static void test_mutations(void **state) {
  (void)state;
  enum { N = 700, RAW = 2 * N };
  static uint16_t v[N];
  unsigned char *f, *dst = malloc(RAW);
  lct_error err;
  assert_non_null(dst);
  fill(ACTIVATIONS, v, N);
  size_t n = round_trip(v, 1, N, N, &f);
  for (size_t cut = 0; cut < n; cut++) {
    unsigned char *part = exact(f, cut);
    assert_int_not_equal(lct_blosc_decode(codec, part, cut, dst, RAW, &err), LCT_OK);
    if (cut >= 16) { /* a frame that says it is as short as it is */
      uint32_t bytes = (uint32_t)cut;
      memcpy(part + 12, &bytes, 4);
      assert_int_equal(lct_blosc_decode(codec, part, cut, dst, RAW, &err), LCT_E_FORMAT);
    }
    free(part);
  }
  int n_refused = 0;
  for (int i = 0; i < 40000; i++) {
    unsigned char *bad = exact(f, n);
    for (uint32_t j = 1 + noise() % 3; j > 0; j--) {
      size_t place = noise() % 4 == 0 ? noise() % n : noise() % 2 == 0 ? noise() % 28 : 24 + N + noise() % 40;
      bad[place] = (unsigned char)(noise() % 3 == 0 ? noise() : bad[place] ^ 1u << noise() % 8);
    }
    n_refused += lct_blosc_decode(codec, bad, n, dst, RAW, &err) != LCT_OK;
    free(bad);
  }
  assert_true(n_refused > 10000);
  free(f);
  free(dst);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_goldens),    cmocka_unit_test(test_crc),      cmocka_unit_test(test_planes),
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_strided),  cmocka_unit_test(test_layout),
      cmocka_unit_test(test_zstd),       cmocka_unit_test(test_refusals), cmocka_unit_test(test_mutations),
  };
  return cmocka_run_group_tests(tests, make_codec, free_codec);
}
