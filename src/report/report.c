#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/page.h"

/* Steps on the whole page, candidates per step, and the number of prompts beyond which the page leaves repetitions out: they keep
 * a run with a prompt per message under the 2 MB a report may have. */
#define STEP_BUDGET 800
#define MAX_CANDIDATES 8
#define MANY_PROMPTS 8
/* No further prompt is drawn once the page is this long. */
#define FULL_PAGE_BYTES ((size_t)1750 * 1000)

static void prompt_heading(lct_html *h, const lct_run *r, size_t i) {
  const lct_run_prompt *p = &r->prompts[i];
  if (r->n_prompts > 1) {
    lct_html_fmt(h, "<h2 class=\"prompt\" id=\"p%zu\">", i);
    lct_html_text(h, p->name);
    lct_html_raw(h, "</h2>\n");
  }
  if (p->scores == NULL) {
    lct_html_raw(h, "<section><p class=\"none\">The run stopped before this prompt had scores.</p></section>\n");
  }
}

static void prompt_scores(lct_html *h, const lct_run_prompt *p, bool full) {
  const lct_analysis *a = p->main;
  if (a == NULL || p->scores->n_references == 0 || p->scores->n_snapshots == 0) {
    lct_html_raw(h, "<section><p class=\"none\">No scores: the scenario has no references, or no message was scanned.</p></section>\n");
    return;
  }
  lct_page_headline(h, a);
  lct_page_findings(h, a);
  lct_page_heatmaps(h, a, full);
  lct_page_message_curves(h, a, full);
  lct_page_layer_curves(h, a, full);
  lct_page_top_layers(h, a);
  lct_page_role_averages(h, a);
  if (p->scores->n_poolings > 1) lct_page_poolings(h, p);
}

static void write_prompt(lct_html *h, const lct_run *r, size_t i) {
  const lct_run_prompt *p = &r->prompts[i];
  bool full = r->n_prompts <= MANY_PROMPTS;
  prompt_heading(h, r, i);
  if (h->buf->len > FULL_PAGE_BYTES) {
    lct_html_raw(h,
                 "<section><p class=\"none\">Left out to keep this page small; the numbers are in the prompt's "
                 "<code>scores.json</code> and <code>scores.csv</code>.</p></section>\n");
    return;
  }
  if (p->scores != NULL) prompt_scores(h, p, full);
  if (p->main != NULL) lct_page_intra_run(h, p->main);
  size_t steps = STEP_BUDGET / (r->n_prompts > 0 ? r->n_prompts : 1);
  if (p->scores != NULL || p->n_steps > 0) {
    lct_page_generation(h, p, steps < 4 ? 4 : steps, full ? MAX_CANDIDATES : 3);
  }
}

static void navigation(lct_html *h, const lct_run *r) {
  if (r->n_prompts < 2) return;
  lct_html_raw(h, "<nav aria-label=\"Prompts\">");
  for (size_t i = 0; i < r->n_prompts; i++) {
    lct_html_fmt(h, "<a href=\"#p%zu\">", i);
    lct_html_text(h, r->prompts[i].name);
    lct_html_raw(h, "</a>");
  }
  lct_html_raw(h, "</nav>\n");
}

static void write_page(lct_html *h, const lct_run *r) {
  lct_html_raw(h,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
               "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
  lct_html_text(h, r->name);
  lct_html_raw(h, " · activation scan</title>\n");
  lct_page_style(h);
  lct_html_raw(h, "</head><body><main>\n");
  lct_page_header(h, r);
  navigation(h, r);
  for (size_t i = 0; i < r->n_prompts; i++) write_prompt(h, r, i);
  lct_html_raw(h,
               "<footer><p>Means are taken over layers first, then over messages, then over sources. The numbers behind this page are in "
               "<code>scores.json</code>, <code>scores.csv</code> and <code>steps.json</code> of each prompt's folder. "
               "Written by llmct-gpu " LCT_VERSION ".</p></footer>\n</main>\n");
  lct_page_script(h);
  lct_html_raw(h, "</body></html>\n");
}

lct_status lct_report_html(const char *run_dir, char **path, lct_error *err) {
  *path = NULL;
  lct_run *run = NULL;
  LCT_TRY(lct_run_load(run_dir, &run, err));
  lct_buf page = {0}, file = {0};
  lct_html h = {.buf = &page, .err = err};
  write_page(&h, run);
  lct_status st = h.status;
  if (st == LCT_OK) st = lct_path_join(&file, run_dir, "report.html", err);
  if (st == LCT_OK) st = lct_file_write_atomic(file.data, page.data, page.len, err);
  lct_buf_free(&page);
  lct_run_free(run);
  if (st != LCT_OK) {
    lct_buf_free(&file);
    return st;
  }
  *path = file.data; /* the caller's now */
  return LCT_OK;
}
