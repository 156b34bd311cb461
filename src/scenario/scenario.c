#include "scenario/scenario.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "scenario/walk.h"

enum { MAX_REFERENCES = 10000 };

static const char *const dtype_words[] = {"float16", "bfloat16", "float32", NULL}; /* in lct_store_dtype's order */

const char *lct_store_dtype_name(lct_store_dtype t) { return dtype_words[t <= LCT_STORE_F32 ? t : LCT_STORE_F32]; }

static lct_status array_alloc(lct_walk *w, size_t n, size_t size, void *out_ptr) {
  size_t bytes = 0;
  void *p = lct_mul_ok(n, size, &bytes) ? lct_arena_alloc(w->arena, bytes) : NULL;
  if (p == NULL) return lct_fail(w->err, LCT_E_NOMEM, "%s: out of memory for a list of %zu", w->name, n);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

static lct_status read_message(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, lct_message *out) {
  static const lct_walk_key keys[] = {{"role", true}, {"content", true}};
  static const char *const roles[] = {"system", "user", "assistant", NULL};
  lct_yaml_node *v[2];
  char *role = NULL;
  LCT_TRY(lct_walk_map(w, node, path, keys, 2, v));
  LCT_TRY(lct_walk_choice(w, v[0], &(lct_walk_path){.up = path, .key = "role"}, roles, &role, NULL));
  out->role = role;
  return lct_walk_text(w, v[1], &(lct_walk_path){.up = path, .key = "content"}, true, &out->content, &out->content_len);
}

static lct_status read_messages(lct_walk *w, lct_yaml_node *node, const lct_walk_path *up, lct_message **out, size_t *n) {
  const lct_walk_path path = {.up = up, .key = "messages"};
  LCT_TRY(lct_walk_list(w, node, &path, "message", 1));
  LCT_TRY(array_alloc(w, node->n_items, sizeof **out, out));
  *n = node->n_items;
  for (size_t i = 0; i < *n; i++) {
    LCT_TRY(read_message(w, node->items[i], &(lct_walk_path){.up = &path, .index = i}, &(*out)[i]));
  }
  return LCT_OK;
}

static lct_status read_prompt(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, lct_prompt *out) {
  static const lct_walk_key keys[] = {{"messages", true}, {"run_at_each_message", false}};
  lct_yaml_node *v[2];
  LCT_TRY(lct_walk_map(w, node, path, keys, 2, v));
  LCT_TRY(read_messages(w, v[0], path, &out->messages, &out->n_messages));
  return lct_walk_bool(w, v[1], &(lct_walk_path){.up = path, .key = keys[1].key}, &out->run_at_each_message);
}

static lct_status read_prompts(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  const lct_walk_path path = {.key = "prompt"};
  bool single = node->type == LCT_YAML_MAP;
  if (!single && node->type != LCT_YAML_SEQ) return lct_walk_expected(w, node, &path, "a prompt or a list of prompts");
  if (!single) LCT_TRY(lct_walk_list(w, node, &path, "prompt", 1));
  s->n_prompts = single ? 1 : node->n_items;
  LCT_TRY(array_alloc(w, s->n_prompts, sizeof *s->prompts, &s->prompts));
  for (size_t i = 0; i < s->n_prompts; i++) {
    lct_yaml_node *item = single ? node : node->items[i];
    LCT_TRY(read_prompt(w, item, &(lct_walk_path){.up = &path, .index = i}, &s->prompts[i]));
  }
  return LCT_OK;
}

/* Names and labels become file names: Activation Lab's rule. */
static lct_status read_safe_name(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, char **out) {
  LCT_TRY(lct_walk_string(w, node, path, out));
  if (**out != '\0' && strpbrk(*out, "/\\ \t\n") == NULL) return LCT_OK;
  return lct_walk_expected(w, node, path, "non-empty text without whitespace or slashes");
}

static lct_status read_reference(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, lct_scenario *s, size_t i) {
  static const lct_walk_key keys[] = {{"label", true}, {"messages", true}};
  const lct_walk_path label_path = {.up = path, .key = "label"};
  lct_reference *r = &s->references[i];
  lct_yaml_node *v[2];
  LCT_TRY(lct_walk_map(w, node, path, keys, 2, v));
  LCT_TRY(read_safe_name(w, v[0], &label_path, &r->label));
  for (size_t k = 0; k < i; k++) {
    if (strcmp(s->references[k].label, r->label) == 0) return lct_walk_expected(w, v[0], &label_path, "a label not used before");
  }
  return read_messages(w, v[1], path, &r->messages, &r->n_messages);
}

static lct_status read_references(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  const lct_walk_path path = {.key = "reference_states"};
  if (node == NULL) return LCT_OK;
  LCT_TRY(lct_walk_list(w, node, &path, "references", 0));
  if (node->n_items > MAX_REFERENCES) {
    return lct_fail(w->err, LCT_E_LIMIT, "%s:%zu:%zu: reference_states: expected at most %d references, found %zu", w->name, node->line,
                    node->column, MAX_REFERENCES, node->n_items);
  }
  LCT_TRY(array_alloc(w, node->n_items, sizeof *s->references, &s->references));
  s->n_references = node->n_items;
  for (size_t i = 0; i < s->n_references; i++) {
    LCT_TRY(read_reference(w, node->items[i], &(lct_walk_path){.up = &path, .index = i}, s, i));
  }
  return LCT_OK;
}

static lct_status read_model(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  static const lct_walk_key keys[] = {{"id", true},
                                      {"gguf_file", false},
                                      {"dtype", false},
                                      {"device", false},
                                      {"trust_remote_code", false}};
  static const char *const devices[] = {"auto", "mps", "cpu", NULL};
  const lct_walk_path path = {.key = "model"};
  lct_yaml_node *v[5];
  LCT_TRY(lct_walk_map(w, node, &path, keys, 5, v));
  if (v[1] != NULL && v[1]->type == LCT_YAML_NULL) v[1] = NULL;
  LCT_TRY(lct_walk_string(w, v[0], &(lct_walk_path){.up = &path, .key = "id"}, &s->model.id));
  LCT_TRY(lct_walk_string(w, v[1], &(lct_walk_path){.up = &path, .key = "gguf_file"}, &s->model.gguf_file));
  LCT_TRY(lct_walk_choice(w, v[2], &(lct_walk_path){.up = &path, .key = "dtype"}, dtype_words, &s->model.dtype, NULL));
  LCT_TRY(lct_walk_choice(w, v[3], &(lct_walk_path){.up = &path, .key = "device"}, devices, &s->model.device, NULL));
  return lct_walk_bool(w, v[4], &(lct_walk_path){.up = &path, .key = "trust_remote_code"}, &s->model.trust_remote_code);
}

static lct_status read_generation(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  static const lct_walk_key keys[] = {{"max_new_tokens", false}, {"do_sample", false}, {"temperature", false},
                                      {"top_k", false},          {"top_p", false},     {"seed", false}};
  const lct_walk_path path = {.key = "generation"};
  lct_yaml_node *v[6];
  if (node == NULL) return LCT_OK;
  LCT_TRY(lct_walk_map(w, node, &path, keys, 6, v));
  for (size_t i = 3; i <= 4; i++) {
    if (v[i] != NULL && v[i]->type == LCT_YAML_NULL) v[i] = NULL;
  }
  s->generation.has_top_k = v[3] != NULL;
  s->generation.has_top_p = v[4] != NULL;
  LCT_TRY(lct_walk_int(w, v[0], &(lct_walk_path){.up = &path, .key = "max_new_tokens"}, 1, &s->generation.max_new_tokens));
  LCT_TRY(lct_walk_bool(w, v[1], &(lct_walk_path){.up = &path, .key = "do_sample"}, &s->generation.do_sample));
  LCT_TRY(lct_walk_double(w, v[2], &(lct_walk_path){.up = &path, .key = "temperature"}, &s->generation.temperature));
  LCT_TRY(lct_walk_int(w, v[3], &(lct_walk_path){.up = &path, .key = "top_k"}, INT_MIN, &s->generation.top_k));
  LCT_TRY(lct_walk_double(w, v[4], &(lct_walk_path){.up = &path, .key = "top_p"}, &s->generation.top_p));
  return lct_walk_int64(w, v[5], &(lct_walk_path){.up = &path, .key = "seed"}, INT64_MIN, INT64_MAX, &s->generation.seed);
}

static int compare_ints(const void *a, const void *b) {
  int x = 0, y = 0;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

/* Activation Lab captures sorted(set(layers)): stored so at once. */
static lct_status read_layers(lct_walk *w, lct_yaml_node *node, const lct_walk_path *up, lct_scenario *s) {
  const lct_walk_path path = {.up = up, .key = "layers"};
  if (node == NULL || (node->type == LCT_YAML_STR && strcmp(node->text, "all") == 0 && node->len == 3)) return LCT_OK;
  if (node->type != LCT_YAML_SEQ) return lct_walk_expected(w, node, &path, "\"all\" or a list of layer numbers");
  LCT_TRY(lct_walk_list(w, node, &path, "layer numbers", 0));
  LCT_TRY(array_alloc(w, node->n_items, sizeof *s->capture.layers, &s->capture.layers));
  int *layers = s->capture.layers;
  for (size_t i = 0; i < node->n_items; i++) {
    LCT_TRY(lct_walk_int(w, node->items[i], &(lct_walk_path){.up = &path, .index = i}, 0, &layers[i]));
  }
  if (node->n_items > 0) qsort(layers, node->n_items, sizeof *layers, compare_ints);
  for (size_t i = 0; i < node->n_items; i++) {
    size_t n = s->capture.n_layers;
    if (n == 0 || layers[n - 1] != layers[i]) layers[s->capture.n_layers++] = layers[i];
  }
  return LCT_OK;
}

static lct_status read_capture(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  static const lct_walk_key keys[] = {{"hidden_states", false}, {"attention_weights", false}, {"qkv", false},    {"mlp", false},
                                      {"logits", false},        {"top_k_probs", false},       {"layers", false}, {"store_dtype", false}};
  const lct_walk_path path = {.key = "capture"};
  bool *flags[] = {&s->capture.hidden_states, &s->capture.attention_weights, &s->capture.qkv, &s->capture.mlp, &s->capture.logits};
  lct_yaml_node *v[8];
  char *name = NULL;
  int store_dtype = LCT_STORE_F16;
  if (node == NULL) return LCT_OK;
  LCT_TRY(lct_walk_map(w, node, &path, keys, 8, v));
  for (size_t i = 0; i < 5; i++) LCT_TRY(lct_walk_bool(w, v[i], &(lct_walk_path){.up = &path, .key = keys[i].key}, flags[i]));
  LCT_TRY(lct_walk_int(w, v[5], &(lct_walk_path){.up = &path, .key = "top_k_probs"}, 0, &s->capture.top_k_probs));
  LCT_TRY(read_layers(w, v[6], &path, s));
  LCT_TRY(lct_walk_choice(w, v[7], &(lct_walk_path){.up = &path, .key = "store_dtype"}, dtype_words, &name, &store_dtype));
  s->capture.store_dtype = (lct_store_dtype)store_dtype;
  return LCT_OK;
}

static lct_status read_output(lct_walk *w, lct_yaml_node *node, lct_scenario *s) {
  static const lct_walk_key keys[] = {{"dir", false}, {"format", false}};
  static const char *const formats[] = {"json+npz", NULL};
  const lct_walk_path path = {.key = "output"};
  lct_yaml_node *v[2];
  if (node == NULL) return LCT_OK;
  LCT_TRY(lct_walk_map(w, node, &path, keys, 2, v));
  LCT_TRY(lct_walk_string(w, v[0], &(lct_walk_path){.up = &path, .key = "dir"}, &s->output.dir));
  return lct_walk_choice(w, v[1], &(lct_walk_path){.up = &path, .key = "format"}, formats, &s->output.format, NULL);
}

static lct_status set_default(lct_walk *w, char **out, const char *value) {
  *out = lct_arena_strndup(w->arena, value, strlen(value));
  return *out != NULL ? LCT_OK : lct_fail(w->err, LCT_E_NOMEM, "%s: out of memory for a scenario", w->name);
}

static lct_status set_defaults(lct_walk *w, lct_scenario *s) {
  s->generation.max_new_tokens = 8;
  s->generation.temperature = 1.0;
  s->generation.seed = 42;
  s->capture.hidden_states = s->capture.attention_weights = s->capture.qkv = s->capture.mlp = s->capture.logits = true;
  s->capture.top_k_probs = 20;
  LCT_TRY(set_default(w, &s->model.dtype, "float16"));
  LCT_TRY(set_default(w, &s->model.device, "auto"));
  LCT_TRY(set_default(w, &s->output.dir, "./runs"));
  return set_default(w, &s->output.format, "json+npz");
}

static lct_status read_scenario(lct_walk *w, const lct_yaml_node *root, lct_scenario *s) {
  static const lct_walk_key keys[] = {{"name", true},     {"model", true},   {"prompt", true},           {"generation", false},
                                      {"capture", false}, {"output", false}, {"reference_states", false}};
  lct_yaml_node *v[7];
  LCT_TRY(set_defaults(w, s));
  if (root == NULL || root->type == LCT_YAML_NULL) {
    return lct_fail(w->err, LCT_E_FORMAT, "%s:1:1: top level: expected a mapping with name, model and prompt, found an empty document",
                    w->name);
  }
  LCT_TRY(lct_walk_map(w, root, NULL, keys, 7, v));
  LCT_TRY(read_safe_name(w, v[0], &(lct_walk_path){.key = "name"}, &s->name));
  LCT_TRY(read_model(w, v[1], s));
  LCT_TRY(read_prompts(w, v[2], s));
  LCT_TRY(read_generation(w, v[3], s));
  LCT_TRY(read_capture(w, v[4], s));
  LCT_TRY(read_output(w, v[5], s));
  return read_references(w, v[6], s);
}

/* A byte order mark is no part of the document, and columns do not count it. */
static void skip_bom(const char **text, size_t *n) {
  if (*n < 3 || memcmp(*text, "\xef\xbb\xbf", 3) != 0) return;
  *text += 3;
  *n -= 3;
}

lct_status lct_scenario_parse(const char *text, size_t n, const char *name, lct_scenario **out, lct_error *err) {
  lct_scenario *s = NULL;
  lct_arena nodes = {0};
  lct_buf clean = {0};
  lct_yaml_node *root = NULL;
  *out = NULL;
  if (n > LCT_SCENARIO_MAX_BYTES) {
    return lct_fail(err, LCT_E_LIMIT, "%s: expected at most %zu bytes, found %zu", name, LCT_SCENARIO_MAX_BYTES, n);
  }
  LCT_TRY(lct_calloc(&s, 1, sizeof *s, "a scenario", err));
  lct_sha256_hex(text, n, s->sha256);
  skip_bom(&text, &n);
  lct_walk w = {.name = name, .arena = &s->arena, .err = err};
  lct_status status = LCT_OK;
  LCT_TRY_GOTO(status, lct_utf8_replace(text, n, &clean, &s->n_replaced, err), done);
  LCT_TRY_GOTO(status, lct_yaml_parse(clean.data ? clean.data : "", clean.len, name, &nodes, &root, err), done);
  LCT_TRY_GOTO(status, read_scenario(&w, root, s), done);
  *out = s;
  s = NULL;
done:
  lct_scenario_free(s);
  lct_arena_free(&nodes);
  lct_buf_free(&clean);
  return status;
}

lct_status lct_scenario_load(const char *path, lct_scenario **out, lct_error *err) {
  lct_buf file = {0};
  *out = NULL;
  lct_status s = lct_file_read(path, LCT_SCENARIO_MAX_BYTES, &file, err);
  if (s == LCT_OK) s = lct_scenario_parse(file.data, file.len, path, out, err);
  lct_buf_free(&file);
  return s;
}

void lct_scenario_free(lct_scenario *s) {
  if (s == NULL) return;
  lct_arena_free(&s->arena);
  free(s);
}
