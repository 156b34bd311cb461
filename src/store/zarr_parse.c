/* zarr.json of an array, read back: one codec chain, everything else named and refused. */
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "store/zarr.h"

enum { MAX_DEPTH = 32, SHOW = 80 };

/* Where we are, for messages. */
typedef struct {
  const char *name;
  lct_error *err;
} reader;

static lct_status refuse(const reader *r, lct_status code, const char *key, const char *expected, const json_t *found) {
  char show[SHOW];
  return lct_fail(r->err, code, "%s: zarr.json: %s: expected %s, found %s", r->name, key, expected,
                  lct_json_show(found, show, sizeof show));
}

static bool is_text(const json_t *v, const char *text) { return json_is_string(v) && strcmp(json_string_value(v), text) == 0; }

/* {"name": …, "configuration": {…}}: the configuration, NULL where there is none. */
static lct_status named(const reader *r, const json_t *v, const char *key, const char *name, const json_t **configuration) {
  *configuration = NULL;
  if (!json_is_object(v)) return refuse(r, LCT_E_FORMAT, key, "an object", v);
  const json_t *have = json_object_get(v, "name");
  if (!json_is_string(have)) return refuse(r, LCT_E_FORMAT, key, "an object with a name", v);
  if (!is_text(have, name)) return refuse(r, LCT_E_UNSUPPORTED, key, name, have);
  *configuration = json_object_get(v, "configuration");
  return LCT_OK;
}

/* A list of n_dims whole numbers. */
static lct_status sizes(const reader *r, const json_t *v, const char *key, int n_dims, int64_t *out) {
  bool ok = json_is_array(v) && json_array_size(v) == (size_t)n_dims;
  for (size_t i = 0; ok && i < (size_t)n_dims; i++) {
    const json_t *size = json_array_get(v, i);
    ok = json_is_integer(size) && json_integer_value(size) >= 0;
    if (ok) out[i] = json_integer_value(size);
  }
  return ok ? LCT_OK : refuse(r, LCT_E_FORMAT, key, "a list of sizes, one an axis", v);
}

static lct_status read_shape(const reader *r, const json_t *root, lct_zarr_meta *m) {
  const json_t *v = json_object_get(root, "shape");
  size_t n = json_array_size(v);
  if (!json_is_array(v)) return refuse(r, LCT_E_FORMAT, "shape", "a list of sizes, one an axis", v);
  if (n < 1 || n > LCT_ZARR_MAX_DIMS) return refuse(r, LCT_E_UNSUPPORTED, "shape", "1 to 8 axes", v);
  m->n_dims = (int)n;
  return sizes(r, v, "shape", m->n_dims, m->shape);
}

static lct_status read_dtype(const reader *r, const json_t *root, lct_zarr_meta *m) {
  const json_t *v = json_object_get(root, "data_type");
  for (int t = 0; t < LCT_ZARR_N_DTYPES; t++) {
    if (!is_text(v, lct_zarr_dtype_name((lct_zarr_dtype)t))) continue;
    m->dtype = (lct_zarr_dtype)t;
    return LCT_OK;
  }
  return refuse(r, LCT_E_UNSUPPORTED, "data_type", "int8, float16, uint16, float32, int32, float64 or int64", v);
}

static bool is_float(lct_zarr_dtype t) { return t == LCT_ZARR_F16 || t == LCT_ZARR_F32 || t == LCT_ZARR_F64; }

static lct_status read_fill(const reader *r, const json_t *root, const lct_zarr_meta *m) {
  const json_t *v = json_object_get(root, "fill_value");
  if (is_float(m->dtype)) return is_text(v, "NaN") ? LCT_OK : refuse(r, LCT_E_UNSUPPORTED, "fill_value", "\"NaN\"", v);
  return json_is_integer(v) && json_integer_value(v) == 0 ? LCT_OK : refuse(r, LCT_E_UNSUPPORTED, "fill_value", "0", v);
}

