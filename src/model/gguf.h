/* GGUF v2/v3: metadata and tensor table, checked; never reads outside the buffer. */
#ifndef LCT_MODEL_GGUF_H
#define LCT_MODEL_GGUF_H

#include "model/model.h"

typedef struct {
  const char *data; /* not NUL-terminated */
  size_t len;
} lct_str;

/* Parses data[0..n); `file` names it in messages; data must outlive the result. Every length, count, type, name and
 * offset is checked here: LCT_E_FORMAT, or LCT_E_UNSUPPORTED for a version, byte order or tensor type unknown here, or
 * LCT_E_LIMIT for arrays nested deeper than LCT_GGUF_MAX_DEPTH. Memory used is bounded by a small multiple of the
 * bytes of metadata and tensor table actually present. */
lct_status lct_gguf_parse(const unsigned char *data, size_t n, const char *file, lct_gguf **out, lct_error *err) LCT_CHECKED;
void lct_gguf_free(lct_gguf *g);
const char *lct_gguf_file(const lct_gguf *g);

#define LCT_GGUF_MAX_DEPTH 4

/* Metadata getters: false when the key is absent or of another type. Integers of any width convert (a u64 beyond
 * INT64_MAX does not), f32 converts to f64. */
bool lct_gguf_has(const lct_gguf *g, const char *key);
bool lct_gguf_str(const lct_gguf *g, const char *key, lct_str *out);
bool lct_gguf_i64(const lct_gguf *g, const char *key, int64_t *out);
bool lct_gguf_f64(const lct_gguf *g, const char *key, double *out);
bool lct_gguf_bool(const lct_gguf *g, const char *key, bool *out);
/* Arrays: number of elements, or -1; then elements. */
int64_t lct_gguf_array_len(const lct_gguf *g, const char *key);
bool lct_gguf_array_str(const lct_gguf *g, const char *key, int64_t i, lct_str *out); /* O(1) */
bool lct_gguf_array_i64(const lct_gguf *g, const char *key, int64_t i, int64_t *out);
bool lct_gguf_array_f64(const lct_gguf *g, const char *key, int64_t i, double *out);
/* "string", "array of i32", ... or "absent": for messages. */
const char *lct_gguf_type_of(const lct_gguf *g, const char *key);

/* One tensor of the file, in GGML's order of dimensions: dims[0] is the number of columns. dims[0] is a multiple of
 * the type's block, and data[0..n_bytes) lies inside the file and overlaps no other tensor. */
typedef struct {
  const char *name; /* NUL-terminated; lives as long as the lct_gguf */
  lct_dtype dtype;
  int n_dims;
  int64_t dims[4]; /* 1 beyond n_dims */
  uint64_t offset; /* within the data section */
  const unsigned char *data;
  size_t n_bytes;
} lct_gguf_tensor;

size_t lct_gguf_n_tensors(const lct_gguf *g);
const lct_gguf_tensor *lct_gguf_tensor_at(const lct_gguf *g, size_t i);           /* in the file's order */
const lct_gguf_tensor *lct_gguf_tensor_find(const lct_gguf *g, const char *name); /* NULL when absent */

#endif
