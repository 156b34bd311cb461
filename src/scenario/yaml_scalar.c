/* YAML 1.1 scalars as PyYAML's SafeLoader reads them, and numbers in strings as pydantic's lax mode does. */
#include "scenario/yaml_tree.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAG "tag:yaml.org,2002:"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_sign(char c) { return c == '+' || c == '-'; }

/* Length of the longest prefix of s[0..n) made of characters of set. */
static size_t span(const char *s, size_t n, const char *set) {
  size_t i = 0;
  while (i < n && s[i] != '\0' && strchr(set, s[i]) != NULL) i++;
  return i;
}

static bool is_one_of(const char *s, size_t n, const char *const *words) {
  for (; *words != NULL; words++) {
    if (strlen(*words) == n && memcmp(*words, s, n) == 0) return true;
  }
  return false;
}

static bool is_true(const char *s, size_t n) {
  static const char *const words[] = {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
  return is_one_of(s, n, words);
}

static bool is_false(const char *s, size_t n) {
  static const char *const words[] = {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};
  return is_one_of(s, n, words);
}

static bool is_null(const char *s, size_t n) {
  static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
  return is_one_of(s, n, words);
}

/* (:[0-5]?[0-9])+ from s: its length, 0 when there is none. */
static size_t base60_tail(const char *s, size_t n) {
  size_t i = 0;
  while (i + 1 < n && s[i] == ':' && is_digit(s[i + 1])) {
    i += i + 2 < n && is_digit(s[i + 2]) && s[i + 1] <= '5' ? 3 : 2;
  }
  return i;
}

static bool looks_int(const char *s, size_t n) {
  if (n > 0 && is_sign(s[0])) s++, n--;
  if (n == 0 || !is_digit(s[0])) return false;
  if (n > 2 && s[0] == '0' && s[1] == 'b') return span(s + 2, n - 2, "01_") == n - 2;
  if (n > 2 && s[0] == '0' && s[1] == 'x') return span(s + 2, n - 2, "0123456789abcdefABCDEF_") == n - 2;
  if (s[0] == '0') return span(s, n, "01234567_") == n;
  size_t k = span(s, n, "0123456789_");
  return k == n || k + base60_tail(s + k, n - k) == n;
}

static bool looks_float(const char *s, size_t n) {
  static const char *const inf[] = {".inf", ".Inf", ".INF", NULL};
  static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
  if (is_one_of(s, n, nan)) return true;
  bool sign = n > 0 && is_sign(s[0]);
  s += sign, n -= sign;
  if (is_one_of(s, n, inf)) return true;
  size_t k = 0;
  if (n > 0 && is_digit(s[0])) {
    k = span(s, n, "0123456789_");
    size_t tail = base60_tail(s + k, n - k);
    if (tail > 0) return k + tail < n && s[k + tail] == '.' && k + tail + 1 + span(s + k + tail + 1, n - k - tail - 1, "0123456789_") == n;
    if (k == n || s[k] != '.') return false;
    k++;
    k += span(s + k, n - k, "0123456789_");
  } else if (n > 1 && !sign && s[0] == '.' && is_digit(s[1])) {
    k = 1 + span(s + 1, n - 1, "0123456789_");
  } else {
    return false;
  }
  if (k == n) return true;
  if (n - k < 3 || (s[k] != 'e' && s[k] != 'E') || !is_sign(s[k + 1])) return false;
  return k + 2 + span(s + k + 2, n - k - 2, "0123456789") == n;
}

static bool looks_timestamp(const char *s, size_t n) {
  if (n < 8 || span(s, 4, "0123456789") != 4 || s[4] != '-') return false;
  if (n == 10 && is_digit(s[5]) && is_digit(s[6]) && s[7] == '-' && is_digit(s[8]) && is_digit(s[9])) return true;
  size_t i = 5, k = span(s + i, n - i < 2 ? n - i : 2, "0123456789");
  if (k == 0 || i + k >= n || s[i + k] != '-') return false;
  i += k + 1;
  k = span(s + i, n - i < 2 ? n - i : 2, "0123456789");
  i += k;
  if (k == 0 || i >= n) return false;
  k = s[i] == 'T' || s[i] == 't' ? 1 : span(s + i, n - i, " \t");
  i += k;
  if (k == 0 || i >= n) return false;
  k = span(s + i, n - i < 2 ? n - i : 2, "0123456789");
  i += k;
  if (k == 0 || n - i < 6 || s[i] != ':' || span(s + i + 1, 2, "0123456789") != 2) return false;
  if (s[i + 3] != ':' || span(s + i + 4, 2, "0123456789") != 2) return false;
  i += 6;
  if (i < n && s[i] == '.') i += 1 + span(s + i + 1, n - i - 1, "0123456789");
  i += span(s + i, n - i, " \t");
  if (i == n) return true;
  if (s[i] == 'Z') return i + 1 == n;
  if (!is_sign(s[i])) return false;
  i++;
  k = span(s + i, n - i < 2 ? n - i : 2, "0123456789");
  i += k;
  return k > 0 && (i == n || (n - i == 3 && s[i] == ':' && span(s + i + 1, 2, "0123456789") == 2));
}

static int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

/* Digits of `base`, underscores skipped; false without digits or beyond int64. */
static bool digits_to_int(const char *s, size_t n, int base, bool negative, int64_t *out) {
  int64_t v = 0;
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    if (s[i] == '_') continue;
    int d = digit_value(s[i]);
    if (d >= base) return false;
    any = true;
    if (__builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_add_overflow(v, negative ? -d : d, &v)) return false;
  }
  *out = v;
  return any;
}

