#include <math.h>
#include <string.h>

#include "report/page.h"

static void tile_open(lct_html *h, const char *what) {
  lct_html_fmt(h, "<div class=\"tile\"><div class=\"what\">%s</div><div class=\"big\">", what);
}
static void tile_more(lct_html *h) { lct_html_raw(h, "</div><div class=\"more\">"); }
static void tile_close(lct_html *h) { lct_html_raw(h, "</div></div>\n"); }

static void text_or_dash(lct_html *h, const char *text) { lct_html_text(h, text != NULL && text[0] != '\0' ? text : "–"); }

static void count_or_dash(lct_html *h, int64_t v) {
  if (v < 0) {
    lct_html_raw(h, "–");
  } else {
    lct_html_count(h, v);
  }
}

static const char *model_name(const lct_run *r) {
  if (r->model.id != NULL) return r->model.id;
  return r->model.path != NULL ? r->model.path : "an unnamed model";
}

static void model_tile(lct_html *h, const lct_run *r) {
  tile_open(h, "Model");
  if (r->model.n_params < 0) {
    text_or_dash(h, r->model.arch);
  } else if (r->model.n_params >= 1000000000) {
    lct_html_fmt(h, "%.2f B", (double)r->model.n_params / 1e9);
  } else {
    lct_html_fmt(h, "%.1f M", (double)r->model.n_params / 1e6);
  }
  lct_html_raw(h, r->model.n_params >= 0 ? " <small>parameters</small>" : "");
  tile_more(h);
  text_or_dash(h, r->model.arch);
  lct_html_raw(h, ", ");
  count_or_dash(h, r->model.n_layers);
  lct_html_raw(h, " layers × ");
  count_or_dash(h, r->model.hidden);
  lct_html_raw(h, ", ");
  count_or_dash(h, r->model.n_heads);
  lct_html_raw(h, " heads (");
  count_or_dash(h, r->model.n_kv_heads);
  lct_html_raw(h, " for keys), vocabulary ");
  count_or_dash(h, r->model.vocab);
  lct_html_raw(h, ", ");
  text_or_dash(h, r->model.format);
  tile_close(h);
}

static void tokens_tile(lct_html *h, const lct_run *r) {
  tile_open(h, "Tokens computed");
  count_or_dash(h, r->tokens_computed);
  tile_more(h);
  lct_html_raw(h, "prefix by prefix: ");
  count_or_dash(h, r->tokens_naive);
  if (r->tokens_computed > 0 && r->tokens_naive >= 0) {
    lct_html_fmt(h, ", <b>%.1f×</b> as many", (double)r->tokens_naive / (double)r->tokens_computed);
  }
  lct_html_raw(h, "; generated: ");
  count_or_dash(h, r->tokens_generated);
  tile_close(h);
}

static void seconds(lct_html *h, double s) {
  lct_html_num(h, s, s < 10 ? 2 : 1);
  if (!isnan(s)) lct_html_raw(h, " s");
}

static void time_tile(lct_html *h, const lct_run *r) {
  static const char *const NAMES[] = {"load", "prefill", "decode", "write"};
  static const char *const COLORS[] = {"var(--faint)", "var(--o0)", "var(--o1)", "var(--o2)"};
  const double parts[] = {r->seconds.load, r->seconds.prefill, r->seconds.decode, r->seconds.write};
  tile_open(h, "Time");
  seconds(h, r->seconds.total);
  tile_more(h);
  for (int i = 0; i < 4; i++) {
    lct_html_fmt(h, "%s<span><i class=\"key\" style=\"background:%s\"></i>%s ", i > 0 ? " &ensp;" : "", COLORS[i], NAMES[i]);
    seconds(h, parts[i]);
    lct_html_raw(h, "</span>");
  }
  lct_html_raw(h, "<div class=\"split\">");
  for (int i = 0; i < 4; i++) {
    if (parts[i] > 0 && parts[i] < 1e9) lct_html_fmt(h, "<i style=\"flex:%.4f;background:%s\"></i>", parts[i], COLORS[i]);
  }
  lct_html_raw(h, "</div>");
  tile_close(h);
}

