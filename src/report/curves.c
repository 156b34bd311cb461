#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/chart.h"
#include "report/page.h"

/* Numbers and names of one chart, freed together. */
typedef struct {
  double *x, *y; /* y (series, x) */
  lct_series *series;
} chart_data;

static bool take(lct_html *h, size_t n_x, size_t n_series, chart_data *d) {
  *d = (chart_data){0};
  size_t n = 0;
  if (h->status == LCT_OK && !lct_mul_ok(n_x, n_series, &n)) h->status = lct_fail(h->err, LCT_E_NOMEM, "a chart is too large");
  if (h->status == LCT_OK) h->status = lct_calloc(&d->x, n_x, sizeof *d->x, "a chart", h->err);
  if (h->status == LCT_OK) h->status = lct_calloc(&d->y, n, sizeof *d->y, "a chart", h->err);
  if (h->status == LCT_OK) h->status = lct_calloc(&d->series, n_series, sizeof *d->series, "a chart", h->err);
  return h->status == LCT_OK;
}

static void drop(chart_data *d) {
  free(d->x);
  free(d->y);
  free(d->series);
}

typedef struct {
  char text[24];
} tick_name;

/* One line per reference over the messages of a role (NULL: over all, with the reply). */
static void message_chart(lct_html *h, const lct_analysis *a, const char *role, const char *title) {
  const lct_scores *s = a->scores;
  chart_data d;
  tick_name *names = NULL;
  const char **name_ptrs = NULL;
  size_t n = 0;
  bool ok = take(h, s->n_snapshots, s->n_references, &d);
  if (ok) h->status = lct_calloc(&names, s->n_snapshots, sizeof *names, "a chart", h->err);
  if (h->status == LCT_OK) h->status = lct_calloc(&name_ptrs, s->n_snapshots, sizeof *name_ptrs, "a chart", h->err);
  for (size_t i = 0; h->status == LCT_OK && i < s->n_snapshots; i++) {
    const lct_snapshot *snap = &s->snapshots[i];
    if (role != NULL && (snap->generated || strcmp(snap->role, role) != 0)) continue;
    d.x[n] = (double)i;
    const char *suffix = role != NULL ? "" : snap->generated ? "rep" : lct_role_short(snap->role);
    (void)snprintf(names[n].text, sizeof names[n].text, "%d%s%s", snap->index, suffix[0] == '\0' ? "" : " ", suffix);
    name_ptrs[n] = names[n].text;
    for (size_t r = 0; r < s->n_references; r++) d.y[r * s->n_snapshots + n] = lct_analysis_message(a, i, r, LCT_STAT_COSINE);
    n++;
  }
  if (h->status == LCT_OK) {
    for (size_t r = 0; r < s->n_references; r++) {
      d.series[r] = (lct_series){.label = s->references[r], .y = d.y + r * s->n_snapshots, .color = (int)r};
    }
    lct_chart c = {.title = title,
                   .x_title = "message",
                   .y_title = "cosine",
                   .palette = "s",
                   .x_names = name_ptrs,
                   .x = d.x,
                   .n_x = n,
                   .series = d.series,
                   .n_series = s->n_references,
                   .wide = role == NULL};
    lct_chart_lines(h, &c);
  }
  free(name_ptrs);
  free(names);
  drop(&d);
}

void lct_page_message_curves(lct_html *h, const lct_analysis *a, bool with_roles) {
  lct_html_raw(h,
               "<section><h2>Along the conversation</h2><p class=\"lead\">The same means as curves: one line per reference, one point per "
               "message.</p>\n");
  message_chart(h, a, NULL, "Mean cosine over layers and sources, all messages");
  if (with_roles) {
    lct_html_raw(h, "<div class=\"charts\" style=\"margin-top:22px\">\n");
    message_chart(h, a, "user", "After user messages");
    message_chart(h, a, "assistant", "After assistant messages");
    lct_html_raw(h, "</div>");
  }
  lct_html_raw(h, "</section>\n");
}

/* centred: relative to the mean over references at each layer. */
static void source_chart(lct_html *h, const lct_analysis *a, const lct_role_average *avg, size_t source, bool centred) {
  const lct_scores *s = a->scores;
  chart_data d;
  if (take(h, s->n_layers, s->n_references, &d)) {
    for (size_t l = 0; l < s->n_layers; l++) {
      d.x[l] = s->layers[l];
      double zero = centred ? avg->spread[source * s->n_layers + l].mean : 0;
      for (size_t r = 0; r < s->n_references; r++) d.y[r * s->n_layers + l] = lct_average_curve(a, avg, source, l, r) - zero;
    }
    for (size_t r = 0; r < s->n_references; r++) {
      d.series[r] = (lct_series){.label = s->references[r], .y = d.y + r * s->n_layers, .color = (int)r};
    }
    lct_chart c = {.title = s->sources[source],
                   .x_title = "layer",
                   .y_title = centred ? "cosine minus mean" : "cosine",
                   .palette = "s",
                   .x = d.x,
                   .n_x = s->n_layers,
                   .series = d.series,
                   .n_series = s->n_references};
    lct_chart_lines(h, &c);
  }
  drop(&d);
}

static void source_charts(lct_html *h, const lct_analysis *a, const lct_role_average *avg, bool centred) {
  lct_html_raw(h, "<div class=\"charts\">\n");
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] >= 0) source_chart(h, a, avg, (size_t)a->residual[k], centred);
  }
  lct_html_raw(h, "</div>\n");
}

void lct_page_layer_curves(lct_html *h, const lct_analysis *a, bool with_centred) {
  const lct_role_average *avg = a->user.n_snapshots > 0 ? &a->user : &a->all;
  lct_html_fmt(h,
               "<section><h2>Through the layers</h2><p class=\"lead\">Cosine to each reference at every layer, mean over the %zu %s. "
               "<code>hidden_in</code> and <code>hidden_out</code> are the residual stream before and after a layer, "
               "<code>attn_out</code> and <code>mlp_down_out</code> what attention and MLP add to it.</p>\n",
               avg->n_snapshots, avg == &a->user ? "user messages" : "messages");
  source_charts(h, a, avg, false);
  if (with_centred) {
    lct_html_raw(h, "<h3 style=\"margin:30px 0 14px\">The same, relative to the mean over references at each layer</h3>\n");
    source_charts(h, a, avg, true);
  }
  lct_html_raw(h, "</section>\n");
}

void lct_page_layer_spread(lct_html *h, const lct_analysis *a) {
  const lct_scores *s = a->scores;
  const lct_role_average *avg = a->user.n_snapshots > 0 ? &a->user : &a->all;
  chart_data d;
  if (take(h, s->n_layers, LCT_N_RESIDUAL, &d)) {
    size_t n = 0;
    for (size_t l = 0; l < s->n_layers; l++) d.x[l] = s->layers[l];
    for (int k = 0; k < LCT_N_RESIDUAL; k++) {
      if (a->residual[k] < 0) continue;
      double *y = d.y + n * s->n_layers;
      for (size_t l = 0; l < s->n_layers; l++) y[l] = avg->spread[(size_t)a->residual[k] * s->n_layers + l].spread;
      d.series[n++] = (lct_series){.label = s->sources[a->residual[k]], .y = y, .color = k};
    }
    lct_chart c = {.title = "Spread between the highest and the lowest reference",
                   .x_title = "layer",
                   .y_title = "cosine difference",
                   .palette = "o",
                   .x = d.x,
                   .n_x = s->n_layers,
                   .series = d.series,
                   .n_series = n,
                   .wide = true};
    lct_chart_lines(h, &c);
  }
  drop(&d);
}
