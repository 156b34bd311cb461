/* The lists a user gives, as axes: positions, layers, sources and the streams that hold them, metrics. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

/* The next part of a list with commas; false at its end. */
static bool next_part(const char **list, const char **part, size_t *n) {
  if (*list == NULL) return false;
  *part = *list;
  *n = strcspn(*list, ",");
  *list = (*list)[*n] == ',' ? *list + *n + 1 : NULL;
  return true;
}

static int count_parts(const char *list) {
  int n = 1;
  for (; *list != '\0'; list++) n += *list == ',';
  return n;
}

static bool parse_bound(const char *text, const char *end, int64_t absent, int64_t *out) {
  if (text == end) {
    *out = absent;
    return true;
  }
  char *stop = NULL;
  errno = 0;
  long v = strtol(text, &stop, 10);
  *out = v;
  return errno == 0 && stop == end && v > INT32_MIN && v < INT32_MAX;
}

static bool parse_position(const char *text, size_t n, sweep_position *p) {
  (void)snprintf(p->name, sizeof p->name, "%.*s", (int)n, text);
  for (int i = 0; i < LCT_N_POOLINGS; i++) {
    if (strcmp(p->name, lct_pooling_name((lct_pooling)i)) != 0) continue;
    p->kind = (sweep_at)i;
    return true;
  }
  if (strncmp(p->name, "message:", 8) == 0) {
    p->kind = SWEEP_AT_ROLE;
    p->role = lct_role_of(p->name + 8);
    return p->role < 2 || strcmp(p->name + 8, "assistant") == 0;
  }
  if (strncmp(p->name, "range:", 6) != 0) return false;
  p->kind = SWEEP_AT_RANGE;
  const char *colon = strchr(p->name + 6, ':');
  if (colon == NULL) return false;
  return parse_bound(p->name + 6, colon, 0, &p->from) && parse_bound(colon + 1, p->name + strlen(p->name), INT64_MAX, &p->to);
}

static lct_status read_positions(sweep *s, lct_error *err) {
  const char *list = s->o->positions != NULL ? s->o->positions : "last,content_last,content_mean", *part;
  size_t n = 0;
  LCT_TRY(lct_calloc(&s->positions, (size_t)count_parts(list), sizeof *s->positions, "positions", err));
  while (next_part(&list, &part, &n)) {
    sweep_position *p = &s->positions[s->n_positions];
    if (n >= sizeof p->name || !parse_position(part, n, p)) {
      return lct_fail(err, LCT_E_USAGE, "--positions: expected last, content_last, content_mean, message:ROLE (system, user, assistant) or "
                      "range:FROM:TO, found \"%.*s\"", (int)n, part);
    }
    for (int i = 0; i < s->n_positions; i++) {
      if (strcmp(s->positions[i].name, p->name) == 0) return lct_fail(err, LCT_E_USAGE, "--positions: \"%s\" stands twice", p->name);
    }
    s->n_positions++;
  }
  return LCT_OK;
}

static lct_status read_layers(sweep *s, lct_error *err) {
  const char *list = s->o->layers, *part;
  unsigned char *chosen = lct_arena_alloc(&s->arena, (size_t)s->cfg.n_layers);
  LCT_TRY(lct_calloc(&s->layers, (size_t)s->cfg.n_layers, sizeof *s->layers, "layers", err));
  if (chosen == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the layers");
  if (list == NULL) memset(chosen, 1, (size_t)s->cfg.n_layers);
  size_t n = 0;
  while (next_part(&list, &part, &n)) {
    const char *dash = memchr(part, '-', n);
    int64_t from = -1, to = -1;
    bool fine = parse_bound(part, dash != NULL ? dash : part + n, -1, &from) && (dash == NULL || parse_bound(dash + 1, part + n, -1, &to));
    if (dash == NULL) to = from;
    if (!fine || from < 0 || to < from || to >= s->cfg.n_layers) {
      return lct_fail(err, LCT_E_USAGE, "--layers: expected layers 0 to %d such as 0-11,23, found \"%.*s\"", s->cfg.n_layers - 1, (int)n, part);
    }
    for (int64_t l = from; l <= to; l++) chosen[l] = 1;
  }
  for (int l = 0; l < s->cfg.n_layers; l++) {
    if (chosen[l]) s->layers[s->n_layers++] = l;
  }
  return LCT_OK;
}

static bool source_by_name(const char *text, size_t n, lct_source *out) {
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    const char *name = lct_source_name((lct_source)i);
    if (strlen(name) != n || memcmp(name, text, n) != 0) continue;
    *out = (lct_source)i;
    return true;
  }
  return false;
}

