#include "model/jsonio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value costs jansson up to about 150 bytes; a model of 300,000 tensors stays below this. */
#define MAX_VALUES 4000000u

/* Counts brackets, commas and colons outside strings. Ill-formed text passes: the parser words that better. */
static lct_status scan_bounds(const char *text, size_t n, int max_depth, const char *name, lct_error *err) {
  bool in_string = false;
  int depth = 0;
  size_t values = 0;
  for (size_t i = 0; i < n; i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      else if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      values++;
      if (++depth > max_depth) {
        return lct_fail(err, LCT_E_FORMAT, "%s: JSON nested deeper than %d levels at byte %zu", name, max_depth, i);
      }
    } else if (c == '}' || c == ']') {
      depth--;
    } else if (c == ',' || c == ':') {
      values++;
    }
    if (values > MAX_VALUES) return lct_fail(err, LCT_E_LIMIT, "%s: more than %u JSON values", name, MAX_VALUES);
  }
  return LCT_OK;
}

lct_status lct_json_parse(const char *text, size_t n, int max_depth, size_t flags, const char *name, json_t **out, lct_error *err) {
  *out = NULL;
  LCT_TRY(scan_bounds(text, n, max_depth, name, err));
  json_error_t je;
  *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, &je);
  if (*out == NULL) {
    return lct_fail(err, LCT_E_FORMAT, "%s is not valid JSON: %s (line %d, column %d)", name, je.text, je.line, je.column);
  }
  return LCT_OK;
}

const char *lct_json_show(const json_t *v, char *buf, size_t n) {
  if (v == NULL) {
    (void)snprintf(buf, n, "nothing");
    return buf;
  }
  char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
  (void)snprintf(buf, n, "%s", text == NULL ? "?" : text);
  free(text);
  return buf;
}
