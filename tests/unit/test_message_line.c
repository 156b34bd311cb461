/* Lines of messages.jsonl against jansson, which writes the same object. */
#include "test_support.h"

#include <jansson.h>

#include "archive/lines.h"

static const char *const texts[] = {
    "joy", "", "a \"b\"", "back\\slash", "/slash", "caf\u00e9", "\u4f60\u597d \U0001F600", "tab\tnew\nline", "\x01\x1f\x7f", "~!"};
enum { N_TEXTS = sizeof texts / sizeof *texts };

static char *by_jansson(const lct_message_line *x) {
  char hash[20];
  json_t *o = json_pack("{s:I, s:s, s:i, s:s, s:s?}", "row", (json_int_t)x->row, "id", x->id, "message", x->message, "role", x->role,
                        "label", x->label);
  if (x->n_labels > 1) {
    json_t *all = json_array();
    for (size_t i = 0; i < x->n_labels; i++) json_array_append_new(all, json_string(x->labels[i]));
    json_object_set_new(o, "labels", all);
  }
  json_object_set_new(o, "n_tokens", json_integer(x->n_tokens));
  json_object_set_new(o, "content", json_pack("[i, i]", x->content_from, x->content_to));
  if (x->tokens) json_object_set_new(o, "tokens", json_pack("[I, i]", (json_int_t)x->first_token, x->n_stored));
  (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)x->hash);
  json_object_set_new(o, "hash", json_string(hash));
  char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
  json_decref(o);
  return text;
}

static void lines_are_as_jansson_writes_them(void **state) {
  (void)state;
  lct_error err;
  for (size_t i = 0; i < N_TEXTS * N_TEXTS; i++) {
    lct_buf out = {0};
    const char *const labels[] = {texts[i / N_TEXTS], texts[(i + 3) % N_TEXTS], "last"};
    const lct_message_line x = {.row = (int64_t)i << 33,
                                .id = texts[i % N_TEXTS],
                                .message = (int32_t)i,
                                .role = texts[(i * 7) % N_TEXTS],
                                .label = i % 4 == 0 ? NULL : labels[0],
                                .labels = labels,
                                .n_labels = i % 4,
                                .n_tokens = 3,
                                .content_from = (int32_t)i,
                                .content_to = INT32_MAX,
                                .hash = i * UINT64_C(0x123456789abcdef),
                                .tokens = i % 2 == 1,
                                .first_token = INT64_MAX,
                                .n_stored = 5};
    assert_ok(lct_buf_puts(&out, "before\n", &err));
    assert_ok(lct_message_line_put(&x, &out, &err));
    char *want = by_jansson(&x);
    assert_non_null(want);
    assert_memory_equal(out.data, "before\n", 7);
    assert_int_equal(out.len, 7 + strlen(want) + 1);
    assert_memory_equal(out.data + 7, want, strlen(want));
    assert_int_equal(out.data[out.len - 1], '\n');
    free(want);
    lct_buf_free(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(lines_are_as_jansson_writes_them)};
  return cmocka_run_group_tests_name("message_line", tests, NULL, NULL);
}
