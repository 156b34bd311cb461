#include "score/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#include "score/fingerprint_tensors.h"

int lct_z_bin(int role, int32_t n_tokens) {
  int length = 0;
  for (; n_tokens > 1 && length < LCT_Z_LENGTHS - 1; n_tokens /= 2) length++;
  return role * LCT_Z_LENGTHS + length;
}

static lct_status copy_text(char **to, const char *from, lct_error *err) {
  *to = strdup(from != NULL ? from : "");
  return *to != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for fingerprints");
}

static lct_status copy_names(char ***to, char *const *from, int n, lct_error *err) {
  LCT_TRY(lct_calloc(to, (size_t)n, sizeof **to, "names of fingerprints", err));
  for (int i = 0; i < n; i++) LCT_TRY(copy_text(&(*to)[i], from[i], err));
  return LCT_OK;
}

static lct_status copy_texts(lct_fingerprints *f, const lct_fingerprints *from, lct_error *err) {
  LCT_TRY(copy_text(&f->model_hash, from->model_hash, err));
  LCT_TRY(copy_text(&f->template_hash, from->template_hash, err));
  LCT_TRY(copy_text(&f->model_id, from->model_id, err));
  LCT_TRY(copy_text(&f->template_name, from->template_name, err));
  LCT_TRY(copy_text(&f->precision, from->precision, err));
  LCT_TRY(copy_names(&f->labels, from->labels, from->n_labels, err));
  LCT_TRY(copy_names(&f->poolings, from->poolings, from->n_poolings, err));
  return copy_names(&f->sources, from->sources, from->n_sources, err);
}

static lct_status make_bank(lct_fingerprints *f, bool whiten, lct_error *err) {
  size_t places = lct_fingerprints_n_places(f), hidden = (size_t)f->hidden, pcs = (size_t)f->n_pcs;
  const char *what = "a neutral bank";
  LCT_TRY(lct_calloc(&f->mean, places, hidden * sizeof *f->mean, what, err));
  LCT_TRY(lct_calloc(&f->sigma, places, hidden * sizeof *f->sigma, what, err));
  LCT_TRY(lct_calloc(&f->z, places * (size_t)f->n_labels, LCT_Z_ROLES * LCT_Z_LENGTHS * 2 * sizeof *f->z, what, err));
  if (pcs > 0) {
    LCT_TRY(lct_calloc(&f->pcs, places, pcs * hidden * sizeof *f->pcs, what, err));
    LCT_TRY(lct_calloc(&f->pc_var, places, pcs * sizeof *f->pc_var, what, err));
  }
  if (!whiten) return LCT_OK;
  LCT_TRY(lct_calloc(&f->shrinkage, places, sizeof *f->shrinkage, what, err));
  return lct_calloc(&f->whiten, places, hidden * hidden * sizeof *f->whiten, "whitening matrices", err);
}

lct_status lct_fingerprints_new(const lct_fingerprints *names, bool whiten, lct_fingerprints **out, lct_error *err) {
  *out = NULL;
  lct_fingerprints *f = NULL;
  LCT_TRY(lct_calloc(&f, 1, sizeof *f, "fingerprints", err));
  f->n_layers = names->n_layers;
  f->hidden = names->hidden;
  f->n_labels = names->n_labels;
  f->n_poolings = names->n_poolings;
  f->n_sources = names->n_sources;
  f->n_neutral = names->n_neutral;
  f->n_pcs = names->n_neutral > 0 ? names->n_pcs : 0;
  size_t vectors = (size_t)f->n_labels * lct_fingerprints_n_places(f);
  lct_status s = copy_texts(f, names, err);
  if (s == LCT_OK) s = lct_calloc(&f->n_prompts, (size_t)f->n_labels, sizeof *f->n_prompts, "fingerprints", err);
  if (s == LCT_OK) s = lct_calloc(&f->vectors, vectors, (size_t)f->hidden * sizeof *f->vectors, "fingerprints", err);
  if (s == LCT_OK) s = lct_calloc(&f->split_half, vectors, sizeof *f->split_half, "fingerprints", err);
  if (s == LCT_OK && f->n_neutral > 0) s = make_bank(f, whiten, err);
  if (s != LCT_OK) {
    lct_fingerprints_free(f);
    return s;
  }
  *out = f;
  return LCT_OK;
}

static void free_names(char **names, int n) {
  for (int i = 0; names != NULL && i < n; i++) free(names[i]);
  free(names);
}

void lct_fingerprints_free(lct_fingerprints *f) {
  if (f == NULL) return;
  char *const texts[] = {f->model_hash, f->template_hash, f->model_id, f->template_name, f->precision};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
  free_names(f->labels, f->n_labels);
  free_names(f->poolings, f->n_poolings);
  free_names(f->sources, f->n_sources);
  float *const numbers[] = {f->vectors, f->split_half, f->mean, f->sigma, f->pcs, f->pc_var, f->whiten, f->shrinkage, f->z};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) free(numbers[i]);
  free(f->n_prompts);
  free(f);
}

