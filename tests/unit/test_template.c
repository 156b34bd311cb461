/* Chat templates. tests/goldens/template/cases.json is what the models' own Jinja templates render
 * (tests/oracle/gen_template.py); whole data sets are compared by tests/oracle/check_template.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/file.h"
#include "text/template.h"

#define GOLDEN LCT_SOURCE_DIR "/tests/goldens/template/cases.json"
#define MAX_MESSAGES 16
#define NAMES "chatml, qwen2, qwen2.5, qwen3, qwen3-instruct, qwen3-thinking, smollm2, llama3, llama3.1"
#define LOOP_BODY "'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'"
#define PROMPT "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
#define LOOP "{% for message in messages %}{{" LOOP_BODY "}}{% endfor %}" PROMPT
#define LOOP_WITH_SYSTEM(text)                                                                                        \
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" text \
  "<|im_end|>\n' }}{% endif %}{{" LOOP_BODY "}}{% endfor %}" PROMPT

static size_t read_conversation(json_t *list, lct_message *m) {
  size_t n = json_array_size(list);
  assert_true(n > 0 && n <= MAX_MESSAGES);
  for (size_t i = 0; i < n; i++) {
    json_t *role = json_array_get(json_array_get(list, i), 0), *content = json_array_get(json_array_get(list, i), 1);
    m[i] = (lct_message){json_string_value(role), json_string_value(content), json_string_length(content)};
  }
  return n;
}

static void check_text(const char *where, size_t index, const lct_buf *got, const char *text, const char *prompt) {
  size_t n = strlen(text), n_prompt = strlen(prompt);
  bool same = got->len == n + n_prompt && memcmp(got->data, text, n) == 0 && memcmp(got->data + n, prompt, n_prompt) == 0;
  if (!same) fail_msg("%s, conversation %zu: got\n%s\nwant\n%s%s", where, index, got->data, text, prompt);
}

static void check_spans(const char *where, size_t index, const lct_rendered *r, json_t *want) {
  assert_int_equal(r->n_spans, json_array_size(want));
  for (size_t i = 0; i < r->n_spans; i++) {
    json_t *span = json_array_get(want, i);
    bool same = json_is_null(span) ? r->spans[i].begin == r->spans[i].end
                                   : (json_int_t)r->spans[i].begin == json_integer_value(json_array_get(span, 0)) &&
                                         (json_int_t)r->spans[i].end == json_integer_value(json_array_get(span, 1));
    if (same) continue;
    fail_msg("%s, conversation %zu: span of message %zu is %zu..%zu", where, index, i, r->spans[i].begin, r->spans[i].end);
  }
}

static void check_rendering(json_t *conversations, json_t *rendering) {
  const char *name = json_string_value(json_object_get(rendering, "template"));
  lct_template t;
  lct_error err;
  lct_message m[MAX_MESSAGES];
  assert_int_equal(lct_template_by_name(name, &t, &err), LCT_OK);
  t.enable_thinking = json_is_true(json_object_get(rendering, "think"));
  t.date_string = json_string_value(json_object_get(rendering, "date"));
  json_t *results = json_object_get(rendering, "results"), *result;
  assert_int_equal(json_array_size(results), json_array_size(conversations));
  size_t i;
  json_array_foreach(results, i, result) {
    const char *text = json_string_value(json_object_get(result, "text"));
    const char *prompt = json_string_value(json_object_get(result, "prompt"));
    size_t n = read_conversation(json_array_get(conversations, i), m);
    for (int with = 0; with < 2; with++) {
      lct_rendered r;
      assert_int_equal(lct_template_render(&t, m, n, with != 0, &r, &err), LCT_OK);
      check_text(name, i, &r.text, text, with ? prompt : "");
      check_spans(name, i, &r, json_object_get(result, "spans"));
      lct_rendered_free(&r);
    }
  }
}

static void renders_as_the_models_templates(void **state) {
  (void)state;
  json_error_t jerr;
  json_t *golden = json_load_file(GOLDEN, JSON_ALLOW_NUL, &jerr), *rendering;
  assert_non_null(golden);
  bool seen[LCT_TEMPLATE_COUNT] = {false};
  size_t i;
  json_array_foreach(json_object_get(golden, "renderings"), i, rendering) {
    check_rendering(json_object_get(golden, "conversations"), rendering);
    lct_template t;
    assert_int_equal(lct_template_by_name(json_string_value(json_object_get(rendering, "template")), &t, NULL), LCT_OK);
    seen[t.kind] = true;
  }
  for (int k = 0; k < LCT_TEMPLATE_COUNT; k++) assert_true(seen[k]);
  json_decref(golden);
}

static void generation_prompt_may_be_forced(void **state) {
  (void)state;
  lct_template t;
  lct_rendered with, without;
  lct_message m = {"user", "hello", 5};
  assert_int_equal(lct_template_by_name("llama3", &t, NULL), LCT_OK);
  t.always_prompt = true;
  assert_int_equal(lct_template_render(&t, &m, 1, true, &with, NULL), LCT_OK);
  assert_int_equal(lct_template_render(&t, &m, 1, false, &without, NULL), LCT_OK);
  assert_string_equal(with.text.data, without.text.data);
  lct_rendered_free(&with);
  lct_rendered_free(&without);
}

static void expect_kind(const char *jinja, lct_template_kind kind, const char *system) {
  lct_template t;
  lct_error err = {0};
  char hash[65];
  if (lct_template_recognise(jinja, &t, &err) != LCT_OK) fail_msg("%s\n%s", err.message, jinja);
  assert_int_equal(t.kind, kind);
  assert_string_equal(t.default_system, system);
  assert_true(t.enable_thinking);
  assert_false(t.always_prompt);
  lct_sha256_hex(jinja, strlen(jinja), hash);
  assert_string_equal(t.hash, hash);
}

/* Jinja spellings that render alike, as transformers' environment reads them. */
static void recognises_spellings(void **state) {
  (void)state;
  expect_kind(LOOP, LCT_TEMPLATE_CHATML, "");
  expect_kind(" " LOOP "\n\n", LCT_TEMPLATE_CHATML, "");
  expect_kind(
      "{%- for message in messages -%}\n  {{- \"<|im_start|>\" ~ message.role }}{{ '\n' }}\n"
      "  {{- message[\"content\"] + '<|im_end|>\n' -}}\n{%- endfor %}\n{# the reply #}\n"
      "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
      LCT_TEMPLATE_CHATML, "");
  expect_kind(
      "  {% for message in messages %}\n<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
      "  {% endfor %}\n"
      "{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}",
      LCT_TEMPLATE_CHATML, "");
  expect_kind("{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" LOOP, LCT_TEMPLATE_CHATML,
              "");
  expect_kind(LOOP_WITH_SYSTEM("You are a helpful assistant."), LCT_TEMPLATE_QWEN2, "You are a helpful assistant.");
  expect_kind(LOOP_WITH_SYSTEM("You are a helpful assistant"), LCT_TEMPLATE_QWEN2, "You are a helpful assistant");
  expect_kind(LOOP_WITH_SYSTEM("You are a helpful AI assistant named SmolLM, trained by Hugging Face"), LCT_TEMPLATE_SMOLLM2,
              "You are a helpful AI assistant named SmolLM, trained by Hugging Face");
  expect_kind(LOOP_WITH_SYSTEM("Speak like the sea.\\nAlways."), LCT_TEMPLATE_CHATML, "Speak like the sea.\nAlways.");
}

