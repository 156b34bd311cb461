/* New scores from stored vectors: no model. Blocks of rows are read place by place, scored in parallel, and written as an array of its own
 * beside the sweep's; data.zarr is never touched. */
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"
#include "archive/select.h"
#include "base/clock.h"
#include "score/fingerprint.h"
#include "store/zarr_write.h"
#include "text/prompt.h"

enum { BLOCK_BYTES = 64 << 20, MIN_BLOCK = 64, TASK_ROWS = 16, SHARD_ROWS = 65536, MIN_FREE = 64 << 20 };

typedef struct {
  const lct_score_options *o;
  lct_archive *a;
  const lct_archive_info *f;
  lct_fingerprints *prints;
  char hash[65];
  lct_arena arena;
  lct_names sources, positions; /* both the sweep and the fingerprints have */
  lct_archive_selection s;
  const char **source_names, **position_names; /* chosen */
  int *layers, *metrics, n_metrics;
  lct_scorer *scorer;
  size_t row_floats; /* scores of a row */
  int width;
  int64_t block;
  float *vectors[2];   /* (block, width): being scored, being read */
  lct_score_row *rows; /* (block) */
  lct_threads *threads;
  lct_zarr_writer *writer;
  lct_zarr_out *out;
} rescore;

/* Names of `have` that stand in `wanted` too. */
static lct_status common(rescore *r, const lct_names *have, char *const *wanted, int n_wanted, const char *what, lct_names *out,
                         lct_error *err) {
  const char **names = lct_arena_alloc(&r->arena, ((size_t)have->n + 1) * sizeof *names);
  out->names = names;
  if (names == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the scores' axes");
  for (int i = 0; i < have->n; i++) {
    for (int k = 0; k < n_wanted; k++) {
      if (strcmp(have->names[i], wanted[k]) == 0) names[out->n++] = have->names[i];
    }
  }
  if (out->n > 0) return LCT_OK;
  return lct_fail(err, LCT_E_USAGE, "%s has no vectors for any of the %s of %s", r->o->fingerprints, what, r->o->dir);
}

static lct_status read_metrics(rescore *r, lct_error *err) {
  const char *list = r->o->metrics != NULL ? r->o->metrics : "cosine,mae,jaccard", *bad = NULL;
  size_t n = 0;
  r->metrics = lct_arena_alloc(&r->arena, (size_t)lct_list_count(list) * sizeof *r->metrics);
  if (r->metrics == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the metrics");
  if (!lct_metrics_parse(list, r->metrics, &r->n_metrics, &bad, &n)) {
    return lct_fail(err, LCT_E_USAGE, "--metrics: \"%.*s\" is no metric", n < 100 ? (int)n : 100, bad);
  }
  for (int i = 0; i < r->n_metrics && r->o->calibrate_sweep; i++) {
    if (LCT_METRIC_RULES[r->metrics[i]].needs <= LCT_NEEDS_MOMENTS) continue;
    return lct_fail(err, LCT_E_USAGE, "--calibrate sweep gives mean and deviation alone: %s needs the fingerprints' neutral bank",
                    lct_any_metric_name(r->metrics[i]));
  }
  return LCT_OK;
}

/* The chosen names and layers, in order. */
static lct_status choose(rescore *r, lct_error *err) {
  const lct_archive_choice from = {&r->sources, &r->positions, r->f->layers, r->f->n_layers, r->f->n_rows};
  LCT_TRY(lct_archive_select(&from, r->o->sources, r->o->positions, r->o->layers, NULL, &r->s, err));
  r->source_names = lct_arena_alloc(&r->arena, ((size_t)r->s.n_sources + 1) * sizeof *r->source_names);
  r->position_names = lct_arena_alloc(&r->arena, ((size_t)r->s.n_positions + 1) * sizeof *r->position_names);
  r->layers = lct_arena_alloc(&r->arena, ((size_t)r->s.n_layers + 1) * sizeof *r->layers);
  if (!r->source_names || !r->position_names || !r->layers) return lct_fail(err, LCT_E_NOMEM, "out of memory for the scores' axes");
  for (int i = 0; i < r->s.n_sources; i++) r->source_names[i] = r->sources.names[r->s.sources[i]];
  for (int i = 0; i < r->s.n_positions; i++) r->position_names[i] = r->positions.names[r->s.positions[i]];
  for (int i = 0; i < r->s.n_layers; i++) r->layers[i] = r->f->layers[r->s.layers[i]];
  return LCT_OK;
}

static int index_of(char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i], name) == 0) return i;
  }
  return -1;
}

