/* report.html, the terminal table and the comparison with published numbers, from a finished (or partial) run directory. */
#ifndef LCT_REPORT_REPORT_H
#define LCT_REPORT_REPORT_H

#include "base/mem.h"

/* Writes RUN_DIR/report.html (self-contained: inline SVG, CSS, no script needed to read it) from RUN_DIR/scan.json and
 * RUN_DIR/prompt_N/scores.json, steps.json. *path (malloc'ed) is where it was written. */
lct_status lct_report_html(const char *run_dir, char **path, lct_error *err) LCT_CHECKED;
/* Appends the main table (message x reference mean cosine over the four residual sources, pooling `last`, the headline's
 * contrasts, and the five findings' numbers) as plain text, at most `width` columns. */
lct_status lct_report_text(const char *run_dir, int width, lct_buf *out, lct_error *err) LCT_CHECKED;
/* Appends ours beside the published numbers with differences; published: where_emotions_lie.published.json's form. */
lct_status lct_report_published(const char *run_dir, const char *published_path, lct_buf *out, lct_error *err) LCT_CHECKED;

#endif
