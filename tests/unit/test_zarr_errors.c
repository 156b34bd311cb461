/* Damaged and hostile arrays: each must be named, none may cost memory. */
#include <unistd.h>

#include "store/codec.h"
#include "store/zarr_read_impl.h"
#include "zarr_fixture.h"
#include "threads_support.h"

static char dir[64];
static char shard_path[256];

/* A copy of the array f32: shape (9, 5, 7), shards of 8 rows, chunks of 4; the first shard's bytes into b. */
static void copy_f32(lct_buf *b) {
  lct_error err;
  zarr_copy("f32", dir);
  (void)snprintf(shard_path, sizeof shard_path, "%s/f32/c/0/0/0", dir);
  assert_ok(lct_file_read(shard_path, 1 << 20, b, &err));
}

static void write_shard(const lct_buf *b) {
  lct_error err;
  assert_ok(lct_file_write_atomic(shard_path, b->data, b->len, &err));
}

/* Changes the index (offset, length of two chunks) and makes its checksum right again. */
static void put_index(lct_buf *b, size_t entry, uint64_t value) {
  unsigned char *index = (unsigned char *)b->data + b->len - 36;
  memcpy(index + 8 * entry, &value, 8);
  uint32_t crc = lct_crc32c(0, index, 32);
  memcpy(index + 32, &crc, 4);
}

static uint64_t get_index(const lct_buf *b, size_t entry) {
  uint64_t v;
  memcpy(&v, b->data + b->len - 36 + 8 * entry, 8);
  return v;
}

typedef struct {
  char text[4][1024];
  int n;
} heard;

static void hear(void *ctx, const char *message) {
  heard *h = ctx;
  if (h->n < 4) (void)snprintf(h->text[h->n], sizeof h->text[0], "%s", message);
  h->n++;
}

/* Reading all of it and verifying say the same; `want` is what follows the shard's name and file. */
static void expect_damage(lct_status status, const char *want) {
  lct_error err;
  lct_zarr *z = NULL;
  float out[9 * 5 * 7];
  char text[1024];
  heard h = {0};
  int64_t n_faults = 0;
  (void)snprintf(text, sizeof text, "f32: shard 0 (%s)%s", shard_path, want);
  assert_ok(lct_zarr_open(dir, "f32", NULL, &z, &err));
  assert_fails(lct_zarr_read(z, (int64_t[]){0, 0, 0}, (int64_t[]){9, 5, 7}, out, &err), status, text);
  assert_ok(lct_zarr_verify(z, 0, 2, test_threads(2), hear, &h, &n_faults, &err));
  assert_int_equal(h.n, 1);
  assert_int_equal(n_faults, 1);
  assert_string_equal(h.text[0], text);
  /* the other shard is whole, and stays readable after a failure */
  assert_ok(lct_zarr_read(z, (int64_t[]){8, 0, 0}, (int64_t[]){1, 5, 7}, out, &err));
  lct_zarr_free(z);
}

static void test_flipped_bit(void **state) {
  (void)state;
  lct_buf b = {0};
  copy_f32(&b);
  uint64_t at = get_index(&b, 2), n = get_index(&b, 3);
  uint32_t have, crc;
  b.data[at + 7] ^= 0x10;
  memcpy(&have, b.data + at + n - 4, 4);
  crc = lct_crc32c(0, b.data + at, n - 4);
  write_shard(&b);
  char want[128];
  (void)snprintf(want, sizeof want, ", chunk [1, 0, 0], rows 4-7: CRC-32C is %08x, expected %08x", (unsigned)crc, (unsigned)have);
  expect_damage(LCT_E_FORMAT, want);
  /* a chunk whose checksum is right and whose content is nonsense */
  crc = lct_crc32c(0, b.data + at, n - 4);
  memcpy(b.data + at + n - 4, &crc, 4);
  b.data[at] ^= 0x10;
  crc = lct_crc32c(0, b.data + at, n - 4);
  memcpy(b.data + at + n - 4, &crc, 4);
  write_shard(&b);
  expect_damage(LCT_E_FORMAT, ", chunk [1, 0, 0], rows 4-7: zstd frame: Unknown frame descriptor");
  lct_buf_free(&b);
  zarr_remove(dir);
}