/* A vector a layer: not attention's weights, not what the model has once. */
static bool has_vectors(const sweep *s, lct_source x) { return lct_source_width(x, &s->cfg) > 0 && !lct_source_is_global(x); }

static lct_status no_source(const sweep *s, const char *part, size_t n, lct_error *err) {
  lct_buf names = {0};
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    if (!has_vectors(s, (lct_source)i)) continue;
    LCT_TRY(lct_buf_printf(&names, err, "%s%s", names.len > 0 ? ", " : "", lct_source_name((lct_source)i)));
  }
  (void)lct_fail(err, LCT_E_USAGE, "--sources: expected some of %s, found \"%.*s\"", names.data, (int)n, part);
  lct_buf_free(&names);
  return LCT_E_USAGE;
}

static lct_status read_sources(sweep *s, lct_error *err) {
  const char *list = s->o->sources, *part;
  if (list == NULL) list = s->o->derive_residual ? "hidden_in,hidden_out,attn_out,mlp_down_out" : "hidden_out";
  size_t n = 0;
  LCT_TRY(lct_calloc(&s->sources, (size_t)count_parts(list), sizeof *s->sources, "sources", err));
  while (next_part(&list, &part, &n)) {
    sweep_source *x = &s->sources[s->n_sources];
    if (!source_by_name(part, n, &x->source) || !has_vectors(s, x->source)) return no_source(s, part, n, err);
    for (int i = 0; i < s->n_sources; i++) {
      if (s->sources[i].source == x->source) return lct_fail(err, LCT_E_USAGE, "--sources: \"%.*s\" stands twice", (int)n, part);
    }
    s->n_sources++;
  }
  return LCT_OK;
}

static bool has_source(const sweep *s, lct_source x) {
  for (int i = 0; i < s->n_sources; i++) {
    if (s->sources[i].source == x) return true;
  }
  return false;
}

static sweep_stream *add_stream(sweep *s, const char *name, int width, bool stored, lct_error *err) {
  sweep_stream *t = &s->streams[s->n_streams];
  if (lct_calloc(&t->planes, (size_t)s->cfg.n_layers + 1, sizeof *t->planes, "planes", err) != LCT_OK) return NULL;
  (void)snprintf(t->name, sizeof t->name, "%s", name);
  t->stored = stored;
  t->s = (lct_stream){.planes = t->planes, .width = width};
  s->n_streams++;
  return t;
}

static int add_plane(sweep_stream *t, lct_source source, int layer) {
  for (int i = 0; i < t->s.n_planes; i++) {
    if (t->planes[i].source == source && t->planes[i].layer == layer) return i;
  }
  t->planes[t->s.n_planes] = (lct_plane){source, layer};
  return t->s.n_planes++;
}

/* One copy of the residual stream for hidden_in and hidden_out: what enters layer l + 1 is what left layer l. */
static lct_status add_residual(sweep *s, bool stored, lct_error *err) {
  sweep_stream *t = add_stream(s, "residual", s->cfg.hidden, stored, err);
  if (t == NULL) return LCT_E_NOMEM;
  for (int i = 0; i < s->n_layers; i++) {
    if (s->layers[i] == 0) (void)add_plane(t, LCT_SOURCE_HIDDEN_IN, 0);
    else (void)add_plane(t, LCT_SOURCE_HIDDEN_OUT, s->layers[i] - 1);
    (void)add_plane(t, LCT_SOURCE_HIDDEN_OUT, s->layers[i]);
  }
  for (int k = 0; k < s->n_sources; k++) {
    sweep_source *x = &s->sources[k];
    if (x->source != LCT_SOURCE_HIDDEN_IN && x->source != LCT_SOURCE_HIDDEN_OUT) continue;
    x->stream = s->n_streams - 1;
    for (int i = 0; i < s->n_layers; i++) {
      int l = s->layers[i];
      if (x->source == LCT_SOURCE_HIDDEN_OUT) x->planes[i] = add_plane(t, LCT_SOURCE_HIDDEN_OUT, l);
      else x->planes[i] = l == 0 ? add_plane(t, LCT_SOURCE_HIDDEN_IN, 0) : add_plane(t, LCT_SOURCE_HIDDEN_OUT, l - 1);
    }
  }
  return LCT_OK;
}

