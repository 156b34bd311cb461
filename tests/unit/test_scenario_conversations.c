/* Conversations, against Python's json module (goldens made by tests/oracle/gen_conversations.py). */
#include "test_support.h"

#include <jansson.h>
#include <unistd.h>

#include "base/file.h"
#include "scenario/conversations.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/scenario/"
#define ONE "[{\"role\": \"user\", \"content\": \"x\"}]"

static json_t *load_json(const char *path) {
  json_error_t e;
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &e);
  if (root == NULL) fail_msg("%s:%d: %s", path, e.line, e.text);
  return root;
}

static void check_message(const lct_conversation *c, size_t i, const json_t *want) {
  const json_t *content = json_object_get(want, "content"), *label = json_object_get(want, "label");
  const json_t *labels = json_object_get(want, "labels");
  assert_string_equal(c->messages[i].role, json_string_value(json_object_get(want, "role")));
  assert_int_equal(c->messages[i].content_len, json_string_length(content));
  assert_memory_equal(c->messages[i].content, json_string_value(content), json_string_length(content) + 1);
  if (json_is_null(label)) assert_null(c->labels[i].label);
  else assert_string_equal(c->labels[i].label, json_string_value(label));
  assert_int_equal(c->labels[i].n_labels, json_array_size(labels));
  for (size_t k = 0; k < json_array_size(labels); k++) {
    assert_string_equal(c->labels[i].labels[k], json_string_value(json_array_get(labels, k)));
  }
}

static void check_conversation(const lct_conversation *c, const json_t *want) {
  const json_t *messages = json_object_get(want, "messages"), *meta = json_object_get(want, "meta");
  assert_string_equal(c->id, json_string_value(json_object_get(want, "id")));
  assert_int_equal(c->line, json_integer_value(json_object_get(want, "line")));
  assert_int_equal(c->n_replaced, json_integer_value(json_object_get(want, "n_replaced")));
  assert_int_equal(c->n_messages, json_array_size(messages));
  for (size_t i = 0; i < c->n_messages; i++) check_message(c, i, json_array_get(messages, i));
  if (json_is_null(meta)) {
    assert_null(c->meta);
    return;
  }
  json_t *ours = json_loads(c->meta, JSON_DECODE_ANY, NULL);
  assert_true(json_equal(ours, meta));
  json_decref(ours);
}

static void check_golden_stream(lct_conversations *r) {
  lct_error err = {0};
  json_t *golden = load_json(GOLDENS "conversations.json");
  lct_conversation *c = NULL;
  for (size_t i = 0; i < json_array_size(golden); i++) {
    assert_ok(lct_conversations_next(r, &c, &err));
    assert_non_null(c);
    check_conversation(c, json_array_get(golden, i));
    assert_int_equal(lct_conversations_line(r), c->line);
    lct_conversation_free(c);
  }
  for (int i = 0; i < 2; i++) {
    assert_ok(lct_conversations_next(r, &c, &err));
    assert_null(c);
  }
  json_decref(golden);
}

static void test_golden(void **state) {
  (void)state;
  lct_error err = {0};
  lct_conversations *r = NULL;
  assert_ok(lct_conversations_open(GOLDENS "conversations.jsonl", &r, &err));
  check_golden_stream(r);
  lct_conversations_free(r);
  lct_conversations_free(NULL);
  lct_conversation_free(NULL);
}

/* Standard input is a pipe here. */
static void test_standard_input(void **state) {
  (void)state;
  lct_error err = {0};
  lct_conversations *r = NULL;
  lct_buf file = {0};
  int ends[2], saved = dup(STDIN_FILENO);
  assert_ok(lct_file_read(GOLDENS "conversations.jsonl", 1 << 20, &file, &err));
  assert_int_equal(pipe(ends), 0);
  assert_true(file.len < 4096); /* fits a pipe, so nobody has to read meanwhile */
  assert_int_equal(write(ends[1], file.data, file.len), file.len);
  close(ends[1]);
  assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
  close(ends[0]);
  assert_ok(lct_conversations_open("-", &r, &err));
  check_golden_stream(r);
  lct_conversations_free(r);
  char byte;
  assert_int_equal(read(STDIN_FILENO, &byte, 1), 0); /* still open: it is not the reader's to close */
  if (saved >= 0) {
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
  }
  lct_buf_free(&file);
}