static void test_index(void **state) {
  (void)state;
  lct_buf b = {0};
  copy_f32(&b);
  char want[160];
  uint32_t have, crc;
  unsigned char *index = (unsigned char *)b.data + b.len - 36;
  index[3] ^= 1;
  memcpy(&have, index + 32, 4);
  crc = lct_crc32c(0, index, 32);
  write_shard(&b);
  (void)snprintf(want, sizeof want, ": the index's CRC-32C is %08x, expected %08x: truncated or damaged", (unsigned)crc, (unsigned)have);
  expect_damage(LCT_E_FORMAT, want);
  index[3] ^= 1;

  uint64_t at = get_index(&b, 2), n = get_index(&b, 3), end = b.len - 36;
  uint64_t limit = 2 * lct_codec_bound(4 * 5 * 7 * 4);
  const struct {
    uint64_t at, n;
  } bad[] = {{end + 1, n}, {end - 3, n}, {at, 4}, {at, 0}, {0, UINT64_MAX}, {UINT64_MAX, 8}, {UINT64_MAX - 3, 8}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    put_index(&b, 2, bad[i].at);
    put_index(&b, 3, bad[i].n);
    write_shard(&b);
    (void)snprintf(want, sizeof want, ", chunk [1, 0, 0], rows 4-7: %llu bytes at byte %llu, expected 5 to %llu before the index at %llu",
                   (unsigned long long)bad[i].n, (unsigned long long)bad[i].at, (unsigned long long)limit, (unsigned long long)end);
    expect_damage(LCT_E_FORMAT, want);
  }
  put_index(&b, 2, get_index(&b, 0)); /* both chunks on the same bytes, and one byte into the other */
  put_index(&b, 3, get_index(&b, 1));
  write_shard(&b);
  expect_damage(LCT_E_FORMAT, ": chunks overlap at byte 0");
  put_index(&b, 2, at - 1);
  put_index(&b, 3, n);
  write_shard(&b);
  (void)snprintf(want, sizeof want, ": chunks overlap at byte %llu", (unsigned long long)at - 1);
  expect_damage(LCT_E_FORMAT, want);
  lct_buf_free(&b);
  zarr_remove(dir);
}

static void test_truncated(void **state) {
  (void)state;
  lct_buf b = {0};
  copy_f32(&b);
  static const size_t lengths[] = {0, 35};
  char want[128];
  size_t whole = b.len;
  for (size_t i = 0; i < 2; i++) {
    b.len = lengths[i];
    write_shard(&b);
    (void)snprintf(want, sizeof want, ": truncated: %zu bytes, its index of 2 chunks alone has 36", lengths[i]);
    expect_damage(LCT_E_FORMAT, want);
  }
  uint32_t have, crc = lct_crc32c(0, b.data + whole - 37, 32);
  memcpy(&have, b.data + whole - 5, 4);
  b.len = whole - 1;
  write_shard(&b);
  (void)snprintf(want, sizeof want, ": the index's CRC-32C is %08x, expected %08x: truncated or damaged", (unsigned)crc, (unsigned)have);
  expect_damage(LCT_E_FORMAT, want);
  assert_int_equal(remove(shard_path), 0);
  assert_int_equal(symlink(shard_path, shard_path), 0);
  expect_damage(LCT_E_IO, ": cannot open it: Too many levels of symbolic links");
  lct_buf_free(&b);
  zarr_remove(dir);
}

