/* fingerprint_scores.json, fingerprint_scores.csv: snapshots against a file of fingerprints, by the scorer of sweeps. */
#include <stdlib.h>
#include <string.h>

#include "scan/output_impl.h"

lct_status scan_score_fingerprints(scan *s, lct_error *err) {
  const lct_unit *u = s->unit;
  if (s->prints.f == NULL) return LCT_OK;
  lct_score_row *rows = NULL;
  LCT_TRY(lct_alloc_large(&s->prints.scores, (size_t)u->n_items * lct_axes_score_floats(s->axes), sizeof(float), "scores", err));
  LCT_TRY(lct_calloc(&rows, (size_t)u->n_items, sizeof *rows, "scores", err));
  for (int32_t i = 0; i < u->n_items; i++) {
    const lct_item *x = &u->items[i];
    if (x->n_tokens == 0) continue;
    const lct_token_range *own = &x->content[x->message];
    rows[i] = (lct_score_row){.role = (int)x->roles[x->message], .n_tokens = own->to - own->from};
  }
  lct_status status = lct_axes_score(s->axes, lct_worker_pool(s->worker), u->n_items, rows, s->subject->threads, s->prints.scores, err);
  free(rows);
  return status;
}

/* What of the scores is the prompt's, at the layers that are captured. */
static void copy_scores(const scan_table *t) {
  const scan *s = t->s;
  size_t cell = (size_t)t->n_references * (size_t)t->n_metrics, item = lct_axes_score_floats(s->axes);
  int cells = t->n_poolings * t->n_sources;
  for (int i = 0; i < t->n_snapshots; i++) {
    const float *from = s->prints.scores + (size_t)t->snapshots[i] * item;
    for (int k = 0; k < cells * t->n_layers; k++) {
      int c = k / t->n_layers, layer = k % t->n_layers;
      size_t at = ((size_t)c * (size_t)s->axes->n_layers + (size_t)t->layers[layer]) * cell;
      memcpy(t->scores + scan_table_at(t, i, c / t->n_sources, c % t->n_sources, layer), from + at, cell * sizeof *from);
    }
  }
}

static lct_status make(scan_table *t, scan *s, const scan_prompt *p, lct_error *err) {
  const lct_axes *a = s->axes;
  LCT_TRY(scan_table_init(t, s, p, a->n_scored_positions, a->n_scored_sources, s->prints.f->n_labels, a->n_metrics, err));
  t->digits = 9; /* a float32's own */
  for (int i = 0; i < t->n_poolings; i++) t->poolings[i] = a->positions[a->scored_positions[i]].name;
  for (int i = 0; i < t->n_sources; i++) t->sources[i] = lct_source_name(a->sources[a->scored_sources[i]].source);
  for (int i = 0; i < t->n_references; i++) t->references[i] = s->prints.f->labels[i];
  for (int i = 0; i < t->n_metrics; i++) t->metrics[i] = lct_any_metric_name(a->metrics[i]);
  copy_scores(t);
  return LCT_OK;
}

lct_status scan_write_fingerprint_scores(scan *s, const scan_prompt *p, lct_error *err) {
  if (s->prints.f == NULL) return LCT_OK;
  scan_table t = {0};
  lct_status status = make(&t, s, p, err);
  if (status == LCT_OK) status = scan_table_json(&t, "fingerprint_scores", NULL, err);
  if (status == LCT_OK) status = scan_table_csv(&t, "fingerprint_scores", err);
  scan_table_free(&t);
  return status;
}
