#include "scenario/walk.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FOUND_BYTES = 128, PATH_BYTES = 256 };

static void print_path(const lct_walk_path *path, char out[PATH_BYTES]) {
  const lct_walk_path *parts[16];
  size_t n = 0, k = 0;
  for (; path != NULL && n < 16; path = path->up) parts[n++] = path;
  out[0] = '\0';
  while (n > 0 && k < PATH_BYTES - 1) {
    const lct_walk_path *p = parts[--n];
    int wrote = p->key != NULL ? snprintf(out + k, PATH_BYTES - k, "%s%s", k > 0 ? "." : "", p->key)
                               : snprintf(out + k, PATH_BYTES - k, "[%zu]", p->index);
    if (wrote < 0) return;
    k += (size_t)wrote;
  }
  if (out[0] == '\0') (void)snprintf(out, PATH_BYTES, "top level");
}

static void describe(const lct_yaml_node *node, char out[FOUND_BYTES]) {
  char quoted[LCT_YAML_QUOTE_BYTES];
  lct_yaml_quote(node->text ? node->text : "", node->len, quoted);
  quoted[strlen(quoted) - 1] = '\0'; /* the closing quote: only strings keep it */
  switch (node->type) {
  case LCT_YAML_NULL: (void)snprintf(out, FOUND_BYTES, "null"); return;
  case LCT_YAML_BOOL: (void)snprintf(out, FOUND_BYTES, "the boolean %s", quoted + 1); return;
  case LCT_YAML_INT:
  case LCT_YAML_FLOAT: (void)snprintf(out, FOUND_BYTES, "the number %s", quoted + 1); return;
  case LCT_YAML_TIMESTAMP: (void)snprintf(out, FOUND_BYTES, "the date %s", quoted + 1); return;
  case LCT_YAML_SEQ: (void)snprintf(out, FOUND_BYTES, node->n_items ? "a list" : "an empty list"); return;
  case LCT_YAML_MAP: (void)snprintf(out, FOUND_BYTES, "a mapping"); return;
  default: (void)snprintf(out, FOUND_BYTES, "%s\"", quoted); return;
  }
}

lct_status lct_walk_expected(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const char *expected) {
  char where[PATH_BYTES], found[FOUND_BYTES];
  print_path(path, where);
  describe(node, found);
  return lct_fail(w->err, LCT_E_FORMAT, "%s:%zu:%zu: %s: expected %s, found %s", w->name, node->line, node->column, where, expected, found);
}

static lct_status visit(lct_walk *w, const lct_yaml_node *node, size_t n) {
  if (n <= LCT_WALK_MAX_VISITS - w->visits) {
    w->visits += n;
    return LCT_OK;
  }
  return lct_fail(w->err, LCT_E_LIMIT, "%s:%zu:%zu: aliases expand to more than %d values", w->name, node->line, node->column,
                  LCT_WALK_MAX_VISITS);
}

static lct_status unknown_key(lct_walk *w, const lct_yaml_node *key, const lct_walk_path *path, const lct_walk_key *keys, size_t n) {
  char where[PATH_BYTES], found[FOUND_BYTES], known[256];
  size_t k = 0;
  print_path(path, where);
  describe(key, found);
  known[0] = '\0';
  for (size_t i = 0; i < n && k < sizeof known; i++) {
    int wrote = snprintf(known + k, sizeof known - k, "%s%s", i ? ", " : "", keys[i].key);
    k += wrote > 0 ? (size_t)wrote : sizeof known;
  }
  return lct_fail(w->err, LCT_E_FORMAT, "%s:%zu:%zu: %s: unknown key, expected one of %s, found %s", w->name, key->line, key->column, where,
                  known, found);
}

static lct_status repeated_key(lct_walk *w, const lct_yaml_node *key, const lct_walk_path *path) {
  char where[PATH_BYTES], found[FOUND_BYTES];
  print_path(path, where);
  describe(key, found);
  return lct_fail(w->err, LCT_E_FORMAT, "%s:%zu:%zu: %s: expected every key once, found %s again", w->name, key->line, key->column, where,
                  found);
}

static size_t key_index(const lct_yaml_node *key, const lct_walk_key *keys, size_t n_keys) {
  if (key->type != LCT_YAML_STR) return n_keys;
  size_t i = 0;
  while (i < n_keys && !(strlen(keys[i].key) == key->len && memcmp(keys[i].key, key->text, key->len) == 0)) i++;
  return i;
}

