#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/chart.h"
#include "report/page.h"

/* Candidates less likely than this would be shown as 0.0 %. */
#define NEGLIGIBLE 5e-4

static void entropy_chart(lct_html *h, const lct_run_prompt *p, size_t n) {
  double *x = NULL, *y = NULL;
  if (h->status == LCT_OK) h->status = lct_calloc(&x, n, sizeof *x, "a chart", h->err);
  if (h->status == LCT_OK) h->status = lct_calloc(&y, n, sizeof *y, "a chart", h->err);
  if (h->status == LCT_OK) {
    for (size_t i = 0; i < n; i++) {
      x[i] = (double)i;
      y[i] = p->steps[i].entropy;
    }
    lct_series s = {.label = "entropy", .y = y, .color = 0};
    lct_chart c = {.title = "Entropy of the next token",
                   .x_title = "step",
                   .y_title = "nats",
                   .palette = "o",
                   .x = x,
                   .n_x = n,
                   .series = &s,
                   .n_series = 1,
                   .wide = true};
    lct_chart_lines(h, &c);
  }
  free(x);
  free(y);
}

/* "<|im_end|>" and its like: shown, but set apart from what is said. */
static bool looks_special(const char *token) {
  size_t n = strlen(token);
  return n > 4 && strncmp(token, "<|", 2) == 0 && strcmp(token + n - 2, "|>") == 0;
}

static void reply(lct_html *h, const lct_run_prompt *p) {
  lct_html_raw(h, "<p class=\"reply\">");
  for (size_t i = 0; i < p->n_steps; i++) {
    const char *token = p->steps[i].token;
    bool special = looks_special(token);
    if (special) lct_html_raw(h, "<i> ");
    lct_html_prose(h, i == 0 ? token + strspn(token, " \n") : token);
    if (special) lct_html_raw(h, "</i>");
  }
  lct_html_raw(h, "</p>");
}

static void percent(lct_html *h, double prob) {
  if (isnan(prob)) {
    lct_html_raw(h, "–");
  } else {
    lct_html_fmt(h, "%.1f %%", 100 * (prob < 0 ? 0 : prob > 1 ? 1 : prob));
  }
}

static double chosen_prob(const lct_step *st) {
  for (size_t i = 0; i < st->n_top; i++) {
    /* the generated token is one of the candidates unless it was sampled from the tail */
    const char *a = st->top[i].token, *b = st->token;
    while (*a != '\0' && *a == *b) a++, b++;
    if (*a == *b) return st->top[i].prob;
  }
  return NAN;
}

static void step_row(lct_html *h, const lct_step *st, size_t max_candidates) {
  lct_html_fmt(h, "<tr><td>%d</td><td class=\"l\"><span class=\"tok mono\">", st->step);
  lct_html_token(h, st->token);
  double prob = chosen_prob(st);
  lct_html_raw(h, "</span></td><td class=\"l\"><span class=\"p\">");
  if (prob > 0) lct_html_fmt(h, "<i style=\"width:%.1f%%\"></i>", 100 * fmin(prob, 1));
  lct_html_raw(h, "</span>");
  percent(h, prob);
  lct_html_raw(h, "</td><td>");
  lct_html_num(h, st->entropy, 2);
  lct_html_raw(h, "</td><td>");
  lct_html_num(h, st->effective_vocab, 1);
  lct_html_raw(h, "</td><td class=\"l cand\">");
  for (size_t i = 0; i < st->n_top && i < max_candidates; i++) {
    if (i > 0 && st->top[i].prob < NEGLIGIBLE) break;
    lct_html_raw(h, "<span class=\"alt\"><span class=\"mono\">");
    lct_html_token(h, st->top[i].token);
    lct_html_raw(h, "</span> <b>");
    percent(h, st->top[i].prob);
    lct_html_raw(h, "</b></span>");
  }
  lct_html_raw(h, "</td></tr>\n");
}

void lct_page_generation(lct_html *h, const lct_run_prompt *p, size_t max_steps, size_t max_candidates) {
  lct_html_raw(h, "<section><h2>What the model says next</h2>\n");
  if (p->n_steps == 0) {
    lct_html_raw(h, "<p class=\"none\">Nothing was generated.</p></section>\n");
    return;
  }
  size_t shown = p->n_steps < max_steps ? p->n_steps : max_steps;
  reply(h, p);
  lct_html_raw(h,
               "<p class=\"lead\">Step by step: the token taken and its probability, the entropy of the distribution (in nats), the "
               "effective vocabulary (its exponential: as many equally likely tokens would be as uncertain), and the likeliest "
               "candidates.</p>\n");
  if (p->n_steps > 2) entropy_chart(h, p, p->n_steps);
  lct_html_raw(h,
               "<div class=\"scroll\"><table class=\"plain steps\"><thead><tr><th>step</th><th class=\"l\">token</th>"
               "<th class=\"l\">probability</th><th>entropy</th><th>eff. vocab.</th><th "
               "class=\"l\">candidates</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < shown; i++) step_row(h, &p->steps[i], max_candidates);
  lct_html_raw(h, "</tbody></table></div>\n");
  if (shown < p->n_steps) {
    lct_html_fmt(h, "<p class=\"note\">The first %zu of %zu steps; <code>steps.json</code> has them all.</p>\n", shown, p->n_steps);
  }
  lct_html_raw(h, "</section>\n");
}
