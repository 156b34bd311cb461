/* GGUF v2/v3: metadata and tensor table, checked; never reads outside the buffer. */
#ifndef LCT_MODEL_GGUF_H
#define LCT_MODEL_GGUF_H

#include "model/model.h"

typedef struct {
  const char *data; /* not NUL-terminated */
  size_t len;
} lct_str;

/* Parses data[0..n); `file` names it in messages; data must outlive the result. */
lct_status lct_gguf_parse(const unsigned char *data, size_t n, const char *file, lct_gguf **out, lct_error *err) LCT_CHECKED;
void lct_gguf_free(lct_gguf *g);
const char *lct_gguf_file(const lct_gguf *g);

/* Metadata getters: false when the key is absent or of another type. Integers of any width convert. */
bool lct_gguf_str(const lct_gguf *g, const char *key, lct_str *out);
bool lct_gguf_i64(const lct_gguf *g, const char *key, int64_t *out);
bool lct_gguf_f64(const lct_gguf *g, const char *key, double *out);
bool lct_gguf_bool(const lct_gguf *g, const char *key, bool *out);
/* Arrays: number of elements, or -1; then elements. */
int64_t lct_gguf_array_len(const lct_gguf *g, const char *key);
bool lct_gguf_array_str(const lct_gguf *g, const char *key, int64_t i, lct_str *out);   /* O(1) */
bool lct_gguf_array_i64(const lct_gguf *g, const char *key, int64_t i, int64_t *out);
bool lct_gguf_array_f64(const lct_gguf *g, const char *key, int64_t i, double *out);

#endif
