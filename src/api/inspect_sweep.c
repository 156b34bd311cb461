/* What a sweep's directory holds, as text or JSON. */
#include "api/inspect_sweep.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "archive/archive.h"

static int64_t number(const json_t *object, const char *key) { return json_integer_value(json_object_get(object, key)); }

/* Bytes of the rows that stand, uncompressed. */
static int64_t raw_bytes(const lct_archive_array *x) {
  return x->meta->shape[0] * lct_zarr_row_values(x->meta) * (int64_t)lct_zarr_dtype_bytes(x->meta->dtype);
}

static lct_status sizes_text(const int64_t *v, int n, lct_buf *b, lct_error *err) {
  b->len = 0;
  for (int i = 0; i < n; i++) LCT_TRY(lct_buf_printf(b, err, "%s%" PRId64, i > 0 ? "x" : "", v[i]));
  return LCT_OK;
}

static lct_status names_line(const char *what, const lct_names *names, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_printf(b, err, "%-14s ", what));
  for (int i = 0; i < names->n; i++) LCT_TRY(lct_buf_printf(b, err, "%s%s", i > 0 ? ", " : "", names->names[i]));
  return lct_buf_puts(b, names->n > 0 ? "\n" : "none\n", err);
}

/* "0-3,7". */
static lct_status layers_line(const lct_archive_info *f, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_puts(b, "layers         ", err));
  for (int i = 0, n; i < f->n_layers; i += n) {
    for (n = 1; i + n < f->n_layers && f->layers[i + n] == f->layers[i] + n;) n++;
    LCT_TRY(lct_buf_printf(b, err, "%s%d", i > 0 ? "," : "", f->layers[i]));
    if (n > 1) LCT_TRY(lct_buf_printf(b, err, "-%d", f->layers[i + n - 1]));
  }
  return lct_buf_printf(b, err, " of %d\n", f->model.n_layers);
}

static lct_status array_line(const lct_archive_array *x, lct_buf *b, lct_error *err) {
  lct_buf shape = {0}, chunk = {0};
  lct_status s = sizes_text(x->meta->shape, x->meta->n_dims, &shape, err);
  if (s == LCT_OK) s = sizes_text(x->meta->chunk, x->meta->n_dims, &chunk, err);
  int64_t raw = raw_bytes(x);
  if (s == LCT_OK) {
    s = lct_buf_printf(b, err, "  %-26s %-8s %-20s %-16s %10.3f %10.3f ", x->name, lct_zarr_dtype_name(x->meta->dtype), shape.data,
                       chunk.data, (double)raw / 1e6, (double)x->stored_bytes / 1e6);
  }
  if (s == LCT_OK)
    s = x->stored_bytes > 0 ? lct_buf_printf(b, err, "%6.2f", (double)raw / (double)x->stored_bytes) : lct_buf_puts(b, "     -", err);
  lct_buf_free(&shape);
  lct_buf_free(&chunk);
  return s;
}

static lct_status fingerprints_line(const lct_archive_info *f, lct_buf *b, lct_error *err) {
  const json_t *v = json_object_get(f->json, "fingerprints");
  const char *path = json_string_value(json_object_get(v, "path")), *hash = json_string_value(json_object_get(v, "hash"));
  if (path == NULL || hash == NULL) return lct_buf_puts(b, "fingerprints   none\n", err);
  LCT_TRY(lct_buf_printf(b, err, "fingerprints   %s, hash %.12s\n", path, hash));
  LCT_TRY(names_line("references", &f->scores.references, b, err));
  return names_line("metrics", &f->scores.metrics, b, err);
}

