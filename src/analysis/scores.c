#include "analysis/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int lct_label_find(char *const *labels, size_t n, const char *label) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(labels[i], label) == 0) return (int)i;
  }
  return -1;
}

static lct_status arena_take(lct_arena *a, void *out_ptr, size_t n, size_t size, lct_error *err) {
  size_t bytes = 0;
  void *p = lct_mul_ok(n ? n : 1, size, &bytes) ? lct_arena_alloc(a, bytes) : NULL;
  if (p == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for scores: %zu x %zu bytes", n, size);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

static lct_status copy_string(lct_arena *a, const char *text, char **out, lct_error *err) {
  *out = lct_arena_strndup(a, text, strlen(text));
  return *out != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for text");
}

static lct_status read_header(const lct_json *root, lct_error *err) {
  const char *format = NULL;
  LCT_TRY(lct_json_get_string(root, "format", &format, err));
  if (strcmp(format, "llmct-scores") != 0) {
    return lct_fail(err, LCT_E_FORMAT, "%s: format: expected \"llmct-scores\", found \"%.60s\"", root->file, format);
  }
  int64_t version = 0;
  LCT_TRY(lct_json_get_int(root, "version", INT64_MIN, INT64_MAX, &version, err));
  if (version != 1) return lct_fail(err, LCT_E_FORMAT, "%s: version: expected 1, found %lld", root->file, (long long)version);
  return LCT_OK;
}

static lct_status read_snapshot(const lct_json *item, lct_arena *a, lct_snapshot *out, lct_error *err) {
  int64_t index = 0, n_tokens = 0;
  const char *role = NULL, *preview = NULL;
  LCT_TRY(lct_json_get_int(item, "index", 0, INT32_MAX, &index, err));
  LCT_TRY(lct_json_get_string(item, "role", &role, err));
  LCT_TRY(lct_json_get_string(item, "content_preview", &preview, err));
  LCT_TRY(lct_json_get_int(item, "n_tokens", 0, INT32_MAX, &n_tokens, err));
  lct_json flag;
  if (lct_json_find(item, "generated", &flag)) LCT_TRY(lct_json_bool(&flag, &out->generated, err));
  out->index = (int)index;
  out->n_tokens = (int)n_tokens;
  LCT_TRY(copy_string(a, role, &out->role, err));
  return copy_string(a, preview, &out->preview, err);
}

static lct_status read_snapshots(const lct_json *root, lct_scores *s, lct_error *err) {
  lct_json at;
  LCT_TRY(lct_json_get(root, "snapshots", &at, err));
  LCT_TRY(lct_json_array(&at, &s->n_snapshots, err));
  LCT_TRY(arena_take(&s->arena, &s->snapshots, s->n_snapshots, sizeof *s->snapshots, err));
  for (size_t i = 0; i < s->n_snapshots; i++) {
    lct_json item = lct_json_item(&at, i);
    LCT_TRY(read_snapshot(&item, &s->arena, &s->snapshots[i], err));
  }
  return LCT_OK;
}

static lct_status read_layers(const lct_json *root, lct_scores *s, lct_error *err) {
  lct_json at;
  LCT_TRY(lct_json_get(root, "layers", &at, err));
  LCT_TRY(lct_json_array(&at, &s->n_layers, err));
  LCT_TRY(arena_take(&s->arena, &s->layers, s->n_layers, sizeof *s->layers, err));
  for (size_t i = 0; i < s->n_layers; i++) {
    lct_json item = lct_json_item(&at, i);
    int64_t v = 0;
    LCT_TRY(lct_json_int(&item, 0, INT32_MAX, &v, err));
    if (i > 0 && v <= s->layers[i - 1]) {
      return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected layers in ascending order, found %lld after %d", item.file, item.path,
                      (long long)v, s->layers[i - 1]);
    }
    s->layers[i] = (int)v;
  }
  return LCT_OK;
}

static lct_status read_axes(const lct_json *root, lct_error *err) {
  static const char *const AXES[] = {"snapshot", "pooling", "source", "layer", "reference", "metric"};
  lct_json at;
  LCT_TRY(lct_json_get(root, "axes", &at, err));
  size_t n = 0;
  LCT_TRY(lct_json_array(&at, &n, err));
  if (n != 6) return lct_fail(err, LCT_E_FORMAT, "%s: axes: expected 6 names, found %zu", at.file, n);
  for (size_t i = 0; i < n; i++) {
    lct_json item = lct_json_item(&at, i);
    const char *name = NULL;
    LCT_TRY(lct_json_string(&item, &name, err));
    if (strcmp(name, AXES[i]) != 0) {
      return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected \"%s\", found \"%.60s\"", at.file, item.path, AXES[i], name);
    }
  }
  return LCT_OK;
}

