#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "report/page.h"
#include "report/plain.h"
#include "report/report.h"
#include "report/sentences.h"

#define MIN_CELL 8 /* "  0.831*" */
#define MAX_CELL 14
#define LEFT 8 /* "  0 usr " */
#define MIN_WIDTH 40
#define MIN_PREVIEW 16
#define MAX_PREVIEW 60

static lct_status title(lct_buf *out, const lct_run *r, int width, lct_error *err) {
  lct_buf line = {0};
  lct_status st = lct_buf_printf(&line, err, "%s: %s, state %s", r->name, r->model.id != NULL ? r->model.id : "unnamed model", r->state);
  if (st == LCT_OK && r->tokens_computed >= 0 && r->tokens_naive >= 0) {
    st = lct_buf_printf(&line, err, "; %lld tokens computed where prefix by prefix takes %lld", (long long)r->tokens_computed,
                        (long long)r->tokens_naive);
    if (st == LCT_OK && r->tokens_computed > 0) {
      st = lct_buf_printf(&line, err, " (%.1fx)", (double)r->tokens_naive / (double)r->tokens_computed);
    }
  }
  if (st == LCT_OK && !isnan(r->seconds.total)) st = lct_buf_printf(&line, err, "; %.1f s", r->seconds.total);
  if (st == LCT_OK) st = lct_plain_wrap(out, line.data, width, 2, err);
  lct_buf_free(&line);
  if (st != LCT_OK || strcmp(r->state, "done") == 0) return st;
  return lct_plain_wrap(out, "This run is not complete: what is shown was computed, the rest was not.", width, 2, err);
}

/* Columns [from, to) of the table; preview: width of the message column, 0 for none; cell: a reference's column with its mark. */
typedef struct {
  size_t from, to;
  int cell, preview;
} columns;

