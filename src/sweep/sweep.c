/* lct_sweep: the steps of a sweep in order, and how it ends. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "sweep/sweep_impl.h"

static lct_status load_fingerprints(sweep *s, lct_error *err) {
  const char *path = s->o->fingerprints;
  if (path == NULL) {
    if (s->o->keep == LCT_KEEP_SCORES) return lct_fail(err, LCT_E_USAGE, "--keep scores keeps nothing without --fingerprints");
    return LCT_OK;
  }
  const lct_subject *x = s->subject;
  LCT_TRY(lct_fingerprints_open(path, &s->fingerprints, err));
  LCT_TRY(lct_fingerprints_check(s->fingerprints, path, x->model->hash, x->template.hash, x->cfg.n_layers, x->cfg.hidden, err));
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_sha256_hex(map.data, map.size, s->fingerprints_hash);
  lct_map_close(&map);
  return LCT_OK;
}

static lct_status open_subject(sweep *s, lct_error *err) {
  const lct_sweep_options *o = s->o;
  LCT_TRY(lct_subject_open(&o->model, true, &s->subject, err));
  lct_device_describe(&s->subject->device, &s->result->device);
  int context = s->subject->cfg.max_positions;
  s->max_tokens = o->max_tokens > 0 && o->max_tokens < context ? o->max_tokens : context;
  LCT_TRY(load_fingerprints(s, err));
  const lct_axes_options ao = {.positions = o->positions,
                               .sources = o->sources,
                               .layers = o->layers,
                               .metrics = o->metrics,
                               .derive_residual = o->derive_residual};
  LCT_TRY(lct_axes_new(&ao, &s->subject->cfg, s->fingerprints, o->fingerprints, &s->axes, err));
  return sweep_check_derive(s->axes, o, &s->subject->device, err);
}

/* Bytes that --keep tokens holds of a token. */
static int64_t token_bytes(const sweep *s) {
  int64_t bytes = 0;
  for (int i = 0; i < s->axes->n_streams && s->o->keep == LCT_KEEP_TOKENS; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    if (t->stored) bytes += (int64_t)t->s.n_planes * t->s.width * (int64_t)sweep_stored_bytes(s->o->store_dtype);
  }
  return bytes;
}

static lct_status open_worker(sweep *s, lct_error *err) {
  const lct_axes *a = s->axes;
  bool captures = s->o->keep != LCT_KEEP_NOTHING;
  const lct_worker_options wo = {.streams = a->pooled,
                                 .n_streams = captures ? a->n_streams : 0,
                                 .positions = a->positions,
                                 .n_positions = a->n_positions,
                                 .memory_bytes = s->o->memory_bytes,
                                 .extra_row_bytes = token_bytes(s),
                                 .keeps_prefix = s->o->keep != LCT_KEEP_TOKENS};
  LCT_TRY(lct_worker_new(s->subject, &wo, &s->worker, err));
  s->result->batch_rows = lct_worker_max_rows(s->worker);
  return LCT_OK;
}

static lct_status open_store(sweep *s, lct_error *err) {
  if (s->o->keep == LCT_KEEP_NOTHING) return LCT_OK;
  s->store = (sweep_store){.o = s->o, .axes = s->axes, .fingerprints_hash = s->fingerprints_hash, .threads = s->subject->threads};
  sweep_store_choose_sizes(&s->store);
  LCT_TRY(sweep_describe(s, err));
  LCT_TRY(sweep_store_open(&s->store, &s->asked, err));
  return sweep_write_state(s, "running", NULL, err);
}

static void close_all(sweep *s) {
  sweep_planner_free(s->planner);
  sweep_store_close(&s->store);
  sweep_tokens_free(s);
  free(s->score_buffer);
  lct_worker_free(s->worker);
  lct_axes_free(s->axes);
  lct_fingerprints_free(s->fingerprints);
  lct_subject_free(s->subject);
  lct_arena_free(&s->arena);
}

static lct_status next_unit(void *ctx, lct_unit **out, lct_error *err) {
  sweep *s = ctx;
  double t0 = lct_seconds();
  lct_status st = sweep_planner_next(s->planner, s->o->cancel, out, err);
  s->result->seconds.input += lct_seconds() - t0;
  return st;
}

static lct_status begin_pass(void *ctx, const lct_stage *stage, lct_pass *pass, lct_error *err) {
  return sweep_tokens_begin(ctx, stage, pass, err);
}

static void layer_done(void *ctx, lct_stage_kind kind, int32_t n_rows) {
  (void)kind;
  (void)n_rows;
  sweep_show(ctx, "sweep", LCT_SWEEP_RUNNING);
}

