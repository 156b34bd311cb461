/* sweep.json, read. */
#include "archive/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "archive/archive_impl.h"

enum { MAX_SWEEP_JSON = 1 << 28, MAX_DEPTH = 32, MAX_HIDDEN = 1 << 24 };

static lct_status bad(const lct_archive *a, const char *key, const char *expected, const json_t *found, lct_error *err) {
  char show[80];
  return lct_fail(err, LCT_E_FORMAT, "%s/sweep.json: %s: expected %s, found %s", a->dir, key, expected,
                  lct_json_show(found, show, sizeof show));
}

/* A list of strings of the JSON, as names; an absent one is empty. */
static lct_status read_names(lct_archive *a, const json_t *v, const char *key, lct_names *out, lct_error *err) {
  *out = (lct_names){0};
  if (v == NULL) return LCT_OK;
  if (!json_is_array(v)) return bad(a, key, "a list of names", v, err);
  size_t n = json_array_size(v);
  const char **names = lct_arena_alloc(&a->arena, (n + 1) * sizeof *names);
  out->names = names;
  if (names == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s/sweep.json", a->dir);
  for (size_t i = 0; i < n; i++) {
    names[i] = json_string_value(json_array_get(v, i));
    if (names[i] == NULL) return bad(a, key, "a list of names", v, err);
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

static lct_status read_root(const char *dir, json_t **out, lct_error *err) {
  lct_buf path = {0}, json = {0};
  LCT_TRY(lct_path_join(&path, dir, "sweep.json", err));
  lct_status s = lct_file_read(path.data, MAX_SWEEP_JSON, &json, err);
  if (s == LCT_OK) s = lct_json_parse(json.data, json.len, MAX_DEPTH, 0, path.data, out, err);
  lct_buf_free(&path);
  lct_buf_free(&json);
  return s;
}

static lct_status take_facts(lct_archive *a, lct_error *err) {
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
  f->model.id = text(model, "id");
  f->model.hash = text(model, "hash");
  f->template_name = text(template, "name");
  f->template_hash = text(template, "hash");
  f->precision = text(root, "precision");
  f->device = text(root, "device");
  f->derived = strcmp(text(root, "derive"), "residual") == 0;
  f->n_rejected = json_integer_value(json_object_get(root, "rejected"));
  f->model.n_layers = (int)json_integer_value(json_object_get(model, "n_layers"));
  f->model.hidden = (int)json_integer_value(json_object_get(model, "hidden"));
  if (f->model.hidden < 0 || f->model.hidden > MAX_HIDDEN) return bad(a, "model.hidden", "a size", json_object_get(model, "hidden"), err);
  LCT_TRY(read_names(a, json_object_get(root, "positions"), "positions", &f->positions, err));
  LCT_TRY(read_names(a, json_object_get(root, "sources"), "sources", &f->sources, err));
  return read_numbers(a, json_object_get(root, "layers"), "layers", &f->layers, &f->n_layers, err);
}

lct_status archive_read_facts(lct_archive *a, lct_error *err) {
  LCT_TRY(read_root(a->dir, &a->root, err));
  return take_facts(a, err);
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

bool archive_name_ok(const char *name) {
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
  if (!archive_name_ok(out->name)) return bad(a, "arrays", "a list of arrays with names", v, err);
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
  out->journal = lct_journal_find(&a->journal, out->name);
  bool moments = strncmp(out->name, "moments/", 8) == 0; /* written at the end alone */
  if (!a->info.done) {
    int64_t shards = !moments && out->journal != NULL ? (int64_t)out->journal->n : 0;
    if (m->n_dims < 1 || __builtin_mul_overflow(shards, m->shard[0], &m->shape[0]))
      return bad(a, out->name, "shards of fewer rows", v, err);
  }
  lct_status s = lct_zarr_check(m, out->name, err);
  return s == LCT_OK ? LCT_OK : lct_fail_context(err, s, "%s/sweep.json", a->dir);
}

lct_status archive_read_arrays(lct_archive *a, lct_error *err) {
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

lct_status archive_read_score_axes(lct_archive *a, lct_error *err) {
  const archive_array *x = archive_find(a, "scores");
  lct_archive_info *f = &a->info;
  f->scores.n = 0;
  if (x == NULL) return LCT_OK;
  LCT_TRY(read_names(a, json_object_get(x->axes, "positions"), "scores: positions", &f->scores.positions, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "sources"), "scores: sources", &f->scores.sources, err));
  LCT_TRY(read_numbers(a, json_object_get(x->axes, "layers"), "scores: layers", &f->scores.layers, &f->scores.n_layers, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "references"), "scores: references", &f->scores.references, err));
  LCT_TRY(read_names(a, json_object_get(x->axes, "metrics"), "scores: metrics", &f->scores.metrics, err));
  const int64_t expected[] = {x->meta.shape[0],   f->scores.positions.n,  f->scores.sources.n,
                              f->scores.n_layers, f->scores.references.n, f->scores.metrics.n};
  if (x->meta.n_dims != 6 || x->meta.dtype != LCT_ZARR_F32 || memcmp(expected, x->meta.shape, sizeof expected) != 0) {
    return bad(a, "scores", "float32 in the shape its axes make", x->axes, err);
  }
  f->scores.n = lct_zarr_row_values(&x->meta);
  return LCT_OK;
}

bool lct_sweep_is_in(const char *dir) {
  lct_buf b = {0};
  bool is = lct_path_join(&b, dir, "sweep.json", NULL) == LCT_OK && lct_path_exists(b.data);
  lct_buf_free(&b);
  return is;
}

bool lct_sweep_read_done(const char *dir, lct_sweep_result *r) {
  json_t *root = NULL;
  lct_error ignored;
  (void)!read_root(dir, &root, &ignored);
  const json_t *tokens = json_object_get(root, "tokens");
  const struct {
    const json_t *in;
    const char *key;
    int64_t *to;
  } counts[] = {{root, "rows", &r->rows},
                {root, "conversations", &r->conversations},
                {root, "rejected", &r->rejected},
                {root, "truncated", &r->truncated},
                {root, "tokens_stored", &r->tokens_stored},
                {tokens, "computed", &r->tokens_computed},
                {tokens, "naive", &r->tokens_naive},
                {root, "raw_bytes", &r->raw_bytes},
                {root, "stored_bytes", &r->stored_bytes}};
  bool done = strcmp(text(root, "state"), "done") == 0;
  for (size_t i = 0; done && i < sizeof counts / sizeof *counts; i++)
    *counts[i].to = json_integer_value(json_object_get(counts[i].in, counts[i].key));
  if (done) {
    (void)snprintf(r->device.label, sizeof r->device.label, "%s", text(root, "device"));
    (void)snprintf(r->device.name, sizeof r->device.name, "%s", text(json_object_get(root, "machine"), "device_name"));
    r->rows_resumed = r->rows;
    r->complete = r->was_complete = true;
  }
  json_decref(root);
  return done;
}
