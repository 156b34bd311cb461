/* One line: JSON to a conversation. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "scenario/conversations.h"
#include "scenario/yaml_tree.h"

typedef struct {
  const char *name;
  size_t line;
  lct_error *err;
} where;

enum { FOUND_BYTES = 128 };

static void describe(const json_t *v, char out[FOUND_BYTES]) {
  char quoted[LCT_YAML_QUOTE_BYTES];
  switch (v == NULL ? JSON_NULL : json_typeof(v)) {
  case JSON_STRING:
    lct_yaml_quote(json_string_value(v), json_string_length(v), quoted);
    (void)snprintf(out, FOUND_BYTES, "%s", quoted);
    return;
  case JSON_OBJECT: (void)snprintf(out, FOUND_BYTES, "an object"); return;
  case JSON_ARRAY: (void)snprintf(out, FOUND_BYTES, json_array_size(v) > 0 ? "an array" : "an empty array"); return;
  case JSON_INTEGER: (void)snprintf(out, FOUND_BYTES, "the number %" JSON_INTEGER_FORMAT, json_integer_value(v)); return;
  case JSON_REAL: (void)snprintf(out, FOUND_BYTES, "the number %g", json_real_value(v)); return;
  case JSON_TRUE: (void)snprintf(out, FOUND_BYTES, "true"); return;
  case JSON_FALSE: (void)snprintf(out, FOUND_BYTES, "false"); return;
  default: (void)snprintf(out, FOUND_BYTES, v == NULL ? "none" : "null"); return;
  }
}

/* "FILE:LINE: PATH: expected …, found …"; path is "messages[3].role" from list, index and key (each may be absent). */
static lct_status expected(const where *w, const char *list, const size_t *index, const char *key, const char *what, const json_t *found) {
  char text[FOUND_BYTES], at[64] = "";
  describe(found, text);
  if (index != NULL) (void)snprintf(at, sizeof at, "[%zu]%s", *index, *key ? "." : "");
  const char *colon = *list || *key ? ": " : "";
  return lct_fail(w->err, LCT_E_FORMAT, "%s:%zu: %s%s%s%sexpected %s, found %s", w->name, w->line, list, at, key, colon, what, text);
}

/* The value of four hexadecimal digits; 0 when they are none, which is the parser's to refuse. */
static unsigned hex4(const char *s) {
  static const char digits[] = "0123456789abcdef";
  unsigned v = 0;
  for (int i = 0; i < 4; i++) {
    const char *d = memchr(digits, s[i] >= 'A' && s[i] <= 'F' ? s[i] | 0x20 : s[i], 16);
    if (d == NULL) return 0;
    v = v * 16 + (unsigned)(d - digits);
  }
  return v;
}

/* The text inside a string, from its opening quote to behind its closing one. Escapes of lone surrogates, which are no
 * characters, become \ufffd: as many bytes. */
static size_t scan_string(char *s, size_t n, size_t i, size_t *n_replaced) {
  for (i++; i < n && s[i] != '"'; i++) {
    if (s[i] != '\\') continue;
    i++;
    if (i + 4 >= n || s[i] != 'u') continue;
    unsigned c = hex4(s + i + 1);
    if (c >= 0xd800 && c < 0xdc00 && i + 10 < n && s[i + 5] == '\\' && s[i + 6] == 'u' && (hex4(s + i + 7) & 0xfc00) == 0xdc00) {
      i += 10;
    } else if (c >= 0xd800 && c < 0xe000) {
      memcpy(s + i + 1, "fffd", 4);
      (*n_replaced)++;
      i += 4;
    }
  }
  return i + 1;
}

/* Replaces lone surrogates and counts values before the parser allocates for them. */
static lct_status prepare(char *s, size_t n, const where *w, size_t *n_replaced) {
  size_t n_values = 1;
  for (size_t i = 0; i < n;) {
    if (s[i] == '"') {
      i = scan_string(s, n, i, n_replaced);
      continue;
    }
    n_values += s[i] == ',' || s[i] == '[' || s[i] == '{';
    i++;
  }
  if (n_values <= LCT_CONVERSATION_MAX_VALUES) return LCT_OK;
  return lct_fail(w->err, LCT_E_LIMIT, "%s:%zu: expected at most %d JSON values in a line, found more", w->name, w->line,
                  LCT_CONVERSATION_MAX_VALUES);
}

