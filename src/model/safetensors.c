/* One safetensors file: u64 header length, JSON header, data. Everything is checked before a pointer into the data is made. */
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "model/tensors.h"

#define MAX_HEADER 100000000u /* the format's own limit */
#define MAX_DEPTH 4           /* header, tensor, list; one to spare */
#define MAX_DIMS 8
#define SHOW 80

static const struct {
  const char *name;
  size_t bytes;
  lct_dtype dtype;
} st_dtypes[] = {
    {"F32", 4, LCT_DTYPE_F32},       {"F16", 2, LCT_DTYPE_F16},    {"BF16", 2, LCT_DTYPE_BF16},     {"F64", 8, LCT_DTYPE_COUNT},
    {"I64", 8, LCT_DTYPE_COUNT},     {"U64", 8, LCT_DTYPE_COUNT},  {"C64", 8, LCT_DTYPE_COUNT},     {"I32", 4, LCT_DTYPE_COUNT},
    {"U32", 4, LCT_DTYPE_COUNT},     {"I16", 2, LCT_DTYPE_COUNT},  {"U16", 2, LCT_DTYPE_COUNT},     {"I8", 1, LCT_DTYPE_COUNT},
    {"U8", 1, LCT_DTYPE_COUNT},      {"BOOL", 1, LCT_DTYPE_COUNT}, {"F8_E4M3", 1, LCT_DTYPE_COUNT}, {"F8_E5M2", 1, LCT_DTYPE_COUNT},
    {"F8_E8M0", 1, LCT_DTYPE_COUNT},
};

/* Where we are, for messages, and the data section. */
typedef struct {
  const char *file;
  const unsigned char *data; /* (n_bytes) */
  size_t n_bytes;
  lct_arena *arena;
  lct_error *err;
} reader;

static lct_status bad_entry(const reader *r, const char *tensor, const char *key, const char *expected, const json_t *found) {
  char show[SHOW];
  return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"%.128s\": %s: expected %s, found %s", r->file, tensor, key, expected,
                  lct_json_show(found, show, sizeof show));
}

static lct_status read_dtype(const reader *r, const json_t *entry, lct_st_tensor *t, size_t *size) {
  const json_t *v = json_object_get(entry, "dtype");
  if (!json_is_string(v)) return bad_entry(r, t->name, "dtype", "a string", v);
  for (size_t i = 0; i < sizeof st_dtypes / sizeof st_dtypes[0]; i++) {
    if (strcmp(json_string_value(v), st_dtypes[i].name) != 0) continue;
    t->dtype = st_dtypes[i].dtype;
    t->dtype_name = st_dtypes[i].name;
    *size = st_dtypes[i].bytes;
    return LCT_OK;
  }
  return bad_entry(r, t->name, "dtype", "a safetensors type such as \"BF16\", \"F16\" or \"F32\"", v);
}

/* The number of bytes the shape asks for. */
static lct_status read_shape(const reader *r, const json_t *entry, lct_st_tensor *t, size_t *bytes) {
  const json_t *v = json_object_get(entry, "shape");
  if (!json_is_array(v)) return bad_entry(r, t->name, "shape", "a list of sizes", v);
  if (json_array_size(v) > MAX_DIMS) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"%.128s\": shape: expected at most %d dimensions, found %zu", r->file, t->name,
                    MAX_DIMS, json_array_size(v));
  }
  t->n_dims = (int)json_array_size(v);
  for (int i = 0; i < t->n_dims; i++) {
    const json_t *dim = json_array_get(v, (size_t)i);
    if (!json_is_integer(dim) || json_integer_value(dim) < 0) return bad_entry(r, t->name, "shape", "a list of sizes", v);
    t->dims[i] = json_integer_value(dim);
    if (!lct_mul_ok(*bytes, (size_t)t->dims[i], bytes)) {
      return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"%.128s\": shape: more elements than can be addressed", r->file, t->name);
    }
  }
  return LCT_OK;
}

