/* Scores and pooled vectors on disk. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "scan/output_impl.h"
#include "store/npz.h"

typedef struct {
  const scan *s;
  const scan_prompt *p;
  int n_snapshots;
  int *snapshots; /* numbers of the items that were run */
  int n_layers;
  int *layers;
  float *scores;  /* (snapshot, pooling, source, layer, reference, metric) */
} table;

static size_t score_at(const table *t, int snapshot, int pooling, int source, int layer) {
  size_t i = ((size_t)snapshot * LCT_N_POOLINGS + (size_t)pooling) * LCT_N_RESIDUAL + (size_t)source;
  return (i * (size_t)t->n_layers + (size_t)layer) * (size_t)t->s->n_references * LCT_N_METRICS;
}

/* One (source, pooling, layer): the prompt's snapshots are neighbours in the pool, and so are the references. */
static lct_status score_layer(table *t, int source, int pooling, int layer, float *block, lct_error *err) {
  const scan *s = t->s;
  size_t hidden = (size_t)s->cfg.hidden, width = (size_t)s->n_references * LCT_N_METRICS;
  const float *vectors = lct_pool_vectors(s->pool, source, (lct_pooling)pooling, t->layers[layer]);
  const float *rows = vectors + (size_t)t->p->first_item * hidden;
  size_t n = t->p->n_messages + 1;
  LCT_TRY(lct_score_block(rows, n, vectors, (size_t)s->n_references, s->cfg.hidden, block, err));
  for (int i = 0; i < t->n_snapshots; i++) {
    size_t row = (size_t)(t->snapshots[i] - t->p->first_item);
    memcpy(t->scores + score_at(t, i, pooling, source, layer), block + row * width, width * sizeof *block);
  }
  return LCT_OK;
}

static lct_status compute_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  table *t = ctx;
  float *block = NULL;
  LCT_TRY(lct_alloc_aligned(&block, (t->p->n_messages + 1) * (size_t)t->s->n_references * LCT_N_METRICS, sizeof *block, "scores", err));
  lct_status s = LCT_OK;
  for (int i = (int)from; i < to && s == LCT_OK; i++) {
    s = score_layer(t, i / t->n_layers % LCT_N_RESIDUAL, i / t->n_layers / LCT_N_RESIDUAL, i % t->n_layers, block, err);
  }
  free(block);
  return s;
}

static lct_status compute(table *t, lct_error *err) {
  return lct_threads_for(t->s->threads, LCT_N_POOLINGS * LCT_N_RESIDUAL * t->n_layers, 1, compute_some, t, err);
}

static lct_status put_number(lct_buf *b, float v, const char *nan, lct_error *err) {
  return isfinite(v) ? lct_buf_printf(b, err, "%.7g", (double)v) : lct_buf_puts(b, nan, err);
}

static json_t *snapshot_json(const scan *s, const scan_prompt *p, int number) {
  const scan_item *item = &s->items[number];
  return json_pack("{s:i, s:s, s:s%, s:i, s:b}", "index", number - p->first_item, "role", item->role, "content_preview", item->preview,
                   lct_utf8_prefix(item->preview, item->preview_len, 80), "n_tokens", (int)item->tokens.len, "generated",
                   item->generated);
}

static json_t *numbers(const float *v, size_t n) {
  json_t *a = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(a, isfinite(v[i]) ? json_real((double)v[i]) : json_null());
  return a;
}

