/* .npz and .safetensors: the same tensors, in the same order, streamed. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/export_impl.h"
#include "model/safetensors_write.h"
#include "store/npz.h"

enum { MAX_METADATA = 16 };

/* One of the two writers. */
typedef struct {
  lct_npz *npz;
  lct_st_writer *st;
} sink;

typedef struct {
  lct_st_spec *specs;
  size_t n;
} tensors;

static void add(tensors *t, const char *name, const char *dtype, int n_dims, const int64_t *dims) {
  lct_st_spec *s = &t->specs[t->n++];
  *s = (lct_st_spec){.name = name, .dtype = dtype, .n_dims = n_dims};
  memcpy(s->dims, dims, (size_t)n_dims * sizeof *dims);
}

/* Numbers first (row or token, layers, ids), then what they belong to. */
static lct_status list_tensors(exporter *e, tensors *t, lct_error *err) {
  const lct_archive_selection *s = &e->s;
  const lct_archive_info *f = e->f;
  bool tokens = e->o->what == LCT_EXPORT_TOKENS;
  LCT_TRY(lct_calloc(&t->specs, (size_t)s->n_sources + 4, sizeof *t->specs, "tensors", err));
  add(t, tokens ? "token" : "row", "I64", 1, (const int64_t[]){s->n_rows});
  add(t, "layers", "I32", 1, (const int64_t[]){s->n_layers});
  if (tokens) add(t, "ids", "I32", 1, (const int64_t[]){s->n_rows});
  if (e->o->what == LCT_EXPORT_SCORES) {
    add(t, "scores", "F32", 6,
        (const int64_t[]){s->n_rows, s->n_positions, s->n_sources, s->n_layers, f->scores.references.n, f->scores.metrics.n});
    return LCT_OK;
  }
  for (int i = 0; i < s->n_sources; i++) {
    int width = 0;
    LCT_TRY(lct_archive_width(e->a, tokens, export_source(e, i), &width, err));
    if (tokens) add(t, export_source(e, i), "F32", 3, (const int64_t[]){s->n_layers, s->n_rows, width});
    else add(t, export_source(e, i), "F32", 4, (const int64_t[]){s->n_positions, s->n_layers, s->n_rows, width});
  }
  return LCT_OK;
}

static char *names_json(const lct_names *names, const int *chosen, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(names->names[chosen != NULL ? chosen[i] : i]));
  char *text = json_dumps(a, JSON_COMPACT);
  json_decref(a);
  return text;
}

static lct_status open_safetensors(const exporter *e, const tensors *t, sink *out, lct_error *err) {
  static const char *const whats[] = {"pooled", "scores", "tokens"};
  const lct_archive_info *f = e->f;
  char *sources = names_json(e->from.sources, e->s.sources, e->s.n_sources);
  char *positions = names_json(e->from.positions, e->s.positions, e->s.n_positions);
  char *references = names_json(&f->scores.references, NULL, f->scores.references.n);
  char *metrics = names_json(&f->scores.metrics, NULL, f->scores.metrics.n);
  lct_st_pair pairs[MAX_METADATA] = {{"format", "llmct-export"},    {"version", "1"},
                                     {"what", whats[e->o->what]},   {"model_id", f->model.id},
                                     {"model_hash", f->model.hash}, {"template_hash", f->template_hash},
                                     {"sources", sources},          {"positions", positions}};
  size_t n = 8;
  if (e->o->what == LCT_EXPORT_SCORES) {
    pairs[n++] = (lct_st_pair){"references", references};
    pairs[n++] = (lct_st_pair){"metrics", metrics};
  }
  lct_status s = sources != NULL && positions != NULL && references != NULL && metrics != NULL
                     ? lct_st_writer_open(e->o->path, pairs, n, t->specs, t->n, &out->st, err)
                     : lct_fail(err, LCT_E_NOMEM, "out of memory for the header of %s", e->o->path);
  free(sources);
  free(positions);
  free(references);
  free(metrics);
  return s;
}

static lct_status open_npz(const exporter *e, const tensors *t, sink *out, lct_error *err) {
  LCT_TRY(lct_npz_create(e->o->path, &out->npz, err));
  for (size_t i = 0; i < t->n; i++) {
    const lct_st_spec *s = &t->specs[i];
    lct_npy_dtype dtype = strcmp(s->dtype, "F32") == 0 ? LCT_NPY_F32 : strcmp(s->dtype, "I32") == 0 ? LCT_NPY_I32 : LCT_NPY_I64;
    int entry = 0;
    LCT_TRY(lct_npz_declare(out->npz, s->name, dtype, s->n_dims, s->dims, &entry, err));
  }
  return LCT_OK;
}

static lct_status put(const sink *out, int tensor, const void *data, size_t n_bytes, lct_error *err) {
  if (n_bytes == 0) return LCT_OK;
  if (out->npz != NULL) return lct_npz_put(out->npz, tensor, data, n_bytes, err);
  return lct_st_writer_put(out->st, data, n_bytes, err);
}

