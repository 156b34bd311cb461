#include <math.h>
#include <string.h>

#include "report/page.h"

#define TOP_LAYERS 5

static const char *ref_name(const lct_scores *s, int ref) { return ref >= 0 ? s->references[ref] : "–"; }

static void td(lct_html *h, double v, int digits, bool plus, const char *cls) {
  lct_html_fmt(h, "<td%s%s%s>", cls[0] ? " class=\"" : "", cls, cls[0] ? "\"" : "");
  if (plus) {
    lct_html_signed(h, v, digits);
  } else {
    lct_html_num(h, v, digits);
  }
  lct_html_raw(h, "</td>");
}

static void td_num(lct_html *h, double v, int digits, const char *cls) { td(h, v, digits, false, cls); }

static void source_code(lct_html *h, const char *name) {
  lct_html_raw(h, "<code>");
  lct_html_text(h, name);
  lct_html_raw(h, "</code>");
}

static void top_rows(lct_html *h, const lct_analysis *a, const lct_role_average *avg, size_t src) {
  const lct_scores *s = a->scores;
  for (size_t i = 0; i < TOP_LAYERS && i < s->n_layers; i++) {
    const lct_layer_spread *t = &avg->spread_top[src * s->n_layers + i];
    if (isnan(t->spread)) break;
    lct_html_fmt(h, "<tr><th>%d</th>", s->layers[t->layer_pos]);
    td_num(h, t->spread, 4, i == 0 ? "max" : "");
    lct_html_raw(h, "<td class=\"l\">");
    lct_html_text_cut(h, ref_name(s, t->highest), 16);
    lct_html_raw(h, "</td>");
    td_num(h, t->highest_value, 3, "");
    lct_html_raw(h, "<td class=\"l\">");
    lct_html_text_cut(h, ref_name(s, t->lowest), 16);
    lct_html_raw(h, "</td>");
    td_num(h, t->lowest_value, 3, "");
    td_num(h, t->mean, 3, "");
    lct_html_raw(h, "</tr>\n");
  }
}

void lct_page_top_layers(lct_html *h, const lct_analysis *a) {
  const lct_role_average *avg = a->user.n_snapshots > 0 ? &a->user : &a->all;
  lct_html_fmt(h,
               "<section><h2>Where the references come apart</h2><p class=\"lead\">Spread of a layer: its highest minus its lowest "
               "reference, mean over %s.</p>\n",
               avg == &a->user ? "the user's messages" : "all messages");
  lct_page_layer_spread(h, a);
  lct_html_raw(h, "<div class=\"pair\" style=\"margin-top:22px\">\n");
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] < 0) continue;
    lct_html_raw(h, "<div><h3>");
    source_code(h, lct_source_name(LCT_RESIDUAL_SOURCES[k]));
    lct_html_raw(h,
                 "</h3><div class=\"scroll\"><table class=\"plain\"><thead><tr><th>layer</th><th>spread</th><th class=\"l\">highest</th>"
                 "<th>cosine</th><th class=\"l\">lowest</th><th>cosine</th><th>mean</th></tr></thead><tbody>\n");
    top_rows(h, a, avg, (size_t)a->residual[k]);
    lct_html_raw(h, "</tbody></table></div></div>\n");
  }
  lct_html_raw(h, "</div></section>\n");
}

/* Of a source's group in the table of averages. */
static const lct_stat COLUMNS[LCT_N_STATS] = {LCT_STAT_COSINE, LCT_STAT_CONTRAST, LCT_STAT_MAE, LCT_STAT_JACCARD};

/* Per stat the reference to be set in bold: that of the smallest MAE, of the largest anything else. */
static int best_reference(const lct_analysis *a, const lct_role_average *avg, size_t src, lct_stat stat) {
  int best = -1;
  double best_v = NAN;
  for (size_t r = 0; r < a->scores->n_references; r++) {
    double v = lct_average_source(a, avg, src, r, stat);
    if (isnan(v)) continue;
    if (best < 0 || (stat == LCT_STAT_MAE ? v < best_v : v > best_v)) {
      best = (int)r;
      best_v = v;
    }
  }
  return best;
}

