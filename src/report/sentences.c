#include "report/sentences.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP_LAYERS 5

typedef struct {
  char text[40];
} num_text;

static num_text num(double v, int digits) {
  num_text t;
  if (isnan(v)) {
    (void)snprintf(t.text, sizeof t.text, "-");
  } else {
    (void)snprintf(t.text, sizeof t.text, "%.*f", digits, v);
  }
  return t;
}

static num_text plus(double v) {
  num_text t = num(v, 3), out = t;
  if (v > 0) (void)snprintf(out.text, sizeof out.text, "+%.38s", t.text);
  return out;
}

static const char *ref_name(const lct_analysis *a, int ref) { return ref >= 0 ? a->scores->references[ref] : "-"; }

static lct_status nothing(lct_finding *f, const char *why, lct_error *err) {
  LCT_TRY(lct_buf_puts(&f->figure, "-", err));
  return lct_buf_puts(&f->body, why, err);
}

const char *lct_headline_messages(const lct_analysis *a) { return a->findings.contrast.average == &a->user ? "the user's" : "all"; }

lct_status lct_headline_write(const lct_analysis *a, lct_finding *f, lct_error *err) {
  const lct_contrast_findings *c = &a->findings.contrast;
  f->title = "Contrast";
  if (c->n == 0) return nothing(f, "No message has a cosine to any reference.", err);
  if (a->scores->n_references == 1) return nothing(f, "It needs a second reference to tell the first one from.", err);
  int ends[] = {c->order[0], c->order[c->n - 1]};
  double contrasts[2], cosines[2];
  for (int i = 0; i < 2; i++) {
    contrasts[i] = lct_average_message(a, c->average, (size_t)ends[i], LCT_STAT_CONTRAST);
    cosines[i] = lct_average_message(a, c->average, (size_t)ends[i], LCT_STAT_COSINE);
  }
  LCT_TRY(lct_buf_printf(&f->figure, err, "%s %s", ref_name(a, ends[0]), plus(contrasts[0]).text));
  return lct_buf_printf(
      &f->body, err,
      "Highest of the mean contrasts over %s messages (raw cosine %s); %s is lowest with %s (raw cosine %s). A contrast is a "
      "cosine less its mean over the references of the same message, source and layer: raw cosines between residual vectors "
      "share an offset, here %s, that tells nothing about any one of them.",
      lct_headline_messages(a), num(cosines[0], 3).text, ref_name(a, ends[1]), plus(contrasts[1]).text, num(cosines[1], 3).text,
      num(c->offset, 3).text);
}

static lct_status backbone(const lct_analysis *a, lct_finding *f, lct_error *err) {
  const lct_findings *v = &a->findings;
  f->title = "Backbone";
  if (isnan(v->backbone_min)) return nothing(f, "The run has no scores of the residual stream.", err);
  LCT_TRY(lct_buf_printf(&f->figure, err, "%s to %s", num(v->backbone_min, 3).text, num(v->backbone_max, 3).text));
  LCT_TRY(lct_buf_printf(&f->body, err,
                         "Averaged over layers and messages, the residual stream (hidden_in, hidden_out) has a cosine between %s (%s) "
                         "and %s (%s) to every reference, a contrast between %s and %s.",
                         num(v->backbone_min, 3).text, ref_name(a, v->backbone_min_ref), num(v->backbone_max, 3).text,
                         ref_name(a, v->backbone_max_ref), plus(v->contrast.backbone_min).text, plus(v->contrast.backbone_max).text));
  if (isnan(v->sublayer_min)) return LCT_OK;
  return lct_buf_printf(&f->body, err, " What attention and MLP add to it lies between %s and %s.", num(v->sublayer_min, 3).text,
                        num(v->sublayer_max, 3).text);
}

static int compare_int(const void *a, const void *b) {
  int x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x > y) - (x < y);
}

/* "29-33", "3, 29-31": the top layers in ascending order. */
static lct_status layer_ranges(int *layers, size_t n, lct_buf *out, lct_error *err) {
  qsort(layers, n, sizeof *layers, compare_int);
  for (size_t i = 0; i < n;) {
    size_t j = i;
    while (j + 1 < n && layers[j + 1] == layers[j] + 1) j++;
    LCT_TRY(lct_buf_printf(out, err, "%s%d", i > 0 ? ", " : "", layers[i]));
    if (j > i) LCT_TRY(lct_buf_printf(out, err, "%s%d", j > i + 1 ? "-" : ", ", layers[j]));
    i = j + 1;
  }
  return LCT_OK;
}

static lct_status sharpest(const lct_analysis *a, lct_finding *f, lct_error *err) {
  f->title = "Sharpest layers";
  const lct_scores *s = a->scores;
  int src = a->findings.sharpest_source;
  const lct_role_average *avg = a->user.n_snapshots > 0 ? &a->user : &a->all;
  int layers[TOP_LAYERS];
  size_t n = 0;
  if (src < 0 || s->n_layers == 0) return nothing(f, "The run has no layers.", err);
  const lct_layer_spread *top = avg->spread_top + (size_t)src * s->n_layers;
  while (n < TOP_LAYERS && n < s->n_layers && !isnan(top[n].spread)) {
    layers[n] = s->layers[top[n].layer_pos];
    n++;
  }
  if (n == 0) return nothing(f, "No layer has scores.", err);
  LCT_TRY(lct_buf_puts(&f->figure, n > 1 ? "layers " : "layer ", err));
  LCT_TRY(layer_ranges(layers, n, &f->figure, err));
  return lct_buf_printf(&f->body, err,
                        "In %s these %zu layers hold the references furthest apart (%s). Layer %d leads: %s (%s) lies %s above %s (%s).",
                        s->sources[src], n, avg == &a->user ? "mean over user messages" : "mean over all messages",
                        s->layers[top[0].layer_pos], ref_name(a, top[0].highest), num(top[0].highest_value, 3).text,
                        num(top[0].spread, 3).text, ref_name(a, top[0].lowest), num(top[0].lowest_value, 3).text);
}