/* Streams in the order of the sources; of --derive residual the embeddings first, and every layer up to the last one asked for. */
static lct_status make_streams(sweep *s, lct_error *err) {
  LCT_TRY(lct_calloc(&s->streams, (size_t)s->n_sources + 4, sizeof *s->streams, "streams", err));
  bool derive = s->o->derive_residual, in = has_source(s, LCT_SOURCE_HIDDEN_IN), out = has_source(s, LCT_SOURCE_HIDDEN_OUT);
  if (derive) {
    sweep_stream *t = add_stream(s, "embeddings", s->cfg.hidden, true, err);
    if (t == NULL) return LCT_E_NOMEM;
    (void)add_plane(t, LCT_SOURCE_EMBEDDINGS, -1);
  }
  for (int k = 0; k < s->n_sources; k++) {
    LCT_TRY(lct_calloc(&s->sources[k].planes, (size_t)s->n_layers, sizeof(int), "planes", err));
  }
  if ((in && out) || (derive && (in || out))) LCT_TRY(add_residual(s, !derive, err));
  for (int k = 0; k < s->n_sources; k++) {
    sweep_source *x = &s->sources[k];
    bool residual = x->source == LCT_SOURCE_HIDDEN_IN || x->source == LCT_SOURCE_HIDDEN_OUT;
    if (residual && ((in && out) || derive)) continue;
    sweep_stream *t = add_stream(s, lct_source_name(x->source), lct_source_width(x->source, &s->cfg), true, err);
    if (t == NULL) return LCT_E_NOMEM;
    x->stream = s->n_streams - 1;
    for (int i = 0; i < s->n_layers; i++) x->planes[i] = add_plane(t, x->source, s->layers[i]);
  }
  return LCT_OK;
}

static lct_status check_derive(const sweep *s, lct_error *err) {
  if (!s->o->derive_residual) return LCT_OK;
  if (!has_source(s, LCT_SOURCE_ATTN_OUT) || !has_source(s, LCT_SOURCE_MLP_DOWN_OUT)) {
    return lct_fail(err, LCT_E_USAGE, "--derive residual needs attn_out and mlp_down_out among --sources: they are what is stored");
  }
  if (s->n_layers != s->layers[s->n_layers - 1] + 1) {
    return lct_fail(err, LCT_E_USAGE, "--derive residual adds up layers from the first: --layers must be 0-N");
  }
  lct_stored exact = s->device.gpu && s->device.precision == LCT_PRECISION_F16 ? LCT_STORED_F16
                     : s->device.gpu && s->device.precision == LCT_PRECISION_BF16 ? LCT_STORED_BF16 : LCT_STORED_F32;
  if (s->o->store_dtype != exact && s->o->store_dtype != LCT_STORED_F32) {
    return lct_fail(err, LCT_E_USAGE, "--derive residual gives the same bits only where what is added is stored as it is added: here that is "
                    "--store-dtype %s", exact == LCT_STORED_F16 ? "f16" : exact == LCT_STORED_BF16 ? "bf16" : "f32");
  }
  for (int i = 0; i < s->n_positions && s->o->keep != LCT_KEEP_SCORES; i++) {
    if (s->positions[i].kind == SWEEP_AT_LAST || s->positions[i].kind == SWEEP_AT_CONTENT_LAST) continue;
    return lct_fail(err, LCT_E_USAGE, "--derive residual: the mean at position %s cannot be derived bit for bit; give --positions last,content_last",
                    s->positions[i].name);
  }
  return LCT_OK;
}