static lct_status read_offsets(const reader *r, const json_t *entry, lct_st_tensor *t, size_t bytes) {
  const json_t *v = json_object_get(entry, "data_offsets");
  const json_t *b = json_array_get(v, 0), *e = json_array_get(v, 1);
  if (json_array_size(v) != 2 || !json_is_integer(b) || !json_is_integer(e) || json_integer_value(b) < 0 ||
      json_integer_value(e) < json_integer_value(b)) {
    return bad_entry(r, t->name, "data_offsets", "[begin, end] with 0 <= begin <= end", v);
  }
  unsigned long long begin = (unsigned long long)json_integer_value(b), end = (unsigned long long)json_integer_value(e);
  if (end > r->n_bytes) {
    return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"%.128s\": data_offsets [%llu, %llu]: expected inside the file's %zu data bytes",
                    r->file, t->name, begin, end, r->n_bytes);
  }
  if (end - begin != bytes) {
    return lct_fail(r->err, LCT_E_FORMAT,
                    "%s: tensor \"%.128s\": data_offsets [%llu, %llu]: expected %zu bytes for its type and shape, found %llu", r->file,
                    t->name, begin, end, bytes, end - begin);
  }
  t->data = r->data + begin;
  t->n_bytes = bytes;
  return LCT_OK;
}

static lct_status read_tensor(const reader *r, const char *name, const json_t *entry, lct_st_tensor *t) {
  t->name = lct_arena_strndup(r->arena, name, strlen(name));
  if (t->name == NULL) return lct_fail(r->err, LCT_E_NOMEM, "out of memory for the header of %s", r->file);
  if (!json_is_object(entry)) return bad_entry(r, name, "entry", "an object", entry);
  size_t bytes = 0;
  LCT_TRY(read_dtype(r, entry, t, &bytes));
  LCT_TRY(read_shape(r, entry, t, &bytes));
  return read_offsets(r, entry, t, bytes);
}

static lct_status read_metadata(const reader *r, const json_t *meta, lct_st_file *f) {
  const char *key = NULL;
  json_t *v = NULL;
  if (!json_is_object(meta)) return bad_entry(r, "__metadata__", "entry", "an object of strings", meta);
  f->metadata = lct_arena_alloc(r->arena, (json_object_size(meta) + 1) * sizeof *f->metadata);
  if (f->metadata == NULL) return lct_fail(r->err, LCT_E_NOMEM, "out of memory for the header of %s", r->file);
  json_object_foreach(lct_unconst(meta), key, v) {
    if (!json_is_string(v)) return bad_entry(r, "__metadata__", key, "a string", v);
    lct_st_pair *pair = &f->metadata[f->n_metadata++];
    pair->key = lct_arena_strndup(r->arena, key, strlen(key));
    pair->value = lct_arena_strndup(r->arena, json_string_value(v), json_string_length(v));
    if (pair->key == NULL || pair->value == NULL) {
      return lct_fail(r->err, LCT_E_NOMEM, "out of memory for the header of %s", r->file);
    }
  }
  return LCT_OK;
}

const char *lct_st_metadata(const lct_st_file *f, const char *key) {
  for (size_t i = 0; i < f->n_metadata; i++) {
    if (strcmp(f->metadata[i].key, key) == 0) return f->metadata[i].value;
  }
  return NULL;
}

size_t lct_st_dtype_bytes(const char *name) {
  for (size_t i = 0; i < sizeof st_dtypes / sizeof st_dtypes[0]; i++) {
    if (strcmp(name, st_dtypes[i].name) == 0) return st_dtypes[i].bytes;
  }
  return 0;
}

static int by_place(const void *a, const void *b) {
  const lct_st_tensor *x = a, *y = b;
  if (x->data != y->data) return x->data < y->data ? -1 : 1;
  if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
  return strcmp(x->name, y->name); /* so that a message names the same one everywhere */
}