/* A mapping's own keys win over merged ones, earlier merged mappings over later ones: slots are filled once, in that order.
 * A tree has no cycles and at most LCT_YAML_MAX_DEPTH levels, but a merged alias is a new root: `depth` bounds the recursion. */
static lct_status fill(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const lct_walk_key *keys, size_t n_keys,
                       lct_yaml_node **slots, size_t depth) {
  bool seen[LCT_WALK_MAX_KEYS] = {false};
  const lct_yaml_node *merge = NULL;
  if (node->type != LCT_YAML_MAP) return lct_walk_expected(w, node, path, "a mapping");
  if (depth == LCT_YAML_MAX_DEPTH) {
    return lct_fail(w->err, LCT_E_LIMIT, "%s:%zu:%zu: merge keys nested deeper than 64", w->name, node->line, node->column);
  }
  LCT_TRY(visit(w, node, 1 + node->n_items / 2));
  for (size_t i = 0; i + 1 < node->n_items; i += 2) {
    const lct_yaml_node *key = node->items[i];
    size_t k = key_index(key, keys, n_keys);
    if (key->type == LCT_YAML_MERGE) {
      if (merge != NULL) return repeated_key(w, key, path);
      merge = node->items[i + 1];
      continue;
    }
    if (k == n_keys) return unknown_key(w, key, path, keys, n_keys);
    if (seen[k]) return repeated_key(w, key, path);
    seen[k] = true;
    if (slots[k] == NULL) slots[k] = node->items[i + 1];
  }
  if (merge == NULL) return LCT_OK;
  if (merge->type == LCT_YAML_MAP) return fill(w, merge, path, keys, n_keys, slots, depth + 1);
  lct_walk_path merge_path = {.up = path, .key = "<<"};
  if (merge->type != LCT_YAML_SEQ) return lct_walk_expected(w, merge, &merge_path, "a mapping or a list of mappings");
  LCT_TRY(visit(w, merge, merge->n_items));
  for (size_t i = 0; i < merge->n_items; i++) LCT_TRY(fill(w, merge->items[i], path, keys, n_keys, slots, depth + 1));
  return LCT_OK;
}

lct_status lct_walk_map(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const lct_walk_key *keys, size_t n_keys,
                        lct_yaml_node **slots) {
  if (n_keys > LCT_WALK_MAX_KEYS) return lct_fail(w->err, LCT_E_INTERNAL, "schema with %zu keys", n_keys);
  for (size_t i = 0; i < n_keys; i++) slots[i] = NULL;
  LCT_TRY(fill(w, node, path, keys, n_keys, slots, 0));
  for (size_t i = 0; i < n_keys; i++) {
    if (!keys[i].required || slots[i] != NULL) continue;
    char where[PATH_BYTES];
    print_path(path, where);
    return lct_fail(w->err, LCT_E_FORMAT, "%s:%zu:%zu: %s: expected the key \"%s\", found none", w->name, node->line, node->column, where,
                    keys[i].key);
  }
  return LCT_OK;
}

lct_status lct_walk_list(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, const char *what, size_t min_items) {
  char expected[80];
  (void)snprintf(expected, sizeof expected, "a list of %s%s", min_items > 0 ? "at least one " : "", what);
  if (node->type != LCT_YAML_SEQ || node->n_items < min_items) return lct_walk_expected(w, node, path, expected);
  return visit(w, node, node->n_items);
}

lct_status lct_walk_text(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, bool nul_ok, const char **out, size_t *len) {
  if (node == NULL) return LCT_OK;
  if (node->type != LCT_YAML_STR) return lct_walk_expected(w, node, path, "a string");
  if (!nul_ok && memchr(node->text, '\0', node->len) != NULL) return lct_walk_expected(w, node, path, "text without NUL");
  if (node->shared == NULL) node->shared = lct_arena_strndup(w->arena, node->text, node->len);
  if (node->shared == NULL) return lct_fail(w->err, LCT_E_NOMEM, "%s: out of memory for text", w->name);
  *out = node->shared;
  if (len != NULL) *len = node->len;
  return LCT_OK;
}