static void test_errors(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"{", "f:7:1: JSON: string or '}' expected near end of file"},
      {"{} x", "f:7:4: JSON: end of file expected near 'x'"},
      {"{\"id\": \"\xc3\xa9\", x}", "f:7:13: JSON: string or '}' expected near 'x'"},
      {"[1]", "f:7: expected an object, found an array"},
      {"5", "f:7:1: JSON: '[' or '{' expected near '5'"},
      {"{\"id\": \"a\", \"id\": \"b\", \"messages\": " ONE "}", "f:7:16: JSON: duplicate object key near '\"id\"'"},
      {"{\"id\": \"a\"}", "f:7: messages: expected an array of at least one message, found none"},
      {"{\"messages\": []}", "f:7: messages: expected an array of at least one message, found an empty array"},
      {"{\"messages\": {}}", "f:7: messages: expected an array of at least one message, found an object"},
      {"{\"conversations\": []}", "f:7: conversations: expected an array of at least one message, found an empty array"},
      {"{\"messages\": " ONE ", \"conversations\": []}",
       "f:7: conversations: expected either messages or conversations, found an empty array"},
      {"{\"messages\": [\"hi\"]}", "f:7: messages[0]: expected an object, found \"hi\""},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"robot\", \"content\": \"x\"}]}",
       "f:7: messages[1].role: expected \"system\" or \"user\" or \"assistant\", found \"robot\""},
      {"{\"messages\": [{\"role\": \"human\", \"content\": \"x\"}]}",
       "f:7: messages[0].role: expected \"system\" or \"user\" or \"assistant\", found \"human\""},
      {"{\"messages\": [{\"content\": \"x\"}]}", "f:7: messages[0].role: expected \"system\" or \"user\" or \"assistant\", found none"},
      {"{\"conversations\": [{\"from\": \"tool\", \"value\": \"x\"}]}",
       "f:7: conversations[0].from: expected \"system\" or \"human\" or \"gpt\", found \"tool\""},
      {"{\"conversations\": [{\"from\": \"gpt\", \"value\": true}]}", "f:7: conversations[0].value: expected a string, found true"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": 1.5}]}", "f:7: messages[0].content: expected a string, found the number 1.5"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": null}]}", "f:7: messages[0].content: expected a string, found null"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\", \"label\": 3}]}",
       "f:7: messages[0].label: expected a string without NUL, found the number 3"},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\", \"labels\": \"joy\"}]}",
       "f:7: messages[0].labels: expected an array of strings, found \"joy\""},
      {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\", \"labels\": [\"joy\", false]}]}",
       "f:7: messages[0].labels: expected an array of strings without NUL, found false"},
      {"{\"id\": 1.5, \"messages\": " ONE "}", "f:7: id: expected a string (not empty, without NUL) or an integer, found the number 1.5"},
      {"{\"id\": \"\", \"messages\": " ONE "}", "f:7: id: expected a string (not empty, without NUL) or an integer, found \"\""},
      {"{\"id\": \"a\\u0000b\", \"messages\": " ONE "}",
       "f:7: id: expected a string (not empty, without NUL) or an integer, found \"a\\x00b\""},
      {"{\"id\": \"\\ud8`@\", \"messages\": " ONE "}", "f:7:13: JSON: invalid escape near '\"\\ud8`'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    lct_error err = {0};
    lct_conversation *c = NULL;
    lct_status s = lct_conversation_parse(cases[i][0], strlen(cases[i][0]), "f", 7, &c, &err);
    if (strcmp(err.message, cases[i][1]) != 0) fail_msg("got      %s\n   expected %s", err.message, cases[i][1]);
    assert_int_equal(s, LCT_E_FORMAT);
    assert_null(c);
  }
}

