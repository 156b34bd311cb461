/* Line charts as inline SVG, labelled at the lines' ends. */
#ifndef LCT_REPORT_CHART_H
#define LCT_REPORT_CHART_H

#include "report/html.h"

typedef struct {
  const char *label;
  const double *y; /* one value per x; NaN breaks the line */
  int color;       /* index into the palette; beyond it the colours repeat with dashes */
} lct_series;

typedef struct {
  const char *title, *x_title, *y_title;
  const char *palette;        /* prefix of the palette's custom properties: "s" references, "o" sources */
  const char *const *x_names; /* tick names, one per x; NULL: x itself */
  const double *x;            /* ascending */
  size_t n_x;
  const lct_series *series;
  size_t n_series;
  bool wide;
} lct_chart;

/* A <figure>. Charts without a single value say so in words. */
void lct_chart_lines(lct_html *h, const lct_chart *c);

#endif
