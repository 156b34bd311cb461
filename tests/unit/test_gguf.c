/* The GGUF parser: what gguf-py wrote is read back; anything else is an error with an exact message, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/gguf_internal.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/gguf/"

static void read_file(const char *path, lct_buf *b) {
  lct_error err = {0};
  if (lct_file_read(path, (size_t)1 << 24, b, &err) != LCT_OK) fail_msg("%s", err.message);
}

/* Parses a copy of exactly n bytes, so that the sanitizers see one byte too many. The copy outlives the result. */
static lct_status parse_copy(const void *data, size_t n, lct_error *err) {
  unsigned char *copy = malloc(n > 0 ? n : 1);
  lct_gguf *g = NULL;
  assert_non_null(copy);
  if (n > 0) memcpy(copy, data, n);
  lct_status s = lct_gguf_parse(copy, n, "f.gguf", &g, err);
  assert_true((s == LCT_OK) == (g != NULL));
  lct_gguf_free(g);
  free(copy);
  return s;
}

/* ---- a small writer ---- */

static void put(lct_buf *b, const void *p, size_t n) { assert_int_equal(lct_buf_append(b, p, n, NULL), LCT_OK); }
static void put_u32(lct_buf *b, uint32_t v) { put(b, &v, 4); }
static void put_u64(lct_buf *b, uint64_t v) { put(b, &v, 8); }
static void put_str(lct_buf *b, const char *s) {
  put_u64(b, strlen(s));
  put(b, s, strlen(s));
}
static void put_header(lct_buf *b, uint64_t n_tensors, uint64_t n_kv) {
  b->len = 0;
  put(b, "GGUF", 4);
  put_u32(b, 3);
  put_u64(b, n_tensors);
  put_u64(b, n_kv);
}
static void put_tensor(lct_buf *b, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset) {
  put_str(b, name);
  put_u32(b, 2);
  put_u64(b, cols);
  put_u64(b, rows);
  put_u32(b, type);
  put_u64(b, offset);
}
static void put_data(lct_buf *b, size_t n) {
  while (b->len % 32 != 0) put(b, "", 1);
  for (size_t i = 0; i < n; i++) put(b, "", 1);
}

static void expect(const lct_buf *b, lct_status code, const char *message) {
  lct_error err = {0};
  assert_int_equal(parse_copy(b->data, b->len, &err), code);
  assert_int_equal(err.code, code);
  assert_string_equal(err.message, message);
}

/* ---- what gguf-py wrote ---- */

static void check_scalars(const lct_gguf *g) {
  static const struct {
    const char *key;
    int64_t value;
  } ints[] = {{"t.u8", 200},
              {"t.i8", -100},
              {"t.u16", 60000},
              {"t.i16", -30000},
              {"t.u32", 4000000000},
              {"t.i32", -2000000000},
              {"t.i64", -((int64_t)1 << 62)}};
  int64_t v = 0;
  double d = 0;
  bool yes = false;
  lct_str s = {0};
  for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
    assert_true(lct_gguf_i64(g, ints[i].key, &v));
    assert_int_equal(v, ints[i].value);
  }
  assert_false(lct_gguf_i64(g, "t.u64", &v)); /* 2^63 + 1 */
  assert_false(lct_gguf_i64(g, "t.f32", &v));
  assert_false(lct_gguf_i64(g, "t.true", &v));
  assert_true(lct_gguf_f64(g, "t.f32", &d));
  assert_true(d == (double)0.1f);
  assert_true(lct_gguf_f64(g, "t.f64", &d));
  assert_true(d == 0.1);
  assert_true(lct_gguf_bool(g, "t.true", &yes) && yes);
  assert_true(lct_gguf_bool(g, "t.false", &yes) && !yes);
  assert_true(lct_gguf_str(g, "t.str", &s));
  assert_int_equal(s.len, 11);
  assert_memory_equal(s.data, "h\xc3\xa9llo\0\xf0\x9f\x98\x80", 11);
  assert_false(lct_gguf_str(g, "t.u8", &s));
  assert_false(lct_gguf_has(g, "t.absent"));
  assert_string_equal(lct_gguf_type_of(g, "t.absent"), "absent");
  assert_string_equal(lct_gguf_type_of(g, "t.u16"), "u16");
  assert_string_equal(lct_gguf_type_of(g, "t.a.str"), "array of string");
}

