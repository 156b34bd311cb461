/* The store of a sweep: its arrays, what of them stands when a sweep is resumed, and how it ends. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "sweep/sweep_impl.h"

enum { CHUNK_BYTES = 256 << 10, SHARD_BYTES = 128 << 20, TOKEN_CHUNK = 256, MIN_CHUNK_ROWS = 64, MAX_CHUNK_ROWS = 1024 };
enum { MIN_FREE = 64 << 20 };

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Rows a chunk: at least 256 KiB of one vector each. Rows a shard: about 128 MiB of all arrays. */
static void choose_sizes(sweep *s) {
  int64_t narrowest = INT32_MAX, row_bytes = 0, token_bytes = 0;
  for (int i = 0; i < s->n_streams; i++) {
    const lct_stream *t = &s->streams[i].s;
    if (!s->streams[i].stored) continue;
    int64_t bytes = t->width * (int64_t)sweep_stored_bytes(s->o->store_dtype);
    if (bytes < narrowest) narrowest = bytes;
    token_bytes += bytes * t->n_planes;
    row_bytes += bytes * t->n_planes * s->n_positions;
  }
  int64_t rows = MIN_CHUNK_ROWS;
  while (rows < MAX_CHUNK_ROWS && rows * narrowest < CHUNK_BYTES) rows *= 2;
  int64_t shard = rows;
  while (shard < 65536 && shard * 2 * row_bytes <= SHARD_BYTES) shard *= 2;
  if (s->o->shard_rows > 0) {
    shard = s->o->shard_rows;
    if (rows > shard) rows = shard;
    shard = round_up(shard, rows);
  }
  s->chunk_rows = rows;
  s->shard_rows = shard;
  s->token_shard = TOKEN_CHUNK;
  while (s->token_shard < 65536 && s->token_shard * 2 * token_bytes <= SHARD_BYTES) s->token_shard *= 2;
  if (s->o->shard_rows > 0) s->token_shard = round_up(s->o->shard_rows, TOKEN_CHUNK);
}

static json_t *strings_of_positions(const sweep *s, bool scored) {
  json_t *a = json_array();
  int n = scored ? s->n_scored_positions : s->n_positions;
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(s->positions[scored ? s->scored_positions[i] : i].name));
  return a;
}

static json_t *score_axes(const sweep *s) {
  json_t *sources = json_array(), *references = json_array(), *metrics = json_array();
  for (int i = 0; i < s->n_scored_sources; i++) {
    json_array_append_new(sources, json_string(lct_source_name(s->sources[s->scored_sources[i]].source)));
  }
  for (int i = 0; i < s->fingerprints->n_labels; i++) json_array_append_new(references, json_string(s->fingerprints->labels[i]));
  for (int i = 0; i < s->n_metrics; i++) json_array_append_new(metrics, json_string(lct_any_metric_name(s->metrics[i])));
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s}", "positions", strings_of_positions(s, true), "sources", sources, "layers", sweep_layers_json(s),
                   "references", references, "metrics", metrics, "fingerprints", s->fingerprints_hash);
}

/* The layers whose vectors a stream's planes are; of the residual stream the planes themselves: p is what enters layer p. */
static json_t *stream_axes(const sweep *s, const sweep_stream *t, bool positions) {
  json_t *planes = json_array();
  bool residual = strcmp(t->name, "residual") == 0;
  for (int i = 0; i < t->s.n_planes; i++) {
    const lct_plane *p = &t->planes[i];
    json_array_append_new(planes, json_integer(residual && p->source == LCT_SOURCE_HIDDEN_OUT ? p->layer + 1 : p->layer));
  }
  json_t *a = json_pack("{s:s, s:o}", "source", t->name, residual ? "planes" : "layers", planes);
  if (positions) json_object_set_new(a, "positions", strings_of_positions(s, false));
  if (s->o->store_dtype == LCT_STORED_BF16) json_object_set_new(a, "dtype", json_string("bfloat16"));
  if (s->o->store_dtype == LCT_STORED_INT8) json_object_set_new(a, "group", json_integer(SWEEP_INT8_GROUP));
  return a;
}

