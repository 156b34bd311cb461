#include "report/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/color.h"

#define LABEL_GAP 13.0
#define MAX_TICKS 32

/* The plot area in SVG units, and the data it shows. */
typedef struct {
  double left, right, top, bottom, height, width;
  double x0, x1, y0, y1, y_step;
  int y_digits;
} frame;

/* A damaged file may hold any number; what no axis can show is left out. False for NaN. */
static bool drawable(double v) { return fabs(v) < 1e9; }

static bool data_range(const lct_chart *c, double *lo, double *hi) {
  *lo = INFINITY;
  *hi = -INFINITY;
  for (size_t s = 0; s < c->n_series; s++) {
    for (size_t i = 0; i < c->n_x; i++) {
      double v = c->series[s].y[i];
      if (!drawable(v)) continue;
      if (v < *lo) *lo = v;
      if (v > *hi) *hi = v;
    }
  }
  return *lo <= *hi;
}

/* The smallest of 1, 2, 5 x 10^k that is at least `raw`. */
static double nice_step(double raw) {
  double base = pow(10, floor(log10(raw)));
  double m = raw / base;
  return base * (m <= 1.0001 ? 1 : m <= 2.0001 ? 2 : m <= 5.0001 ? 5 : 10);
}

static frame make_frame(const lct_chart *c, double lo, double hi) {
  frame f = {.left = 60, .top = 12, .width = c->wide ? 1000 : 570};
  double plot = c->n_series < 2 ? 130 : c->wide ? 280 : 240, need = LABEL_GAP * (double)c->n_series;
  if (need > plot) plot = need;
  f.right = f.width - 118;
  f.bottom = f.top + plot;
  f.height = f.bottom + 44;
  f.x0 = c->x[0];
  f.x1 = c->x[c->n_x - 1] > f.x0 ? c->x[c->n_x - 1] : f.x0 + 1;
  double range = hi - lo;
  if (range < 1e-9 * (fabs(hi) + 1)) range = fabs(hi) > 1e-6 ? fabs(hi) * 0.1 : 0.1;
  f.y_step = nice_step(range / 5);
  f.y0 = f.y_step * floor(lo / f.y_step + 1e-6);
  f.y1 = f.y_step * ceil(hi / f.y_step - 1e-6);
  if (f.y1 <= f.y0) f.y1 = f.y0 + f.y_step;
  int digits = (int)ceil(-log10(f.y_step) - 1e-9);
  f.y_digits = digits < 0 ? 0 : digits > 6 ? 6 : digits;
  return f;
}

static double map_x(const frame *f, double x) { return f->left + (x - f->x0) / (f->x1 - f->x0) * (f->right - f->left); }
static double map_y(const frame *f, double y) { return f->bottom - (y - f->y0) / (f->y1 - f->y0) * (f->bottom - f->top); }