static lct_status run(sweep *s, lct_input *in, lct_error *err) {
  const sweep_plan_options po = {.positions = s->axes->positions,
                                 .n_positions = s->axes->n_positions,
                                 .subject = s->subject,
                                 .max_rows = lct_worker_max_rows(s->worker),
                                 .max_tokens = s->max_tokens,
                                 .too_long = s->o->too_long,
                                 .stores_tokens = s->o->keep == LCT_KEEP_TOKENS,
                                 .row_frontier = s->store.row_frontier,
                                 .token_frontier = s->store.token_frontier};
  LCT_TRY(sweep_planner_start(&po, in, &s->planner, err));
  const lct_client client = {.ctx = s,
                             .begin = s->o->keep == LCT_KEEP_TOKENS ? begin_pass : NULL,
                             .layer_done = layer_done,
                             .cancel = s->o->cancel};
  const lct_client *clients[] = {&client};
  const lct_feed feed = {.ctx = s, .next = next_unit};
  const lct_sink sink = {.ctx = s, .take = sweep_take_unit};
  lct_status st = lct_pipeline_run(&s->worker, 1, clients, &feed, &sink, err);
  sweep_planner_free(s->planner);
  s->planner = NULL;
  return st;
}

static void take_stats(sweep *s) {
  s->result->rows = s->rows;
  s->result->tokens_stored = s->tokens;
  if (s->store.writer == NULL) return;
  lct_zarr_write_stats w = lct_zarr_writer_stats(s->store.writer);
  s->result->raw_bytes = w.raw_bytes;
  s->result->stored_bytes = w.stored_bytes;
  s->result->seconds.wait = w.seconds_wait;
  s->result->saturated = sweep_saturated(s);
}

/* With the store open: whatever happens, sweep.json says how it stands. */
static lct_status run_and_finish(sweep *s, lct_input *in, lct_error *err) {
  lct_error own = {0}, ignored;
  if (err == NULL) err = &own;
  bool stores = s->o->keep != LCT_KEEP_NOTHING;
  lct_status st = run(s, in, err);
  double t0 = lct_seconds();
  if (stores && st == LCT_OK) {
    sweep_show(s, "finish", LCT_SWEEP_RUNNING);
    st = sweep_store_finish(&s->store, s->rows, err);
  }
  s->result->seconds.finish = lct_seconds() - t0;
  take_stats(s);
  if (!stores) return st;
  bool cancelled = st == LCT_E_CANCELLED;
  if (st != LCT_OK) {
    (void)!sweep_parts_join(&s->store, &ignored);
    lct_zarr_writer_free(s->store.writer); /* waits for shards that are complete */
    s->store.writer = NULL;
  }
  lct_sweep_state state = st == LCT_OK ? LCT_SWEEP_DONE : cancelled ? LCT_SWEEP_INTERRUPTED : LCT_SWEEP_FAILED;
  sweep_show(s, "finish", state);
  lct_status said = sweep_write_state(s, lct_sweep_state_name(state), st == LCT_OK || cancelled ? NULL : err->message,
                                      st == LCT_OK ? err : &ignored);
  if (st != LCT_OK || said != LCT_OK) return st == LCT_OK ? said : st;
  sweep_parts_remove(s->o->output);
  s->result->complete = true;
  return LCT_OK;
}

static lct_status check_options(const lct_sweep_options *o, lct_error *err) {
  if (o->n_inputs == 0) return lct_fail(err, LCT_E_USAGE, "a sweep needs a file of conversations");
  if (o->model.id == NULL) return lct_fail(err, LCT_E_USAGE, "a sweep needs a model");
  if (o->output == NULL && o->keep != LCT_KEEP_NOTHING) return lct_fail(err, LCT_E_USAGE, "a sweep needs a directory to write to");
  return LCT_OK;
}

static lct_status sweep_all(sweep *s, lct_error *err) {
  lct_input *in = NULL;
  LCT_TRY(lct_input_open(s->o->inputs, s->o->n_inputs, &in, err));
  lct_status st = open_subject(s, err);
  if (st == LCT_OK) st = open_worker(s, err);
  if (st == LCT_OK) st = open_store(s, err);
  s->result->seconds.load = lct_seconds() - s->t_start;
  if (st == LCT_OK) st = run_and_finish(s, in, err);
  lct_input_free(in);
  return st;
}

lct_status lct_sweep(const lct_sweep_options *o, lct_sweep_result *result, lct_error *err) {
  *result = (lct_sweep_result){0};
  LCT_TRY(check_options(o, err));
  if (o->resume && o->keep != LCT_KEEP_NOTHING && lct_sweep_read_done(o->output, result)) { /* there is nothing to resume */
    sweep_parts_remove(o->output);
    return LCT_OK;
  }
  sweep s = {.o = o, .result = result, .t_start = lct_seconds(), .metrics_file = {.path = o->metrics_file}};
  sweep_show(&s, "load", LCT_SWEEP_RUNNING);
  lct_status st = sweep_all(&s, err);
  close_all(&s);
  result->seconds.total = lct_seconds() - s.t_start;
  return st;
}
