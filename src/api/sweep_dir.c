/* A sweep's directory for the public API: verify, list, one vector. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/npz_format.h"
#include "archive/archive.h"

lct_status lct_verify(const char *dir, lct_line fault, void *ctx, lct_verify_result *result, lct_error *err) {
  lct_archive *a = NULL;
  *result = (lct_verify_result){0};
  LCT_TRY(lct_archive_open(dir, &a, err));
  const lct_archive_info *f = lct_archive_get_info(a);
  *result = (lct_verify_result){.done = f->done,
                                .rows = f->n_rows,
                                .conversations = f->n_conversations,
                                .arrays = (int64_t)lct_archive_n_arrays(a)};
  for (size_t i = 0; i < lct_archive_n_arrays(a); i++) {
    lct_archive_array x = lct_archive_array_at(a, i);
    result->shards += x.n_shards;
    result->stored_bytes += x.stored_bytes;
  }
  lct_status s = lct_archive_verify(a, fault, ctx, &result->faults, err);
  lct_archive_free(a);
  return s;
}

/* A field of a line: what would end it becomes a space. */
static lct_status put_field(lct_buf *b, const char *text, lct_error *err) {
  size_t from = b->len;
  LCT_TRY(lct_buf_puts(b, text, err));
  for (size_t i = from; i < b->len; i++) {
    if ((unsigned char)b->data[i] < ' ' || b->data[i] == 0x7f) b->data[i] = ' ';
  }
  return LCT_OK;
}

static lct_status row_line(const lct_archive_row_info *r, lct_buf *b, lct_error *err) {
  b->len = 0;
  LCT_TRY(lct_buf_printf(b, err, "%" PRId64 "\t", r->row));
  LCT_TRY(put_field(b, r->id, err));
  LCT_TRY(lct_buf_printf(b, err, "\t%d\t", r->message));
  LCT_TRY(put_field(b, r->role, err));
  LCT_TRY(lct_buf_puts(b, "\t", err));
  LCT_TRY(put_field(b, r->label != NULL ? r->label : "", err));
  return lct_buf_printf(b, err, "\t%d", r->n_tokens);
}

static lct_status list_rows(lct_archive *a, const char *id, lct_line line, void *ctx, lct_error *err) {
  const lct_archive_info *f = lct_archive_get_info(a);
  int64_t row = 0;
  if (id != NULL) LCT_TRY(lct_archive_find(a, id, &row, err));
  lct_buf b = {0};
  lct_status s = LCT_OK;
  line(ctx, "row\tconversation\tmessage\trole\tlabel\ttokens");
  for (; row < f->n_messages && s == LCT_OK; row++) {
    lct_archive_row_info r;
    s = lct_archive_row(a, row, &r, err);
    if (s == LCT_OK && id != NULL && strcmp(r.id, id) != 0) break;
    if (s == LCT_OK) s = row_line(&r, &b, err);
    if (s == LCT_OK) line(ctx, b.data);
  }
  lct_buf_free(&b);
  return s;
}

static lct_status put_sizes(lct_buf *b, const int64_t *v, int n, lct_error *err) {
  for (int i = 0; i < n; i++) LCT_TRY(lct_buf_printf(b, err, "%s%" PRId64, i > 0 ? "x" : "\t", v[i]));
  return LCT_OK;
}

static lct_status list_arrays(lct_archive *a, lct_line line, void *ctx, lct_error *err) {
  lct_buf b = {0};
  lct_status s = LCT_OK;
  line(ctx, "array\ttype\tshape\tshard\tchunk\tshards\tbytes");
  for (size_t i = 0; i < lct_archive_n_arrays(a) && s == LCT_OK; i++) {
    lct_archive_array x = lct_archive_array_at(a, i);
    b.len = 0;
    s = lct_buf_printf(&b, err, "%s\t%s", x.name, lct_zarr_dtype_name(x.meta->dtype));
    if (s == LCT_OK) s = put_sizes(&b, x.meta->shape, x.meta->n_dims, err);
    if (s == LCT_OK) s = put_sizes(&b, x.meta->shard, x.meta->n_dims, err);
    if (s == LCT_OK) s = put_sizes(&b, x.meta->chunk, x.meta->n_dims, err);
    if (s == LCT_OK) s = lct_buf_printf(&b, err, "\t%" PRId64 "\t%" PRId64, x.n_shards, x.stored_bytes);
    if (s == LCT_OK) line(ctx, b.data);
  }
  lct_buf_free(&b);
  return s;
}

