/* scores.json, scores.csv: a prompt's snapshots against the scenario's own references. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scan/output_impl.h"

/* One (source, pooling, layer): the prompt's snapshots are neighbours in the pool, and so are the references. */
static lct_status score_layer(scan_table *t, int source, int pooling, int layer, float *block, lct_error *err) {
  const scan *s = t->s;
  size_t hidden = (size_t)s->subject->cfg.hidden, width = (size_t)s->n_references * LCT_N_METRICS;
  const float *vectors = scan_vectors(s, lct_worker_pool(s->worker), source, pooling, t->layers[layer]);
  const float *rows = vectors + (size_t)t->p->first_item * hidden;
  size_t n = t->p->n_messages + 1;
  LCT_TRY(lct_score_block(rows, n, vectors, (size_t)s->n_references, s->subject->cfg.hidden, block, err));
  for (int i = 0; i < t->n_snapshots; i++) {
    size_t row = (size_t)(t->snapshots[i] - t->p->first_item);
    memcpy(t->scores + scan_table_at(t, i, pooling, source, layer), block + row * width, width * sizeof *block);
  }
  return LCT_OK;
}

/* Pieces [from, to) of (pooling, source, layer). */
static lct_status score_layers(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  scan_table *t = ctx;
  float *block = NULL;
  (void)thread;
  LCT_TRY(lct_alloc_aligned(&block, (t->p->n_messages + 1) * (size_t)t->n_references * LCT_N_METRICS, sizeof *block, "scores", err));
  lct_status status = LCT_OK;
  for (int i = (int)from; i < (int)to && status == LCT_OK; i++) {
    status = score_layer(t, i / t->n_layers % t->n_sources, i / t->n_layers / t->n_sources, i % t->n_layers, block, err);
  }
  free(block);
  return status;
}

static json_t *numbers(const float *v, size_t n) {
  json_t *a = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(a, isfinite(v[i]) ? json_real((double)v[i]) : json_null());
  return a;
}

/* The prompt's last token against the last generated one, per captured layer. */
static json_t *intra_run(const scan_table *t, lct_error *err) {
  const scan_prompt *p = t->p;
  const lct_config *c = &t->s->subject->cfg;
  if (scan_generation(t->s, p)->n < 2 || p->first_state == NULL) return NULL;
  json_t *root = json_object();
  float *m = malloc(LCT_N_METRICS * (size_t)t->n_layers * sizeof *m);
  for (int src = 0; m != NULL && src < LCT_N_RESIDUAL; src++) {
    for (int l = 0; l < t->n_layers; l++) {
      size_t at = ((size_t)src * (size_t)c->n_layers + (size_t)t->layers[l]) * (size_t)c->hidden;
      float one[LCT_N_METRICS];
      if (lct_score_block(p->first_state + at, 1, p->last_state + at, 1, c->hidden, one, err) != LCT_OK) continue;
      for (int k = 0; k < LCT_N_METRICS; k++) m[k * t->n_layers + l] = one[k];
    }
    json_t *entry = json_object();
    for (int k = 0; k < LCT_N_METRICS; k++) {
      json_object_set_new(entry, lct_any_metric_name(k), numbers(m + k * t->n_layers, (size_t)t->n_layers));
    }
    json_object_set_new(root, lct_source_name(LCT_RESIDUAL_SOURCES[src]), entry);
  }
  free(m);
  return root;
}

static lct_status make(scan_table *t, scan *s, const scan_prompt *p, lct_error *err) {
  LCT_TRY(scan_table_init(t, s, p, LCT_N_DEFAULT_POSITIONS, LCT_N_RESIDUAL, s->n_references, LCT_N_METRICS, err));
  t->digits = 7;
  for (int i = 0; i < LCT_N_DEFAULT_POSITIONS; i++) t->poolings[i] = s->axes->positions[i].name;
  for (int i = 0; i < LCT_N_RESIDUAL; i++) t->sources[i] = lct_source_name(LCT_RESIDUAL_SOURCES[i]);
  for (int32_t i = 0; i < s->n_references; i++) t->references[i] = s->scenario->references[i].label;
  for (int i = 0; i < LCT_N_METRICS; i++) t->metrics[i] = lct_any_metric_name(i);
  if (s->n_references == 0 || t->n_snapshots == 0) return LCT_OK;
  return lct_threads_for(s->subject->threads, LCT_N_DEFAULT_POSITIONS * LCT_N_RESIDUAL * t->n_layers, 1, score_layers, t, err);
}

lct_status scan_write_scores(scan *s, const scan_prompt *p, lct_error *err) {
  scan_table t = {0};
  lct_status status = make(&t, s, p, err);
  if (status == LCT_OK) status = scan_table_json(&t, "scores", intra_run(&t, err), err);
  if (status == LCT_OK && s->n_references > 0) status = scan_table_csv(&t, "scores", err);
  scan_table_free(&t);
  return status;
}
