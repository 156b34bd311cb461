#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_internal.h"

#define MAX_KEY_BYTES 65535
/* The shortest metadata entry: key length, one byte of key, type, one byte of value. */
#define MIN_KV_BYTES 14

static const struct {
  const char *name, *array_name;
  unsigned bytes; /* 0: not a scalar */
} value_types[GV_COUNT] = {
    [GV_U8] = {"u8", "array of u8", 1},           [GV_I8] = {"i8", "array of i8", 1},       [GV_U16] = {"u16", "array of u16", 2},
    [GV_I16] = {"i16", "array of i16", 2},        [GV_U32] = {"u32", "array of u32", 4},    [GV_I32] = {"i32", "array of i32", 4},
    [GV_F32] = {"f32", "array of f32", 4},        [GV_BOOL] = {"bool", "array of bool", 1}, [GV_STRING] = {"string", "array of string", 0},
    [GV_ARRAY] = {"array", "array of arrays", 0}, [GV_U64] = {"u64", "array of u64", 8},    [GV_I64] = {"i64", "array of i64", 8},
    [GV_F64] = {"f64", "array of f64", 8},
};

static uint64_t load_le(const unsigned char *p, unsigned n) {
  uint64_t v = 0;
  for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

/* ---- cursor ---- */

lct_status lct_gguf_take(gguf_cursor *c, uint64_t need, const char *what, const unsigned char **out) {
  size_t left = c->n - c->pos;
  if (need > left) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s at byte %zu: expected %" PRIu64 " bytes, found %zu before the file's end", c->file,
                    c->where, what, c->pos, need, left);
  }
  *out = c->data + c->pos;
  c->pos += (size_t)need;
  return LCT_OK;
}

lct_status lct_gguf_take_u32(gguf_cursor *c, const char *what, uint32_t *out) {
  const unsigned char *p = NULL;
  LCT_TRY(lct_gguf_take(c, 4, what, &p));
  *out = (uint32_t)load_le(p, 4);
  return LCT_OK;
}

lct_status lct_gguf_take_u64(gguf_cursor *c, const char *what, uint64_t *out) {
  const unsigned char *p = NULL;
  LCT_TRY(lct_gguf_take(c, 8, what, &p));
  *out = load_le(p, 8);
  return LCT_OK;
}

static lct_status take_str(gguf_cursor *c, const char *what, lct_str *out) {
  uint64_t n = 0;
  const unsigned char *p = NULL;
  LCT_TRY(lct_gguf_take_u64(c, what, &n));
  LCT_TRY(lct_gguf_take(c, n, what, &p));
  *out = (lct_str){(const char *)p, (size_t)n};
  return LCT_OK;
}

lct_status lct_gguf_take_name(gguf_cursor *c, const char *what, size_t max, lct_str *out) {
  size_t at = c->pos;
  LCT_TRY(take_str(c, what, out));
  if (out->len == 0 || out->len > max) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s at byte %zu: expected 1 to %zu bytes, found %zu", c->file, c->where, what, at, max,
                    out->len);
  }
  for (size_t i = 0; i < out->len; i++) {
    unsigned char b = (unsigned char)out->data[i];
    if (b >= 0x20 && b < 0x7f) continue;
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s at byte %zu: expected printable ASCII, found byte %02x", c->file, c->where, what, at,
                    b);
  }
  return LCT_OK;
}

const char *lct_gguf_printable(lct_str s, char out[LCT_GGUF_PRINTABLE]) {
  size_t n = s.len < LCT_GGUF_PRINTABLE ? s.len : LCT_GGUF_PRINTABLE - 4;
  for (size_t i = 0; i < n; i++) {
    unsigned char b = (unsigned char)s.data[i];
    out[i] = b >= 0x20 && b < 0x7f ? (char)b : '?';
  }
  (void)snprintf(out + n, 4, "%s", n < s.len ? "..." : "");
  return out;
}

void lct_gguf_set_where(gguf_cursor *c, const char *kind, lct_str name) {
  char text[LCT_GGUF_PRINTABLE];
  (void)snprintf(c->where, sizeof c->where, "%s \"%s\"", kind, lct_gguf_printable(name, text));
}

/* ---- metadata values ---- */

