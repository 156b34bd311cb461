/* Scenarios that must not load: the exact message of each, and limits against hostile YAML. */
#include "test_support.h"

#include <unistd.h>

#include "scenario/scenario.h"
#include "scenario/yaml_tree.h"

#define HEAD "name: n\nmodel: {id: x}\n"
#define PROMPT "prompt: {messages: [{role: user, content: hi}]}\n"
#define GOOD HEAD PROMPT

typedef struct {
  const char *yaml, *message;
} bad_case;

static void check_cases(const bad_case *cases, size_t n) {
  for (size_t i = 0; i < n; i++) {
    lct_error err = {0};
    lct_scenario *s = NULL;
    lct_status status = lct_scenario_parse(cases[i].yaml, strlen(cases[i].yaml), "s.yaml", &s, &err);
    assert_null(s);
    if (strcmp(err.message, cases[i].message) != 0) fail_msg("got      %s\n   expected %s", err.message, cases[i].message);
    assert_int_equal(status, LCT_E_FORMAT);
    assert_int_equal(err.code, LCT_E_FORMAT);
  }
}

#define CHECK(cases) check_cases(cases, sizeof(cases) / sizeof *(cases))

static void test_good(void **state) {
  (void)state;
  lct_error err = {0};
  lct_scenario *s = NULL;
  assert_ok(lct_scenario_parse(GOOD, strlen(GOOD), "s.yaml", &s, &err));
  lct_scenario_free(s);
}

static void test_documents(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {"", "s.yaml:1:1: top level: expected a mapping with name, model and prompt, found an empty document"},
      {"# nothing\n", "s.yaml:1:1: top level: expected a mapping with name, model and prompt, found an empty document"},
      {"---\n...\n", "s.yaml:1:1: top level: expected a mapping with name, model and prompt, found an empty document"},
      {"- a\n", "s.yaml:1:1: top level: expected a mapping, found a list"},
      {"text\n", "s.yaml:1:1: top level: expected a mapping, found \"text\""},
      {GOOD "---\nname: m\n", "s.yaml:4:1: expected one YAML document, found the start of a second"},
      {"a: [1, 2\n", "s.yaml:2:1: YAML: did not find expected ',' or ']', while parsing a flow sequence that began at line 1, column 4"},
      {"a: \"x\n", "s.yaml:2:1: YAML: found unexpected end of stream, while scanning a quoted scalar that began at line 1, column 4"},
      {"a: b: c\n", "s.yaml:1:5: YAML: mapping values are not allowed in this context"},
      {"name: \xc3\xa9\x01\n", "s.yaml:1:8: YAML: control characters are not allowed (character 0x01)"},
      {"a: \"\\ud800\"\n",
       "s.yaml:1:7: YAML: found invalid Unicode character escape code, while parsing a quoted scalar that began at line 1, "
       "column 4"},
  };
  CHECK(cases);
}

static void test_keys(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {GOOD "promt: 1\n",
       "s.yaml:4:1: top level: unknown key, expected one of name, model, prompt, generation, capture, output, "
       "reference_states, found \"promt\""},
      {GOOD "generation:\n  max_tokens: 5\n",
       "s.yaml:5:3: generation: unknown key, expected one of max_new_tokens, do_sample, "
       "temperature, top_k, top_p, seed, found \"max_tokens\""},
      {HEAD "prompt:\n  messages:\n  - {role: user, content: a}\n  - {role: user, text: b}\n",
       "s.yaml:6:18: prompt[0].messages[1]: unknown key, expected one of role, content, found \"text\""},
      {GOOD "1: x\n",
       "s.yaml:4:1: top level: unknown key, expected one of name, model, prompt, generation, capture, output, "
       "reference_states, found the number 1"},
      {GOOD "? [a, b]\n: x\n",
       "s.yaml:4:3: top level: unknown key, expected one of name, model, prompt, generation, capture, output, "
       "reference_states, found a list"},
      {GOOD "output: {dir: a, dir: b}\n", "s.yaml:4:18: output: expected every key once, found \"dir\" again"},
      {GOOD "name: again\n", "s.yaml:4:1: top level: expected every key once, found \"name\" again"},
      {GOOD "output: {<<: {dir: a}, <<: {dir: b}}\n", "s.yaml:4:24: output: expected every key once, found \"<<\" again"},
      {GOOD "output: {<<: 5}\n", "s.yaml:4:14: output.<<: expected a mapping or a list of mappings, found the number 5"},
      {GOOD "output: {<<: [{dir: a}, [b]]}\n", "s.yaml:4:25: output: expected a mapping, found a list"},
      {GOOD "output: {<<: {dri: a}}\n", "s.yaml:4:15: output: unknown key, expected one of dir, format, found \"dri\""},
      {"model: {id: x}\n" PROMPT, "s.yaml:1:1: top level: expected the key \"name\", found none"},
      {"name: n\n" PROMPT, "s.yaml:1:1: top level: expected the key \"model\", found none"},
      {HEAD, "s.yaml:1:1: top level: expected the key \"prompt\", found none"},
      {"name: n\nmodel: {dtype: float16}\n" PROMPT, "s.yaml:2:8: model: expected the key \"id\", found none"},
      {HEAD "prompt: {run_at_each_message: true}\n", "s.yaml:3:9: prompt[0]: expected the key \"messages\", found none"},
  };
  CHECK(cases);
}

