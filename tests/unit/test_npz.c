/* The .npz writer: against the reader (which test_npz_read.c holds against numpy) and, where there is a python3, against
 * Python's zipfile (and numpy, where it is installed). */
#include "test_support.h"

#include <pthread.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/half.h"
#include "fullfs.h"
#include "store/npz.h"
#include "store/npz_format.h"

static char dir[64];

static int make_dir(void **state) {
  (void)state;
  (void)snprintf(dir, sizeof dir, "/tmp/lct-npz-XXXXXX");
  return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state) {
  (void)state;
  char command[128];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
  return system(command);
}

static const char *in_dir(const char *name) {
  static char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

static void assert_absent(const char *path) {
  char tmp[300];
  (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
  assert_false(lct_path_exists(path));
  assert_false(lct_path_exists(tmp));
}

/* Element i of entry number e, as check_npz.py knows it. */
static int value(size_t i, size_t e) { return (int)((i + e) % 251); }

static void fill(lct_npy_dtype t, size_t from, size_t n, size_t e, unsigned char *out) {
  for (size_t i = 0; i < n; i++) {
    int v = value(from + i, e);
    uint16_t h = lct_f32_to_f16((float)v);
    float f = (float)v;
    int32_t i32 = v;
    int64_t i64 = v;
    if (t == LCT_NPY_F16) memcpy(out + i * 2, &h, 2);
    if (t == LCT_NPY_F32) memcpy(out + i * 4, &f, 4);
    if (t == LCT_NPY_I32) memcpy(out + i * 4, &i32, 4);
    if (t == LCT_NPY_I64) memcpy(out + i * 8, &i64, 8);
  }
}

static void put_elements(lct_npz *z, int entry, lct_npy_dtype t, size_t from, size_t n) {
  lct_error err;
  unsigned char bytes[8 * 512];
  assert_true(n <= 512);
  fill(t, from, n, (size_t)entry, bytes);
  assert_ok(lct_npz_put(z, entry, bytes, n * lct_npy_item_bytes(t), &err));
}

static void check_values(const char *path, size_t n_entries) {
  lct_error err;
  lct_npz_reader *r = NULL;
  assert_ok(lct_npz_open(path, &r, &err));
  assert_int_equal(lct_npz_n_entries(r), n_entries);
  for (size_t e = 0; e < n_entries; e++) {
    size_t n = (size_t)lct_npz_n_elements(lct_npz_entry_at(r, e));
    float *got = malloc(n * 4 + 1);
    assert_non_null(got);
    assert_ok(lct_npz_read_f32(r, e, got, &err));
    for (size_t i = 0; i < n; i++) assert_true(got[i] == (float)value(i, e));
    free(got);
  }
  lct_npz_close(r);
}

/* Python's opinion; LCT_PYTHON names another interpreter, e.g. one with numpy. */
static void check_python(const char *path, size_t n_entries) {
  const char *python = getenv("LCT_PYTHON") != NULL ? getenv("LCT_PYTHON") : "python3";
  char command[1024];
  (void)snprintf(command, sizeof command, "'%s' -c '' 2>/dev/null", python);
  if (system(command) != 0) {
    print_message("skipped: no %s to read the file back with\n", python);
    return;
  }
  (void)snprintf(command, sizeof command, "'%s' '%s/tests/oracle/check_npz.py' '%s' %zu", python, LCT_SOURCE_DIR, path, n_entries);
  int rc = system(command);
  assert_true(WIFEXITED(rc));
  assert_int_equal(WEXITSTATUS(rc), 0);
}

static const struct {
  const char *name;
  lct_npy_dtype dtype;
  int n_dims;
  int64_t dims[4];
} WRITTEN[] = {
    {"layer_00/hidden_in", LCT_NPY_F16, 3, {1, 30, 64}},
    {"layer_00/hidden_out", LCT_NPY_F16, 1, {777}},
    {"layer_01/a", LCT_NPY_F32, 4, {1, 2, 20, 20}},
    {"ids", LCT_NPY_I32, 1, {33}},
    {"scalar", LCT_NPY_F32, 0, {0}},
    {"none", LCT_NPY_F32, 2, {0, 5}},
    {"long", LCT_NPY_I64, 2, {3, 5}},
    {"gef\xc3\xbchl", LCT_NPY_F32, 1, {5}},
};
enum { N_WRITTEN = sizeof WRITTEN / sizeof *WRITTEN };

static size_t n_elements(size_t e) {
  size_t n = 1;
  for (int d = 0; d < WRITTEN[e].n_dims; d++) n *= (size_t)WRITTEN[e].dims[d];
  return n;
}

static lct_npz *create(const char *path) {
  lct_error err;
  lct_npz *z = NULL;
  assert_ok(lct_npz_create(path, &z, &err));
  for (size_t e = 0; e < N_WRITTEN; e++) {
    int entry = -1;
    assert_ok(lct_npz_declare(z, WRITTEN[e].name, WRITTEN[e].dtype, WRITTEN[e].n_dims, WRITTEN[e].dims, &entry, &err));
    assert_int_equal(entry, e);
  }
  return z;
}

/* All entries, `piece` elements at a time in turn. */
static void put_interleaved(lct_npz *z, size_t piece) {
  size_t done[N_WRITTEN] = {0}, left = 1;
  while (left > 0) {
    left = 0;
    for (size_t e = 0; e < N_WRITTEN; e++) {
      size_t n = n_elements(e) - done[e] < piece ? n_elements(e) - done[e] : piece;
      put_elements(z, (int)e, WRITTEN[e].dtype, done[e], n);
      done[e] += n;
      left += n_elements(e) - done[e];
    }
  }
}

static void test_write_and_read(void **state) {
  (void)state;
  lct_error err;
  static const size_t pieces[] = {512, 7, 1};
  lct_buf first = {0};
  for (size_t p = 0; p < 3; p++) {
    const char *path = in_dir("written.npz");
    lct_npz *z = create(path);
    put_interleaved(z, pieces[p]);
    assert_ok(lct_npz_finish(z, p == 0, &err));
    check_values(path, N_WRITTEN);
    lct_buf b = {0};
    assert_ok(lct_file_read(path, 1 << 20, &b, &err));
    if (p == 0) {
      check_python(path, N_WRITTEN);
      first = b;
      continue;
    }
    assert_int_equal(b.len, first.len); /* the same bytes, however the data came */
    assert_memory_equal(b.data, first.data, b.len);
    lct_buf_free(&b);
  }
  lct_buf_free(&first);
}

/* With the limit lowered every record takes its zip64 form, some by size, some by offset alone. */
static void test_write_zip64(void **state) {
  (void)state;
  lct_error err;
  static const uint64_t limits[] = {0, 300, 3000};
  for (size_t i = 0; i < 3; i++) {
    const char *path = in_dir("zip64.npz");
    lct_npz *z = create(path);
    lct_npz_set_zip64_limit(z, limits[i]);
    put_interleaved(z, 512);
    assert_ok(lct_npz_finish(z, false, &err));
    check_values(path, N_WRITTEN);
    check_python(path, N_WRITTEN);
  }
}

static void test_write_many_entries(void **state) {
  (void)state;
  lct_error err;
  enum { N = 66000 };
  const char *path = in_dir("many.npz");
  lct_npz *z = NULL;
  assert_ok(lct_npz_create(path, &z, &err));
  for (int e = 0; e < N; e++) {
    char name[32];
    int entry;
    (void)snprintf(name, sizeof name, "e/%d", e);
    assert_ok(lct_npz_declare(z, name, LCT_NPY_F32, 1, (const int64_t[]){1}, &entry, &err));
  }
  for (int e = 0; e < N; e++) put_elements(z, e, LCT_NPY_F32, 0, 1);
  assert_ok(lct_npz_finish(z, false, &err));
  check_values(path, N);
  check_python(path, N);
}

/* A real entry beyond 4 GiB and another behind it: needs 4.1 GiB of disk, so only when asked. */
static void test_write_huge(void **state) {
  (void)state;
  if (getenv("LCT_TEST_BIG") == NULL) {
    print_message("skipped: writes 4.1 GiB; set LCT_TEST_BIG=1 to run it\n");
    skip();
  }
  lct_error err;
  enum { CHUNK = 251 << 14 };
  const int64_t n = INT64_C(1100) * CHUNK / 4;
  char path[256];
  (void)snprintf(path, sizeof path, "%s", in_dir("huge.npz"));
  lct_npz *z = NULL;
  int big = -1, small = -1;
  assert_ok(lct_npz_create(path, &z, &err));
  assert_ok(lct_npz_declare(z, "big", LCT_NPY_F32, 2, (const int64_t[]){2, n / 2}, &big, &err));
  assert_ok(lct_npz_declare(z, "small", LCT_NPY_F32, 1, (const int64_t[]){100}, &small, &err));
  unsigned char *chunk = malloc(CHUNK);
  assert_non_null(chunk);
  fill(LCT_NPY_F32, 0, CHUNK / 4, 0, chunk);
  for (int64_t done = 0; done < n; done += CHUNK / 4) assert_ok(lct_npz_put(z, big, chunk, CHUNK, &err));
  put_elements(z, small, LCT_NPY_F32, 0, 100);
  free(chunk);
  assert_ok(lct_npz_finish(z, false, &err));
  lct_npz_reader *r = NULL;
  float got[100];
  assert_ok(lct_npz_open(path, &r, &err));
  assert_true(lct_npz_n_elements(lct_npz_entry_at(r, 0)) * 4 > (INT64_C(1) << 32));
  assert_ok(lct_npz_read_f32(r, 1, got, &err));
  for (size_t i = 0; i < 100; i++) assert_true(got[i] == (float)value(i, 1));
  lct_npz_close(r);
  char command[512];
  (void)snprintf(command, sizeof command, "python3 -m zipfile -t '%s'", path);
  assert_int_equal(system(command), 0);
}

typedef struct {
  lct_npz *z;
  size_t first;
} worker;

static void *put_every_second(void *arg) {
  const worker *w = arg;
  unsigned char bytes[8];
  for (size_t e = w->first; e < N_WRITTEN; e += 2) {
    for (size_t i = 0; i < n_elements(e); i++) {
      fill(WRITTEN[e].dtype, i, 1, e, bytes);
      if (lct_npz_put(w->z, (int)e, bytes, lct_npy_item_bytes(WRITTEN[e].dtype), NULL) != LCT_OK) return arg;
    }
  }
  return NULL;
}

static void test_two_threads(void **state) {
  (void)state;
  lct_error err;
  const char *path = in_dir("threads.npz");
  lct_npz *z = create(path);
  worker work[2] = {{z, 0}, {z, 1}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, put_every_second, &work[i]), 0);
  for (int i = 0; i < 2; i++) {
    void *failed = &work;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  assert_ok(lct_npz_finish(z, false, &err));
  check_values(path, N_WRITTEN);
}

static void test_empty_file(void **state) {
  (void)state;
  lct_error err;
  const char *path = in_dir("empty.npz");
  lct_npz *z = NULL;
  assert_ok(lct_npz_create(path, &z, &err));
  assert_ok(lct_npz_finish(z, true, &err));
  check_values(path, 0);
  check_python(path, 0);
}

static void test_misuse(void **state) {
  (void)state;
  lct_error err;
  char path[256], want[512];
  (void)snprintf(path, sizeof path, "%s", in_dir("misuse.npz"));
  int entry;
  lct_npz *z = create(path);
  assert_int_equal(lct_npz_declare(z, "", LCT_NPY_F32, 0, NULL, &entry, &err), LCT_E_USAGE);
  assert_int_equal(lct_npz_declare(z, "a\nb", LCT_NPY_F32, 0, NULL, &entry, &err), LCT_E_USAGE);
  assert_int_equal(lct_npz_declare(z, "a", LCT_NPY_F32, 9, (const int64_t[9]){0}, &entry, &err), LCT_E_USAGE);
  (void)snprintf(want, sizeof want, "%s: entry a: dimension 0 is -1", path);
  assert_fails(lct_npz_declare(z, "a", LCT_NPY_F32, 1, (const int64_t[]){-1}, &entry, &err), LCT_E_USAGE, want);
  const int64_t absurd[] = {INT64_C(1) << 40, 1 << 30};
  assert_int_equal(lct_npz_declare(z, "a", LCT_NPY_F32, 2, absurd, &entry, &err), LCT_E_USAGE);
  put_elements(z, 3, LCT_NPY_I32, 0, 30);
  (void)snprintf(want, sizeof want, "%s: entry late declared after the first data", path);
  assert_fails(lct_npz_declare(z, "late", LCT_NPY_F32, 0, NULL, &entry, &err), LCT_E_USAGE, want);
  char bytes[16] = {0};
  (void)snprintf(want, sizeof want, "%s: entry ids.npy takes 12 more bytes, got 16", path);
  assert_fails(lct_npz_put(z, 3, bytes, 16, &err), LCT_E_USAGE, want);
  assert_fails(lct_npz_put(z, 3, bytes, 4, &err), LCT_E_USAGE, want); /* the first failure stays */
  assert_fails(lct_npz_finish(z, false, &err), LCT_E_USAGE, want);
  assert_absent(path);

  z = create(path);
  (void)snprintf(want, sizeof want, "%s has no entry 8, only 8 of them", path);
  assert_fails(lct_npz_put(z, 8, bytes, 1, &err), LCT_E_USAGE, want);
  lct_npz_abort(z);
  assert_absent(path);

  z = create(path);
  (void)snprintf(want, sizeof want, "%s: entry layer_00/hidden_in.npy has 0 of 3840 bytes", path);
  assert_fails(lct_npz_finish(z, false, &err), LCT_E_USAGE, want);
  assert_absent(path);

  z = create(path);
  assert_ok(lct_npz_declare(z, "ids", LCT_NPY_F32, 0, NULL, &entry, &err));
  (void)snprintf(want, sizeof want, "%s: entry ids.npy declared twice", path);
  assert_fails(lct_npz_put(z, 0, bytes, 2, &err), LCT_E_USAGE, want);
  lct_npz_abort(z);
  assert_absent(path);

  z = create(path);
  put_interleaved(z, 512);
  lct_npz_abort(z);
  assert_absent(path);
  lct_npz_abort(NULL);

  (void)snprintf(want, sizeof want, "cannot create %s/none/x.npz: No such file or directory", dir);
  assert_fails(lct_npz_create(in_dir("none/x.npz"), &z, &err), LCT_E_IO, want);
}

static lct_npz *create_two_megabytes(const char *path) {
  lct_error err;
  lct_npz *z = NULL;
  int entry;
  assert_ok(lct_npz_create(path, &z, &err));
  assert_ok(lct_npz_declare(z, "a", LCT_NPY_F32, 1, (const int64_t[]){1 << 18}, &entry, &err));
  assert_ok(lct_npz_declare(z, "b", LCT_NPY_F32, 1, (const int64_t[]){1 << 18}, &entry, &err));
  return z;
}

static void test_disk_full(void **state) {
  (void)state;
  lct_error err;
  char full[64], path[128], want[512];
  static const char data[1 << 16];
  if (!fullfs_mount(full, 1 << 20)) skip();
  (void)snprintf(path, sizeof path, "%s/run.npz", full);
  lct_npz *z = create_two_megabytes(path);
  (void)snprintf(want, sizeof want, "cannot write %s: no room for 2097736 bytes: No space left on device", path);
  lct_status put = lct_npz_put(z, 0, data, sizeof data, &err);
  char message[sizeof err.message];
  (void)snprintf(message, sizeof message, "%s", err.message);
  lct_status finish = lct_npz_finish(z, false, &err);
  bool left = lct_path_exists(path);
  (void)strcat(path, ".tmp");
  left = left || lct_path_exists(path);
  fullfs_unmount(full);
  assert_int_equal(put, LCT_E_IO);
  assert_string_equal(message, want);
  assert_int_equal(finish, LCT_E_IO);
  assert_string_equal(err.message, want);
  assert_false(left);
}

/* The file size limit stands for a disk that fills up later (or takes no reservation). */
static void test_limit_in_the_middle(void **state) {
  (void)state;
  lct_error err;
  char path[256], want[512];
  static const char data[1 << 16];
  (void)snprintf(path, sizeof path, "%s", in_dir("limited.npz"));
  lct_npz *z = create_two_megabytes(path);
  assert_ok(lct_npz_put(z, 0, data, sizeof data, &err));
  fullfs_limit(1 << 19);
  lct_status s = LCT_OK;
  int n = 1;
  while (s == LCT_OK && n < 16) {
    s = lct_npz_put(z, 0, data, sizeof data, &err);
    n++;
  }
  fullfs_unlimit();
  assert_int_equal(n, 8);
  (void)snprintf(want, sizeof want, "cannot write %s (a.npy at byte %d): File too large", path, 1 << 19);
  assert_int_equal(s, LCT_E_IO);
  assert_string_equal(err.message, want);
  assert_fails(lct_npz_put(z, 1, data, sizeof data, &err), LCT_E_IO, want);
  assert_fails(lct_npz_finish(z, false, &err), LCT_E_IO, want);
  assert_absent(path);
}

static void test_limit_at_once(void **state) {
  (void)state;
  lct_error err;
  char path[256], want[512];
  static const char data[1 << 16];
  (void)snprintf(path, sizeof path, "%s", in_dir("limited.npz"));
  lct_npz *z = create_two_megabytes(path);
  fullfs_limit(1 << 20);
  lct_status s = lct_npz_put(z, 0, data, sizeof data, &err);
  fullfs_unlimit();
  assert_int_equal(s, LCT_E_IO);
  (void)snprintf(want, sizeof want, "cannot write %s: no room for 2097736 bytes: File too large", path);
  assert_string_equal(err.message, want);
  lct_npz_abort(z);
  assert_absent(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_write_zip64), cmocka_unit_test(test_write_many_entries),
      cmocka_unit_test(test_write_huge),     cmocka_unit_test(test_two_threads), cmocka_unit_test(test_empty_file),
      cmocka_unit_test(test_misuse),         cmocka_unit_test(test_disk_full),   cmocka_unit_test(test_limit_in_the_middle),
      cmocka_unit_test(test_limit_at_once),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
