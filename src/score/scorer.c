/* The scorer follows the table of score/metrics.h. Rows as they are go through lct_score_refs, whose bits are a scan's; all others are mapped,
 * up to CHUNK at once, and multiplied with labels that were mapped and made units before. Contrasts come last, from scores that are there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score/fingerprint.h"
#include "score/sums.h"

enum { CHUNK = 4 }; /* rows whose whitening shares a reading of W */

/* One (pooling, source, layer). */
typedef struct {
  float *raw; /* (n_labels, hidden) */
  lct_score_refs legacy;
  const float *mean, *w, *z;        /* of f; NULL: not needed */
  float *inverse_sigma;             /* (hidden), 0 where sigma is */
  float *labels[LCT_N_ALL_METRICS]; /* (n_labels, hidden) of metrics of mapped rows: unit vectors, of NaN where there is no direction */
} place;

typedef struct {
  int metrics[LCT_N_ALL_METRICS], n;
} metric_list;

struct lct_scorer {
  const lct_fingerprints *f;
  int column[LCT_N_ALL_METRICS]; /* where a metric's scores go, -1: it is not computed */
  int n_metrics, n_poolings, n_sources, n_layers;
  metric_list of_map[LCT_N_MAPS]; /* that are computed of rows mapped so */
  metric_list contrasts;          /* asked for */
  bool mapped;                    /* whether anything is computed of other rows than raw ones */
  place *places;
};

static bool computes(const lct_scorer *s, int metric) { return s->column[metric] >= 0; }

static void list_add(metric_list *list, int metric) { list->metrics[list->n++] = metric; }

static lct_status check_metric(const lct_scorer *s, int m, lct_error *err) {
  if (m < 0 || m >= LCT_N_ALL_METRICS) return lct_fail(err, LCT_E_USAGE, "there is no metric of number %d", m);
  const lct_metric_rule *rule = &LCT_METRIC_RULES[m];
  if (computes(s, m)) return lct_fail(err, LCT_E_USAGE, "metric \"%s\" is asked for twice", rule->name);
  if (rule->needs != LCT_NEEDS_NOTHING && s->f->n_neutral == 0) {
    return lct_fail(err, LCT_E_USAGE,
                    "metric \"%s\" needs fingerprints with a neutral bank, which these were made without (fingerprint --neutral)",
                    rule->name);
  }
  if (rule->needs == LCT_NEEDS_WHITEN && s->f->whiten == NULL) {
    return lct_fail(err, LCT_E_USAGE, "metric \"%s\" needs fingerprints made with --whiten", rule->name);
  }
  return LCT_OK;
}

static lct_status set_metrics(lct_scorer *s, const lct_score_axes *axes, lct_error *err) {
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) s->column[i] = -1;
  s->n_metrics = axes->n_metrics;
  for (int i = 0; i < axes->n_metrics; i++) {
    LCT_TRY(check_metric(s, axes->metrics[i], err));
    s->column[axes->metrics[i]] = i;
  }
  /* What a contrast is of, where it is not asked for itself, is computed in the contrast's place. */
  for (int m = 0; m < LCT_N_ALL_METRICS; m++) {
    int of = LCT_METRIC_RULES[m].contrast_of;
    if (!computes(s, m) || of < 0) continue;
    list_add(&s->contrasts, m);
    if (!computes(s, of)) s->column[of] = s->column[m];
  }
  for (int m = 0; m < LCT_N_ALL_METRICS; m++) {
    const lct_metric_rule *rule = &LCT_METRIC_RULES[m];
    if (!computes(s, m) || rule->contrast_of >= 0) continue;
    list_add(&s->of_map[rule->map], m);
    if (rule->map != LCT_MAP_NONE) s->mapped = true;
  }
  return LCT_OK;
}

static lct_status find_name(const char *what, const char *name, char *const *names, int n, int *out, lct_error *err) {
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i], name) == 0) {
      *out = i;
      return LCT_OK;
    }
  }
  lct_buf known = {0};
  for (int i = 0; i < n; i++) LCT_TRY(lct_buf_printf(&known, err, "%s%s", i > 0 ? ", " : "", names[i]));
  lct_status s = lct_fail(err, LCT_E_USAGE, "the fingerprints have no %s \"%s\": they have %s", what, name, known.data);
  lct_buf_free(&known);
  return s;
}

