/* lct_scan: the steps of a scan in order, and how it ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "scan/scan_impl.h"

static lct_status open_worker(scan *s, lct_error *err) {
  const lct_axes *a = s->axes;
  const lct_worker_options o = {.streams = a->pooled,
                                .n_streams = a->n_streams,
                                .positions = a->positions,
                                .n_positions = a->n_positions,
                                .max_rows = s->subject->device.batch_rows};
  LCT_TRY(lct_worker_new(s->subject, &o, &s->worker, err));
  lct_conversion c;
  LCT_TRY(lct_engine_conversion(lct_worker_engine(s->worker), &c, err));
  s->result->weights_overflow = c.overflow;
  s->result->weights_underflow = c.underflow;
  s->result->weights_nonfinite = c.nonfinite;
  return LCT_OK;
}

/* A pipeline frees its units, and this one is written when it has ended: what is in it changes places with an empty one, and comes back. */
static void change_places(lct_unit *a, lct_unit *b) {
  lct_unit t = *a;
  *a = *b;
  *b = t;
}

typedef struct {
  scan *s;
  bool fed;
} one_unit;

static lct_status feed(void *ctx, lct_unit **out, lct_error *err) {
  one_unit *x = ctx;
  *out = NULL;
  if (x->fed) return LCT_OK;
  LCT_TRY(lct_unit_new(out, err));
  change_places(*out, x->s->unit);
  x->fed = true;
  return LCT_OK;
}

static void take_back(void *ctx, lct_unit *u, lct_worker *w) {
  (void)w;
  change_places(u, ((scan *)ctx)->unit);
}

static lct_status take(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) {
  (void)err;
  take_back(ctx, u, w);
  return LCT_OK;
}

/* What the worker counted; prefix by prefix every item is run, every prompt once more for its generation, and every step. */
static void count(scan *s) {
  const lct_worker_stats *w = lct_worker_get_stats(s->worker);
  lct_scan_result *r = s->result;
  r->tokens_computed = w->tokens_computed;
  r->tokens_generated = w->tokens_generated;
  r->seconds.prefill = w->seconds_prefill;
  r->seconds.decode = w->seconds_decode;
  r->batch_rows_failed = w->batch_rows_failed;
  r->batch_rows_shrunk_to = w->batch_rows_shrunk_to;
  for (int32_t i = 0; i < s->unit->n_items; i++) {
    const lct_item *x = &s->unit->items[i];
    if (!x->done) continue;
    r->tokens_prefix_by_prefix += x->n_tokens;
    if (i < s->n_references) r->n_references++;
    else r->n_snapshots++;
  }
  for (int32_t i = 0; i < s->unit->n_generations; i++) {
    const lct_generation *g = &s->unit->generations[i];
    if (g->n > 0) r->tokens_prefix_by_prefix += s->unit->items[g->item].n_tokens + g->n - 1;
  }
}

static lct_status run(scan *s, lct_error *err) {
  if (s->o->keep == LCT_KEEP_TOKENS) {
    LCT_TRY(lct_files_new(&s->subject->cfg, s->scenario->capture.store_dtype, s->layers, s->subject->threads, &s->files.open, err));
    s->files.first_item = -1;
  }
  one_unit x = {.s = s};
  const lct_client client = scan_client(s), *clients = &client;
  const lct_feed from = {.ctx = &x, .next = feed};
  const lct_sink to = {.ctx = s, .take = take, .broken = take_back};
  lct_status status = lct_pipeline_run(&s->worker, 1, &clients, &from, &to, err);
  scan_files_close(s);
  count(s);
  return status;
}

static lct_status write_all(scan *s, lct_error *err) {
  double t0 = lct_seconds();
  scan_report(s, "write", 0, 1, 0);
  LCT_TRY(scan_write_manifests(s, err));
  if (s->o->keep == LCT_KEEP_POOLED) LCT_TRY(scan_write_vectors(s, err));
  LCT_TRY(scan_score_fingerprints(s, err));
  for (size_t i = 0; i < s->n_prompts; i++) {
    LCT_TRY(scan_write_scores(s, &s->prompts[i], err));
    LCT_TRY(scan_write_fingerprint_scores(s, &s->prompts[i], err));
  }
  s->result->seconds.write = lct_seconds() - t0;
  return LCT_OK;
}

/* After the directory exists: whatever happens, scan.json says how it ended, and what was complete by then is written; only where the
 * system refuses to store things nothing more is tried. */
static lct_status run_and_write(scan *s, lct_error *err) {
  lct_error own = {0}, later = {0};
  LCT_TRY(scan_write_state(s, "running", err));
  if (err == NULL) err = &own;
  lct_status status = run(s, err);
  const char *state = status == LCT_OK ? "done" : status == LCT_E_CANCELLED ? "partial" : "failed";
  if (status != LCT_OK && status != LCT_E_CANCELLED) s->failure = err->message;
  lct_status written = status == LCT_E_IO ? LCT_E_IO : write_all(s, &later);
  s->result->seconds.total = lct_seconds() - s->t_start;
  if (written != LCT_OK) state = "failed";
  if (written != LCT_OK && status == LCT_OK) {
    *err = later;
    status = written;
    s->failure = err->message;
  }
  /* the first failure is the one to tell; a full disk may refuse this line too */
  lct_status said = scan_write_state(s, state, &later);
  if (said != LCT_OK && status == LCT_OK) {
    *err = later;
    status = said;
  }
  s->result->written = written == LCT_OK && said == LCT_OK;
  return status;
}

static lct_status scan_all(scan *s, lct_error *err) {
  lct_status status = lct_unit_new(&s->unit, err);
  if (status == LCT_OK) status = scan_open(s, err);
  if (status == LCT_OK) status = scan_make_unit(s, err);
  if (status == LCT_OK) status = open_worker(s, err);
  s->result->seconds.load = lct_seconds() - s->t_start;
  LCT_TRY(status);
  s->result->n_prompts = (int)s->n_prompts;
  s->result->n_layers = s->subject->cfg.n_layers;
  s->result->tensor_bytes_full = scan_tensor_bytes(s);
  LCT_TRY(scan_make_dirs(s, err));
  return run_and_write(s, err);
}

lct_status lct_scan(const lct_scan_options *o, lct_scan_result *result, lct_error *err) {
  *result = (lct_scan_result){0};
  if (o->keep == LCT_KEEP_NOTHING) return lct_fail(err, LCT_E_USAGE, "a scan keeps scores, pooled or tokens");
  scan s = {.o = o, .result = result, .t_start = lct_seconds()};
  time_t now = time(NULL);
  struct tm utc;
  (void)strftime(s.created_at, sizeof s.created_at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  lct_status status = scan_all(&s, err);
  scan_close(&s);
  return status;
}
