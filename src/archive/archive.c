/* Opening a sweep's directory: sweep.json, the journal, the axes. Arrays themselves are opened when they are read. */
#include "archive/archive.h"

#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "archive/archive_impl.h"

enum { MAX_DEPTH = 32 };

lct_status lct_archive_use_scores(lct_archive *a, const char *name, lct_error *err) {
  lct_buf dir = {0};
  archive_array *x = &a->rescored;
  if (!archive_name_ok(name) || strchr(name, '/') != NULL) return lct_fail(err, LCT_E_USAGE, "\"%.100s\" cannot name scores", name);
  lct_status s = lct_buf_printf(&dir, err, "%s/scores/%s.zarr", a->dir, name);
  if (s == LCT_OK) s = lct_zarr_open(dir.data, "scores", NULL, &x->z, err);
  if (s == LCT_OK) {
    const char *attributes = lct_zarr_attributes(x->z);
    s = lct_json_parse(attributes, strlen(attributes), MAX_DEPTH, 0, dir.data, &a->rescored_attributes, err);
  }
  lct_buf_free(&dir);
  LCT_TRY(s);
  x->name = "scores";
  x->meta = *lct_zarr_get_meta(x->z);
  x->axes = json_object_get(a->rescored_attributes, "llmct");
  if (x->meta.shape[0] < a->info.n_rows) a->info.n_rows = x->meta.shape[0];
  return archive_read_score_axes(a, err);
}

/* What the journal says; shards behind "finishing" count when the sweep is done. */
static lct_status read_journal(lct_archive *a, lct_error *err) {
  lct_buf path = {0}, name = {0};
  lct_status s = lct_path_join(&path, a->dir, "journal", err);
  if (s == LCT_OK) s = lct_buf_printf(&name, err, "%s: journal", a->dir);
  if (s == LCT_OK) s = lct_journal_read(path.data, name.data, a->info.done, &a->journal, err);
  lct_buf_free(&path);
  lct_buf_free(&name);
  return s;
}

static lct_status open_all(lct_archive *a, const char *dir, lct_error *err) {
  lct_buf path = {0};
  a->dir = strdup(dir);
  LCT_TRY(lct_path_join(&path, dir, "data.zarr", err));
  a->data_dir = path.data;
  if (a->dir == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s", dir);
  size_t n = strlen(a->dir);
  while (n > 1 && a->dir[n - 1] == '/') a->dir[--n] = '\0';
  LCT_TRY(archive_read_facts(a, err));
  LCT_TRY(read_journal(a, err));
  LCT_TRY(archive_index_rows(a, err));
  LCT_TRY(archive_read_arrays(a, err));
  return archive_read_score_axes(a, err);
}

lct_status lct_archive_open(const char *dir, lct_archive **out, lct_error *err) {
  lct_archive *a = NULL;
  LCT_TRY(lct_calloc(&a, 1, sizeof *a, "an archive", err));
  lct_status s = open_all(a, dir, err);
  if (s != LCT_OK) {
    lct_archive_free(a);
    return s;
  }
  *out = a;
  return LCT_OK;
}

void lct_archive_free(lct_archive *a) {
  if (a == NULL) return;
  for (size_t i = 0; i < a->n_arrays; i++) lct_zarr_free(a->arrays[i].z);
  lct_journal_free(&a->journal);
  free(a->arrays);
  lct_map_close(&a->messages);
  free(a->offsets);
  free(a->ids);
  json_decref(a->line);
  lct_zarr_free(a->rescored.z);
  json_decref(a->rescored_attributes);
  json_decref(a->root);
  lct_arena_free(&a->arena);
  free(a->derived.x);
  free(a->derived.addend);
  free(a->raw);
  free(a->scales);
  free(a->dir);
  free(a->data_dir);
  free(a);
}

const lct_archive_info *lct_archive_get_info(const lct_archive *a) { return &a->info; }

archive_array *archive_find(lct_archive *a, const char *name) {
  if (a->rescored.z != NULL && strcmp(name, "scores") == 0) return &a->rescored;
  for (size_t i = 0; i < a->n_arrays; i++) {
    if (strcmp(a->arrays[i].name, name) == 0) return &a->arrays[i];
  }
  return NULL;
}

archive_array *archive_find_in(lct_archive *a, const char *folder, const char *source, const char *suffix) {
  char name[256];
  int n = snprintf(name, sizeof name, "%s/%s%s", folder, source, suffix);
  return n > 0 && (size_t)n < sizeof name ? archive_find(a, name) : NULL;
}

lct_status archive_open_array(lct_archive *a, archive_array *x, lct_error *err) {
  if (x->z != NULL) return LCT_OK;
  LCT_TRY(lct_zarr_open(a->data_dir, x->name, a->info.done ? NULL : &x->meta, &x->z, err));
  const lct_zarr_meta *m = lct_zarr_get_meta(x->z), *w = &x->meta;
  size_t bytes = (size_t)w->n_dims * sizeof *w->shape;
  if (m->dtype == w->dtype && m->codec == w->codec && m->n_dims == w->n_dims && memcmp(m->shape, w->shape, bytes) == 0 &&
      memcmp(m->shard, w->shard, bytes) == 0 && memcmp(m->chunk, w->chunk, bytes) == 0) {
    return LCT_OK;
  }
  lct_zarr_free(x->z);
  x->z = NULL;
  return lct_fail(err, LCT_E_FORMAT, "%s: its zarr.json says another shape or type than %s/sweep.json", x->name, a->dir);
}

int archive_axis_number(const archive_array *x, const char *axis, int64_t value) {
  const json_t *v = json_object_get(x->axes, axis);
  for (size_t i = 0; i < json_array_size(v); i++) {
    const json_t *number = json_array_get(v, i);
    if (json_is_integer(number) && json_integer_value(number) == value) return (int)i;
  }
  return -1;
}

int archive_axis_name(const archive_array *x, const char *axis, const char *name) {
  const json_t *v = json_object_get(x->axes, axis);
  for (size_t i = 0; i < json_array_size(v); i++) {
    const char *have = json_string_value(json_array_get(v, i));
    if (have != NULL && strcmp(have, name) == 0) return (int)i;
  }
  return -1;
}

size_t lct_archive_n_arrays(const lct_archive *a) { return a->n_arrays; }

lct_archive_array lct_archive_array_at(const lct_archive *a, size_t i) {
  const archive_array *x = &a->arrays[i];
  lct_archive_array out = {.name = x->name, .meta = &x->meta};
  for (size_t k = 0; x->journal != NULL && k < x->journal->n; k++) {
    out.n_shards++;
    out.stored_bytes += x->journal->bytes[k];
  }
  return out;
}
