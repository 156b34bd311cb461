/* What a sharded Zarr v3 array is: sizes, checks, and its zarr.json as text. */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "model/jsonio.h"
#include "store/zarr.h"

enum { MAX_ATTRIBUTES_DEPTH = 32 };

static const struct {
  const char *name;
  size_t bytes;
  bool is_float;
} DTYPES[] = {
#define ROW(id, text, size) {text, size, text[0] == 'f'},
    LCT_ZARR_DTYPES(ROW)
#undef ROW
};

size_t lct_zarr_dtype_bytes(lct_zarr_dtype t) { return DTYPES[t].bytes; }
const char *lct_zarr_dtype_name(lct_zarr_dtype t) { return DTYPES[t].name; }

int64_t lct_zarr_row_values(const lct_zarr_meta *m) {
  int64_t n = 1;
  for (int i = 1; i < m->n_dims; i++) n *= m->shape[i];
  return n;
}

size_t lct_zarr_chunk_bytes(const lct_zarr_meta *m) {
  size_t n = lct_zarr_dtype_bytes(m->dtype);
  for (int i = 0; i < m->n_dims; i++) n *= (size_t)m->chunk[i];
  return n;
}

int64_t lct_zarr_shard_chunks(const lct_zarr_meta *m) {
  int64_t n = 1;
  for (int i = 0; i < m->n_dims; i++) n *= m->shard[i] / m->chunk[i];
  return n;
}

int64_t lct_zarr_n_shards(const lct_zarr_meta *m) { return m->shape[0] / m->shard[0] + (m->shape[0] % m->shard[0] != 0); }

static lct_status check_dim_name(const lct_zarr_meta *m, int axis, const char *name, lct_error *err) {
  const char *s = m->dim_names[axis];
  size_t n = strnlen(s, sizeof m->dim_names[axis]);
  bool ok = n < sizeof m->dim_names[axis];
  for (size_t i = 0; i < n; i++) ok = ok && s[i] >= ' ' && s[i] <= '~' && s[i] != '"' && s[i] != '\\';
  if (ok) return LCT_OK;
  return lct_fail(err, LCT_E_FORMAT, "%s: the name of axis %d is not plain ASCII of less than %zu characters", name, axis,
                  sizeof m->dim_names[axis]);
}

static lct_status check_axis(const lct_zarr_meta *m, int i, const char *name, lct_error *err) {
  int64_t shape = m->shape[i], shard = m->shard[i], chunk = m->chunk[i];
  if (shape < (i == 0 ? 0 : 1) || shard < 1 || chunk < 1 || shard > LCT_ZARR_MAX_SHARD_BYTES) {
    return lct_fail(err, LCT_E_FORMAT, "%s: axis %d: shape %" PRId64 ", shards of %" PRId64 ", chunks of %" PRId64, name, i, shape, shard,
                    chunk);
  }
  if (shard % chunk != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: axis %d: shards of %" PRId64 " are not whole chunks of %" PRId64, name, i, shard, chunk);
  }
  if (i > 0 && (shard < shape || shard - shape >= chunk)) {
    return lct_fail(err, LCT_E_FORMAT,
                    "%s: axis %d: shards of %" PRId64 " for %" PRId64 " in chunks of %" PRId64 ": only the first axis is cut into shards",
                    name, i, shard, shape, chunk);
  }
  return check_dim_name(m, i, name, err);
}

lct_status lct_zarr_check(const lct_zarr_meta *m, const char *name, lct_error *err) {
  if (m->n_dims < 1 || m->n_dims > LCT_ZARR_MAX_DIMS) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %d axes, expected 1 to %d", name, m->n_dims, (int)LCT_ZARR_MAX_DIMS);
  }
  if ((unsigned)m->dtype >= LCT_ZARR_N_DTYPES) return lct_fail(err, LCT_E_FORMAT, "%s: no data type", name);
  if ((m->codec != LCT_ZARR_BLOSC && m->codec != LCT_ZARR_ZSTD) || (m->codec == LCT_ZARR_BLOSC && lct_zarr_dtype_bytes(m->dtype) != 2)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: the codec does not take %s", name, lct_zarr_dtype_name(m->dtype));
  }
  int64_t shard = (int64_t)lct_zarr_dtype_bytes(m->dtype), chunk = shard, n_chunks = 1, whole;
  bool ok = true;
  for (int i = 0; i < m->n_dims; i++) {
    LCT_TRY(check_axis(m, i, name, err));
    ok = ok && !__builtin_mul_overflow(shard, m->shard[i], &shard) && !__builtin_mul_overflow(chunk, m->chunk[i], &chunk) &&
         !__builtin_mul_overflow(n_chunks, m->shard[i] / m->chunk[i], &n_chunks);
  }
  if (!ok || shard > LCT_ZARR_MAX_SHARD_BYTES || chunk > LCT_ZARR_MAX_CHUNK_BYTES || n_chunks > LCT_ZARR_MAX_SHARD_CHUNKS) {
    return lct_fail(err, LCT_E_FORMAT, "%s: a shard has at most 2^48 bytes and 2^31 chunks, a chunk at most 2^29 bytes", name);
  }
  if (__builtin_mul_overflow(lct_zarr_n_shards(m), shard, &whole)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %" PRId64 " rows are more bytes than can be counted", name, m->shape[0]);
  }
  return LCT_OK;
}