static void test_messages(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {HEAD "prompt:\n  messages:\n  - {role: user, content: a}\n  - {role: system, content: a}\n  - role: robot\n    content: b\n",
       "s.yaml:7:11: prompt[0].messages[2].role: expected \"system\" or \"user\" or \"assistant\", found \"robot\""},
      {HEAD "prompt: {messages: []}\n", "s.yaml:3:20: prompt[0].messages: expected a list of at least one message, found an empty list"},
      {HEAD "prompt: []\n", "s.yaml:3:9: prompt: expected a list of at least one prompt, found an empty list"},
      {HEAD "prompt: hello\n", "s.yaml:3:9: prompt: expected a prompt or a list of prompts, found \"hello\""},
      {HEAD "prompt: [hello]\n", "s.yaml:3:10: prompt[0]: expected a mapping, found \"hello\""},
      {HEAD "prompt: {messages: {role: user, content: a}}\n",
       "s.yaml:3:20: prompt[0].messages: expected a list of at least one message, found a mapping"},
      {HEAD "prompt: {messages: [{role: user, content: 5}]}\n",
       "s.yaml:3:43: prompt[0].messages[0].content: expected a string, found the number 5"},
      {HEAD "prompt: {messages: [{role: user, content: yes}]}\n",
       "s.yaml:3:43: prompt[0].messages[0].content: expected a string, found the boolean yes"},
      {HEAD "prompt: {messages: [{role: user, content: }]}\n", "s.yaml:3:43: prompt[0].messages[0].content: expected a string, found null"},
      {HEAD "prompt: {messages: [{role: user, content: 2026-11-23}]}\n",
       "s.yaml:3:43: prompt[0].messages[0].content: expected a string, found the date 2026-11-23"},
      {HEAD "prompt: {messages: [{role: user, content: [a]}]}\n",
       "s.yaml:3:43: prompt[0].messages[0].content: expected a string, found a list"},
      {HEAD "prompt: {messages: [{role: user, content: a}], run_at_each_message: maybe}\n",
       "s.yaml:3:69: prompt[0].run_at_each_message: expected true or false, found \"maybe\""},
      {HEAD "prompt: {messages: [{role: user, content: !!binary aGk=}]}\n",
       "s.yaml:3:43: unsupported tag on \"aGk=\" with tag tag:yaml.org,2002:binary"},
      {HEAD "prompt: {messages: [{role: user, content: =}]}\n",
       "s.yaml:3:43: the plain scalar = is a YAML 1.1 default value and must be quoted, found \"=\""},
      {HEAD "prompt: !!set {messages: }\n", "s.yaml:3:9: unsupported tag tag:yaml.org,2002:set"},
  };
  CHECK(cases);
}

