#include "report/published.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/analysis.h"

static lct_status take(lct_published *p, void *out_ptr, size_t n, size_t size, lct_error *err) {
  size_t bytes = 0;
  void *q = lct_mul_ok(n ? n : 1, size, &bytes) ? lct_arena_alloc(&p->arena, bytes) : NULL;
  if (q == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the published numbers");
  memcpy(out_ptr, &q, sizeof q);
  return LCT_OK;
}

static lct_status copy_text(lct_published *p, const char *text, const char **out, lct_error *err) {
  *out = lct_arena_strndup(&p->arena, text, strlen(text));
  return *out != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for the published numbers");
}

static lct_status read_turns(lct_published *p, const lct_json *root, lct_error *err) {
  lct_json table;
  if (!lct_json_find(root, "turn_by_reference_mean_cosine_over_sources", &table)) return LCT_OK;
  LCT_TRY(lct_json_object(&table, err));
  LCT_TRY(take(p, &p->turns, json_object_size(table.value), sizeof *p->turns, err));
  const char *key;
  json_t *unused;
  json_object_foreach(lct_unconst(table.value), key, unused) {
    lct_json row;
    char *end = NULL;
    long turn = strtol(key, &end, 10);
    LCT_TRY(lct_json_get(&table, key, &row, err));
    if (end == key || *end != '\0' || turn < 0 || turn > INT32_MAX) {
      return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected a message number as key", row.file, row.path);
    }
    lct_pub_turn *t = &p->turns[p->n_turns];
    t->turn = (int)turn;
    LCT_TRY(take(p, &t->cosine, p->n_references, sizeof(double), err));
    LCT_TRY(lct_json_numbers(&row, p->n_references, t->cosine, err));
    p->n_turns++;
  }
  return LCT_OK;
}

/* A table with one row of `width` numbers per reference. */
static lct_status read_reference_table(lct_published *p, const lct_json *root, const char *name, size_t width, double **out,
                                       lct_error *err) {
  lct_json table, row;
  if (!lct_json_find(root, name, &table)) return LCT_OK;
  double *v = NULL;
  LCT_TRY(take(p, &v, p->n_references * width, sizeof *v, err));
  for (size_t r = 0; r < p->n_references; r++) {
    LCT_TRY(lct_json_get(&table, p->references[r], &row, err));
    LCT_TRY(lct_json_numbers(&row, width, v + r * width, err));
  }
  *out = v;
  return LCT_OK;
}

static lct_status read_roles(lct_published *p, const lct_json *root, lct_error *err) {
  lct_json table, row;
  if (!lct_json_find(root, "role_mean_cosine", &table)) return LCT_OK;
  double *v = NULL;
  LCT_TRY(take(p, &v, 2 * LCT_PUB_N_SOURCES, sizeof *v, err));
  LCT_TRY(lct_json_get(&table, "user", &row, err));
  LCT_TRY(lct_json_numbers(&row, LCT_PUB_N_SOURCES, v, err));
  LCT_TRY(lct_json_get(&table, "assistant", &row, err));
  LCT_TRY(lct_json_numbers(&row, LCT_PUB_N_SOURCES, v + LCT_PUB_N_SOURCES, err));
  p->role_user = v;
  p->role_assistant = v + LCT_PUB_N_SOURCES;
  return LCT_OK;
}

static lct_status read_intra(lct_published *p, const lct_json *root, lct_error *err) {
  lct_json table, row;
  if (!lct_json_find(root, "intra_run_cosine", &table)) return LCT_OK;
  double *v = NULL;
  LCT_TRY(take(p, &v, LCT_PUB_N_SOURCES * LCT_PUB_N_INTRA, sizeof *v, err));
  for (int k = 0; k < LCT_PUB_N_SOURCES; k++) {
    double with_layer[LCT_PUB_N_INTRA + 1];
    LCT_TRY(lct_json_get(&table, lct_source_name(LCT_RESIDUAL_SOURCES[k]), &row, err));
    LCT_TRY(lct_json_numbers(&row, LCT_PUB_N_INTRA + 1, with_layer, err));
    memcpy(v + k * LCT_PUB_N_INTRA, with_layer, LCT_PUB_N_INTRA * sizeof *v);
  }
  p->intra = v;
  return LCT_OK;
}

static lct_status cell_number(const lct_json *row, size_t i, double *out, lct_error *err) {
  lct_json c = lct_json_item(row, i);
  return lct_json_number(&c, out, err);
}

static lct_status cell_text(lct_published *p, const lct_json *row, size_t i, const char **out, lct_error *err) {
  lct_json c = lct_json_item(row, i);
  const char *text = NULL;
  LCT_TRY(lct_json_string(&c, &text, err));
  return copy_text(p, text, out, err);
}

static lct_status read_top_row(lct_published *p, const lct_json *row, lct_pub_layer *out, lct_error *err) {
  size_t n = 0;
  int64_t layer = 0;
  LCT_TRY(lct_json_array(row, &n, err));
  if (n != 7) return lct_fail(err, LCT_E_FORMAT, "%s: %s: expected 7 cells, found %zu", row->file, row->path, n);
  lct_json first = lct_json_item(row, 0);
  LCT_TRY(lct_json_int(&first, 0, INT32_MAX, &layer, err));
  out->layer = (int)layer;
  LCT_TRY(cell_number(row, 1, &out->spread, err));
  LCT_TRY(cell_text(p, row, 2, &out->highest, err));
  LCT_TRY(cell_number(row, 3, &out->highest_value, err));
  LCT_TRY(cell_text(p, row, 4, &out->lowest, err));
  LCT_TRY(cell_number(row, 5, &out->lowest_value, err));
  return cell_number(row, 6, &out->mean, err);
}

static lct_status read_top(lct_published *p, const lct_json *root, lct_error *err) {
  lct_json table, rows;
  if (!lct_json_find(root, "top_layers_hidden_in_user", &table)) return LCT_OK;
  size_t n = 0;
  LCT_TRY(lct_json_get(&table, "rows", &rows, err));
  LCT_TRY(lct_json_array(&rows, &n, err));
  LCT_TRY(take(p, &p->top, n, sizeof *p->top, err));
  for (size_t i = 0; i < n; i++) {
    lct_json row = lct_json_item(&rows, i);
    LCT_TRY(read_top_row(p, &row, &p->top[i], err));
  }
  p->n_top = n;
  return LCT_OK;
}

static lct_status read_all(lct_published *p, const lct_json *root, lct_error *err) {
  lct_json at;
  const char *text = "";
  int64_t layers = 0;
  if (lct_json_find(root, "model", &at)) LCT_TRY(lct_json_string(&at, &text, err));
  LCT_TRY(copy_text(p, text, &p->model, err));
  if (lct_json_find(root, "layers", &at)) LCT_TRY(lct_json_int(&at, 0, INT32_MAX, &layers, err));
  p->n_layers = (int)layers;
  LCT_TRY(lct_json_get(root, "references", &at, err));
  LCT_TRY(lct_json_labels(&at, &p->arena, &p->references, &p->n_references, err));
  LCT_TRY(read_turns(p, root, err));
  LCT_TRY(read_reference_table(p, root, "reference_by_source_mean_cosine_all_messages", LCT_PUB_N_SOURCES, &p->by_source, err));
  LCT_TRY(read_reference_table(p, root, "user_turns_reference_by_source", LCT_PUB_N_SOURCES * LCT_PUB_N_STATS, &p->user, err));
  LCT_TRY(read_reference_table(p, root, "assistant_turns_reference_by_source", LCT_PUB_N_SOURCES * LCT_PUB_N_STATS, &p->assistant, err));
  LCT_TRY(read_roles(p, root, err));
  LCT_TRY(read_intra(p, root, err));
  return read_top(p, root, err);
}

lct_status lct_published_load(const char *path, lct_published **out, lct_error *err) {
  *out = NULL;
  json_t *doc = NULL;
  LCT_TRY(lct_json_load(path, &doc, err));
  lct_published *p = NULL;
  lct_status st = lct_calloc(&p, 1, sizeof *p, "the published numbers", err);
  if (st == LCT_OK) {
    lct_json root = lct_json_root(path, doc);
    st = read_all(p, &root, err);
  }
  json_decref(doc);
  if (st != LCT_OK) {
    lct_published_free(p);
    return st;
  }
  *out = p;
  return LCT_OK;
}

void lct_published_free(lct_published *p) {
  if (p == NULL) return;
  lct_arena_free(&p->arena);
  free(p);
}