static lct_status put_numbers(exporter *e, const sink *out, int *tensor, lct_error *err) {
  for (int64_t i = 0; i < e->s.n_rows; i++) {
    int64_t row = e->s.first + i;
    LCT_TRY(put(out, *tensor, &row, sizeof row, err));
  }
  ++*tensor;
  for (int i = 0; i < e->s.n_layers; i++) {
    int32_t layer = export_layer(e, i);
    LCT_TRY(put(out, *tensor, &layer, sizeof layer, err));
  }
  ++*tensor;
  if (e->o->what != LCT_EXPORT_TOKENS) return LCT_OK;
  enum { BLOCK = 4096 };
  int32_t ids[BLOCK];
  for (int64_t i = 0; i < e->s.n_rows; i += BLOCK) {
    size_t n = (size_t)(e->s.n_rows - i < BLOCK ? e->s.n_rows - i : BLOCK);
    LCT_TRY(lct_archive_token_ids(e->a, e->s.first + i, n, ids, err));
    LCT_TRY(put(out, *tensor, ids, n * sizeof *ids, err));
  }
  ++*tensor;
  return LCT_OK;
}

static lct_status put_plane(exporter *e, const sink *out, int tensor, const char *source, const char *position, int layer, int width,
                            size_t block, float *v, lct_error *err) {
  for (int64_t i = 0; i < e->s.n_rows; i += (int64_t)block) {
    size_t n = (size_t)(e->s.n_rows - i) < block ? (size_t)(e->s.n_rows - i) : block;
    LCT_TRY(export_read(e, source, position, layer, i, n, v, err));
    LCT_TRY(put(out, tensor, v, n * (size_t)width * sizeof *v, err));
    e->values += (int64_t)n * width;
  }
  return LCT_OK;
}

static lct_status put_source(exporter *e, const sink *out, int tensor, const char *source, lct_error *err) {
  bool tokens = e->o->what == LCT_EXPORT_TOKENS;
  int width = 0;
  float *v = NULL;
  LCT_TRY(lct_archive_width(e->a, tokens, source, &width, err));
  size_t block = export_block(e, source, width);
  if (block == 0) return LCT_OK;
  LCT_TRY(lct_alloc_aligned(&v, block * (size_t)width, sizeof *v, "vectors", err));
  lct_status s = LCT_OK;
  for (int p = 0; p < (tokens ? 1 : e->s.n_positions) && s == LCT_OK; p++) {
    for (int l = 0; l < e->s.n_layers && s == LCT_OK; l++) {
      s = put_plane(e, out, tensor, source, tokens ? "" : export_position(e, p), export_layer(e, l), width, block, v, err);
    }
  }
  free(v);
  return s;
}

static lct_status put_scores(exporter *e, const sink *out, int tensor, lct_error *err) {
  const lct_archive_info *f = e->f;
  size_t row = (size_t)f->scores.n, block = (size_t)EXPORT_BLOCK_BYTES / (row * sizeof(float)) + 1;
  size_t chosen = (size_t)e->s.n_positions * (size_t)e->s.n_sources * (size_t)e->s.n_layers * (size_t)f->scores.references.n *
                  (size_t)f->scores.metrics.n;
  float *all = NULL, *some = NULL;
  lct_status s = lct_alloc_aligned(&all, block * row, sizeof *all, "scores", err);
  if (s == LCT_OK) s = lct_alloc_aligned(&some, block * row, sizeof *some, "scores", err);
  for (int64_t i = 0; i < e->s.n_rows && s == LCT_OK; i += (int64_t)block) {
    size_t n = (size_t)(e->s.n_rows - i) < block ? (size_t)(e->s.n_rows - i) : block;
    s = export_read_scores(e, i, n, all, some, err);
    if (s == LCT_OK) s = put(out, tensor, some, n * chosen * sizeof *some, err);
    e->values += (int64_t)(n * chosen);
  }
  free(all);
  free(some);
  return s;
}

static lct_status put_all(exporter *e, const sink *out, lct_error *err) {
  int tensor = 0;
  LCT_TRY(put_numbers(e, out, &tensor, err));
  if (e->o->what == LCT_EXPORT_SCORES) return put_scores(e, out, tensor, err);
  for (int i = 0; i < e->s.n_sources; i++) LCT_TRY(put_source(e, out, tensor++, export_source(e, i), err));
  return LCT_OK;
}

lct_status export_tensors(exporter *e, lct_error *err) {
  tensors t = {0};
  sink out = {0};
  lct_status s = list_tensors(e, &t, err);
  if (s == LCT_OK) s = e->o->format == LCT_EXPORT_NPZ ? open_npz(e, &t, &out, err) : open_safetensors(e, &t, &out, err);
  if (s == LCT_OK) s = put_all(e, &out, err);
  free(t.specs);
  if (s == LCT_OK) return out.npz != NULL ? lct_npz_finish(out.npz, true, err) : lct_st_writer_close(out.st, err);
  lct_npz_abort(out.npz);
  lct_st_writer_abort(out.st);
  return s;
}
