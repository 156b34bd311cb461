/* Principal components by Lanczos' iteration with full reorthogonalisation: only products with the rows are needed, never a matrix of
 * (dim, dim), and with a basis that grows until the wanted pairs stand still there is nothing to tune. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score/calibrate.h"
#include "score/sums.h"

enum { MAX_SWEEPS = 60, SPARE = 12 };

typedef struct {
  const double *x; /* (n, dim) centred */
  size_t n;
  int dim, m;    /* m: vectors in the basis */
  double *basis; /* (m + 1, dim): the last is the next one */
  double *alpha; /* (m) */
  double *beta;  /* (m) beta[i] couples vectors i and i + 1 */
  size_t cap_basis, cap_alpha, cap_beta;
  double scale; /* largest of alpha + beta so far */
  uint64_t random;
  bool exhausted; /* what the basis leaves out has no variance */
} lanczos;

static void add_scaled(double *y, double a, const double *x, int n) {
  for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static double *vector(const lanczos *l, int i) { return l->basis + (size_t)i * (size_t)l->dim; }

/* Uniform in -1..1 (splitmix64). */
static double draw(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1;
}

/* Takes the basis out of v, twice because once leaves rounding behind. */
static void orthogonalise(const lanczos *l, double *v) {
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < l->m; i++) add_scaled(v, -lct_dot_f64(v, vector(l, i), l->dim), vector(l, i), l->dim);
  }
}

/* A new direction outside the basis, of length 1. */
static void fresh(lanczos *l) {
  double *v = vector(l, l->m), norm = 0;
  for (int attempt = 0; attempt < 3 && norm < 1e-3; attempt++) {
    for (int i = 0; i < l->dim; i++) v[i] = draw(&l->random);
    double before = sqrt(lct_dot_f64(v, v, l->dim));
    orthogonalise(l, v);
    norm = sqrt(lct_dot_f64(v, v, l->dim)) / before;
    for (int i = 0; i < l->dim; i++) v[i] /= before * norm;
  }
  if (!(norm > 0)) l->exhausted = true;
}

/* y = x^T (x v) / (n - 1). */
static void apply(const lanczos *l, const double *v, double *y) {
  memset(y, 0, (size_t)l->dim * sizeof *y);
  for (size_t r = 0; r < l->n; r++) {
    const double *row = l->x + r * (size_t)l->dim;
    add_scaled(y, lct_dot_f64(row, v, l->dim) / (double)(l->n - 1), row, l->dim);
  }
}

/* One more vector into the basis; the next one is made. */
static void step(lanczos *l) {
  const double *v = vector(l, l->m);
  double *w = vector(l, l->m + 1);
  apply(l, v, w);
  l->alpha[l->m] = lct_dot_f64(v, w, l->dim);
  l->m++;
  orthogonalise(l, w);
  double beta = sqrt(lct_dot_f64(w, w, l->dim));
  l->scale = fmax(l->scale, fabs(l->alpha[l->m - 1]) + beta);
  bool restarted = l->m > 1 && l->beta[l->m - 2] == 0;
  if (beta > 1e-13 * l->scale) {
    l->beta[l->m - 1] = beta;
    for (int i = 0; i < l->dim; i++) w[i] /= beta;
    return;
  }
  l->beta[l->m - 1] = 0;
  if (l->scale == 0 || (restarted && fabs(l->alpha[l->m - 1]) <= 1e-13 * l->scale)) l->exhausted = true;
  else if (l->m < l->dim) fresh(l);
}

/* Turns columns i and i + 1 of z (m, m). */
static void rotate(double *z, int m, int i, double c, double s) {
  for (int k = 0; k < m; k++) {
    double *row = z + (size_t)k * (size_t)m;
    double f = row[i + 1];
    row[i + 1] = s * row[i] + c * f;
    row[i] = c * row[i] - s * f;
  }
}

