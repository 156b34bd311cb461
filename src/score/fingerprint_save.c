#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors_write.h"
#include "score/fingerprint_tensors.h"

enum { MAX_PAIRS = 16 };

typedef struct {
  lct_st_pair pairs[MAX_PAIRS];
  char *texts[MAX_PAIRS]; /* those of pairs that are ours */
  size_t n;
} metadata;

static void metadata_free(metadata *m) {
  for (size_t i = 0; i < m->n; i++) free(m->texts[i]);
}

static void put_text(metadata *m, const char *key, const char *value) { m->pairs[m->n++] = (lct_st_pair){key, value}; }

/* Takes v, NULL when memory was out while it was made. */
static lct_status put_json(metadata *m, const char *key, json_t *v, lct_error *err) {
  char *text = v != NULL ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  json_decref(v);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the metadata of fingerprints: %s", key);
  m->texts[m->n] = text;
  put_text(m, key, text);
  return LCT_OK;
}

static json_t *names_json(char *const *names, int n) {
  json_t *list = json_array();
  for (int i = 0; i < n && list != NULL; i++) {
    if (json_array_append_new(list, json_string(names[i])) == 0) continue;
    json_decref(list);
    list = NULL;
  }
  return list;
}

static json_t *prompts_json(const lct_fingerprints *f) {
  json_t *o = json_object();
  for (int i = 0; i < f->n_labels; i++) (void)json_object_set_new(o, f->labels[i], json_integer(f->n_prompts[i]));
  return o;
}

/* A float's shortest decimal that reads back as the same float would be long as a double: nine digits do. */
static json_t *number_json(float x) {
  if (!isfinite(x)) return json_null();
  char text[32];
  (void)snprintf(text, sizeof text, "%.9g", (double)x);
  return json_real(strtod(text, NULL));
}

static json_t *layers_json(const lct_fingerprints *f, int label, int pooling, int source) {
  json_t *list = json_array();
  size_t at = (size_t)label * lct_fingerprints_n_places(f) + lct_fingerprints_place(f, pooling, source, 0);
  for (int l = 0; l < f->n_layers; l++) (void)json_array_append_new(list, number_json(f->split_half[at + (size_t)l]));
  return list;
}

static json_t *split_half_json(const lct_fingerprints *f) {
  json_t *root = json_object();
  for (int i = 0; i < f->n_labels; i++) {
    json_t *label = json_object();
    for (int p = 0; p < f->n_poolings; p++) {
      json_t *pooling = json_object();
      for (int k = 0; k < f->n_sources; k++) (void)json_object_set_new(pooling, f->sources[k], layers_json(f, i, p, k));
      (void)json_object_set_new(label, f->poolings[p], pooling);
    }
    (void)json_object_set_new(root, f->labels[i], label);
  }
  return root;
}

static lct_status make_metadata(const lct_fingerprints *f, metadata *m, lct_error *err) {
  put_text(m, "format", "llmct-fingerprints");
  LCT_TRY(put_json(m, "version", json_integer(LCT_FINGERPRINT_VERSION), err));
  put_text(m, "model_hash", f->model_hash);
  put_text(m, "template_hash", f->template_hash);
  put_text(m, "model_id", f->model_id);
  put_text(m, "template_name", f->template_name);
  put_text(m, "precision", f->precision);
  LCT_TRY(put_json(m, "layers", json_integer(f->n_layers), err));
  LCT_TRY(put_json(m, "hidden", json_integer(f->hidden), err));
  LCT_TRY(put_json(m, "labels", names_json(f->labels, f->n_labels), err));
  LCT_TRY(put_json(m, "poolings", names_json(f->poolings, f->n_poolings), err));
  LCT_TRY(put_json(m, "sources", names_json(f->sources, f->n_sources), err));
  LCT_TRY(put_json(m, "prompts", prompts_json(f), err));
  LCT_TRY(put_json(m, "split_half", split_half_json(f), err));
  if (f->n_neutral == 0) return LCT_OK;
  return put_json(m, "neutral",
                  json_pack("{s:I, s:i, s:b}", "prompts", (json_int_t)f->n_neutral, "pcs", f->n_pcs, "whiten", f->whiten != NULL), err);
}

typedef struct {
  lct_arena arena;
  lct_st_spec *specs;
  size_t n, cap;
  lct_st_writer *writer;
} output;

static lct_status add_spec(void *ctx, const lct_fingerprint_tensor *t, lct_error *err) {
  output *o = ctx;
  LCT_TRY(lct_grow(&o->specs, &o->cap, o->n + 1, sizeof *o->specs, "the tensors of fingerprints", err));
  lct_st_spec *spec = &o->specs[o->n++];
  *spec = (lct_st_spec){.name = lct_arena_strndup(&o->arena, t->name, strlen(t->name)), .dtype = "F32", .n_dims = t->n_dims};
  if (spec->name == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the tensors of fingerprints");
  memcpy(spec->dims, t->dims, sizeof t->dims);
  return LCT_OK;
}

static lct_status write_tensor(void *ctx, const lct_fingerprint_tensor *t, lct_error *err) {
  output *o = ctx;
  size_t n = sizeof(float);
  for (int i = 0; i < t->n_dims; i++) n *= (size_t)t->dims[i];
  return lct_st_writer_put(o->writer, t->data, n, err);
}

lct_status lct_fingerprints_save(const lct_fingerprints *f, const char *path, lct_error *err) {
  output o = {0};
  metadata m = {0};
  bool whiten = f->whiten != NULL;
  lct_status s = make_metadata(f, &m, err);
  if (s == LCT_OK) s = lct_fingerprint_each(f, whiten, add_spec, &o, err);
  if (s == LCT_OK) s = lct_st_writer_open(path, m.pairs, m.n, o.specs, o.n, &o.writer, err);
  if (s == LCT_OK) {
    s = lct_fingerprint_each(f, whiten, write_tensor, &o, err);
    if (s == LCT_OK) s = lct_st_writer_close(o.writer, err);
    else lct_st_writer_abort(o.writer);
  }
  metadata_free(&m);
  free(o.specs);
  lct_arena_free(&o.arena);
  return s;
}
