#include "model/safetensors_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "model/jsonio.h"

#define MAX_DIMS 8
#define ALIGN_DATA 64

struct lct_st_writer {
  FILE *file;
  char *path, *temporary;
  size_t n_bytes, written; /* of the data */
};

/* text as a JSON string. */
static lct_status put_string(lct_buf *h, const char *text, const char *what, const char *path, lct_error *err) {
  json_t *v = json_string(text);
  if (v == NULL) return lct_fail(err, LCT_E_USAGE, "cannot write %s: %s is not UTF-8", path, what);
  char *quoted = json_dumps(v, JSON_ENCODE_ANY);
  json_decref(v);
  if (quoted == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the header of %s", path);
  lct_status s = lct_buf_puts(h, quoted, err);
  free(quoted);
  return s;
}

static lct_status put_metadata(lct_buf *h, const char *path, const lct_st_pair *metadata, size_t n, lct_error *err) {
  LCT_TRY(lct_buf_puts(h, "\"__metadata__\":{", err));
  for (size_t i = 0; i < n; i++) {
    if (i > 0) LCT_TRY(lct_buf_puts(h, ",", err));
    LCT_TRY(put_string(h, metadata[i].key, "a metadata key", path, err));
    LCT_TRY(lct_buf_puts(h, ":", err));
    LCT_TRY(put_string(h, metadata[i].value, metadata[i].key, path, err));
  }
  return lct_buf_puts(h, "}", err);
}

/* *end is where the data written so far ends, then where this tensor's ends. */
static lct_status put_tensor(lct_buf *h, const char *path, const lct_st_spec *t, size_t *end, lct_error *err) {
  size_t bytes = lct_st_dtype_bytes(t->dtype), begin = *end;
  if (bytes == 0) {
    return lct_fail(err, LCT_E_USAGE, "cannot write %s: tensor \"%.128s\": no type \"%.32s\"", path, t->name, t->dtype);
  }
  if (t->n_dims < 0 || t->n_dims > MAX_DIMS) {
    return lct_fail(err, LCT_E_USAGE, "cannot write %s: tensor \"%.128s\": expected 0 to %d dimensions, found %d", path, t->name, MAX_DIMS,
                    t->n_dims);
  }
  LCT_TRY(put_string(h, t->name, "a tensor's name", path, err));
  LCT_TRY(lct_buf_printf(h, err, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype));
  for (int i = 0; i < t->n_dims; i++) {
    if (t->dims[i] < 0 || !lct_mul_ok(bytes, (size_t)t->dims[i], &bytes)) {
      return lct_fail(err, LCT_E_USAGE, "cannot write %s: tensor \"%.128s\": no size of a dimension: %lld", path, t->name,
                      (long long)t->dims[i]);
    }
    LCT_TRY(lct_buf_printf(h, err, "%s%lld", i > 0 ? "," : "", (long long)t->dims[i]));
  }
  if (!lct_add_ok(begin, bytes, end) || *end > (size_t)INT64_MAX) {
    return lct_fail(err, LCT_E_LIMIT, "cannot write %s: more bytes than a file can hold", path);
  }
  return lct_buf_printf(h, err, "],\"data_offsets\":[%zu,%zu]}", begin, *end);
}

/* Length, JSON, spaces so that the data begins at a multiple of 64. */
static lct_status make_header(lct_buf *h, const char *path, const lct_st_pair *metadata, size_t n_metadata, const lct_st_spec *tensors,
                              size_t n_tensors, size_t *n_bytes, lct_error *err) {
  LCT_TRY(lct_buf_puts(h, "12345678{", err));
  if (n_metadata > 0) LCT_TRY(put_metadata(h, path, metadata, n_metadata, err));
  for (size_t i = 0; i < n_tensors; i++) {
    if (i > 0 || n_metadata > 0) LCT_TRY(lct_buf_puts(h, ",", err));
    LCT_TRY(put_tensor(h, path, &tensors[i], n_bytes, err));
  }
  LCT_TRY(lct_buf_puts(h, "}", err));
  while (h->len % ALIGN_DATA != 0) LCT_TRY(lct_buf_puts(h, " ", err));
  uint64_t n = h->len - 8;
  for (int i = 0; i < 8; i++) h->data[i] = (char)(n >> (8 * i) & 0xff);
  return LCT_OK;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static lct_status check_names(const char *path, const lct_st_spec *tensors, size_t n, lct_error *err) {
  const char **names = NULL;
  LCT_TRY(lct_calloc(&names, n, sizeof *names, "the names of tensors", err));
  for (size_t i = 0; i < n; i++) names[i] = tensors[i].name;
  qsort(names, n, sizeof *names, compare_names);
  lct_status s = LCT_OK;
  for (size_t i = 0; i < n && s == LCT_OK; i++) {
    bool twice = i > 0 && strcmp(names[i], names[i - 1]) == 0;
    if (twice || strcmp(names[i], "__metadata__") == 0) {
      s = lct_fail(err, LCT_E_USAGE, "cannot write %s: tensor \"%.128s\": %s", path, names[i],
                   twice ? "two of this name" : "the format keeps this name for itself");
    }
  }
  free(names);
  return s;
}

static lct_status create(lct_st_writer *w, const char *path, const lct_buf *header, lct_error *err) {
  lct_buf temporary = {0};
  LCT_TRY(lct_buf_printf(&temporary, err, "%s.tmp", path));
  FILE *f = fopen(temporary.data, "wbe");
  if (f == NULL) {
    lct_status s = lct_fail_errno(err, errno, "cannot create %s", path);
    lct_buf_free(&temporary);
    return s;
  }
  w->file = f;
  w->temporary = temporary.data;
  if (fwrite(header->data, 1, header->len, f) != header->len) return lct_fail_errno(err, errno, "cannot write %s", path);
  return LCT_OK;
}

lct_status lct_st_writer_open(const char *path, const lct_st_pair *metadata, size_t n_metadata, const lct_st_spec *tensors,
                              size_t n_tensors, lct_st_writer **out, lct_error *err) {
  *out = NULL;
  lct_st_writer *w = NULL;
  lct_buf header = {0};
  lct_status s = check_names(path, tensors, n_tensors, err);
  if (s != LCT_OK) return s;
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "a file writer", err));
  LCT_TRY_GOTO(s, make_header(&header, path, metadata, n_metadata, tensors, n_tensors, &w->n_bytes, err), done);
  w->path = strdup(path);
  if (w->path == NULL) {
    s = lct_fail(err, LCT_E_NOMEM, "out of memory for a path");
    goto done;
  }
  s = create(w, path, &header, err);
done:
  lct_buf_free(&header);
  if (s == LCT_OK) *out = w;
  else lct_st_writer_abort(w);
  return s;
}

