#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/jsonio.h"
#include "model/tensors.h"
#include "score/fingerprint_tensors.h"

enum { MAX_LAYERS = 100000, MAX_HIDDEN = 1 << 24, MAX_DEPTH = 8 };

typedef struct {
  const char *file;
  lct_st_file st;
  lct_arena arena;
  lct_fingerprints names; /* texts in the arena */
  bool whiten;
} reader;

static lct_status bad(const reader *r, const char *key, const char *expected, const char *found, lct_error *err) {
  return lct_fail(err, LCT_E_FORMAT, "%s: metadata %s: expected %s, found %.80s", r->file, key, expected,
                  found != NULL ? found : "nothing");
}

static lct_status read_text(reader *r, const char *key, char **out, lct_error *err) {
  *out = (char *)lct_st_metadata(&r->st, key);
  return *out != NULL ? LCT_OK : bad(r, key, "a text", NULL, err);
}

/* The metadata's value as JSON; *out is the caller's. */
static lct_status read_json(const reader *r, const char *key, const char *expected, json_t **out, lct_error *err) {
  const char *text = lct_st_metadata(&r->st, key);
  *out = NULL;
  if (text == NULL) return bad(r, key, expected, NULL, err);
  lct_buf title = {0};
  lct_status s = lct_buf_printf(&title, err, "%s: metadata %s", r->file, key);
  if (s == LCT_OK) s = lct_json_parse(text, strlen(text), MAX_DEPTH, JSON_DECODE_ANY, title.data, out, err);
  lct_buf_free(&title);
  return s;
}

static lct_status read_int(const reader *r, const char *key, int max, int *out, lct_error *err) {
  json_t *v = NULL;
  char expected[64];
  (void)snprintf(expected, sizeof expected, "a number of 1 to %d", max);
  LCT_TRY(read_json(r, key, expected, &v, err));
  json_int_t n = json_is_integer(v) ? json_integer_value(v) : 0;
  json_decref(v);
  if (n < 1 || n > max) return bad(r, key, expected, lct_st_metadata(&r->st, key), err);
  *out = (int)n;
  return LCT_OK;
}

