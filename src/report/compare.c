#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "report/plain.h"
#include "report/published.h"
#include "report/report.h"
#include "report/load_run.h"

#define CELL 11      /* a reference's column */
#define WIDE_CELL 14 /* a source's column */
#define NAME 13
#define WRAP 100

/* Ours and theirs, cell by cell, for the summary under a table. */
typedef struct {
  double *ours, *theirs;
  size_t n, cap;
  double sum, max;
} pairs;

typedef struct {
  lct_buf *out;
  lct_error *err;
  const lct_published *pub;
  const lct_analysis *a;
  const lct_run *run;
  int *ours_of; /* (pub->n_references) our reference, -1 */
} ctx;

static lct_status note(ctx *c, const char *text) { return lct_plain_wrap(c->out, text, WRAP, 2, c->err); }

static void pairs_add(pairs *p, double ours, double theirs) {
  if (isnan(ours) || isnan(theirs) || p->n == p->cap) return;
  p->ours[p->n] = ours;
  p->theirs[p->n++] = theirs;
  double d = fabs(ours - theirs);
  p->sum += d;
  if (d > p->max) p->max = d;
}

static lct_status pairs_take(pairs *p, size_t cap, lct_error *err) {
  *p = (pairs){.cap = cap};
  LCT_TRY(lct_calloc(&p->ours, 2 * cap, sizeof *p->ours, "a comparison", err));
  p->theirs = p->ours + cap;
  return LCT_OK;
}

static lct_status pairs_say(ctx *c, const pairs *p) {
  if (p->n == 0) return note(c, "No cell can be compared.");
  lct_line_fit fit = lct_fit_line(p->theirs, p->ours, p->n);
  LCT_TRY(lct_buf_printf(c->out, c->err, "%zu cells: mean |difference| %.4f, largest %.4f, correlation ", p->n, p->sum / (double)p->n,
                         p->max));
  LCT_TRY(lct_plain_num(c->out, fit.r, 1, 3, false, c->err));
  return lct_buf_puts(c->out, "\n", c->err);
}

static lct_status heading(ctx *c, const char *text) { return lct_buf_printf(c->out, c->err, "\n%s\n", text); }

static lct_status head_cells(ctx *c, int cell, const char *const *names, size_t n) {
  LCT_TRY(lct_plain_pad(c->out, "", NAME + NAME, false, c->err));
  for (size_t i = 0; i < n; i++) {
    LCT_TRY(lct_buf_puts(c->out, " ", c->err));
    LCT_TRY(lct_plain_pad(c->out, names[i], cell - 1, true, c->err));
  }
  return lct_buf_puts(c->out, "\n", c->err);
}

static lct_status head_residual(ctx *c) {
  const char *names[LCT_N_RESIDUAL];
  for (int k = 0; k < LCT_N_RESIDUAL; k++) names[k] = lct_source_name(LCT_RESIDUAL_SOURCES[k]);
  return head_cells(c, WIDE_CELL, names, LCT_N_RESIDUAL);
}

/* Three lines: ours, published, difference. */
static lct_status triple(ctx *c, int cell, const char *name, const double *ours, const double *theirs, size_t n, int digits, pairs *p) {
  static const char *const WHAT[] = {"ours", "published", "difference"};
  for (int line = 0; line < 3; line++) {
    LCT_TRY(lct_plain_pad(c->out, line == 0 ? name : "", NAME, false, c->err));
    LCT_TRY(lct_plain_pad(c->out, WHAT[line], NAME, false, c->err));
    for (size_t i = 0; i < n; i++) {
      double v = line == 0 ? ours[i] : line == 1 ? theirs[i] : ours[i] - theirs[i];
      LCT_TRY(lct_plain_num(c->out, v, cell, digits, line == 2, c->err));
      if (line == 0 && p != NULL) pairs_add(p, ours[i], theirs[i]);
    }
    LCT_TRY(lct_buf_puts(c->out, "\n", c->err));
  }
  return LCT_OK;
}

static int snapshot_of_turn(const lct_scores *s, int turn) {
  for (size_t i = 0; i < s->n_snapshots; i++) {
    if (s->snapshots[i].index == turn && !s->snapshots[i].generated) return (int)i;
  }
  return -1;
}