static bool base60_to_int(const char *s, size_t n, bool negative, int64_t *out) {
  int64_t v = 0;
  for (size_t i = 0; i < n;) {
    size_t k = span(s + i, n - i, "0123456789_");
    int64_t part = 0;
    if (!digits_to_int(s + i, k, 10, negative, &part)) return false;
    if (__builtin_mul_overflow(v, (int64_t)60, &v) || __builtin_add_overflow(v, part, &v)) return false;
    i += k + 1; /* and the colon */
  }
  *out = v;
  return true;
}

static bool read_int(const char *s, size_t n, int64_t *out) {
  bool negative = n > 0 && s[0] == '-';
  if (n > 0 && is_sign(s[0])) s++, n--;
  if (n > 2 && s[0] == '0' && s[1] == 'b') return digits_to_int(s + 2, n - 2, 2, negative, out);
  if (n > 2 && s[0] == '0' && s[1] == 'x') return digits_to_int(s + 2, n - 2, 16, negative, out);
  if (memchr(s, ':', n) != NULL) return base60_to_int(s, n, negative, out);
  return digits_to_int(s, n, n > 1 && s[0] == '0' ? 8 : 10, negative, out);
}

/* strtod in the C locale over all of s[0..n) without its underscores. */
static bool c_strtod(const char *s, size_t n, double *out) {
  char buf[512];
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    if (s[i] == '_') continue;
    if (k + 1 == sizeof buf) return false;
    buf[k++] = s[i];
  }
  buf[k] = '\0';
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (c == (locale_t)0) return false;
  char *end = NULL;
  *out = strtod_l(buf, &end, c);
  freelocale(c);
  return k > 0 && end == buf + k;
}

static bool read_float(const char *s, size_t n, double *out) {
  bool negative = n > 0 && s[0] == '-';
  if (n > 0 && is_sign(s[0])) s++, n--;
  double v = 0.0;
  if (n == 4 && (s[1] == 'i' || s[1] == 'I')) {
    v = INFINITY;
  } else if (n == 4 && (s[1] == 'n' || s[1] == 'N')) {
    v = NAN;
  } else if (memchr(s, ':', n) != NULL) {
    for (size_t i = 0; i < n;) {
      const char *colon = memchr(s + i, ':', n - i);
      size_t k = colon ? (size_t)(colon - s) - i : n - i;
      double part = 0.0;
      if (!c_strtod(s + i, k, &part)) return false;
      v = v * 60.0 + part;
      i += k + 1;
    }
  } else if (!c_strtod(s, n, &v)) {
    return false;
  }
  *out = negative ? -v : v;
  return true;
}

static bool resolve_as(lct_yaml_node *node, lct_yaml_type type, const char **why) {
  const char *s = node->text;
  size_t n = node->len;
  bool ok = true;
  node->type = type;
  if (type == LCT_YAML_BOOL) ok = is_true(s, n) || is_false(s, n), node->value.b = is_true(s, n);
  if (type == LCT_YAML_INT) ok = looks_int(s, n) && read_int(s, n, &node->value.i);
  if (type == LCT_YAML_FLOAT && looks_int(s, n)) {
    ok = read_int(s, n, &node->value.i);
    node->value.f = (double)node->value.i;
  } else if (type == LCT_YAML_FLOAT) {
    ok = looks_float(s, n) ? read_float(s, n, &node->value.f) : lct_yaml_str_to_float(s, n, &node->value.f);
  }
  if (type == LCT_YAML_INT) *why = "expected an integer of at most 64 bits, found";
  else *why = type == LCT_YAML_FLOAT ? "expected a number, found" : "expected a boolean, found";
  return ok;
}

