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
  const float *mean, *w, *z; /* of f; NULL: not needed */
  float *inverse_sigma;      /* (hidden), 0 where sigma is */
  float *centered, *standardized, *whitened, *projection; /* (n_labels, hidden): references treated as a row will be, as unit vectors;
                                                             of NaN where there is no direction */
} place;

struct lct_scorer {
  const lct_fingerprints *f;
  int column[LCT_N_ALL_METRICS]; /* where a metric goes, -1: not asked for */
  int n_metrics, n_poolings, n_sources, n_layers;
  bool legacy, calibrated; /* whether any metric of that kind but z is asked for */
  place *places;
};

static bool wants(const lct_scorer *s, int metric) { return s->column[metric] >= 0; }

static lct_status set_metrics(lct_scorer *s, const lct_score_axes *axes, lct_error *err) {
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) s->column[i] = -1;
  s->n_metrics = axes->n_metrics;
  for (int i = 0; i < axes->n_metrics; i++) {
    int m = axes->metrics[i];
    if (m < 0 || m >= LCT_N_ALL_METRICS) return lct_fail(err, LCT_E_USAGE, "there is no metric of number %d", m);
    if (wants(s, m)) return lct_fail(err, LCT_E_USAGE, "metric \"%s\" is asked for twice", lct_any_metric_name(m));
    if (m > LCT_METRIC_CALIBRATED_FIRST && s->f->n_neutral == 0) {
      return lct_fail(err, LCT_E_USAGE,
                      "metric \"%s\" needs fingerprints with a neutral bank, which these were made without (fingerprint --neutral)",
                      lct_any_metric_name(m));
    }
    s->column[m] = i;
    if (m <= LCT_METRIC_CALIBRATED_FIRST || m == LCT_METRIC_Z) s->legacy = true;
    else s->calibrated = true;
  }
  if (wants(s, LCT_METRIC_WHITENED) && s->f->whiten == NULL) {
    return lct_fail(err, LCT_E_USAGE, "metric \"whitened\" needs fingerprints made with --whiten");
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

static lct_status new_units(const lct_scorer *s, float **units, lct_error *err) {
  return lct_alloc_aligned(units, (size_t)s->f->n_labels * (size_t)s->f->hidden, sizeof **units, "references", err);
}

static lct_status make_standardized(const lct_scorer *s, place *p, const float *sigma, const float *centred, lct_error *err) {
  int n = s->f->hidden;
  LCT_TRY(lct_alloc_aligned(&p->inverse_sigma, (size_t)n, sizeof *p->inverse_sigma, "standard deviations", err));
  LCT_TRY(new_units(s, &p->standardized, err));
  for (int i = 0; i < n; i++) p->inverse_sigma[i] = sigma[i] > 0 ? 1 / sigma[i] : 0;
  for (int i = 0; i < s->f->n_labels; i++) {
    size_t at = (size_t)i * (size_t)n;
    multiply(centred + at, p->inverse_sigma, n, p->standardized + at);
  }
  make_units(p->standardized, s->f->n_labels, n);
  return LCT_OK;
}

/* d = r - mu without its part along the components. */
static lct_status make_projection(const lct_scorer *s, place *p, const float *pcs, const float *centred, lct_error *err) {
  int n = s->f->hidden;
  double *d = NULL;
  LCT_TRY(new_units(s, &p->projection, err));
  LCT_TRY(lct_calloc(&d, (size_t)n, sizeof *d, "a direction", err));
  for (int i = 0; i < s->f->n_labels; i++) {
    const float *r = centred + (size_t)i * (size_t)n;
    for (int j = 0; j < n; j++) d[j] = (double)r[j];
    for (int k = 0; k < s->f->n_pcs; k++) {
      const float *pc = pcs + (size_t)k * (size_t)n;
      double along = lct_dot_double(r, pc, n);
      for (int j = 0; j < n; j++) d[j] -= along * (double)pc[j];
    }
    for (int j = 0; j < n; j++) p->projection[(size_t)i * (size_t)n + (size_t)j] = (float)d[j];
  }
  make_units(p->projection, s->f->n_labels, n);
  free(d);
  return LCT_OK;
}

static lct_status make_calibrated(const lct_scorer *s, place *p, size_t at, lct_error *err) {
  const lct_fingerprints *f = s->f;
  size_t n = (size_t)f->hidden;
  p->mean = f->mean + at * n;
  LCT_TRY(new_units(s, &p->centered, err));
  float *centred = p->centered;
  for (int i = 0; i < f->n_labels; i++) subtract(p->raw + (size_t)i * n, p->mean, f->hidden, centred + (size_t)i * n);
  if (wants(s, LCT_METRIC_STANDARDIZED)) LCT_TRY(make_standardized(s, p, f->sigma + at * n, centred, err));
  if (wants(s, LCT_METRIC_PROJECTION)) {
    const float *pcs = f->n_pcs > 0 ? f->pcs + at * n * (size_t)f->n_pcs : NULL;
    LCT_TRY(make_projection(s, p, pcs, centred, err));
  }
  if (wants(s, LCT_METRIC_WHITENED)) {
    p->w = f->whiten + at * n * n;
    LCT_TRY(new_units(s, &p->whitened, err));
    for (int i = 0; i < f->n_labels; i++) whiten(p->w, centred + (size_t)i * n, 1, f->hidden, p->whitened + (size_t)i * n);
    make_units(p->whitened, f->n_labels, f->hidden);
  }
  make_units(centred, f->n_labels, f->hidden);
  return LCT_OK;
}

static lct_status make_place(const lct_scorer *s, place *p, size_t at, lct_error *err) {
  const lct_fingerprints *f = s->f;
  size_t n = (size_t)f->hidden;
  LCT_TRY(lct_alloc_aligned(&p->raw, (size_t)f->n_labels * n, sizeof *p->raw, "references", err));
  for (int i = 0; i < f->n_labels; i++) memcpy(p->raw + (size_t)i * n, lct_fingerprints_vector(f, i, at), n * sizeof *p->raw);
  if (s->legacy) LCT_TRY(lct_score_refs_init(&p->legacy, p->raw, (size_t)f->n_labels, f->hidden, err));
  if (wants(s, LCT_METRIC_Z)) p->z = f->z + at * (size_t)f->n_labels * LCT_Z_ROLES * LCT_Z_LENGTHS * 2;
  return s->calibrated ? make_calibrated(s, p, at, err) : LCT_OK;
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
    float *const owned[] = {p->raw, p->inverse_sigma, p->centered, p->standardized, p->whitened, p->projection};
    for (size_t k = 0; k < sizeof owned / sizeof *owned; k++) free(owned[k]);
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
  size_t rows = s->calibrated ? CHUNK * (size_t)s->f->hidden : 0, k = wants(s, LCT_METRIC_JACCARD) ? (size_t)p->legacy.k : 0;
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

static void put_legacy(const lct_scorer *s, const place *p, const float *v, const lct_score_row *row, const scratch *w, float *out) {
  lct_score_refs_run(&p->legacy, v, w->heap, w->legacy);
  for (int m = 0; m < LCT_N_METRICS; m++) {
    for (int i = 0; wants(s, m) && i < s->f->n_labels; i++) out[i * s->n_metrics + s->column[m]] = w->legacy[i * LCT_N_METRICS + m];
  }
  if (!wants(s, LCT_METRIC_Z)) return;
  for (int i = 0; i < s->f->n_labels; i++) {
    const float *bin = p->z + 2 * (i * LCT_Z_ROLES * LCT_Z_LENGTHS + lct_z_bin(row->role, row->n_tokens));
    float cosine = w->legacy[i * LCT_N_METRICS + LCT_METRIC_COSINE];
    out[i * s->n_metrics + s->column[LCT_METRIC_Z]] = bin[1] > 0 ? (cosine - bin[0]) / bin[1] : NAN;
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

/* One metric of one row x, the row as the metric has it: x . unit, divided by |x| when `cosine`. */
static void put_dots(const lct_scorer *s, const float *all_units, int metric, bool cosine, bool usable, const float *x, float *out) {
  enum { GROUP = 32 };
  int n = s->f->hidden, n_labels = s->f->n_labels;
  double norm = norm_of(x, n), sums[GROUP];
  for (int at = 0; at < n_labels; at += GROUP) {
    int m = n_labels - at < GROUP ? n_labels - at : GROUP;
    const float *units = all_units + (size_t)at * (size_t)n;
    if (in_range(norm)) lct_dots(x, units, (size_t)n, (size_t)m, n, sums);
    for (int i = 0; i < m; i++) {
      if (!in_range(norm)) sums[i] = lct_dot_double(x, units + (size_t)i * (size_t)n, n);
      double score = cosine ? (norm > 0 ? sums[i] / norm : NAN) : sums[i];
      out[(at + i) * s->n_metrics + s->column[metric]] = usable ? (float)score : NAN;
    }
  }
}

/* The calibrated metrics of up to CHUNK rows. */
static void put_calibrated(const lct_scorer *s, const place *p, const float *vectors, int64_t ld, int n_rows, const scratch *w, float *out,
                           int64_t out_ld) {
  int n = s->f->hidden;
  bool usable[CHUNK];
  for (int r = 0; r < n_rows; r++) {
    const float *v = vectors + r * ld;
    float *x = w->centred + (size_t)r * (size_t)n, *cells = out + r * out_ld;
    double norm = norm_of(v, n);
    usable[r] = norm > 0 && isfinite(norm);
    subtract(v, p->mean, n, x);
    if (wants(s, LCT_METRIC_CENTERED)) put_dots(s, p->centered, LCT_METRIC_CENTERED, true, usable[r], x, cells);
    if (wants(s, LCT_METRIC_PROJECTION)) put_dots(s, p->projection, LCT_METRIC_PROJECTION, false, usable[r], x, cells);
    if (!wants(s, LCT_METRIC_STANDARDIZED)) continue;
    multiply(x, p->inverse_sigma, n, w->other);
    put_dots(s, p->standardized, LCT_METRIC_STANDARDIZED, true, usable[r], w->other, cells);
  }
  if (!wants(s, LCT_METRIC_WHITENED)) return;
  whiten(p->w, w->centred, n_rows, n, w->other);
  for (int r = 0; r < n_rows; r++) {
    put_dots(s, p->whitened, LCT_METRIC_WHITENED, true, usable[r], w->other + (size_t)r * (size_t)n, out + r * out_ld);
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
    for (int r = 0; r < m && s->legacy; r++) {
      put_legacy(s, p, v + r * ld, rows != NULL ? &rows[i + (size_t)r] : NULL, &w, cells + r * out_ld);
    }
    if (s->calibrated) put_calibrated(s, p, v, ld, m, &w, cells, out_ld);
  }
  scratch_free(&w);
  return status;
}