/* Common references of one turn, and both winners among them. */
static size_t turn_cells(const ctx *c, const lct_pub_turn *t, int snapshot, double *ours, double *theirs, bool *same_winner) {
  size_t n = 0, best_ours = 0, best_theirs = 0;
  for (size_t r = 0; r < c->pub->n_references; r++) {
    if (c->ours_of[r] < 0) continue;
    ours[n] = lct_analysis_message(c->a, (size_t)snapshot, (size_t)c->ours_of[r], LCT_STAT_COSINE);
    theirs[n] = t->cosine[r];
    if (ours[n] > ours[best_ours]) best_ours = n;
    if (theirs[n] > theirs[best_theirs]) best_theirs = n;
    n++;
  }
  *same_winner = best_ours == best_theirs;
  return n;
}

static lct_status turn_rows(ctx *c, double *ours, double *theirs, pairs *p) {
  lct_buf missing = {0};
  int compared = 0, agree = 0;
  lct_status st = LCT_OK;
  for (size_t i = 0; i < c->pub->n_turns && st == LCT_OK; i++) {
    const lct_pub_turn *t = &c->pub->turns[i];
    int snapshot = snapshot_of_turn(c->a->scores, t->turn);
    if (snapshot < 0) {
      st = lct_buf_printf(&missing, c->err, "%s%d", missing.len > 0 ? ", " : "", t->turn);
      continue;
    }
    bool same = false;
    char name[24];
    (void)snprintf(name, sizeof name, "message %d", t->turn);
    size_t n = turn_cells(c, t, snapshot, ours, theirs, &same);
    st = triple(c, CELL, name, ours, theirs, n, 3, p);
    compared++;
    agree += same ? 1 : 0;
  }
  if (st == LCT_OK) st = pairs_say(c, p);
  if (st == LCT_OK && compared > 0) {
    st = lct_buf_printf(c->out, c->err, "Same highest reference in %d of %d messages.\n", agree, compared);
  }
  if (st == LCT_OK && missing.len > 0) {
    st = lct_buf_printf(c->out, c->err, "Cannot be compared: published messages %s; this run has %zu.\n", missing.data,
                        c->a->scores->n_snapshots);
  }
  lct_buf_free(&missing);
  return st;
}

static lct_status compare_turns(ctx *c) {
  size_t n_ref = c->pub->n_references, n = 0;
  LCT_TRY(heading(c, "Message x reference, mean cosine over layers and sources"));
  if (c->pub->n_turns == 0) return note(c, "The published file has no such table.");
  const char **names = NULL;
  double *ours = NULL;
  pairs p = {0};
  lct_status st = lct_calloc(&names, n_ref, sizeof *names, "a comparison", c->err);
  if (st == LCT_OK) st = lct_calloc(&ours, 2 * n_ref, sizeof *ours, "a comparison", c->err);
  if (st == LCT_OK) st = pairs_take(&p, c->pub->n_turns * n_ref, c->err);
  for (size_t r = 0; st == LCT_OK && r < n_ref; r++) {
    if (c->ours_of[r] >= 0) names[n++] = c->pub->references[r];
  }
  if (st == LCT_OK) st = head_cells(c, CELL, names, n);
  if (st == LCT_OK) st = turn_rows(c, ours, ours + n_ref, &p);
  free(p.ours);
  free(ours);
  free(names);
  return st;
}

/* Our value in a source column, NaN when this run lacks the source. */
static double our_source(const ctx *c, const lct_role_average *avg, int k, int ref, lct_stat stat) {
  return c->a->residual[k] < 0 ? NAN : lct_average_source(c->a, avg, (size_t)c->a->residual[k], (size_t)ref, stat);
}

static lct_status compare_sources(ctx *c) {
  LCT_TRY(heading(c, "Reference x source, mean cosine over all messages"));
  if (c->pub->by_source == NULL) return note(c, "The published file has no such table.");
  LCT_TRY(head_residual(c));
  pairs p = {0};
  lct_status st = pairs_take(&p, c->pub->n_references * LCT_N_RESIDUAL, c->err);
  for (size_t r = 0; r < c->pub->n_references && st == LCT_OK; r++) {
    if (c->ours_of[r] < 0) continue;
    double ours[LCT_N_RESIDUAL];
    for (int k = 0; k < LCT_N_RESIDUAL; k++) ours[k] = our_source(c, &c->a->all, k, c->ours_of[r], LCT_STAT_COSINE);
    st = triple(c, WIDE_CELL, c->pub->references[r], ours, c->pub->by_source + r * LCT_N_RESIDUAL, LCT_N_RESIDUAL, 3, &p);
  }
  if (st == LCT_OK) st = pairs_say(c, &p);
  free(p.ours);
  return st;
}

