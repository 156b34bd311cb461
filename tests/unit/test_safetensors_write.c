/* The safetensors writer: its files are read back by our parser (tests/oracle/check_fingerprint.py does so with the reference library). */
#include "model/safetensors_write.h"

#include <unistd.h>

#include "fullfs.h"
#include "model_support.h"

static char dir[512];

static int setup(void **state) {
  (void)state;
  (void)make_temp(dir, sizeof dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(dir);
  return 0;
}

static const lct_st_pair META[] = {{"format", "pt"}, {"quo\"ted", "line\nbreak, \\ and \xc3\xa9"}};

static void round_trip(void **state) {
  (void)state;
  lct_error err = {0};
  const float a[6] = {1, -2, 3, 0.5f, 1e-30f, 7};
  const uint16_t b[3] = {1, 2, 0xffff};
  const lct_st_spec specs[] = {{"z/\"a\"", "F32", 2, {2, 3}}, {"empty", "F16", 2, {0, 9}}, {"\xc3\xbc", "BF16", 1, {3}}};
  const char *path = at(dir, "m.safetensors");
  lct_st_writer *w = NULL;
  assert_ok(lct_st_writer_open(path, META, 2, specs, 3, &w, &err));
  assert_ok(lct_st_writer_put(w, a, 4, &err));
  assert_ok(lct_st_writer_put(w, a + 1, 20, &err));
  assert_ok(lct_st_writer_put(w, b, sizeof b, &err));
  assert_false(lct_path_exists(path));
  assert_ok(lct_st_writer_close(w, &err));
  assert_false(lct_path_exists(at(dir, "m.safetensors.tmp")));

  lct_buf file = read_all(path);
  lct_arena arena = {0};
  lct_st_file f;
  assert_ok(lct_safetensors_parse((const unsigned char *)file.data, file.len, "m", &arena, &f, &err));
  assert_int_equal(f.n_tensors, 3);
  assert_string_equal(f.tensors[0].name, "z/\"a\"");
  assert_int_equal(f.tensors[0].dtype, LCT_DTYPE_F32);
  assert_int_equal(f.tensors[0].n_dims, 2);
  assert_memory_equal(f.tensors[0].data, a, sizeof a);
  assert_int_equal((size_t)(f.tensors[0].data - (const unsigned char *)file.data) % 64, 0);
  assert_string_equal(f.tensors[2].name, "\xc3\xbc");
  assert_memory_equal(f.tensors[2].data, b, sizeof b);
  assert_int_equal(f.n_metadata, 2);
  assert_string_equal(lct_st_metadata(&f, "format"), "pt");
  assert_string_equal(lct_st_metadata(&f, META[1].key), META[1].value);
  assert_null(lct_st_metadata(&f, "nothing"));
  lct_arena_free(&arena);
  lct_buf_free(&file);
}

static void no_metadata_no_tensors(void **state) {
  (void)state;
  lct_error err = {0};
  const char *path = at(dir, "none.safetensors");
  lct_st_writer *w = NULL;
  assert_ok(lct_st_writer_open(path, NULL, 0, NULL, 0, &w, &err));
  assert_ok(lct_st_writer_close(w, &err));
  lct_buf file = read_all(path);
  lct_arena arena = {0};
  lct_st_file f;
  assert_ok(lct_safetensors_parse((const unsigned char *)file.data, file.len, "m", &arena, &f, &err));
  assert_int_equal(f.n_tensors, 0);
  assert_int_equal(f.n_metadata, 0);
  lct_arena_free(&arena);
  lct_buf_free(&file);
}

static void check_refused(const lct_st_spec *specs, size_t n, lct_status status, const char *message) {
  lct_error err = {0};
  lct_st_writer *w = NULL;
  char path[600], expected[800];
  (void)snprintf(path, sizeof path, "%s/bad.safetensors", dir);
  (void)snprintf(expected, sizeof expected, "cannot write %s: %s", path, message);
  assert_fails(lct_st_writer_open(path, NULL, 0, specs, n, &w, &err), status, expected);
  assert_null(w);
  assert_false(lct_path_exists(path));
}

static void bad_specs(void **state) {
  (void)state;
  const lct_st_spec type[] = {{"a", "F12", 1, {1}}}, dims[] = {{"a", "F32", 9, {1}}}, negative[] = {{"a", "F32", 1, {-1}}};
  const lct_st_spec huge[] = {{"a", "F32", 2, {INT64_MAX, 8}}},
                    twice[] = {{"a", "F32", 1, {1}}, {"b", "F32", 1, {1}}, {"a", "F32", 1, {1}}};
  const lct_st_spec meta[] = {{"__metadata__", "F32", 1, {1}}}, bytes[] = {{"\xff", "F32", 1, {1}}};
  const lct_st_spec sum[] = {{"a", "U8", 1, {INT64_MAX}}, {"b", "U8", 1, {1}}};
  check_refused(type, 1, LCT_E_USAGE, "tensor \"a\": no type \"F12\"");
  check_refused(dims, 1, LCT_E_USAGE, "tensor \"a\": expected 0 to 8 dimensions, found 9");
  check_refused(negative, 1, LCT_E_USAGE, "tensor \"a\": no size of a dimension: -1");
  check_refused(huge, 1, LCT_E_USAGE, "tensor \"a\": no size of a dimension: 9223372036854775807");
  check_refused(twice, 3, LCT_E_USAGE, "tensor \"a\": two of this name");
  check_refused(meta, 1, LCT_E_USAGE, "tensor \"__metadata__\": the format keeps this name for itself");
  check_refused(bytes, 1, LCT_E_USAGE, "a tensor's name is not UTF-8");
  check_refused(sum, 2, LCT_E_LIMIT, "more bytes than a file can hold");
}

/* Neither too few nor too many bytes make a file, and an older one stays. */
static void wrong_count(void **state) {
  (void)state;
  lct_error err = {0};
  const lct_st_spec spec = {"a", "F32", 1, {2}};
  const float a[3] = {1, 2, 3};
  char path[600], message[800];
  (void)snprintf(path, sizeof path, "%s/count.safetensors", dir);
  write_text(path, "old");
  lct_st_writer *w = NULL;
  assert_ok(lct_st_writer_open(path, NULL, 0, &spec, 1, &w, &err));
  (void)snprintf(message, sizeof message, "cannot write %s: expected 8 bytes of data, found more", path);
  assert_fails(lct_st_writer_put(w, a, 12, &err), LCT_E_USAGE, message);
  assert_ok(lct_st_writer_put(w, a, 4, &err));
  (void)snprintf(message, sizeof message, "cannot write %s: expected 8 bytes of data, found 4", path);
  assert_fails(lct_st_writer_close(w, &err), LCT_E_USAGE, message);
  lct_buf b = read_all(path);
  assert_string_equal(b.data, "old");
  lct_buf_free(&b);
  assert_false(lct_path_exists(at(dir, "count.safetensors.tmp")));
}

static void cannot_write(void **state) {
  (void)state;
  lct_error err = {0};
  lct_st_writer *w = NULL;
  assert_fails(lct_st_writer_open("/nowhere/m.safetensors", NULL, 0, NULL, 0, &w, &err), LCT_E_IO,
               "cannot create /nowhere/m.safetensors: No such file or directory");
  char path[600], message[800], data[65536] = {0};
  (void)snprintf(path, sizeof path, "%s/full.safetensors", dir);
  (void)snprintf(message, sizeof message, "cannot write %s: File too large", path);
  const lct_st_spec spec = {"a", "U8", 1, {(int64_t)sizeof data}};
  fullfs_limit(20000);
  assert_ok(lct_st_writer_open(path, NULL, 0, &spec, 1, &w, &err));
  lct_status s = lct_st_writer_put(w, data, sizeof data, &err);
  if (s == LCT_OK) s = lct_st_writer_close(w, &err);
  else lct_st_writer_abort(w);
  fullfs_unlimit();
  assert_fails(s, LCT_E_IO, message);
  assert_false(lct_path_exists(path));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),  cmocka_unit_test(no_metadata_no_tensors), cmocka_unit_test(bad_specs),
      cmocka_unit_test(wrong_count), cmocka_unit_test(cannot_write),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
