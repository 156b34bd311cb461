/* What the bank says: moments, components, whitening, and how its own vectors score against each label. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fingerprint/make_impl.h"

enum { BINS = LCT_Z_ROLES * LCT_Z_LENGTHS };

/* Running mean and sum of squared deviations. */
typedef struct {
  int64_t n;
  double mean, m2;
} running;

static void add(running *r, double x) {
  double d = x - r->mean;
  r->n++;
  r->mean += d / (double)r->n;
  r->m2 += d * (x - r->mean);
}

/* A bin with too few prompts takes all lengths of its role; a role with too few takes the whole bank. */
static void write_bins(const running bins[BINS], const running roles[LCT_Z_ROLES], const running *all, float *out) {
  for (int b = 0; b < BINS; b++) {
    const running *r = &bins[b];
    if (r->n < FP_BIN_MIN) r = &roles[b / LCT_Z_LENGTHS];
    if (r->n < FP_BIN_MIN) r = all;
    out[2 * b] = (float)r->mean;
    out[2 * b + 1] = r->n > 1 ? (float)sqrt(r->m2 / (double)(r->n - 1)) : 0;
  }
}

/* cosines (n_rows, n_labels) of one place; out (n_labels, BINS, 2). */
static void write_z(const maker *m, const float *cosines, size_t n_labels, float *out) {
  for (size_t label = 0; label < n_labels; label++) {
    running bins[BINS] = {{0}}, roles[LCT_Z_ROLES] = {{0}}, all = {0};
    for (size_t i = 0; i < m->bank.n_rows; i++) {
      double x = cosines[i * n_labels + label];
      int bin = m->bank.rows[i].bin;
      if (isnan(x)) continue;
      add(&bins[bin], x);
      add(&roles[bin / LCT_Z_LENGTHS], x);
      add(&all, x);
    }
    write_bins(bins, roles, &all, out + label * BINS * 2);
  }
}

static lct_status make_z(const maker *m, lct_fingerprints *f, size_t place, const float *rows, lct_error *err) {
  size_t hidden = (size_t)m->axes.hidden, n = m->bank.n_rows, labels = m->n_labels;
  float *refs = NULL, *cosines = NULL, *scores = NULL;
  lct_score_refs r = {0};
  lct_status s = lct_calloc(&refs, labels * hidden, sizeof *refs, "references", err);
  if (s == LCT_OK) s = lct_calloc(&cosines, n * labels, sizeof *cosines, "cosines", err);
  if (s == LCT_OK) s = lct_calloc(&scores, labels * LCT_N_METRICS, sizeof *scores, "cosines", err);
  for (size_t i = 0; s == LCT_OK && i < labels; i++) {
    memcpy(refs + i * hidden, lct_fingerprints_vector(f, (int)i, place), hidden * sizeof *refs);
  }
  if (s == LCT_OK) s = lct_score_refs_init(&r, refs, labels, m->axes.hidden, err);
  for (size_t i = 0; s == LCT_OK && i < n; i++) {
    lct_score_refs_run(&r, rows + i * hidden, NULL, scores);
    for (size_t k = 0; k < labels; k++) cosines[i * labels + k] = scores[k * LCT_N_METRICS + LCT_METRIC_COSINE];
  }
  if (s == LCT_OK) write_z(m, cosines, labels, f->z + place * labels * BINS * 2);
  lct_score_refs_free(&r);
  free(refs);
  free(cosines);
  free(scores);
  return s;
}

static lct_status finish_place(const maker *m, lct_fingerprints *f, size_t place, lct_error *err) {
  size_t hidden = (size_t)m->axes.hidden, n = m->bank.n_rows, at = place * hidden, pcs = (size_t)f->n_pcs;
  float *rows = NULL, *mean = f->mean + at, *sigma = f->sigma + at;
  LCT_TRY(lct_alloc_aligned(&rows, n * hidden, sizeof *rows, "the neutral bank", err));
  for (size_t i = 0; i < n; i++) memcpy(rows + i * hidden, m->bank.rows[i].vectors + at, hidden * sizeof *rows);
  const lct_moments moments = {m->bank.n, m->axes.hidden, m->bank.mean + at, m->bank.m2 + at};
  lct_moments_finish(&moments, mean, sigma);
  lct_status s = LCT_OK;
  if (pcs > 0) {
    s = lct_principal_components(rows, n, m->axes.hidden, mean, f->n_pcs, f->pcs + at * pcs, f->pc_var + place * pcs, err);
  }
  if (s == LCT_OK && f->whiten != NULL) {
    s = lct_whitening(rows, n, m->axes.hidden, mean, sigma, f->whiten + at * hidden, &f->shrinkage[place], err);
  }
  if (s == LCT_OK) s = make_z(m, f, place, rows, err);
  free(rows);
  return s;
}

typedef struct {
  const maker *m;
  lct_fingerprints *f;
} finishing;

static lct_status finish_places(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  const finishing *x = ctx;
  (void)thread;
  for (int64_t place = from; place < to; place++) LCT_TRY(finish_place(x->m, x->f, (size_t)place, err));
  return LCT_OK;
}

lct_status fp_finish_bank(const maker *m, lct_fingerprints *f, lct_error *err) {
  finishing x = {m, f};
  return lct_threads_for(m->subject->threads, (int64_t)m->axes.n_places, 1, finish_places, &x, err);
}
