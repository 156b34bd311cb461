/* Scenarios that load: against PyYAML and Activation Lab's models (goldens made by tests/oracle/gen_scenario.py). */
#include "test_support.h"

#include <jansson.h>

#include "base/file.h"
#include "scenario/scenario.h"
#include "scenario/scenario_json.h"
#include "scenario/walk.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/scenario/"

static json_t *load_json(const char *path) {
  json_error_t e;
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &e);
  if (root == NULL) fail_msg("%s:%d: %s", path, e.line, e.text);
  return root;
}

/* One line with every key in its order, so that order counts. */
static char *compact(const json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT);
  assert_non_null(text);
  return text;
}

static void check_file(const char *yaml_path, const char *golden_path) {
  lct_error err = {0};
  lct_scenario *s = NULL;
  json_t *golden = load_json(golden_path);
  assert_ok(lct_scenario_load(yaml_path, &s, &err));
  assert_string_equal(s->sha256, json_string_value(json_object_get(golden, "sha256")));
  assert_int_equal(s->n_replaced, json_integer_value(json_object_get(golden, "n_replaced")));
  lct_buf text = {0};
  assert_ok(lct_scenario_to_json(s, &text, &err));
  json_t *ours = json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
  assert_non_null(ours);
  char *got = compact(ours), *want = compact(json_object_get(golden, "scenario"));
  assert_string_equal(got, want);
  free(got);
  free(want);
  json_decref(ours);
  json_decref(golden);
  lct_buf_free(&text);
  lct_scenario_free(s);
}

static void test_goldens(void **state) {
  (void)state;
  static const char *const names[] = {"minimal", "odd_typing", "aliases", "text", "crlf_bom", "invalid_utf8"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char yaml[512], json[512];
    (void)snprintf(yaml, sizeof yaml, GOLDENS "%s.yaml", names[i]);
    (void)snprintf(json, sizeof json, GOLDENS "%s.json", names[i]);
    check_file(yaml, json);
  }
}

static void test_our_config(void **state) {
  (void)state;
  check_file(LCT_SOURCE_DIR "/configs/where_emotions_lie.yaml", GOLDENS "where_emotions_lie.json");
}

static void test_struct(void **state) {
  (void)state;
  lct_error err = {0};
  lct_scenario *s = NULL;
  assert_ok(lct_scenario_load(LCT_SOURCE_DIR "/configs/where_emotions_lie.yaml", &s, &err));
  assert_int_equal(s->n_prompts, 1);
  assert_int_equal(s->prompts[0].n_messages, 20);
  assert_string_equal(s->prompts[0].messages[0].role, "system");
  assert_string_equal(s->prompts[0].messages[19].role, "user");
  for (size_t i = 0; i < 20; i++) {
    const lct_message *m = &s->prompts[0].messages[i];
    assert_int_equal(m->content_len, strlen(m->content));
  }
  assert_int_equal(s->n_references, 9);
  assert_null(s->model.gguf_file);
  assert_null(s->capture.layers);
  assert_false(s->generation.has_top_k);
  assert_false(s->generation.has_top_p);
  assert_int_equal(s->capture.store_dtype, LCT_STORE_F16);
  lct_scenario_free(s);

  assert_ok(lct_scenario_load(GOLDENS "odd_typing.yaml", &s, &err));
  assert_true(s->generation.has_top_k && s->generation.has_top_p);
  assert_int_equal(s->capture.store_dtype, LCT_STORE_F32);
  assert_int_equal(s->capture.n_layers, 4);
  json_t *second = lct_scenario_json(s, 1);
  assert_int_equal(json_array_size(json_object_get(second, "prompt")), 1);
  const json_t *messages = json_object_get(json_array_get(json_object_get(second, "prompt"), 0), "messages");
  assert_string_equal(json_string_value(json_object_get(json_array_get(messages, 1), "role")), "assistant");
  json_decref(second);
  assert_null(lct_scenario_json(s, 2));
  lct_scenario_free(s);

  assert_ok(lct_scenario_load(GOLDENS "aliases.yaml", &s, &err));
  assert_non_null(s->capture.layers); /* an empty list is no layer, not all of them */
  assert_int_equal(s->capture.n_layers, 0);
  lct_scenario_free(s);

  assert_ok(lct_scenario_load(GOLDENS "text.yaml", &s, &err));
  static const char with_nul[] = "escapes: \t A \xc3\xa9 \xf0\x9f\x98\x80 \0 end continued \xc2\x85 \xe2\x80\xa8";
  assert_int_equal(s->prompts[0].messages[1].content_len, sizeof with_nul - 1);
  assert_memory_equal(s->prompts[0].messages[1].content, with_nul, sizeof with_nul);
  lct_scenario_free(s);
  lct_scenario_free(NULL);
}