/* A temporary file in the working directory; the caller unlinks it. */
static int temp_file(char path[32]) {
  (void)snprintf(path, 32, "conversations_XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  return fd;
}

/* Bad lines are passed over one at a time, a line beyond the limit without holding it. */
static void test_goes_on(void **state) {
  (void)state;
  static const char first[] = "{\"id\": \"a\", \"messages\": " ONE "}\nnonsense\n\n";
  static const char last[] = "\n{\"id\": \"b\", \"messages\": " ONE "}\n";
  char path[32], want[160];
  int fd = temp_file(path);
  assert_int_equal(write(fd, first, sizeof first - 1), sizeof first - 1);
  assert_true(lseek(fd, (off_t)LCT_CONVERSATION_MAX_BYTES + 1, SEEK_CUR) > 0);
  assert_int_equal(write(fd, last, sizeof last - 1), sizeof last - 1);
  close(fd);
  lct_error err = {0};
  lct_conversations *r = NULL;
  lct_conversation *c = NULL;
  lct_status opened = lct_conversations_open(path, &r, &err);
  (void)unlink(path);
  assert_int_equal(opened, LCT_OK);
  assert_ok(lct_conversations_next(r, &c, &err));
  assert_string_equal(c->id, "a");
  lct_conversation_free(c);
  (void)snprintf(want, sizeof want, "%s:2:8: JSON: '[' or '{' expected near 'nonsense'", path);
  assert_fails(lct_conversations_next(r, &c, &err), LCT_E_FORMAT, want);
  assert_null(c);
  (void)snprintf(want, sizeof want, "%s:4: expected a line of at most 67108864 bytes, found 67108865", path);
  assert_fails(lct_conversations_next(r, &c, &err), LCT_E_LIMIT, want);
  assert_null(c);
  assert_ok(lct_conversations_next(r, &c, &err));
  assert_string_equal(c->id, "b");
  assert_int_equal(c->line, 5);
  lct_conversation_free(c);
  assert_ok(lct_conversations_next(r, &c, &err));
  assert_null(c);
  lct_conversations_free(r);
}

static void test_limits(void **state) {
  (void)state;
  lct_error err = {0};
  lct_conversation *c = NULL;
  size_t n = (size_t)LCT_CONVERSATION_MAX_VALUES + 16;
  char *text = malloc(n);
  assert_non_null(text);
  memset(text, '[', n);
  assert_fails(lct_conversation_parse(text, n, "f", 1, &c, &err), LCT_E_LIMIT,
               "f:1: expected at most 2000000 JSON values in a line, found more");
  assert_int_equal(lct_conversation_parse(text, 100000, "f", 1, &c, &err), LCT_E_FORMAT); /* nested too deep */
  assert_null(c);
  free(text);
}

static void test_files(void **state) {
  (void)state;
  lct_error err = {0};
  lct_conversations *r = NULL;
  lct_conversation *c = NULL;
  assert_fails(lct_conversations_open("/nonexistent.jsonl", &r, &err), LCT_E_IO,
               "cannot open /nonexistent.jsonl: No such file or directory");
  assert_null(r);
  assert_ok(lct_conversations_open("/", &r, &err));
  assert_fails(lct_conversations_next(r, &c, &err), LCT_E_IO, "cannot read /: Is a directory");
  assert_ok(lct_conversations_next(r, &c, &err)); /* and then it is at its end */
  assert_null(c);
  lct_conversations_free(r);
  assert_ok(lct_conversations_open("/dev/null", &r, &err));
  assert_ok(lct_conversations_next(r, &c, &err));
  assert_null(c);
  lct_conversations_free(r);
}

/* Every prefix of every golden line, and every line with a byte changed: a conversation or one message. */
static void test_damaged(void **state) {
  (void)state;
  lct_error err = {0};
  lct_buf file = {0};
  assert_ok(lct_file_read(GOLDENS "conversations.jsonl", 1 << 20, &file, &err));
  for (char *line = file.data; line != NULL;) {
    char *newline = strchr(line, '\n');
    size_t n = newline ? (size_t)(newline - line) : strlen(line);
    for (size_t i = 0; i < n; i++) {
      char *exact = malloc(n);
      assert_non_null(exact);
      memcpy(exact, line, n);
      exact[i] = "\"\\[{\xff\0u,"[i % 8];
      for (int prefix = 0; prefix < 2; prefix++) {
        lct_conversation *c = NULL;
        lct_error e = {0};
        char *bytes = malloc(i ? i : 1);
        assert_non_null(bytes);
        memcpy(bytes, line, i);
        lct_status s = lct_conversation_parse(prefix ? bytes : exact, prefix ? i : n, "f", 1, &c, &e);
        assert_int_equal(s == LCT_OK, c != NULL);
        assert_int_equal(s == LCT_OK, e.message[0] == '\0');
        lct_conversation_free(c);
        free(bytes);
      }
      free(exact);
    }
    line = newline ? newline + 1 : NULL;
  }
  lct_buf_free(&file);
}

static void add(lct_buf *b, const char *s, size_t n, const char *end) {
  assert_int_equal(lct_buf_append(b, s, n, NULL), LCT_OK);
  assert_int_equal(lct_buf_puts(b, end, NULL), LCT_OK);
}

static void check_shared_file(const char *path, const json_t *facts) {
  lct_error err = {0};
  lct_conversations *r = NULL;
  lct_buf all = {0};
  json_int_t n = 0, n_messages = 0;
  char sha[65];
  assert_ok(lct_conversations_open(path, &r, &err));
  for (lct_conversation *c = NULL;; lct_conversation_free(c)) {
    assert_ok(lct_conversations_next(r, &c, &err));
    if (c == NULL) break;
    n++;
    add(&all, c->id, strlen(c->id), "\n");
    for (size_t i = 0; i < c->n_messages; i++, n_messages++) {
      const lct_labels *l = &c->labels[i];
      add(&all, c->messages[i].role, strlen(c->messages[i].role), "\n");
      add(&all, c->messages[i].content, c->messages[i].content_len, "\n");
      add(&all, l->label ? l->label : "", l->label ? strlen(l->label) : 0, "\n");
      for (size_t k = 0; k < l->n_labels; k++) add(&all, l->labels[k], strlen(l->labels[k]), k + 1 < l->n_labels ? " " : "");
      add(&all, "", 0, "\n");
    }
  }
  lct_conversations_free(r);
  assert_int_equal(n, json_integer_value(json_object_get(facts, "n_conversations")));
  assert_int_equal(n_messages, json_integer_value(json_object_get(facts, "n_messages")));
  lct_sha256_hex(all.data, all.len, sha);
  assert_string_equal(sha, json_string_value(json_object_get(facts, "sha256")));
  lct_buf_free(&all);
}

static void test_shared_data(void **state) {
  (void)state;
  const char *shared = getenv("LCT_SHARED");
  json_t *files = load_json(GOLDENS "shared_conversations.json");
  char path[1024];
  for (size_t i = 0; i < json_array_size(files); i++) {
    const json_t *facts = json_array_get(files, i);
    (void)snprintf(path, sizeof path, "%s/data/%s", shared ? shared : LCT_SOURCE_DIR "/../shared",
                   json_string_value(json_object_get(facts, "file")));
    if (!lct_path_exists(path)) {
      print_message("[  NOTE    ] skipped: %s is absent\n", path);
      json_decref(files);
      skip();
    }
    check_shared_file(path, facts);
  }
  json_decref(files);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),  cmocka_unit_test(test_standard_input), cmocka_unit_test(test_errors),
      cmocka_unit_test(test_goes_on), cmocka_unit_test(test_limits),         cmocka_unit_test(test_files),
      cmocka_unit_test(test_damaged), cmocka_unit_test(test_shared_data),
  };
  return cmocka_run_group_tests_name("scenario_conversations", tests, NULL, NULL);
}