static lct_status read_label_axis(const lct_json *root, const char *key, lct_scores *s, char ***out, size_t *n, lct_error *err) {
  lct_json at;
  LCT_TRY(lct_json_get(root, key, &at, err));
  return lct_json_labels(&at, &s->arena, out, n, err);
}

static lct_status read_values(const lct_json *root, lct_scores *s, lct_error *err) {
  const size_t shape[] = {s->n_snapshots, s->n_poolings, s->n_sources, s->n_layers, s->n_references, s->n_metrics};
  size_t n = 1;
  for (size_t i = 0; i < 6; i++) {
    if (!lct_mul_ok(n, shape[i], &n)) return lct_fail(err, LCT_E_FORMAT, "%s: scores: the axes' product overflows", s->file);
  }
  lct_json at;
  LCT_TRY(lct_json_get(root, "scores", &at, err));
  size_t found = 0;
  LCT_TRY(lct_json_array(&at, &found, err));
  if (found != n) {
    return lct_fail(err, LCT_E_FORMAT, "%s: scores: expected %zu numbers (%zu x %zu x %zu x %zu x %zu x %zu), found %zu", s->file, n,
                    shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], found);
  }
  LCT_TRY(arena_take(&s->arena, &s->values, n, sizeof *s->values, err));
  LCT_TRY(lct_json_numbers(&at, n, s->values, err));
  s->n_values = n;
  for (size_t i = 0; i < n; i++) s->n_nan += isnan(s->values[i]) ? 1 : 0;
  return LCT_OK;
}

static lct_status read_intra_metric(const lct_json *of_source, const char *key, lct_scores *s, double **out, lct_error *err) {
  lct_json at;
  if (!lct_json_find(of_source, key, &at)) return LCT_OK;
  double *v = NULL;
  LCT_TRY(arena_take(&s->arena, &v, s->n_layers, sizeof *v, err));
  LCT_TRY(lct_json_numbers(&at, s->n_layers, v, err));
  *out = v;
  return LCT_OK;
}

static lct_status read_intra(const lct_json *root, lct_scores *s, lct_error *err) {
  lct_json at;
  if (!lct_json_find(root, "intra_run", &at)) return LCT_OK;
  LCT_TRY(lct_json_object(&at, err));
  LCT_TRY(arena_take(&s->arena, &s->intra, s->n_sources, sizeof *s->intra, err));
  for (size_t i = 0; i < s->n_sources; i++) {
    lct_json src;
    if (!lct_json_find(&at, s->sources[i], &src)) continue;
    LCT_TRY(lct_json_object(&src, err));
    LCT_TRY(read_intra_metric(&src, "cosine", s, &s->intra[i].cosine, err));
    LCT_TRY(read_intra_metric(&src, "mae", s, &s->intra[i].mae, err));
    LCT_TRY(read_intra_metric(&src, "jaccard", s, &s->intra[i].jaccard, err));
  }
  return LCT_OK;
}

static lct_status read_all(const lct_json *root, lct_scores *s, lct_error *err) {
  LCT_TRY(read_header(root, err));
  LCT_TRY(copy_string(&s->arena, root->file, &s->file, err));
  LCT_TRY(read_axes(root, err));
  LCT_TRY(read_snapshots(root, s, err));
  LCT_TRY(read_label_axis(root, "poolings", s, &s->poolings, &s->n_poolings, err));
  LCT_TRY(read_label_axis(root, "sources", s, &s->sources, &s->n_sources, err));
  LCT_TRY(read_layers(root, s, err));
  LCT_TRY(read_label_axis(root, "references", s, &s->references, &s->n_references, err));
  LCT_TRY(read_label_axis(root, "metrics", s, &s->metrics, &s->n_metrics, err));
  s->metric.cosine = lct_label_find(s->metrics, s->n_metrics, "cosine");
  s->metric.mae = lct_label_find(s->metrics, s->n_metrics, "mae");
  s->metric.jaccard = lct_label_find(s->metrics, s->n_metrics, "jaccard");
  if (s->metric.cosine < 0) return lct_fail(err, LCT_E_FORMAT, "%s: metrics: expected \"cosine\" among them", s->file);
  LCT_TRY(read_values(root, s, err));
  return read_intra(root, s, err);
}

lct_status lct_scores_load(const char *path, lct_scores **out, lct_error *err) {
  *out = NULL;
  json_t *doc = NULL;
  LCT_TRY(lct_json_load(path, &doc, err));
  lct_scores *s = NULL;
  lct_status st = lct_calloc(&s, 1, sizeof *s, "scores", err);
  if (st == LCT_OK) {
    lct_json root = lct_json_root(path, doc);
    st = read_all(&root, s, err);
  }
  json_decref(doc);
  if (st != LCT_OK) {
    lct_scores_free(s);
    return st;
  }
  *out = s;
  return LCT_OK;
}

void lct_scores_free(lct_scores *s) {
  if (s == NULL) return;
  lct_arena_free(&s->arena);
  free(s);
}
