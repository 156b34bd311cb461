/* The headline and the five findings in words, for the page and for the terminal. */
#ifndef LCT_REPORT_SENTENCES_H
#define LCT_REPORT_SENTENCES_H

#include "analysis/analysis.h"

#define LCT_N_FINDINGS 5

typedef struct {
  const char *title; /* static */
  lct_buf figure;    /* "0.828 to 0.861" */
  lct_buf body;      /* a sentence or two */
} lct_finding;

/* i: 0 .. LCT_N_FINDINGS-1. Zero-initialise *f; plain text, not escaped; "-" for a number that is not there. */
lct_status lct_finding_write(const lct_analysis *a, int i, lct_finding *f, lct_error *err) LCT_CHECKED;
/* The contrast of the cosines: which reference stands out, beside its raw cosine. As lct_finding_write. */
lct_status lct_headline_write(const lct_analysis *a, lct_finding *f, lct_error *err) LCT_CHECKED;
/* Whose messages the headline is a mean over: "the user's" or "all". */
const char *lct_headline_messages(const lct_analysis *a);
void lct_finding_free(lct_finding *f);

#endif
