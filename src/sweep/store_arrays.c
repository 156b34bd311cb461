/* The arrays of a sweep's store, and how they are cut. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

enum { CHUNK_BYTES = 256 << 10, SHARD_BYTES = 128 << 20, MIN_CHUNK_ROWS = 64, MAX_CHUNK_ROWS = 1024, SWEEP_TOKEN_CHUNK = 256 };

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Rows a chunk: at least 256 KiB of one vector each. Rows a shard: about 128 MiB of all arrays. */
void sweep_store_choose_sizes(sweep_store *s) {
  int64_t narrowest = INT32_MAX, row_bytes = 0, token_bytes = 0;
  for (int i = 0; i < s->axes->n_streams; i++) {
    const lct_stream *t = &s->axes->streams[i].s;
    if (!s->axes->streams[i].stored) continue;
    int64_t bytes = t->width * (int64_t)sweep_stored_bytes(s->o->store_dtype);
    if (bytes < narrowest) narrowest = bytes;
    token_bytes += bytes * t->n_planes;
    row_bytes += bytes * t->n_planes * s->axes->n_positions;
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
  s->token_shard = SWEEP_TOKEN_CHUNK;
  while (s->token_shard < 65536 && s->token_shard * 2 * token_bytes <= SHARD_BYTES) s->token_shard *= 2;
  if (s->o->shard_rows > 0) s->token_shard = round_up(s->o->shard_rows, SWEEP_TOKEN_CHUNK);
}

static json_t *strings_of_positions(const sweep_store *s, bool scored) {
  json_t *a = json_array();
  int n = scored ? s->axes->n_scored_positions : s->axes->n_positions;
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(s->axes->positions[scored ? s->axes->scored_positions[i] : i].name));
  return a;
}

static json_t *layers_json(const lct_axes *x) {
  json_t *a = json_array();
  for (int i = 0; i < x->n_layers; i++) json_array_append_new(a, json_integer(x->layers[i]));
  return a;
}

static json_t *score_axes(const sweep_store *s) {
  json_t *sources = json_array(), *references = json_array(), *metrics = json_array();
  for (int i = 0; i < s->axes->n_scored_sources; i++) {
    json_array_append_new(sources, json_string(lct_source_name(s->axes->sources[s->axes->scored_sources[i]].source)));
  }
  for (int i = 0; i < s->axes->fingerprints->n_labels; i++)
    json_array_append_new(references, json_string(s->axes->fingerprints->labels[i]));
  for (int i = 0; i < s->axes->n_metrics; i++) json_array_append_new(metrics, json_string(lct_any_metric_name(s->axes->metrics[i])));
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s}", "positions", strings_of_positions(s, true), "sources", sources, "layers",
                   layers_json(s->axes), "references", references, "metrics", metrics, "fingerprints", s->fingerprints_hash);
}