static void subtract(const float *x, const float *mean, int n, float *out) {
  for (int i = 0; i < n; i++) out[i] = x[i] - mean[i];
}

static void multiply(const float *x, const float *y, int n, float *out) {
  for (int i = 0; i < n; i++) out[i] = x[i] * y[i];
}

/* Divides each row by its length. */
static void make_units(float *rows, int n_rows, int n) {
  for (int i = 0; i < n_rows; i++) {
    float *x = rows + (size_t)i * (size_t)n;
    double norm = lct_norm(x, n);
    for (int j = 0; j < n; j++) x[j] = norm > 0 ? (float)((double)x[j] / norm) : NAN;
  }
}

/* y (n_rows, n) = w x: lower triangular w (n, n), x (n_rows, n). Every element is one sum of lct_dots, however many rows there are. */
static void whiten(const float *w, const float *x, int n_rows, int n, float *y) {
  for (int i = 0; i < n; i++) {
    double sums[CHUNK];
    lct_dots(w + (size_t)i * (size_t)n, x, (size_t)n, (size_t)n_rows, i + 1, sums);
    for (int r = 0; r < n_rows; r++) y[(size_t)r * (size_t)n + (size_t)i] = (float)sums[r];
  }
}

/* Centred rows (n_rows, n) as `map` has them: in `out`, or where they are. */
static const float *map_rows(const place *p, lct_metric_map map, const float *centred, int n_rows, int n, float *out) {
  switch (map) {
  case LCT_MAP_STANDARDIZE:
    for (int r = 0; r < n_rows; r++) multiply(centred + (size_t)r * (size_t)n, p->inverse_sigma, n, out + (size_t)r * (size_t)n);
    return out;
  case LCT_MAP_WHITEN: whiten(p->w, centred, n_rows, n, out); return out;
  case LCT_MAP_NONE:
  case LCT_MAP_CENTRE:
  case LCT_N_MAPS: break;
  }
  return centred;
}

/* x (n) without its part along the components; d (n) is scratch. */
static void remove_components(float *x, const float *pcs, int n_pcs, int n, double *d) {
  for (int j = 0; j < n; j++) d[j] = (double)x[j];
  for (int k = 0; k < n_pcs; k++) {
    const float *pc = pcs + (size_t)k * (size_t)n;
    double along = lct_dot_double(x, pc, n);
    for (int j = 0; j < n; j++) d[j] -= along * (double)pc[j];
  }
  for (int j = 0; j < n; j++) x[j] = (float)d[j];
}

/* What a label needs in the making. */
typedef struct {
  float *centred; /* (hidden) */
  double *d;      /* (hidden) */
} label_scratch;

/* All labels as one metric of mapped rows keeps them. */
static lct_status make_labels(const lct_scorer *s, place *p, size_t at, int metric, const label_scratch *w, lct_error *err) {
  const lct_fingerprints *f = s->f;
  const lct_metric_rule *rule = &LCT_METRIC_RULES[metric];
  size_t n = (size_t)f->hidden;
  LCT_TRY(lct_alloc_aligned(&p->labels[metric], (size_t)f->n_labels * n, sizeof *p->labels[metric], "references", err));
  for (int i = 0; i < f->n_labels; i++) {
    float *x = p->labels[metric] + (size_t)i * n;
    subtract(p->raw + (size_t)i * n, p->mean, f->hidden, w->centred);
    const float *mapped = map_rows(p, rule->map, w->centred, 1, f->hidden, x);
    if (mapped != x) memcpy(x, mapped, n * sizeof *x);
    if (rule->label == LCT_LABEL_DIRECTION && f->n_pcs > 0) {
      remove_components(x, f->pcs + at * n * (size_t)f->n_pcs, f->n_pcs, f->hidden, w->d);
    }
  }
  make_units(p->labels[metric], f->n_labels, f->hidden);
  return LCT_OK;
}

