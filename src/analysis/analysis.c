#include "analysis/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/findings.h"

/* A mean that leaves NaN out. */
typedef struct {
  double sum;
  size_t n;
} mean_acc;

static void mean_add(mean_acc *m, double v) {
  if (isnan(v)) return;
  m->sum += v;
  m->n++;
}

static double mean_get(mean_acc m) { return m.n > 0 ? m.sum / (double)m.n : NAN; }

static double score_at(const lct_analysis *a, size_t snapshot, size_t source, size_t layer, size_t reference, int metric) {
  const lct_scores *s = a->scores;
  if (metric < 0) return NAN;
  size_t at = snapshot * s->n_poolings + (size_t)a->pooling;
  at = at * s->n_sources + source;
  at = at * s->n_layers + layer;
  at = at * s->n_references + reference;
  return s->values[at * s->n_metrics + (size_t)metric];
}

static size_t row_index(const lct_analysis *a, size_t snapshot, size_t source, size_t layer) {
  return (snapshot * a->scores->n_sources + source) * a->scores->n_layers + layer;
}

static double stat_at(const lct_analysis *a, size_t snapshot, size_t source, size_t layer, size_t reference, lct_stat stat) {
  const lct_scores *s = a->scores;
  switch (stat) {
  case LCT_STAT_COSINE: return score_at(a, snapshot, source, layer, reference, s->metric.cosine);
  case LCT_STAT_MAE: return score_at(a, snapshot, source, layer, reference, s->metric.mae);
  case LCT_STAT_JACCARD: return score_at(a, snapshot, source, layer, reference, s->metric.jaccard);
  case LCT_STAT_CONTRAST:
    return score_at(a, snapshot, source, layer, reference, s->metric.cosine) - a->reference_mean[row_index(a, snapshot, source, layer)];
  case LCT_N_STATS: break;
  }
  return NAN;
}

static size_t stat_index(const lct_analysis *a, size_t row, size_t reference, lct_stat stat) {
  return (row * a->scores->n_references + reference) * LCT_N_STATS + (size_t)stat;
}

double lct_analysis_message(const lct_analysis *a, size_t snapshot, size_t reference, lct_stat stat) {
  return a->by_message[stat_index(a, snapshot, reference, stat)];
}

double lct_analysis_source(const lct_analysis *a, size_t snapshot, size_t source, size_t reference, lct_stat stat) {
  return a->by_source[stat_index(a, snapshot * a->scores->n_sources + source, reference, stat)];
}

double lct_average_source(const lct_analysis *a, const lct_role_average *r, size_t source, size_t reference, lct_stat stat) {
  return r->by_source[stat_index(a, source, reference, stat)];
}

double lct_average_curve(const lct_analysis *a, const lct_role_average *r, size_t source, size_t layer, size_t reference) {
  return r->curves[(source * a->scores->n_layers + layer) * a->scores->n_references + reference];
}

double lct_average_message(const lct_analysis *a, const lct_role_average *r, size_t reference, lct_stat stat) {
  mean_acc m = {0};
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] >= 0) mean_add(&m, lct_average_source(a, r, (size_t)a->residual[k], reference, stat));
  }
  return mean_get(m);
}

double lct_average_offset(const lct_analysis *a, const lct_role_average *r) {
  mean_acc m = {0};
  for (size_t ref = 0; ref < a->scores->n_references; ref++) mean_add(&m, lct_average_message(a, r, ref, LCT_STAT_COSINE));
  return mean_get(m);
}