/* The published role means against the means of the published per-reference tables: where they differ, say so. */
static lct_status check_published_means(ctx *c, const double *role, const double *table, const char *name) {
  if (table == NULL || c->pub->n_references == 0) return LCT_OK;
  bool differs = false;
  double means[LCT_N_RESIDUAL];
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    double sum = 0;
    for (size_t r = 0; r < c->pub->n_references; r++) sum += table[(r * LCT_N_RESIDUAL + (size_t)k) * LCT_PUB_N_STATS];
    means[k] = sum / (double)c->pub->n_references;
    differs = differs || fabs(means[k] - role[k]) > 6e-4;
  }
  if (!differs) return LCT_OK;
  return lct_buf_printf(c->out, c->err,
                        "Note: the published %s means are not the means of the published table by reference (%.4f %.4f %.4f %.4f).\n", name,
                        means[0], means[1], means[2], means[3]);
}

static lct_status compare_roles(ctx *c) {
  LCT_TRY(heading(c, "Role means of the cosine over references"));
  if (c->pub->role_user == NULL) return note(c, "The published file has no such table.");
  LCT_TRY(head_residual(c));
  double user[LCT_N_RESIDUAL], assistant[LCT_N_RESIDUAL], pub_gap[LCT_N_RESIDUAL];
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    int src = c->a->residual[k];
    user[k] = src < 0 ? NAN : c->a->user.source_mean[src];
    assistant[k] = src < 0 ? NAN : c->a->assistant.source_mean[src];
    pub_gap[k] = c->pub->role_user[k] - c->pub->role_assistant[k];
  }
  LCT_TRY(triple(c, WIDE_CELL, "user", user, c->pub->role_user, LCT_N_RESIDUAL, 3, NULL));
  LCT_TRY(triple(c, WIDE_CELL, "assistant", assistant, c->pub->role_assistant, LCT_N_RESIDUAL, 3, NULL));
  LCT_TRY(triple(c, WIDE_CELL, "gap", c->a->findings.gap, pub_gap, LCT_N_RESIDUAL, 3, NULL));
  LCT_TRY(check_published_means(c, c->pub->role_user, c->pub->user, "user"));
  return check_published_means(c, c->pub->role_assistant, c->pub->assistant, "assistant");
}

_Static_assert(LCT_STAT_COSINE == 0 && LCT_STAT_MAE == 1 && LCT_STAT_JACCARD == 2 && LCT_PUB_N_STATS == 3, "the published tables' order");

/* Cosine, MAE and Jaccard of a role: too many numbers for a terminal, so the differences' size per source and metric. */
static lct_status compare_metrics(ctx *c, const lct_role_average *avg, const double *table, const char *name) {
  static const char *const METRIC[] = {"cosine", "MAE", "Jaccard"};
  if (table == NULL) return LCT_OK;
  LCT_TRY(lct_buf_printf(c->out, c->err, "\n%s messages by reference: mean (largest) |difference| per source\n", name));
  for (int st = 0; st < LCT_PUB_N_STATS; st++) {
    LCT_TRY(lct_plain_pad(c->out, METRIC[st], NAME, false, c->err));
    for (int k = 0; k < LCT_N_RESIDUAL; k++) {
      double sum = 0, max = 0;
      size_t n = 0;
      for (size_t r = 0; r < c->pub->n_references; r++) {
        if (c->ours_of[r] < 0) continue;
        double theirs = table[(r * LCT_N_RESIDUAL + (size_t)k) * LCT_PUB_N_STATS + (size_t)st];
        double d = fabs(our_source(c, avg, k, c->ours_of[r], (lct_stat)st) - theirs);
        if (isnan(d)) continue;
        sum += d;
        max = fmax(max, d);
        n++;
      }
      LCT_TRY(lct_buf_printf(c->out, c->err, "  %s ", lct_source_name(LCT_RESIDUAL_SOURCES[k])));
      LCT_TRY(lct_plain_num(c->out, n > 0 ? sum / (double)n : NAN, 1, 4, false, c->err));
      LCT_TRY(lct_buf_puts(c->out, " (", c->err));
      LCT_TRY(lct_plain_num(c->out, n > 0 ? max : NAN, 1, 4, false, c->err));
      LCT_TRY(lct_buf_puts(c->out, ")", c->err));
    }
    LCT_TRY(lct_buf_puts(c->out, "\n", c->err));
  }
  return LCT_OK;
}