lct_status lct_walk_string(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, char **out) {
  const char *text = *out;
  LCT_TRY(lct_walk_text(w, node, path, false, &text, NULL));
  if (node != NULL) *out = node->shared;
  return LCT_OK;
}

lct_status lct_walk_choice(lct_walk *w, lct_yaml_node *node, const lct_walk_path *path, const char *const *words, char **out, int *index) {
  char expected[160] = "";
  size_t k = 0;
  if (node == NULL) return LCT_OK;
  for (int i = 0; words[i] != NULL; i++) {
    if (node->type == LCT_YAML_STR && strlen(words[i]) == node->len && memcmp(words[i], node->text, node->len) == 0) {
      if (index != NULL) *index = i;
      return lct_walk_string(w, node, path, out);
    }
    int wrote = snprintf(expected + k, sizeof expected - k, "%s\"%s\"", i ? " or " : "", words[i]);
    k += wrote > 0 && (size_t)wrote < sizeof expected - k ? (size_t)wrote : 0;
  }
  return lct_walk_expected(w, node, path, expected);
}

static bool word_to_bool(const char *s, size_t n, bool *out) {
  static const char *const words[] = {"0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strlen(words[i]) != n || strncasecmp(words[i], s, n) != 0) continue;
    *out = i >= 6;
    return true;
  }
  return false;
}

lct_status lct_walk_bool(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, bool *out) {
  if (node == NULL) return LCT_OK;
  if (node->type == LCT_YAML_BOOL) {
    *out = node->value.b;
    return LCT_OK;
  }
  if (node->type == LCT_YAML_STR && word_to_bool(node->text, node->len, out)) return LCT_OK;
  bool zero = (node->type == LCT_YAML_INT && node->value.i == 0) || (node->type == LCT_YAML_FLOAT && node->value.f == 0.0);
  bool one = (node->type == LCT_YAML_INT && node->value.i == 1) || (node->type == LCT_YAML_FLOAT && node->value.f == 1.0);
  if (!zero && !one) return lct_walk_expected(w, node, path, "true or false");
  *out = one;
  return LCT_OK;
}

lct_status lct_walk_int64(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, int64_t min, int64_t max, int64_t *out) {
  if (node == NULL) return LCT_OK;
  int64_t v = 0;
  bool ok = false;
  switch (node->type) {
  case LCT_YAML_INT: ok = true, v = node->value.i; break;
  case LCT_YAML_BOOL: ok = true, v = node->value.b; break;
  case LCT_YAML_STR: ok = lct_yaml_str_to_int(node->text, node->len, &v); break;
  case LCT_YAML_FLOAT:
    ok = fabs(node->value.f) < 0x1p63 && node->value.f == floor(node->value.f);
    if (ok) v = (int64_t)node->value.f;
    break;
  default: break;
  }
  if (ok && v >= min && v <= max) {
    *out = v;
    return LCT_OK;
  }
  char expected[96] = "an integer";
  if (min > INT_MIN) (void)snprintf(expected, sizeof expected, "an integer >= %lld", (long long)min);
  if (ok && v > max) (void)snprintf(expected, sizeof expected, "an integer <= %lld", (long long)max);
  if (ok && v < min) (void)snprintf(expected, sizeof expected, "an integer >= %lld", (long long)min);
  return lct_walk_expected(w, node, path, expected);
}

lct_status lct_walk_int(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, int min, int *out) {
  int64_t v = *out;
  LCT_TRY(lct_walk_int64(w, node, path, min, INT_MAX, &v));
  *out = (int)v;
  return LCT_OK;
}

lct_status lct_walk_double(lct_walk *w, const lct_yaml_node *node, const lct_walk_path *path, double *out) {
  if (node == NULL) return LCT_OK;
  double v = NAN;
  if (node->type == LCT_YAML_INT) v = (double)node->value.i;
  if (node->type == LCT_YAML_BOOL) v = node->value.b ? 1.0 : 0.0;
  if (node->type == LCT_YAML_FLOAT) v = node->value.f;
  if (node->type == LCT_YAML_STR && !lct_yaml_str_to_float(node->text, node->len, &v)) v = NAN;
  if (!isfinite(v)) return lct_walk_expected(w, node, path, "a finite number");
  *out = v;
  return LCT_OK;
}
