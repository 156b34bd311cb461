/* What a file of fingerprints holds, as text or JSON. */
#include "api/inspect_fingerprints.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "score/fingerprint.h"

bool inspects_fingerprints(const char *path) {
  static const char ending[] = ".safetensors";
  size_t n = strlen(path);
  struct stat st;
  return n >= sizeof ending && strcmp(path + n - (sizeof ending - 1), ending) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Of the cosines between a label's halves over the layers of a pooling and source; NaN where it has one prompt. */
typedef struct {
  float mean, least;
  int least_layer;
} halves;

static halves halves_of(const lct_fingerprints *f, int label, int pooling, int source) {
  const float *x = f->split_half + (size_t)label * lct_fingerprints_n_places(f) + lct_fingerprints_place(f, pooling, source, 0);
  halves h = {.mean = NAN, .least = NAN};
  double sum = 0;
  int n = 0;
  for (int l = 0; l < f->n_layers; l++) {
    if (isnan(x[l])) continue;
    if (n == 0 || x[l] < h.least) {
      h.least = x[l];
      h.least_layer = l;
    }
    sum += (double)x[l];
    n++;
  }
  if (n > 0) h.mean = (float)(sum / n);
  return h;
}

static float mean_shrinkage(const lct_fingerprints *f) {
  double sum = 0;
  size_t n = lct_fingerprints_n_places(f);
  for (size_t i = 0; i < n; i++) sum += (double)f->shrinkage[i];
  return (float)(sum / (double)n);
}

/* Share of the bank's variance along its components, over the places. */
static float mean_explained(const lct_fingerprints *f) {
  double sum = 0;
  size_t n = lct_fingerprints_n_places(f), hidden = (size_t)f->hidden;
  for (size_t place = 0; place < n; place++) {
    double total = 0, along = 0;
    for (size_t i = 0; i < hidden; i++) total += (double)f->sigma[place * hidden + i] * (double)f->sigma[place * hidden + i];
    for (int k = 0; k < f->n_pcs; k++) along += (double)f->pc_var[place * (size_t)f->n_pcs + (size_t)k];
    sum += total > 0 ? along / total : 0;
  }
  return (float)(sum / (double)n);
}

static json_t *real_or_null(float x) { return isfinite(x) ? json_real((double)x) : json_null(); }

static json_t *names_json(char *const *names, int n) {
  json_t *list = json_array();
  for (int i = 0; i < n; i++) (void)json_array_append_new(list, json_string(names[i]));
  return list;
}

static json_t *label_json(const lct_fingerprints *f, int label) {
  json_t *split = json_object();
  for (int p = 0; p < f->n_poolings; p++) {
    json_t *pooling = json_object();
    for (int k = 0; k < f->n_sources; k++) {
      halves h = halves_of(f, label, p, k);
      json_t *v = isnan(h.mean) ? json_null()
                                : json_pack("{s:o, s:o, s:i}", "mean", real_or_null(h.mean), "least", real_or_null(h.least), "least_layer",
                                            h.least_layer);
      (void)json_object_set_new(pooling, f->sources[k], v);
    }
    (void)json_object_set_new(split, f->poolings[p], pooling);
  }
  return json_pack("{s:s, s:I, s:o}", "label", f->labels[label], "prompts", (json_int_t)f->n_prompts[label], "split_half", split);
}

static json_t *neutral_json(const lct_fingerprints *f) {
  if (f->n_neutral == 0) return json_null();
  json_t *o = json_pack("{s:I, s:i, s:b}", "prompts", (json_int_t)f->n_neutral, "pcs", f->n_pcs, "whiten", f->whiten != NULL);
  if (f->n_pcs > 0) (void)json_object_set_new(o, "pcs_share", real_or_null(mean_explained(f)));
  if (f->whiten != NULL) (void)json_object_set_new(o, "shrinkage", real_or_null(mean_shrinkage(f)));
  return o;
}

static lct_status as_json(const lct_fingerprints *f, const char *path, const char *hash, lct_buf *b, lct_error *err) {
  json_t *labels = json_array();
  for (int i = 0; i < f->n_labels; i++) (void)json_array_append_new(labels, label_json(f, i));
  json_t *root = json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s}, s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "path", path, "format",
                           "llmct-fingerprints", "hash", hash, "model", "id", f->model_id, "hash", f->model_hash, "template", "name",
                           f->template_name, "hash", f->template_hash, "precision", f->precision, "n_layers", f->n_layers, "hidden",
                           f->hidden, "poolings", names_json(f->poolings, f->n_poolings), "sources", names_json(f->sources, f->n_sources),
                           "neutral", neutral_json(f), "labels", labels);
  char *text = root != NULL ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
  json_decref(root);
  lct_status s = text != NULL ? lct_buf_puts(b, text, err) : lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  free(text);
  return s;
}

