#include "analysis/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* A run's JSON holds every score as text: a large sweep prompt has millions. Beyond this something else is wrong. */
#define MAX_JSON_BYTES ((size_t)1 << 30)

lct_status lct_json_load(const char *path, json_t **root, lct_error *err) {
  *root = NULL;
  lct_buf text = {0};
  lct_status s = lct_file_read(path, MAX_JSON_BYTES, &text, err);
  if (s != LCT_OK) {
    lct_buf_free(&text);
    return s;
  }
  json_error_t why;
  json_t *doc = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
  lct_buf_free(&text);
  if (doc == NULL) return lct_fail(err, LCT_E_FORMAT, "%s:%d:%d: not JSON: %s", path, why.line, why.column, why.text);
  if (!json_is_object(doc)) {
    json_decref(doc);
    return lct_fail(err, LCT_E_FORMAT, "%s: expected a JSON object", path);
  }
  *root = doc;
  return LCT_OK;
}

lct_json lct_json_root(const char *file, const json_t *root) { return (lct_json){.file = file, .value = root}; }

static const char *type_name(const json_t *v) {
  switch (json_typeof(v)) {
  case JSON_OBJECT: return "an object";
  case JSON_ARRAY: return "an array";
  case JSON_STRING: return "a string";
  case JSON_INTEGER: return "an integer";
  case JSON_REAL: return "a number";
  case JSON_TRUE:
  case JSON_FALSE: return "a boolean";
  case JSON_NULL: break;
  }
  return "null";
}

static lct_status wrong_type(const lct_json *at, const char *expected, lct_error *err) {
  return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected %s, found %s", at->file, at->path[0] ? at->path : "(root)", expected,
                  type_name(at->value));
}

lct_status lct_json_object(const lct_json *at, lct_error *err) {
  return json_is_object(at->value) ? LCT_OK : wrong_type(at, "an object", err);
}

lct_status lct_json_get(const lct_json *at, const char *key, lct_json *out, lct_error *err) {
  LCT_TRY(lct_json_object(at, err));
  lct_json child = {.file = at->file, .value = json_object_get(at->value, key)};
  (void)snprintf(child.path, sizeof child.path, "%.*s%s%.60s", 120, at->path, at->path[0] ? "." : "", key);
  if (child.value == NULL) return lct_fail(err, LCT_E_FORMAT, "%s: %s: missing", at->file, child.path);
  *out = child;
  return LCT_OK;
}

bool lct_json_find(const lct_json *at, const char *key, lct_json *out) {
  if (!json_is_object(at->value)) return false;
  const json_t *v = json_object_get(at->value, key);
  if (v == NULL || json_is_null(v)) return false;
  return lct_json_get(at, key, out, NULL) == LCT_OK;
}

lct_json lct_json_item(const lct_json *at, size_t i) {
  lct_json child = {.file = at->file, .value = json_array_get(at->value, i)};
  (void)snprintf(child.path, sizeof child.path, "%.*s[%zu]", 150, at->path, i);
  return child;
}

lct_status lct_json_array(const lct_json *at, size_t *n, lct_error *err) {
  if (!json_is_array(at->value)) return wrong_type(at, "an array", err);
  *n = json_array_size(at->value);
  return LCT_OK;
}

lct_status lct_json_string(const lct_json *at, const char **out, lct_error *err) {
  if (!json_is_string(at->value)) return wrong_type(at, "a string", err);
  *out = json_string_value(at->value);
  return LCT_OK;
}

lct_status lct_json_bool(const lct_json *at, bool *out, lct_error *err) {
  if (!json_is_boolean(at->value)) return wrong_type(at, "true or false", err);
  *out = json_is_true(at->value);
  return LCT_OK;
}

lct_status lct_json_int(const lct_json *at, int64_t min, int64_t max, int64_t *out, lct_error *err) {
  if (!json_is_integer(at->value)) return wrong_type(at, "an integer", err);
  json_int_t v = json_integer_value(at->value);
  if (v < min || v > max) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected %lld to %lld, found %lld", at->file, at->path, (long long)min, (long long)max,
                    (long long)v);
  }
  *out = v;
  return LCT_OK;
}

lct_status lct_json_number(const lct_json *at, double *out, lct_error *err) {
  if (json_is_null(at->value)) {
    *out = NAN;
    return LCT_OK;
  }
  if (!json_is_number(at->value)) return wrong_type(at, "a number or null", err);
  *out = json_number_value(at->value);
  return LCT_OK;
}

lct_status lct_json_numbers(const lct_json *at, size_t n, double *out, lct_error *err) {
  size_t found = 0;
  LCT_TRY(lct_json_array(at, &found, err));
  if (found != n) return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected %zu numbers, found %zu", at->file, at->path, n, found);
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(at->value, i);
    if (json_is_number(v)) {
      out[i] = json_number_value(v);
    } else if (json_is_null(v)) {
      out[i] = NAN;
    } else {
      lct_json item = lct_json_item(at, i);
      return wrong_type(&item, "a number or null", err);
    }
  }
  return LCT_OK;
}

lct_status lct_json_get_string(const lct_json *at, const char *key, const char **out, lct_error *err) {
  lct_json v;
  LCT_TRY(lct_json_get(at, key, &v, err));
  return lct_json_string(&v, out, err);
}

lct_status lct_json_get_int(const lct_json *at, const char *key, int64_t min, int64_t max, int64_t *out, lct_error *err) {
  lct_json v;
  LCT_TRY(lct_json_get(at, key, &v, err));
  return lct_json_int(&v, min, max, out, err);
}

lct_status lct_json_get_number(const lct_json *at, const char *key, double *out, lct_error *err) {
  lct_json v;
  LCT_TRY(lct_json_get(at, key, &v, err));
  return lct_json_number(&v, out, err);
}

lct_status lct_json_labels(const lct_json *at, lct_arena *arena, char ***out, size_t *n, lct_error *err) {
  size_t count = 0;
  LCT_TRY(lct_json_array(at, &count, err));
  char **labels = lct_arena_alloc(arena, (count + 1) * sizeof *labels);
  if (labels == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu labels", count);
  for (size_t i = 0; i < count; i++) {
    lct_json item = lct_json_item(at, i);
    const char *text = NULL;
    LCT_TRY(lct_json_string(&item, &text, err));
    for (size_t j = 0; j < i; j++) {
      if (strcmp(labels[j], text) == 0) {
        return lct_fail(err, LCT_E_FORMAT, "%s: %s: \"%.80s\" is there twice", at->file, item.path, text);
      }
    }
    labels[i] = lct_arena_strndup(arena, text, strlen(text));
    if (labels[i] == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a label");
  }
  *out = labels;
  *n = count;
  return LCT_OK;
}