static lct_status read_metrics(sweep *s, lct_error *err) {
  const char *list = s->o->metrics != NULL ? s->o->metrics : "cosine,mae,jaccard", *part;
  size_t n = 0;
  if (s->fingerprints == NULL) {
    if (s->o->metrics != NULL) return lct_fail(err, LCT_E_USAGE, "--metrics needs --fingerprints");
    return LCT_OK;
  }
  LCT_TRY(lct_calloc(&s->metrics, (size_t)count_parts(list), sizeof *s->metrics, "metrics", err));
  while (next_part(&list, &part, &n)) {
    int m = lct_any_metric_by_name(part, n);
    if (m < 0) {
      lct_buf names = {0};
      for (int i = 0; i < LCT_N_ALL_METRICS; i++) LCT_TRY(lct_buf_printf(&names, err, "%s%s", i > 0 ? ", " : "", lct_any_metric_name(i)));
      (void)lct_fail(err, LCT_E_USAGE, "--metrics: expected some of %s, found \"%.*s\"", names.data, (int)n, part);
      lct_buf_free(&names);
      return LCT_E_USAGE;
    }
    s->metrics[s->n_metrics++] = m;
  }
  return LCT_OK;
}

static int find_name(char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i], name) == 0) return i;
  }
  return -1;
}

/* What is scored: the positions and sources that the fingerprints have vectors for. */
static lct_status make_scorer(sweep *s, lct_error *err) {
  const lct_fingerprints *f = s->fingerprints;
  if (f == NULL) return LCT_OK;
  const char **positions = lct_arena_alloc(&s->arena, (size_t)s->n_positions * sizeof *positions);
  const char **sources = lct_arena_alloc(&s->arena, (size_t)s->n_sources * sizeof *sources);
  s->scored_positions = lct_arena_alloc(&s->arena, (size_t)s->n_positions * sizeof(int));
  s->scored_sources = lct_arena_alloc(&s->arena, (size_t)s->n_sources * sizeof(int));
  if (!positions || !sources || !s->scored_positions || !s->scored_sources) return lct_fail(err, LCT_E_NOMEM, "out of memory for the scores' axes");
  for (int i = 0; i < s->n_positions; i++) {
    if (find_name(f->poolings, f->n_poolings, s->positions[i].name) < 0) continue;
    positions[s->n_scored_positions] = s->positions[i].name;
    s->scored_positions[s->n_scored_positions++] = i;
  }
  for (int i = 0; i < s->n_sources; i++) {
    const char *name = lct_source_name(s->sources[i].source);
    if (find_name(f->sources, f->n_sources, name) < 0) continue;
    sources[s->n_scored_sources] = name;
    s->scored_sources[s->n_scored_sources++] = i;
  }
  if (s->n_scored_positions == 0 || s->n_scored_sources == 0) {
    return lct_fail(err, LCT_E_USAGE, "%s has no vectors for any of the %s asked for", s->o->fingerprints,
                    s->n_scored_positions == 0 ? "positions" : "sources");
  }
  const lct_score_axes axes = {.metrics = s->metrics, .n_metrics = s->n_metrics, .poolings = positions, .sources = sources,
                               .n_poolings = s->n_scored_positions, .n_sources = s->n_scored_sources, .layers = s->layers,
                               .n_layers = s->n_layers};
  return lct_scorer_new(f, &axes, &s->scorer, err);
}

lct_status sweep_axes(sweep *s, lct_error *err) {
  LCT_TRY(read_positions(s, err));
  LCT_TRY(read_layers(s, err));
  LCT_TRY(read_sources(s, err));
  LCT_TRY(check_derive(s, err));
  LCT_TRY(make_streams(s, err));
  LCT_TRY(read_metrics(s, err));
  LCT_TRY(make_scorer(s, err));
  LCT_TRY(lct_calloc(&s->tap_layers, (size_t)s->cfg.n_layers, 1, "layers", err));
  for (int i = 0; i < s->n_streams; i++) {
    for (int k = 0; k < s->streams[i].s.n_planes; k++) {
      if (s->streams[i].planes[k].layer >= 0) s->tap_layers[s->streams[i].planes[k].layer] = 1;
    }
  }
  return LCT_OK;
}

void sweep_axes_free(sweep *s) {
  for (int i = 0; i < s->n_sources; i++) free(s->sources[i].planes);
  for (int i = 0; i < s->n_streams; i++) free(s->streams[i].planes);
  free(s->positions);
  free(s->layers);
  free(s->sources);
  free(s->streams);
  free(s->metrics);
  free(s->tap_layers);
  lct_scorer_free(s->scorer);
}