/* One implicit QL step with Wilkinson's shift on the unreduced block first..last. */
static void ql_step(double *d, double *e, double *z, int m, int first, int last) {
  double g = (d[first + 1] - d[first]) / (2 * e[first]), r = hypot(g, 1);
  g = d[last] - d[first] + e[first] / (g + copysign(r, g));
  double s = 1, c = 1, p = 0;
  for (int i = last - 1; i >= first; i--) {
    double f = s * e[i], b = c * e[i];
    r = hypot(f, g);
    e[i + 1] = r;
    if (r == 0) {
      d[i + 1] -= p;
      e[last] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - p;
    r = (d[i] - g) * s + 2 * c * b;
    p = s * r;
    d[i + 1] = g + p;
    g = c * r - b;
    rotate(z, m, i, c, s);
  }
  d[first] -= p;
  e[first] = g;
  e[last] = 0;
}

/* Eigenvalues into d (m) and eigenvectors into the columns of z (m, m) of the tridiagonal matrix d, e (QL with implicit shifts). */
static bool tridiagonal(double *d, double *e, double *z, int m) {
  memset(z, 0, (size_t)m * (size_t)m * sizeof *z);
  for (int i = 0; i < m; i++) z[(size_t)i * (size_t)m + (size_t)i] = 1;
  e[m - 1] = 0;
  for (int first = 0; first < m; first++) {
    for (int sweep = 0;; sweep++) {
      int last = first;
      while (last < m - 1 && fabs(e[last]) > DBL_EPSILON * (fabs(d[last]) + fabs(d[last + 1]))) last++;
      if (last == first) break;
      if (sweep == MAX_SWEEPS) return false;
      ql_step(d, e, z, m, first, last);
    }
  }
  return true;
}

/* The eigenpairs of what the basis sees: values (m), vectors in the columns of z (m, m), order (k) the largest first. */
typedef struct {
  double *values, *e, *z;
  int *order;
} pairs;

static void pairs_free(pairs *p) {
  free(p->values);
  free(p->e);
  free(p->z);
  free(p->order);
}

static void sort_pairs(pairs *p, int m, int k) {
  for (int i = 0; i < m; i++) p->order[i] = i;
  for (int i = 0; i < k && i < m; i++) {
    int best = i;
    for (int j = i + 1; j < m; j++) {
      if (p->values[p->order[j]] > p->values[p->order[best]]) best = j;
    }
    int t = p->order[i];
    p->order[i] = p->order[best];
    p->order[best] = t;
  }
}

static lct_status solve(const lanczos *l, int k, pairs *p, bool *settled, lct_error *err) {
  int m = l->m;
  pairs_free(p);
  *p = (pairs){0};
  LCT_TRY(lct_calloc(&p->values, (size_t)m, sizeof *p->values, "eigenvalues", err));
  LCT_TRY(lct_calloc(&p->e, (size_t)m, sizeof *p->e, "eigenvalues", err));
  LCT_TRY(lct_calloc(&p->z, (size_t)m * (size_t)m, sizeof *p->z, "eigenvectors", err));
  LCT_TRY(lct_calloc(&p->order, (size_t)m, sizeof *p->order, "eigenvalues", err));
  memcpy(p->values, l->alpha, (size_t)m * sizeof *p->values);
  memcpy(p->e, l->beta, (size_t)m * sizeof *p->e);
  if (!tridiagonal(p->values, p->e, p->z, m)) {
    return lct_fail(err, LCT_E_NUMERIC, "the principal components of %zu neutral prompts do not settle", l->n);
  }
  sort_pairs(p, m, k);
  *settled = l->exhausted || m == l->dim;
  if (*settled || m < k || l->beta[m - 1] == 0) return LCT_OK;
  *settled = true;
  for (int i = 0; i < k; i++) {
    double left = fabs(l->beta[m - 1] * p->z[(size_t)(m - 1) * (size_t)m + (size_t)p->order[i]]);
    *settled = *settled && left <= fmax(1e-9 * p->values[p->order[i]], 1e-13 * l->scale);
  }
  return LCT_OK;
}

/* The i-th pair as a unit vector and its variance. */
static void write_component(const lanczos *l, const pairs *p, int i, double *sum, float *pc, float *var) {
  memset(pc, 0, (size_t)l->dim * sizeof *pc);
  *var = 0;
  if (i >= l->m || !(p->values[p->order[i]] > 1e-12 * l->scale)) return;
  memset(sum, 0, (size_t)l->dim * sizeof *sum);
  for (int j = 0; j < l->m; j++) add_scaled(sum, p->z[(size_t)j * (size_t)l->m + (size_t)p->order[i]], vector(l, j), l->dim);
  double largest = 0;
  for (int j = 0; j < l->dim; j++) {
    if (fabs(sum[j]) > fabs(largest)) largest = sum[j];
  }
  double scale = copysign(1 / sqrt(lct_dot_f64(sum, sum, l->dim)), largest);
  for (int j = 0; j < l->dim; j++) pc[j] = (float)(sum[j] * scale);
  *var = (float)p->values[p->order[i]];
}

static lct_status grow(lanczos *l, int need, lct_error *err) {
  LCT_TRY(lct_grow(&l->basis, &l->cap_basis, (size_t)(need + 1) * (size_t)l->dim, sizeof *l->basis, "a basis", err));
  LCT_TRY(lct_grow(&l->alpha, &l->cap_alpha, (size_t)need, sizeof *l->alpha, "a basis", err));
  return lct_grow(&l->beta, &l->cap_beta, (size_t)need, sizeof *l->beta, "a basis", err);
}

static lct_status iterate(lanczos *l, int k, pairs *p, lct_error *err) {
  bool settled = false;
  fresh(l);
  for (int target = k + SPARE; !settled; target += target / 2) {
    if (target > l->dim) target = l->dim;
    LCT_TRY(grow(l, target, err));
    while (l->m < target && !l->exhausted) step(l);
    LCT_TRY(solve(l, k, p, &settled, err));
  }
  return LCT_OK;
}

lct_status lct_principal_components(const float *x, size_t n, int dim, const float *mean, int k, float *pcs, float *var, lct_error *err) {
  if (n < 2) return lct_fail(err, LCT_E_USAGE, "principal components need at least two neutral prompts, found %zu", n);
  if (k > dim) return lct_fail(err, LCT_E_USAGE, "%d principal components of vectors of %d values", k, dim);
  double *centred = NULL;
  lanczos l = {.n = n, .dim = dim, .random = 1};
  pairs p = {0};
  size_t width = (size_t)dim;
  lct_status s = lct_calloc(&centred, (n + 1) * width, sizeof *centred, "centred rows", err);
  for (size_t i = 0; s == LCT_OK && i < n * width; i++) centred[i] = (double)x[i] - (double)mean[i % width];
  l.x = centred;
  if (s == LCT_OK) s = grow(&l, 1, err);
  if (s == LCT_OK) s = iterate(&l, k, &p, err);
  for (int i = 0; s == LCT_OK && i < k; i++) write_component(&l, &p, i, centred + n * width, pcs + (size_t)i * width, &var[i]);
  free(centred);
  free(l.basis);
  free(l.alpha);
  free(l.beta);
  pairs_free(&p);
  return s;
}