static lct_status read_grid(const reader *r, const json_t *root, lct_zarr_meta *m) {
  const json_t *c;
  LCT_TRY(named(r, json_object_get(root, "chunk_grid"), "chunk_grid", "regular", &c));
  LCT_TRY(sizes(r, json_object_get(c, "chunk_shape"), "chunk_grid.chunk_shape", m->n_dims, m->shard));
  LCT_TRY(named(r, json_object_get(root, "chunk_key_encoding"), "chunk_key_encoding", "default", &c));
  const json_t *separator = json_object_get(c, "separator");
  if (separator != NULL && !is_text(separator, "/")) {
    return refuse(r, LCT_E_UNSUPPORTED, "chunk_key_encoding.separator", "\"/\"", separator);
  }
  return LCT_OK;
}

/* bytes(little) and crc32c stand around the compressor and make up the index's codecs. */
static lct_status read_bytes(const reader *r, const json_t *v, const char *key, bool need_endian) {
  const json_t *c;
  LCT_TRY(named(r, v, key, "bytes", &c));
  const json_t *endian = json_object_get(c, "endian");
  if (endian == NULL && !need_endian) return LCT_OK;
  return is_text(endian, "little") ? LCT_OK : refuse(r, LCT_E_UNSUPPORTED, key, "endian little", endian);
}

static lct_status read_compressor(const reader *r, const json_t *v, lct_zarr_meta *m) {
  const json_t *c, *name = json_object_get(v, "name");
  if (!is_text(name, "blosc")) {
    m->codec = LCT_ZARR_ZSTD;
    return named(r, v, "codecs[0].codecs[1]", "zstd", &c);
  }
  m->codec = LCT_ZARR_BLOSC;
  LCT_TRY(named(r, v, "codecs[0].codecs[1]", "blosc", &c));
  const json_t *typesize = json_object_get(c, "typesize");
  if (is_text(json_object_get(c, "cname"), "zstd") && is_text(json_object_get(c, "shuffle"), "shuffle") && json_is_integer(typesize) &&
      json_integer_value(typesize) == 2) {
    return LCT_OK;
  }
  return refuse(r, LCT_E_UNSUPPORTED, "codecs[0].codecs[1]", "cname zstd, shuffle shuffle, typesize 2", c);
}

static lct_status read_codecs(const reader *r, const json_t *root, lct_zarr_meta *m) {
  const json_t *v = json_object_get(root, "codecs"), *c, *ignored;
  if (!json_is_array(v) || json_array_size(v) != 1) return refuse(r, LCT_E_UNSUPPORTED, "codecs", "sharding_indexed alone", v);
  LCT_TRY(named(r, json_array_get(v, 0), "codecs[0]", "sharding_indexed", &c));
  LCT_TRY(sizes(r, json_object_get(c, "chunk_shape"), "codecs[0].chunk_shape", m->n_dims, m->chunk));
  const json_t *inner = json_object_get(c, "codecs"), *index = json_object_get(c, "index_codecs");
  const json_t *where = json_object_get(c, "index_location");
  if (json_array_size(inner) != 3) return refuse(r, LCT_E_UNSUPPORTED, "codecs[0].codecs", "bytes, blosc or zstd, crc32c", inner);
  LCT_TRY(read_bytes(r, json_array_get(inner, 0), "codecs[0].codecs[0]", lct_zarr_dtype_bytes(m->dtype) > 1));
  LCT_TRY(read_compressor(r, json_array_get(inner, 1), m));
  LCT_TRY(named(r, json_array_get(inner, 2), "codecs[0].codecs[2]", "crc32c", &ignored));
  if (json_array_size(index) != 2) return refuse(r, LCT_E_UNSUPPORTED, "codecs[0].index_codecs", "bytes, crc32c", index);
  LCT_TRY(read_bytes(r, json_array_get(index, 0), "codecs[0].index_codecs[0]", true));
  LCT_TRY(named(r, json_array_get(index, 1), "codecs[0].index_codecs[1]", "crc32c", &ignored));
  if (where != NULL && !is_text(where, "end")) return refuse(r, LCT_E_UNSUPPORTED, "codecs[0].index_location", "\"end\"", where);
  return LCT_OK;
}