/* A chunk that unpacks to more, or less, than its array says. */
static void test_bomb(void **state) {
  (void)state;
  lct_error err;
  lct_codec *c = NULL;
  const size_t raw = (size_t)64 << 20;
  unsigned char *zeros = calloc(raw, 1), *frame = malloc(lct_codec_bound(raw));
  assert_non_null(zeros);
  assert_non_null(frame);
  assert_ok(lct_codec_new(&c, &err));
  for (int blosc = 0; blosc < 2; blosc++) {
    lct_zarr_meta m = {.dtype = blosc ? LCT_ZARR_U16 : LCT_ZARR_F32,
                       .codec = blosc ? LCT_ZARR_BLOSC : LCT_ZARR_ZSTD,
                       .n_dims = 2,
                       .shape = {4, 1024},
                       .shard = {4, 1024},
                       .chunk = {4, 1024}};
    lct_pieces all = {zeros, 1, raw, raw};
    size_t n = 0;
    if (blosc) assert_ok(lct_blosc_encode(c, &all, frame, &n, &err));
    else assert_ok(lct_zstd_encode(c, &all, 1, frame, &n, &err));
    uint32_t crc = lct_crc32c(0, frame, n);
    lct_buf b = {0};
    uint64_t index[2] = {0, n + 4};
    assert_ok(lct_buf_append(&b, frame, n, &err));
    assert_ok(lct_buf_append(&b, &crc, 4, &err));
    assert_ok(lct_buf_append(&b, index, sizeof index, &err));
    crc = lct_crc32c(0, index, sizeof index);
    assert_ok(lct_buf_append(&b, &crc, 4, &err));
    lct_zarr *z = NULL;
    static float out[4 * 1024];
    assert_ok(lct_zarr_open_memory(&m, "bomb", b.data, b.len, &z, &err));
    lct_status s = lct_zarr_read(z, (int64_t[]){0, 0}, (int64_t[]){4, 1024}, out, &err);
    assert_int_equal(s, LCT_E_FORMAT);
    assert_string_equal(err.message,
                        blosc ? "bomb: shard 0 (memory/bomb/c/0/0), chunk [0, 0], rows 0-3: Blosc frame: 67108864 raw bytes, expected 8192"
                              : "bomb: shard 0 (memory/bomb/c/0/0), chunk [0, 0], rows 0-3: zstd frame: Destination buffer is too small");
    lct_zarr_free(z);
    lct_buf_free(&b);
  }
  lct_codec_free(c);
  free(zeros);
  free(frame);
}

static void test_absurd_shapes(void **state) {
  (void)state;
  lct_error err;
  lct_zarr *z = NULL;
  lct_zarr_meta m =
      {.dtype = LCT_ZARR_F32, .codec = LCT_ZARR_ZSTD, .n_dims = 2, .shape = {1, 1 << 27}, .shard = {1, 1 << 27}, .chunk = {1, 1 << 27}};
  assert_fails(lct_zarr_open("/none", "a", &m, &z, &err), LCT_E_LIMIT,
               "a: chunks of 536870912 bytes, 1 a shard: at most 268435456 bytes and 4194304 chunks can be read");
  m.chunk[1] = 1;
  assert_fails(lct_zarr_open("/none", "a", &m, &z, &err), LCT_E_LIMIT,
               "a: chunks of 4 bytes, 134217728 a shard: at most 268435456 bytes and 4194304 chunks can be read");
  /* rows without end, a file that could not hold the index: a clean no */
  m = (lct_zarr_meta){.dtype = LCT_ZARR_I8,
                      .codec = LCT_ZARR_ZSTD,
                      .n_dims = 1,
                      .shape = {INT64_C(1) << 60},
                      .shard = {1 << 22},
                      .chunk = {1}};
  char byte;
  assert_ok(lct_zarr_open_memory(&m, "a", "0123456789", 10, &z, &err));
  assert_fails(lct_zarr_read(z, (int64_t[]){0}, (int64_t[]){1}, &byte, &err), LCT_E_FORMAT,
               "a: shard 0 (memory/a/c/0): truncated: 10 bytes, its index of 4194304 chunks alone has 67108868");
  assert_ok(lct_zarr_read(z, (int64_t[]){INT64_C(1) << 59}, (int64_t[]){1}, &byte, &err));
  assert_int_equal(byte, 0);
  lct_zarr_free(z);
}

/* Replaces the first `from` in the golden's zarr.json by `to`. */
static void expect_parse(const char *name, const char *from, const char *to, lct_status status, const char *want) {
  lct_error err;
  lct_buf text = {0}, changed = {0};
  lct_zarr_meta m;
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s/zarr.json", ZARR_GOLDENS, name);
  assert_ok(lct_file_read(path, 1 << 20, &text, &err));
  char *at = strstr(text.data, from);
  assert_non_null(at);
  assert_ok(lct_buf_append(&changed, text.data, (size_t)(at - text.data), &err));
  assert_ok(lct_buf_puts(&changed, to, &err));
  assert_ok(lct_buf_puts(&changed, at + strlen(from), &err));
  if (want != NULL) assert_fails(lct_zarr_meta_parse(changed.data, changed.len, "a", &m, NULL, &err), status, want);
  else assert_ok(lct_zarr_meta_parse(changed.data, changed.len, "a", &m, NULL, &err));
  lct_buf_free(&text);
  lct_buf_free(&changed);
}

