/* Positions: the words, the tokens they are about (ranges as Python's own slices, tests/oracle/gen_position.py), and where vectors come from. */
#include "test_support.h"

#include "capture/position.h"

/* system, user, assistant, user; the third message renders no text */
static const lct_token_range CONTENT[] = {{3, 6}, {10, 14}, {17, 17}, {20, 26}};
static const lct_role ROLES[] = {LCT_ROLE_SYSTEM, LCT_ROLE_USER, LCT_ROLE_ASSISTANT, LCT_ROLE_USER};
static const lct_prompt_shape SHAPE = {.n_tokens = 30, .content = CONTENT, .roles = ROLES, .message = 3};

static lct_position one(const char *text) {
  lct_error err;
  lct_arena arena = {0};
  lct_position *p = NULL;
  int n = 0;
  assert_ok(lct_positions_parse("--positions", text, &arena, &p, &n, &err));
  assert_int_equal(n, 1);
  assert_string_equal(p->name, text);
  lct_position out = *p;
  lct_arena_free(&arena);
  return out;
}

static void refused(const char *text, const char *message) {
  lct_error err;
  lct_arena arena = {0};
  lct_position *p = NULL;
  int n = 0;
  assert_fails(lct_positions_parse("--positions", text, &arena, &p, &n, &err), LCT_E_USAGE, message);
  lct_arena_free(&arena);
}

static void test_words(void **unused) {
  (void)unused;
#define EXPECTED "--positions: expected last, content_last, content_mean, message:ROLE (system, user, assistant) or range:FROM:TO, found "
  assert_int_equal(one("last").at, LCT_AT_LAST);
  assert_int_equal(one("content_mean").at, LCT_AT_CONTENT_MEAN);
  assert_int_equal(one("message:assistant").role, LCT_ROLE_ASSISTANT);
  assert_int_equal(one("range:-3:").to, INT64_MAX);
  refused("last,last", "--positions: \"last\" stands twice");
  refused("message:robot", EXPECTED "\"message:robot\"");
  refused("range:3", EXPECTED "\"range:3\"");
  refused("range:1:2:3", EXPECTED "\"range:1:2:3\"");
  refused("range:a:2", EXPECTED "\"range:a:2\"");
  refused("range:99999999999999999999:", EXPECTED "\"range:99999999999999999999:\"");
  refused("", EXPECTED "\"\"");
  refused("last,", EXPECTED "\"\"");
}

static void test_slices(void **unused) {
  (void)unused;
  FILE *f = fopen(LCT_SOURCE_DIR "/tests/goldens/position/slices.txt", "r");
  assert_non_null(f);
  int n = 0, from = 0, to = 0, count = 0;
  char text[32], name[64];
  while (fscanf(f, "%d %31s %d %d", &n, text, &from, &to) == 4) {
    (void)snprintf(name, sizeof name, "range:%s", text);
    lct_position p = one(name);
    lct_prompt_shape x = SHAPE;
    lct_token_range out[4] = {{0, 0}};
    x.n_tokens = n;
    int found = lct_position_tokens(&p, &x, out);
    assert_int_equal(found, from < to);
    if (found == 0) continue;
    assert_int_equal(out[0].from, from);
    assert_int_equal(out[0].to, to);
    count++;
  }
  (void)fclose(f);
  assert_true(count > 50);
}

static void expect_tokens(const char *name, int n, const lct_token_range *want) {
  lct_position p = one(name);
  lct_token_range got[4];
  assert_int_equal(lct_position_tokens(&p, &SHAPE, got), n);
  for (int i = 0; i < n; i++) {
    assert_int_equal(got[i].from, want[i].from);
    assert_int_equal(got[i].to, want[i].to);
  }
}

static void test_tokens(void **unused) {
  (void)unused;
  expect_tokens("last", 1, (lct_token_range[]){{29, 30}});
  expect_tokens("content_last", 1, (lct_token_range[]){{25, 26}});
  expect_tokens("content_mean", 1, (lct_token_range[]){{20, 26}});
  expect_tokens("message:user", 2, (lct_token_range[]){{10, 14}, {20, 26}});
  expect_tokens("message:assistant", 0, NULL);
  lct_prompt_shape silent = SHAPE;
  lct_token_range got[4];
  silent.message = 2; /* without text of its own */
  lct_position last = one("content_last"), mean = one("content_mean");
  assert_int_equal(lct_position_tokens(&last, &silent, got), 0);
  assert_int_equal(lct_position_tokens(&mean, &silent, got), 0);
  lct_position all[] = {one("last"), one("content_mean"), one("message:user")};
  assert_int_equal(lct_positions_first(all, 1, &SHAPE, got), 29);
  assert_int_equal(lct_positions_first(all, 2, &SHAPE, got), 20);
  assert_int_equal(lct_positions_first(all, 3, &SHAPE, got), 10);
}

/* A path in three pieces: positions 0-11, 12-21, 22-29. */
static void test_places(void **unused) {
  (void)unused;
  static const lct_kv_range path[] = {{100, 12}, {40, 10}, {7, 8}};
  lct_position all[] = {one("last"), one("content_last"), one("content_mean"), one("message:user"), one("message:assistant")};
  lct_place got[5];
  lct_arena arena = {0};
  lct_error err;
  assert_ok(lct_positions_place(all, 5, &SHAPE, path, 3, &arena, got, &err));
  assert_int_equal(got[0].slot, 14);
  assert_int_equal(got[1].slot, 10);
  static const lct_kv_range mean[] = {{48, 2}, {7, 4}}, user[] = {{110, 2}, {40, 2}, {48, 2}, {7, 4}};
  assert_int_equal(got[2].slot, -1);
  assert_int_equal(got[2].n_mean, 2);
  assert_memory_equal(got[2].mean, mean, sizeof mean);
  assert_int_equal(got[3].n_mean, 4);
  assert_memory_equal(got[3].mean, user, sizeof user);
  assert_int_equal(got[4].slot, -1);
  assert_int_equal(got[4].n_mean, 0);
  lct_arena_free(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_slices), cmocka_unit_test(test_tokens),
                                     cmocka_unit_test(test_places)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