static void test_names(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {"name: a/b\nmodel: {id: x}\n" PROMPT, "s.yaml:1:7: name: expected non-empty text without whitespace or slashes, found \"a/b\""},
      {"name: a b\nmodel: {id: x}\n" PROMPT, "s.yaml:1:7: name: expected non-empty text without whitespace or slashes, found \"a b\""},
      {"name: ''\nmodel: {id: x}\n" PROMPT, "s.yaml:1:7: name: expected non-empty text without whitespace or slashes, found \"\""},
      {"name: 7\nmodel: {id: x}\n" PROMPT, "s.yaml:1:7: name: expected a string, found the number 7"},
      {"name: \"a\\0b\"\nmodel: {id: x}\n" PROMPT, "s.yaml:1:7: name: expected text without NUL, found \"a\\x00b\""},
      {GOOD "reference_states:\n- {label: \"a\\tb\", messages: [{role: user, content: a}]}\n",
       "s.yaml:5:11: reference_states[0].label: expected non-empty text without whitespace or slashes, found \"a\\x09b\""},
      {GOOD "reference_states:\n- {label: 'a\\b', messages: [{role: user, content: a}]}\n",
       "s.yaml:5:11: reference_states[0].label: expected non-empty text without whitespace or slashes, found \"a\\b\""},
      {GOOD "reference_states:\n- &r {label: joy, messages: [{role: user, content: a}]}\n- *r\n",
       "s.yaml:5:14: reference_states[1].label: expected a label not used before, found \"joy\""},
      {GOOD "reference_states:\n- {label: joy, messages: []}\n",
       "s.yaml:5:26: reference_states[0].messages: expected a list of at least one message, found an empty list"},
      {GOOD "reference_states: ~\n", "s.yaml:4:19: reference_states: expected a list of references, found null"},
      {GOOD "reference_states: [joy]\n", "s.yaml:4:20: reference_states[0]: expected a mapping, found \"joy\""},
  };
  CHECK(cases);
}

static void test_settings(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {"name: n\nmodel: {id: x, dtype: fp16}\n" PROMPT,
       "s.yaml:2:23: model.dtype: expected \"float16\" or \"bfloat16\" or \"float32\", found \"fp16\""},
      {"name: n\nmodel: {id: x, device: cuda}\n" PROMPT,
       "s.yaml:2:24: model.device: expected \"auto\" or \"mps\" or \"cpu\", found \"cuda\""},
      {"name: n\nmodel: x\n" PROMPT, "s.yaml:2:8: model: expected a mapping, found \"x\""},
      {"name: n\nmodel: {id: 5}\n" PROMPT, "s.yaml:2:13: model.id: expected a string, found the number 5"},
      {"name: n\nmodel: {id: x, gguf_file: no}\n" PROMPT, "s.yaml:2:27: model.gguf_file: expected a string, found the boolean no"},
      {GOOD "generation:\n", "s.yaml:4:12: generation: expected a mapping, found null"},
      {GOOD "generation: {max_new_tokens: 0}\n", "s.yaml:4:30: generation.max_new_tokens: expected an integer >= 1, found the number 0"},
      {GOOD "generation: {max_new_tokens: 5.5}\n",
       "s.yaml:4:30: generation.max_new_tokens: expected an integer >= 1, found the number 5.5"},
      {GOOD "generation: {max_new_tokens: 1e3}\n", "s.yaml:4:30: generation.max_new_tokens: expected an integer >= 1, found \"1e3\""},
      {GOOD "generation: {max_new_tokens: 2147483648}\n",
       "s.yaml:4:30: generation.max_new_tokens: expected an integer <= 2147483647, found the number 2147483648"},
      {GOOD "generation: {seed: 9223372036854775808}\n",
       "s.yaml:4:20: expected an integer of at most 64 bits, found \"9223372036854775808\""},
      {GOOD "generation: {temperature: .inf}\n", "s.yaml:4:27: generation.temperature: expected a finite number, found the number .inf"},
      {GOOD "generation: {temperature: hot}\n", "s.yaml:4:27: generation.temperature: expected a finite number, found \"hot\""},
      {GOOD "generation: {temperature: ~}\n", "s.yaml:4:27: generation.temperature: expected a finite number, found null"},
      {GOOD "generation: {do_sample: 2}\n", "s.yaml:4:25: generation.do_sample: expected true or false, found the number 2"},
      {GOOD "generation: {top_k: 1.5}\n", "s.yaml:4:21: generation.top_k: expected an integer, found the number 1.5"},
      {GOOD "generation: {top_p: []}\n", "s.yaml:4:21: generation.top_p: expected a finite number, found an empty list"},
      {GOOD "capture: {top_k_probs: -1}\n", "s.yaml:4:24: capture.top_k_probs: expected an integer >= 0, found the number -1"},
      {GOOD "capture: {layers: [0, -1]}\n", "s.yaml:4:23: capture.layers[1]: expected an integer >= 0, found the number -1"},
      {GOOD "capture: {layers: 3}\n", "s.yaml:4:19: capture.layers: expected \"all\" or a list of layer numbers, found the number 3"},
      {GOOD "capture: {layers: ALL}\n", "s.yaml:4:19: capture.layers: expected \"all\" or a list of layer numbers, found \"ALL\""},
      {GOOD "capture: {layers: [all]}\n", "s.yaml:4:20: capture.layers[0]: expected an integer >= 0, found \"all\""},
      {GOOD "capture: {store_dtype: int8}\n",
       "s.yaml:4:24: capture.store_dtype: expected \"float16\" or \"bfloat16\" or \"float32\", found \"int8\""},
      {GOOD "output: {format: zarr}\n", "s.yaml:4:18: output.format: expected \"json+npz\", found \"zarr\""},
      {GOOD "output: {dir: 3}\n", "s.yaml:4:15: output.dir: expected a string, found the number 3"},
      {GOOD "output: {dir: abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz/\xc3\xa9, x: 1}\n",
       "s.yaml:4:81: output: unknown key, expected one of dir, format, found \"x\""},
  };
  CHECK(cases);
}