static lct_status top_side(ctx *c, int layer, int n_layers, double spread, const char *highest, double hi, const char *lowest, double lo) {
  LCT_TRY(lct_buf_printf(c->out, c->err, "%4d (%3.0f %%) %8.4f  ", layer, n_layers > 1 ? 100.0 * layer / (n_layers - 1) : 0, spread));
  LCT_TRY(lct_plain_pad(c->out, highest, 9, false, c->err));
  LCT_TRY(lct_buf_printf(c->out, c->err, " %6.3f  ", hi));
  LCT_TRY(lct_plain_pad(c->out, lowest, 9, false, c->err));
  return lct_buf_printf(c->out, c->err, " %6.3f", lo);
}

/* Layers of the model, not of the scan, which may have looked at some only. */
static int our_layers(const ctx *c) {
  const lct_scores *s = c->a->scores;
  if (c->run->model.n_layers > 0 && c->run->model.n_layers < INT32_MAX) return (int)c->run->model.n_layers;
  return s->n_layers > 0 ? s->layers[s->n_layers - 1] + 1 : 0;
}

static lct_status compare_layers(ctx *c) {
  const lct_scores *s = c->a->scores;
  int src = c->a->residual[0], layers = our_layers(c);
  LCT_TRY(heading(c, "Most discriminative layers of hidden_in, user messages (layer, depth, spread, highest, lowest)"));
  if (c->pub->n_top == 0) return note(c, "The published file has no such table.");
  if (src < 0) return note(c, "Cannot be compared: this run has no hidden_in.");
  if (c->pub->n_layers != layers) {
    LCT_TRY(lct_buf_printf(c->out, c->err, "The published model has %d layers, this one %d: compare depths, not layer numbers.\n",
                           c->pub->n_layers, layers));
  }
  for (size_t i = 0; i < c->pub->n_top; i++) {
    const lct_layer_spread *t = i < s->n_layers ? &c->a->user.spread_top[(size_t)src * s->n_layers + i] : NULL;
    const lct_pub_layer *q = &c->pub->top[i];
    LCT_TRY(lct_plain_pad(c->out, "ours", NAME, false, c->err));
    if (t != NULL && !isnan(t->spread)) {
      LCT_TRY(top_side(c, s->layers[t->layer_pos], layers, t->spread, s->references[t->highest], t->highest_value, s->references[t->lowest],
                       t->lowest_value));
    } else {
      LCT_TRY(lct_buf_puts(c->out, "-", c->err));
    }
    LCT_TRY(lct_buf_puts(c->out, "\n", c->err));
    LCT_TRY(lct_plain_pad(c->out, "published", NAME, false, c->err));
    LCT_TRY(top_side(c, q->layer, c->pub->n_layers, q->spread, q->highest, q->highest_value, q->lowest, q->lowest_value));
    LCT_TRY(lct_buf_puts(c->out, "\n", c->err));
  }
  return LCT_OK;
}

static lct_status compare_intra(ctx *c) {
  static const char *const NAMES[LCT_PUB_N_INTRA] = {"mean", "std", "median", "min"};
  LCT_TRY(heading(c, "From prompt to reply, cosine over layers"));
  if (c->pub->intra == NULL) return note(c, "The published file has no such table.");
  if (c->a->intra == NULL) return note(c, "Cannot be compared: this run generated fewer than two tokens.");
  LCT_TRY(head_cells(c, WIDE_CELL, NAMES, LCT_PUB_N_INTRA));
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (c->a->residual[k] < 0) continue;
    const lct_series_stats *v = &c->a->intra[(size_t)c->a->residual[k] * LCT_N_STATS];
    const double ours[LCT_PUB_N_INTRA] = {v->mean, v->std, v->median, v->min};
    LCT_TRY(triple(c, WIDE_CELL, lct_source_name(LCT_RESIDUAL_SOURCES[k]), ours, c->pub->intra + k * LCT_PUB_N_INTRA, LCT_PUB_N_INTRA, 3,
                   NULL));
  }
  return LCT_OK;
}