/* What rows and labels are mapped by. */
static lct_status make_maps(const lct_scorer *s, place *p, size_t at, lct_error *err) {
  const lct_fingerprints *f = s->f;
  size_t n = (size_t)f->hidden;
  p->mean = f->mean + at * n;
  if (s->of_map[LCT_MAP_WHITEN].n > 0) p->w = f->whiten + at * n * n;
  if (s->of_map[LCT_MAP_STANDARDIZE].n == 0) return LCT_OK;
  const float *sigma = f->sigma + at * n;
  LCT_TRY(lct_alloc_aligned(&p->inverse_sigma, n, sizeof *p->inverse_sigma, "standard deviations", err));
  for (size_t i = 0; i < n; i++) p->inverse_sigma[i] = sigma[i] > 0 ? 1 / sigma[i] : 0;
  return LCT_OK;
}

static lct_status make_mapped(const lct_scorer *s, place *p, size_t at, lct_error *err) {
  size_t n = (size_t)s->f->hidden;
  label_scratch w = {0};
  lct_status status = make_maps(s, p, at, err);
  if (status == LCT_OK) status = lct_alloc_aligned(&w.centred, n, sizeof *w.centred, "a reference", err);
  if (status == LCT_OK) status = lct_calloc(&w.d, n, sizeof *w.d, "a direction", err);
  for (int map = LCT_MAP_NONE + 1; map < LCT_N_MAPS; map++) {
    const metric_list *list = &s->of_map[map];
    for (int i = 0; i < list->n && status == LCT_OK; i++) status = make_labels(s, p, at, list->metrics[i], &w, err);
  }
  free(w.centred);
  free(w.d);
  return status;
}

static lct_status make_place(const lct_scorer *s, place *p, size_t at, lct_error *err) {
  const lct_fingerprints *f = s->f;
  size_t n = (size_t)f->hidden;
  LCT_TRY(lct_alloc_aligned(&p->raw, (size_t)f->n_labels * n, sizeof *p->raw, "references", err));
  for (int i = 0; i < f->n_labels; i++) memcpy(p->raw + (size_t)i * n, lct_fingerprints_vector(f, i, at), n * sizeof *p->raw);
  if (s->of_map[LCT_MAP_NONE].n > 0) LCT_TRY(lct_score_refs_init(&p->legacy, p->raw, (size_t)f->n_labels, f->hidden, err));
  if (computes(s, LCT_METRIC_Z)) p->z = f->z + at * (size_t)f->n_labels * LCT_Z_ROLES * LCT_Z_LENGTHS * 2;
  return s->mapped ? make_mapped(s, p, at, err) : LCT_OK;
}

static lct_status make_places(lct_scorer *s, const lct_score_axes *axes, lct_error *err) {
  size_t n = (size_t)axes->n_poolings * (size_t)axes->n_sources * (size_t)axes->n_layers;
  LCT_TRY(lct_calloc(&s->places, n, sizeof *s->places, "references", err));
  s->n_poolings = axes->n_poolings;
  s->n_sources = axes->n_sources;
  s->n_layers = axes->n_layers;
  place *p = s->places;
  for (int i = 0; i < axes->n_poolings; i++) {
    int pooling = 0, source = 0;
    LCT_TRY(find_name("pooling", axes->poolings[i], s->f->poolings, s->f->n_poolings, &pooling, err));
    for (int k = 0; k < axes->n_sources; k++) {
      LCT_TRY(find_name("source", axes->sources[k], s->f->sources, s->f->n_sources, &source, err));
      for (int l = 0; l < axes->n_layers; l++, p++) {
        int layer = axes->layers[l];
        if (layer < 0 || layer >= s->f->n_layers) {
          return lct_fail(err, LCT_E_USAGE, "the fingerprints have no layer %d: they have 0 to %d", layer, s->f->n_layers - 1);
        }
        LCT_TRY(make_place(s, p, lct_fingerprints_place(s->f, pooling, source, layer), err));
      }
    }
  }
  return LCT_OK;
}

lct_status lct_scorer_new(const lct_fingerprints *f, const lct_score_axes *axes, lct_scorer **out, lct_error *err) {
  *out = NULL;
  lct_scorer *s = NULL;
  LCT_TRY(lct_calloc(&s, 1, sizeof *s, "a scorer", err));
  s->f = f;
  lct_status status = set_metrics(s, axes, err);
  if (status == LCT_OK) status = make_places(s, axes, err);
  if (status == LCT_OK) *out = s;
  else lct_scorer_free(s);
  return status;
}