static lct_status put_sizes(const int64_t *v, int n, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, "[", err));
  for (int i = 0; i < n; i++) LCT_TRY(lct_buf_printf(out, err, "%s%" PRId64, i > 0 ? ", " : "", v[i]));
  return lct_buf_puts(out, "]", err);
}

/* The attributes as they are, once they are known to be an object. */
static lct_status put_attributes(const char *attributes, lct_buf *out, lct_error *err) {
  if (attributes == NULL) return lct_buf_puts(out, "{}", err);
  json_t *v = NULL;
  LCT_TRY(lct_json_parse(attributes, strlen(attributes), MAX_ATTRIBUTES_DEPTH, 0, "attributes", &v, err));
  bool object = json_is_object(v);
  json_decref(v);
  if (!object) return lct_fail(err, LCT_E_USAGE, "attributes: not a JSON object");
  return lct_buf_puts(out, attributes, err);
}

static lct_status put_dim_names(const lct_zarr_meta *m, lct_buf *out, lct_error *err) {
  bool any = false;
  for (int i = 0; i < m->n_dims; i++) any = any || m->dim_names[i][0] != '\0';
  if (!any) return LCT_OK;
  LCT_TRY(lct_buf_puts(out, "  \"dimension_names\": [", err));
  for (int i = 0; i < m->n_dims; i++) {
    const char *name = m->dim_names[i], *quote = name[0] != '\0' ? "\"" : "";
    LCT_TRY(lct_buf_printf(out, err, "%s%s%s%s", i > 0 ? ", " : "", quote, name[0] != '\0' ? name : "null", quote));
  }
  return lct_buf_puts(out, "],\n", err);
}

/* Values of one byte have no order of bytes. */
static lct_status put_codecs(const lct_zarr_meta *m, lct_buf *out, lct_error *err) {
  static const char INDEX[] = "{\"name\": \"bytes\", \"configuration\": {\"endian\": \"little\"}}";
  const char *bytes = lct_zarr_dtype_bytes(m->dtype) == 1 ? "{\"name\": \"bytes\"}" : INDEX;
  LCT_TRY(lct_buf_puts(out, "  \"codecs\": [{\"name\": \"sharding_indexed\", \"configuration\": {\n    \"chunk_shape\": ", err));
  LCT_TRY(put_sizes(m->chunk, m->n_dims, out, err));
  LCT_TRY(lct_buf_printf(out, err, ",\n    \"codecs\": [\n      %s,\n      ", bytes));
  if (m->codec == LCT_ZARR_BLOSC) {
    LCT_TRY(lct_buf_puts(out,
                         "{\"name\": \"blosc\", \"configuration\": {\"typesize\": 2, \"cname\": \"zstd\", \"clevel\": 1, "
                         "\"shuffle\": \"shuffle\", \"blocksize\": 0}}",
                         err));
  } else {
    LCT_TRY(lct_buf_puts(out, "{\"name\": \"zstd\", \"configuration\": {\"level\": 1, \"checksum\": false}}", err));
  }
  return lct_buf_printf(
      out, err,
      ",\n      {\"name\": \"crc32c\"}\n    ],\n    \"index_codecs\": [\n      %s,\n      {\"name\": \"crc32c\"}\n    ],\n"
      "    \"index_location\": \"end\"\n  }}],\n",
      INDEX);
}

lct_status lct_zarr_meta_print(const lct_zarr_meta *m, const char *attributes, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, "{\n  \"zarr_format\": 3,\n  \"node_type\": \"array\",\n  \"shape\": ", err));
  LCT_TRY(put_sizes(m->shape, m->n_dims, out, err));
  LCT_TRY(lct_buf_printf(out, err, ",\n  \"data_type\": \"%s\",\n", lct_zarr_dtype_name(m->dtype)));
  LCT_TRY(lct_buf_puts(out, "  \"chunk_grid\": {\"name\": \"regular\", \"configuration\": {\"chunk_shape\": ", err));
  LCT_TRY(put_sizes(m->shard, m->n_dims, out, err));
  LCT_TRY(lct_buf_puts(out, "}},\n  \"chunk_key_encoding\": {\"name\": \"default\", \"configuration\": {\"separator\": \"/\"}},\n", err));
  LCT_TRY(lct_buf_printf(out, err, "  \"fill_value\": %s,\n", DTYPES[m->dtype].is_float ? "\"NaN\"" : "0"));
  LCT_TRY(put_codecs(m, out, err));
  LCT_TRY(put_dim_names(m, out, err));
  LCT_TRY(lct_buf_puts(out, "  \"attributes\": ", err));
  LCT_TRY(put_attributes(attributes, out, err));
  return lct_buf_puts(out, ",\n  \"storage_transformers\": []\n}\n", err);
}

lct_status lct_zarr_group_print(const char *attributes, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, "{\n  \"zarr_format\": 3,\n  \"node_type\": \"group\",\n  \"attributes\": ", err));
  LCT_TRY(put_attributes(attributes, out, err));
  return lct_buf_puts(out, "\n}\n", err);
}

lct_status lct_zarr_shard_path(const lct_zarr_meta *m, const char *dir, const char *name, int64_t shard, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_path_join(out, dir, name, err));
  LCT_TRY(lct_buf_printf(out, err, "/c/%" PRId64, shard));
  for (int i = 1; i < m->n_dims; i++) LCT_TRY(lct_buf_puts(out, "/0", err));
  return LCT_OK;
}
