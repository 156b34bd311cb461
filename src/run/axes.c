/* The lists a user gives, as axes; and scores by them. */
#include "run/axes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

static lct_status room(lct_axes *a, void *out_ptr, size_t n, size_t size, const char *what, lct_error *err) {
  void *p = lct_arena_alloc(&a->arena, n * size);
  memcpy(out_ptr, &p, sizeof p);
  return p != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for %s", what);
}

static lct_status read_layers(lct_axes *a, const char *list, int n_layers, lct_error *err) {
  const char *bad = NULL;
  unsigned char *chosen;
  size_t n = 0;
  LCT_TRY(room(a, &chosen, (size_t)n_layers, 1, "the layers", err));
  LCT_TRY(room(a, &a->layers, (size_t)n_layers, sizeof *a->layers, "the layers", err));
  if (!lct_list_numbers(list, NULL, n_layers, chosen, &bad, &n)) {
    return lct_fail(err, LCT_E_USAGE, "--layers: expected layers 0 to %d such as 0-11,23, found \"%.*s\"", n_layers - 1, (int)n, bad);
  }
  for (int l = 0; l < n_layers; l++) {
    if (chosen[l]) a->layers[a->n_layers++] = l;
  }
  return LCT_OK;
}

/* A vector a layer: not attention's weights, not what the model has once. */
static bool has_vectors(lct_source x, const lct_config *c) { return lct_source_width(x, c) > 0 && !lct_source_is_global(x); }

static lct_status read_sources(lct_axes *a, const lct_axes_options *o, const lct_config *c, lct_error *err) {
  const char *names[LCT_N_SOURCES], *list = o->sources != NULL ? o->sources : "hidden_out";
  lct_source can_be[LCT_N_SOURCES];
  int chosen[LCT_N_SOURCES], n = 0;
  LCT_TRY(room(a, &a->sources, LCT_N_SOURCES, sizeof *a->sources, "sources", err));
  if (o->sources == NULL && o->derive_residual) {
    for (int i = 0; i < LCT_N_RESIDUAL; i++) a->sources[a->n_sources++].source = LCT_RESIDUAL_SOURCES[i];
    return LCT_OK;
  }
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    if (!has_vectors((lct_source)i, c)) continue;
    can_be[n] = (lct_source)i;
    names[n++] = lct_source_name((lct_source)i);
  }
  const lct_list_known known = {.option = "--sources", .expected = "some of", .names = names, .n = n};
  LCT_TRY(lct_list_names(&known, list, chosen, &a->n_sources, err));
  for (int i = 0; i < a->n_sources; i++) a->sources[i].source = can_be[chosen[i]];
  return LCT_OK;
}

static bool has_source(const lct_axes *a, lct_source x) {
  for (int i = 0; i < a->n_sources; i++) {
    if (a->sources[i].source == x) return true;
  }
  return false;
}

static lct_status add_stream(lct_axes *a, const lct_config *c, lct_source source, bool stored, lct_axis_stream **out, lct_error *err) {
  lct_axis_stream *t = *out = &a->streams[a->n_streams];
  LCT_TRY(room(a, &t->planes, (size_t)c->n_layers + 1, sizeof *t->planes, "planes", err));
  (void)snprintf(t->name, sizeof t->name, "%s", lct_source_name(source));
  t->stored = stored;
  t->s = (lct_stream){.planes = t->planes, .width = lct_source_width(source, c)};
  a->n_streams++;
  return LCT_OK;
}

static int add_plane(lct_axis_stream *t, lct_source source, int layer) {
  for (int i = 0; i < t->s.n_planes; i++) {
    if (t->planes[i].source == source && t->planes[i].layer == layer) return i;
  }
  t->planes[t->s.n_planes] = (lct_plane){source, layer};
  return t->s.n_planes++;
}

/* What enters a layer is what left the layer before. */
static int add_entering(lct_axis_stream *t, int layer) {
  return layer == 0 ? add_plane(t, LCT_SOURCE_HIDDEN_IN, 0) : add_plane(t, LCT_SOURCE_HIDDEN_OUT, layer - 1);
}

static bool is_residual(lct_source x) { return x == LCT_SOURCE_HIDDEN_IN || x == LCT_SOURCE_HIDDEN_OUT; }

/* One copy of the residual stream for hidden_in and hidden_out. */
static lct_status add_residual(lct_axes *a, const lct_config *c, bool stored, lct_error *err) {
  lct_axis_stream *t;
  LCT_TRY(add_stream(a, c, LCT_SOURCE_HIDDEN_OUT, stored, &t, err));
  (void)snprintf(t->name, sizeof t->name, "residual");
  for (int i = 0; i < a->n_layers; i++) {
    (void)add_entering(t, a->layers[i]);
    (void)add_plane(t, LCT_SOURCE_HIDDEN_OUT, a->layers[i]);
  }
  for (int k = 0; k < a->n_sources; k++) {
    lct_axis_source *x = &a->sources[k];
    if (!is_residual(x->source)) continue;
    x->stream = a->n_streams - 1;
    for (int i = 0; i < a->n_layers; i++) {
      int l = a->layers[i];
      x->planes[i] = x->source == LCT_SOURCE_HIDDEN_IN ? add_entering(t, l) : add_plane(t, LCT_SOURCE_HIDDEN_OUT, l);
    }
  }
  return LCT_OK;
}