static void expect_unknown(const char *jinja) {
  lct_template t;
  lct_error err = {0};
  char hash[65], want[512];
  lct_status status = lct_template_recognise(jinja, &t, &err);
  if (status != LCT_E_UNSUPPORTED) fail_msg("status %d for\n%s", (int)status, jinja);
  lct_sha256_hex(jinja, strlen(jinja), hash);
  (void)snprintf(want, sizeof want,
                 "the model's chat template (%zu bytes, SHA-256 %.16s...) is none of those known here; choose one with "
                 "--chat-template NAME, NAME one of: " NAMES,
                 strlen(jinja), hash);
  assert_string_equal(err.message, want);
}

/* Near misses render otherwise, so they must not be taken for ChatML. */
static void rejects_what_it_does_not_know(void **state) {
  (void)state;
  static char long_system[1024];
  memset(long_system, 'x', sizeof long_system - 1);
  static const char *const texts[] = {
      "",
      "\n",
      "hello",
      "{{",
      "{%",
      "{#",
      "{{ 'open",
      "{{ }}",
      "{% %}",
      "{{ 'a' + }}",
      "{% raw %}{{ x }}{% endraw %}",
      "x" LOOP,
      LOOP "\n\n\n",
      LOOP "x",
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>'"
      " + '\\n'}}{% endfor %}" PROMPT,
      "{% for message in messages[1:] %}{{" LOOP_BODY "}}{% endfor %}" PROMPT,
      "{% for message in messages %}{{" LOOP_BODY " if message.content else ''}}{% endfor %}" PROMPT,
      "{% for message in messages %}\n\n{{" LOOP_BODY "}}{% endfor %}" PROMPT,
      "{% for message in messages %}{{" LOOP_BODY "}} {% endfor %}" PROMPT,
      "{% for message in messages %}{{" LOOP_BODY "}}{% endfor %}{{ '<|im_start|>assistant\\n' }}",
      "{% for message in messages %}{{" LOOP_BODY
      "}}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}",
      LOOP_WITH_SYSTEM("x' + today + '"),
      "{{ bos_token }}" LOOP,
      "\x01" LOOP,
      LOOP "\r\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) expect_unknown(texts[i]);
  static const char text[] = LOOP_WITH_SYSTEM("?");
  size_t at = (size_t)(strchr(text, '?') - text);
  lct_buf b = {0};
  assert_int_equal(lct_buf_append(&b, text, at, NULL), LCT_OK);
  assert_int_equal(lct_buf_puts(&b, long_system, NULL), LCT_OK);
  assert_int_equal(lct_buf_puts(&b, text + at + 1, NULL), LCT_OK);
  expect_unknown(b.data); /* a default system prompt longer than the field for it */
  lct_buf_free(&b);
}

/* Every cut and every single changed byte of a template: an answer, and no read outside of it. */
static void survives_damage(void **state) {
  (void)state;
  static const char source[] = "{#- c -#}{%- if a.b(1) == \"x\" %}\n " LOOP_WITH_SYSTEM("Be kind.") "{%- endif -%} {{- y['z']|f -}}\n";
  static const char bytes[] = "{}%#-+'\"\\\n |[.n\x01\xff";
  char copy[sizeof source];
  lct_template t;
  for (size_t cut = 0; cut < sizeof source; cut++) {
    char *exact = strndup(source, cut);
    assert_non_null(exact);
    lct_status status = lct_template_recognise(exact, &t, NULL);
    assert_true(status == LCT_OK || status == LCT_E_UNSUPPORTED);
    free(exact);
  }
  for (size_t at = 0; at + 1 < sizeof source; at++) {
    for (size_t k = 0; k + 1 < sizeof bytes; k++) {
      memcpy(copy, source, sizeof source);
      copy[at] = bytes[k];
      assert_int_equal(lct_template_recognise(copy, &t, NULL), LCT_E_UNSUPPORTED);
    }
  }
}

static void names(void **state) {
  (void)state;
  lct_template t;
  lct_error err = {0};
  for (int k = 0; k < LCT_TEMPLATE_COUNT; k++) {
    assert_int_equal(lct_template_by_name(lct_template_name((lct_template_kind)k), &t, &err), LCT_OK);
    assert_int_equal(t.kind, k);
    assert_int_equal(strlen(t.hash), 64);
  }
  assert_int_equal(lct_template_by_name("gpt", &t, &err), LCT_E_USAGE);
  assert_string_equal(err.message, "unknown chat template \"gpt\"; known: " NAMES);
}

static void bad_messages(void **state) {
  (void)state;
  lct_template t;
  lct_error err = {0};
  lct_rendered r;
  assert_int_equal(lct_template_by_name("chatml", &t, &err), LCT_OK);
  assert_int_equal(lct_template_render(&t, NULL, 0, true, &r, &err), LCT_E_USAGE);
  assert_string_equal(err.message, "a chat template needs at least one message, got none");
  lct_message m[2] = {{"user", NULL, 0}, {NULL, "x", 1}};
  assert_int_equal(lct_template_render(&t, m, 2, true, &r, &err), LCT_E_USAGE);
  assert_string_equal(err.message, "message 1 has no role");
  m[1] = (lct_message){"user", "\xff", 1};
  assert_int_equal(lct_template_render(&t, m, 2, true, &r, &err), LCT_E_FORMAT);
  assert_string_equal(err.message, "message 1 (user): content is not valid UTF-8");
  assert_null(r.text.data);
  assert_null(r.spans);
  assert_int_equal(lct_template_render(&t, m, 1, false, &r, &err), LCT_OK);
  assert_string_equal(r.text.data, "<|im_start|>user\n<|im_end|>\n");
  lct_rendered_free(&r);
  lct_rendered_free(NULL);
}

/* The real tokenizer_config.json, which is not part of this project. */
static void check_real(const char *variable, lct_template_kind kind, const char *system) {
  const char *dir = getenv(variable);
  if (dir == NULL) {
    print_message("skipped: %s is not set (a folder with the model's tokenizer_config.json)\n", variable);
    skip();
  }
  lct_buf path = {0};
  json_error_t jerr;
  assert_int_equal(lct_path_join(&path, dir, "tokenizer_config.json", NULL), LCT_OK);
  json_t *config = json_load_file(path.data, 0, &jerr);
  lct_buf_free(&path);
  assert_non_null(config);
  expect_kind(json_string_value(json_object_get(config, "chat_template")), kind, system);
  json_decref(config);
}

static void recognises_real_qwen25(void **state) {
  (void)state;
  check_real("LCT_TOKENIZER_QWEN25", LCT_TEMPLATE_QWEN25, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
}

static void recognises_real_qwen3(void **state) {
  (void)state;
  check_real("LCT_TOKENIZER_QWEN3", LCT_TEMPLATE_QWEN3, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(renders_as_the_models_templates),
      cmocka_unit_test(generation_prompt_may_be_forced),
      cmocka_unit_test(recognises_spellings),
      cmocka_unit_test(rejects_what_it_does_not_know),
      cmocka_unit_test(survives_damage),
      cmocka_unit_test(names),
      cmocka_unit_test(bad_messages),
      cmocka_unit_test(recognises_real_qwen25),
      cmocka_unit_test(recognises_real_qwen3),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