void lct_scorer_free(lct_scorer *s) {
  if (s == NULL) return;
  size_t n = s->places != NULL ? (size_t)s->n_poolings * (size_t)s->n_sources * (size_t)s->n_layers : 0;
  for (size_t i = 0; i < n; i++) {
    place *p = &s->places[i];
    lct_score_refs_free(&p->legacy);
    free(p->raw);
    free(p->inverse_sigma);
    for (int m = 0; m < LCT_N_ALL_METRICS; m++) free(p->labels[m]);
  }
  free(s->places);
  free(s);
}

/* What a call works in. */
typedef struct {
  float *centred, *other; /* (CHUNK, hidden) */
  float *legacy;          /* (n_labels, LCT_N_METRICS) */
  uint64_t *heap;
} scratch;

static lct_status new_scratch(const lct_scorer *s, const place *p, scratch *w, lct_error *err) {
  size_t rows = s->mapped ? CHUNK * (size_t)s->f->hidden : 0, k = computes(s, LCT_METRIC_JACCARD) ? (size_t)p->legacy.k : 0;
  LCT_TRY(lct_alloc_aligned(&w->centred, rows, sizeof *w->centred, "scores", err));
  LCT_TRY(lct_alloc_aligned(&w->other, rows, sizeof *w->other, "scores", err));
  LCT_TRY(lct_alloc_aligned(&w->legacy, (size_t)s->f->n_labels * LCT_N_METRICS, sizeof *w->legacy, "scores", err));
  return k > 0 ? lct_alloc_aligned(&w->heap, k, sizeof *w->heap, "scores", err) : LCT_OK;
}

static void scratch_free(scratch *w) {
  free(w->centred);
  free(w->other);
  free(w->legacy);
  free(w->heap);
}

/* The metrics of a raw row. */
static void put_raw(const lct_scorer *s, const place *p, const float *v, const lct_score_row *row, const scratch *w, float *out) {
  lct_score_refs_run(&p->legacy, v, w->heap, w->legacy);
  for (int k = 0; k < s->of_map[LCT_MAP_NONE].n; k++) {
    int m = s->of_map[LCT_MAP_NONE].metrics[k];
    float *cells = out + s->column[m];
    if (LCT_METRIC_RULES[m].result != LCT_RESULT_Z) {
      for (int i = 0; i < s->f->n_labels; i++) cells[i * s->n_metrics] = w->legacy[i * LCT_N_METRICS + m];
      continue;
    }
    for (int i = 0; i < s->f->n_labels; i++) {
      const float *bin = p->z + 2 * (i * LCT_Z_ROLES * LCT_Z_LENGTHS + lct_z_bin(row->role, row->n_tokens));
      float cosine = w->legacy[i * LCT_N_METRICS + LCT_METRIC_COSINE];
      cells[i * s->n_metrics] = bin[1] > 0 ? (cosine - bin[0]) / bin[1] : NAN;
    }
  }
}

/* Lengths for which no product with a unit vector leaves float's range. */
static bool in_range(double norm) { return norm >= 1e-15 && norm <= 1e30; }

static double norm_of(const float *x, int n) {
  double square = 0;
  lct_dots(x, x, 0, 1, n, &square);
  double norm = sqrt(square);
  return in_range(norm) ? norm : lct_norm(x, n);
}

/* One metric of a row x of length norm, the row as the metric has it. */
static void put_dots(const lct_scorer *s, const float *labels, int metric, bool usable, const float *x, double norm, float *out) {
  enum { GROUP = 32 };
  int n = s->f->hidden, n_labels = s->f->n_labels;
  bool cosine = LCT_METRIC_RULES[metric].result == LCT_RESULT_COSINE;
  double sums[GROUP];
  for (int at = 0; at < n_labels; at += GROUP) {
    int m = n_labels - at < GROUP ? n_labels - at : GROUP;
    const float *units = labels + (size_t)at * (size_t)n;
    if (in_range(norm)) lct_dots(x, units, (size_t)n, (size_t)m, n, sums);
    for (int i = 0; i < m; i++) {
      if (!in_range(norm)) sums[i] = lct_dot_double(x, units + (size_t)i * (size_t)n, n);
      double score = cosine ? (norm > 0 ? sums[i] / norm : NAN) : sums[i];
      out[(at + i) * s->n_metrics + s->column[metric]] = usable ? (float)score : NAN;
    }
  }
}

