/* lct_scan: the steps of a scan in order, and how it ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "scan/scan_impl.h"

static lct_status open_engine(scan *s, lct_error *err) {
  LCT_TRY(lct_threads_new(s->o->threads, &s->threads, err));
  LCT_TRY(lct_device_engine(&s->device, s->model, s->threads, &s->engine, err));
  lct_conversion c;
  LCT_TRY(lct_engine_conversion(s->engine, &c, err));
  s->result->weights_overflow = c.overflow;
  s->result->weights_underflow = c.underflow;
  s->result->weights_nonfinite = c.nonfinite;
  s->max_rows = s->device.batch_rows;
  return LCT_OK;
}

static lct_status choose_device(scan *s, lct_error *err) {
  LCT_TRY(lct_device_resolve(s->o->device, s->o->precision, &s->device, err));
  s->result->precision = s->device.precision;
  (void)snprintf(s->result->device, sizeof s->result->device, "%s", s->device.label);
  (void)snprintf(s->result->device_name, sizeof s->result->device_name, "%s", s->device.name);
  return LCT_OK;
}

static lct_status write_all(scan *s, lct_error *err) {
  double t0 = lct_seconds();
  scan_report(s, "write", 0, 1, 0);
  LCT_TRY(scan_write_manifests(s, err));
  if (s->o->keep == LCT_KEEP_POOLED) LCT_TRY(scan_write_vectors(s, err));
  for (size_t i = 0; i < s->n_prompts; i++) LCT_TRY(scan_write_scores(s, &s->prompts[i], err));
  s->result->seconds_write = lct_seconds() - t0;
  return LCT_OK;
}

static void take_files(scan *s) {
  if (s->files == NULL) return;
  s->result->saturated += lct_files_saturated(s->files);
  s->result->tensor_bytes += lct_files_bytes(s->files);
  lct_files_free(s->files);
  s->files = NULL;
}

/* After the directory exists: whatever happens, scan.json says how it ended, and what was complete by then is written; only where the
 * system refuses to store things nothing more is tried. */
static lct_status run_and_write(scan *s, lct_error *err) {
  lct_error own = {0}, later = {0};
  LCT_TRY(scan_write_state(s, "running", err));
  if (err == NULL) err = &own;
  lct_status status = scan_run(s, err);
  take_files(s);
  const char *state = status == LCT_OK ? "done" : status == LCT_E_CANCELLED ? "partial" : "failed";
  if (status != LCT_OK && status != LCT_E_CANCELLED) s->failure = err->message;
  lct_status written = status == LCT_E_IO ? LCT_E_IO : write_all(s, &later);
  s->result->seconds_total = lct_seconds() - s->t_start;
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

lct_status lct_scan(const lct_scan_options *o, lct_scan_result *result, lct_error *err) {
  *result = (lct_scan_result){0};
  if (o->keep == LCT_KEEP_NOTHING) return lct_fail(err, LCT_E_USAGE, "a scan keeps scores, pooled or tokens");
  scan s = {.o = o, .result = result, .t_start = lct_seconds()};
  time_t now = time(NULL);
  struct tm utc;
  (void)strftime(s.created_at, sizeof s.created_at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  lct_status status = choose_device(&s, err);
  if (status == LCT_OK) status = scan_open(&s, err);
  if (status == LCT_OK) status = scan_tokenise(&s, err);
  if (status == LCT_OK) status = open_engine(&s, err);
  result->seconds_load = lct_seconds() - s.t_start;
  if (status == LCT_OK) {
    result->n_prompts = (int)s.n_prompts;
    result->n_layers = s.cfg.n_layers;
    result->tensor_bytes_full = scan_tensor_bytes(&s);
    status = scan_make_dirs(&s, err);
  }
  if (status == LCT_OK) status = run_and_write(&s, err);
  result->n_references = 0;
  for (int32_t i = 0; s.items != NULL && i < s.n_items; i++) {
    if (i < s.n_references) result->n_references += s.items[i].done;
    else result->n_snapshots += s.items[i].done;
  }
  scan_close(&s);
  lct_threads_free(s.threads);
  return status;
}