/* Adds an array to the writer and to what sweep.json says of the store; takes axes. The first axis is cut into shards of m->shard[0]. */
static lct_status add_array(sweep *s, const char *name, lct_zarr_meta *m, json_t *axes, int64_t first_row, lct_zarr_out **out, lct_error *err) {
  json_t *attributes = json_pack("{s:o}", "llmct", axes);
  char *text = attributes != NULL ? json_dumps(attributes, JSON_COMPACT) : NULL;
  for (int i = 1; i < m->n_dims; i++) m->shard[i] = round_up(m->shape[i], m->chunk[i]);
  lct_status st = text != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for the array %s", name);
  if (st == LCT_OK) {
    json_array_append_new(s->arrays, lct_sweep_array_json(name, m, attributes));
    st = lct_zarr_writer_add(s->writer, name, m, text, first_row, out, err);
  }
  free(text);
  json_decref(attributes);
  return st;
}

static void set_axis(lct_zarr_meta *m, int64_t shape, int64_t chunk, const char *name) {
  m->shape[m->n_dims] = shape;
  m->chunk[m->n_dims] = chunk;
  (void)snprintf(m->dim_names[m->n_dims], sizeof m->dim_names[0], "%s", name);
  m->n_dims++;
}

static lct_status add_stream(sweep *s, sweep_stream *t, bool tokens, lct_error *err) {
  lct_stored type = s->o->store_dtype;
  int64_t first = tokens ? s->token_frontier : s->row_frontier;
  for (int scale = 0; scale < (type == LCT_STORED_INT8 ? 2 : 1); scale++) {
    lct_zarr_meta m = {.dtype = scale ? LCT_ZARR_F32 : sweep_stored_dtype(type)};
    m.codec = lct_zarr_dtype_bytes(m.dtype) == 2 ? LCT_ZARR_BLOSC : LCT_ZARR_ZSTD;
    int64_t width = scale ? sweep_scales(t->s.width) : t->s.width;
    set_axis(&m, 0, tokens ? TOKEN_CHUNK : s->chunk_rows, tokens ? "token" : "row");
    m.shard[0] = tokens ? s->token_shard : s->shard_rows;
    if (!tokens) set_axis(&m, s->n_positions, 1, "position");
    set_axis(&m, t->s.n_planes, scale ? t->s.n_planes : 1, strcmp(t->name, "residual") == 0 ? "plane" : "layer");
    set_axis(&m, width, width, scale ? "group" : "hidden");
    char name[64];
    (void)snprintf(name, sizeof name, "%s/%s%s", tokens ? "tokens" : "pooled", t->name, scale ? "_scale" : "");
    lct_zarr_out **out = tokens ? (scale ? &t->tokens_scale : &t->tokens) : (scale ? &t->pooled_scale : &t->pooled);
    LCT_TRY(add_array(s, name, &m, stream_axes(s, t, !tokens), first, out, err));
  }
  return LCT_OK;
}

static lct_status add_scores(sweep *s, lct_error *err) {
  lct_zarr_meta m = {.dtype = LCT_ZARR_F32, .codec = LCT_ZARR_ZSTD};
  set_axis(&m, 0, s->chunk_rows, "row");
  m.shard[0] = s->shard_rows;
  set_axis(&m, s->n_scored_positions, 1, "position");
  set_axis(&m, s->n_scored_sources, 1, "source");
  set_axis(&m, s->n_layers, s->n_layers, "layer");
  set_axis(&m, s->fingerprints->n_labels, s->fingerprints->n_labels, "reference");
  set_axis(&m, s->n_metrics, s->n_metrics, "metric");
  return add_array(s, "scores", &m, score_axes(s), s->row_frontier, &s->scores, err);
}

static lct_status add_token_ids(sweep *s, lct_error *err) {
  lct_zarr_meta m = {.dtype = LCT_ZARR_I32, .codec = LCT_ZARR_ZSTD};
  set_axis(&m, 0, s->token_shard, "token");
  m.shard[0] = s->token_shard;
  return add_array(s, "tokens/ids", &m, json_object(), s->token_frontier, &s->token_ids, err);
}

static json_t *roles(void) { return json_pack("[s, s, s]", "system", "user", "assistant"); }

