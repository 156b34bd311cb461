/* lct_sweep: the steps of a sweep in order, and how it ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "sweep/sweep_impl.h"

enum { MIN_ROWS = 64, TOKENS_A_ROW = 16 /* about: tokens computed for each snapshot */ };

static void show(sweep *s, const char *phase, lct_sweep_state state) {
  lct_sweep_result *r = s->result;
  lct_sweep_progress p = {.phase = phase, .conversations = r->conversations, .rejected = r->rejected, .rows = s->rows,
                          .tokens_computed = r->tokens_computed, .tokens_naive = r->tokens_naive, .bytes_read = s->bytes_read,
                          .bytes_total = s->bytes_total, .seconds = lct_seconds() - s->t_start, .seconds_input = r->seconds_input,
                          .seconds_forward = r->seconds_forward, .seconds_gemm = r->seconds_gemm, .seconds_capture = r->seconds_sink};
  if (s->writer != NULL) {
    lct_zarr_write_stats w = lct_zarr_writer_stats(s->writer);
    p.raw_bytes = w.raw_bytes;
    p.stored_bytes = w.stored_bytes;
    p.slots_taken = w.slots_taken;
    p.n_slots = w.n_slots;
    p.seconds_wait = r->seconds_input + w.seconds_wait;
    p.seconds_store = w.seconds_compress + w.seconds_write;
  }
  lct_rates_update(&s->rates, &p);
  if (s->o->progress != NULL) s->o->progress(s->o->progress_ctx, &p);
  lct_error ignored; /* the metrics file is no reason to stop a sweep */
  if (s->metrics_file.path != NULL) (void)!lct_metrics_file_update(&s->metrics_file, &p, state, &ignored);
}

void sweep_report(sweep *s, const char *phase) { show(s, phase, LCT_SWEEP_RUNNING); }

/* Bytes that may be taken without driving the machine into the ground: of the GPU what is free now, of the host a quarter. */
static int64_t free_bytes(const sweep *s) {
  lct_gpu gpu;
  if (s->device.gpu) return lct_cuda_gpu(s->device.number, &gpu, NULL) == LCT_OK ? gpu.bytes_free / 10 * 8 : (int64_t)1 << 30;
  lct_buf b = {0};
  long long kb = 4 << 20;
  if (lct_file_read("/proc/meminfo", 1 << 16, &b, NULL) == LCT_OK) {
    const char *at = strstr(b.data, "MemAvailable:");
    if (at != NULL) kb = strtoll(at + 13, NULL, 10);
  }
  lct_buf_free(&b);
  return (int64_t)kb * 1024 / 4;
}

/* Tokens a batch: what the budget holds of workspace, keys of all layers, pooled vectors and stored tokens. On a GPU the vectors stand for
 * the pool's buffer, which holds all of a batch or less; with the stored tokens they bound the host's share as well. */
static void choose_batch(sweep *s) {
  int64_t budget = s->o->memory_bytes > 0 ? s->o->memory_bytes : free_bytes(s);
  int64_t slot = (int64_t)lct_engine_slot_bytes(s->engine), bytes = (int64_t)lct_engine_row_bytes(s->engine) + slot + slot / 2;
  for (int i = 0; i < s->n_streams && s->o->keep != LCT_KEEP_NOTHING; i++) {
    const lct_stream *t = &s->streams[i].s;
    int64_t values = (int64_t)t->n_planes * t->width;
    bytes += values * s->n_positions * (int64_t)sizeof(float) / TOKENS_A_ROW;
    if (s->o->keep == LCT_KEEP_TOKENS && s->streams[i].stored) bytes += values * (int64_t)sweep_stored_bytes(s->o->store_dtype);
  }
  int64_t rows = budget / bytes;
  s->max_rows = rows > s->device.batch_rows ? s->device.batch_rows : rows < MIN_ROWS ? MIN_ROWS : (int32_t)rows;
  s->kv_slots = s->max_rows + s->max_rows / 2; /* a kept prefix and a batch */
  s->result->batch_rows = s->max_rows;
  s->max_tokens = s->o->max_tokens > 0 && s->o->max_tokens < s->cfg.max_positions ? s->o->max_tokens : s->cfg.max_positions;
}

