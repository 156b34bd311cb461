#include "analysis/findings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Widens [*lo, *hi] by the all-snapshot means of one source; the references of the ends may be NULL. */
static void widen(const lct_analysis *a, int source, lct_stat stat, double *lo, double *hi, int *lo_ref, int *hi_ref) {
  if (source < 0) return;
  for (size_t ref = 0; ref < a->scores->n_references; ref++) {
    double v = lct_average_source(a, &a->all, (size_t)source, ref, stat);
    if (isnan(v)) continue;
    if (isnan(*lo) || v < *lo) {
      *lo = v;
      if (lo_ref != NULL) *lo_ref = (int)ref;
    }
    if (isnan(*hi) || v > *hi) {
      *hi = v;
      if (hi_ref != NULL) *hi_ref = (int)ref;
    }
  }
}

static void fill_backbone(lct_analysis *a) {
  lct_findings *f = &a->findings;
  f->backbone_min = f->backbone_max = f->sublayer_min = f->sublayer_max = NAN;
  f->contrast.backbone_min = f->contrast.backbone_max = NAN;
  f->backbone_min_ref = f->backbone_max_ref = -1;
  for (int k = 0; k < 2; k++) {
    widen(a, a->residual[k], LCT_STAT_COSINE, &f->backbone_min, &f->backbone_max, &f->backbone_min_ref, &f->backbone_max_ref);
    widen(a, a->residual[k], LCT_STAT_CONTRAST, &f->contrast.backbone_min, &f->contrast.backbone_max, NULL, NULL);
    widen(a, a->residual[k + 2], LCT_STAT_COSINE, &f->sublayer_min, &f->sublayer_max, NULL, NULL);
  }
}

static void fill_gaps(lct_analysis *a) {
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    int src = a->residual[k];
    a->findings.gap[k] = src < 0 ? NAN : a->user.source_mean[src] - a->assistant.source_mean[src];
  }
}

static void fill_contrast(lct_analysis *a) {
  lct_contrast_findings *c = &a->findings.contrast;
  c->average = a->user.n_snapshots > 0 ? &a->user : &a->all;
  c->offset = lct_average_offset(a, c->average);
  for (size_t ref = 0; ref < a->scores->n_references; ref++) {
    double v = lct_average_message(a, c->average, ref, LCT_STAT_CONTRAST);
    if (isnan(v)) continue;
    size_t at = c->n++;
    for (; at > 0 && lct_average_message(a, c->average, (size_t)c->order[at - 1], LCT_STAT_CONTRAST) < v; at--)
      c->order[at] = c->order[at - 1];
    c->order[at] = (int)ref;
  }
}

static int most_wins(const lct_analysis *a, const int *wins, const lct_role_average *r) {
  int best = -1;
  for (size_t ref = 0; ref < a->scores->n_references; ref++) {
    if (wins[ref] == 0) continue;
    double mean = lct_average_message(a, r, ref, LCT_STAT_COSINE);
    if (best < 0 || wins[ref] > wins[best] ||
        (wins[ref] == wins[best] && mean > lct_average_message(a, r, (size_t)best, LCT_STAT_COSINE))) {
      best = (int)ref;
    }
  }
  return best;
}

static void fill_default(lct_analysis *a) {
  lct_findings *f = &a->findings;
  for (size_t i = 0; i < a->scores->n_snapshots; i++) {
    const lct_snapshot *snap = &a->scores->snapshots[i];
    if (snap->generated || a->best[i] < 0) continue;
    f->wins_all[a->best[i]]++;
    f->n_all++;
    if (strcmp(snap->role, "user") != 0) continue;
    f->wins_user[a->best[i]]++;
    f->n_user++;
  }
  f->default_user = most_wins(a, f->wins_user, &a->user);
  f->default_all = most_wins(a, f->wins_all, &a->all);
}

static lct_status fill_fade(lct_analysis *a, lct_error *err) {
  lct_findings *f = &a->findings;
  size_t n = a->scores->n_snapshots, kept = 0;
  f->first = f->last = f->first_ref = f->last_ref = -1;
  f->first_value = f->last_value = f->first_ref_at_last = f->contrast.first = f->contrast.last = NAN;
  double *x = NULL;
  LCT_TRY(lct_calloc(&x, 2 * n, sizeof *x, "the user turns", err));
  double *y = x + n;
  for (size_t i = 0; i < n; i++) {
    const lct_snapshot *snap = &a->scores->snapshots[i];
    if (snap->generated || a->best[i] < 0 || strcmp(snap->role, "user") != 0) continue;
    x[kept] = (double)snap->index;
    y[kept] = lct_analysis_message(a, i, (size_t)a->best[i], LCT_STAT_COSINE);
    if (kept == 0) f->first = (int)i;
    f->last = (int)i;
    kept++;
  }
  f->fade = lct_fit_line(x, y, kept);
  if (kept > 0) {
    f->first_ref = a->best[f->first];
    f->last_ref = a->best[f->last];
    f->first_value = y[0];
    f->last_value = y[kept - 1];
    f->contrast.first = lct_analysis_message(a, (size_t)f->first, (size_t)f->first_ref, LCT_STAT_CONTRAST);
    f->contrast.last = lct_analysis_message(a, (size_t)f->last, (size_t)f->last_ref, LCT_STAT_CONTRAST);
    f->first_ref_at_last = lct_analysis_message(a, (size_t)f->last, (size_t)f->first_ref, LCT_STAT_COSINE);
  }
  free(x);
  return LCT_OK;
}

lct_status lct_findings_fill(lct_analysis *a, lct_error *err) {
  fill_backbone(a);
  a->findings.sharpest_source = a->residual[0] >= 0 ? a->residual[0] : a->scores->n_sources > 0 ? 0 : -1;
  fill_contrast(a);
  fill_gaps(a);
  fill_default(a);
  return fill_fade(a, err);
}
