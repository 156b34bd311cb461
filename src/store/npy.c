/* The .npy header: numpy's own little language, a Python dict literal with three keys. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "store/npz_format.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are written as they lie in memory");

static const struct {
  const char *descr;
  size_t bytes;
} TYPES[] = {
    [LCT_NPY_F16] = {"<f2", 2},
    [LCT_NPY_F32] = {"<f4", 4},
    [LCT_NPY_I32] = {"<i4", 4},
    [LCT_NPY_I64] = {"<i8", 8},
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES, PREFIX_BYTES = 10 };

bool lct_npz_name_ok(const char *name, size_t n) {
  if (n == 0 || n > LCT_NPZ_MAX_NAME || !lct_utf8_valid(name, n)) return false;
  for (size_t i = 0; i < n; i++) {
    if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return false;
  }
  return true;
}

size_t lct_npy_item_bytes(lct_npy_dtype t) { return TYPES[t].bytes; }

lct_status lct_npy_header_write(lct_npy_dtype t, int n_dims, const int64_t *dims, lct_buf *out, lct_error *err) {
  size_t begin = out->len;
  /* Version 1.0 always: eight dimensions never fill its 65535 bytes. */
  LCT_TRY(lct_buf_append(out, "\x93NUMPY\x01\x00\x00\x00", PREFIX_BYTES, err));
  LCT_TRY(lct_buf_printf(out, err, "{'descr': '%s', 'fortran_order': False, 'shape': (", TYPES[t].descr));
  for (int i = 0; i < n_dims; i++) {
    LCT_TRY(lct_buf_printf(out, err, "%s%lld%s", i > 0 ? " " : "", (long long)dims[i], i + 1 < n_dims || n_dims == 1 ? "," : ""));
  }
  LCT_TRY(lct_buf_puts(out, "), }", err));
  while ((out->len - begin + 1) % 64 != 0) LCT_TRY(lct_buf_puts(out, " ", err));
  LCT_TRY(lct_buf_puts(out, "\n", err));
  size_t text = out->len - begin - PREFIX_BYTES;
  out->data[begin + 8] = (char)(text & 0xff);
  out->data[begin + 9] = (char)(text >> 8);
  return LCT_OK;
}

/* The dict literal, read with one character of look-ahead. */
typedef struct {
  const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool eat(cursor *c, char ch) {
  skip_space(c);
  if (c->at >= c->end || *c->at != ch) return false;
  c->at++;
  return true;
}

/* A quoted string without escapes (numpy's simple types and keys have none) into text. */
static bool eat_string(cursor *c, char *text, size_t size) {
  skip_space(c);
  if (c->at >= c->end || (*c->at != '\'' && *c->at != '"')) return false;
  char quote = *c->at++;
  size_t n = 0;
  while (c->at < c->end && *c->at != quote) {
    if (*c->at == '\\' || *c->at < ' ' || *c->at > '~' || n + 1 >= size) return false;
    text[n++] = *c->at++;
  }
  text[n] = '\0';
  return eat(c, quote);
}

static bool eat_word(cursor *c, const char *word) {
  size_t n = strlen(word);
  skip_space(c);
  if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
  c->at += n;
  return true;
}

static bool eat_integer(cursor *c, int64_t *out) {
  skip_space(c);
  const char *begin = c->at;
  int64_t v = 0;
  while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *c->at - '0', &v)) return false;
    c->at++;
  }
  if (c->at == begin) return false;
  if (c->at < c->end && *c->at == 'L') c->at++; /* Python 2 wrote long integers so */
  *out = v;
  return true;
}

