#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/analysis.h"

static int compare_double(const void *a, const void *b) {
  double x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

static double sorted_median(const double *v, size_t n) { return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2; }

lct_status lct_series_describe(const double *v, size_t n, lct_series_stats *out, lct_error *err) {
  *out = (lct_series_stats){.mean = NAN, .std = NAN, .median = NAN, .min = NAN, .max = NAN, .argmin = -1};
  double *kept = NULL;
  LCT_TRY(lct_calloc(&kept, n, sizeof *kept, "a series", err));
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    if (isnan(v[i])) {
      out->n_nan++;
      continue;
    }
    if (out->argmin < 0 || v[i] < out->min) {
      out->min = v[i];
      out->argmin = (int)i;
    }
    kept[out->n++] = v[i];
    sum += v[i];
  }
  if (out->n > 0) {
    out->mean = sum / (double)out->n;
    double square = 0;
    for (size_t i = 0; i < out->n; i++) square += (kept[i] - out->mean) * (kept[i] - out->mean);
    out->std = sqrt(square / (double)out->n);
    qsort(kept, out->n, sizeof *kept, compare_double);
    out->median = sorted_median(kept, out->n);
    out->max = kept[out->n - 1];
  }
  free(kept);
  return LCT_OK;
}

lct_line_fit lct_fit_line(const double *x, const double *y, size_t n) {
  lct_line_fit fit = {.slope = NAN, .intercept = NAN, .r = NAN};
  double mean_x = 0, mean_y = 0;
  for (size_t i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    mean_x += x[i];
    mean_y += y[i];
    fit.n++;
  }
  if (fit.n < 2) return fit;
  mean_x /= (double)fit.n;
  mean_y /= (double)fit.n;
  double xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  if (xx <= 0) return fit;
  fit.slope = xy / xx;
  fit.intercept = mean_y - fit.slope * mean_x;
  if (yy > 0) fit.r = xy / sqrt(xx * yy);
  return fit;
}