static void check_arrays(const lct_gguf *g) {
  static const char *const strings[] = {"", "a", "\xe4\xb8\xad\xe6\x96\x87", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
  static const int ints[] = {1, -2, 3};
  lct_str s = {0};
  int64_t v = 0;
  double d = 0;
  assert_int_equal(lct_gguf_array_len(g, "t.a.str"), 4);
  for (int i = 3; i >= 0; i--) {
    assert_true(lct_gguf_array_str(g, "t.a.str", i, &s));
    assert_int_equal(s.len, strlen(strings[i]));
    assert_memory_equal(s.data, strings[i], s.len);
  }
  assert_false(lct_gguf_array_str(g, "t.a.str", 4, &s));
  assert_false(lct_gguf_array_str(g, "t.a.str", -1, &s));
  assert_false(lct_gguf_array_str(g, "t.a.i32", 0, &s));
  for (int i = 0; i < 3; i++) {
    assert_true(lct_gguf_array_i64(g, "t.a.i32", i, &v));
    assert_int_equal(v, ints[i]);
  }
  assert_false(lct_gguf_array_i64(g, "t.a.i32", 3, &v));
  assert_false(lct_gguf_array_i64(g, "t.a.str", 0, &v));
  assert_true(lct_gguf_array_f64(g, "t.a.f32", 1, &d));
  assert_true(d == -0.25);
  assert_int_equal(lct_gguf_array_len(g, "t.a.bool"), 3);
  assert_int_equal(lct_gguf_array_len(g, "t.a.nested"), 3);
  assert_false(lct_gguf_array_i64(g, "t.a.nested", 0, &v));
  assert_int_equal(lct_gguf_array_len(g, "t.u8"), -1);
  assert_int_equal(lct_gguf_array_len(g, "t.absent"), -1);
}

static void check_tensors(const lct_gguf *g) {
  assert_int_equal(lct_gguf_n_tensors(g), 2);
  const lct_gguf_tensor *a = lct_gguf_tensor_find(g, "first"), *b = lct_gguf_tensor_find(g, "second");
  assert_non_null(a);
  assert_non_null(b);
  assert_ptr_equal(a, lct_gguf_tensor_at(g, 0));
  assert_null(lct_gguf_tensor_at(g, 2));
  assert_null(lct_gguf_tensor_find(g, "third"));
  assert_int_equal(a->dtype, LCT_DTYPE_F32);
  assert_int_equal(a->n_dims, 2);
  assert_int_equal(a->dims[0], 4);
  assert_int_equal(a->dims[1], 2);
  assert_int_equal(a->n_bytes, 32);
  for (int i = 0; i < 8; i++) {
    float f;
    memcpy(&f, a->data + 4 * i, 4);
    assert_true(f == (float)i);
  }
  assert_int_equal(b->dtype, LCT_DTYPE_F16);
  assert_int_equal(b->dims[0], 8);
  assert_int_equal(b->offset, 64);
}

static void test_everything_is_read(void **state) {
  (void)state;
  lct_buf b = {0};
  read_file(GOLDENS "metadata.gguf", &b);
  for (char version = 3; version >= 2; version--) { /* version 2 differs from 3 in nothing we read */
    lct_gguf *g = NULL;
    lct_error err = {0};
    b.data[4] = version;
    if (lct_gguf_parse((unsigned char *)b.data, b.len, "metadata.gguf", &g, &err) != LCT_OK) fail_msg("%s", err.message);
    assert_string_equal(lct_gguf_file(g), "metadata.gguf");
    check_scalars(g);
    check_arrays(g);
    check_tensors(g);
    lct_gguf_free(g);
  }
  lct_buf_free(&b);
}

/* ---- truncation and mutation ---- */

static void test_every_prefix_fails(void **state) {
  (void)state;
  static const char *const files[] = {GOLDENS "metadata.gguf", GOLDENS "tiny_qwen2.gguf"};
  for (size_t f = 0; f < 2; f++) {
    lct_buf b = {0};
    lct_error err = {0};
    read_file(files[f], &b);
    assert_int_equal(parse_copy(b.data, b.len, &err), LCT_OK);
    for (size_t n = 0; n < b.len; n++) {
      err = (lct_error){0};
      if (parse_copy(b.data, n, &err) != LCT_E_FORMAT) fail_msg("%s cut to %zu bytes: no error", files[f], n);
      assert_true(strncmp(err.message, "f.gguf: ", 8) == 0);
    }
    lct_buf_free(&b);
  }
}

static void test_changed_bytes_never_crash(void **state) {
  (void)state;
  static const unsigned char values[] = {0, 1, 8, 9, 0x7f, 0x80, 0xff};
  lct_buf b = {0};
  int n_errors = 0;
  read_file(GOLDENS "metadata.gguf", &b);
  for (size_t i = 0; i < b.len; i++) {
    char was = b.data[i];
    for (size_t v = 0; v < sizeof values; v++) {
      lct_error err = {0};
      b.data[i] = (char)values[v];
      if (parse_copy(b.data, b.len, &err) != LCT_OK) n_errors++;
    }
    b.data[i] = was;
  }
  assert_true(n_errors > 500);
  lct_buf_free(&b);
}

static void test_truncated_messages(void **state) {
  (void)state;
  lct_buf b = {0};
  put(&b, "GG", 2);
  expect(&b, LCT_E_FORMAT, "f.gguf: header: magic at byte 0: expected 4 bytes, found 2 before the file's end");
  put_header(&b, 0, 1);
  put_u64(&b, 3);
  put(&b, "a.b", 3);
  put_u32(&b, 0);
  b.len -= 2;
  put(&b, "", 1);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"a.b\": value type at byte 35: expected 4 bytes, found 3 before the file's end");
  lct_buf_free(&b);
}

