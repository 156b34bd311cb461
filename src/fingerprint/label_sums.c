/* Sums over labels and the moments of the bank. Prompts are added in the order of the input, whatever the units. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fingerprint/make_impl.h"

/* A unit whose vectors are being added. */
typedef struct {
  maker *m;
  const lct_unit *u;
  const lct_pool *pool;
} adding;

static const float *pooled(const adding *x, size_t place, int32_t item) {
  const fp_axes *a = &x->m->axes;
  int layer = (int)(place % (size_t)a->n_layers), rest = (int)(place / (size_t)a->n_layers);
  return lct_pool_vectors(x->pool, rest % a->n_sources, rest / a->n_sources, layer) + (size_t)item * (size_t)a->hidden;
}

/* The first prompt of a half is copied and not added to 0, which would make +0 of -0. */
static void add_vector(double *sum, const float *x, int n, bool first) {
  for (int i = 0; i < n; i++) sum[i] = first ? (double)x[i] : sum[i] + (double)x[i];
}

static void add_place(const adding *a, size_t place) {
  const maker *m = a->m;
  const fp_prompt *prompts = a->u->client;
  int hidden = m->axes.hidden;
  size_t at = place * (size_t)hidden;
  for (int32_t i = 0; i < a->u->n_items; i++) {
    const fp_prompt *p = &prompts[i];
    const float *x = pooled(a, place, i);
    if (p->label == FP_NEUTRAL) {
      lct_moments moments = {p->number, hidden, m->bank.mean + at, m->bank.m2 + at};
      lct_moments_add(&moments, x);
    } else {
      add_vector(m->labels[p->label].half[p->number % 2] + at, x, hidden, p->number < 2);
    }
  }
}

static lct_status add_places(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  (void)err;
  for (int64_t place = from; place < to; place++) add_place(ctx, (size_t)place);
  return LCT_OK;
}

/* Every other row goes when there are too many. */
static void thin(fp_bank *b) {
  size_t n = 0;
  for (size_t i = 0; i < b->n_rows; i++) {
    if (i % 2 == 0) b->rows[n++] = b->rows[i];
    else free(b->rows[i].vectors);
  }
  b->n_rows = n;
  b->stride *= 2;
}

static lct_status keep_row(const adding *a, int32_t item, lct_error *err) {
  fp_bank *b = &a->m->bank;
  const fp_prompt *p = (const fp_prompt *)a->u->client + item;
  const lct_item *x = &a->u->items[item];
  size_t hidden = (size_t)a->m->axes.hidden;
  if (b->n_rows == b->cap) thin(b);
  if (p->number % b->stride != 0) return LCT_OK;
  fp_bank_row *row = &b->rows[b->n_rows];
  LCT_TRY(lct_alloc_aligned(&row->vectors, a->m->axes.n_places * hidden, sizeof(float), "the neutral bank", err));
  b->n_rows++;
  row->bin = lct_z_bin((int)x->roles[x->message], x->content[x->message].to - x->content[x->message].from);
  for (size_t place = 0; place < a->m->axes.n_places; place++) {
    memcpy(row->vectors + place * hidden, pooled(a, place, item), hidden * sizeof(float));
  }
  return LCT_OK;
}

static lct_status make_bank(maker *m, lct_error *err) {
  fp_bank *b = &m->bank;
  size_t values = m->axes.n_places * (size_t)m->axes.hidden;
  b->cap = FP_BANK_BYTES / (values * sizeof(float));
  b->cap = b->cap < FP_BANK_MIN ? FP_BANK_MIN : b->cap > FP_BANK_ROWS ? FP_BANK_ROWS : b->cap;
  b->stride = 1;
  LCT_TRY(lct_calloc(&b->rows, b->cap, sizeof *b->rows, "the neutral bank", err));
  LCT_TRY(lct_calloc(&b->mean, values, sizeof *b->mean, "the neutral bank", err));
  return lct_calloc(&b->m2, values, sizeof *b->m2, "the neutral bank", err);
}

lct_status fp_take_unit(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) {
  maker *m = ctx;
  adding a = {m, u, lct_worker_pool(w)};
  const fp_prompt *prompts = u->client;
  if (m->bank.rows == NULL && m->uses_neutral) LCT_TRY(make_bank(m, err));
  LCT_TRY(lct_threads_for(m->subject->threads, (int64_t)m->axes.n_places, 1, add_places, &a, err));
  for (int32_t i = 0; i < u->n_items; i++) {
    if (prompts[i].label == FP_NEUTRAL) LCT_TRY(keep_row(&a, i, err));
  }
  return LCT_OK;
}

/* A label's vector at a place, and the cosine between its halves. */
static void finish_label(const maker *m, lct_fingerprints *f, int label, size_t place, float *halves) {
  const fp_label *l = &m->labels[label];
  int hidden = m->axes.hidden;
  const double *even = l->half[0] + place * (size_t)hidden, *odd = l->half[1] + place * (size_t)hidden;
  bool two = l->n > 1;
  float *out = lct_fingerprints_vector(f, label, place);
  for (int i = 0; i < hidden; i++) {
    out[i] = (float)(two ? (even[i] + odd[i]) / (double)l->n : even[i]);
    halves[i] = (float)even[i]; /* a cosine does not mind that these are sums */
    halves[hidden + i] = (float)odd[i];
  }
  f->split_half[(size_t)label * m->axes.n_places + place] = two ? lct_cosine(halves, halves + hidden, hidden) : NAN;
}

lct_status fp_finish_labels(const maker *m, lct_fingerprints *f, lct_error *err) {
  float *halves = NULL;
  LCT_TRY(lct_calloc(&halves, 2 * (size_t)m->axes.hidden, sizeof *halves, "halves", err));
  for (size_t i = 0; i < m->n_labels; i++) {
    f->n_prompts[i] = m->labels[i].n;
    for (size_t place = 0; place < m->axes.n_places; place++) finish_label(m, f, (int)i, place, halves);
  }
  free(halves);
  return LCT_OK;
}

void fp_free_sums(maker *m) {
  for (size_t i = 0; i < m->n_labels; i++) {
    free(m->labels[i].name);
    free(m->labels[i].half[0]);
    free(m->labels[i].half[1]);
  }
  free(m->labels);
  for (size_t i = 0; i < m->bank.n_rows; i++) free(m->bank.rows[i].vectors);
  free(m->bank.rows);
  free(m->bank.mean);
  free(m->bank.m2);
}