/* The format allows neither overlap nor holes. */
static lct_status check_layout(const reader *r, const lct_st_file *f) {
  size_t at = 0;
  for (size_t i = 0; i < f->n_tensors; i++) {
    const lct_st_tensor *t = &f->tensors[i];
    size_t begin = (size_t)(t->data - r->data);
    if (begin < at) {
      return lct_fail(r->err, LCT_E_FORMAT, "%s: tensor \"%.128s\" begins at data byte %zu inside tensor \"%.128s\", which ends at %zu",
                      r->file, t->name, begin, t[-1].name, at);
    }
    if (begin > at) {
      return lct_fail(r->err, LCT_E_FORMAT, "%s: data bytes %zu to %zu before tensor \"%.128s\" belong to no tensor", r->file, at, begin,
                      t->name);
    }
    at = begin + t->n_bytes;
  }
  if (at == r->n_bytes) return LCT_OK;
  return lct_fail(r->err, LCT_E_FORMAT, "%s: tensors end at data byte %zu: expected the end of the data at %zu", r->file, at, r->n_bytes);
}

static lct_status read_header(const reader *r, json_t *root, lct_st_file *out) {
  if (!json_is_object(root)) return lct_fail(r->err, LCT_E_FORMAT, "%s: header: expected a JSON object", r->file);
  out->tensors = lct_arena_alloc(r->arena, (json_object_size(root) + 1) * sizeof *out->tensors);
  if (out->tensors == NULL) return lct_fail(r->err, LCT_E_NOMEM, "out of memory for the header of %s", r->file);
  const char *name = NULL;
  json_t *entry = NULL;
  json_object_foreach(root, name, entry) {
    if (strcmp(name, "__metadata__") == 0) {
      LCT_TRY(read_metadata(r, entry, out));
    } else {
      LCT_TRY(read_tensor(r, name, entry, &out->tensors[out->n_tensors]));
      out->n_tensors++;
    }
  }
  qsort(out->tensors, out->n_tensors, sizeof *out->tensors, by_place);
  return check_layout(r, out);
}

/* The header's length, checked against the file; the bytes of the whole file are data[0..n). */
static lct_status header_length(const unsigned char *data, size_t n, const char *file, size_t *out, lct_error *err) {
  static const char lfs[] = "version https://git-lfs";
  if (n >= sizeof lfs - 1 && memcmp(data, lfs, sizeof lfs - 1) == 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s is a Git LFS pointer: expected the weights themselves (git lfs pull fetches them)", file);
  }
  if (n < 8) return lct_fail(err, LCT_E_FORMAT, "%s: truncated: expected a header length of 8 bytes, found %zu bytes", file, n);
  uint64_t len = 0;
  for (int i = 7; i >= 0; i--) len = len << 8 | data[i];
  if (len > MAX_HEADER) {
    return lct_fail(err, LCT_E_FORMAT, "%s: header length at byte 0: expected at most %u, found %llu", file, MAX_HEADER,
                    (unsigned long long)len);
  }
  if (len > n - 8) {
    return lct_fail(err, LCT_E_FORMAT, "%s: truncated: expected a header of %llu bytes at byte 8, found %zu bytes", file,
                    (unsigned long long)len, n - 8);
  }
  *out = (size_t)len;
  return LCT_OK;
}

lct_status lct_safetensors_parse(const unsigned char *data, size_t n, const char *file, lct_arena *arena, lct_st_file *out,
                                 lct_error *err) {
  *out = (lct_st_file){0};
  size_t len = 0;
  LCT_TRY(header_length(data, n, file, &len, err));
  lct_buf title = {0};
  json_t *root = NULL;
  lct_status s = lct_buf_printf(&title, err, "%s: header", file);
  if (s == LCT_OK) s = lct_json_parse((const char *)data + 8, len, MAX_DEPTH, 0, title.data, &root, err);
  lct_buf_free(&title);
  if (s != LCT_OK) return s;
  reader r = {file, data + 8 + len, n - 8 - len, arena, err};
  s = read_header(&r, root, out);
  json_decref(root);
  return s;
}