static lct_status take_type(gguf_cursor *c, const char *what, gguf_value_type *out) {
  uint32_t t = 0;
  size_t at = c->pos;
  LCT_TRY(lct_gguf_take_u32(c, what, &t));
  if (t >= GV_COUNT) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s at byte %zu: expected 0 to %d, found %" PRIu32, c->file, c->where, what, at,
                    GV_COUNT - 1, t);
  }
  *out = (gguf_value_type)t;
  return LCT_OK;
}

static lct_status check_bools(const gguf_cursor *c, const unsigned char *p, uint64_t n) {
  for (uint64_t i = 0; i < n; i++) {
    if (p[i] > 1) {
      return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: bool at byte %zu: expected 0 or 1, found %u", c->file, c->where,
                      (size_t)(p + i - c->data), p[i]);
    }
  }
  return LCT_OK;
}

/* Checks that n elements of at least min_bytes each can be there at all, before anything walks them. */
static lct_status check_count(const gguf_cursor *c, uint64_t n, unsigned min_bytes, const char *what) {
  size_t left = c->n - c->pos;
  if (n > left / min_bytes) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: %s at byte %zu: found %" PRIu64 ", expected at most %zu in the %zu bytes left", c->file,
                    c->where, what, c->pos - 8, n, left / min_bytes, left);
  }
  return LCT_OK;
}

/* Walks an array's elements. The work is linear in the bytes walked: every element takes at least one. */
static lct_status skip_array(gguf_cursor *c, gguf_value_type elem, uint64_t n, int depth) {
  const unsigned char *p = NULL;
  if (value_types[elem].bytes > 0) {
    LCT_TRY(check_count(c, n, value_types[elem].bytes, "array length"));
    LCT_TRY(lct_gguf_take(c, n * value_types[elem].bytes, "array", &p));
    return elem == GV_BOOL ? check_bools(c, p, n) : LCT_OK;
  }
  if (elem == GV_STRING) {
    lct_str s;
    LCT_TRY(check_count(c, n, 8, "array length"));
    for (uint64_t i = 0; i < n; i++) LCT_TRY(take_str(c, "string in array", &s));
    return LCT_OK;
  }
  if (depth >= LCT_GGUF_MAX_DEPTH) {
    return lct_fail(c->err, LCT_E_LIMIT, "%s: %s: array at byte %zu: nested deeper than %d", c->file, c->where, c->pos, LCT_GGUF_MAX_DEPTH);
  }
  LCT_TRY(check_count(c, n, 12, "array length"));
  for (uint64_t i = 0; i < n; i++) {
    gguf_value_type inner = GV_U8;
    uint64_t n_inner = 0;
    LCT_TRY(take_type(c, "array element type", &inner));
    LCT_TRY(lct_gguf_take_u64(c, "array length", &n_inner));
    LCT_TRY(skip_array(c, inner, n_inner, depth + 1));
  }
  return LCT_OK;
}

static lct_status parse_array(lct_gguf *g, gguf_cursor *c, gguf_kv *kv) {
  LCT_TRY(take_type(c, "array element type", &kv->elem));
  LCT_TRY(lct_gguf_take_u64(c, "array length", &kv->n));
  kv->data = c->data + c->pos;
  LCT_TRY(skip_array(c, kv->elem, kv->n, 1));
  if (kv->elem != GV_STRING) return LCT_OK;
  /* Only now, when every element is known to be there, is the table made: 8 bytes for at least 8 in the file. */
  kv->str_offsets = lct_arena_alloc(&g->arena, (size_t)kv->n * sizeof *kv->str_offsets);
  if (kv->str_offsets == NULL) return lct_fail(c->err, LCT_E_NOMEM, "%s: %s: out of memory", c->file, c->where);
  uint64_t off = 0;
  for (uint64_t i = 0; i < kv->n; i++) {
    kv->str_offsets[i] = off;
    off += 8 + load_le(kv->data + off, 8);
  }
  return LCT_OK;
}

static lct_status parse_kv(lct_gguf *g, gguf_cursor *c, uint64_t index, gguf_kv *kv) {
  (void)snprintf(c->where, sizeof c->where, "metadata entry %" PRIu64, index);
  LCT_TRY(lct_gguf_take_name(c, "key", MAX_KEY_BYTES, &kv->key));
  lct_gguf_set_where(c, "metadata", kv->key);
  LCT_TRY(take_type(c, "value type", &kv->type));
  if (kv->type == GV_ARRAY) return parse_array(g, c, kv);
  if (kv->type == GV_STRING) {
    lct_str s = {0};
    LCT_TRY(take_str(c, "string", &s));
    kv->data = (const unsigned char *)s.data;
    kv->n = s.len;
    return LCT_OK;
  }
  LCT_TRY(lct_gguf_take(c, value_types[kv->type].bytes, "value", &kv->data));
  return kv->type == GV_BOOL ? check_bools(c, kv->data, 1) : LCT_OK;
}

