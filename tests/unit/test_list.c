/* Lists as users write them, against Python: the goldens are made by tests/oracle/gen_list.py. */
#include "test_support.h"

#include "base/list.h"

#define GOLDEN LCT_SOURCE_DIR "/tests/goldens/list/cases.txt"

static void check_slice(const char *line) {
  char from[16], to[16];
  long long n, first, end;
  int64_t a = 0, b = 0;
  assert_int_equal(sscanf(line, "slice %lld %15s %15s %lld %lld", &n, from, to, &first, &end), 5);
  const char *a_end = strcmp(from, "-") == 0 ? from : from + strlen(from), *b_end = strcmp(to, "-") == 0 ? to : to + strlen(to);
  assert_true(lct_list_bound(from, a_end, 0, &a) && lct_list_bound(to, b_end, INT64_MAX, &b));
  lct_list_slice(n, &a, &b);
  if (a != first || b != end) fail_msg("%s: [%lld, %lld)", line, (long long)a, (long long)b);
}

/* known: the same numbers, in another order. */
static void check_numbers(const char *line) {
  static const int backwards[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  char text[64], want[16], got[11] = "", other[11] = "";
  const char *bad = NULL, *quote = strrchr(line, '"');
  size_t n_bad = 0;
  assert_non_null(quote);
  (void)snprintf(text, sizeof text, "%.*s", (int)(quote - line - 9), line + 9);
  assert_int_equal(sscanf(quote + 1, " %15s", want), 1);
  unsigned char chosen[10], of_known[10];
  bool fine = lct_list_numbers(text, NULL, 10, chosen, &bad, &n_bad), known = lct_list_numbers(text, backwards, 10, of_known, &bad, &n_bad);
  for (int i = 0; i < 10; i++) {
    got[i] = (char)('0' + chosen[i]);
    other[i] = (char)('0' + of_known[9 - i]);
  }
  if (strcmp(fine ? got : "bad", want) != 0 || strcmp(known ? other : "bad", want) != 0) fail_msg("%s: %s, %s", line, got, other);
  if (!fine) assert_true(bad >= text && bad + n_bad <= text + strlen(text) && (bad[n_bad] == ',' || bad[n_bad] == '\0'));
}

static void numbers_and_slices_are_pythons(void **state) {
  (void)state;
  FILE *f = fopen(GOLDEN, "r");
  char line[256];
  int n = 0;
  assert_non_null(f);
  for (; fgets(line, sizeof line, f) != NULL; n++) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "slice ", 6) == 0) check_slice(line);
    else check_numbers(line);
  }
  (void)fclose(f);
  assert_int_equal(n, 1366);
}

static void numbers_that_are_not_known(void **state) {
  (void)state;
  static const int known[] = {0, 2, 3, 7};
  unsigned char chosen[4];
  const char *bad = NULL;
  size_t n = 0;
  assert_true(lct_list_numbers(NULL, known, 4, chosen, &bad, &n));
  assert_memory_equal(chosen, "\1\1\1\1", 4);
  assert_true(lct_list_numbers("7,2-3", known, 4, chosen, &bad, &n));
  assert_memory_equal(chosen, "\0\1\1\1", 4);
  assert_false(lct_list_numbers("7,0-2,3", known, 4, chosen, &bad, &n)); /* 1 is none of them */
  assert_true(n == 3 && strncmp(bad, "0-2", 3) == 0);
}

static void bounds_are_whole(void **state) {
  (void)state;
  static const char *const wrong[] = {"1.5", "a", "1 ", "9223372036854775807", "-9223372036854775808", "99999999999999999999"};
  int64_t v = 0;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(lct_list_bound(wrong[i], wrong[i] + strlen(wrong[i]), 0, &v));
  const char *text = "-12345678901:";
  assert_true(lct_list_bound(text, text + strlen(text) - 1, 0, &v));
  assert_true(v == -INT64_C(12345678901));
  assert_false(lct_list_bound(text, text + strlen(text), 0, &v));
}

static void names_are_chosen_in_order(void **state) {
  (void)state;
  static const char *const names[] = {"red", "green", "blue"};
  const lct_list_known known = {.option = "--colours", .expected = "some of", .names = names, .n = 3};
  const lct_list_known none = {.option = "--colours", .expected = "a list of", .names = names, .n = 0};
  lct_error err = {0};
  int out[3], n = 9;
  assert_ok(lct_list_names(&known, NULL, out, &n, &err));
  assert_true(n == 3 && out[0] == 0 && out[1] == 1 && out[2] == 2);
  assert_ok(lct_list_names(&known, "blue,red", out, &n, &err));
  assert_true(n == 2 && out[0] == 2 && out[1] == 0);
  assert_fails(lct_list_names(&known, "red,gree,blue", out, &n, &err), LCT_E_USAGE,
               "--colours: expected some of red, green, blue, found \"gree\"");
  assert_fails(lct_list_names(&known, "red,", out, &n, &err), LCT_E_USAGE, "--colours: expected some of red, green, blue, found \"\"");
  assert_fails(lct_list_names(&known, "red,blue,red", out, &n, &err), LCT_E_USAGE, "--colours: \"red\" stands twice");
  assert_fails(lct_list_names(&none, "red", out, &n, &err), LCT_E_USAGE, "--colours: expected a list of none, found \"red\"");
  assert_int_equal(lct_list_count("red,gree,"), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_and_slices_are_pythons),
      cmocka_unit_test(numbers_that_are_not_known),
      cmocka_unit_test(bounds_are_whole),
      cmocka_unit_test(names_are_chosen_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
