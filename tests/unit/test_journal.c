/* The journal: which shards count, for an archive and for a sweep that goes on. */
#include "test_support.h"

#include <sys/stat.h>
#include <unistd.h>

#include "archive/journal.h"
#include "base/file.h"

#define HEAD "{\"format\":\"llmct-journal\",\"version\":1,\"config\":{\"model\":\"m\",\"layers\":[0,1]}}\n"
#define SHARD(array, shard, bytes) "{\"array\":\"" array "\",\"shard\":" #shard ",\"bytes\":" #bytes "}\n"

static char dir[512], path[520];

static void write_text(const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void expect_text(const char *text) {
  lct_buf b = {0};
  lct_error err = {0};
  assert_ok(lct_file_read(path, 1 << 20, &b, &err));
  assert_string_equal(b.data, text);
  lct_buf_free(&b);
}

static lct_journal read_text(const char *text, bool all) {
  lct_journal j = {0};
  lct_error err = {0};
  write_text(text);
  assert_ok(lct_journal_read(path, "J", all, &j, &err));
  return j;
}

static void expect_shards(const lct_journal *j, const char *array, size_t n, int64_t last) {
  const lct_journal_array *x = lct_journal_find(j, array);
  assert_int_equal(x != NULL ? x->n : 0, n);
  if (n > 0) assert_int_equal(x->bytes[n - 1], last);
}

/* In a row from 0; the last word on a shard counts; what is behind a gap does not. */
static void shards_in_a_row(void **state) {
  (void)state;
  lct_journal j = read_text(HEAD SHARD("a", 0, 5) SHARD("b", 0, 7) SHARD("a", 1, 6) SHARD("a", 3, 9) SHARD("a", 1, 8) SHARD("b", 2, 7),
                            false);
  expect_shards(&j, "a", 2, 8);
  expect_shards(&j, "b", 1, 7);
  expect_shards(&j, "c", 0, 0);
  assert_string_equal(json_string_value(json_object_get(j.config, "model")), "m");
  lct_journal_free(&j);
}

static void finishing_and_torn_lines(void **state) {
  (void)state;
  const char *whole = HEAD SHARD("a", 0, 5), *rest = "{\"finishing\":3}\n" SHARD("a", 1, 6);
  char text[512];
  (void)snprintf(text, sizeof text, "%s%s{\"array\":\"a\",\"sh", whole, rest);
  lct_journal j = read_text(text, false);
  expect_shards(&j, "a", 1, 5);
  assert_int_equal(j.length, strlen(whole));
  lct_journal_free(&j);
  j = read_text(text, true);
  expect_shards(&j, "a", 2, 6);
  assert_int_equal(j.length, strlen(whole) + strlen(rest));
  lct_journal_free(&j);
  j = read_text("{\"format\":\"llmct-jour", false);
  assert_int_equal(j.length, 0);
  assert_null(j.config);
  lct_journal_free(&j);
}

static void strange_lines(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"{\"format\":\"other\"}\n", "J:1: expected a sweep's journal"},
      {HEAD "{\"array\": 5}\n", "J:2: expected a committed shard, found \"{\"array\": 5}\""},
      {HEAD SHARD("a", 0, -1), "J:2: expected a committed shard, found \"{\"array\":\"a\",\"shard\":0,\"bytes\":-1}\""},
      {HEAD SHARD("a", 0, 1) "nonsense\n", "J:3 is not valid JSON: '[' or '{' expected near 'nonsense' (line 1, column 8)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    lct_journal j = {0};
    lct_error err = {0};
    write_text(cases[i].text);
    assert_fails(lct_journal_read(path, "J", false, &j, &err), LCT_E_FORMAT, cases[i].message);
    lct_journal_free(&j);
  }
}

static json_t *config(int last_layer) { return json_pack("{s:s, s:[i, i]}", "model", "m", "layers", 0, last_layer); }

/* A new journal begins with its head; a sweep that goes on finds it as it counts, cuts the rest and appends. */
static void written_and_gone_on_with(void **state) {
  (void)state;
  lct_error err = {0};
  lct_journal_out j = {0}, second = {0};
  json_t *asked = config(1);
  write_text("what stood before\n");
  assert_ok(lct_journal_open(&j, dir, asked, false, true, &err));
  assert_int_equal(lct_journal_stood(&j, "a"), 0);
  assert_int_equal(lct_journal_open(&second, dir, asked, true, false, &err), LCT_E_USAGE);
  assert_non_null(strstr(err.message, "another process is sweeping"));
  lct_journal_close(&second);
  assert_ok(lct_journal_shard(&j, "a", 0, 5, &err));
  assert_ok(lct_journal_finishing(&j, 3, &err));
  assert_ok(lct_journal_shard(&j, "a", 1, 6, &err));
  lct_journal_close(&j);
  expect_text(HEAD SHARD("a", 0, 5) "{\"finishing\":3}\n" SHARD("a", 1, 6));
  assert_ok(lct_journal_open(&j, dir, asked, true, false, &err));
  assert_int_equal(lct_journal_stood(&j, "a"), 1);
  assert_ok(lct_journal_shard(&j, "a", 1, 9, &err));
  lct_journal_close(&j);
  expect_text(HEAD SHARD("a", 0, 5) SHARD("a", 1, 9));
  json_decref(asked);
}

static void another_config(void **state) {
  (void)state;
  lct_error err = {0};
  lct_journal_out j = {0};
  char want[1024];
  json_t *asked = config(2);
  write_text(HEAD SHARD("a", 0, 5));
  (void)snprintf(want, sizeof want, "%s: the sweep was begun with layers [0,1], now it is [0,2]", path);
  assert_fails(lct_journal_open(&j, dir, asked, true, false, &err), LCT_E_USAGE, want);
  lct_journal_close(&j);
  expect_text(HEAD SHARD("a", 0, 5));
  json_decref(asked);
}

static int make_dir(void **state) {
  (void)state;
  const char *root = getenv("TMPDIR");
  (void)snprintf(dir, sizeof dir, "%s/test_journal-XXXXXX", root != NULL ? root : "/tmp");
  if (mkdtemp(dir) == NULL) return -1;
  (void)snprintf(path, sizeof path, "%s/journal", dir);
  return 0;
}

static int remove_dir(void **state) {
  (void)state;
  (void)unlink(path);
  return rmdir(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shards_in_a_row),          cmocka_unit_test(finishing_and_torn_lines), cmocka_unit_test(strange_lines),
      cmocka_unit_test(written_and_gone_on_with), cmocka_unit_test(another_config),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