static lct_status read_dim_names(const reader *r, const json_t *root, lct_zarr_meta *m) {
  const json_t *v = json_object_get(root, "dimension_names");
  if (v == NULL || json_is_null(v)) return LCT_OK;
  if (!json_is_array(v) || json_array_size(v) != (size_t)m->n_dims) {
    return refuse(r, LCT_E_FORMAT, "dimension_names", "a list of names, one an axis", v);
  }
  for (int i = 0; i < m->n_dims; i++) {
    const json_t *name = json_array_get(v, (size_t)i);
    if (json_is_null(name)) continue;
    if (!json_is_string(name)) return refuse(r, LCT_E_FORMAT, "dimension_names", "a list of names, one an axis", v);
    if (json_string_length(name) >= sizeof m->dim_names[i]) {
      return refuse(r, LCT_E_UNSUPPORTED, "dimension_names", "names of at most 31 bytes", name);
    }
    memcpy(m->dim_names[i], json_string_value(name), json_string_length(name) + 1);
  }
  return LCT_OK;
}

/* Version and kind; and nothing that the format says must be understood and is not. */
static lct_status check_frame(const reader *r, const json_t *root) {
  static const char *const known[] = {"zarr_format",         "node_type",  "shape",  "data_type",       "chunk_grid",
                                      "chunk_key_encoding",  "fill_value", "codecs", "dimension_names", "attributes",
                                      "storage_transformers"};
  if (!json_is_object(root)) return refuse(r, LCT_E_FORMAT, "the whole", "an object", root);
  const json_t *v = json_object_get(root, "zarr_format");
  if (!json_is_integer(v) || json_integer_value(v) != 3) return refuse(r, LCT_E_UNSUPPORTED, "zarr_format", "3", v);
  v = json_object_get(root, "node_type");
  if (!is_text(v, "array")) return refuse(r, LCT_E_FORMAT, "node_type", "\"array\"", v);
  v = json_object_get(root, "storage_transformers");
  if (v != NULL && (!json_is_array(v) || json_array_size(v) != 0)) return refuse(r, LCT_E_UNSUPPORTED, "storage_transformers", "[]", v);
  const char *key = NULL;
  json_t *value = NULL;
  json_object_foreach(lct_unconst(root), key, value) {
    bool is_known = json_is_false(json_object_get(value, "must_understand"));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known = is_known || strcmp(key, known[i]) == 0;
    if (!is_known) return lct_fail(r->err, LCT_E_UNSUPPORTED, "%s: zarr.json: unknown key \"%.64s\"", r->name, key);
  }
  return LCT_OK;
}

static lct_status read_attributes(const reader *r, const json_t *root, lct_buf *out) {
  const json_t *v = json_object_get(root, "attributes");
  if (v != NULL && !json_is_object(v)) return refuse(r, LCT_E_FORMAT, "attributes", "an object", v);
  if (out == NULL) return LCT_OK;
  out->len = 0;
  if (v == NULL) return lct_buf_puts(out, "{}", r->err);
  char *text = json_dumps(v, JSON_COMPACT);
  if (text == NULL) return lct_fail(r->err, LCT_E_NOMEM, "out of memory for the attributes of %s", r->name);
  lct_status s = lct_buf_puts(out, text, r->err);
  free(text);
  return s;
}

static lct_status read_array(const reader *r, const json_t *root, lct_zarr_meta *m, lct_buf *attributes) {
  LCT_TRY(check_frame(r, root));
  LCT_TRY(read_shape(r, root, m));
  LCT_TRY(read_dtype(r, root, m));
  LCT_TRY(read_fill(r, root, m));
  LCT_TRY(read_grid(r, root, m));
  LCT_TRY(read_codecs(r, root, m));
  LCT_TRY(read_dim_names(r, root, m));
  LCT_TRY(lct_zarr_check(m, r->name, r->err));
  return read_attributes(r, root, attributes);
}

lct_status lct_zarr_meta_parse(const char *text, size_t n, const char *name, lct_zarr_meta *out, lct_buf *attributes, lct_error *err) {
  lct_buf title = {0};
  json_t *root = NULL;
  *out = (lct_zarr_meta){0};
  lct_status s = lct_buf_printf(&title, err, "%s: zarr.json", name);
  if (s == LCT_OK) s = lct_json_parse(text, n, MAX_DEPTH, 0, title.data, &root, err);
  lct_buf_free(&title);
  if (s != LCT_OK) return s;
  s = read_array(&(reader){name, err}, root, out, attributes);
  json_decref(root);
  return s;
}