lct_status lct_fingerprints_check(const lct_fingerprints *f, const char *path, const char *model_hash, const char *template_hash,
                                  int n_layers, int hidden, lct_error *err) {
  if (f->n_layers != n_layers) {
    return lct_fail(err, LCT_E_USAGE, "%s was made with a model of %d layers (%s); this one has %d", path, f->n_layers, f->model_id,
                    n_layers);
  }
  if (f->hidden != hidden) {
    return lct_fail(err, LCT_E_USAGE, "%s was made with a model of hidden size %d (%s); this one's is %d", path, f->hidden, f->model_id,
                    hidden);
  }
  if (strcmp(f->model_hash, model_hash) != 0) {
    return lct_fail(err, LCT_E_USAGE, "%s was made with another model, %s of hash %.12s; this one's hash is %.12s", path, f->model_id,
                    f->model_hash, model_hash);
  }
  if (strcmp(f->template_hash, template_hash) != 0) {
    return lct_fail(err, LCT_E_USAGE, "%s was made with another chat template, %s of hash %.12s; this one's hash is %.12s", path,
                    f->template_name, f->template_hash, template_hash);
  }
  return LCT_OK;
}

/* A part of a tensor's name: "/" and "%" as %2F and %25. */
static lct_status put_part(lct_buf *b, const char *text, lct_error *err) {
  for (; *text != '\0'; text++) {
    if (*text == '/' || *text == '%') LCT_TRY(lct_buf_printf(b, err, "%%%02X", (unsigned)*text));
    else LCT_TRY(lct_buf_append(b, text, 1, err));
  }
  return LCT_OK;
}

typedef struct {
  const lct_fingerprints *f;
  lct_status (*show)(void *ctx, const lct_fingerprint_tensor *t, lct_error *err);
  void *ctx;
  lct_buf name;
} walk;

/* Shows the tensor of one (pooling, source); base (NULL: none yet) holds `per_layer` values a place, dims say how. prefix: the label. */
static lct_status show_one(walk *w, const char *prefix, bool label, int pooling, int source, const char *suffix, lct_fingerprint_tensor t,
                           float *base, lct_error *err) {
  size_t per_layer = 1;
  for (int i = 1; i < t.n_dims; i++) per_layer *= (size_t)t.dims[i];
  w->name.len = 0;
  if (label) LCT_TRY(put_part(&w->name, prefix, err));
  else LCT_TRY(lct_buf_puts(&w->name, prefix, err));
  LCT_TRY(lct_buf_puts(&w->name, "/", err));
  LCT_TRY(put_part(&w->name, w->f->poolings[pooling], err));
  LCT_TRY(lct_buf_puts(&w->name, "/", err));
  LCT_TRY(put_part(&w->name, w->f->sources[source], err));
  LCT_TRY(lct_buf_puts(&w->name, suffix, err));
  t.name = w->name.data;
  t.data = base != NULL ? base + lct_fingerprints_place(w->f, pooling, source, 0) * per_layer : NULL;
  return w->show(w->ctx, &t, err);
}

static lct_status show_bank(walk *w, bool whiten, int pooling, int source, lct_error *err) {
  const lct_fingerprints *f = w->f;
  int64_t layers = f->n_layers, hidden = f->hidden, bins = LCT_Z_ROLES * LCT_Z_LENGTHS;
  const struct {
    const char *suffix;
    bool there;
    lct_fingerprint_tensor shape;
    float *base;
  } parts[] = {
      {"/mean", true, {.n_dims = 2, .dims = {layers, hidden}}, f->mean},
      {"/sigma", true, {.n_dims = 2, .dims = {layers, hidden}}, f->sigma},
      {"/pcs", f->n_pcs > 0, {.n_dims = 3, .dims = {layers, f->n_pcs, hidden}}, f->pcs},
      {"/pc_var", f->n_pcs > 0, {.n_dims = 2, .dims = {layers, f->n_pcs}}, f->pc_var},
      {"/z", true, {.n_dims = 4, .dims = {layers, f->n_labels, bins, 2}}, f->z},
      {"/shrinkage", whiten, {.n_dims = 1, .dims = {layers}}, f->shrinkage},
      {"/whiten", whiten, {.n_dims = 3, .dims = {layers, hidden, hidden}}, f->whiten},
  };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (parts[i].there) LCT_TRY(show_one(w, "neutral", false, pooling, source, parts[i].suffix, parts[i].shape, parts[i].base, err));
  }
  return LCT_OK;
}

static lct_status show_place(walk *w, bool whiten, int pooling, int source, lct_error *err) {
  const lct_fingerprints *f = w->f;
  const lct_fingerprint_tensor shape = {.n_dims = 2, .dims = {f->n_layers, f->hidden}};
  for (int i = 0; i < f->n_labels; i++) {
    float *base = f->vectors != NULL ? lct_fingerprints_vector(f, i, 0) : NULL;
    LCT_TRY(show_one(w, f->labels[i], true, pooling, source, "", shape, base, err));
  }
  return f->n_neutral > 0 ? show_bank(w, whiten, pooling, source, err) : LCT_OK;
}

lct_status lct_fingerprint_each(const lct_fingerprints *f, bool whiten,
                                lct_status (*show)(void *ctx, const lct_fingerprint_tensor *t, lct_error *err), void *ctx, lct_error *err) {
  walk w = {.f = f, .show = show, .ctx = ctx};
  lct_status s = LCT_OK;
  for (int p = 0; p < f->n_poolings && s == LCT_OK; p++) {
    for (int k = 0; k < f->n_sources && s == LCT_OK; k++) s = show_place(&w, whiten, p, k, err);
  }
  lct_buf_free(&w.name);
  return s;
}