static void test_aliases(void **state) {
  (void)state;
  static const bad_case cases[] = {
      {HEAD "prompt: &p {messages: *p}\n", "s.yaml:3:23: alias *p refers to the value it is part of (line 3): a cycle"},
      {HEAD "prompt: &p [{<<: [*p]}]\n", "s.yaml:3:19: alias *p refers to the value it is part of (line 3): a cycle"},
      {HEAD "prompt: *nowhere\n", "s.yaml:3:9: alias *nowhere: there is no anchor of that name above"},
      {"name: &a n\nmodel: {id: &a x}\n" PROMPT, "s.yaml:2:13: this anchor's name was used before"},
  };
  CHECK(cases);
}

/* Appends n copies. */
static void repeat(lct_buf *b, const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) assert_int_equal(lct_buf_puts(b, s, NULL), LCT_OK);
}

static void check_limit(lct_buf *b, const char *message) {
  lct_error err = {0};
  lct_scenario *s = NULL;
  assert_fails(lct_scenario_parse(b->data, b->len, "s.yaml", &s, &err), LCT_E_LIMIT, message);
  assert_null(s);
  lct_buf_free(b);
}

static void test_nesting(void **state) {
  (void)state;
  lct_buf b = {0};
  repeat(&b, "[", 100000);
  check_limit(&b, "s.yaml:1:65: nested deeper than 64 levels");
  repeat(&b, "- ", 100000);
  check_limit(&b, "s.yaml:1:129: nested deeper than 64 levels");
  repeat(&b, "{a: ", 100000);
  check_limit(&b, "s.yaml:1:257: nested deeper than 64 levels");
  repeat(&b, "? ", 100000);
  check_limit(&b, "s.yaml:1:129: nested deeper than 64 levels");
}

/* Lists of lists of aliases: each level has `width` times the last one's prompts, messages or merges. */
static void test_bombs(void **state) {
  (void)state;
  lct_buf b = {0};
  repeat(&b, HEAD "prompt:\n- &p\n  messages:\n  - &m {role: user, content: boom}\n", 1);
  repeat(&b, "  - *m\n", 4000);
  repeat(&b, "- *p\n", 4000);
  check_limit(&b, "s.yaml:6:5: aliases expand to more than 4000000 values");

  lct_buf bomb = {0};
  assert_int_equal(lct_buf_puts(&bomb, HEAD "prompt:\n- &a0 {messages: [{role: user, content: hi}]}\n", NULL), LCT_OK);
  for (int i = 1; i < 60; i++) {
    assert_int_equal(lct_buf_printf(&bomb, NULL, "- &a%d {<<: [*a%d, *a%d, *a%d]}\n", i, i - 1, i - 1, i - 1), LCT_OK);
  }
  lct_error err = {0};
  lct_scenario *s = NULL;
  assert_int_equal(lct_scenario_parse(bomb.data, bomb.len, "s.yaml", &s, &err), LCT_E_LIMIT);
  assert_null(s);
  assert_non_null(strstr(err.message, "aliases expand to more than 4000000 values"));
  lct_buf_free(&bomb);
}