/* A list of different texts. */
static lct_status take_names(reader *r, const char *key, const json_t *list, char ***out, int *n_out, lct_error *err) {
  size_t n = json_array_size(list);
  if (n < 1 || n > LCT_FINGERPRINT_MAX_NAMES) {
    char expected[64];
    (void)snprintf(expected, sizeof expected, "a list of 1 to %d names", LCT_FINGERPRINT_MAX_NAMES);
    return bad(r, key, expected, lct_st_metadata(&r->st, key), err);
  }
  *out = lct_arena_alloc(&r->arena, n * sizeof **out);
  if (*out == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the names in %s", r->file);
  for (size_t i = 0; i < n; i++) {
    const char *name = json_string_value(json_array_get(list, i));
    if (name == NULL) return bad(r, key, "a list of names", lct_st_metadata(&r->st, key), err);
    for (size_t k = 0; k < i; k++) {
      if (strcmp((*out)[k], name) == 0) return bad(r, key, "names that differ", name, err);
    }
    (*out)[i] = lct_arena_strndup(&r->arena, name, strlen(name));
    if ((*out)[i] == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the names in %s", r->file);
  }
  *n_out = (int)n;
  return LCT_OK;
}

static lct_status read_names(reader *r, const char *key, char ***out, int *n, lct_error *err) {
  json_t *v = NULL;
  LCT_TRY(read_json(r, key, "a list of names", &v, err));
  lct_status s = take_names(r, key, v, out, n, err);
  json_decref(v);
  return s;
}

static lct_status read_neutral(reader *r, lct_error *err) {
  const char *text = lct_st_metadata(&r->st, "neutral");
  if (text == NULL) return LCT_OK;
  json_t *v = NULL;
  LCT_TRY(read_json(r, "neutral", "an object", &v, err));
  json_int_t prompts = 0, pcs = 0;
  int whiten = 0;
  int unpacked = json_unpack(v, "{s:I, s:I, s:b}", "prompts", &prompts, "pcs", &pcs, "whiten", &whiten);
  json_decref(v);
  if (unpacked != 0 || prompts < 1 || pcs < 0 || pcs > r->names.hidden) {
    return bad(r, "neutral", "{\"prompts\": n, \"pcs\": k, \"whiten\": true or false}", text, err);
  }
  r->names.n_neutral = prompts;
  r->names.n_pcs = (int)pcs;
  r->whiten = whiten != 0;
  return LCT_OK;
}

static lct_status read_names_and_sizes(reader *r, lct_error *err) {
  lct_fingerprints *f = &r->names;
  const char *format = lct_st_metadata(&r->st, "format"), *version = lct_st_metadata(&r->st, "version");
  if (format == NULL || strcmp(format, "llmct-fingerprints") != 0) {
    return bad(r, "format", "\"llmct-fingerprints\": a file of `llmct-gpu fingerprint`", format, err);
  }
  if (version == NULL || strcmp(version, "1") != 0) return bad(r, "version", "1", version, err);
  LCT_TRY(read_text(r, "model_hash", &f->model_hash, err));
  LCT_TRY(read_text(r, "template_hash", &f->template_hash, err));
  LCT_TRY(read_text(r, "model_id", &f->model_id, err));
  LCT_TRY(read_text(r, "template_name", &f->template_name, err));
  LCT_TRY(read_text(r, "precision", &f->precision, err));
  LCT_TRY(read_int(r, "layers", MAX_LAYERS, &f->n_layers, err));
  LCT_TRY(read_int(r, "hidden", MAX_HIDDEN, &f->hidden, err));
  LCT_TRY(read_names(r, "labels", &f->labels, &f->n_labels, err));
  LCT_TRY(read_names(r, "poolings", &f->poolings, &f->n_poolings, err));
  LCT_TRY(read_names(r, "sources", &f->sources, &f->n_sources, err));
  return read_neutral(r, err);
}

static int by_name(const void *a, const void *b) { return strcmp(((const lct_st_tensor *)a)->name, ((const lct_st_tensor *)b)->name); }

static int by_name_key(const void *name, const void *tensor) { return strcmp(name, ((const lct_st_tensor *)tensor)->name); }

static const lct_st_tensor *find(const reader *r, const char *name) {
  return bsearch(name, r->st.tensors, r->st.n_tensors, sizeof *r->st.tensors, by_name_key);
}

static void show_shape(char *out, size_t n, const char *dtype, int n_dims, const int64_t *dims) {
  size_t at = (size_t)snprintf(out, n, "%s [", dtype);
  for (int i = 0; i < n_dims && at < n; i++) at += (size_t)snprintf(out + at, n - at, "%s%lld", i > 0 ? "," : "", (long long)dims[i]);
  if (at < n) (void)snprintf(out + at, n - at, "]");
}

static lct_status check_tensor(void *ctx, const lct_fingerprint_tensor *t, lct_error *err) {
  const reader *r = ctx;
  const lct_st_tensor *found = find(r, t->name);
  char expected[160], shape[160] = "nothing";
  bool same = found != NULL && found->dtype == LCT_DTYPE_F32 && found->n_dims == t->n_dims;
  for (int i = 0; same && i < t->n_dims; i++) same = found->dims[i] == t->dims[i];
  if (same) return LCT_OK;
  show_shape(expected, sizeof expected, "F32", t->n_dims, t->dims);
  if (found != NULL) show_shape(shape, sizeof shape, found->dtype_name, found->n_dims, found->dims);
  return lct_fail(err, LCT_E_FORMAT, "%s: tensor \"%.128s\": expected %s, found %s", r->file, t->name, expected, shape);
}

static lct_status copy_tensor(void *ctx, const lct_fingerprint_tensor *t, lct_error *err) {
  const reader *r = ctx;
  const lct_st_tensor *found = find(r, t->name);
  memcpy(t->data, found->data, found->n_bytes);
  size_t n = found->n_bytes / sizeof(float), per_layer = n / (size_t)t->dims[0];
  size_t suffix = strlen(t->name);
  bool may_be_nan = suffix > 2 && strcmp(t->name + suffix - 2, "/z") == 0 && t->n_dims == 4;
  for (size_t i = 0; i < n && !may_be_nan; i++) {
    if (isfinite(t->data[i])) continue;
    return lct_fail(err, LCT_E_NUMERIC, "%s: tensor \"%.128s\": layer %zu value %zu is %s", r->file, t->name, i / per_layer, i % per_layer,
                    isnan(t->data[i]) ? "NaN" : "infinite");
  }
  return LCT_OK;
}

static lct_status read_prompts(const reader *r, lct_fingerprints *f, lct_error *err) {
  json_t *v = NULL;
  LCT_TRY(read_json(r, "prompts", "an object of numbers", &v, err));
  lct_status s = LCT_OK;
  for (int i = 0; i < f->n_labels && s == LCT_OK; i++) {
    const json_t *n = json_object_get(v, f->labels[i]);
    if (!json_is_integer(n) || json_integer_value(n) < 1) s = bad(r, "prompts", "a number for each label", f->labels[i], err);
    f->n_prompts[i] = json_integer_value(n);
  }
  json_decref(v);
  return s;
}

static lct_status take_halves(const reader *r, lct_fingerprints *f, const json_t *root, int label, int pooling, int source,
                              lct_error *err) {
  const json_t *list = json_object_get(root, f->labels[label]);
  list = json_object_get(json_object_get(list, f->poolings[pooling]), f->sources[source]);
  if (json_array_size(list) != (size_t)f->n_layers) return bad(r, "split_half", "a number a layer for each label", f->labels[label], err);
  size_t at = (size_t)label * lct_fingerprints_n_places(f) + lct_fingerprints_place(f, pooling, source, 0);
  for (int l = 0; l < f->n_layers; l++) {
    const json_t *x = json_array_get(list, (size_t)l);
    if (!json_is_null(x) && !json_is_number(x)) return bad(r, "split_half", "numbers and nulls", f->labels[label], err);
    f->split_half[at + (size_t)l] = json_is_null(x) ? NAN : (float)json_number_value(x);
  }
  return LCT_OK;
}

static lct_status read_split_half(const reader *r, lct_fingerprints *f, lct_error *err) {
  json_t *v = NULL;
  LCT_TRY(read_json(r, "split_half", "an object", &v, err));
  lct_status s = LCT_OK;
  for (int i = 0; i < f->n_labels && s == LCT_OK; i++) {
    for (int p = 0; p < f->n_poolings && s == LCT_OK; p++) {
      for (int k = 0; k < f->n_sources && s == LCT_OK; k++) s = take_halves(r, f, v, i, p, k, err);
    }
  }
  json_decref(v);
  return s;
}

lct_status lct_fingerprints_parse(const unsigned char *data, size_t n, const char *file, lct_fingerprints **out, lct_error *err) {
  reader r = {.file = file};
  lct_fingerprints *f = NULL;
  *out = NULL;
  lct_status s = lct_safetensors_parse(data, n, file, &r.arena, &r.st, err);
  if (s == LCT_OK && r.st.n_tensors > 0) qsort(r.st.tensors, r.st.n_tensors, sizeof *r.st.tensors, by_name);
  if (s == LCT_OK) s = read_names_and_sizes(&r, err);
  if (s == LCT_OK) s = lct_fingerprint_each(&r.names, r.whiten, check_tensor, &r, err);
  if (s == LCT_OK) s = lct_fingerprints_new(&r.names, r.whiten, &f, err);
  if (s == LCT_OK) s = lct_fingerprint_each(f, r.whiten, copy_tensor, &r, err);
  if (s == LCT_OK) s = read_prompts(&r, f, err);
  if (s == LCT_OK) s = read_split_half(&r, f, err);
  lct_arena_free(&r.arena);
  if (s == LCT_OK) *out = f;
  else lct_fingerprints_free(f);
  return s;
}

lct_status lct_fingerprints_open(const char *path, lct_fingerprints **out, lct_error *err) {
  lct_map map;
  *out = NULL;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_status s = lct_fingerprints_parse(map.data, map.size, path, out, err);
  lct_map_close(&map);
  return s;
}