lct_status lct_list(const char *dir, const char *id, bool arrays, lct_line line, void *ctx, lct_error *err) {
  lct_archive *a = NULL;
  LCT_TRY(lct_archive_open(dir, &a, err));
  lct_status s = arrays ? list_arrays(a, line, ctx, err) : list_rows(a, id, line, ctx, err);
  lct_archive_free(a);
  return s;
}

/* What was not said, where there is only one to mean. */
static lct_status fill_in(const lct_archive_info *f, lct_cat_options *o, lct_error *err) {
  if (o->source == NULL && f->sources.n != 1) return lct_fail(err, LCT_E_USAGE, "%s has %d sources: name one", f->dir, f->sources.n);
  if (o->layer < 0 && f->n_layers != 1) return lct_fail(err, LCT_E_USAGE, "%s has %d layers: name one", f->dir, f->n_layers);
  if (o->source == NULL) o->source = f->sources.names[0];
  if (o->layer < 0) o->layer = f->layers[0];
  if (o->position == NULL) o->position = f->positions.n > 0 ? f->positions.names[0] : "last";
  return LCT_OK;
}

static lct_status find_message(lct_archive *a, const lct_cat_options *o, lct_archive_row_info *r, lct_error *err) {
  int64_t row = 0;
  LCT_TRY(lct_archive_find(a, o->id, &row, err));
  for (int64_t at = row; at < lct_archive_get_info(a)->n_messages; at++) {
    LCT_TRY(lct_archive_row(a, at, r, err));
    if (strcmp(r->id, o->id) != 0) break;
    if (r->message == o->message) return LCT_OK;
  }
  return lct_fail(err, LCT_E_USAGE, "%s: conversation \"%.200s\" has no message %d", o->dir, o->id, o->message);
}

static lct_status read_vector(lct_archive *a, const lct_cat_options *asked, float **out, int *n, lct_error *err) {
  lct_cat_options o = *asked;
  lct_archive_row_info r;
  LCT_TRY(fill_in(lct_archive_get_info(a), &o, err));
  LCT_TRY(find_message(a, &o, &r, err));
  if (o.token >= r.n_stored && o.token >= 0) {
    return lct_fail(err, LCT_E_USAGE, "%s: conversation \"%.200s\" has %" PRId64 " stored tokens, not one of number %" PRId64, o.dir, o.id,
                    r.n_stored, o.token);
  }
  LCT_TRY(lct_archive_width(a, o.token >= 0, o.source, n, err));
  LCT_TRY(lct_alloc_aligned(out, (size_t)*n, sizeof **out, "a vector", err));
  if (o.token >= 0) return lct_archive_token_vectors(a, o.source, o.layer, r.first_token + o.token, 1, *out, err);
  return lct_archive_vectors(a, o.source, o.position, o.layer, r.row, 1, *out, err);
}

static lct_status write_npy(const char *path, const float *v, int n, lct_error *err) {
  lct_buf b = {0};
  lct_status s = lct_npy_header_write(LCT_NPY_F32, 1, (const int64_t[]){n}, &b, err);
  if (s == LCT_OK) s = lct_buf_append(&b, v, (size_t)n * sizeof *v, err);
  if (s == LCT_OK) s = lct_file_write_atomic(path, b.data, b.len, err);
  lct_buf_free(&b);
  return s;
}

lct_status lct_cat(const lct_cat_options *o, char **text, lct_error *err) {
  lct_archive *a = NULL;
  float *v = NULL;
  int n = 0;
  lct_buf b = {0};
  *text = NULL;
  LCT_TRY(lct_archive_open(o->dir, &a, err));
  lct_status s = read_vector(a, o, &v, &n, err);
  if (s == LCT_OK && o->npy != NULL) s = write_npy(o->npy, v, n, err);
  for (int i = 0; i < n && s == LCT_OK; i++) s = lct_buf_printf(&b, err, "%.9g\n", (double)v[i]);
  if (s == LCT_OK && n == 0) s = lct_buf_puts(&b, "", err);
  free(v);
  lct_archive_free(a);
  if (s == LCT_OK) *text = b.data;
  else lct_buf_free(&b);
  return s;
}