static lct_status shock_absorber(const lct_analysis *a, lct_finding *f, lct_error *err) {
  const double *gap = a->findings.gap;
  f->title = "Shock absorber";
  double lo = NAN, hi = NAN;
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (isnan(gap[k])) continue;
    lo = isnan(lo) ? gap[k] : fmin(lo, gap[k]);
    hi = isnan(hi) ? gap[k] : fmax(hi, gap[k]);
  }
  if (isnan(lo)) return nothing(f, "It needs both user and assistant messages with scores.", err);
  LCT_TRY(lct_buf_printf(&f->figure, err, "%s to %s", plus(lo).text, plus(hi).text));
  LCT_TRY(lct_buf_puts(&f->body, "User minus assistant, mean cosine over references and layers:", err));
  const char *sep = " ";
  for (int k = 0; k < LCT_N_RESIDUAL; k++) {
    if (a->residual[k] < 0) continue;
    LCT_TRY(lct_buf_printf(&f->body, err, "%s%s %s", sep, lct_source_name(LCT_RESIDUAL_SOURCES[k]), plus(gap[k]).text));
    sep = ", ";
  }
  const char *sum = lo > 0   ? ". After the assistant's messages the state lies further from the references."
                    : hi < 0 ? ". Here the assistant's messages lie closer: no damping."
                             : ". The sources disagree about the direction.";
  return lct_buf_puts(&f->body, sum, err);
}

static lct_status default_emotion(const lct_analysis *a, lct_finding *f, lct_error *err) {
  const lct_findings *v = &a->findings;
  f->title = "Default emotion";
  bool user = v->n_user > 0;
  int ref = user ? v->default_user : v->default_all, n = user ? v->n_user : v->n_all;
  const int *wins = user ? v->wins_user : v->wins_all;
  if (ref < 0) return nothing(f, "No message has a highest reference.", err);
  LCT_TRY(lct_buf_printf(&f->figure, err, "%s, %d of %d", ref_name(a, ref), wins[ref], n));
  LCT_TRY(lct_buf_printf(&f->body, err, "Highest reference of %s messages:", user ? "the user's" : "all"));
  const char *sep = " ";
  for (int count = n; count > 0; count--) {
    for (size_t r = 0; r < a->scores->n_references; r++) {
      if (wins[r] != count) continue;
      LCT_TRY(lct_buf_printf(&f->body, err, "%s%s %d", sep, a->scores->references[r], count));
      sep = ", ";
    }
  }
  int tied = 0;
  for (size_t r = 0; r < a->scores->n_references; r++) tied += wins[r] == wins[ref] ? 1 : 0;
  if (tied > 1) LCT_TRY(lct_buf_printf(&f->body, err, " (a tie; %s has the highest mean)", ref_name(a, ref)));
  if (!user || v->default_all < 0) return lct_buf_puts(&f->body, ".", err);
  return lct_buf_printf(&f->body, err, ". Over all %d messages: %s, %d times.", v->n_all, ref_name(a, v->default_all),
                        v->wins_all[v->default_all]);
}

static lct_status fading(const lct_analysis *a, lct_finding *f, lct_error *err) {
  const lct_findings *v = &a->findings;
  f->title = "Fading";
  if (v->first < 0 || v->first == v->last) return nothing(f, "It needs at least two user messages with scores.", err);
  LCT_TRY(lct_buf_printf(&f->figure, err, "%s to %s", num(v->first_value, 3).text, num(v->last_value, 3).text));
  return lct_buf_printf(&f->body, err,
                        "Best reference of the first user message (%s) and of the last (%s); %s itself ends at %s. Over the %zu user "
                        "messages the best cosine changes by %s per message (r = %s). Its contrast goes from %s to %s.",
                        ref_name(a, v->first_ref), ref_name(a, v->last_ref), ref_name(a, v->first_ref), num(v->first_ref_at_last, 3).text,
                        v->fade.n, num(v->fade.slope, 4).text, num(v->fade.r, 2).text, plus(v->contrast.first).text,
                        plus(v->contrast.last).text);
}

lct_status lct_finding_write(const lct_analysis *a, int i, lct_finding *f, lct_error *err) {
  switch (i) {
  case 0: return backbone(a, f, err);
  case 1: return sharpest(a, f, err);
  case 2: return shock_absorber(a, f, err);
  case 3: return default_emotion(a, f, err);
  case 4: return fading(a, f, err);
  default: return lct_fail(err, LCT_E_INTERNAL, "there is no finding %d", i + 1);
  }
}

void lct_finding_free(lct_finding *f) {
  lct_buf_free(&f->figure);
  lct_buf_free(&f->body);
}