static void draw_y_axis(lct_html *h, const lct_chart *c, const frame *f) {
  int n = (int)lround((f->y1 - f->y0) / f->y_step);
  for (int i = 0; i <= n && i < MAX_TICKS; i++) {
    double v = f->y0 + i * f->y_step, y = map_y(f, v);
    lct_html_fmt(h, "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>", fabs(v) < f->y_step * 1e-6 ? "grid zero" : "grid", f->left, y, f->right);
    lct_html_fmt(h, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", f->left - 7, y + 3.8);
    lct_html_num(h, v, f->y_digits);
    lct_html_raw(h, "</text>");
  }
  double mid = (f->top + f->bottom) / 2;
  lct_html_fmt(h, "<text class=\"axis\" transform=\"translate(13 %.1f) rotate(-90)\" text-anchor=\"middle\">", mid);
  lct_html_text(h, c->y_title);
  lct_html_raw(h, "</text>");
}

static void draw_x_tick(lct_html *h, const lct_chart *c, const frame *f, size_t i) {
  double x = map_x(f, c->x[i]);
  lct_html_fmt(h, "<path class=\"mark\" d=\"M%.1f %.1fv4\"/>", x, f->bottom);
  lct_html_fmt(h, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x, f->bottom + 16);
  if (c->x_names != NULL) {
    lct_html_text_cut(h, c->x_names[i], 8);
  } else {
    lct_html_fmt(h, "%.0f", c->x[i]);
  }
  lct_html_raw(h, "</text>");
}

static void draw_x_axis(lct_html *h, const lct_chart *c, const frame *f) {
  double room = 30; /* a tick's width */
  for (size_t i = 0; c->x_names != NULL && i < c->n_x; i++) room = fmax(room, 5.8 * fmin((double)strlen(c->x_names[i]), 8) + 4);
  size_t fit = (size_t)((f->right - f->left) / room), every = 1;
  if (c->n_x > fit) every = (size_t)nice_step((double)c->n_x / (double)fit);
  lct_html_fmt(h, "<path class=\"base\" d=\"M%.1f %.1fH%.1f\"/>", f->left, f->bottom, f->right);
  size_t last = c->n_x - 1;
  for (size_t i = 0; i < c->n_x; i += every) {
    /* the last one is always named, so its neighbour gives way */
    if (i != last && (map_x(f, c->x[last]) - map_x(f, c->x[i])) < room) continue;
    draw_x_tick(h, c, f, i);
  }
  if (last % every != 0) draw_x_tick(h, c, f, last);
  lct_html_fmt(h, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", (f->left + f->right) / 2, f->bottom + 36);
  lct_html_text(h, c->x_title);
  lct_html_raw(h, "</text>");
}

static void stroke(lct_html *h, const lct_chart *c, const lct_series *s) {
  lct_html_fmt(h, "stroke=\"var(--%s%d)\"", c->palette, s->color % LCT_N_SERIES);
  if (s->color >= LCT_N_SERIES) lct_html_raw(h, " stroke-dasharray=\"5 3\"");
}

static void draw_series(lct_html *h, const lct_chart *c, const frame *f, const lct_series *s) {
  lct_html_raw(h, "<path class=\"line\" data-label=\"");
  lct_html_text(h, s->label);
  lct_html_raw(h, "\" ");
  stroke(h, c, s);
  lct_html_raw(h, " d=\"");
  bool open = false;
  for (size_t i = 0; i < c->n_x; i++) {
    if (!drawable(s->y[i])) {
      open = false;
      continue;
    }
    lct_html_fmt(h, "%c%.1f %.1f", open ? 'L' : 'M', map_x(f, c->x[i]), map_y(f, s->y[i]));
    open = true;
  }
  lct_html_raw(h, "\"><title>");
  lct_html_text(h, s->label);
  lct_html_raw(h, "</title></path>");
  for (size_t i = 0; i < c->n_x; i++) {
    bool before = i > 0 && drawable(s->y[i - 1]), after = i + 1 < c->n_x && drawable(s->y[i + 1]);
    if (!drawable(s->y[i]) || before || after) continue;
    lct_html_fmt(h, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"var(--%s%d)\"/>", map_x(f, c->x[i]), map_y(f, s->y[i]),
                 c->palette, s->color % LCT_N_SERIES);
  }
}

typedef struct {
  double want, y, from_x; /* where the line ends, and where the label came to stand */
  const lct_series *series;
} end_label;

static int compare_label(const void *a, const void *b) {
  const end_label *p = a, *q = b;
  return (p->want > q->want) - (p->want < q->want);
}

/* Moves labels apart: clusters of touching labels are centred on the mean of where they want to be. */
static void place_labels(end_label *l, size_t n, double top, double bottom) {
  qsort(l, n, sizeof *l, compare_label);
  for (size_t i = 0; i < n; i++) l[i].y = l[i].want;
  for (int round = 0; round < 200; round++) {
    bool moved = false;
    for (size_t i = 1; i < n; i++) {
      double overlap = LABEL_GAP - (l[i].y - l[i - 1].y);
      if (overlap < 1e-6) continue;
      l[i - 1].y -= overlap / 2;
      l[i].y += overlap / 2;
      moved = true;
    }
    if (!moved) break;
  }
  if (n > 0 && l[0].y < top) l[0].y = top;
  for (size_t i = 1; i < n; i++) l[i].y = fmax(l[i].y, l[i - 1].y + LABEL_GAP);
  if (n > 0 && l[n - 1].y > bottom) l[n - 1].y = bottom;
  for (size_t i = n; i-- > 1;) l[i - 1].y = fmin(l[i - 1].y, l[i].y - LABEL_GAP);
}

static void draw_labels(lct_html *h, const lct_chart *c, const frame *f) {
  end_label *l = NULL;
  size_t n = 0;
  if (h->status == LCT_OK) h->status = lct_calloc(&l, c->n_series, sizeof *l, "chart labels", h->err);
  if (h->status != LCT_OK) return;
  for (size_t s = 0; s < c->n_series; s++) {
    for (size_t i = c->n_x; i-- > 0;) {
      if (!drawable(c->series[s].y[i])) continue;
      l[n++] = (end_label){.want = map_y(f, c->series[s].y[i]), .from_x = map_x(f, c->x[i]), .series = &c->series[s]};
      break;
    }
  }
  place_labels(l, n, f->top + 2, f->bottom);
  for (size_t i = 0; i < n; i++) {
    lct_html_raw(h, "<path class=\"leader\" ");
    stroke(h, c, l[i].series);
    lct_html_fmt(h, " d=\"M%.1f %.1fL%.1f %.1f\"/><path class=\"swatch\" ", l[i].from_x + 2, l[i].want, f->right + 12, l[i].y);
    stroke(h, c, l[i].series);
    lct_html_fmt(h, " d=\"M%.1f %.1fh12\"/><text class=\"name\" x=\"%.1f\" y=\"%.1f\">", f->right + 12, l[i].y, f->right + 28, l[i].y + 4);
    lct_html_text_cut(h, l[i].series->label, 13);
    lct_html_raw(h, "</text>");
  }
  free(l);
}

void lct_chart_lines(lct_html *h, const lct_chart *c) {
  double lo = 0, hi = 0;
  lct_html_fmt(h, "<figure class=\"chart%s\"><figcaption>", c->wide ? " wide" : "");
  lct_html_text(h, c->title);
  lct_html_raw(h, "</figcaption>");
  if (c->n_x == 0 || !data_range(c, &lo, &hi)) {
    lct_html_raw(h, "<p class=\"none\">Nothing to draw: no values.</p></figure>\n");
    return;
  }
  frame f = make_frame(c, lo, hi);
  lct_html_fmt(h, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" ", f.width, f.height);
  lct_html_fmt(h, "data-plot=\"%.1f %.1f %.1f %.1f\" data-y=\"%.9g %.9g\" data-x=\"", f.left, f.right, f.top, f.bottom, f.y0, f.y1);
  for (size_t i = 0; i < c->n_x; i++) {
    if (i > 0) lct_html_raw(h, "|");
    if (c->x_names != NULL) {
      lct_html_text(h, c->x_names[i]);
    } else {
      lct_html_fmt(h, "%.0f", c->x[i]);
    }
  }
  lct_html_raw(h, "\" aria-label=\"");
  lct_html_text(h, c->title);
  lct_html_raw(h, "\">");
  draw_y_axis(h, c, &f);
  draw_x_axis(h, c, &f);
  for (size_t s = 0; s < c->n_series; s++) draw_series(h, c, &f, &c->series[s]);
  draw_labels(h, c, &f);
  lct_html_raw(h, "</svg></figure>\n");
}