/* ---- hostile headers ---- */

static void test_header(void **state) {
  (void)state;
  lct_buf b = {0};
  put_header(&b, 0, 0);
  assert_int_equal(parse_copy(b.data, b.len, NULL), LCT_OK);
  b.data[0] = 'g';
  expect(&b, LCT_E_FORMAT, "f.gguf: header: expected magic \"GGUF\", found bytes 67 47 55 46");
  put_header(&b, 0, 0);
  b.data[4] = 1;
  expect(&b, LCT_E_UNSUPPORTED, "f.gguf: header: expected GGUF version 2 or 3, found 1");
  memcpy(b.data + 4, "\0\0\0\3", 4);
  expect(&b, LCT_E_UNSUPPORTED, "f.gguf: header: expected GGUF version 2 or 3, found 3 in big-endian order");
  put_header(&b, 0, (uint64_t)1 << 63);
  expect(&b, LCT_E_FORMAT, "f.gguf: header: metadata count at byte 16: found 9223372036854775808, expected at most 0 in the 0 bytes left");
  put_header(&b, (uint64_t)1 << 63, 0);
  put_data(&b, 92);
  expect(&b, LCT_E_FORMAT,
         "f.gguf: header: tensor count: found 9223372036854775808, expected at most 3 in the 100 bytes after the metadata");
  lct_buf_free(&b);
}

static void test_keys(void **state) {
  (void)state;
  lct_buf b = {0};
  put_header(&b, 0, 1);
  put_u64(&b, UINT64_MAX);
  put_data(&b, 0);
  put_data(&b, 32);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata entry 0: key at byte 32: expected 18446744073709551615 bytes, found 32 before the file's end");
  put_header(&b, 0, 1);
  put_str(&b, "");
  put_u32(&b, GV_U32);
  put_u64(&b, 5);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata entry 0: key at byte 24: expected 1 to 65535 bytes, found 0");
  put_header(&b, 0, 1);
  put_str(&b, "k\n\xff");
  put_u64(&b, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata entry 0: key at byte 24: expected printable ASCII, found byte 0a");
  put_header(&b, 0, 1);
  put_str(&b, "key");
  put_u32(&b, 13);
  put_u64(&b, 5);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"key\": value type at byte 35: expected 0 to 12, found 13");
  put_header(&b, 0, 2);
  for (int i = 0; i < 2; i++) {
    put_str(&b, "same.key");
    put_u32(&b, GV_U32);
    put_u32(&b, 5);
  }
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"same.key\": expected once, found twice");
  put_header(&b, 0, 1);
  put_str(&b, "b");
  put_u32(&b, GV_BOOL);
  put(&b, "\2", 1);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"b\": bool at byte 37: expected 0 or 1, found 2");
  lct_buf_free(&b);
}

static void test_strings(void **state) {
  (void)state;
  lct_buf b = {0};
  put_header(&b, 0, 1);
  put_str(&b, "s");
  put_u32(&b, GV_STRING);
  put_u64(&b, (uint64_t)1 << 63);
  put(&b, "abc", 3);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"s\": string at byte 45: expected 9223372036854775808 bytes, found 3 before the file's end");
  lct_buf_free(&b);
}