static lct_status take(lct_analysis *a, void *out_ptr, size_t n, size_t size, lct_error *err) {
  size_t bytes = 0;
  void *p = lct_mul_ok(n ? n : 1, size, &bytes) ? lct_arena_alloc(&a->arena, bytes) : NULL;
  if (p == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the analysis: %zu x %zu bytes", n, size);
  memcpy(out_ptr, &p, sizeof p);
  return LCT_OK;
}

static void fill_reference_mean(lct_analysis *a) {
  const lct_scores *s = a->scores;
  for (size_t i = 0; i < s->n_snapshots; i++) {
    for (size_t src = 0; src < s->n_sources; src++) {
      for (size_t l = 0; l < s->n_layers; l++) {
        mean_acc m = {0};
        for (size_t ref = 0; ref < s->n_references; ref++) mean_add(&m, stat_at(a, i, src, l, ref, LCT_STAT_COSINE));
        a->reference_mean[row_index(a, i, src, l)] = mean_get(m);
      }
    }
  }
}

static void fill_by_source(lct_analysis *a) {
  const lct_scores *s = a->scores;
  for (size_t i = 0; i < s->n_snapshots; i++) {
    for (size_t src = 0; src < s->n_sources; src++) {
      for (size_t ref = 0; ref < s->n_references; ref++) {
        for (int st = 0; st < LCT_N_STATS; st++) {
          mean_acc m = {0};
          for (size_t l = 0; l < s->n_layers; l++) mean_add(&m, stat_at(a, i, src, l, ref, (lct_stat)st));
          a->by_source[stat_index(a, i * s->n_sources + src, ref, (lct_stat)st)] = mean_get(m);
        }
      }
    }
  }
}

static void fill_by_message(lct_analysis *a) {
  const lct_scores *s = a->scores;
  for (size_t i = 0; i < s->n_snapshots; i++) {
    a->best[i] = -1;
    for (size_t ref = 0; ref < s->n_references; ref++) {
      for (int st = 0; st < LCT_N_STATS; st++) {
        mean_acc m = {0};
        for (int k = 0; k < LCT_N_RESIDUAL; k++) {
          if (a->residual[k] >= 0) mean_add(&m, lct_analysis_source(a, i, (size_t)a->residual[k], ref, (lct_stat)st));
        }
        a->by_message[stat_index(a, i, ref, (lct_stat)st)] = mean_get(m);
      }
      double v = lct_analysis_message(a, i, ref, LCT_STAT_COSINE);
      if (isnan(v)) continue;
      if (a->best[i] < 0 || v > lct_analysis_message(a, i, (size_t)a->best[i], LCT_STAT_COSINE)) a->best[i] = (int)ref;
    }
  }
}

/* role NULL: every role. */
static bool takes_part(const lct_snapshot *snap, const char *role) {
  return !snap->generated && (role == NULL || strcmp(snap->role, role) == 0);
}

static void fill_average_tables(const lct_analysis *a, const char *role, lct_role_average *r) {
  const lct_scores *s = a->scores;
  for (size_t i = 0; i < s->n_snapshots; i++) r->n_snapshots += takes_part(&s->snapshots[i], role) ? 1 : 0;
  for (size_t src = 0; src < s->n_sources; src++) {
    mean_acc over_refs = {0};
    for (size_t ref = 0; ref < s->n_references; ref++) {
      for (int st = 0; st < LCT_N_STATS; st++) {
        mean_acc m = {0};
        for (size_t i = 0; i < s->n_snapshots; i++) {
          if (takes_part(&s->snapshots[i], role)) mean_add(&m, lct_analysis_source(a, i, src, ref, (lct_stat)st));
        }
        r->by_source[stat_index(a, src, ref, (lct_stat)st)] = mean_get(m);
      }
      mean_add(&over_refs, lct_average_source(a, r, src, ref, LCT_STAT_COSINE));
    }
    r->source_mean[src] = mean_get(over_refs);
  }
}

static void fill_curves(const lct_analysis *a, const char *role, lct_role_average *r) {
  const lct_scores *s = a->scores;
  for (size_t src = 0; src < s->n_sources; src++) {
    for (size_t l = 0; l < s->n_layers; l++) {
      for (size_t ref = 0; ref < s->n_references; ref++) {
        mean_acc m = {0};
        for (size_t i = 0; i < s->n_snapshots; i++) {
          if (takes_part(&s->snapshots[i], role)) mean_add(&m, stat_at(a, i, src, l, ref, LCT_STAT_COSINE));
        }
        r->curves[(src * s->n_layers + l) * s->n_references + ref] = mean_get(m);
      }
    }
  }
}

static lct_layer_spread spread_at(const lct_analysis *a, const lct_role_average *r, size_t src, size_t layer) {
  lct_layer_spread out = {.layer_pos = (int)layer, .highest = -1, .lowest = -1, .spread = NAN, .highest_value = NAN, .lowest_value = NAN};
  mean_acc m = {0};
  for (size_t ref = 0; ref < a->scores->n_references; ref++) {
    double v = lct_average_curve(a, r, src, layer, ref);
    if (isnan(v)) continue;
    mean_add(&m, v);
    if (out.highest < 0 || v > out.highest_value) {
      out.highest = (int)ref;
      out.highest_value = v;
    }
    if (out.lowest < 0 || v < out.lowest_value) {
      out.lowest = (int)ref;
      out.lowest_value = v;
    }
  }
  out.mean = mean_get(m);
  if (m.n > 0) out.spread = out.highest_value - out.lowest_value;
  return out;
}

static int compare_spread(const void *pa, const void *pb) {
  const lct_layer_spread *a = pa, *b = pb;
  bool a_nan = isnan(a->spread), b_nan = isnan(b->spread);
  if (a_nan != b_nan) return a_nan ? 1 : -1;
  if (!a_nan && a->spread != b->spread) return a->spread > b->spread ? -1 : 1;
  return a->layer_pos - b->layer_pos;
}

static void fill_spread(const lct_analysis *a, lct_role_average *r) {
  size_t n_layers = a->scores->n_layers;
  for (size_t src = 0; src < a->scores->n_sources; src++) {
    lct_layer_spread *row = r->spread + src * n_layers, *top = r->spread_top + src * n_layers;
    for (size_t l = 0; l < n_layers; l++) row[l] = top[l] = spread_at(a, r, src, l);
    qsort(top, n_layers, sizeof *top, compare_spread);
  }
}

static lct_status build_average(lct_analysis *a, const char *role, lct_role_average *r, lct_error *err) {
  const lct_scores *s = a->scores;
  size_t n_curve = s->n_sources * s->n_layers;
  LCT_TRY(take(a, &r->by_source, s->n_sources * s->n_references * LCT_N_STATS, sizeof(double), err));
  LCT_TRY(take(a, &r->curves, n_curve * s->n_references, sizeof(double), err));
  LCT_TRY(take(a, &r->source_mean, s->n_sources, sizeof(double), err));
  LCT_TRY(take(a, &r->spread, n_curve, sizeof *r->spread, err));
  LCT_TRY(take(a, &r->spread_top, n_curve, sizeof *r->spread_top, err));
  fill_average_tables(a, role, r);
  fill_curves(a, role, r);
  fill_spread(a, r);
  return LCT_OK;
}

static lct_status build_intra(lct_analysis *a, lct_error *err) {
  const lct_scores *s = a->scores;
  if (s->intra == NULL) return LCT_OK;
  LCT_TRY(take(a, &a->intra, s->n_sources * LCT_N_STATS, sizeof *a->intra, err));
  for (size_t src = 0; src < s->n_sources; src++) {
    const lct_intra_run *run = &s->intra[src];
    const double *series[LCT_N_STATS] =
        {[LCT_STAT_COSINE] = run->cosine, [LCT_STAT_MAE] = run->mae, [LCT_STAT_JACCARD] = run->jaccard}; /* no references, no contrast */
    for (int st = 0; st < LCT_N_STATS; st++) {
      size_t n = series[st] != NULL ? s->n_layers : 0;
      LCT_TRY(lct_series_describe(series[st], n, &a->intra[src * LCT_N_STATS + (size_t)st], err));
    }
  }
  return LCT_OK;
}

static lct_status build(lct_analysis *a, lct_error *err) {
  const lct_scores *s = a->scores;
  for (int k = 0; k < LCT_N_RESIDUAL; k++)
    a->residual[k] = lct_label_find(s->sources, s->n_sources, lct_source_name(LCT_RESIDUAL_SOURCES[k]));
  /* the scores file holds n_values >= each of these products unless an axis is empty, so none overflows in practice; take()
   * checks */
  LCT_TRY(take(a, &a->reference_mean, s->n_snapshots * s->n_sources * s->n_layers, sizeof(double), err));
  LCT_TRY(take(a, &a->by_source, s->n_snapshots * s->n_sources * s->n_references * LCT_N_STATS, sizeof(double), err));
  LCT_TRY(take(a, &a->by_message, s->n_snapshots * s->n_references * LCT_N_STATS, sizeof(double), err));
  LCT_TRY(take(a, &a->best, s->n_snapshots, sizeof(int), err));
  fill_reference_mean(a);
  fill_by_source(a);
  fill_by_message(a);
  LCT_TRY(build_average(a, NULL, &a->all, err));
  LCT_TRY(build_average(a, "user", &a->user, err));
  LCT_TRY(build_average(a, "assistant", &a->assistant, err));
  LCT_TRY(build_intra(a, err));
  LCT_TRY(take(a, &a->findings.contrast.order, s->n_references, sizeof(int), err));
  LCT_TRY(take(a, &a->findings.wins_user, s->n_references, sizeof(int), err));
  LCT_TRY(take(a, &a->findings.wins_all, s->n_references, sizeof(int), err));
  return lct_findings_fill(a, err);
}

lct_status lct_analysis_run(const lct_scores *scores, const char *pooling, lct_analysis **out, lct_error *err) {
  *out = NULL;
  int p = lct_label_find(scores->poolings, scores->n_poolings, pooling);
  if (p < 0) return lct_fail(err, LCT_E_USAGE, "%s: has no pooling \"%s\"", scores->file, pooling);
  lct_analysis *a = NULL;
  LCT_TRY(lct_calloc(&a, 1, sizeof *a, "the analysis", err));
  a->scores = scores;
  a->pooling = p;
  lct_status st = build(a, err);
  if (st != LCT_OK) {
    lct_analysis_free(a);
    return st;
  }
  *out = a;
  return LCT_OK;
}

void lct_analysis_free(lct_analysis *a) {
  if (a == NULL) return;
  lct_arena_free(&a->arena);
  free(a);
}