/* The prompt's last token against the last generated one, per captured layer. */
static json_t *intra_run(const table *t, lct_error *err) {
  const scan_prompt *p = t->p;
  if (p->n_steps < 2 || p->first_state == NULL) return NULL;
  json_t *root = json_object();
  size_t hidden = (size_t)t->s->cfg.hidden;
  float *m = malloc(LCT_N_METRICS * (size_t)t->n_layers * sizeof *m);
  for (int src = 0; m != NULL && src < LCT_N_RESIDUAL; src++) {
    for (int l = 0; l < t->n_layers; l++) {
      size_t at = ((size_t)src * (size_t)t->s->cfg.n_layers + (size_t)t->layers[l]) * hidden;
      float one[LCT_N_METRICS];
      if (lct_score_block(p->first_state + at, 1, p->last_state + at, 1, t->s->cfg.hidden, one, err) != LCT_OK) continue;
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

static json_t *axes_json(const table *t, lct_error *err) {
  json_t *snapshots = json_array(), *poolings = json_array(), *sources = json_array(), *layers = json_array();
  json_t *references = json_array(), *metrics = json_array();
  for (int i = 0; i < t->n_snapshots; i++) json_array_append_new(snapshots, snapshot_json(t->s, t->p, t->snapshots[i]));
  for (int i = 0; i < LCT_N_POOLINGS; i++) json_array_append_new(poolings, json_string(lct_pooling_name((lct_pooling)i)));
  for (int i = 0; i < LCT_N_RESIDUAL; i++) json_array_append_new(sources, json_string(lct_source_name(LCT_RESIDUAL_SOURCES[i])));
  for (int i = 0; i < t->n_layers; i++) json_array_append_new(layers, json_integer(t->layers[i]));
  for (int32_t i = 0; i < t->s->n_references; i++) json_array_append_new(references, json_string(t->s->scenario->references[i].label));
  for (int i = 0; i < LCT_N_METRICS; i++) json_array_append_new(metrics, json_string(lct_any_metric_name(i)));
  json_t *root = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:[s, s, s, s, s, s]}", "format", "llmct-scores", "version", 1,
                           "snapshots", snapshots, "poolings", poolings, "sources", sources, "layers", layers, "references", references,
                           "metrics", metrics, "axes", "snapshot", "pooling", "source", "layer", "reference", "metric");
  json_t *intra = intra_run(t, err);
  if (root != NULL && intra != NULL) json_object_set_new(root, "intra_run", intra);
  return root;
}

/* The array is appended as text: a quarter of a million numbers as JSON objects cost more time and memory than the scores did. */
static lct_status write_json(const table *t, const char *path, lct_error *err) {
  json_t *root = axes_json(t, err);
  char *head = root == NULL ? NULL : json_dumps(root, JSON_ENSURE_ASCII | JSON_REAL_PRECISION(7));
  json_decref(root);
  if (head == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s", path);
  lct_buf b = {0};
  lct_status st = lct_buf_append(&b, head, strlen(head) - 1, err); /* without the closing brace */
  free(head);
  if (st == LCT_OK) st = lct_buf_puts(&b, ", \"scores\": [", err);
  size_t n = score_at(t, t->n_snapshots, 0, 0, 0);
  for (size_t i = 0; i < n && st == LCT_OK; i++) {
    if (i > 0) st = lct_buf_puts(&b, ",", err);
    if (st == LCT_OK) st = put_number(&b, t->scores[i], "null", err);
  }
  if (st == LCT_OK) st = lct_buf_puts(&b, "]}\n", err);
  if (st == LCT_OK) st = lct_file_write_atomic(path, b.data, b.len, err);
  lct_buf_free(&b);
  return st;
}

static lct_status csv_line(const table *t, int i, int pooling, int source, int layer, int ref, lct_buf *b, lct_error *err) {
  const scan_item *item = &t->s->items[t->snapshots[i]];
  LCT_TRY(lct_buf_printf(b, err, "%d,%s,%s,%s,%d,%s", t->snapshots[i] - t->p->first_item, item->role,
                         lct_pooling_name((lct_pooling)pooling), lct_source_name(LCT_RESIDUAL_SOURCES[source]), t->layers[layer],
                         t->s->scenario->references[ref].label));
  const float *v = t->scores + score_at(t, i, pooling, source, layer) + (size_t)ref * LCT_N_METRICS;
  for (int m = 0; m < LCT_N_METRICS; m++) {
    LCT_TRY(lct_buf_puts(b, ",", err));
    LCT_TRY(put_number(b, v[m], "", err));
  }
  return lct_buf_puts(b, "\n", err);
}

static lct_status write_csv(const table *t, const char *path, lct_error *err) {
  lct_buf b = {0};
  lct_status st = lct_buf_puts(&b, "snapshot,role,pooling,source,layer,reference,cosine,mae,jaccard\n", err);
  int per_snapshot = LCT_N_POOLINGS * LCT_N_RESIDUAL * t->n_layers * t->s->n_references;
  for (int i = 0; i < t->n_snapshots; i++) {
    for (int k = 0; k < per_snapshot && st == LCT_OK; k++) {
      int ref = k % t->s->n_references, layer = k / t->s->n_references % t->n_layers;
      int source = k / t->s->n_references / t->n_layers % LCT_N_RESIDUAL, pooling = k / t->s->n_references / t->n_layers / LCT_N_RESIDUAL;
      st = csv_line(t, i, pooling, source, layer, ref, &b, err);
    }
  }
  if (st == LCT_OK) st = lct_file_write_atomic(path, b.data, b.len, err);
  lct_buf_free(&b);
  return st;
}

static lct_status make_table(scan *s, const scan_prompt *p, table *t, lct_error *err) {
  *t = (table){.s = s, .p = p};
  LCT_TRY(lct_calloc(&t->snapshots, p->n_messages + 1, sizeof *t->snapshots, "score axes", err));
  LCT_TRY(lct_calloc(&t->layers, (size_t)s->cfg.n_layers, sizeof *t->layers, "score axes", err));
  for (size_t k = 0; k <= p->n_messages; k++) {
    if (s->items[p->first_item + (int32_t)k].done) t->snapshots[t->n_snapshots++] = p->first_item + (int)k;
  }
  for (int l = 0; l < s->cfg.n_layers; l++) {
    if (s->layers[l]) t->layers[t->n_layers++] = l;
  }
  return lct_calloc(&t->scores, score_at(t, t->n_snapshots, 0, 0, 0), sizeof *t->scores, "scores", err);
}

lct_status scan_write_scores(scan *s, const scan_prompt *p, lct_error *err) {
  table t;
  lct_status status = make_table(s, p, &t, err);
  if (status == LCT_OK && s->n_references > 0 && t.n_snapshots > 0) status = compute(&t, err);
  char *json = scan_printf(s, err, "%s/%s/scores.json", s->run_dir, p->label);
  char *csv = scan_printf(s, err, "%s/%s/scores.csv", s->run_dir, p->label);
  if (status == LCT_OK && (json == NULL || csv == NULL)) status = LCT_E_NOMEM;
  if (status == LCT_OK) status = write_json(&t, json, err);
  if (status == LCT_OK && s->n_references > 0) status = write_csv(&t, csv, err);
  free(t.snapshots);
  free(t.layers);
  free(t.scores);
  return status;
}
