/* Colours: perceptual ramps for heatmaps, as CSS classes in a light and a dark version. */
#ifndef LCT_REPORT_COLOR_H
#define LCT_REPORT_COLOR_H

#include "report/html.h"

#define LCT_N_SEQUENTIAL 48 /* classes q0 .. q47: small to large */
#define LCT_N_DIVERGING 41  /* classes d0 .. d40: below zero, zero in the middle, above */
#define LCT_N_SERIES 9      /* custom properties --s0 .. --s8; see style.c */

/* Rules for both ramps; dark: for the dark scheme. */
void lct_color_ramp_css(lct_html *h, bool dark);
/* Class index of a value; NaN: -1. */
int lct_color_sequential(double v, double lo, double hi);
int lct_color_diverging(double v, double limit);

#endif