static void test_parse(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
    lct_status status;
    const char *want;
  } bad[] = {
      {"\"zarr_format\": 3", "\"zarr_format\": 2", LCT_E_UNSUPPORTED, "a: zarr.json: zarr_format: expected 3, found 2"},
      {"\"array\"", "\"group\"", LCT_E_FORMAT, "a: zarr.json: node_type: expected \"array\", found \"group\""},
      {"float16", "float8", LCT_E_UNSUPPORTED,
       "a: zarr.json: data_type: expected int8, float16, uint16, float32, int32, float64 or int64, found \"float8\""},
      {"\"NaN\"", "0.0", LCT_E_UNSUPPORTED, "a: zarr.json: fill_value: expected \"NaN\", found 0.0"},
      {"\"regular\"", "\"rectilinear\"", LCT_E_UNSUPPORTED, "a: zarr.json: chunk_grid: expected regular, found \"rectilinear\""},
      {"\"separator\": \"/\"", "\"separator\": \".\"", LCT_E_UNSUPPORTED,
       "a: zarr.json: chunk_key_encoding.separator: expected \"/\", found \".\""},
      {"\"sharding_indexed\"", "\"zstd\"", LCT_E_UNSUPPORTED, "a: zarr.json: codecs[0]: expected sharding_indexed, found \"zstd\""},
      {"\"end\"", "\"start\"", LCT_E_UNSUPPORTED, "a: zarr.json: codecs[0].index_location: expected \"end\", found \"start\""},
      {"\"little\"", "\"big\"", LCT_E_UNSUPPORTED, "a: zarr.json: codecs[0].codecs[0]: expected endian little, found \"big\""},
      {"\"name\": \"blosc\"", "\"name\": \"gzip\"", LCT_E_UNSUPPORTED, "a: zarr.json: codecs[0].codecs[1]: expected zstd, found \"gzip\""},
      {"\"typesize\": 2,", "", LCT_E_UNSUPPORTED,
       "a: zarr.json: codecs[0].codecs[1]: expected cname zstd, shuffle shuffle, typesize 2, found "
       "{\"cname\":\"zstd\",\"clevel\":1,\"shuffle\":\"shuffle\",\"blocksize\":0}"},
      {"\"storage_transformers\": []", "\"storage_transformers\": [1]", LCT_E_UNSUPPORTED,
       "a: zarr.json: storage_transformers: expected [], found [1]"},
      {"\"row\"", "5", LCT_E_FORMAT,
       "a: zarr.json: dimension_names: expected a list of names, one an axis, found [5,\"position\",\"layer\",\"hidden\"]"},
      {"\"row\"", "\"a name that is longer than it should be\"", LCT_E_UNSUPPORTED,
       "a: zarr.json: dimension_names: expected names of at most 31 bytes, found \"a name that is longer than it should be\""},
      {"\"zarr_format\"", "\"colour\": {\"red\": 1}, \"zarr_format\"", LCT_E_UNSUPPORTED, "a: zarr.json: unknown key \"colour\""},
      {"37", "-1", LCT_E_FORMAT, "a: zarr.json: shape: expected a list of sizes, one an axis, found [-1,2,3,44]"},
      {"37", "1, 1, 1, 1, 1, 37", LCT_E_UNSUPPORTED, "a: zarr.json: shape: expected 1 to 8 axes, found [1,1,1,1,1,37,2,3,44]"},
      {"37,", "", LCT_E_FORMAT, "a: zarr.json: chunk_grid.chunk_shape: expected a list of sizes, one an axis, found [16,2,4,48]"},
      {"48", "72", LCT_E_FORMAT, "a: axis 3: shards of 72 for 44 in chunks of 24: only the first axis is cut into shards"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_parse("pooled/hidden", bad[i].from, bad[i].to, bad[i].status, bad[i].want);
  expect_parse("pooled/hidden", "\"zarr_format\"", "\"colour\": {\"must_understand\": false}, \"zarr_format\"", LCT_OK, NULL);
  expect_parse("f32", "\"checksum\": false", "\"checksum\": true", LCT_OK, NULL);
  lct_error err;
  lct_zarr_meta m;
  assert_fails(lct_zarr_meta_parse("{", 1, "a", &m, NULL, &err), LCT_E_FORMAT,
               "a: zarr.json is not valid JSON: string or '}' expected near end of file (line 1, column 1)");
  assert_fails(lct_zarr_meta_parse("[]", 2, "a", &m, NULL, &err), LCT_E_FORMAT, "a: zarr.json: the whole: expected an object, found []");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flipped_bit), cmocka_unit_test(test_index),         cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_bomb),        cmocka_unit_test(test_absurd_shapes), cmocka_unit_test(test_parse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
