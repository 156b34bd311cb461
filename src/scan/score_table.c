/* Tables of scores on disk: NAME.json, NAME.csv. src/analysis/scores.h reads them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/utf8.h"
#include "scan/output_impl.h"

size_t scan_table_at(const scan_table *t, int snapshot, int pooling, int source, int layer) {
  size_t i = ((size_t)snapshot * (size_t)t->n_poolings + (size_t)pooling) * (size_t)t->n_sources + (size_t)source;
  return (i * (size_t)t->n_layers + (size_t)layer) * (size_t)t->n_references * (size_t)t->n_metrics;
}

static lct_status room(scan *s, void *out_ptr, size_t n, size_t size, lct_error *err) {
  void *p = lct_arena_alloc(&s->arena, (n + 1) * size);
  memcpy(out_ptr, &p, sizeof p);
  return p != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for the scores' axes");
}

lct_status scan_table_init(scan_table *t, scan *s, const scan_prompt *p, int n_poolings, int n_sources, int n_references, int n_metrics,
                           lct_error *err) {
  int n_layers = s->subject->cfg.n_layers;
  *t = (scan_table){.s = s, .p = p, .n_poolings = n_poolings, .n_sources = n_sources, .n_references = n_references, .n_metrics = n_metrics};
  LCT_TRY(room(s, &t->snapshots, p->n_messages + 1, sizeof *t->snapshots, err));
  LCT_TRY(room(s, &t->layers, (size_t)n_layers, sizeof *t->layers, err));
  LCT_TRY(room(s, &t->poolings, (size_t)n_poolings, sizeof *t->poolings, err));
  LCT_TRY(room(s, &t->sources, (size_t)n_sources, sizeof *t->sources, err));
  LCT_TRY(room(s, &t->references, (size_t)n_references, sizeof *t->references, err));
  LCT_TRY(room(s, &t->metrics, (size_t)n_metrics, sizeof *t->metrics, err));
  for (int k = 0; k <= (int)p->n_messages; k++) {
    if (s->unit->items[p->first_item + k].done) t->snapshots[t->n_snapshots++] = p->first_item + k;
  }
  for (int l = 0; l < n_layers; l++) {
    if (s->layers[l]) t->layers[t->n_layers++] = l;
  }
  return lct_calloc(&t->scores, scan_table_at(t, t->n_snapshots, 0, 0, 0), sizeof *t->scores, "scores", err);
}

void scan_table_free(scan_table *t) { free(t->scores); }

static lct_status put_number(const scan_table *t, lct_buf *b, float v, const char *nan, lct_error *err) {
  return isfinite(v) ? lct_buf_printf(b, err, "%.*g", t->digits, (double)v) : lct_buf_puts(b, nan, err);
}

static json_t *snapshot_json(const scan_table *t, int number) {
  const scan_item *item = &t->s->items[number];
  return json_pack("{s:i, s:s, s:s%, s:i, s:b}", "index", number - t->p->first_item, "role", item->role, "content_preview", item->preview,
                   lct_utf8_prefix(item->preview, item->preview_len, 80), "n_tokens", t->s->unit->items[number].n_tokens, "generated",
                   item->generated);
}

static json_t *names_json(const char *const *names, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(names[i]));
  return a;
}

static json_t *axes_json(const scan_table *t, json_t *intra_run) {
  json_t *snapshots = json_array(), *layers = json_array();
  for (int i = 0; i < t->n_snapshots; i++) json_array_append_new(snapshots, snapshot_json(t, t->snapshots[i]));
  for (int i = 0; i < t->n_layers; i++) json_array_append_new(layers, json_integer(t->layers[i]));
  json_t *root = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:[s, s, s, s, s, s]}", "format", "llmct-scores", "version", 1,
                           "snapshots", snapshots, "poolings", names_json(t->poolings, t->n_poolings), "sources",
                           names_json(t->sources, t->n_sources), "layers", layers, "references", names_json(t->references, t->n_references),
                           "metrics", names_json(t->metrics, t->n_metrics), "axes", "snapshot", "pooling", "source", "layer", "reference",
                           "metric");
  if (root != NULL && intra_run != NULL) json_object_set(root, "intra_run", intra_run);
  json_decref(intra_run);
  return root;
}

/* The array is appended as text: a quarter of a million numbers as JSON objects cost more time and memory than the scores did. */
lct_status scan_table_json(const scan_table *t, const char *name, json_t *intra_run, lct_error *err) {
  json_t *root = axes_json(t, intra_run);
  char *head = root == NULL ? NULL : json_dumps(root, JSON_ENSURE_ASCII | JSON_REAL_PRECISION(7));
  json_decref(root);
  if (head == NULL) return lct_fail(err, LCT_E_NOMEM, "could not make the JSON of %s/%s.json", t->p->label, name);
  lct_buf b = {0};
  lct_status st = lct_buf_append(&b, head, strlen(head) - 1, err); /* without the closing brace */
  free(head);
  if (st == LCT_OK) st = lct_buf_puts(&b, ", \"scores\": [", err);
  size_t n = scan_table_at(t, t->n_snapshots, 0, 0, 0);
  for (size_t i = 0; i < n && st == LCT_OK; i++) {
    if (i > 0) st = lct_buf_puts(&b, ",", err);
    if (st == LCT_OK) st = put_number(t, &b, t->scores[i], "null", err);
  }
  if (st == LCT_OK) st = lct_buf_puts(&b, "]}\n", err);
  const char *path = st == LCT_OK ? scan_printf(t->s, err, "%s/%s/%s.json", t->s->run_dir, t->p->label, name) : NULL;
  if (st == LCT_OK) st = path != NULL ? lct_file_write_atomic(path, b.data, b.len, err) : LCT_E_NOMEM;
  lct_buf_free(&b);
  return st;
}