static lct_status load_fingerprints(sweep *s, lct_error *err) {
  const char *path = s->o->fingerprints;
  if (path == NULL) {
    if (s->o->keep == LCT_KEEP_SCORES) return lct_fail(err, LCT_E_USAGE, "--keep scores keeps nothing without --fingerprints");
    return LCT_OK;
  }
  LCT_TRY(lct_fingerprints_load(path, &s->fingerprints, err));
  LCT_TRY(lct_fingerprints_check(s->fingerprints, path, s->model->hash, s->template.hash, s->cfg.n_layers, s->cfg.hidden, err));
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_sha256_hex(map.data, map.size, s->fingerprints_hash);
  lct_map_close(&map);
  return LCT_OK;
}

static lct_status open_model(sweep *s, lct_error *err) {
  const lct_sweep_options *o = s->o;
  LCT_TRY(lct_device_resolve(o->device, o->precision, &s->device, err));
  s->result->precision = s->device.precision;
  (void)snprintf(s->result->device, sizeof s->result->device, "%s", s->device.label);
  (void)snprintf(s->result->device_name, sizeof s->result->device_name, "%s", s->device.name);
  LCT_TRY(lct_model_resolve(o->model, NULL, &s->model_path, err));
  LCT_TRY(lct_model_open(s->model_path, &s->model, err));
  s->cfg = s->model->config;
  LCT_TRY(lct_tokenizer_for_model(s->model, &s->tokenizer, err));
  LCT_TRY(lct_template_choose(s->tokenizer, o->chat_template, o->no_thinking, s->model_path, &s->template, err));
  LCT_TRY(load_fingerprints(s, err));
  LCT_TRY(sweep_axes(s, err));
  LCT_TRY(lct_threads_new(o->threads, &s->threads, err));
  LCT_TRY(lct_device_engine(&s->device, s->model, s->threads, &s->engine, err));
  choose_batch(s);
  return LCT_OK;
}

