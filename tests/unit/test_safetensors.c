/* One safetensors file: good ones, and the exact message for each way to be bad. Files of the reference library: test_model. */
#include "model/tensors.h"
#include "model_support.h"

/* u64 length, header, n_data bytes. */
static lct_buf make(const char *header, size_t n_data) {
  lct_error err = {0};
  lct_buf b = {0};
  uint64_t n = strlen(header);
  unsigned char zero = 0;
  assert_ok(lct_buf_append(&b, &n, 8, &err));
  assert_ok(lct_buf_puts(&b, header, &err));
  for (size_t i = 0; i < n_data; i++) assert_ok(lct_buf_append(&b, &zero, 1, &err));
  return b;
}

/* On an exact-size copy, so that the sanitizer sees the first byte too far. */
static lct_status parse(const void *data, size_t n, lct_arena *a, lct_st_file *f, lct_error *err) {
  unsigned char *copy = malloc(n > 0 ? n : 1);
  assert_non_null(copy);
  if (n > 0) memcpy(copy, data, n);
  lct_status s = lct_safetensors_parse(copy, n, "m.safetensors", a, f, err);
  free(copy);
  return s;
}

static void good(void **state) {
  (void)state;
  lct_error err = {0};
  lct_arena a = {0};
  lct_st_file f;
  lct_buf b = make(
      "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,24]},"
      "\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
      "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
      "\"e\":{\"dtype\":\"F16\",\"shape\":[0,9],\"data_offsets\":[32,32]}}  ",
      32);
  assert_ok(lct_safetensors_parse((const unsigned char *)b.data, b.len, "m.safetensors", &a, &f, &err));
  assert_int_equal(f.n_tensors, 4);
  assert_string_equal(f.tensors[0].name, "a");
  assert_int_equal(f.tensors[0].dtype, LCT_DTYPE_BF16);
  assert_int_equal(f.tensors[0].n_dims, 2);
  assert_int_equal(f.tensors[0].dims[1], 3);
  assert_ptr_equal(f.tensors[0].data, b.data + b.len - 32);
  assert_string_equal(f.tensors[1].name, "b");
  assert_int_equal(f.tensors[1].n_bytes, 12);
  assert_int_equal(f.tensors[2].dtype, LCT_DTYPE_COUNT);
  assert_string_equal(f.tensors[2].dtype_name, "I64");
  assert_int_equal(f.tensors[3].n_bytes, 0);
  lct_arena_free(&a);
  lct_buf_free(&b);
}

#define T(name, dtype, shape, offsets) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void bad_headers(void **state) {
  (void)state;
  static const struct {
    const char *header;
    size_t n_data;
    const char *message; /* after "m.safetensors: " */
  } cases[] = {
      {"", 0, "header is not valid JSON: '[' or '{' expected near end of file (line 1, column 0)"},
      {"[]", 0, "header: expected a JSON object"},
      {"{\"a\":1}", 0, "tensor \"a\": entry: expected an object, found 1"},
      {"{\"__metadata__\":1}", 0, "tensor \"__metadata__\": entry: expected an object of strings, found 1"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "tensor \"__metadata__\": a: expected a string, found 1"},
      {"{\"a\":{}}", 0, "tensor \"a\": dtype: expected a string, found nothing"},
      {"{" T("a", "F12", "[1]", "[0,4]") "}", 4,
       "tensor \"a\": dtype: expected a safetensors type such as \"BF16\", \"F16\" or \"F32\", found \"F12\""},
      {"{" T("a", "F32", "4", "[0,4]") "}", 4, "tensor \"a\": shape: expected a list of sizes, found 4"},
      {"{" T("a", "F32", "[-1]", "[0,4]") "}", 4, "tensor \"a\": shape: expected a list of sizes, found [-1]"},
      {"{" T("a", "F32", "[1.5]", "[0,4]") "}", 4, "tensor \"a\": shape: expected a list of sizes, found [1.5]"},
      {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "tensor \"a\": shape: expected at most 8 dimensions, found 9"},
      {"{" T("a", "F32", "[4611686018427387904,4]", "[0,4]") "}", 4, "tensor \"a\": shape: more elements than can be addressed"},
      {"{" T("a", "F32", "[1]", "[0]") "}", 4, "tensor \"a\": data_offsets: expected [begin, end] with 0 <= begin <= end, found [0]"},
      {"{" T("a", "F32", "[1]", "[4,0]") "}", 4, "tensor \"a\": data_offsets: expected [begin, end] with 0 <= begin <= end, found [4,0]"},
      {"{" T("a", "F32", "[1]", "[-4,0]") "}", 4, "tensor \"a\": data_offsets: expected [begin, end] with 0 <= begin <= end, found [-4,0]"},
      {"{" T("a", "F32", "[2]", "[0,8]") "}", 4, "tensor \"a\": data_offsets [0, 8]: expected inside the file's 4 data bytes"},
      {"{" T("a", "F32", "[1]", "[9223372036854775800,9223372036854775804]") "}", 4,
       "tensor \"a\": data_offsets [9223372036854775800, 9223372036854775804]: expected inside the file's 4 data bytes"},
      {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, "tensor \"a\": data_offsets [0, 4]: expected 8 bytes for its type and shape, found 4"},
      {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[2,6]") "}", 6,
       "tensor \"b\" begins at data byte 2 inside tensor \"a\", which ends at 4"},
      {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[0,4]") "}", 4,
       "tensor \"b\" begins at data byte 0 inside tensor \"a\", which ends at 4"},
      {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}", 12,
       "data bytes 4 to 8 before tensor \"b\" belong to no tensor"},
      {"{" T("a", "F32", "[1]", "[0,4]") "}", 7, "tensors end at data byte 4: expected the end of the data at 7"},
      {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[0,4]") "}", 4,
       "header is not valid JSON: duplicate object key near '\"a\"' (line 1, column 57)"},
      {"{\"a\":[[[[[[[]]]]]]]}", 0, "header: JSON nested deeper than 4 levels at byte 8"},
      {"{\"a\":{\"dtype\":\"F32\"", 0, "header is not valid JSON: '}' expected near end of file (line 1, column 19)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    lct_error err = {0};
    lct_arena a = {0};
    lct_st_file f;
    char want[512];
    lct_buf b = make(cases[i].header, cases[i].n_data);
    (void)snprintf(want, sizeof want, "m.safetensors: %s", cases[i].message);
    lct_status s = parse(b.data, b.len, &a, &f, &err);
    if (s != LCT_E_FORMAT || strcmp(err.message, want) != 0) {
      fail_msg("case %zu: status %d, \"%s\", expected \"%s\"", i, s, err.message, want);
    }
    lct_arena_free(&a);
    lct_buf_free(&b);
  }
}

