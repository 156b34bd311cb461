#include <string.h>

#include "report/page.h"
#include "report/sentences.h"

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

void lct_page_findings(lct_html *h, const lct_analysis *a) {
  lct_html_raw(h,
               "<section><h2>Five numbers</h2><p class=\"lead\">The findings of the original experiment, asked of this run.</p>"
               "<ol class=\"findings\">\n");
  for (int i = 0; i < LCT_N_FINDINGS && h->status == LCT_OK; i++) {
    lct_finding f = {0};
    h->status = lct_finding_write(a, i, &f, h->err);
    if (h->status == LCT_OK) {
      lct_html_fmt(h, "<li><div class=\"what\">%d · %s</div><div class=\"big\">", i + 1, f.title);
      typeset(h, f.figure.data, true);
      lct_html_raw(h, "</div><p>");
      typeset(h, f.body.data, false);
      lct_html_raw(h, "</p></li>\n");
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