static void begin_array(lct_buf *b, uint32_t elem, uint64_t n) {
  put_header(b, 0, 1);
  put_str(b, "a");
  put_u32(b, GV_ARRAY);
  put_u32(b, elem);
  put_u64(b, n);
}

static void test_arrays(void **state) {
  (void)state;
  lct_buf b = {0};
  begin_array(&b, GV_U64, (uint64_t)1 << 61); /* times 8 is 0 */
  put_u64(&b, 1);
  expect(&b, LCT_E_FORMAT,
         "f.gguf: metadata \"a\": array length at byte 41: found 2305843009213693952, expected at most 1 in the 8 bytes left");
  begin_array(&b, GV_STRING, 3);
  put_u64(&b, 0);
  put_u64(&b, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"a\": array length at byte 41: found 3, expected at most 2 in the 16 bytes left");
  begin_array(&b, GV_STRING, 2);
  put_str(&b, "12345678");
  put_u64(&b, 9);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"a\": string in array at byte 73: expected 9 bytes, found 0 before the file's end");
  begin_array(&b, 77, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"a\": array element type at byte 37: expected 0 to 12, found 77");
  begin_array(&b, GV_BOOL, 2);
  put(&b, "\1\3", 2);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"a\": bool at byte 50: expected 0 or 1, found 3");
  for (int depth = 2; depth <= 2000; depth = depth < 6 ? depth + 1 : depth * 10) { /* one array in another */
    begin_array(&b, GV_ARRAY, 1);
    for (int i = 2; i < depth; i++) {
      put_u32(&b, GV_ARRAY);
      put_u64(&b, 1);
    }
    put_u32(&b, GV_U8);
    put_u64(&b, 0);
    if (depth <= LCT_GGUF_MAX_DEPTH) {
      assert_int_equal(parse_copy(b.data, b.len, NULL), LCT_OK);
    } else {
      expect(&b, LCT_E_LIMIT, "f.gguf: metadata \"a\": array at byte 85: nested deeper than 4");
    }
  }
  lct_buf_free(&b);
}

/* ---- hostile tensor tables ---- */

static void one_tensor(lct_buf *b, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset) {
  put_header(b, 1, 0);
  put_tensor(b, name, cols, rows, type, offset);
  put_data(b, 256);
}

static void test_tensor_infos(void **state) {
  (void)state;
  lct_buf b = {0};
  one_tensor(&b, "w", 8, 8, 0, 0);
  assert_int_equal(parse_copy(b.data, b.len, NULL), LCT_OK);
  one_tensor(&b, "w", 8, 8, 20, 0);
  expect(&b, LCT_E_UNSUPPORTED,
         "f.gguf: tensor \"w\": type 20 (IQ4_NL) is not supported; supported: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K "
         "Q6_K");
  one_tensor(&b, "w", 8, 8, 4000000000, 0);
  expect(&b, LCT_E_UNSUPPORTED,
         "f.gguf: tensor \"w\": type 4000000000 (unknown) is not supported; supported: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 "
         "Q4_K Q5_K Q6_K");
  one_tensor(&b, "w", 40, 4, 2, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": Q4_0 needs a first dimension that is a multiple of 32, found 40");
  one_tensor(&b, "w", 0, 4, 0, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": dimension 0: expected at least 1 and a product below 2^63, found 0");
  one_tensor(&b, "w", (uint64_t)1 << 32, (uint64_t)1 << 31, 0, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": dimension 1: expected at least 1 and a product below 2^63, found 2147483648");
  one_tensor(&b, "w", (uint64_t)1 << 32, (uint64_t)1 << 30, 0, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": expected fewer than 2^64 bytes, found 4611686018427387904 elements of F32");
  one_tensor(&b, "0123456789012345678901234567890123456789012345678901234567890123x", 8, 8, 0, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor 0: name at byte 24: expected 1 to 64 bytes, found 65");
  one_tensor(&b, "w", 8, 8, 0, 0);
  b.data[33] = 5; /* n_dims */
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": expected 1 to 4 dimensions, found 5");
  b.data[32] = '\0';
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor 0: name at byte 24: expected printable ASCII, found byte 00");
  lct_buf_free(&b);
}