static void bad_lengths(void **state) {
  (void)state;
  lct_error err = {0};
  lct_arena a = {0};
  lct_st_file f;
  unsigned char d[16] = {0};
  d[7] = 0x80;
  assert_fails(parse(d, sizeof d, &a, &f, &err), LCT_E_FORMAT,
               "m.safetensors: header length at byte 0: expected at most 100000000, found 9223372036854775808");
  memset(d, 0xff, 8);
  assert_fails(parse(d, sizeof d, &a, &f, &err), LCT_E_FORMAT,
               "m.safetensors: header length at byte 0: expected at most 100000000, found 18446744073709551615");
  memset(d, 0, 8);
  d[0] = 9;
  assert_fails(parse(d, sizeof d, &a, &f, &err), LCT_E_FORMAT,
               "m.safetensors: truncated: expected a header of 9 bytes at byte 8, found 8 bytes");
  assert_fails(parse(NULL, 0, &a, &f, &err), LCT_E_FORMAT, "m.safetensors: truncated: expected a header length of 8 bytes, found 0 bytes");
  assert_fails(parse(d, 7, &a, &f, &err), LCT_E_FORMAT, "m.safetensors: truncated: expected a header length of 8 bytes, found 7 bytes");
  static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 988097824\n";
  assert_fails(parse(lfs, sizeof lfs - 1, &a, &f, &err), LCT_E_FORMAT,
               "m.safetensors is a Git LFS pointer: expected the weights themselves (git lfs pull fetches them)");
  lct_arena_free(&a);
}

/* A real file cut at every byte fails; with any one header bit flipped it gives an answer. */
static void damaged(void **state) {
  (void)state;
  lct_buf b = read_all(GOLDENS "/qwen3-f16-shards/model-00004-of-00004.safetensors");
  lct_error err = {0};
  lct_st_file f;
  uint64_t header = 0;
  memcpy(&header, b.data, 8);
  for (size_t n = 0; n < b.len; n++) {
    lct_arena a = {0};
    assert_int_equal(parse(b.data, n, &a, &f, &err), LCT_E_FORMAT);
    assert_memory_equal(err.message, "m.safetensors: ", 15);
    lct_arena_free(&a);
  }
  for (size_t i = 0; i < 8 + header; i++) {
    for (int flip = 1; flip < 256; flip *= 2) {
      lct_arena a = {0};
      b.data[i] = (char)(b.data[i] ^ flip);
      lct_status s = parse(b.data, b.len, &a, &f, &err);
      assert_true(s == LCT_OK || s == LCT_E_FORMAT);
      b.data[i] = (char)(b.data[i] ^ flip);
      lct_arena_free(&a);
    }
  }
  lct_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good),
      cmocka_unit_test(bad_headers),
      cmocka_unit_test(bad_lengths),
      cmocka_unit_test(damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
