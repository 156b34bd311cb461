#include "report/color.h"

#include <math.h>

/* Stops as sRGB; interpolation goes through OKLab, where equal steps look equal. */
typedef struct {
  unsigned rgb[7];
  int n;
} ramp;

static const ramp SEQUENTIAL_LIGHT = {{0xfbfbe6, 0xdcefc4, 0xa5d9b5, 0x5dbcbf, 0x2f93be, 0x2a62a8, 0x23306f}, 7};
static const ramp SEQUENTIAL_DARK = {{0x1b2140, 0x243f7c, 0x2467a4, 0x2b92b3, 0x58bbae, 0xa5dcab, 0xf2f3c8}, 7};
static const ramp DIVERGING_LIGHT = {{0x2b5fa8, 0x86b0dc, 0xf6f5f2, 0xeeb27f, 0xb3541e}, 5};
static const ramp DIVERGING_DARK = {{0x78b2f2, 0x31598c, 0x20242b, 0x8c5528, 0xf5ac66}, 5};

typedef struct {
  double l, a, b;
} lab;

static double to_linear(unsigned c) {
  double v = (double)c / 255;
  return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static unsigned to_srgb(double v) {
  v = v < 0 ? 0 : v > 1 ? 1 : v;
  v = v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
  return (unsigned)lround(v * 255);
}

static lab oklab(unsigned rgb) {
  double r = to_linear(rgb >> 16 & 255), g = to_linear(rgb >> 8 & 255), b = to_linear(rgb & 255);
  double l = cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  double m = cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  double s = cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return (lab){0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s, 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
               0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

static unsigned from_oklab(lab c) {
  double l = pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
  double m = pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
  double s = pow(c.l - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);
  unsigned r = to_srgb(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
  unsigned g = to_srgb(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
  unsigned b = to_srgb(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
  return r << 16 | g << 8 | b;
}

static unsigned ramp_at(const ramp *r, double t) {
  double x = t * (r->n - 1);
  int i = (int)x;
  if (i >= r->n - 1) i = r->n - 2;
  double f = x - i;
  lab p = oklab(r->rgb[i]), q = oklab(r->rgb[i + 1]);
  return from_oklab((lab){p.l + f * (q.l - p.l), p.a + f * (q.a - p.a), p.b + f * (q.b - p.b)});
}

static void ramp_rules(lct_html *h, const ramp *r, char prefix, int n) {
  for (int i = 0; i < n; i++) {
    unsigned rgb = ramp_at(r, (double)i / (n - 1));
    double y = 0.2126 * to_linear(rgb >> 16 & 255) + 0.7152 * to_linear(rgb >> 8 & 255) + 0.0722 * to_linear(rgb & 255);
    /* black or white, whichever contrasts more (WCAG): they meet at a luminance of 0.179 */
    lct_html_fmt(h, ".%c%d{background:#%06x;color:%s}", prefix, i, rgb, y > 0.179 ? "#0d1117" : "#fff");
  }
  lct_html_raw(h, "\n");
}

void lct_color_ramp_css(lct_html *h, bool dark) {
  ramp_rules(h, dark ? &SEQUENTIAL_DARK : &SEQUENTIAL_LIGHT, 'q', LCT_N_SEQUENTIAL);
  ramp_rules(h, dark ? &DIVERGING_DARK : &DIVERGING_LIGHT, 'd', LCT_N_DIVERGING);
}

int lct_color_sequential(double v, double lo, double hi) {
  if (isnan(v)) return -1;
  double t = hi > lo ? (v - lo) / (hi - lo) : 0.5;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return (int)lround(t * (LCT_N_SEQUENTIAL - 1));
}

int lct_color_diverging(double v, double limit) {
  if (isnan(v)) return -1;
  double t = limit > 0 ? 0.5 + v / (2 * limit) : 0.5;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return (int)lround(t * (LCT_N_DIVERGING - 1));
}