/* The metrics of one row x that was mapped so. */
static void put_row(const lct_scorer *s, const place *p, lct_metric_map map, bool usable, const float *x, float *out) {
  const metric_list *list = &s->of_map[map];
  double norm = norm_of(x, s->f->hidden);
  for (int k = 0; k < list->n; k++) put_dots(s, p->labels[list->metrics[k]], list->metrics[k], usable, x, norm, out);
}

/* The metrics of up to CHUNK mapped rows: row by row, while it is in the cache, but whitened together. */
static void put_mapped(const lct_scorer *s, const place *p, const float *vectors, int64_t ld, int n_rows, const scratch *w, float *out,
                       int64_t out_ld) {
  int n = s->f->hidden;
  bool usable[CHUNK];
  for (int r = 0; r < n_rows; r++) {
    float *centred = w->centred + (size_t)r * (size_t)n;
    double norm = norm_of(vectors + r * ld, n);
    usable[r] = norm > 0 && isfinite(norm);
    subtract(vectors + r * ld, p->mean, n, centred);
    for (int map = LCT_MAP_NONE + 1; map < LCT_N_MAPS; map++) {
      if (map == LCT_MAP_WHITEN || s->of_map[map].n == 0) continue;
      put_row(s, p, (lct_metric_map)map, usable[r], map_rows(p, (lct_metric_map)map, centred, 1, n, w->other), out + r * out_ld);
    }
  }
  if (s->of_map[LCT_MAP_WHITEN].n == 0) return;
  const float *rows = map_rows(p, LCT_MAP_WHITEN, w->centred, n_rows, n, w->other);
  for (int r = 0; r < n_rows; r++) put_row(s, p, LCT_MAP_WHITEN, usable[r], rows + (size_t)r * (size_t)n, out + r * out_ld);
}

/* The contrasts of one row, whose scores are there. */
static void put_contrasts(const lct_scorer *s, float *out) {
  for (int k = 0; k < s->contrasts.n; k++) {
    int m = s->contrasts.metrics[k];
    const float *scores = out + s->column[LCT_METRIC_RULES[m].contrast_of];
    float *cells = out + s->column[m];
    double sum = 0;
    int n = 0;
    for (int i = 0; i < s->f->n_labels; i++) {
      if (isnan(scores[i * s->n_metrics])) continue;
      sum += (double)scores[i * s->n_metrics];
      n++;
    }
    double mean = n > 0 ? sum / n : NAN;
    for (int i = 0; i < s->f->n_labels; i++) cells[i * s->n_metrics] = (float)((double)scores[i * s->n_metrics] - mean);
  }
}

lct_status lct_scorer_run(const lct_scorer *s, int pooling, int source, int layer, const float *vectors, int64_t ld, size_t n,
                          const lct_score_row *rows, float *out, int64_t out_ld, lct_error *err) {
  const place *p = &s->places[((size_t)pooling * (size_t)s->n_sources + (size_t)source) * (size_t)s->n_layers + (size_t)layer];
  scratch w = {0};
  lct_status status = new_scratch(s, p, &w, err);
  for (size_t i = 0; i < n && status == LCT_OK; i += CHUNK) {
    int m = n - i < CHUNK ? (int)(n - i) : CHUNK;
    const float *v = vectors + (int64_t)i * ld;
    float *cells = out + (int64_t)i * out_ld;
    for (int r = 0; r < m && s->of_map[LCT_MAP_NONE].n > 0; r++) {
      put_raw(s, p, v + r * ld, rows != NULL ? &rows[i + (size_t)r] : NULL, &w, cells + r * out_ld);
    }
    if (s->mapped) put_mapped(s, p, v, ld, m, &w, cells, out_ld);
    for (int r = 0; r < m && s->contrasts.n > 0; r++) put_contrasts(s, cells + r * out_ld);
  }
  scratch_free(&w);
  return status;
}