static void average_head(lct_html *h, const lct_analysis *a) {
  lct_html_raw(h, "<thead><tr><th></th>");
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] < 0) continue;
    lct_html_raw(h, "<th class=\"group sep\" colspan=\"4\">");
    source_code(h, lct_source_name(LCT_RESIDUAL_SOURCES[k]));
    lct_html_raw(h, "</th>");
  }
  lct_html_raw(h, "</tr><tr><th class=\"l\">reference</th>");
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] >= 0) lct_html_raw(h, "<th class=\"sep\">cosine</th><th>contrast</th><th>MAE</th><th>Jaccard</th>");
  }
  lct_html_raw(h, "</tr></thead>");
}

static void average_table(lct_html *h, const lct_analysis *a, const lct_role_average *avg, const char *title) {
  const lct_scores *s = a->scores;
  lct_html_fmt(h, "<h3 style=\"margin-top:18px\">%s <span style=\"font-weight:400\">(%zu)</span></h3>", title, avg->n_snapshots);
  if (avg->n_snapshots == 0) {
    lct_html_raw(h, "<p class=\"none\">None in this prompt.</p>");
    return;
  }
  lct_html_raw(h, "<div class=\"scroll\"><table class=\"plain many\">");
  average_head(h, a);
  lct_html_raw(h, "<tbody>\n");
  for (size_t r = 0; r < s->n_references; r++) {
    lct_html_raw(h, "<tr><th class=\"l\">");
    lct_html_text(h, s->references[r]);
    lct_html_raw(h, "</th>");
    for (int k = 0; k < LCT_N_RESIDUAL; k++) {
      if (a->residual[k] < 0) continue;
      for (int i = 0; i < LCT_N_STATS; i++) {
        size_t src = (size_t)a->residual[k];
        bool best = best_reference(a, avg, src, COLUMNS[i]) == (int)r;
        const char *cls = i == 0 ? (best ? "sep max" : "sep") : best ? "max" : "";
        td(h, lct_average_source(a, avg, src, r, COLUMNS[i]), 4, COLUMNS[i] == LCT_STAT_CONTRAST, cls);
      }
    }
    lct_html_raw(h, "</tr>\n");
  }
  lct_html_raw(h, "</tbody></table></div>\n");
}

static void gap_row(lct_html *h, const lct_analysis *a, const char *name, int which) {
  lct_html_fmt(h, "<tr%s><th class=\"l\">%s</th>", which == 2 ? " class=\"sum\"" : "", name);
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] < 0) continue;
    size_t src = (size_t)a->residual[k];
    lct_html_raw(h, "<td>");
    if (which == 2) {
      lct_html_signed(h, a->findings.gap[k], 4);
    } else {
      lct_html_num(h, (which == 0 ? a->user : a->assistant).source_mean[src], 4);
    }
    lct_html_raw(h, "</td>");
  }
  lct_html_raw(h, "</tr>\n");
}

void lct_page_role_averages(lct_html *h, const lct_analysis *a) {
  lct_html_raw(
      h,
      "<section><h2>User and assistant</h2><p class=\"lead\">Means over the messages of each role (all layers); the snapshot "
      "with the generated reply is not among them. Contrast is the cosine less its mean over the references, MAE the mean absolute "
      "difference, Jaccard the overlap of the 1 % largest values. Bold: closest reference.</p><div class=\"scroll\">"
      "<table class=\"plain\"><thead><tr>"
      "<th class=\"l\">mean cosine over references</th>");
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] < 0) continue;
    lct_html_raw(h, "<th>");
    source_code(h, lct_source_name(LCT_RESIDUAL_SOURCES[k]));
    lct_html_raw(h, "</th>");
  }
  lct_html_raw(h, "</tr></thead><tbody>\n");
  gap_row(h, a, "user", 0);
  gap_row(h, a, "assistant", 1);
  gap_row(h, a, "user minus assistant", 2);
  lct_html_raw(h, "</tbody></table></div>\n");
  average_table(h, a, &a->user, "User messages");
  average_table(h, a, &a->assistant, "Assistant messages");
  lct_html_raw(h, "</section>\n");
}

static void same_winner(const lct_analysis *a, const lct_analysis *main, int *same, int *of) {
  *same = *of = 0;
  for (size_t i = 0; i < a->scores->n_snapshots; i++) {
    if (a->scores->snapshots[i].generated || a->best[i] < 0 || main->best[i] < 0) continue;
    ++*of;
    if (a->best[i] == main->best[i]) ++*same;
  }
}