static void check_value(const lct_yaml_node *node, const json_t *c, const char *text) {
  static const char *const names[] = {"null", "bool", "int", "float", "str", "timestamp", "merge"};
  assert_true(node->type < LCT_YAML_SEQ);
  if (strcmp(names[node->type], json_string_value(json_object_get(c, "yaml"))) != 0) {
    fail_msg("%s: typed as %s, expected %s", text, names[node->type], json_string_value(json_object_get(c, "yaml")));
  }
  const json_t *value = json_object_get(c, "value");
  if (node->type == LCT_YAML_BOOL) assert_int_equal(node->value.b, json_is_true(value));
  if (node->type == LCT_YAML_INT && node->value.i != json_integer_value(value)) fail_msg("%s: %lld", text, (long long)node->value.i);
  if (node->type != LCT_YAML_FLOAT) return;
  double want = json_is_string(value) ? strtod(json_string_value(value), NULL) : json_number_value(value);
  bool same = want == node->value.f || (want != want && node->value.f != node->value.f);
  if (!same) fail_msg("%s: %.17g, expected %.17g", text, node->value.f, want);
}

static void check_field(const char *text, const char *field, bool accepted, const json_t *want, bool same) {
  if (accepted != (want != NULL)) fail_msg("%s as %s: %s", text, field, accepted ? "accepted" : "rejected");
  if (accepted && !same) fail_msg("%s as %s: another value", text, field);
}

static void check_coercions(lct_yaml_node *node, const json_t *c, const char *text) {
  lct_arena arena = {0};
  lct_walk w = {.name = "scalar", .arena = &arena};
  int64_t i = 0;
  double d = 0.0;
  bool b = false;
  char *str = "";
  const json_t *want = json_object_get(c, "as_int");
  bool ok = lct_walk_int64(&w, node, NULL, INT64_MIN, INT64_MAX, &i) == LCT_OK;
  check_field(text, "int", ok, want, i == json_integer_value(want));
  want = json_object_get(c, "as_float");
  ok = lct_walk_double(&w, node, NULL, &d) == LCT_OK;
  check_field(text, "float", ok, want, d == json_number_value(want));
  want = json_object_get(c, "as_bool");
  ok = lct_walk_bool(&w, node, NULL, &b) == LCT_OK;
  check_field(text, "bool", ok, want, b == json_is_true(want));
  want = json_object_get(c, "as_str");
  ok = lct_walk_string(&w, node, NULL, &str) == LCT_OK;
  check_field(text, "str", ok, want, want != NULL && strcmp(str, json_string_value(want)) == 0);
  lct_arena_free(&arena);
}

static void test_scalars(void **state) {
  (void)state;
  json_t *cases = load_json(GOLDENS "scalars.json");
  assert_true(json_array_size(cases) > 150);
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *c = json_array_get(cases, i);
    const char *text = json_string_value(json_object_get(c, "text"));
    lct_error err = {0};
    lct_arena arena = {0};
    lct_buf yaml = {0};
    lct_yaml_node *root = NULL;
    assert_ok(lct_buf_printf(&yaml, &err, "v: %s", text));
    lct_status s = lct_yaml_parse(yaml.data, yaml.len, "scalar", &arena, &root, &err);
    if (strcmp(json_string_value(json_object_get(c, "yaml")), "error") == 0) {
      if (s != LCT_E_FORMAT) fail_msg("%s: accepted", text);
    } else {
      if (s != LCT_OK) fail_msg("%s: %s", text, err.message);
      assert_int_equal(root->n_items, 2);
      check_value(root->items[1], c, text);
      check_coercions(root->items[1], c, text);
    }
    lct_buf_free(&yaml);
    lct_arena_free(&arena);
  }
  json_decref(cases);
}

static void test_shared_scenario(void **state) {
  (void)state;
  const char *shared = getenv("LCT_SHARED");
  char path[1024], sha[65];
  (void)snprintf(path, sizeof path, "%s/reference/activation_lab_scenario.yaml", shared ? shared : LCT_SOURCE_DIR "/../shared");
  if (!lct_path_exists(path)) {
    print_message("[  NOTE    ] skipped: %s is absent\n", path);
    skip();
  }
  lct_error err = {0};
  lct_scenario *s = NULL;
  json_t *facts = load_json(GOLDENS "shared_scenario.json");
  assert_ok(lct_scenario_load(path, &s, &err));
  assert_string_equal(s->sha256, json_string_value(json_object_get(facts, "file_sha256")));
  assert_string_equal(s->name, json_string_value(json_object_get(facts, "name")));
  assert_int_equal(s->prompts[0].n_messages, json_integer_value(json_object_get(facts, "n_messages")));
  assert_int_equal(s->n_references, json_integer_value(json_object_get(facts, "n_references")));
  json_t *json = lct_scenario_json(s, LCT_SCENARIO_ALL_PROMPTS);
  char *text = compact(json);
  lct_sha256_hex(text, strlen(text), sha);
  assert_string_equal(sha, json_string_value(json_object_get(facts, "compact_sha256")));
  free(text);
  json_decref(json);
  json_decref(facts);
  lct_scenario_free(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_goldens), cmocka_unit_test(test_our_config),      cmocka_unit_test(test_struct),
      cmocka_unit_test(test_scalars), cmocka_unit_test(test_shared_scenario),
  };
  return cmocka_run_group_tests_name("scenario", tests, NULL, NULL);
}
