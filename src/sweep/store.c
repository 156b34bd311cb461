/* The store of a sweep: what of it stands when a sweep is resumed, and how it ends. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "sweep/sweep_impl.h"

enum { MIN_FREE = 64 << 20 };

static lct_status on_shard(void *ctx, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  sweep_store *s = ctx;
  if (s->o->sync == LCT_SYNC_SHARD) LCT_TRY(lct_lines_sync(&s->messages, err));
  return lct_journal_shard(&s->journal, array, shard, bytes, err);
}

static void least(const sweep_store *s, const char *array, int64_t shard, int64_t *frontier) {
  int64_t rows = lct_journal_stood(&s->journal, array) * shard;
  if (rows < *frontier) *frontier = rows;
}

/* The rows that stand in every array. */
static lct_status find_frontiers(sweep_store *s, lct_error *err) {
  int64_t rows = INT64_MAX, tokens = INT64_MAX, n_parts = 0;
  bool keep_tokens = s->o->keep == LCT_KEEP_TOKENS, pooled = s->o->keep != LCT_KEEP_SCORES;
  least(s, "moments", s->shard_rows, &rows);
  if (s->axes->scorer != NULL) least(s, "scores", s->shard_rows, &rows);
  if (keep_tokens) least(s, "tokens/ids", s->token_shard, &tokens);
  for (int i = 0; i < s->axes->n_streams; i++) {
    for (int scale = 0; s->axes->streams[i].stored && scale < (s->o->store_dtype == LCT_STORED_INT8 ? 2 : 1); scale++) {
      char name[64];
      (void)snprintf(name, sizeof name, "pooled/%s%s", s->axes->streams[i].name, scale ? "_scale" : "");
      if (pooled) least(s, name, s->shard_rows, &rows);
      (void)snprintf(name, sizeof name, "tokens/%s%s", s->axes->streams[i].name, scale ? "_scale" : "");
      if (keep_tokens) least(s, name, s->token_shard, &tokens);
    }
  }
  LCT_TRY(sweep_parts_load(s, rows / s->shard_rows, &n_parts, err));
  s->row_frontier = n_parts * s->shard_rows;
  s->token_frontier = keep_tokens ? tokens : 0;
  return LCT_OK;
}

static lct_fsync fsync_of(lct_sweep_sync sync) {
  return sync == LCT_SYNC_SHARD ? LCT_FSYNC_SHARD : sync == LCT_SYNC_END ? LCT_FSYNC_END : LCT_FSYNC_OFF;
}

static lct_status make_writer(sweep_store *s, lct_error *err) {
  char dir[4200];
  (void)snprintf(dir, sizeof dir, "%s/data.zarr", s->o->output);
  const lct_zarr_write_options o =
      {.threads = s->threads, .budget_bytes = 0, .fsync = fsync_of(s->o->sync), .min_free_bytes = MIN_FREE, .on_shard = on_shard, .ctx = s};
  return lct_zarr_writer_new(dir, &o, &s->writer, err);
}

static lct_status check_output(const sweep_store *s, lct_error *err) {
  char path[4200];
  if (!s->o->resume && lct_sweep_is_in(s->o->output)) {
    return lct_fail(err, LCT_E_USAGE, "%s already holds a sweep: --resume goes on with it", s->o->output);
  }
  (void)snprintf(path, sizeof path, "%s/parts", s->o->output);
  return lct_mkdirs(path, err);
}

lct_status sweep_store_open(sweep_store *s, const lct_sweep_asked *asked, lct_error *err) {
  LCT_TRY(check_output(s, err));
  json_t *config = lct_sweep_config_json(asked);
  if (config == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the journal");
  lct_status st = lct_journal_open(&s->journal, s->o->output, config, s->o->resume, s->o->sync == LCT_SYNC_SHARD, err);
  json_decref(config);
  LCT_TRY(st);
  LCT_TRY(sweep_moments_new(s->axes, &s->part, err));
  LCT_TRY(sweep_moments_new(s->axes, &s->whole, err));
  LCT_TRY(sweep_moments_new(s->axes, &s->keeper.moments, err));
  LCT_TRY(find_frontiers(s, err));
  LCT_TRY(lct_lines_open(&s->messages, s->o->output, "messages.jsonl", s->o->resume, err));
  LCT_TRY(lct_lines_open(&s->errors, s->o->output, "errors.jsonl", s->o->resume, err));
  LCT_TRY(make_writer(s, err));
  return sweep_store_add_arrays(s, err);
}

lct_status sweep_store_finish(sweep_store *s, int64_t rows, lct_error *err) {
  LCT_TRY(sweep_parts_join(s, err));
  LCT_TRY(lct_lines_finish(&s->messages, err));
  LCT_TRY(lct_lines_finish(&s->errors, err));
  LCT_TRY(lct_journal_finishing(&s->journal, rows, err));
  sweep_moments_merge(s->axes, &s->whole, &s->part);
  LCT_TRY(sweep_store_write_moments(s, err));
  return lct_zarr_writer_finish(s->writer, err);
}

void sweep_store_close(sweep_store *s) {
  (void)!sweep_parts_join(s, NULL);
  lct_zarr_writer_free(s->writer);
  s->writer = NULL;
  lct_lines_close(&s->messages);
  lct_lines_close(&s->errors);
  lct_journal_close(&s->journal);
  sweep_moments_free(s->axes, &s->part);
  sweep_moments_free(s->axes, &s->whole);
  sweep_moments_free(s->axes, &s->keeper.moments);
  free(s->streams);
  s->streams = NULL;
  json_decref(s->arrays);
  s->arrays = NULL;
}