static lct_status as_text(const lct_archive *a, lct_buf *b, lct_error *err) {
  const lct_archive_info *f = lct_archive_get_info(a);
  const json_t *tokens = json_object_get(f->json, "tokens");
  const char *error = json_string_value(json_object_get(f->json, "error"));
  LCT_TRY(lct_buf_printf(b, err, "%s (sweep, %s)\n", f->dir, f->state));
  if (error != NULL) LCT_TRY(lct_buf_printf(b, err, "error          %s\n", error));
  LCT_TRY(lct_buf_printf(b, err, "model          %s, %d layers, hidden %d, hash %.12s\n", f->model.id, f->model.n_layers, f->model.hidden,
                         f->model.hash));
  LCT_TRY(lct_buf_printf(b, err, "chat template  %s, hash %.12s\n", f->template_name, f->template_hash));
  LCT_TRY(lct_buf_printf(b, err, "run            %s on %s, keep %s, stored as %s%s\n", f->precision, f->device, f->keep, f->store_dtype,
                         f->derived ? ", residual stream derived" : ""));
  LCT_TRY(lct_buf_printf(b, err, "conversations  %" PRId64 ", %" PRId64 " rejected\n", f->n_conversations, f->n_rejected));
  LCT_TRY(lct_buf_printf(b, err, "rows           %" PRId64 " in every array, %" PRId64 " in messages.jsonl\n", f->n_rows, f->n_messages));
  LCT_TRY(lct_buf_printf(b, err, "tokens         %" PRId64 " computed, %" PRId64 " prompt by prompt, %" PRId64 " stored\n",
                         number(tokens, "computed"), number(tokens, "naive"), f->n_tokens));
  LCT_TRY(names_line("positions", &f->positions, b, err));
  LCT_TRY(names_line("sources", &f->sources, b, err));
  LCT_TRY(layers_line(f, b, err));
  LCT_TRY(fingerprints_line(f, b, err));
  LCT_TRY(lct_buf_printf(b, err, "  %-26s %-8s %-20s %-16s %10s %10s %6s", "array", "type", "shape", "chunk", "MB", "stored MB", "ratio"));
  for (size_t i = 0; i < lct_archive_n_arrays(a); i++) {
    lct_archive_array x = lct_archive_array_at(a, i);
    LCT_TRY(lct_buf_puts(b, "\n", err));
    LCT_TRY(array_line(&x, b, err));
  }
  return LCT_OK;
}

static json_t *sizes_json(const int64_t *v, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_integer((json_int_t)v[i]));
  return a;
}

/* sweep.json with what stands put in: rows, conversations, and every array's bytes. */
static char *as_json(const lct_archive *a) {
  const lct_archive_info *f = lct_archive_get_info(a);
  json_t *root = json_copy((json_t *)(uintptr_t)f->json), *arrays = json_array();
  for (size_t i = 0; i < lct_archive_n_arrays(a); i++) {
    lct_archive_array x = lct_archive_array_at(a, i);
    json_array_append_new(arrays,
                          json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I}", "name", x.name, "dtype", lct_zarr_dtype_name(x.meta->dtype),
                                    "shape", sizes_json(x.meta->shape, x.meta->n_dims), "shard", sizes_json(x.meta->shard, x.meta->n_dims),
                                    "chunk", sizes_json(x.meta->chunk, x.meta->n_dims), "shards", (json_int_t)x.n_shards, "raw_bytes",
                                    (json_int_t)raw_bytes(&x), "stored_bytes", (json_int_t)x.stored_bytes));
  }
  json_object_set_new(root, "arrays", arrays);
  json_object_set_new(root, "dir", json_string(f->dir));
  json_object_set_new(root, "rows", json_integer((json_int_t)f->n_rows));
  json_object_set_new(root, "messages", json_integer((json_int_t)f->n_messages));
  json_object_set_new(root, "conversations", json_integer((json_int_t)f->n_conversations));
  json_object_set_new(root, "tokens_stored", json_integer((json_int_t)f->n_tokens));
  char *text = json_dumps(root, JSON_INDENT(2));
  json_decref(root);
  return text;
}

lct_status inspect_sweep(const char *dir, bool json, char **text, lct_error *err) {
  lct_archive *a = NULL;
  lct_buf b = {0};
  LCT_TRY(lct_archive_open(dir, &a, err));
  lct_status s = LCT_OK;
  if (json) {
    *text = as_json(a);
    if (*text == NULL) s = lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", dir);
  } else {
    s = as_text(a, &b, err);
  }
  if (s == LCT_OK && !json) *text = b.data;
  else lct_buf_free(&b);
  lct_archive_free(a);
  return s;
}