static lct_status put_list(lct_buf *b, const char *title, char *const *names, int n, lct_error *err) {
  LCT_TRY(lct_buf_printf(b, err, "%-15s", title));
  for (int i = 0; i < n; i++) LCT_TRY(lct_buf_printf(b, err, "%s%s", i > 0 ? ", " : "", names[i]));
  return lct_buf_puts(b, "\n", err);
}

static lct_status put_neutral(lct_buf *b, const lct_fingerprints *f, lct_error *err) {
  if (f->n_neutral == 0) return lct_buf_puts(b, "neutral bank   none: only cosine, mae and jaccard can be scored\n", err);
  LCT_TRY(lct_buf_printf(b, err, "neutral bank   %lld prompts", (long long)f->n_neutral));
  if (f->n_pcs > 0) {
    LCT_TRY(lct_buf_printf(b, err, "; %d principal components, %.1f %% of the variance", f->n_pcs, 100 * (double)mean_explained(f)));
  }
  if (f->whiten != NULL) LCT_TRY(lct_buf_printf(b, err, "; whitening, mean shrinkage %.3f", (double)mean_shrinkage(f)));
  return lct_buf_puts(b, "\n", err);
}

static lct_status put_label(lct_buf *b, const lct_fingerprints *f, int label, lct_error *err) {
  LCT_TRY(lct_buf_printf(b, err, "\n%s: %lld prompt%s", f->labels[label], (long long)f->n_prompts[label],
                         f->n_prompts[label] == 1 ? "" : "s"));
  if (f->n_prompts[label] < 2) return LCT_OK;
  LCT_TRY(lct_buf_puts(b, "; cosine between halves", err));
  for (int p = 0; p < f->n_poolings; p++) {
    for (int k = 0; k < f->n_sources; k++) {
      halves h = halves_of(f, label, p, k);
      LCT_TRY(lct_buf_printf(b, err, "\n  %-13s %-13s mean %7.4f  least %7.4f at layer %d", f->poolings[p], f->sources[k], (double)h.mean,
                             (double)h.least, h.least_layer));
    }
  }
  return LCT_OK;
}

static lct_status as_text(const lct_fingerprints *f, const char *path, const char *hash, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_printf(b, err, "%s (fingerprints)\n", path));
  LCT_TRY(lct_buf_printf(b, err, "model          %s, %d layers, hidden %d, hash %.12s\n", f->model_id, f->n_layers, f->hidden,
                         f->model_hash));
  LCT_TRY(lct_buf_printf(b, err, "chat template  %s, hash %.12s\n", f->template_name, f->template_hash));
  LCT_TRY(lct_buf_printf(b, err, "precision      %s\n", f->precision));
  LCT_TRY(put_list(b, "poolings", f->poolings, f->n_poolings, err));
  LCT_TRY(put_list(b, "sources", f->sources, f->n_sources, err));
  LCT_TRY(put_neutral(b, f, err));
  LCT_TRY(lct_buf_printf(b, err, "hash           %s", hash));
  for (int i = 0; i < f->n_labels; i++) LCT_TRY(put_label(b, f, i, err));
  return LCT_OK;
}

lct_status inspect_fingerprints(const char *path, bool json, char **text, lct_error *err) {
  lct_map map;
  lct_fingerprints *f = NULL;
  lct_buf b = {0};
  char hash[65];
  LCT_TRY(lct_map_open(path, &map, err));
  lct_status s = lct_fingerprints_parse(map.data, map.size, path, &f, err);
  if (s == LCT_OK) {
    lct_sha256_hex(map.data, map.size, hash);
    s = json ? as_json(f, path, hash, &b, err) : as_text(f, path, hash, &b, err);
  }
  lct_map_close(&map);
  lct_fingerprints_free(f);
  if (s == LCT_OK) *text = b.data;
  else lct_buf_free(&b);
  return s;
}
