#include "score/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score/sums.h"
#include "score/top.h"

/* *out_cosine and *out_mae of v and m references of norms r_norms. */
static void finish(double v_norm, double r_norm, lct_pair_sums sums, int n, float *cosine, float *mae) {
  double norms = v_norm * r_norm;
  *cosine = norms > 0 ? (float)(sums.dot / norms) : NAN;
  *mae = n > 0 ? (float)(sums.abs_diff / n) : NAN;
}

static void pair_scores(const float *v, double v_norm, const float *r, double r_norm, int n, float *cosine, float *mae) {
  lct_pair_sums sums;
  lct_sums_pairs(v, v_norm, r, &r_norm, 1, n, &sums);
  finish(v_norm, r_norm, sums, n, cosine, mae);
}

float lct_cosine(const float *v, const float *r, int n) {
  float cosine, mae;
  pair_scores(v, lct_norm(v, n), r, lct_norm(r, n), n, &cosine, &mae);
  return cosine;
}

float lct_mae(const float *v, const float *r, int n) {
  float cosine, mae;
  pair_scores(v, lct_norm(v, n), r, lct_norm(r, n), n, &cosine, &mae);
  return mae;
}

static int top_count(int n) { return n / 100 > 1 ? n / 100 : 1; }

static void bitmap_set(uint64_t *bitmap, const uint64_t *heap, int k) {
  for (int i = 0; i < k; i++) {
    uint32_t index = (uint32_t)heap[i];
    bitmap[index / 64] |= UINT64_C(1) << (index % 64);
  }
}

static float overlap(const uint64_t *bitmap, const uint64_t *heap, int k) {
  int both = 0;
  for (int i = 0; i < k; i++) {
    uint32_t index = (uint32_t)heap[i];
    both += (int)(bitmap[index / 64] >> (index % 64) & 1);
  }
  return (float)((double)both / (double)(2 * k - both));
}

lct_status lct_score_refs_init(lct_score_refs *r, const float *refs, size_t n_refs, int dim, lct_error *err) {
  *r = (lct_score_refs){0};
  if (dim <= 0) return lct_fail(err, LCT_E_USAGE, "cannot score vectors of %d values", dim);
  *r = (lct_score_refs){.refs = refs, .n_refs = n_refs, .dim = dim, .words = ((size_t)dim + 63) / 64, .k = top_count(dim)};
  uint64_t *heap = NULL;
  lct_status s = lct_calloc(&r->norms, n_refs, sizeof *r->norms, "reference norms", err);
  if (s == LCT_OK) s = lct_calloc(&r->bitmaps, n_refs, r->words * sizeof *r->bitmaps, "reference top indices", err);
  if (s == LCT_OK) s = lct_calloc(&heap, (size_t)r->k, sizeof *heap, "top indices", err);
  if (s != LCT_OK) {
    lct_score_refs_free(r);
    return s;
  }
  for (size_t i = 0; i < n_refs; i++) {
    const float *x = refs + i * (size_t)dim;
    r->norms[i] = lct_norm(x, dim);
    lct_top_select(x, dim, r->k, heap);
    bitmap_set(r->bitmaps + i * r->words, heap, r->k);
  }
  free(heap);
  return LCT_OK;
}

void lct_score_refs_free(lct_score_refs *r) {
  free(r->norms);
  free(r->bitmaps);
  *r = (lct_score_refs){0};
}

void lct_score_refs_run(const lct_score_refs *r, const float *v, uint64_t *heap, float *out) {
  enum { GROUP = 16 };
  double v_norm = lct_norm(v, r->dim);
  if (heap != NULL) lct_top_select(v, r->dim, r->k, heap);
  for (size_t j = 0; j < r->n_refs; j += GROUP) {
    lct_pair_sums sums[GROUP];
    size_t m = r->n_refs - j < GROUP ? r->n_refs - j : GROUP;
    lct_sums_pairs(v, v_norm, r->refs + j * (size_t)r->dim, r->norms + j, m, r->dim, sums);
    for (size_t i = j; i < j + m; i++) {
      float *cell = out + i * LCT_N_METRICS;
      finish(v_norm, r->norms[i], sums[i - j], r->dim, &cell[LCT_METRIC_COSINE], &cell[LCT_METRIC_MAE]);
      if (heap != NULL) cell[LCT_METRIC_JACCARD] = overlap(r->bitmaps + i * r->words, heap, r->k);
    }
  }
}

lct_status lct_score_block(const float *rows, size_t n_rows, const float *refs, size_t n_refs, int dim, float *out, lct_error *err) {
  if (dim <= 0) return lct_fail(err, LCT_E_USAGE, "cannot score vectors of %d values", dim);
  if (n_rows == 0 || n_refs == 0) return LCT_OK;
  lct_score_refs r;
  uint64_t *heap = NULL;
  LCT_TRY(lct_score_refs_init(&r, refs, n_refs, dim, err));
  lct_status s = lct_calloc(&heap, (size_t)r.k, sizeof *heap, "top indices", err);
  for (size_t i = 0; i < n_rows && s == LCT_OK; i++) {
    lct_score_refs_run(&r, rows + i * (size_t)dim, heap, out + i * n_refs * LCT_N_METRICS);
  }
  free(heap);
  lct_score_refs_free(&r);
  return s;
}

lct_status lct_jaccard(const float *v, const float *r, int n, float *out, lct_error *err) {
  lct_score_refs refs;
  uint64_t *heap = NULL;
  LCT_TRY(lct_score_refs_init(&refs, r, 1, n, err));
  lct_status s = lct_calloc(&heap, (size_t)refs.k, sizeof *heap, "top indices", err);
  if (s == LCT_OK) {
    lct_top_select(v, n, refs.k, heap);
    *out = overlap(refs.bitmaps, heap, refs.k);
  }
  free(heap);
  lct_score_refs_free(&refs);
  return s;
}