/* Streams in the order of the sources; of --derive residual the embeddings first, and every layer up to the last one asked for. */
static lct_status make_streams(lct_axes *a, const lct_config *c, bool derive, lct_error *err) {
  bool in = has_source(a, LCT_SOURCE_HIDDEN_IN), out = has_source(a, LCT_SOURCE_HIDDEN_OUT), together = (in && out) || derive;
  lct_axis_stream *t;
  LCT_TRY(room(a, &a->streams, (size_t)a->n_sources + 2, sizeof *a->streams, "streams", err));
  if (derive) {
    LCT_TRY(add_stream(a, c, LCT_SOURCE_EMBEDDINGS, true, &t, err));
    (void)add_plane(t, LCT_SOURCE_EMBEDDINGS, -1);
  }
  for (int k = 0; k < a->n_sources; k++) LCT_TRY(room(a, &a->sources[k].planes, (size_t)a->n_layers, sizeof(int), "planes", err));
  if (together && (in || out)) LCT_TRY(add_residual(a, c, !derive, err));
  for (int k = 0; k < a->n_sources; k++) {
    lct_axis_source *x = &a->sources[k];
    if (is_residual(x->source) && together) continue;
    LCT_TRY(add_stream(a, c, x->source, true, &t, err));
    x->stream = a->n_streams - 1;
    for (int i = 0; i < a->n_layers; i++) x->planes[i] = add_plane(t, x->source, a->layers[i]);
  }
  LCT_TRY(room(a, &a->pooled, (size_t)a->n_streams, sizeof *a->pooled, "streams", err));
  for (int i = 0; i < a->n_streams; i++) a->pooled[i] = a->streams[i].s;
  return LCT_OK;
}

static lct_status find_tap_layers(lct_axes *a, const lct_config *c, lct_error *err) {
  LCT_TRY(room(a, &a->tap_layers, (size_t)c->n_layers, 1, "layers", err));
  for (int i = 0; i < a->n_streams; i++) {
    for (int k = 0; k < a->streams[i].s.n_planes; k++) {
      if (a->streams[i].planes[k].layer >= 0) a->tap_layers[a->streams[i].planes[k].layer] = 1;
    }
  }
  return LCT_OK;
}

static lct_status read_metrics(lct_axes *a, const char *asked, lct_error *err) {
  const char *list = asked != NULL ? asked : "cosine,mae,jaccard", *bad = NULL, *names[LCT_N_ALL_METRICS];
  size_t n = 0;
  if (a->fingerprints == NULL) return asked == NULL ? LCT_OK : lct_fail(err, LCT_E_USAGE, "--metrics needs --fingerprints");
  LCT_TRY(room(a, &a->metrics, (size_t)lct_list_count(list), sizeof *a->metrics, "metrics", err));
  if (lct_metrics_parse(list, a->metrics, &a->n_metrics, &bad, &n)) return LCT_OK;
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) names[i] = lct_any_metric_name(i);
  const lct_list_known known = {.option = "--metrics", .expected = "some of", .names = names, .n = LCT_N_ALL_METRICS};
  return lct_list_unknown(&known, bad, n, err);
}

static bool stands_in(char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i], name) == 0) return true;
  }
  return false;
}

/* What is scored: the positions and sources that the fingerprints have vectors for. */
static lct_status make_scorer(lct_axes *a, const char *file, lct_error *err) {
  const lct_fingerprints *f = a->fingerprints;
  const char **positions, **sources;
  if (f == NULL) return LCT_OK;
  LCT_TRY(room(a, &positions, (size_t)a->n_positions, sizeof *positions, "the scores' axes", err));
  LCT_TRY(room(a, &sources, (size_t)a->n_sources, sizeof *sources, "the scores' axes", err));
  LCT_TRY(room(a, &a->scored_positions, (size_t)a->n_positions, sizeof(int), "the scores' axes", err));
  LCT_TRY(room(a, &a->scored_sources, (size_t)a->n_sources, sizeof(int), "the scores' axes", err));
  for (int i = 0; i < a->n_positions; i++) {
    if (!stands_in(f->poolings, f->n_poolings, a->positions[i].name)) continue;
    positions[a->n_scored_positions] = a->positions[i].name;
    a->scored_positions[a->n_scored_positions++] = i;
  }
  for (int i = 0; i < a->n_sources; i++) {
    const char *name = lct_source_name(a->sources[i].source);
    if (!stands_in(f->sources, f->n_sources, name)) continue;
    sources[a->n_scored_sources] = name;
    a->scored_sources[a->n_scored_sources++] = i;
  }
  if (a->n_scored_positions == 0 || a->n_scored_sources == 0) {
    return lct_fail(err, LCT_E_USAGE, "%s has no vectors for any of the %s asked for", file,
                    a->n_scored_positions == 0 ? "positions" : "sources");
  }
  const lct_score_axes axes = {.metrics = a->metrics,
                               .n_metrics = a->n_metrics,
                               .poolings = positions,
                               .sources = sources,
                               .n_poolings = a->n_scored_positions,
                               .n_sources = a->n_scored_sources,
                               .layers = a->layers,
                               .n_layers = a->n_layers};
  return lct_scorer_new(f, &axes, &a->scorer, err);
}