/* Mean and deviation of one place become the sweep's own. */
static lct_status calibrate_place(rescore *r, const char *position, const char *source, int layer, double *mean, double *sigma,
                                  lct_error *err) {
  lct_fingerprints *p = r->prints;
  size_t hidden = (size_t)p->hidden;
  size_t at = lct_fingerprints_place(p, index_of(p->poolings, p->n_poolings, position), index_of(p->sources, p->n_sources, source), layer) *
              hidden;
  LCT_TRY(lct_archive_moments(r->a, source, position, layer, mean, sigma, &p->n_neutral, err));
  for (size_t i = 0; i < hidden; i++) {
    p->mean[at + i] = (float)mean[i];
    p->sigma[at + i] = (float)sigma[i];
  }
  return LCT_OK;
}

static lct_status calibrate(rescore *r, lct_error *err) {
  lct_fingerprints *p = r->prints;
  size_t n = lct_fingerprints_n_places(p), hidden = (size_t)p->hidden;
  if (!r->o->calibrate_sweep) return LCT_OK;
  if (p->mean == NULL) LCT_TRY(lct_calloc(&p->mean, n, hidden * sizeof *p->mean, "means", err));
  if (p->sigma == NULL) LCT_TRY(lct_calloc(&p->sigma, n, hidden * sizeof *p->sigma, "deviations", err));
  double *mean = NULL, *sigma = NULL;
  lct_status s = lct_alloc_aligned(&mean, hidden, sizeof *mean, "means", err);
  if (s == LCT_OK) s = lct_alloc_aligned(&sigma, hidden, sizeof *sigma, "deviations", err);
  for (int i = 0; i < r->s.n_positions && s == LCT_OK; i++) {
    for (int k = 0; k < r->s.n_sources && s == LCT_OK; k++) {
      for (int l = 0; l < r->s.n_layers && s == LCT_OK; l++) {
        s = calibrate_place(r, r->position_names[i], r->source_names[k], r->layers[l], mean, sigma, err);
      }
    }
  }
  free(mean);
  free(sigma);
  return s;
}

static lct_status open_fingerprints(rescore *r, lct_error *err) {
  const char *path = r->o->fingerprints;
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_sha256_hex(map.data, map.size, r->hash);
  lct_status s = lct_fingerprints_parse(map.data, map.size, path, &r->prints, err);
  lct_map_close(&map);
  LCT_TRY(s);
  return lct_fingerprints_check(r->prints, path, r->f->model.hash, r->f->template_hash, r->f->model.n_layers, r->f->model.hidden, err);
}

static lct_status open_scorer(rescore *r, lct_error *err) {
  LCT_TRY(open_fingerprints(r, err));
  LCT_TRY(read_metrics(r, err));
  LCT_TRY(common(r, &r->f->sources, r->prints->sources, r->prints->n_sources, "sources", &r->sources, err));
  LCT_TRY(common(r, &r->f->positions, r->prints->poolings, r->prints->n_poolings, "positions", &r->positions, err));
  LCT_TRY(choose(r, err));
  LCT_TRY(calibrate(r, err));
  const lct_score_axes axes = {.metrics = r->metrics,
                               .n_metrics = r->n_metrics,
                               .poolings = r->position_names,
                               .n_poolings = r->s.n_positions,
                               .sources = r->source_names,
                               .n_sources = r->s.n_sources,
                               .layers = r->layers,
                               .n_layers = r->s.n_layers};
  LCT_TRY(lct_scorer_new(r->prints, &axes, &r->scorer, err));
  for (int k = 0; k < r->s.n_sources; k++) {
    LCT_TRY(lct_archive_width(r->a, false, r->source_names[k], &r->width, err));
    if (r->width == r->prints->hidden) continue;
    return lct_fail(err, LCT_E_USAGE, "%s has vectors of %d values, %s of %d", r->source_names[k], r->width, r->o->fingerprints,
                    r->prints->hidden);
  }
  return LCT_OK;
}

static json_t *names_json(const char *const *names, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(names[i]));
  return a;
}

static char *attributes(const rescore *r) {
  json_t *layers = json_array(), *metrics = json_array();
  for (int i = 0; i < r->s.n_layers; i++) json_array_append_new(layers, json_integer(r->layers[i]));
  for (int i = 0; i < r->n_metrics; i++) json_array_append_new(metrics, json_string(lct_any_metric_name(r->metrics[i])));
  json_t *root = json_pack("{s:{s:o, s:o, s:o, s:o, s:o, s:s, s:s}}", "llmct", "positions", names_json(r->position_names, r->s.n_positions),
                           "sources", names_json(r->source_names, r->s.n_sources), "layers", layers, "references",
                           names_json((const char *const *)r->prints->labels, r->prints->n_labels), "metrics", metrics, "fingerprints",
                           r->hash, "calibrate", r->o->calibrate_sweep ? "sweep" : "fingerprints");
  char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  return text;
}