static lct_status parse_json(const char *text, size_t n, const where *w, lct_conversation *c) {
  lct_buf clean = {0};
  json_error_t e;
  size_t n_bytes = 0, n_escapes = 0;
  lct_status s = lct_utf8_replace(text, n, &clean, &n_bytes, w->err);
  if (s == LCT_OK) s = prepare(clean.data, clean.len, w, &n_escapes);
  if (s == LCT_OK) {
    c->source = json_loadb(clean.data, clean.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);
    if (c->source == NULL && json_error_code(&e) == json_error_out_of_memory) {
      s = lct_fail(w->err, LCT_E_NOMEM, "%s:%zu: out of memory for JSON", w->name, w->line);
    } else if (c->source == NULL) {
      s = lct_fail(w->err, LCT_E_FORMAT, "%s:%zu:%d: JSON: %s", w->name, w->line, e.column, e.text);
    }
  }
  c->n_replaced = n_bytes + n_escapes;
  lct_buf_free(&clean);
  return s;
}

static lct_status read_id(const json_t *root, const where *w, lct_conversation *c) {
  const json_t *id = json_object_get(root, "id");
  lct_buf b = {0};
  lct_status s = LCT_OK;
  if (id == NULL || json_is_null(id)) {
    s = lct_buf_printf(&b, w->err, "line-%zu", w->line);
  } else if (json_is_integer(id)) {
    s = lct_buf_printf(&b, w->err, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
  } else {
    size_t n = json_string_length(id);
    if (n == 0 || memchr(json_string_value(id), '\0', n) != NULL) {
      return expected(w, "", NULL, "id", "a string (not empty, without NUL) or an integer", id);
    }
    s = lct_buf_append(&b, json_string_value(id), n, w->err);
  }
  c->id = b.data;
  c->has_id = id != NULL && !json_is_null(id);
  return s;
}

static const char *role_of(const json_t *v, bool share_gpt) {
  static const char *const roles[][2] = {{"system", "system"}, {"user", "user"},     {"assistant", "assistant"},
                                         {"human", "user"},    {"gpt", "assistant"}, {"chatgpt", "assistant"}};
  const char *text = json_string_value(v);
  for (size_t i = 0; text != NULL && i < (share_gpt ? 6 : 3); i++) {
    if (json_string_length(v) == strlen(roles[i][0]) && strcmp(text, roles[i][0]) == 0) return roles[i][1];
  }
  return NULL;
}

static bool is_name(const json_t *v) { return json_is_string(v) && memchr(json_string_value(v), '\0', json_string_length(v)) == NULL; }

/* label and labels of one message; c->names has room for all of them. */
static lct_status read_labels(const json_t *message, const where *w, const char *list, size_t i, lct_conversation *c, size_t *n_names) {
  const json_t *label = json_object_get(message, "label"), *labels = json_object_get(message, "labels");
  lct_labels *out = &c->labels[i];
  out->labels = c->names + *n_names;
  if (label != NULL && !json_is_null(label)) {
    if (!is_name(label)) return expected(w, list, &i, "label", "a string without NUL", label);
    out->label = json_string_value(label);
  }
  if (labels != NULL && !json_is_null(labels)) {
    if (!json_is_array(labels)) return expected(w, list, &i, "labels", "an array of strings", labels);
    for (size_t k = 0; k < json_array_size(labels); k++) {
      const json_t *v = json_array_get(labels, k);
      if (!is_name(v)) return expected(w, list, &i, "labels", "an array of strings without NUL", v);
      c->names[(*n_names)++] = json_string_value(v);
      out->n_labels++;
    }
  }
  if (out->n_labels == 0 && out->label != NULL) {
    c->names[(*n_names)++] = out->label;
    out->n_labels = 1;
  }
  if (out->label == NULL && out->n_labels > 0) out->label = out->labels[0];
  return LCT_OK;
}

static lct_status read_messages(const json_t *root, const where *w, lct_conversation *c) {
  const json_t *messages = json_object_get(root, "messages"), *share_gpt = json_object_get(root, "conversations");
  const char *list = messages == NULL && share_gpt != NULL ? "conversations" : "messages";
  if (messages != NULL && share_gpt != NULL) {
    return expected(w, "", NULL, "conversations", "either messages or conversations", share_gpt);
  }
  const json_t *items = share_gpt != NULL ? share_gpt : messages;
  const char *role_key = share_gpt != NULL ? "from" : "role", *text_key = share_gpt != NULL ? "value" : "content";
  if (json_array_size(items) == 0) return expected(w, list, NULL, "", "an array of at least one message", items);
  c->n_messages = json_array_size(items);
  c->share_gpt = share_gpt != NULL;
  size_t n_names = c->n_messages;
  for (size_t i = 0; i < c->n_messages; i++) n_names += json_array_size(json_object_get(json_array_get(items, i), "labels"));
  LCT_TRY(lct_calloc(&c->messages, c->n_messages, sizeof *c->messages, "messages", w->err));
  LCT_TRY(lct_calloc(&c->labels, c->n_messages, sizeof *c->labels, "labels", w->err));
  LCT_TRY(lct_calloc(&c->names, n_names, sizeof *c->names, "labels", w->err));
  n_names = 0;
  for (size_t i = 0; i < c->n_messages; i++) {
    const json_t *m = json_array_get(items, i), *role = json_object_get(m, role_key), *text = json_object_get(m, text_key);
    if (!json_is_object(m)) return expected(w, list, &i, "", "an object", m);
    c->messages[i].role = role_of(role, share_gpt != NULL);
    if (c->messages[i].role == NULL) {
      const char *what = share_gpt != NULL ? "\"system\" or \"human\" or \"gpt\"" : "\"system\" or \"user\" or \"assistant\"";
      return expected(w, list, &i, role_key, what, role);
    }
    if (!json_is_string(text)) return expected(w, list, &i, text_key, "a string", text);
    c->messages[i].content = json_string_value(text);
    c->messages[i].content_len = json_string_length(text);
    LCT_TRY(read_labels(m, w, list, i, c, &n_names));
  }
  return LCT_OK;
}

static int append_json(const char *bytes, size_t n, void *out) { return lct_buf_append(out, bytes, n, NULL) == LCT_OK ? 0 : -1; }

static lct_status read_meta(const json_t *root, const where *w, lct_conversation *c) {
  const json_t *meta = json_object_get(root, "meta");
  lct_buf b = {0};
  if (meta == NULL || json_is_null(meta)) return LCT_OK;
  if (json_dump_callback(meta, append_json, &b, JSON_COMPACT | JSON_ENCODE_ANY) != 0) {
    lct_buf_free(&b);
    return lct_fail(w->err, LCT_E_NOMEM, "%s:%zu: out of memory for meta", w->name, w->line);
  }
  c->meta = b.data;
  return LCT_OK;
}

lct_status lct_conversation_parse_id(const char *text, size_t n, const char *name, size_t line, lct_conversation **out, char **bad_id,
                                     lct_error *err) {
  const where w = {.name = name, .line = line, .err = err};
  lct_conversation *c = NULL;
  *out = NULL;
  *bad_id = NULL;
  LCT_TRY(lct_calloc(&c, 1, sizeof *c, "a conversation", err));
  c->line = line;
  lct_status s = parse_json(text, n, &w, c);
  if (s == LCT_OK && !json_is_object(c->source)) s = expected(&w, "", NULL, "", "an object", c->source);
  if (s == LCT_OK) s = read_id(c->source, &w, c);
  if (s == LCT_OK) s = read_messages(c->source, &w, c);
  if (s == LCT_OK) s = read_meta(c->source, &w, c);
  if (s == LCT_OK) {
    *out = c;
    return LCT_OK;
  }
  if (c->has_id) {
    *bad_id = c->id;
    c->id = NULL;
  }
  lct_conversation_free(c);
  return s;
}

lct_status lct_conversation_parse(const char *text, size_t n, const char *name, size_t line, lct_conversation **out, lct_error *err) {
  char *bad_id = NULL;
  lct_status s = lct_conversation_parse_id(text, n, name, line, out, &bad_id, err);
  free(bad_id);
  return s;
}

void lct_conversation_free(lct_conversation *c) {
  if (c == NULL) return;
  free(c->id);
  free(c->messages);
  free(c->labels);
  free(c->names);
  free(c->meta);
  json_decref(c->source);
  free(c);
}
