#include "score/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score/sums.h"

void lct_moments_add(lct_moments *m, const float *x) {
  m->n++;
  double n = (double)m->n;
  for (int i = 0; i < m->dim; i++) {
    double d = (double)x[i] - m->mean[i];
    m->mean[i] += d / n;
    m->m2[i] += d * ((double)x[i] - m->mean[i]);
  }
}

void lct_moments_merge(lct_moments *into, const lct_moments *from) {
  if (from->n == 0) return;
  double a = (double)into->n, b = (double)from->n, n = a + b;
  for (int i = 0; i < into->dim; i++) {
    double d = from->mean[i] - into->mean[i];
    into->mean[i] += d * (b / n);
    into->m2[i] += from->m2[i] + d * d * (a * b / n);
  }
  into->n += from->n;
}

void lct_moments_finish(const lct_moments *m, float *mean, float *sigma) {
  for (int i = 0; i < m->dim; i++) {
    mean[i] = (float)m->mean[i];
    sigma[i] = m->n > 1 ? (float)sqrt(m->m2[i] / (double)(m->n - 1)) : 0;
  }
}

/* Adds z^T z of four rows z (4, dim) to the upper triangle of s (dim, dim). */
static void add_products(const double *z, int dim, double *s) {
  const double *z0 = z, *z1 = z + dim, *z2 = z + 2 * dim, *z3 = z + 3 * dim;
  for (int i = 0; i < dim; i++) {
    double a = z0[i], b = z1[i], c = z2[i], d = z3[i];
    double *row = s + (size_t)i * (size_t)dim;
    for (int j = i; j < dim; j++) row[j] += (a * z0[j] + b * z1[j]) + (c * z2[j] + d * z3[j]);
  }
}

/* s (dim, dim), upper triangle: covariance of the standardised rows, divided by n. *fourth: sum over rows of |z|^4. z4 (4, dim) scratch. */
static void standard_covariance(const float *x, size_t n, int dim, const float *mean, const float *sigma, double *z4, double *s,
                                double *fourth) {
  size_t width = (size_t)dim;
  memset(s, 0, width * width * sizeof *s);
  *fourth = 0;
  for (size_t r = 0; r < n; r += 4) {
    for (size_t k = 0; k < 4; k++) {
      double *z = z4 + k * width;
      for (int i = 0; i < dim; i++) {
        bool counts = r + k < n && sigma[i] > 0;
        z[i] = counts ? ((double)x[(r + k) * width + (size_t)i] - (double)mean[i]) / (double)sigma[i] : 0;
      }
      double square = lct_dot_f64(z, z, dim);
      *fourth += square * square;
    }
    add_products(z4, dim, s);
  }
  for (size_t i = 0; i < width * width; i++) s[i] /= (double)n;
}

/* Shrinks the covariance s (upper triangle of (dim, dim)): s = (1 - shrinkage) s + shrinkage m I, m the mean variance. In the paper's
 * words d^2 = |S - m I|^2 and b^2 = the mean of |x x^T - S|^2 over n, both per dimension, and shrinkage = min(b^2, d^2) / d^2. */
static double shrink(double *s, size_t n, int dim, double fourth) {
  size_t width = (size_t)dim;
  double trace = 0, square = 0;
  for (size_t i = 0; i < width; i++) {
    trace += s[i * width + i];
    square += s[i * width + i] * s[i * width + i];
    for (size_t j = i + 1; j < width; j++) square += 2 * s[i * width + j] * s[i * width + j];
  }
  double m = trace / dim;
  double d2 = square / dim - m * m;
  double b2 = (fourth / (double)n - square) / ((double)n * dim);
  double shrinkage = d2 > 0 ? fmin(fmax(b2, 0), d2) / d2 : 1;
  for (size_t i = 0; i < width; i++) {
    for (size_t j = i; j < width; j++) s[i * width + j] *= 1 - shrinkage;
    s[i * width + i] += shrinkage * m;
  }
  return shrinkage;
}

/* Lower factor of the symmetric matrix in s's upper triangle, into s's lower triangle. False: not positive definite. */
static bool cholesky(double *s, int dim) {
  size_t width = (size_t)dim;
  for (int i = 0; i < dim; i++) {
    double *row = s + (size_t)i * width;
    for (int j = 0; j < i; j++) {
      const double *other = s + (size_t)j * width;
      row[j] = (other[i] - lct_dot_f64(row, other, j)) / other[j];
    }
    double rest = row[i] - lct_dot_f64(row, row, i);
    if (!(rest > 0) || !isfinite(rest)) return false;
    row[i] = sqrt(rest);
  }
  return true;
}

/* w = inverse of l (lower triangle of (dim, dim)), its column i divided by sigma[i]; row (dim) scratch for the row being made. */
static lct_status invert(const double *l, int dim, const float *sigma, float *w, lct_error *err) {
  size_t width = (size_t)dim;
  double *inverse = NULL;
  LCT_TRY(lct_calloc(&inverse, width * width, sizeof *inverse, "a whitening matrix", err));
  for (int i = 0; i < dim; i++) {
    double *row = inverse + (size_t)i * width;
    row[i] = 1;
    for (int j = 0; j < i; j++) {
      double f = l[(size_t)i * width + (size_t)j];
      const double *other = inverse + (size_t)j * width;
      for (int k = 0; k <= j; k++) row[k] -= f * other[k];
    }
    double scale = 1 / l[(size_t)i * width + (size_t)i];
    for (int k = 0; k <= i; k++) row[k] *= scale;
  }
  for (size_t i = 0; i < width; i++) {
    for (size_t j = 0; j < width; j++) w[i * width + j] = sigma[j] > 0 ? (float)(inverse[i * width + j] / (double)sigma[j]) : 0;
  }
  free(inverse);
  return LCT_OK;
}

lct_status lct_whitening(const float *x, size_t n, int dim, const float *mean, const float *sigma, float *w, float *shrinkage,
                         lct_error *err) {
  if (n < 2) return lct_fail(err, LCT_E_USAGE, "whitening needs at least two neutral prompts, found %zu", n);
  double *s = NULL, *z4 = NULL, fourth = 0;
  size_t width = (size_t)dim;
  lct_status status = lct_calloc(&s, width * width, sizeof *s, "a covariance matrix", err);
  if (status == LCT_OK) status = lct_calloc(&z4, 4 * width, sizeof *z4, "standardised rows", err);
  if (status == LCT_OK) {
    standard_covariance(x, n, dim, mean, sigma, z4, s, &fourth);
    *shrinkage = (float)shrink(s, n, dim, fourth);
    if (fourth == 0) memset(w, 0, width * width * sizeof *w);
    else if (cholesky(s, dim)) status = invert(s, dim, sigma, w, err);
    else status = lct_fail(err, LCT_E_NUMERIC, "the covariance of %zu neutral prompts is not positive definite", n);
  }
  free(s);
  free(z4);
  return status;
}