static lct_status parse_shape(cursor *c, const char *what, lct_npz_entry *out, lct_error *err) {
  if (!eat(c, '(')) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: shape is not a tuple", what);
  out->n_dims = 0;
  while (!eat(c, ')')) {
    int64_t dim;
    if (!eat_integer(c, &dim)) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: a dimension is not a number", what);
    if (out->n_dims == LCT_NPY_MAX_DIMS) {
      return lct_fail(err, LCT_E_UNSUPPORTED, "%s: more than %d dimensions", what, (int)LCT_NPY_MAX_DIMS);
    }
    out->dims[out->n_dims++] = dim;
    bool comma = eat(c, ',');
    skip_space(c);
    bool closes = c->at < c->end && *c->at == ')';
    if (!comma && (!closes || out->n_dims == 1)) {
      return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: shape is not a tuple", what);
    }
  }
  return LCT_OK;
}

static lct_status parse_descr(cursor *c, const char *what, lct_npz_entry *out, lct_error *err) {
  char descr[32];
  if (!eat_string(c, descr, sizeof descr)) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: .npy header: descr is no simple type, expected <f2, <f4, <i4 or <i8", what);
  }
  for (int t = 0; t < N_TYPES; t++) {
    if (strcmp(descr, TYPES[t].descr) == 0) {
      out->dtype = (lct_npy_dtype)t;
      return LCT_OK;
    }
  }
  return lct_fail(err, LCT_E_UNSUPPORTED, "%s: element type %s, expected <f2, <f4, <i4 or <i8", what, descr);
}

static lct_status parse_order(cursor *c, const char *what, lct_error *err) {
  if (eat_word(c, "False")) return LCT_OK;
  if (eat_word(c, "True")) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: Fortran order, expected C order", what);
  return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: fortran_order is neither True nor False", what);
}

static lct_status parse_dict(cursor *c, const char *what, lct_npz_entry *out, lct_error *err) {
  enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
  unsigned seen = 0;
  bool more = eat(c, '{');
  while (more && !eat(c, '}')) {
    char key[32];
    if (!eat_string(c, key, sizeof key) || !eat(c, ':')) break;
    unsigned k = 0;
    if (strcmp(key, "descr") == 0) k = DESCR;
    if (strcmp(key, "fortran_order") == 0) k = ORDER;
    if (strcmp(key, "shape") == 0) k = SHAPE;
    if (k == 0 || (seen & k) != 0) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: unexpected key %s", what, key);
    seen |= k;
    if (k == DESCR) LCT_TRY(parse_descr(c, what, out, err));
    if (k == ORDER) LCT_TRY(parse_order(c, what, err));
    if (k == SHAPE) LCT_TRY(parse_shape(c, what, out, err));
    if (!eat(c, ',')) more = false;
    if (!more && eat(c, '}')) break;
  }
  if (seen != ALL || c->at[-1] != '}') {
    return lct_fail(err, LCT_E_FORMAT, "%s: .npy header is not a dict of descr, fortran_order and shape", what);
  }
  skip_space(c);
  if (c->at != c->end) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header: text behind the dict", what);
  return LCT_OK;
}

lct_status lct_npy_header_parse(const unsigned char *data, size_t n, const char *what, lct_npz_entry *out, size_t *header_bytes,
                                lct_error *err) {
  if (n < PREFIX_BYTES || memcmp(data, "\x93NUMPY", 6) != 0) return lct_fail(err, LCT_E_FORMAT, "%s: not a .npy array", what);
  if (data[6] < 1 || data[6] > 3 || data[7] != 0) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: .npy version %d.%d, expected 1.0, 2.0 or 3.0", what, data[6], data[7]);
  }
  size_t prefix = data[6] == 1 ? PREFIX_BYTES : PREFIX_BYTES + 2;
  if (n < prefix) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header is truncated", what);
  size_t text = data[6] == 1 ? zip_u16(data + 8) : zip_u32(data + 8);
  if (text > LCT_NPY_MAX_HEADER) {
    return lct_fail(err, LCT_E_LIMIT, "%s: .npy header of %zu bytes, at most %d are read", what, text, (int)LCT_NPY_MAX_HEADER);
  }
  if (text > n - prefix) return lct_fail(err, LCT_E_FORMAT, "%s: .npy header is truncated", what);
  cursor c = {(const char *)data + prefix, (const char *)data + prefix + text};
  *header_bytes = prefix + text;
  return parse_dict(&c, what, out, err);
}