static void machine_tile(lct_html *h, const lct_run *r) {
  tile_open(h, "Precision and machine");
  text_or_dash(h, r->precision);
  tile_more(h);
  if (r->device != NULL && strcmp(r->device, "cpu") != 0) {
    text_or_dash(h, r->device_name);
    lct_html_raw(h, " (");
    text_or_dash(h, r->device);
    lct_html_raw(h, "); ");
  }
  text_or_dash(h, r->cpu);
  lct_html_raw(h, ", ");
  count_or_dash(h, r->threads);
  lct_html_raw(h, r->threads == 1 ? " thread" : " threads");
  tile_close(h);
}

static void fact(lct_html *h, const char *name, const char *value) {
  lct_html_fmt(h, "<dt>%s</dt><dd class=\"mono\">", name);
  text_or_dash(h, value);
  lct_html_raw(h, "</dd>");
}

static void provenance(lct_html *h, const lct_run *r) {
  lct_html_raw(h, "<dl class=\"facts\">");
  fact(h, "Model file", r->model.path);
  fact(h, "Model hash", r->model.hash);
  fact(h, "Chat template", r->chat_template.name);
  fact(h, "Template hash", r->chat_template.hash);
  fact(h, "Scenario hash", r->scenario_sha256);
  if (r->saturated > 0) {
    lct_html_fmt(h, "<dt>Saturated values</dt><dd>%lld did not fit the stored type</dd>", (long long)r->saturated);
  }
  if (r->utf8_replaced > 0) {
    lct_html_fmt(h, "<dt>Invalid UTF-8</dt><dd>%lld sequences were replaced</dd>", (long long)r->utf8_replaced);
  }
  lct_html_raw(h, "</dl>\n");
}

static void banner(lct_html *h, const lct_run *r) {
  if (strcmp(r->state, "done") == 0) return;
  size_t with_scores = 0;
  for (size_t i = 0; i < r->n_prompts; i++) with_scores += r->prompts[i].scores != NULL ? 1 : 0;
  bool partial = strcmp(r->state, "partial") == 0, failed = strcmp(r->state, "failed") == 0;
  lct_html_fmt(h, "<div class=\"banner\" role=\"status\">%s <span>",
               partial  ? "Partial run."
               : failed ? "This run failed."
                        : "This run has not finished.");
  if (failed) {
    lct_html_text(h, r->error != NULL ? r->error : "The reason is not known");
    lct_html_raw(h, ". ");
  }
  lct_html_fmt(h, "%s %zu of %zu prompts have scores.</span></div>\n",
               partial  ? "It was interrupted; what is shown here is valid, the rest was never computed."
               : failed ? "What is shown here was complete by then and is valid."
                        : "The report shows what was there when it was written.",
               with_scores, r->n_prompts);
}

void lct_page_header(lct_html *h, const lct_run *r) {
  lct_html_raw(h, "<header><p class=\"kicker\">Activation scan</p><h1>");
  lct_html_text(h, r->name);
  lct_html_raw(h, "</h1><p class=\"sub\">");
  lct_html_text(h, model_name(r));
  lct_html_raw(h, " · ");
  text_or_dash(h, r->created_at);
  lct_html_raw(h, " · llmct-gpu ");
  text_or_dash(h, r->version);
  lct_html_raw(h, " · <span class=\"state\">");
  lct_html_text(h, r->state);
  lct_html_raw(h, "</span></p>\n");
  banner(h, r);
  lct_html_raw(h, "<div class=\"tiles\">\n");
  tokens_tile(h, r);
  time_tile(h, r);
  model_tile(h, r);
  machine_tile(h, r);
  lct_html_raw(h, "</div>\n");
  provenance(h, r);
  lct_html_raw(h, "</header>\n");
}
