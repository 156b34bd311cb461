/* The .npz reader against archives of numpy and zipfile: goldens by tests/oracle/gen_npz.py. */
#include "test_support.h"

#include "base/file.h"
#include "store/npz.h"
#include "store/npz_format.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/npz/"

static const struct {
  const char *name;
  lct_npy_dtype dtype;
  int n_dims;
  int64_t dims[3];
} ARRAYS[] = {
    {"layer_00/hidden_in", LCT_NPY_F16, 3, {1, 3, 40}},
    {"layer_00/attn_out", LCT_NPY_F32, 2, {7, 11}},
    {"ids", LCT_NPY_I32, 1, {9}},
    {"big", LCT_NPY_I64, 2, {1, 3}},
    {"scalar", LCT_NPY_F32, 0, {0}},
    {"empty", LCT_NPY_F32, 2, {0, 4}},
    {"gef\xc3\xbchl", LCT_NPY_F32, 3, {1, 2, 3}},
    {"long", LCT_NPY_F32, 1, {4200}},
};
enum { N_ARRAYS = sizeof ARRAYS / sizeof *ARRAYS };

static void check_array(const lct_npz_reader *r, size_t a) {
  lct_error err;
  int64_t at = lct_npz_find(r, ARRAYS[a].name);
  assert_true(at >= 0);
  const lct_npz_entry *e = lct_npz_entry_at(r, (size_t)at);
  assert_string_equal(e->name, ARRAYS[a].name);
  assert_int_equal(e->dtype, ARRAYS[a].dtype);
  assert_int_equal(e->n_dims, ARRAYS[a].n_dims);
  for (int d = 0; d < e->n_dims; d++) assert_int_equal(e->dims[d], ARRAYS[a].dims[d]);
  char path[512] = GOLDENS;
  size_t prefix = strlen(path);
  (void)snprintf(path + prefix, sizeof path - prefix, "%s.f32", ARRAYS[a].name);
  for (char *p = path + prefix; *p != '\0'; p++) *p = *p == '/' ? '.' : *p;
  lct_buf want = {0};
  assert_ok(lct_file_read(path, 1 << 20, &want, &err));
  size_t n = (size_t)lct_npz_n_elements(e);
  assert_int_equal(want.len, n * 4);
  float *got = malloc(n * 4 + 1);
  assert_non_null(got);
  assert_ok(lct_npz_read_f32(r, (size_t)at, got, &err));
  assert_memory_equal(got, want.data, n * 4);
  free(got);
  lct_buf_free(&want);
}

static void test_read_numpy(void **state) {
  (void)state;
  lct_error err;
  static const char *const files[] = {"good_savez.npz", "good_compressed.npz", "good_zip64.npz", "good_npy2.npz"};
  for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
    char path[512];
    (void)snprintf(path, sizeof path, GOLDENS "%s", files[f]);
    lct_npz_reader *r = NULL;
    assert_ok(lct_npz_open(path, &r, &err));
    assert_int_equal(lct_npz_n_entries(r), N_ARRAYS);
    for (size_t a = 0; a < N_ARRAYS; a++) check_array(r, a);
    assert_int_equal(lct_npz_find(r, "absent"), -1);
    assert_int_equal(lct_npz_find(r, ""), -1);
    assert_int_equal(lct_npz_read_f32(r, N_ARRAYS, NULL, &err), LCT_E_USAGE);
    lct_npz_close(r);
  }
}

static void test_read_odd_headers(void **state) {
  (void)state;
  lct_error err;
  lct_npz_reader *r = NULL;
  assert_ok(lct_npz_open(GOLDENS "good_odd.npz", &r, &err));
  assert_int_equal(lct_npz_n_entries(r), 4);
  for (size_t i = 0; i < 4; i++) {
    float got[6];
    assert_int_equal(lct_npz_n_elements(lct_npz_entry_at(r, i)), 6);
    assert_ok(lct_npz_read_f32(r, i, got, &err));
    for (int j = 0; j < 6; j++) assert_true(got[j] == (float)j);
  }
  assert_int_equal(lct_npz_entry_at(r, (size_t)lct_npz_find(r, "python2"))->dims[1], 3);
  lct_npz_close(r);
}

