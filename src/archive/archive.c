/* Opening a sweep's directory: sweep.json, the journal, the axes. Arrays themselves are opened when they are read. */
#include "archive/archive.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "archive/archive_impl.h"

enum { MAX_SWEEP_JSON = 1 << 28, MAX_DEPTH = 32, MAX_HIDDEN = 1 << 24 };

static lct_status bad(const lct_archive *a, const char *key, const char *expected, const json_t *found, lct_error *err) {
  char show[80];
  return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: %s: expected %s, found %s", a->dir, key, expected, lct_json_show(found, show, sizeof show));
}

/* A list of strings of the JSON, as names; an absent one is empty. */
static lct_status read_names(lct_archive *a, const json_t *v, const char *key, lct_names *out, lct_error *err) {
  *out = (lct_names){0};
  if (v == NULL) return LCT_OK;
  if (!json_is_array(v)) return bad(a, key, "a list of names", v, err);
  size_t n = json_array_size(v);
  out->names = lct_arena_alloc(&a->arena, (n + 1) * sizeof *out->names);
  if (out->names == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s/sweep.json", a->dir);
  for (size_t i = 0; i < n; i++) {
    out->names[i] = json_string_value(json_array_get(v, i));
    if (out->names[i] == NULL) return bad(a, key, "a list of names", v, err);
  }
  out->n = (int)n;
  return LCT_OK;
}

static lct_status read_numbers(lct_archive *a, const json_t *v, const char *key, int **out, int *n_out, lct_error *err) {
  *n_out = 0;
  if (v == NULL) return LCT_OK;
  size_t n = json_array_size(v);
  *out = lct_arena_alloc(&a->arena, (n + 1) * sizeof **out);
  if (*out == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s/sweep.json", a->dir);
  for (size_t i = 0; i < n; i++) {
    const json_t *number = json_array_get(v, i);
    if (!json_is_integer(number) || json_integer_value(number) < -1 || json_integer_value(number) > INT32_MAX) {
      return bad(a, key, "a list of numbers", v, err);
    }
    (*out)[i] = (int)json_integer_value(number);
  }
  *n_out = (int)n;
  return LCT_OK;
}

static const char *text(const json_t *object, const char *key) {
  const char *v = json_string_value(json_object_get(object, key));
  return v != NULL ? v : "";
}

static lct_status read_facts(lct_archive *a, lct_error *err) {
  lct_archive_info *f = &a->info;
  const json_t *root = a->root, *model = json_object_get(root, "model"), *template = json_object_get(root, "template");
  if (strcmp(text(root, "format"), "llmct-sweep") != 0) return bad(a, "format", "\"llmct-sweep\"", json_object_get(root, "format"), err);
  const json_t *version = json_object_get(root, "version");
  if (!json_is_integer(version) || json_integer_value(version) != 1) return bad(a, "version", "1", version, err);
  f->dir = a->dir;
  f->json = root;
  f->state = text(root, "state");
  f->done = strcmp(f->state, "done") == 0;
  f->keep = text(root, "keep");
  f->store_dtype = text(root, "store_dtype");
  f->model_id = text(model, "id");
  f->model_hash = text(model, "hash");
  f->template_name = text(template, "name");
  f->template_hash = text(template, "hash");
  f->precision = text(root, "precision");
  f->device = text(root, "device");
  f->derived = strcmp(text(root, "derive"), "residual") == 0;
  f->n_rejected = json_integer_value(json_object_get(root, "rejected"));
  f->n_model_layers = (int)json_integer_value(json_object_get(model, "n_layers"));
  f->hidden = (int)json_integer_value(json_object_get(model, "hidden"));
  if (f->hidden < 0 || f->hidden > MAX_HIDDEN) return bad(a, "model.hidden", "a size", json_object_get(model, "hidden"), err);
  LCT_TRY(read_names(a, json_object_get(root, "positions"), "positions", &f->positions, err));
  LCT_TRY(read_names(a, json_object_get(root, "sources"), "sources", &f->sources, err));
  return read_numbers(a, json_object_get(root, "layers"), "layers", &f->layers, &f->n_layers, err);
}

static bool read_sizes(const json_t *v, int n_dims, int64_t *out) {
  bool ok = json_is_array(v) && json_array_size(v) == (size_t)n_dims;
  for (size_t i = 0; ok && i < (size_t)n_dims; i++) {
    const json_t *size = json_array_get(v, i);
    ok = json_is_integer(size) && json_integer_value(size) >= 0;
    if (ok) out[i] = json_integer_value(size);
  }
  return ok;
}

/* A name is a path below data.zarr and nothing else. */
static bool name_ok(const char *name) {
  if (name == NULL || name[0] == '\0' || name[0] == '/' || strstr(name, "..") != NULL || strlen(name) > 200) return false;
  for (const char *c = name; *c != '\0'; c++) {
    if ((unsigned char)*c <= ' ' || *c == 0x7f) return false;
  }
  return true;
}

static lct_status read_array(lct_archive *a, const json_t *v, archive_array *out, lct_error *err) {
  lct_zarr_meta *m = &out->meta;
  const json_t *dims = json_object_get(v, "dims");
  const char *codec = text(v, "codec"), *dtype = text(v, "dtype");
  out->name = json_string_value(json_object_get(v, "name"));
  out->axes = json_object_get(json_object_get(v, "attributes"), "llmct");
  if (!name_ok(out->name)) return bad(a, "arrays", "a list of arrays with names", v, err);
  m->dtype = LCT_ZARR_N_DTYPES;
  for (int t = 0; t < LCT_ZARR_N_DTYPES; t++) {
    if (strcmp(dtype, lct_zarr_dtype_name((lct_zarr_dtype)t)) == 0) m->dtype = (lct_zarr_dtype)t;
  }
  m->codec = strcmp(codec, "blosc") == 0 ? LCT_ZARR_BLOSC : LCT_ZARR_ZSTD;
  size_t n = json_array_size(json_object_get(v, "shape"));
  m->n_dims = n <= LCT_ZARR_MAX_DIMS ? (int)n : 0;
  if (!read_sizes(json_object_get(v, "shape"), m->n_dims, m->shape) || !read_sizes(json_object_get(v, "shard"), m->n_dims, m->shard) ||
      !read_sizes(json_object_get(v, "chunk"), m->n_dims, m->chunk)) {
    return bad(a, out->name, "shape, shard and chunk of as many axes", v, err);
  }
  for (int i = 0; i < m->n_dims; i++) {
    const char *dim = json_string_value(json_array_get(dims, (size_t)i));
    if (dim != NULL) (void)snprintf(m->dim_names[i], sizeof m->dim_names[i], "%s", dim);
  }
  out->journal = archive_journal_of(a, out->name);
  bool moments = strncmp(out->name, "moments/", 8) == 0; /* written at the end alone */
  if (!a->info.done) {
    int64_t shards = !moments && out->journal != NULL ? (int64_t)out->journal->n : 0;
    if (m->n_dims < 1 || __builtin_mul_overflow(shards, m->shard[0], &m->shape[0])) return bad(a, out->name, "shards of fewer rows", v, err);
  }
  lct_status s = lct_zarr_check(m, out->name, err);
  return s == LCT_OK ? LCT_OK : lct_fail_context(err, s, "%s/sweep.json", a->dir);
}

static lct_status read_arrays(lct_archive *a, lct_error *err) {
  const json_t *v = json_object_get(a->root, "arrays");
  size_t n = json_array_size(v);
  if (!json_is_array(v)) return bad(a, "arrays", "a list", v, err);
  LCT_TRY(lct_calloc(&a->arrays, n, sizeof *a->arrays, "arrays", err));
  a->info.n_rows = a->info.n_messages;
  a->info.n_tokens = INT64_MAX;
  for (size_t i = 0; i < n; i++) {
    archive_array *x = &a->arrays[i];
    LCT_TRY(read_array(a, json_array_get(v, i), x, err));
    a->n_arrays++;
    int64_t *least = strncmp(x->name, "tokens/", 7) == 0 ? &a->info.n_tokens : &a->info.n_rows;
    if (strncmp(x->name, "moments/", 8) != 0 && x->meta.shape[0] < *least) *least = x->meta.shape[0];
  }
  if (a->info.n_tokens == INT64_MAX) a->info.n_tokens = 0;
  return LCT_OK;
}

static lct_status read_score_axes(lct_archive *a, lct_error *err) {
  const archive_array *x = archive_find(a, "scores");
  lct_archive_info *f = &a->info;
  f->n_scored = 0;
  if (x == NULL) return LCT_OK;
  LCT_TRY(read_names(a, json_object_get(x->axes, "positions"), "scores: positions", &f->scored_positions, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "sources"), "scores: sources", &f->scored_sources, err));
  LCT_TRY(read_numbers(a, json_object_get(x->axes, "layers"), "scores: layers", &f->scored_layers, &f->n_scored_layers, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "references"), "scores: references", &f->references, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "metrics"), "scores: metrics", &f->metrics, err));
  const int64_t expected[] = {x->meta.shape[0], f->scored_positions.n, f->scored_sources.n, f->n_scored_layers, f->references.n, f->metrics.n};
  if (x->meta.n_dims != 6 || x->meta.dtype != LCT_ZARR_F32 || memcmp(expected, x->meta.shape, sizeof expected) != 0) {
    return bad(a, "scores", "float32 in the shape its axes make", x->axes, err);
  }
  f->n_scored = lct_zarr_row_values(&x->meta);
  return LCT_OK;
}