bool lct_yaml_resolve(lct_yaml_node *node, const char *tag, bool plain, const char **why) {
  static const struct {
    const char *tag;
    lct_yaml_type type;
  } tags[] = {{TAG "str", LCT_YAML_STR},
              {TAG "bool", LCT_YAML_BOOL},
              {TAG "int", LCT_YAML_INT},
              {TAG "float", LCT_YAML_FLOAT},
              {TAG "null", LCT_YAML_NULL}};
  const char *s = node->text;
  size_t n = node->len;
  if (*tag != '\0' && strcmp(tag, "!") != 0) {
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
      if (strcmp(tag, tags[i].tag) == 0) return resolve_as(node, tags[i].type, why);
    }
    *why = "unsupported tag on";
    return false;
  }
  node->type = LCT_YAML_STR;
  if (!plain) return true;
  if (is_null(s, n)) return resolve_as(node, LCT_YAML_NULL, why);
  if (is_true(s, n) || is_false(s, n)) return resolve_as(node, LCT_YAML_BOOL, why);
  if (looks_float(s, n)) return resolve_as(node, LCT_YAML_FLOAT, why);
  if (looks_int(s, n)) return resolve_as(node, LCT_YAML_INT, why);
  if (looks_timestamp(s, n)) node->type = LCT_YAML_TIMESTAMP;
  if (n == 2 && memcmp(s, "<<", 2) == 0) node->type = LCT_YAML_MERGE;
  *why = "the plain scalar = is a YAML 1.1 default value and must be quoted, found";
  return !(n == 1 && s[0] == '=');
}

void lct_yaml_quote(const char *s, size_t n, char out[LCT_YAML_QUOTE_BYTES]) {
  static const char hex[] = "0123456789abcdef";
  size_t k = 0, i = 0;
  out[k++] = '"';
  while (i < n && k < LCT_YAML_QUOTE_BYTES - 20) {
    unsigned char c = (unsigned char)s[i++];
    if (c < 0x20 || c == 0x7f) {
      out[k++] = '\\', out[k++] = 'x', out[k++] = hex[c >> 4], out[k++] = hex[c & 15];
    } else {
      out[k++] = (char)c;
      while (c >= 0xc0 && i < n && ((unsigned char)s[i] & 0xc0) == 0x80 && k < LCT_YAML_QUOTE_BYTES - 8) out[k++] = s[i++];
    }
  }
  const char *end = i < n ? "...\"" : "\"";
  memcpy(out + k, end, strlen(end) + 1);
}

static void trim(const char **s, size_t *n) {
  while (*n > 0 && memchr(" \t\n\v\f\r", **s, 6) != NULL) (*s)++, (*n)--;
  while (*n > 0 && memchr(" \t\n\v\f\r", (*s)[*n - 1], 6) != NULL) (*n)--;
}

/* Underscores stand singly, none first or last. */
static bool underscores_ok(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (s[i] == '_' && (i == 0 || i + 1 == n || s[i + 1] == '_')) return false;
  }
  return true;
}

bool lct_yaml_str_to_int(const char *s, size_t n, int64_t *out) {
  trim(&s, &n);
  bool negative = n > 0 && s[0] == '-';
  if (n > 0 && is_sign(s[0])) s++, n--;
  size_t k = span(s, n, "0123456789_");
  if (k < n && (s[k] != '.' || k + 1 == n || k + 1 + span(s + k + 1, n - k - 1, "0") != n)) return false;
  return underscores_ok(s, k) && digits_to_int(s, k, 10, negative, out);
}

bool lct_yaml_str_to_float(const char *s, size_t n, double *out) {
  trim(&s, &n);
  if (!underscores_ok(s, n)) return false;
  size_t start = n > 0 && is_sign(s[0]);
  /* what strtod reads beyond pydantic: hexadecimal, nan(...) and a second sign */
  if (n > start && is_sign(s[start])) return false;
  if (memchr(s, 'x', n) != NULL || memchr(s, 'X', n) != NULL || memchr(s, '(', n) != NULL) return false;
  if (n == start || memchr(s, '\0', n) != NULL || memchr(" \t\n\v\f\r", s[start], 6) != NULL) return false;
  return c_strtod(s, n, out);
}