static lct_status table_head(lct_buf *out, const lct_scores *s, const columns *c, lct_error *err) {
  LCT_TRY(lct_plain_pad(out, "  # who", LEFT, false, err));
  if (c->preview > 0) {
    LCT_TRY(lct_plain_pad(out, "message", c->preview, false, err));
    LCT_TRY(lct_buf_puts(out, " ", err));
  }
  for (size_t r = c->from; r < c->to; r++) {
    LCT_TRY(lct_plain_pad(out, s->references[r], c->cell - 1, true, err));
    LCT_TRY(lct_buf_puts(out, " ", err));
  }
  while (out->len > 0 && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
  return lct_buf_puts(out, "\n", err);
}

static lct_status table_row(lct_buf *out, const lct_analysis *a, size_t i, const columns *c, lct_error *err) {
  const lct_snapshot *snap = &a->scores->snapshots[i];
  LCT_TRY(lct_buf_printf(out, err, "%3d %s ", snap->index, snap->generated ? "rep" : lct_role_short(snap->role)));
  if (c->preview > 0) {
    LCT_TRY(lct_plain_pad(out, snap->preview, c->preview, false, err));
    LCT_TRY(lct_buf_puts(out, " ", err));
  }
  for (size_t r = c->from; r < c->to; r++) {
    LCT_TRY(lct_plain_num(out, lct_analysis_message(a, i, r, LCT_STAT_COSINE), c->cell - 1, 3, false, err));
    LCT_TRY(lct_buf_puts(out, a->best[i] == (int)r ? "*" : " ", err));
  }
  while (out->len > 0 && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
  return lct_buf_puts(out, "\n", err);
}

/* A mean over messages below their rows. */
static lct_status mean_row(lct_buf *out, const lct_analysis *a, const char *name, lct_stat stat, const columns *c, lct_error *err) {
  LCT_TRY(lct_plain_pad(out, name, c->preview > 0 ? LEFT + c->preview + 1 : LEFT, false, err));
  for (size_t r = c->from; r < c->to; r++) {
    double v = lct_average_message(a, a->findings.contrast.average, r, stat);
    LCT_TRY(lct_plain_num(out, v, c->cell - 1, 3, stat == LCT_STAT_CONTRAST, err));
    if (r + 1 < c->to) LCT_TRY(lct_buf_puts(out, " ", err));
  }
  return lct_buf_puts(out, "\n", err);
}

/* Wide enough for the longest label where the line has room for it. */
static int cell_width(const lct_scores *s, int width) {
  int cell = MIN_CELL;
  for (size_t r = 0; r < s->n_references; r++) {
    size_t n = lct_utf8_count(s->references[r], strlen(s->references[r])) + 2;
    if (n > (size_t)cell) cell = n < MAX_CELL ? (int)n : MAX_CELL;
  }
  size_t room = (size_t)(width - LEFT);
  return s->n_references <= room / (size_t)cell ? cell : MIN_CELL;
}

static lct_status main_table(lct_buf *out, const lct_analysis *a, int width, lct_error *err) {
  const lct_scores *s = a->scores;
  lct_buf line = {0};
  lct_status st = lct_buf_printf(&line, err,
                                 "Mean cosine over layers and sources, pooling %s; * marks a message's highest reference. Below: mean and "
                                 "contrast over %s messages.",
                                 s->poolings[a->pooling], lct_headline_messages(a));
  if (st == LCT_OK) st = lct_plain_wrap(out, line.data, width, 0, err);
  lct_buf_free(&line);
  LCT_TRY(st);
  columns c = {.cell = cell_width(s, width)};
  size_t fit = (size_t)((width - LEFT) / c.cell);
  c.preview = width - LEFT - 1 - c.cell * (int)(s->n_references < fit ? s->n_references : fit);
  if (c.preview < MIN_PREVIEW) c.preview = 0;
  if (c.preview > MAX_PREVIEW) c.preview = MAX_PREVIEW;
  for (; c.from < s->n_references; c.from = c.to) {
    c.to = c.from + fit < s->n_references ? c.from + fit : s->n_references;
    if (c.from > 0) LCT_TRY(lct_buf_puts(out, "\n", err));
    LCT_TRY(table_head(out, s, &c, err));
    for (size_t i = 0; i < s->n_snapshots; i++) LCT_TRY(table_row(out, a, i, &c, err));
    LCT_TRY(mean_row(out, a, "mean", LCT_STAT_COSINE, &c, err));
    LCT_TRY(mean_row(out, a, "contrast", LCT_STAT_CONTRAST, &c, err));
  }
  return LCT_OK;
}

/* The headline, then the five findings. */
static lct_status findings(lct_buf *out, const lct_analysis *a, int width, lct_error *err) {
  lct_status st = lct_buf_puts(out, "\n", err);
  for (int i = -1; i < LCT_N_FINDINGS && st == LCT_OK; i++) {
    lct_finding f = {0};
    lct_buf line = {0};
    st = i < 0 ? lct_headline_write(a, &f, err) : lct_finding_write(a, i, &f, err);
    if (st == LCT_OK && i >= 0) st = lct_buf_printf(&line, err, "%d. ", i + 1);
    if (st == LCT_OK) st = lct_buf_printf(&line, err, "%s: %s. %s", f.title, f.figure.data, f.body.data);
    if (st == LCT_OK) st = lct_plain_wrap(out, line.data, width, 3, err);
    lct_buf_free(&line);
    lct_finding_free(&f);
  }
  if (st != LCT_OK || a->scores->n_nan == 0) return st;
  char line[128];
  (void)snprintf(line, sizeof line, "%zu of %zu scores are undefined and left out of every mean.", a->scores->n_nan, a->scores->n_values);
  return lct_plain_wrap(out, line, width, 0, err);
}

static lct_status prompt(lct_buf *out, const lct_run *r, const lct_run_prompt *p, int width, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, "\n", err));
  if (r->n_prompts > 1) LCT_TRY(lct_plain_wrap(out, p->name, width, 0, err));
  if (p->scores == NULL) return lct_plain_wrap(out, "No scores: the run stopped before this prompt.", width, 0, err);
  if (p->main == NULL || p->scores->n_references == 0) return lct_plain_wrap(out, "No references, so no scores.", width, 0, err);
  LCT_TRY(main_table(out, p->main, width, err));
  return findings(out, p->main, width, err);
}

lct_status lct_report_text(const char *run_dir, int width, lct_buf *out, lct_error *err) {
  lct_run *r = NULL;
  LCT_TRY(lct_run_load(run_dir, &r, err));
  if (width < MIN_WIDTH) width = MIN_WIDTH;
  lct_status st = title(out, r, width, err);
  for (size_t i = 0; i < r->n_prompts && st == LCT_OK; i++) st = prompt(out, r, &r->prompts[i], width, err);
  lct_run_free(r);
  return st;
}