static void test_tensor_offsets(void **state) {
  (void)state;
  lct_buf b = {0};
  one_tensor(&b, "w", 8, 8, 0, 16);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"w\": offset: expected a multiple of 32, found 16");
  one_tensor(&b, "w", 8, 8, 0, 32);
  expect(&b, LCT_E_FORMAT,
         "f.gguf: tensor \"w\": expected 256 bytes at offset 32 of the tensor data, found 256 bytes of tensor data in all: "
         "truncated file");
  one_tensor(&b, "w", 8, 8, 0, UINT64_MAX - 31);
  expect(&b, LCT_E_FORMAT,
         "f.gguf: tensor \"w\": expected 256 bytes at offset 18446744073709551584 of the tensor data, found 256 bytes of "
         "tensor data in all: truncated file");
  one_tensor(&b, "w", 8, 8, 0, 0);
  b.len = 65; /* the table alone: the data would start at 96 */
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor data: expected to start at byte 96, found the file's end at 65");
  put_header(&b, 2, 0);
  put_tensor(&b, "b", 8, 8, 0, 32);
  put_tensor(&b, "a", 8, 2, 0, 0);
  put_data(&b, 512);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"b\": offset 32 lies inside tensor \"a\" (0 to 64)");
  put_header(&b, 2, 0);
  put_tensor(&b, "a", 8, 8, 0, 0);
  put_tensor(&b, "a", 8, 8, 0, 256);
  put_data(&b, 512);
  expect(&b, LCT_E_FORMAT, "f.gguf: tensor \"a\": expected once, found twice");
  lct_buf_free(&b);
}

static void with_alignment(lct_buf *b, uint32_t type, uint32_t value) {
  put_header(b, 1, 1);
  put_str(b, "general.alignment");
  put_u32(b, type);
  put_u32(b, value);
  put_tensor(b, "w", 8, 8, 0, 0);
  put_data(b, 512);
}

static void test_alignment(void **state) {
  (void)state;
  lct_buf b = {0};
  with_alignment(&b, GV_U32, 64);
  assert_int_equal(parse_copy(b.data, b.len, NULL), LCT_OK);
  with_alignment(&b, GV_U32, 0);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"general.alignment\": expected a power of two from 8 to 2^30, found 0");
  with_alignment(&b, GV_U32, 24);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"general.alignment\": expected a power of two from 8 to 2^30, found 24");
  with_alignment(&b, GV_F32, 64);
  expect(&b, LCT_E_FORMAT, "f.gguf: metadata \"general.alignment\": expected an integer, found f32");
  lct_buf_free(&b);
}

/* ---- RoPE factors ---- */

static void test_rope_factors(void **state) {
  (void)state;
  lct_buf b = {0};
  int n_cases = 0;
  read_file(GOLDENS "rope_factors.bin", &b);
  for (size_t at = 0; at < b.len; n_cases++) {
    double head[2];
    int64_t n = 0;
    float divisors[256];
    memcpy(head, b.data + at, 16);
    memcpy(&n, b.data + at + 16, 8);
    assert_in_range(n, 1, 256);
    memcpy(divisors, b.data + at + 24, (size_t)n * 4);
    lct_rope rope = {.theta = head[0]};
    assert_true(lct_gguf_rope_recognise(divisors, (int)n, &rope));
    assert_int_equal(rope.kind, LCT_ROPE_LLAMA3);
    assert_true(rope.factor == head[1] && rope.low_freq_factor == 1 && rope.high_freq_factor == 4 && rope.theta == head[0]);
    assert_int_equal(rope.original_max_positions, 8192);
    divisors[n - 1] *= 0.999f;
    assert_false(lct_gguf_rope_recognise(divisors, (int)n, &rope));
    at += 24 + (size_t)n * 4;
  }
  assert_int_equal(n_cases, 5);
  const float ones[4] = {1, 1, 1, 1}, below[4] = {1, 1, 1, 0.5f};
  lct_rope plain = {.theta = 10000};
  assert_true(lct_gguf_rope_recognise(ones, 4, &plain));
  assert_int_equal(plain.kind, LCT_ROPE_PLAIN);
  assert_false(lct_gguf_rope_recognise(below, 4, &plain));
  lct_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything_is_read),
      cmocka_unit_test(test_every_prefix_fails),
      cmocka_unit_test(test_changed_bytes_never_crash),
      cmocka_unit_test(test_truncated_messages),
      cmocka_unit_test(test_header),
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_strings),
      cmocka_unit_test(test_arrays),
      cmocka_unit_test(test_tensor_infos),
      cmocka_unit_test(test_tensor_offsets),
      cmocka_unit_test(test_alignment),
      cmocka_unit_test(test_rope_factors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