static int compare_str(lct_str a, lct_str b) {
  int r = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
  return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

static int compare_kv(const void *a, const void *b) { return compare_str(((const gguf_kv *)a)->key, ((const gguf_kv *)b)->key); }

static lct_status parse_metadata(lct_gguf *g, gguf_cursor *c, uint64_t n_kv) {
  for (uint64_t i = 0; i < n_kv; i++) {
    gguf_kv kv = {0};
    LCT_TRY(parse_kv(g, c, i, &kv));
    LCT_TRY(lct_grow(&g->kv, &g->cap_kv, g->n_kv + 1, sizeof *g->kv, "GGUF metadata", c->err));
    g->kv[g->n_kv++] = kv;
  }
  if (g->n_kv > 1) qsort(g->kv, g->n_kv, sizeof *g->kv, compare_kv);
  for (size_t i = 1; i < g->n_kv; i++) {
    if (compare_str(g->kv[i - 1].key, g->kv[i].key) != 0) continue;
    lct_gguf_set_where(c, "metadata", g->kv[i].key);
    return lct_fail(c->err, LCT_E_FORMAT, "%s: %s: expected once, found twice", c->file, c->where);
  }
  return LCT_OK;
}

/* ---- file ---- */

static lct_status parse_header(gguf_cursor *c, uint64_t *n_tensors, uint64_t *n_kv) {
  const unsigned char *magic = NULL;
  uint32_t version = 0;
  (void)snprintf(c->where, sizeof c->where, "header");
  LCT_TRY(lct_gguf_take(c, 4, "magic", &magic));
  if (memcmp(magic, "GGUF", 4) != 0) {
    return lct_fail(c->err, LCT_E_FORMAT, "%s: header: expected magic \"GGUF\", found bytes %02x %02x %02x %02x", c->file, magic[0],
                    magic[1], magic[2], magic[3]);
  }
  LCT_TRY(lct_gguf_take_u32(c, "version", &version));
  if (version != 2 && version != 3) {
    bool swapped = (version & 0xffffu) == 0 && version != 0;
    return lct_fail(c->err, LCT_E_UNSUPPORTED, "%s: header: expected GGUF version 2 or 3, found %" PRIu32 "%s", c->file,
                    swapped ? __builtin_bswap32(version) : version, swapped ? " in big-endian order" : "");
  }
  LCT_TRY(lct_gguf_take_u64(c, "tensor count", n_tensors));
  LCT_TRY(lct_gguf_take_u64(c, "metadata count", n_kv));
  return check_count(c, *n_kv, MIN_KV_BYTES, "metadata count");
}

static lct_status parse_all(lct_gguf *g, gguf_cursor *c) {
  uint64_t n_tensors = 0, n_kv = 0;
  LCT_TRY(parse_header(c, &n_tensors, &n_kv));
  LCT_TRY(parse_metadata(g, c, n_kv));
  return lct_gguf_parse_tensors(g, c, n_tensors);
}

lct_status lct_gguf_parse(const unsigned char *data, size_t n, const char *file, lct_gguf **out, lct_error *err) {
  lct_gguf *g = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&g, 1, sizeof *g, "GGUF metadata", err));
  gguf_cursor c = {.data = data, .n = n, .file = file, .err = err};
  g->file = lct_arena_strndup(&g->arena, file, strlen(file));
  lct_status s = g->file != NULL ? parse_all(g, &c) : lct_fail(err, LCT_E_NOMEM, "%s: out of memory", file);
  if (s != LCT_OK) {
    lct_gguf_free(g);
    return s;
  }
  *out = g;
  return LCT_OK;
}

void lct_gguf_free(lct_gguf *g) {
  if (g == NULL) return;
  free(g->kv);
  free(g->tensors);
  free(g->by_name);
  lct_arena_free(&g->arena);
  free(g);
}

const char *lct_gguf_file(const lct_gguf *g) { return g->file; }

/* ---- getters ---- */