static lct_status add_moments(sweep *s, lct_error *err) {
  LCT_TRY(lct_calloc(&s->moments_mean, (size_t)s->n_streams, sizeof(lct_zarr_out *), "moments", err));
  LCT_TRY(lct_calloc(&s->moments_m2, (size_t)s->n_streams, sizeof(lct_zarr_out *), "moments", err));
  lct_zarr_meta n = {.dtype = LCT_ZARR_I64, .codec = LCT_ZARR_ZSTD};
  set_axis(&n, 0, 1, "position");
  n.shard[0] = s->n_positions;
  set_axis(&n, LCT_N_ROLES, LCT_N_ROLES, "role");
  json_t *axes = json_pack("{s:o, s:o}", "positions", strings_of_positions(s, false), "roles", roles());
  LCT_TRY(add_array(s, "moments/n", &n, axes, 0, &s->moments_n, err));
  for (int i = 0; i < s->n_streams; i++) {
    const sweep_stream *t = &s->streams[i];
    for (int k = 0; k < 2; k++) {
      lct_zarr_meta m = {.dtype = LCT_ZARR_F64, .codec = LCT_ZARR_ZSTD};
      set_axis(&m, 0, 1, "position");
      m.shard[0] = s->n_positions;
      set_axis(&m, t->s.n_planes, 1, strcmp(t->name, "residual") == 0 ? "plane" : "layer");
      set_axis(&m, LCT_N_ROLES, LCT_N_ROLES, "role");
      set_axis(&m, t->s.width, t->s.width, "hidden");
      char name[64];
      (void)snprintf(name, sizeof name, "moments/%s/%s", t->name, k == 0 ? "mean" : "m2");
      axes = stream_axes(s, t, true);
      json_object_set_new(axes, "roles", roles());
      json_object_del(axes, "dtype");
      json_object_del(axes, "group");
      LCT_TRY(add_array(s, name, &m, axes, 0, k == 0 ? &s->moments_mean[i] : &s->moments_m2[i], err));
    }
  }
  return LCT_OK;
}

static lct_status on_shard(void *ctx, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  sweep *s = ctx;
  if (s->o->sync == LCT_SYNC_SHARD) LCT_TRY(lct_lines_sync(&s->messages, err));
  return lct_journal_shard(&s->journal, array, shard, bytes, err);
}

static void least(const sweep *s, const char *array, int64_t shard, int64_t *frontier) {
  int64_t rows = lct_journal_stood(&s->journal, array) * shard;
  if (rows < *frontier) *frontier = rows;
}

/* The rows that stand in every array. */
static lct_status find_frontiers(sweep *s, lct_error *err) {
  int64_t rows = INT64_MAX, tokens = INT64_MAX, n_parts = 0;
  bool keep_tokens = s->o->keep == LCT_KEEP_TOKENS, pooled = s->o->keep != LCT_KEEP_SCORES;
  least(s, "moments", s->shard_rows, &rows);
  if (s->scorer != NULL) least(s, "scores", s->shard_rows, &rows);
  if (keep_tokens) least(s, "tokens/ids", s->token_shard, &tokens);
  for (int i = 0; i < s->n_streams; i++) {
    for (int scale = 0; s->streams[i].stored && scale < (s->o->store_dtype == LCT_STORED_INT8 ? 2 : 1); scale++) {
      char name[64];
      (void)snprintf(name, sizeof name, "pooled/%s%s", s->streams[i].name, scale ? "_scale" : "");
      if (pooled) least(s, name, s->shard_rows, &rows);
      (void)snprintf(name, sizeof name, "tokens/%s%s", s->streams[i].name, scale ? "_scale" : "");
      if (keep_tokens) least(s, name, s->token_shard, &tokens);
    }
  }
  LCT_TRY(sweep_parts_load(s, rows / s->shard_rows, &n_parts, err));
  s->row_frontier = n_parts * s->shard_rows;
  s->token_frontier = keep_tokens ? tokens : 0;
  return LCT_OK;
}