static lct_status open_store(rescore *r, const char *dir, lct_error *err) {
  const int64_t axes[] = {r->f->n_rows, r->s.n_positions, r->s.n_sources, r->s.n_layers, r->prints->n_labels, r->n_metrics};
  static const char *const names[] = {"row", "position", "source", "layer", "reference", "metric"};
  lct_zarr_meta m = {.dtype = LCT_ZARR_F32, .codec = LCT_ZARR_ZSTD, .n_dims = 6};
  r->row_floats = 1;
  for (int i = 0; i < 6; i++) {
    m.shape[i] = m.shard[i] = m.chunk[i] = axes[i];
    if (i == 1 || i == 2) m.chunk[i] = 1;
    if (i > 0) r->row_floats *= (size_t)axes[i];
    (void)snprintf(m.dim_names[i], sizeof m.dim_names[i], "%s", names[i]);
  }
  r->block = (int64_t)((size_t)BLOCK_BYTES / (r->row_floats * sizeof(float)));
  if (r->block > SHARD_ROWS / MIN_BLOCK) r->block = SHARD_ROWS / MIN_BLOCK;
  r->block = r->block < MIN_BLOCK ? MIN_BLOCK : r->block / MIN_BLOCK * MIN_BLOCK;
  m.chunk[0] = r->block;
  m.shard[0] = r->block * MIN_BLOCK;
  char *text = attributes(r);
  const lct_zarr_write_options o = {.threads = r->threads, .fsync = LCT_FSYNC_END, .min_free_bytes = MIN_FREE};
  lct_status s = text != NULL ? lct_zarr_writer_new(dir, &o, &r->writer, err)
                              : lct_fail(err, LCT_E_NOMEM, "out of memory for the scores' axes");
  if (s == LCT_OK) s = lct_zarr_writer_add(r->writer, "scores", &m, text, 0, &r->out, err);
  free(text);
  LCT_TRY(s);
  for (int i = 0; i < 2; i++)
    LCT_TRY(lct_alloc_aligned(&r->vectors[i], (size_t)r->block * (size_t)r->width, sizeof(float), "vectors", err));
  return lct_calloc(&r->rows, (size_t)r->block, sizeof *r->rows, "rows", err);
}

/* Place number p is a (position, source, layer), the last going fastest: its vectors of n rows. */
static lct_status read_place(rescore *r, int p, int64_t first, int64_t n, float *out, lct_error *err) {
  int layer = p % r->s.n_layers, source = p / r->s.n_layers % r->s.n_sources, position = p / r->s.n_layers / r->s.n_sources;
  return lct_archive_vectors(r->a, r->source_names[source], r->position_names[position], r->layers[layer], first, (size_t)n, out, err);
}

static lct_status score_rows(const rescore *r, int p, int64_t from, int64_t n, const float *vectors, float *out, lct_error *err) {
  int layer = p % r->s.n_layers, source = p / r->s.n_layers % r->s.n_sources, position = p / r->s.n_layers / r->s.n_sources;
  size_t rows = (size_t)(n - from < TASK_ROWS ? n - from : TASK_ROWS), cell = (size_t)r->prints->n_labels * (size_t)r->n_metrics;
  return lct_scorer_run(r->scorer, position, source, layer, vectors + from * r->width, r->width, rows, r->rows + from,
                        out + (size_t)from * r->row_floats + (size_t)p * cell, (int64_t)r->row_floats, err);
}

/* Rows [first, first + n) of a place. */
typedef struct {
  rescore *r;
  int place, n_places;
  int64_t first, n;
  float *out;
} scoring;

/* Item 0 reads the next place, the others score this one. */
static lct_status score_some(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  const scoring *c = ctx;
  rescore *r = c->r;
  int next = c->place + 1;
  for (int64_t i = from; i < to; i++) {
    if (i > 0) LCT_TRY(score_rows(r, c->place, (i - 1) * TASK_ROWS, c->n, r->vectors[c->place % 2], c->out, err));
    else if (next < c->n_places) LCT_TRY(read_place(r, next, c->first, c->n, r->vectors[next % 2], err));
  }
  return LCT_OK;
}

static lct_status score_place(rescore *r, int p, int n_places, int64_t first, int64_t n, float *out, lct_error *err) {
  scoring c = {.r = r, .place = p, .n_places = n_places, .first = first, .n = n, .out = out};
  return lct_threads_for(r->threads, 1 + (n + TASK_ROWS - 1) / TASK_ROWS, 1, score_some, &c, err);
}