/* The layers whose vectors a stream's planes are; of the residual stream the planes themselves: p is what enters layer p. */
static json_t *stream_axes(const sweep_store *s, const lct_axis_stream *t, bool positions) {
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
static lct_status add_array(sweep_store *s, const char *name, lct_zarr_meta *m, json_t *axes, int64_t first_row, lct_zarr_out **out,
                            lct_error *err) {
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

static lct_status add_stream(sweep_store *s, int stream, bool tokens, lct_error *err) {
  const lct_axis_stream *t = &s->axes->streams[stream];
  sweep_out *to = &s->streams[stream];
  lct_stored type = s->o->store_dtype;
  int64_t first = tokens ? s->token_frontier : s->row_frontier;
  for (int scale = 0; scale < (type == LCT_STORED_INT8 ? 2 : 1); scale++) {
    lct_zarr_meta m = {.dtype = scale ? LCT_ZARR_F32 : sweep_stored_dtype(type)};
    m.codec = lct_zarr_dtype_bytes(m.dtype) == 2 ? LCT_ZARR_BLOSC : LCT_ZARR_ZSTD;
    int64_t width = scale ? sweep_scales(t->s.width) : t->s.width;
    set_axis(&m, 0, tokens ? SWEEP_TOKEN_CHUNK : s->chunk_rows, tokens ? "token" : "row");
    m.shard[0] = tokens ? s->token_shard : s->shard_rows;
    if (!tokens) set_axis(&m, s->axes->n_positions, 1, "position");
    set_axis(&m, t->s.n_planes, scale ? t->s.n_planes : 1, strcmp(t->name, "residual") == 0 ? "plane" : "layer");
    set_axis(&m, width, width, scale ? "group" : "hidden");
    char name[64];
    (void)snprintf(name, sizeof name, "%s/%s%s", tokens ? "tokens" : "pooled", t->name, scale ? "_scale" : "");
    lct_zarr_out **out = tokens ? (scale ? &to->tokens_scale : &to->tokens) : (scale ? &to->pooled_scale : &to->pooled);
    LCT_TRY(add_array(s, name, &m, stream_axes(s, t, !tokens), first, out, err));
  }
  return LCT_OK;
}

static lct_status add_scores(sweep_store *s, lct_error *err) {
  lct_zarr_meta m = {.dtype = LCT_ZARR_F32, .codec = LCT_ZARR_ZSTD};
  set_axis(&m, 0, s->chunk_rows, "row");
  m.shard[0] = s->shard_rows;
  set_axis(&m, s->axes->n_scored_positions, 1, "position");
  set_axis(&m, s->axes->n_scored_sources, 1, "source");
  set_axis(&m, s->axes->n_layers, s->axes->n_layers, "layer");
  set_axis(&m, s->axes->fingerprints->n_labels, s->axes->fingerprints->n_labels, "reference");
  set_axis(&m, s->axes->n_metrics, s->axes->n_metrics, "metric");
  return add_array(s, "scores", &m, score_axes(s), s->row_frontier, &s->scores, err);
}

static lct_status add_token_ids(sweep_store *s, lct_error *err) {
  lct_zarr_meta m = {.dtype = LCT_ZARR_I32, .codec = LCT_ZARR_ZSTD};
  set_axis(&m, 0, s->token_shard, "token");
  m.shard[0] = s->token_shard;
  return add_array(s, "tokens/ids", &m, json_object(), s->token_frontier, &s->token_ids, err);
}

static json_t *roles(void) { return json_pack("[s, s, s]", "system", "user", "assistant"); }

static lct_status add_moments(sweep_store *s, lct_error *err) {
  lct_zarr_meta n = {.dtype = LCT_ZARR_I64, .codec = LCT_ZARR_ZSTD};
  set_axis(&n, 0, 1, "position");
  n.shard[0] = s->axes->n_positions;
  set_axis(&n, LCT_N_ROLES, LCT_N_ROLES, "role");
  json_t *axes = json_pack("{s:o, s:o}", "positions", strings_of_positions(s, false), "roles", roles());
  LCT_TRY(add_array(s, "moments/n", &n, axes, 0, &s->moments_n, err));
  for (int i = 0; i < s->axes->n_streams; i++) {
    const lct_axis_stream *t = &s->axes->streams[i];
    for (int k = 0; k < 2; k++) {
      lct_zarr_meta m = {.dtype = LCT_ZARR_F64, .codec = LCT_ZARR_ZSTD};
      set_axis(&m, 0, 1, "position");
      m.shard[0] = s->axes->n_positions;
      set_axis(&m, t->s.n_planes, 1, strcmp(t->name, "residual") == 0 ? "plane" : "layer");
      set_axis(&m, LCT_N_ROLES, LCT_N_ROLES, "role");
      set_axis(&m, t->s.width, t->s.width, "hidden");
      char name[64];
      (void)snprintf(name, sizeof name, "moments/%s/%s", t->name, k == 0 ? "mean" : "m2");
      axes = stream_axes(s, t, true);
      json_object_set_new(axes, "roles", roles());
      json_object_del(axes, "dtype");
      json_object_del(axes, "group");
      LCT_TRY(add_array(s, name, &m, axes, 0, k == 0 ? &s->streams[i].mean : &s->streams[i].m2, err));
    }
  }
  return LCT_OK;
}

lct_status sweep_store_add_arrays(sweep_store *s, lct_error *err) {
  s->arrays = json_array();
  LCT_TRY(lct_calloc(&s->streams, (size_t)s->axes->n_streams, sizeof *s->streams, "arrays", err));
  if (s->axes->scorer != NULL) LCT_TRY(add_scores(s, err));
  for (int i = 0; i < s->axes->n_streams; i++) {
    if (s->axes->streams[i].stored && s->o->keep != LCT_KEEP_SCORES) LCT_TRY(add_stream(s, i, false, err));
    if (s->axes->streams[i].stored && s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(add_stream(s, i, true, err));
  }
  if (s->o->keep == LCT_KEEP_TOKENS) LCT_TRY(add_token_ids(s, err));
  return add_moments(s, err);
}

/* n (position, role); mean and m2 (position, plane, role, width) of every stream. */
lct_status sweep_store_write_moments(sweep_store *s, lct_error *err) {
  for (int position = 0; position < s->axes->n_positions; position++) {
    for (int stream = -1; stream < s->axes->n_streams; stream++) {
      size_t bytes = stream < 0 ? sizeof(sweep_counts)
                                : sweep_moments_values(s->axes, stream) / (size_t)s->axes->n_positions * sizeof(double);
      for (int k = 0; k < (stream < 0 ? 1 : 2); k++) {
        lct_zarr_out *out = stream < 0 ? s->moments_n : k == 0 ? s->streams[stream].mean : s->streams[stream].m2;
        const void *from = stream < 0 ? (const void *)s->whole.n : k == 0 ? s->whole.mean[stream] : s->whole.m2[stream];
        void *to = NULL;
        int64_t n = 0;
        LCT_TRY(lct_zarr_reserve(out, 1, &to, &n, err));
        memcpy(to, (const char *)from + (size_t)position * bytes, bytes);
        LCT_TRY(lct_zarr_commit(out, 1, err));
      }
    }
  }
  return LCT_OK;
}