static void test_read_refuses(void **state) {
  (void)state;
  static const struct {
    const char *file;
    lct_status status;
    const char *message;
  } cases[] = {
      {"fortran", LCT_E_UNSUPPORTED, "Fortran order, expected C order"},
      {"bigendian", LCT_E_UNSUPPORTED, "element type >f4, expected <f2, <f4, <i4 or <i8"},
      {"double", LCT_E_UNSUPPORTED, "element type <f8, expected <f2, <f4, <i4 or <i8"},
      {"struct", LCT_E_UNSUPPORTED, ".npy header: descr is no simple type, expected <f2, <f4, <i4 or <i8"},
      {"lzma", LCT_E_UNSUPPORTED, "compression method 14, expected 0 or 8"},
      {"shape", LCT_E_FORMAT, "its shape needs 4000000000000 bytes, there are 24"},
      {"overflow", LCT_E_FORMAT, "its shape needs 0 or more bytes, there are 24"},
      {"number", LCT_E_FORMAT, ".npy header: a dimension is not a number"},
      {"negative", LCT_E_FORMAT, ".npy header: a dimension is not a number"},
      {"notuple", LCT_E_FORMAT, ".npy header: shape is not a tuple"},
      {"nine", LCT_E_UNSUPPORTED, "more than 8 dimensions"},
      {"key", LCT_E_FORMAT, ".npy header: unexpected key x"},
      {"twice", LCT_E_FORMAT, ".npy header: unexpected key descr"},
      {"missing", LCT_E_FORMAT, ".npy header is not a dict of descr, fortran_order and shape"},
      {"magic", LCT_E_FORMAT, "not a .npy array"},
      {"header", LCT_E_FORMAT, ".npy header is truncated"},
  };
  lct_error err;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[512], want[1024];
    (void)snprintf(path, sizeof path, GOLDENS "bad_%s.npz", cases[i].file);
    (void)snprintf(want, sizeof want, "%s: entry a.npy: %s", path, cases[i].message);
    lct_npz_reader *r = NULL;
    assert_fails(lct_npz_open(path, &r, &err), cases[i].status, want);
  }
  lct_npz_reader *r = NULL;
  assert_fails(lct_npz_open(GOLDENS "bad_overlap.npz", &r, &err), LCT_E_FORMAT, GOLDENS "bad_overlap.npz: entries overlap");
  assert_fails(lct_npz_open(GOLDENS "bad_names.npz", &r, &err), LCT_E_FORMAT, GOLDENS "bad_names.npz: two entries are called a");
}

static void test_read_checksum(void **state) {
  (void)state;
  lct_error err;
  lct_npz_reader *r = NULL;
  float out[6];
  assert_ok(lct_npz_open(GOLDENS "bad_crc.npz", &r, &err));
  assert_int_equal(lct_npz_read_f32(r, 0, out, &err), LCT_E_FORMAT);
  assert_non_null(strstr(err.message, "bad_crc.npz: entry a: checksum "));
  lct_npz_close(r);
}

/* The central record number `number` of an archive. */
static unsigned char *central_record(const lct_buf *b, int number) {
  unsigned char *p = (unsigned char *)b->data;
  for (size_t at = 0; at + ZIP_CENTRAL_BYTES < b->len; at++) {
    if (zip_u32(p + at) == ZIP_CENTRAL_SIG && number-- == 0) return p + at;
  }
  fail_msg("no such central record");
  return NULL;
}