/* Labels of one side that the other has not. */
static lct_status missing_labels(ctx *c, char *const *labels, size_t n, char *const *others, size_t n_others, const char *what) {
  lct_buf line = {0};
  lct_status st = LCT_OK;
  for (size_t i = 0; i < n && st == LCT_OK; i++) {
    if (lct_label_find(others, n_others, labels[i]) >= 0) continue;
    st = line.len == 0 ? lct_buf_puts(&line, what, c->err) : lct_buf_puts(&line, ",", c->err);
    if (st == LCT_OK) st = lct_buf_printf(&line, c->err, " %s", labels[i]);
  }
  if (st == LCT_OK && line.len > 0) st = note(c, line.data);
  lct_buf_free(&line);
  return st;
}

static lct_status introduction(ctx *c, const lct_run_prompt *p) {
  const lct_scores *s = c->a->scores;
  const char *id = c->run->model.id != NULL ? c->run->model.id : "unnamed model";
  LCT_TRY(lct_buf_puts(c->out, "This run, ", c->err));
  LCT_TRY(lct_plain_pad(c->out, p->name, (int)strlen(p->name), false, c->err));
  LCT_TRY(lct_buf_puts(c->out, ", beside the published numbers\nours:      ", c->err));
  LCT_TRY(lct_plain_wrap(c->out, id, WRAP, 11, c->err));
  LCT_TRY(lct_buf_puts(c->out, "published: ", c->err));
  LCT_TRY(lct_plain_wrap(c->out, c->pub->model, WRAP, 11, c->err));
  if (strcasecmp(id, c->pub->model) != 0) {
    LCT_TRY(note(c,
                 "The models differ, so the differences below are between models (and conversations, unless the original scenario "
                 "was scanned), not errors."));
  }
  if (strcmp(s->poolings[c->a->pooling], "last") != 0) {
    LCT_TRY(note(c, "This run has no pooling `last`, which the published numbers use."));
  }
  LCT_TRY(missing_labels(c, c->pub->references, c->pub->n_references, s->references, s->n_references,
                         "Cannot be compared, not in this run:"));
  return missing_labels(c, s->references, s->n_references, c->pub->references, c->pub->n_references, "Cannot be compared, not published:");
}

static lct_status compare_all(ctx *c, const lct_run_prompt *p) {
  bool any = false;
  for (size_t r = 0; r < c->pub->n_references; r++) {
    c->ours_of[r] = lct_label_find(c->a->scores->references, c->a->scores->n_references, c->pub->references[r]);
    any = any || c->ours_of[r] >= 0;
  }
  LCT_TRY(introduction(c, p));
  if (any) {
    LCT_TRY(compare_turns(c));
    LCT_TRY(compare_sources(c));
  } else {
    LCT_TRY(note(c, "No reference is in both, so the tables by reference cannot be compared."));
  }
  LCT_TRY(compare_roles(c));
  if (any) {
    LCT_TRY(compare_metrics(c, &c->a->user, c->pub->user, "User"));
    LCT_TRY(compare_metrics(c, &c->a->assistant, c->pub->assistant, "Assistant"));
  }
  LCT_TRY(compare_layers(c));
  return compare_intra(c);
}

/* With a prompt per message prefix, the one that has the whole conversation. */
static const lct_run_prompt *longest_prompt(const lct_run *r) {
  const lct_run_prompt *best = NULL;
  for (size_t i = 0; i < r->n_prompts; i++) {
    const lct_run_prompt *p = &r->prompts[i];
    if (p->main != NULL && (best == NULL || p->scores->n_snapshots > best->scores->n_snapshots)) best = p;
  }
  return best;
}

lct_status lct_report_published(const char *run_dir, const char *published_path, lct_buf *out, lct_error *err) {
  lct_run *run = NULL;
  lct_published *pub = NULL;
  ctx c = {.out = out, .err = err};
  lct_status st = lct_run_load(run_dir, &run, err);
  if (st == LCT_OK) st = lct_published_load(published_path, &pub, err);
  if (st == LCT_OK) st = lct_calloc(&c.ours_of, pub->n_references, sizeof *c.ours_of, "a comparison", err);
  if (st == LCT_OK) {
    const lct_run_prompt *p = longest_prompt(run);
    c.run = run;
    c.pub = pub;
    if (p == NULL) {
      st = lct_fail(err, LCT_E_USAGE, "%s: no prompt of this run has scores to compare", run_dir);
    } else {
      c.a = p->main;
      st = compare_all(&c, p);
    }
  }
  free(c.ours_of);
  lct_published_free(pub);
  lct_run_free(run);
  return st;
}
