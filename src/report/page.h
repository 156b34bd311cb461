/* Inside src/report: the parts of the HTML page. */
#ifndef LCT_REPORT_PAGE_H
#define LCT_REPORT_PAGE_H

#include "report/html.h"
#include "report/load_run.h"

/* style.c */
void lct_page_style(lct_html *h);
void lct_page_script(lct_html *h);

/* header.c: name, state, what was computed, where, in what time. */
void lct_page_header(lct_html *h, const lct_run *r);

/* draw_findings.c: which references stand out, by contrast and beside it by raw cosine; the five numbers in words. */
void lct_page_headline(lct_html *h, const lct_analysis *a);
void lct_page_findings(lct_html *h, const lct_analysis *a);

/* heatmap.c: message x reference; with_contrast: and the same as contrasts. */
void lct_page_heatmaps(lct_html *h, const lct_analysis *a, bool with_contrast);

/* curves.c: over messages, over layers (with_centred: also relative to the references' mean; with_roles: also role by role), the
 * spread over layers. */
void lct_page_message_curves(lct_html *h, const lct_analysis *a, bool with_roles);
void lct_page_layer_curves(lct_html *h, const lct_analysis *a, bool with_centred);
void lct_page_layer_spread(lct_html *h, const lct_analysis *a);

/* tables.c */
void lct_page_top_layers(lct_html *h, const lct_analysis *a);
void lct_page_role_averages(lct_html *h, const lct_analysis *a);
void lct_page_poolings(lct_html *h, const lct_run_prompt *p);
void lct_page_intra_run(lct_html *h, const lct_analysis *a);

/* generation.c: the reply and, per step, what else was likely. max_steps and max_candidates bound the page. */
void lct_page_generation(lct_html *h, const lct_run_prompt *p, size_t max_steps, size_t max_candidates);

/* "usr", "ast", "sys", else the first three letters: a class and a short name. */
const char *lct_role_short(const char *role);

#endif