static lct_status make_writer(sweep *s, lct_error *err) {
  char dir[4200];
  (void)snprintf(dir, sizeof dir, "%s/data.zarr", s->o->output);
  const lct_zarr_write_options o = {.threads = s->threads, .budget_bytes = 0, .fsync = (lct_fsync)s->o->sync, .min_free_bytes = MIN_FREE,
                                    .on_shard = on_shard, .ctx = s};
  return lct_zarr_writer_new(dir, &o, &s->writer, err);
}

static lct_status add_arrays(sweep *s, lct_error *err) {
  s->arrays = json_array();
  if (s->scorer != NULL) LCT_TRY(add_scores(s, err));
  for (int i = 0; i < s->n_streams; i++) {
    if (s->streams[i].stored && s->o->keep != LCT_KEEP_SCORES) LCT_TRY(add_stream(s, &s->streams[i], false, err));
    if (s->streams[i].stored && s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(add_stream(s, &s->streams[i], true, err));
  }
  if (s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(add_token_ids(s, err));
  return add_moments(s, err);
}

static lct_status check_output(const sweep *s, lct_error *err) {
  char path[4200];
  (void)snprintf(path, sizeof path, "%s/sweep.json", s->o->output);
  if (!s->o->resume && lct_path_exists(path)) {
    return lct_fail(err, LCT_E_USAGE, "%s already holds a sweep: --resume goes on with it", s->o->output);
  }
  (void)snprintf(path, sizeof path, "%s/parts", s->o->output);
  return lct_mkdirs(path, err);
}

lct_status sweep_store_open(sweep *s, lct_error *err) {
  choose_sizes(s);
  LCT_TRY(check_output(s, err));
  LCT_TRY(sweep_describe(s, err));
  json_t *config = lct_sweep_config_json(&s->asked);
  if (config == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the journal");
  lct_status st = lct_journal_open(&s->journal, s->o->output, config, s->o->resume, s->o->sync == LCT_SYNC_SHARD, err);
  json_decref(config);
  LCT_TRY(st);
  LCT_TRY(sweep_moments_new(s, &s->part, err));
  LCT_TRY(sweep_moments_new(s, &s->whole, err));
  LCT_TRY(sweep_moments_new(s, &s->keeper.moments, err));
  LCT_TRY(find_frontiers(s, err));
  LCT_TRY(lct_lines_open(&s->messages, s->o->output, "messages.jsonl", s->o->resume, err));
  LCT_TRY(lct_lines_open(&s->errors, s->o->output, "errors.jsonl", s->o->resume, err));
  LCT_TRY(make_writer(s, err));
  LCT_TRY(add_arrays(s, err));
  return sweep_write_state(s, "running", NULL, err);
}

void sweep_remove_parts(const char *output) {
  char path[4200];
  int n = snprintf(path, sizeof path, "%s/parts", output);
  DIR *d = opendir(path);
  for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
    if (strncmp(e->d_name, "moments-", 8) != 0) continue;
    (void)snprintf(path + n, sizeof path - (size_t)n, "/%s", e->d_name);
    (void)unlink(path);
    path[n] = '\0';
  }
  if (d != NULL) (void)closedir(d);
  (void)rmdir(path);
}

lct_status sweep_store_finish(sweep *s, lct_error *err) {
  LCT_TRY(sweep_parts_join(s, err));
  LCT_TRY(lct_lines_finish(&s->messages, err));
  LCT_TRY(lct_lines_finish(&s->errors, err));
  LCT_TRY(lct_journal_finishing(&s->journal, s->rows, err));
  sweep_moments_merge(s, &s->whole, &s->part);
  LCT_TRY(sweep_moments_write(s, err));
  return lct_zarr_writer_finish(s->writer, err);
}

void sweep_store_close(sweep *s) {
  (void)!sweep_parts_join(s, NULL);
  lct_zarr_writer_free(s->writer);
  s->writer = NULL;
  lct_lines_close(&s->messages);
  lct_lines_close(&s->errors);
  lct_journal_close(&s->journal);
  sweep_moments_free(s, &s->part);
  sweep_moments_free(s, &s->whole);
  sweep_moments_free(s, &s->keeper.moments);
  free(s->moments_mean);
  free(s->moments_m2);
  json_decref(s->arrays);
  s->arrays = NULL;
}