static lct_status make_all(lct_axes *a, const lct_axes_options *o, const lct_config *c, const char *file, lct_error *err) {
  const char *positions = o->positions != NULL ? o->positions : LCT_DEFAULT_POSITIONS;
  LCT_TRY(lct_positions_parse("--positions", positions, &a->arena, &a->positions, &a->n_positions, err));
  LCT_TRY(read_layers(a, o->layers, c->n_layers, err));
  LCT_TRY(read_sources(a, o, c, err));
  LCT_TRY(make_streams(a, c, o->derive_residual, err));
  LCT_TRY(find_tap_layers(a, c, err));
  LCT_TRY(read_metrics(a, o->metrics, err));
  return make_scorer(a, file, err);
}

lct_status lct_axes_new(const lct_axes_options *o, const lct_config *c, const lct_fingerprints *f, const char *name, lct_axes **out,
                        lct_error *err) {
  lct_axes *a = NULL;
  LCT_TRY(lct_calloc(&a, 1, sizeof *a, "axes", err));
  a->fingerprints = f;
  lct_status s = make_all(a, o, c, name, err);
  if (s == LCT_OK) *out = a;
  else lct_axes_free(a);
  return s;
}

void lct_axes_free(lct_axes *a) {
  if (a == NULL) return;
  lct_scorer_free(a->scorer);
  lct_arena_free(&a->arena);
  free(a);
}

/* Scores of one (position, source, layer): references x metrics. */
static size_t cell_floats(const lct_axes *a) { return (size_t)a->fingerprints->n_labels * (size_t)a->n_metrics; }

static int n_cells(const lct_axes *a) { return a->n_scored_positions * a->n_scored_sources * a->n_layers; }

size_t lct_axes_score_floats(const lct_axes *a) { return a->scorer != NULL ? (size_t)n_cells(a) * cell_floats(a) : 0; }

typedef struct {
  const lct_axes *a;
  const lct_pool *pool;
  int32_t n;
  const lct_score_row *rows;
  int first; /* the cell that out begins with */
  int at;    /* the pool's position where it is not the axes', else -1 */
  int64_t ld;
  float *out;
} scoring;

/* One (position, source, layer) of all items. */
static lct_status score_cell(const scoring *k, int number, lct_error *err) {
  const lct_axes *a = k->a;
  int cell = k->first + number, layer = cell % a->n_layers, source = cell / a->n_layers % a->n_scored_sources;
  int position = cell / a->n_layers / a->n_scored_sources;
  const lct_axis_source *x = &a->sources[a->scored_sources[source]];
  const float *vectors = lct_pool_vectors(k->pool, x->stream, k->at >= 0 ? k->at : a->scored_positions[position], x->planes[layer]);
  return lct_scorer_run(a->scorer, position, source, layer, vectors, a->streams[x->stream].s.width, (size_t)k->n, k->rows,
                        k->out + (size_t)number * cell_floats(a), k->ld, err);
}

static lct_status score_cells(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)thread;
  for (int64_t i = from; i < to; i++) LCT_TRY(score_cell(ctx, (int)i, err));
  return LCT_OK;
}

lct_status lct_axes_score(const lct_axes *a, const lct_pool *pool, int32_t n, const lct_score_row *rows, lct_threads *threads, float *out,
                          lct_error *err) {
  if (a->scorer == NULL || n == 0) return LCT_OK;
  scoring k = {.a = a, .pool = pool, .n = n, .rows = rows, .at = -1, .ld = (int64_t)lct_axes_score_floats(a), .out = out};
  return lct_threads_for(threads, n_cells(a), 1, score_cells, &k, err);
}

lct_status lct_axes_score_position(const lct_axes *a, int position, const lct_pool *pool, int at, const lct_score_row *row,
                                   lct_threads *threads, float *out, lct_error *err) {
  int n = a->n_scored_sources * a->n_layers;
  scoring k = {.a = a, .pool = pool, .n = 1, .rows = row, .first = position * n, .at = at, .out = out};
  return lct_threads_for(threads, n, 1, score_cells, &k, err);
}