static void pooling_row(lct_html *h, const lct_analysis *a, const lct_analysis *main) {
  const lct_scores *s = a->scores;
  double user = lct_average_offset(a, &a->user), assistant = lct_average_offset(a, &a->assistant);
  lct_html_raw(h, "<tr><th class=\"l\">");
  source_code(h, s->poolings[a->pooling]);
  lct_html_raw(h, "</th>");
  td_num(h, user, 4, "");
  td_num(h, assistant, 4, "");
  lct_html_raw(h, "<td>");
  lct_html_signed(h, user - assistant, 4);
  lct_html_raw(h, "</td>");
  int src = a->findings.sharpest_source;
  const lct_layer_spread *top = src >= 0 && s->n_layers > 0 ? &a->user.spread_top[(size_t)src * s->n_layers] : NULL;
  if (top != NULL && !isnan(top->spread)) {
    lct_html_fmt(h, "<td>%d</td>", s->layers[top->layer_pos]);
    td_num(h, top->spread, 4, "");
  } else {
    lct_html_raw(h, "<td>–</td><td>–</td>");
  }
  lct_html_raw(h, "<td class=\"l\">");
  int ref = a->findings.default_user;
  lct_html_text_cut(h, ref_name(s, ref), 20);
  if (ref >= 0) lct_html_fmt(h, " (%d of %d)", a->findings.wins_user[ref], a->findings.n_user);
  int same, of;
  same_winner(a, main, &same, &of);
  lct_html_fmt(h, "</td><td>%d of %d</td></tr>\n", same, of);
}

void lct_page_poolings(lct_html *h, const lct_run_prompt *p) {
  const lct_scores *s = p->scores;
  lct_html_raw(h,
               "<section><h2>Which tokens speak for a message</h2><p class=\"lead\"><code>last</code>: the prompt's last token, after the "
               "template's generation prompt (the original experiment's rule). <code>content_last</code>: the last token of the "
               "message's own text. <code>content_mean</code>: the mean over that text.</p><div class=\"scroll\"><table class=\"plain\">"
               "<thead><tr><th class=\"l\">pooling</th><th>user</th><th>assistant</th><th>difference</th><th>sharpest layer</th>"
               "<th>spread</th><th class=\"l\">highest most often (user)</th><th>same highest as ");
  lct_html_text(h, s->poolings[p->main->pooling]);
  lct_html_raw(h, "</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < s->n_poolings; i++) pooling_row(h, p->by_pooling[i], p->main);
  lct_html_raw(h, "</tbody></table></div></section>\n");
}

void lct_page_intra_run(lct_html *h, const lct_analysis *a) {
  if (a->intra == NULL) return;
  const lct_scores *s = a->scores;
  lct_html_raw(h,
               "<section><h2>From prompt to reply</h2><p class=\"lead\">Cosine over the layers between the state at the prompt's last "
               "token "
               "and the state at the last generated step.</p><div class=\"scroll\"><table class=\"plain\"><thead><tr><th "
               "class=\"l\">source"
               "</th><th>mean</th><th>std</th><th>median</th><th>min</th><th>at layer</th><th>mean MAE</th><th>mean Jaccard</th></tr>"
               "</thead><tbody>\n");
  for (size_t src = 0; src < s->n_sources; src++) {
    const lct_series_stats *c = &a->intra[src * LCT_N_STATS];
    lct_html_raw(h, "<tr><th class=\"l\">");
    source_code(h, s->sources[src]);
    lct_html_raw(h, "</th>");
    td_num(h, c->mean, 3, "");
    td_num(h, c->std, 3, "");
    td_num(h, c->median, 3, "");
    td_num(h, c->min, 3, "");
    if (c->argmin >= 0) {
      lct_html_fmt(h, "<td>%d</td>", s->layers[c->argmin]);
    } else {
      lct_html_raw(h, "<td>–</td>");
    }
    td_num(h, c[LCT_STAT_MAE].mean, 4, "");
    td_num(h, c[LCT_STAT_JACCARD].mean, 4, "");
    lct_html_raw(h, "</tr>\n");
  }
  lct_html_raw(h, "</tbody></table></div></section>\n");
}
