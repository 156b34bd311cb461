#include <stdio.h>
#include <string.h>

#include "report/page.h"
#include "report/sentences.h"

enum { MOST_ROWS = 12 };

/* Plain text into HTML, a hyphen before a digit being a minus sign or a range. */
static void typeset(lct_html *h, const char *text, bool range) {
  for (const char *p = text; *p != '\0';) {
    size_t n = strcspn(p, "-");
    char piece[128];
    if (n >= sizeof piece) n = sizeof piece - 1;
    if (n > 0) {
      while (n > 1 && n == sizeof piece - 1 && ((unsigned char)p[n] & 0xc0) == 0x80) n--; /* never inside a character */
      memcpy(piece, p, n);
      piece[n] = '\0';
      lct_html_text(h, piece);
      p += n;
      continue;
    }
    bool before_digit = p[1] >= '0' && p[1] <= '9', after_digit = p > text && p[-1] >= '0' && p[-1] <= '9';
    bool after_word = p > text && ((p[-1] >= 'a' && p[-1] <= 'z') || (p[-1] >= 'A' && p[-1] <= 'Z'));
    if (before_digit && after_digit && range) {
      lct_html_raw(h, "–");
    } else if (before_digit && !after_word && !after_digit) {
      lct_html_raw(h, "−");
    } else {
      lct_html_raw(h, p == text && p[1] == '\0' ? "–" : "-");
    }
    p++;
  }
}

/* A card: what it is about, the figure, a sentence or two. */
static void card(lct_html *h, const char *number, const lct_finding *f) {
  lct_html_fmt(h, "<li><div class=\"what\">%s%s</div><div class=\"big\">", number, f->title);
  typeset(h, f->figure.data, true);
  lct_html_raw(h, "</div><p>");
  typeset(h, f->body.data, false);
  lct_html_raw(h, "</p></li>\n");
}

/* Contrast beside raw cosine, by falling contrast. */
static void contrast_table(lct_html *h, const lct_analysis *a) {
  const lct_contrast_findings *c = &a->findings.contrast;
  lct_html_raw(h,
               "<li class=\"aside\"><div class=\"scroll\"><table class=\"plain\"><thead><tr><th class=\"l\">reference</th><th>contrast</th>"
               "<th>raw cosine</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < c->n && i < MOST_ROWS; i++) {
    size_t ref = (size_t)c->order[i];
    lct_html_raw(h, "<tr><th class=\"l\">");
    lct_html_text_cut(h, a->scores->references[ref], 24);
    lct_html_fmt(h, "</th><td%s>", i == 0 ? " class=\"max\"" : "");
    lct_html_signed(h, lct_average_message(a, c->average, ref, LCT_STAT_CONTRAST), 4);
    lct_html_raw(h, "</td><td>");
    lct_html_num(h, lct_average_message(a, c->average, ref, LCT_STAT_COSINE), 4);
    lct_html_raw(h, "</td></tr>\n");
  }
  lct_html_raw(h, "</tbody></table></div>");
  if (c->n > MOST_ROWS) lct_html_fmt(h, "<p>and %zu more with lower contrasts</p>", c->n - MOST_ROWS);
  lct_html_raw(h, "</li>\n");
}

void lct_page_headline(lct_html *h, const lct_analysis *a) {
  lct_finding f = {0};
  if (h->status == LCT_OK) h->status = lct_headline_write(a, &f, h->err);
  if (h->status == LCT_OK) {
    lct_html_raw(h, "<section><h2>What stands out</h2><ol class=\"findings\">\n");
    card(h, "", &f);
    if (a->findings.contrast.n > 1) contrast_table(h, a);
    lct_html_raw(h, "</ol></section>\n");
  }
  lct_finding_free(&f);
}

void lct_page_findings(lct_html *h, const lct_analysis *a) {
  lct_html_raw(h,
               "<section><h2>Five numbers</h2><p class=\"lead\">The findings of the original experiment, asked of this run.</p>"
               "<ol class=\"findings\">\n");
  for (int i = 0; i < LCT_N_FINDINGS && h->status == LCT_OK; i++) {
    lct_finding f = {0};
    h->status = lct_finding_write(a, i, &f, h->err);
    if (h->status == LCT_OK) {
      char number[16];
      (void)snprintf(number, sizeof number, "%d · ", i + 1);
      card(h, number, &f);
    }
    lct_finding_free(&f);
  }
  lct_html_raw(h,
               "<li class=\"aside\"><div class=\"what\">How to read them</div><p>These are raw cosines. Much of their level is "
               "an offset that all states of the model share, "
               "so read differences between references, roles and layers, not the level itself; a fall over the conversation can "
               "come from that offset as well as from an emotion.</p>");
  const lct_scores *s = a->scores;
  if (s->n_nan > 0) {
    lct_html_fmt(h,
                 "<p>%zu of %zu scores are undefined (a zero vector, or a message without text of its own) and are left "
                 "out of every mean; a mean of nothing is shown as a dash.</p>",
                 s->n_nan, s->n_values);
  }
  lct_html_raw(h, "</li></ol></section>\n");
}