static lct_status make_pool(sweep *s, lct_error *err) {
  lct_stream *streams = lct_arena_alloc(&s->arena, (size_t)s->n_streams * sizeof *streams);
  if (streams == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the pool");
  size_t n = (size_t)s->n_streams;
  LCT_TRY(lct_calloc(&s->memo, n, sizeof *s->memo, "memo", err));
  LCT_TRY(lct_calloc(&s->token_rows, n, sizeof *s->token_rows, "token rows", err));
  LCT_TRY(lct_calloc(&s->token_scales, n, sizeof *s->token_scales, "token rows", err));
  LCT_TRY(lct_calloc(&s->error2, n, sizeof *s->error2, "errors", err));
  LCT_TRY(lct_calloc(&s->value2, n, sizeof *s->value2, "errors", err));
  LCT_TRY(lct_calloc(&s->error_max, n, sizeof *s->error_max, "errors", err));
  for (int i = 0; i < s->n_streams; i++) {
    streams[i] = s->streams[i].s;
    size_t values = (size_t)s->n_positions * (size_t)streams[i].n_planes * (size_t)streams[i].width;
    LCT_TRY(lct_calloc(&s->memo[i], values, sizeof(float), "memo", err));
  }
  return lct_pool_new(s->engine, streams, s->n_streams, s->n_positions, &s->pool, err);
}

static void close_all(sweep *s) {
  sweep_store_close(s);
  lct_pool_free(s->pool);
  for (int i = 0; i < s->n_streams; i++) {
    if (s->memo != NULL) free(s->memo[i]);
    if (s->token_rows != NULL) free(s->token_rows[i]);
    if (s->token_scales != NULL) free(s->token_scales[i]);
  }
  free(s->memo);
  free(s->token_rows);
  free(s->token_scales);
  free(s->token_of_row);
  free(s->score_buffer);
  free(s->error2);
  free(s->value2);
  free(s->error_max);
  sweep_axes_free(s);
  if (s->engine != NULL) lct_kv_free(s->engine, s->kv);
  lct_engine_free(s->engine);
  lct_threads_free(s->threads);
  lct_fingerprints_free(s->fingerprints);
  lct_tokenizer_free(s->tokenizer);
  lct_model_free(s->model);
  free(s->model_path);
  lct_arena_free(&s->arena);
}

static void take_stats(sweep *s) {
  if (s->writer == NULL) return;
  lct_zarr_write_stats w = lct_zarr_writer_stats(s->writer);
  s->result->raw_bytes = w.raw_bytes;
  s->result->stored_bytes = w.stored_bytes;
  s->result->seconds_wait = w.seconds_wait;
}

/* With the store open: whatever happens, sweep.json says how it stands. */
static lct_status run_and_finish(sweep *s, lct_error *err) {
  lct_error own = {0}, ignored;
  if (err == NULL) err = &own;
  lct_status st = sweep_run(s, err);
  sweep_planner_stop(s);
  double t0 = lct_seconds();
  if (s->pool != NULL && st == LCT_OK) {
    sweep_report(s, "finish");
    st = sweep_store_finish(s, err);
  }
  s->result->seconds_finish = lct_seconds() - t0;
  take_stats(s);
  s->result->rows = s->rows;
  s->result->tokens_stored = s->tokens;
  if (s->pool == NULL) return st;
  bool cancelled = st == LCT_E_CANCELLED;
  if (st != LCT_OK) {
    (void)!sweep_parts_join(s, &ignored);
    lct_zarr_writer_free(s->writer); /* waits for shards that are complete */
    s->writer = NULL;
  }
  lct_sweep_state state = st == LCT_OK ? LCT_SWEEP_DONE : cancelled ? LCT_SWEEP_INTERRUPTED : LCT_SWEEP_FAILED;
  show(s, "finish", state);
  lct_status said = sweep_write_state(s, lct_sweep_state_name(state), st == LCT_OK || cancelled ? NULL : err->message, st == LCT_OK ? err : &ignored);
  if (st != LCT_OK || said != LCT_OK) return st == LCT_OK ? said : st;
  sweep_remove_parts(s->o->output);
  s->result->complete = true;
  return LCT_OK;
}

static lct_status check_options(const lct_sweep_options *o, lct_error *err) {
  if (o->n_inputs == 0) return lct_fail(err, LCT_E_USAGE, "a sweep needs a file of conversations");
  if (o->model == NULL) return lct_fail(err, LCT_E_USAGE, "a sweep needs a model");
  if (o->output == NULL && o->keep != LCT_KEEP_NOTHING) return lct_fail(err, LCT_E_USAGE, "a sweep needs a directory to write to");
  return LCT_OK;
}

static lct_status sweep_all(sweep *s, lct_error *err) {
  lct_input *in = NULL;
  LCT_TRY(lct_input_open(s->o->inputs, s->o->n_inputs, &in, err));
  lct_status st = open_model(s, err);
  if (st == LCT_OK && s->o->keep != LCT_KEEP_NOTHING) {
    st = make_pool(s, err);
    if (st == LCT_OK) st = sweep_store_open(s, err);
  }
  s->result->seconds_load = lct_seconds() - s->t_start;
  if (st == LCT_OK) st = sweep_planner_start(s, in, err);
  if (st == LCT_OK) st = run_and_finish(s, err);
  sweep_planner_stop(s);
  lct_input_free(in);
  return st;
}

lct_status lct_sweep(const lct_sweep_options *o, lct_sweep_result *result, lct_error *err) {
  *result = (lct_sweep_result){0};
  LCT_TRY(check_options(o, err));
  if (o->resume && o->keep != LCT_KEEP_NOTHING && lct_sweep_read_done(o->output, result)) { /* there is nothing to resume */
    sweep_remove_parts(o->output);
    return LCT_OK;
  }
  sweep s = {.o = o, .result = result, .t_start = lct_seconds(), .metrics_file = {.path = o->metrics_file}};
  sweep_report(&s, "load");
  lct_status st = sweep_all(&s, err);
  close_all(&s);
  result->seconds_total = lct_seconds() - s.t_start;
  return st;
}
