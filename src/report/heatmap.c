#include <math.h>
#include <string.h>

#include "report/color.h"
#include "report/page.h"

const char *lct_role_short(const char *role) {
  if (strcmp(role, "user") == 0) return "usr";
  if (strcmp(role, "assistant") == 0) return "ast";
  return "sys";
}

static lct_stat shown(bool contrast) { return contrast ? LCT_STAT_CONTRAST : LCT_STAT_COSINE; }

/* The colour scale's ends: smallest and largest cell, or the largest contrast by magnitude. */
static void value_range(const lct_analysis *a, bool contrast, double *lo, double *hi) {
  *lo = NAN;
  *hi = NAN;
  for (size_t i = 0; i < a->scores->n_snapshots; i++) {
    for (size_t r = 0; r < a->scores->n_references; r++) {
      double v = lct_analysis_message(a, i, r, shown(contrast));
      if (isnan(v)) continue;
      if (contrast) v = fabs(v);
      if (isnan(*lo) || v < *lo) *lo = v;
      if (isnan(*hi) || v > *hi) *hi = v;
    }
  }
}

static void head(lct_html *h, const lct_scores *s) {
  lct_html_raw(h, "<colgroup><col class=\"i\"><col class=\"b\"><col>");
  for (size_t r = 0; r < s->n_references; r++) lct_html_raw(h, "<col class=\"c\">");
  lct_html_raw(h, "</colgroup><thead><tr><th>#</th><th class=\"l\">role</th><th class=\"m\">message</th>");
  for (size_t r = 0; r < s->n_references; r++) {
    lct_html_raw(h, "<th class=\"r\" title=\"");
    lct_html_text(h, s->references[r]);
    lct_html_raw(h, "\">");
    lct_html_text(h, s->references[r]);
    lct_html_raw(h, "</th>");
  }
  lct_html_raw(h, "</tr></thead>\n");
}

static void row_label(lct_html *h, const lct_snapshot *snap) {
  lct_html_fmt(h, "<td class=\"i\">%d</td><td class=\"b\"><span class=\"badge %s%s\">", snap->index, lct_role_short(snap->role),
               snap->generated ? " gen" : "");
  lct_html_text_cut(h, snap->generated ? "reply" : snap->role, 10);
  lct_html_raw(h, "</span></td><td class=\"m\" title=\"");
  lct_html_text(h, snap->preview);
  lct_html_fmt(h, " (%d tokens)\">", snap->n_tokens);
  lct_html_text(h, snap->preview);
  lct_html_raw(h, "</td>");
}

static void cell(lct_html *h, double v, int color, bool max, bool contrast) {
  if (isnan(v)) {
    lct_html_raw(h, "<td class=\"v nan\">–</td>");
    return;
  }
  lct_html_fmt(h, "<td class=\"v %c%d%s\">", contrast ? 'd' : 'q', color, max ? " max" : "");
  if (contrast) {
    lct_html_signed(h, v, 3);
  } else {
    lct_html_num(h, v, 3);
  }
  lct_html_raw(h, "</td>");
}

static void heat_table(lct_html *h, const lct_analysis *a, bool contrast, double lo, double hi) {
  const lct_scores *s = a->scores;
  lct_html_raw(h, "<div class=\"scroll\"><table class=\"heat\" style=\"min-width:");
  lct_html_fmt(h, "%zupx\">", 240 + 58 * s->n_references);
  head(h, s);
  lct_html_raw(h, "<tbody>\n");
  for (size_t i = 0; i < s->n_snapshots; i++) {
    lct_html_raw(h, "<tr>");
    row_label(h, &s->snapshots[i]);
    for (size_t r = 0; r < s->n_references; r++) {
      double v = lct_analysis_message(a, i, r, shown(contrast));
      cell(h, v, contrast ? lct_color_diverging(v, hi) : lct_color_sequential(v, lo, hi), a->best[i] == (int)r, contrast);
    }
    lct_html_raw(h, "</tr>\n");
  }
  lct_html_raw(h, "</tbody></table></div>\n");
}

static void legend(lct_html *h, bool contrast, double lo, double hi) {
  lct_html_raw(h, "<div class=\"legend\"><span>");
  lct_html_num(h, contrast ? -hi : lo, 3);
  lct_html_raw(h, "</span><span class=\"ramp\">");
  int n = contrast ? LCT_N_DIVERGING : LCT_N_SEQUENTIAL;
  for (int i = 0; i < n; i++) lct_html_fmt(h, "<i class=\"%c%d\"></i>", contrast ? 'd' : 'q', i);
  lct_html_raw(h, "</span><span>");
  if (contrast) {
    lct_html_signed(h, hi, 3);
  } else {
    lct_html_num(h, hi, 3);
  }
  lct_html_raw(h, "</span><span><i class=\"ring\"></i> highest of its row</span></div>\n");
}

void lct_page_heatmaps(lct_html *h, const lct_analysis *a, bool with_contrast) {
  double lo, hi;
  lct_html_raw(h,
               "<section><h2>Every message against every reference</h2><p class=\"lead\">Mean cosine over all layers and the four "
               "sources, for the state after each message (pooling <code>");
  lct_html_text(h, a->scores->poolings[a->pooling]);
  lct_html_raw(h, "</code>).</p>\n");
  value_range(a, false, &lo, &hi);
  heat_table(h, a, false, lo, hi);
  if (!isnan(lo)) legend(h, false, lo, hi);
  lct_html_raw(h, "</section>\n");
  if (!with_contrast) return;
  lct_html_raw(h,
               "<section><h2>The same as contrast</h2><p class=\"lead\">All cosines of a message move together; "
               "what tells references apart is the rest. Here each cosine is shown less its mean over the references.</p>\n");
  value_range(a, true, &lo, &hi);
  heat_table(h, a, true, lo, hi);
  if (!isnan(hi)) legend(h, true, lo, hi);
  lct_html_raw(h, "</section>\n");
}