lct_status lct_archive_use_scores(lct_archive *a, const char *name, lct_error *err) {
  lct_buf dir = {0};
  archive_array *x = &a->rescored;
  if (!name_ok(name) || strchr(name, '/') != NULL) return lct_fail(err, LCT_E_USAGE, "\"%.100s\" cannot name scores", name);
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
  return read_score_axes(a, err);
}

static lct_status read_root(lct_archive *a, lct_error *err) {
  lct_buf path = {0}, json = {0};
  LCT_TRY(lct_path_join(&path, a->dir, "sweep.json", err));
  lct_status s = lct_file_read(path.data, MAX_SWEEP_JSON, &json, err);
  if (s == LCT_OK) s = lct_json_parse(json.data, json.len, MAX_DEPTH, 0, path.data, &a->root, err);
  lct_buf_free(&path);
  lct_buf_free(&json);
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
  LCT_TRY(read_root(a, err));
  LCT_TRY(read_facts(a, err));
  LCT_TRY(archive_read_journal(a, err));
  LCT_TRY(archive_index_rows(a, err));
  LCT_TRY(read_arrays(a, err));
  return read_score_axes(a, err);
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
  for (size_t i = 0; i < a->n_journal; i++) {
    free(a->journal[i].array);
    free(a->journal[i].bytes);
  }
  free(a->arrays);
  free(a->journal);
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