/* One line a reference. */
static lct_status csv_cell(const scan_table *t, int i, int pooling, int source, int layer, lct_buf *b, lct_error *err) {
  const float *v = t->scores + scan_table_at(t, i, pooling, source, layer);
  for (int r = 0; r < t->n_references; r++) {
    LCT_TRY(lct_buf_printf(b, err, "%d,%s,%s,%s,%d,", t->snapshots[i] - t->p->first_item, t->s->items[t->snapshots[i]].role,
                           t->poolings[pooling], t->sources[source], t->layers[layer]));
    LCT_TRY(lct_csv_put(b, t->references[r], err));
    for (int m = 0; m < t->n_metrics; m++) {
      LCT_TRY(lct_buf_puts(b, ",", err));
      LCT_TRY(put_number(t, b, *v++, "", err));
    }
    LCT_TRY(lct_buf_puts(b, "\n", err));
  }
  return LCT_OK;
}

static lct_status csv_text(const scan_table *t, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_puts(b, "snapshot,role,pooling,source,layer,reference", err));
  for (int m = 0; m < t->n_metrics; m++) LCT_TRY(lct_buf_printf(b, err, ",%s", t->metrics[m]));
  LCT_TRY(lct_buf_puts(b, "\n", err));
  int cells = t->n_poolings * t->n_sources * t->n_layers;
  for (int k = 0; k < t->n_snapshots * cells; k++) {
    int c = k % cells, layer = c % t->n_layers, source = c / t->n_layers % t->n_sources, pooling = c / t->n_layers / t->n_sources;
    LCT_TRY(csv_cell(t, k / cells, pooling, source, layer, b, err));
  }
  return LCT_OK;
}

lct_status scan_table_csv(const scan_table *t, const char *name, lct_error *err) {
  lct_buf b = {0};
  lct_status st = csv_text(t, &b, err);
  const char *path = st == LCT_OK ? scan_printf(t->s, err, "%s/%s/%s.csv", t->s->run_dir, t->p->label, name) : NULL;
  if (st == LCT_OK) st = path != NULL ? lct_file_write_atomic(path, b.data, b.len, err) : LCT_E_NOMEM;
  lct_buf_free(&b);
  return st;
}
