/* UTF-8 against Python: the goldens are made by tests/oracle/gen_utf8.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/utf8.h"

#define GOLDEN LCT_SOURCE_DIR "/tests/goldens/utf8/cases.txt"

static size_t from_hex(const char *hex, char *out) {
  size_t n = 0;
  for (; hex[0] != '\0' && hex[0] != '-' && hex[1] != '\0'; hex += 2) {
    unsigned value;
    assert_int_equal(sscanf(hex, "%2x", &value), 1);
    out[n++] = (char)value;
  }
  return n;
}

static void check_case(const char *hex_in, const char *hex_out, size_t n_replaced, size_t n_chars) {
  char in[256], want[512];
  size_t n_in = from_hex(hex_in, in), n_want = from_hex(hex_out, want), got = 99;
  char *exact = malloc(n_in ? n_in : 1); /* no slack behind the bytes, so that the sanitizer sees a read past the end */
  assert_non_null(exact);
  memcpy(exact, in, n_in);
  lct_buf out = {0};
  assert_int_equal(lct_utf8_replace(exact, n_in, &out, &got, NULL), LCT_OK);
  if (out.len != n_want || memcmp(out.data, want, n_want) != 0 || got != n_replaced) fail_msg("wrong for bytes %s", hex_in);
  assert_int_equal(out.data[out.len], '\0');
  assert_int_equal(lct_utf8_valid(exact, n_in), n_replaced == 0);
  assert_true(lct_utf8_valid(out.data, out.len));
  assert_int_equal(lct_utf8_count(out.data, out.len), n_chars);
  lct_buf_free(&out);
  free(exact);
}

static void check_all(const unsigned char *alphabet, size_t size, unsigned length, const char *sha256, size_t n_replaced) {
  lct_buf out = {0};
  size_t total = 0, n_strings = 1;
  for (unsigned i = 0; i < length; i++) n_strings *= size;
  for (size_t k = 0; k < n_strings; k++) {
    char s[8];
    size_t rest = k, n = 0;
    for (unsigned i = length; i-- > 0; rest /= size) s[i] = (char)alphabet[rest % size];
    assert_int_equal(lct_utf8_replace(s, length, &out, &n, NULL), LCT_OK);
    assert_int_equal(lct_utf8_valid(s, length), n == 0);
    total += n;
  }
  char hex[65];
  lct_sha256_hex(out.data, out.len, hex);
  assert_string_equal(hex, sha256);
  assert_int_equal(total, n_replaced);
  lct_buf_free(&out);
}

static void replaces_as_python_does(void **state) {
  (void)state;
  FILE *f = fopen(GOLDEN, "r");
  assert_non_null(f);
  char line[2048], a[512], b[1024];
  unsigned char alphabet[64];
  size_t size = 0, n_cases = 0, n_all = 0, p, q;
  while (fgets(line, sizeof line, f) != NULL) {
    if (sscanf(line, "case %511s %1023s %zu %zu", a, b, &p, &q) == 4) {
      check_case(a, b, p, q);
      n_cases++;
    } else if (sscanf(line, "alphabet %511s", a) == 1) {
      size = from_hex(a, (char *)alphabet);
    } else if (sscanf(line, "all %zu %511s %zu", &p, a, &q) == 3) {
      check_all(alphabet, size, (unsigned)p, a, q);
      n_all++;
    } else {
      fail_msg("unexpected golden line: %s", line);
    }
  }
  (void)fclose(f);
  assert_true(n_cases > 40);
  assert_int_equal(n_all, 4);
}

static void appends_and_counts_optionally(void **state) {
  (void)state;
  lct_buf out = {0};
  assert_int_equal(lct_buf_puts(&out, "x", NULL), LCT_OK);
  assert_int_equal(lct_utf8_replace("\xffy", 2, &out, NULL, NULL), LCT_OK);
  assert_string_equal(out.data, "x\xef\xbf\xbdy");
  lct_buf_free(&out);
}

static void prefix_cuts_between_characters(void **state) {
  (void)state;
  const char *s = "a\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80z"; /* 1, 2, 3, 4 and 1 bytes */
  const size_t want[] = {0, 1, 3, 6, 10, 11, 11};
  for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) assert_int_equal(lct_utf8_prefix(s, strlen(s), i), want[i]);
  assert_int_equal(lct_utf8_count(s, strlen(s)), 5);
  assert_int_equal(lct_utf8_count("", 0), 0);
  assert_int_equal(lct_utf8_prefix("", 0, 3), 0);
  assert_true(lct_utf8_valid("", 0));
}

/* Read as it comes, byte after byte, each time what is settled: the same text as read at once, at most three bytes late. */
static void settled_bytes_read_the_same(void **state) {
  (void)state;
  static const unsigned char bytes[] = {'a', 0x80, 0xA9, 0xBD, 0x98, 0xC3, 0xE4, 0xED, 0xF0, 0xF4, 0xFF};
  enum { N = sizeof bytes, LENGTH = 5 };
  for (int number = 0; number < N * N * N * N * N; number++) {
    char s[LENGTH];
    for (int i = 0, rest = number; i < LENGTH; i++, rest /= N) s[i] = (char)bytes[rest % N];
    lct_buf whole = {0}, pieces = {0};
    size_t done = 0;
    for (size_t n = 1; n <= LENGTH; n++) {
      size_t settled = lct_utf8_settled(s + done, n - done);
      assert_true(done + settled <= n && n - done - settled <= 3);
      assert_int_equal(lct_utf8_replace(s + done, settled, &pieces, NULL, NULL), LCT_OK);
      done += settled;
    }
    if (lct_utf8_valid(s, LENGTH)) assert_int_equal(done, LENGTH);
    assert_int_equal(lct_utf8_replace(s + done, LENGTH - done, &pieces, NULL, NULL), LCT_OK);
    assert_int_equal(lct_utf8_replace(s, LENGTH, &whole, NULL, NULL), LCT_OK);
    assert_int_equal(whole.len, pieces.len);
    assert_memory_equal(whole.data, pieces.data, whole.len);
    lct_buf_free(&whole);
    lct_buf_free(&pieces);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(replaces_as_python_does),
      cmocka_unit_test(settled_bytes_read_the_same),
      cmocka_unit_test(appends_and_counts_optionally),
      cmocka_unit_test(prefix_cuts_between_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