/* A chain of single merges is cheap: the recursion has its own limit. */
static void test_merge_chain(void **state) {
  (void)state;
  lct_buf b = {0};
  repeat(&b, HEAD "prompt:\n- &a0 {messages: [{role: user, content: hi}]}\n", 1);
  for (int i = 1; i < 80; i++) assert_int_equal(lct_buf_printf(&b, NULL, "- &a%d {<<: *a%d}\n", i, i - 1), LCT_OK);
  check_limit(&b, "s.yaml:4:3: merge keys nested deeper than 64");
}

static void test_counts(void **state) {
  (void)state;
  lct_buf b = {0};
  for (int i = 0; i <= LCT_YAML_MAX_ANCHORS; i++) assert_int_equal(lct_buf_printf(&b, NULL, "- &a%d x\n", i), LCT_OK);
  check_limit(&b, "s.yaml:1001:3: more than 1000 anchors");
  repeat(&b, "- &a x\n", 1);
  repeat(&b, "- *a\n", LCT_YAML_MAX_ALIASES + 1);
  check_limit(&b, "s.yaml:100002:3: more than 100000 aliases");
  repeat(&b, "- x\n", LCT_YAML_MAX_NODES);
  check_limit(&b, "s.yaml:2000000:3: more than 2000000 values");
  for (int i = 0; i <= LCT_YAML_MAX_DIRECTIVES; i++) assert_int_equal(lct_buf_printf(&b, NULL, "%%TAG !t%d! t\n", i), LCT_OK);
  check_limit(&b, "s.yaml:101:1: more than 100 directives");
  repeat(&b, GOOD "reference_states:\n", 1);
  repeat(&b, "- {}\n", 10001);
  check_limit(&b, "s.yaml:5:1: reference_states: expected at most 10000 references, found 10001");
}

static void test_files(void **state) {
  (void)state;
  lct_error err = {0};
  lct_scenario *s = NULL;
  assert_fails(lct_scenario_load("/nonexistent/s.yaml", &s, &err), LCT_E_IO, "cannot open /nonexistent/s.yaml: No such file or directory");
  assert_fails(lct_scenario_load("/", &s, &err), LCT_E_IO, "cannot read /: Is a directory");
  char path[] = "scenario_XXXXXX", want[128];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t)LCT_SCENARIO_MAX_BYTES + 1), 0);
  close(fd);
  lct_status status = lct_scenario_load(path, &s, &err);
  (void)unlink(path);
  (void)snprintf(want, sizeof want, "%s is larger than 67108864 bytes", path);
  assert_int_equal(status, LCT_E_LIMIT);
  assert_string_equal(err.message, want);
  assert_null(s);
}

/* Every prefix of a file, and every file with one byte changed, ends in a scenario or in one message. */
static void test_damaged(void **state) {
  (void)state;
  static const char text[] = GOOD
      "generation: {top_k: &k 5, seed: *k}\nreference_states:\n- label: \"a\"\n  messages:\n  - <<: "
      "{role: user}\n    content: |\n      x\n";
  char copy[sizeof text];
  for (size_t n = 0; n < sizeof text; n++) {
    for (int byte = 0; byte < 256; byte += n == sizeof text - 1 ? 256 : 5) {
      lct_error err = {0};
      lct_scenario *s = NULL;
      memcpy(copy, text, sizeof text);
      copy[n] = (char)byte;
      lct_status status = lct_scenario_parse(copy, sizeof text - 1, "s.yaml", &s, &err);
      assert_int_equal(status == LCT_OK, s != NULL);
      assert_int_equal(status == LCT_OK, err.message[0] == '\0');
      lct_scenario_free(s);
    }
    lct_error err = {0};
    lct_scenario *s = NULL;
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, text, n);
    lct_status status = lct_scenario_parse(exact, n, "s.yaml", &s, &err);
    assert_int_equal(status == LCT_OK, s != NULL);
    lct_scenario_free(s);
    free(exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good),    cmocka_unit_test(test_documents),   cmocka_unit_test(test_keys),    cmocka_unit_test(test_messages),
      cmocka_unit_test(test_names),   cmocka_unit_test(test_settings),    cmocka_unit_test(test_aliases), cmocka_unit_test(test_nesting),
      cmocka_unit_test(test_bombs),   cmocka_unit_test(test_merge_chain), cmocka_unit_test(test_counts),  cmocka_unit_test(test_files),
      cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests_name("scenario_errors", tests, NULL, NULL);
}