lct_status lct_st_writer_put(lct_st_writer *w, const void *data, size_t n, lct_error *err) {
  if (n > w->n_bytes - w->written) {
    return lct_fail(err, LCT_E_USAGE, "cannot write %s: expected %zu bytes of data, found more", w->path, w->n_bytes);
  }
  if (n > 0 && fwrite(data, 1, n, w->file) != n) return lct_fail_errno(err, errno, "cannot write %s", w->path);
  w->written += n;
  return LCT_OK;
}

lct_status lct_st_writer_close(lct_st_writer *w, lct_error *err) {
  lct_status s = LCT_OK;
  if (w->written != w->n_bytes) {
    s = lct_fail(err, LCT_E_USAGE, "cannot write %s: expected %zu bytes of data, found %zu", w->path, w->n_bytes, w->written);
  }
  if (s == LCT_OK && (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)) {
    s = lct_fail_errno(err, errno, "cannot write %s", w->path);
  }
  if (s == LCT_OK) {
    int closed = fclose(w->file);
    w->file = NULL;
    if (closed != 0) s = lct_fail_errno(err, errno, "cannot write %s", w->path);
  }
  if (s == LCT_OK && rename(w->temporary, w->path) != 0) s = lct_fail_errno(err, errno, "cannot rename to %s", w->path);
  if (s == LCT_OK) {
    free(w->temporary);
    w->temporary = NULL;
  }
  lct_st_writer_abort(w);
  return s;
}

void lct_st_writer_abort(lct_st_writer *w) {
  if (w == NULL) return;
  if (w->file != NULL) (void)fclose(w->file);
  if (w->temporary != NULL) (void)unlink(w->temporary);
  free(w->temporary);
  free(w->path);
  free(w);
}
