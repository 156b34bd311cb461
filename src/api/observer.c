/* A model opened once, and an observer of it. */
#include <stdlib.h>
#include <string.h>

#include "api/observer_impl.h"

lct_status lct_model_open(const lct_model_options *o, lct_subject **out, lct_error *err) {
  *out = NULL;
  if (o->id == NULL) return lct_fail(err, LCT_E_USAGE, "no model is named: expected a folder, a .gguf file or a Hub id");
  return lct_subject_open(o, true, out, err);
}

void lct_model_free(lct_subject *model) { lct_subject_free(model); }

void lct_model_device(const lct_subject *model, lct_device_used *out) { lct_device_describe(&model->device, out); }

static lct_status room(lct_observer *o, void *out_ptr, int n, size_t size, lct_error *err) {
  void *p = lct_arena_alloc(&o->arena, (size_t)n * size);
  memcpy(out_ptr, &p, sizeof p);
  return p != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for the axes of an observer");
}

static lct_status name_scores(lct_observer *o, lct_error *err) {
  const lct_axes *a = o->axes;
  lct_observer_axes *n = &o->names;
  const char **positions, **sources, **references, **metrics;
  if (a->scorer == NULL) return LCT_OK;
  *n = (lct_observer_axes){.n_scored_positions = a->n_scored_positions,
                           .n_scored_sources = a->n_scored_sources,
                           .n_references = a->fingerprints->n_labels,
                           .n_metrics = a->n_metrics};
  LCT_TRY(room(o, &positions, n->n_scored_positions, sizeof *positions, err));
  LCT_TRY(room(o, &sources, n->n_scored_sources, sizeof *sources, err));
  LCT_TRY(room(o, &references, n->n_references, sizeof *references, err));
  LCT_TRY(room(o, &metrics, n->n_metrics, sizeof *metrics, err));
  for (int i = 0; i < n->n_scored_positions; i++) {
    positions[i] = a->positions[a->scored_positions[i]].name;
    if (a->positions[a->scored_positions[i]].at == LCT_AT_LAST) o->scored_last = i;
  }
  for (int i = 0; i < n->n_scored_sources; i++) sources[i] = lct_source_name(a->sources[a->scored_sources[i]].source);
  for (int i = 0; i < n->n_references; i++) {
    references[i] = lct_arena_strndup(&o->arena, a->fingerprints->labels[i], strlen(a->fingerprints->labels[i]));
    if (references[i] == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a label");
  }
  for (int i = 0; i < n->n_metrics; i++) metrics[i] = lct_any_metric_name(a->metrics[i]);
  n->scored_positions = positions;
  n->scored_sources = sources;
  n->references = references;
  n->metrics = metrics;
  return LCT_OK;
}

static lct_status name_axes(lct_observer *o, lct_error *err) {
  const lct_axes *a = o->axes;
  const char **positions, **sources;
  int *widths;
  size_t sum = 0;
  LCT_TRY(name_scores(o, err));
  LCT_TRY(room(o, &positions, a->n_positions, sizeof *positions, err));
  LCT_TRY(room(o, &sources, a->n_sources, sizeof *sources, err));
  LCT_TRY(room(o, &widths, a->n_sources, sizeof *widths, err));
  for (int i = 0; i < a->n_positions; i++) {
    positions[i] = a->positions[i].name;
    if (a->positions[i].at == LCT_AT_LAST) o->last = i;
  }
  for (int i = 0; i < a->n_sources; i++) {
    sources[i] = lct_source_name(a->sources[i].source);
    widths[i] = a->pooled[a->sources[i].stream].width;
    sum += (size_t)widths[i];
  }
  o->names.positions = positions;
  o->names.sources = sources;
  o->names.widths = widths;
  o->names.layers = a->layers;
  o->names.n_positions = a->n_positions;
  o->names.n_sources = a->n_sources;
  o->names.n_layers = a->n_layers;
  o->vector_floats = (size_t)a->n_positions * (size_t)a->n_layers * sum;
  o->score_floats = lct_axes_score_floats(a);
  return LCT_OK;
}

static lct_status open_all(lct_observer *o, const lct_fingerprints *f, const lct_observer_options *asked, lct_error *err) {
  static const char FILE_NAME[] = "the fingerprints";
  const lct_subject *s = o->subject;
  const lct_axes_options axes = {.positions = asked->positions,
                                 .sources = asked->sources,
                                 .layers = asked->layers,
                                 .metrics = asked->metrics};
  if (f != NULL) LCT_TRY(lct_fingerprints_check(f, FILE_NAME, s->model->hash, s->template.hash, s->cfg.n_layers, s->cfg.hidden, err));
  LCT_TRY(lct_axes_new(&axes, &s->cfg, f, FILE_NAME, &o->axes, err));
  LCT_TRY(name_axes(o, err));
  LCT_TRY(lct_encoder_new(s->tokenizer, &o->encoder, err));
  const lct_worker_options w = {.streams = o->axes->pooled,
                                .n_streams = o->axes->n_streams,
                                .positions = o->axes->positions,
                                .n_positions = o->axes->n_positions,
                                .memory_bytes = asked->memory_bytes,
                                .keeps_prefix = true};
  return lct_worker_new(s, &w, &o->worker, err);
}

lct_status lct_observer_new(const lct_subject *model, const lct_fingerprints *f, const lct_observer_options *o, lct_observer **out,
                            lct_error *err) {
  static const lct_observer_options plain = {0};
  lct_observer *made = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&made, 1, sizeof *made, "an observer", err));
  if (o == NULL) o = &plain;
  made->subject = model;
  made->cancel = o->cancel;
  made->last = made->scored_last = -1;
  lct_status s = open_all(made, f, o, err);
  if (s == LCT_OK) *out = made;
  else lct_observer_free(made);
  return s;
}

void lct_observer_free(lct_observer *o) {
  if (o == NULL) return;
  lct_worker_free(o->worker);
  lct_axes_free(o->axes);
  lct_encoder_free(o->encoder);
  lct_tokens_free(&o->tokens);
  lct_arena_free(&o->arena);
  free(o);
}

const lct_observer_axes *lct_observer_get_axes(const lct_observer *o) { return &o->names; }