static lct_status score_block(rescore *r, int64_t first, int64_t n, float *out, lct_error *err) {
  for (int64_t i = 0; i < n; i++) {
    lct_archive_row_info row;
    LCT_TRY(lct_archive_row(r->a, first + i, &row, err));
    r->rows[i] = (lct_score_row){.role = lct_role_of(row.role), .n_tokens = row.content_to - row.content_from};
  }
  int n_places = r->s.n_positions * r->s.n_sources * r->s.n_layers;
  LCT_TRY(read_place(r, 0, first, n, r->vectors[0], err));
  for (int p = 0; p < n_places; p++) LCT_TRY(score_place(r, p, n_places, first, n, out, err));
  return LCT_OK;
}

static lct_status score_all(rescore *r, lct_error *err) {
  for (int64_t row = 0; row < r->f->n_rows;) {
    void *to = NULL;
    int64_t n = 0;
    LCT_TRY(lct_zarr_reserve(r->out, r->f->n_rows - row, &to, &n, err));
    if (n > r->block) n = r->block;
    LCT_TRY(score_block(r, row, n, to, err));
    LCT_TRY(lct_zarr_commit(r->out, n, err));
    row += n;
  }
  return lct_zarr_writer_finish(r->writer, err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
  (void)st;
  (void)type;
  (void)walk;
  return remove(path);
}

static void remove_tree(const char *path) { (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* NAME, or the file's own without its ending, is a file's name and nothing else. */
static lct_status paths_of(rescore *r, lct_buf *path, lct_buf *tmp, lct_error *err) {
  const char *name = r->o->name, *slash = strrchr(r->o->fingerprints, '/');
  size_t n = name != NULL ? strlen(name) : 0;
  if (name == NULL) {
    static const char ending[] = ".safetensors";
    name = slash != NULL ? slash + 1 : r->o->fingerprints;
    n = strlen(name);
    if (n >= sizeof ending && strcmp(name + n - (sizeof ending - 1), ending) == 0) n -= sizeof ending - 1;
  }
  if (n == 0 || n > 100 || name[0] == '.' || memchr(name, '/', n) != NULL) {
    return lct_fail(err, LCT_E_USAGE, "\"%.*s\" cannot name scores: expected a file's name", n < 100 ? (int)n : 100, name);
  }
  LCT_TRY(lct_buf_printf(path, err, "%s/scores/%.*s.zarr", r->f->dir, (int)n, name));
  LCT_TRY(lct_buf_printf(tmp, err, "%s.tmp", path->data));
  if (lct_path_exists(path->data)) return lct_fail(err, LCT_E_USAGE, "%s is there already: --name another", path->data);
  return LCT_OK;
}

static lct_status run(rescore *r, lct_score_result *result, lct_error *err) {
  lct_buf path = {0}, tmp = {0};
  double t0 = lct_seconds();
  lct_status s = paths_of(r, &path, &tmp, err);
  if (s == LCT_OK) s = open_scorer(r, err);
  if (s == LCT_OK) s = lct_threads_new(r->o->threads, &r->threads, err);
  if (s == LCT_OK) {
    remove_tree(tmp.data); /* of a run that was killed */
    s = open_store(r, tmp.data, err);
    if (s == LCT_OK) s = score_all(r, err);
    lct_zarr_writer_free(r->writer);
    if (s == LCT_OK && rename(tmp.data, path.data) != 0) s = lct_fail(err, LCT_E_IO, "cannot rename %s to %s", tmp.data, path.data);
    if (s != LCT_OK) remove_tree(tmp.data);
  }
  if (s == LCT_OK) {
    *result = (lct_score_result){.rows = r->f->n_rows, .scores = r->f->n_rows * (int64_t)r->row_floats, .seconds = lct_seconds() - t0};
    (void)snprintf(result->path, sizeof result->path, "%s", path.data);
    memcpy(result->fingerprints_hash, r->hash, sizeof r->hash);
  }
  lct_buf_free(&path);
  lct_buf_free(&tmp);
  return s;
}

lct_status lct_score(const lct_score_options *o, lct_score_result *result, lct_error *err) {
  rescore r = {.o = o};
  *result = (lct_score_result){0};
  LCT_TRY(lct_archive_open(o->dir, &r.a, err));
  r.f = lct_archive_get_info(r.a);
  lct_status s = run(&r, result, err);
  lct_threads_free(r.threads);
  lct_scorer_free(r.scorer);
  lct_fingerprints_free(r.prints);
  lct_archive_selection_free(&r.s);
  lct_arena_free(&r.arena);
  free(r.vectors[0]);
  free(r.vectors[1]);
  free(r.rows);
  lct_archive_free(r.a);
  return s;
}