static const gguf_kv *find_kv(const lct_gguf *g, const char *key) {
  gguf_kv wanted = {.key = {key, strlen(key)}};
  return g->n_kv > 0 ? bsearch(&wanted, g->kv, g->n_kv, sizeof *g->kv, compare_kv) : NULL;
}

static bool as_i64(gguf_value_type t, const unsigned char *p, int64_t *out) {
  switch (t) {
  case GV_U8: *out = p[0]; return true;
  case GV_I8: *out = (int8_t)p[0]; return true;
  case GV_U16: *out = (int64_t)load_le(p, 2); return true;
  case GV_I16: *out = (int16_t)load_le(p, 2); return true;
  case GV_U32: *out = (int64_t)load_le(p, 4); return true;
  case GV_I32: *out = (int32_t)load_le(p, 4); return true;
  case GV_I64: *out = (int64_t)load_le(p, 8); return true;
  case GV_U64: {
    uint64_t v = load_le(p, 8);
    if (v > INT64_MAX) return false;
    *out = (int64_t)v;
    return true;
  }
  default: return false;
  }
}

static bool as_f64(gguf_value_type t, const unsigned char *p, double *out) {
  if (t == GV_F32) {
    uint32_t bits = (uint32_t)load_le(p, 4);
    float f;
    memcpy(&f, &bits, 4);
    *out = (double)f;
    return true;
  }
  if (t != GV_F64) return false;
  uint64_t bits = load_le(p, 8);
  memcpy(out, &bits, 8);
  return true;
}

bool lct_gguf_has(const lct_gguf *g, const char *key) { return find_kv(g, key) != NULL; }

bool lct_gguf_str(const lct_gguf *g, const char *key, lct_str *out) {
  const gguf_kv *kv = find_kv(g, key);
  if (kv == NULL || kv->type != GV_STRING) return false;
  *out = (lct_str){(const char *)kv->data, (size_t)kv->n};
  return true;
}

bool lct_gguf_i64(const lct_gguf *g, const char *key, int64_t *out) {
  const gguf_kv *kv = find_kv(g, key);
  return kv != NULL && as_i64(kv->type, kv->data, out);
}

bool lct_gguf_f64(const lct_gguf *g, const char *key, double *out) {
  const gguf_kv *kv = find_kv(g, key);
  return kv != NULL && as_f64(kv->type, kv->data, out);
}

bool lct_gguf_bool(const lct_gguf *g, const char *key, bool *out) {
  const gguf_kv *kv = find_kv(g, key);
  if (kv == NULL || kv->type != GV_BOOL) return false;
  *out = kv->data[0] != 0;
  return true;
}

int64_t lct_gguf_array_len(const lct_gguf *g, const char *key) {
  const gguf_kv *kv = find_kv(g, key);
  return kv != NULL && kv->type == GV_ARRAY ? (int64_t)kv->n : -1;
}

/* Element i of an array of scalars, or NULL. */
static const unsigned char *element(const gguf_kv *kv, int64_t i) {
  if (kv == NULL || kv->type != GV_ARRAY || i < 0 || (uint64_t)i >= kv->n || value_types[kv->elem].bytes == 0) return NULL;
  return kv->data + (uint64_t)i * value_types[kv->elem].bytes;
}

bool lct_gguf_array_str(const lct_gguf *g, const char *key, int64_t i, lct_str *out) {
  const gguf_kv *kv = find_kv(g, key);
  if (kv == NULL || kv->str_offsets == NULL || i < 0 || (uint64_t)i >= kv->n) return false;
  const unsigned char *p = kv->data + kv->str_offsets[i];
  *out = (lct_str){(const char *)p + 8, (size_t)load_le(p, 8)};
  return true;
}

bool lct_gguf_array_i64(const lct_gguf *g, const char *key, int64_t i, int64_t *out) {
  const gguf_kv *kv = find_kv(g, key);
  const unsigned char *p = element(kv, i);
  return p != NULL && as_i64(kv->elem, p, out);
}

bool lct_gguf_array_f64(const lct_gguf *g, const char *key, int64_t i, double *out) {
  const gguf_kv *kv = find_kv(g, key);
  const unsigned char *p = element(kv, i);
  return p != NULL && as_f64(kv->elem, p, out);
}

const char *lct_gguf_type_of(const lct_gguf *g, const char *key) {
  const gguf_kv *kv = find_kv(g, key);
  if (kv == NULL) return "absent";
  return kv->type == GV_ARRAY ? value_types[kv->elem].array_name : value_types[kv->type].name;
}