/* Fields that lie about where and how much. */
static void test_read_lies(void **state) {
  (void)state;
  static const struct {
    const char *file;
    int at; /* in the second central record, whose name has 21 bytes */
    unsigned char bytes[4];
    const char *message;
  } cases[] = {
      {"good_compressed.npz", 20, {0xff, 0xff, 0xff, 0x7f}, "no such local entry inside the file"},
      {"good_compressed.npz", 42, {0xff, 0xff, 0xff, 0x7f}, "no such local entry inside the file"},
      {"good_compressed.npz", 42, {0, 0, 0, 0}, "no such local entry inside the file"},
      {"good_compressed.npz", 24, {0xff, 0xff, 0xff, 0x7f}, "2147483647 bytes cannot come from 396"},
      {"good_compressed.npz", 8, {1, 0, 8, 0}, "encrypted"},
      {"good_zip64.npz", 46 + 21 + 2, {12, 0, 0xb4, 1}, "damaged extra field"},
      {"good_zip64.npz", 46 + 21 + 2, {0xff, 0xff, 0xb4, 1}, "damaged extra field"},
      {"good_zip64.npz", 46 + 21, {2, 0, 24, 0}, "damaged extra field"},
  };
  lct_error err;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[512];
    (void)snprintf(path, sizeof path, GOLDENS "%s", cases[i].file);
    lct_buf b = {0};
    assert_ok(lct_file_read(path, 1 << 20, &b, &err));
    memcpy(central_record(&b, 1) + cases[i].at, cases[i].bytes, 4);
    lct_npz_reader *r = NULL;
    char want[256];
    (void)snprintf(want, sizeof want, "m: entry layer_00/attn_out.npy: %s", cases[i].message);
    assert_fails(lct_npz_open_memory(b.data, b.len, "m", &r, &err), LCT_E_FORMAT + (i == 4), want);
    lct_buf_free(&b);
  }
}

/* Opens and reads everything; whatever the bytes, it must come back. The copy has no slack for a sanitizer to miss. */
static bool survives(const char *bytes, size_t n) {
  char *exact = malloc(n ? n : 1);
  assert_non_null(exact);
  memcpy(exact, bytes, n);
  lct_npz_reader *r = NULL;
  lct_error err;
  bool whole = lct_npz_open_memory(exact, n, "m", &r, &err) == LCT_OK;
  for (size_t i = 0; whole && i < lct_npz_n_entries(r); i++) {
    size_t count = (size_t)lct_npz_n_elements(lct_npz_entry_at(r, i));
    assert_true(count <= n * 1032);
    float *out = malloc(count * sizeof *out + 1);
    assert_non_null(out);
    whole = lct_npz_read_f32(r, i, out, &err) == LCT_OK;
    free(out);
  }
  lct_npz_close(r);
  free(exact);
  return whole;
}

static void test_damaged_files(void **state) {
  (void)state;
  static const char *const files[] = {"good_odd.npz", "good_compressed.npz", "good_zip64.npz"};
  for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
    char path[512];
    lct_error err;
    lct_buf b = {0};
    (void)snprintf(path, sizeof path, GOLDENS "%s", files[f]);
    assert_ok(lct_file_read(path, 1 << 20, &b, &err));
    assert_true(survives(b.data, b.len));
    size_t step = b.len > 4096 ? 7 : 1;
    for (size_t n = 0; n < b.len; n += step) assert_false(survives(b.data, n));
    for (size_t i = 0; i < b.len; i += step) {
      char was = b.data[i];
      for (int flip = 0; flip < 3; flip++) {
        b.data[i] = (char)(flip == 0 ? was ^ 1 : flip == 1 ? was ^ 0x80 : ~was);
        (void)survives(b.data, b.len);
      }
      b.data[i] = was;
    }
    lct_buf_free(&b);
  }
  lct_npz_reader *r = NULL;
  lct_error err;
  assert_fails(lct_npz_open_memory("", 0, "m", &r, &err), LCT_E_FORMAT, "m: not a zip file (0 bytes)");
  assert_int_equal(lct_npz_open(GOLDENS "none.npz", &r, &err), LCT_E_IO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_read_numpy),    cmocka_unit_test(test_read_odd_headers), cmocka_unit_test(test_read_refuses),
      cmocka_unit_test(test_read_checksum), cmocka_unit_test(test_read_lies),        cmocka_unit_test(test_damaged_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
