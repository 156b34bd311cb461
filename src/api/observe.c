/* Conversations in memory through a worker into an array in memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/observer_impl.h"
#include "base/utf8.h"
#include "run/item.h"

enum { ROWS_AN_ITEM = 16, MIN_ITEMS = 16 }; /* a unit of short conversations has no more of them than rows for so many */

struct lct_observation {
  lct_arena arena;
  lct_observed *items;
  size_t n;
  int n_positions, n_sources, n_layers, n_scored_positions, n_scored_sources, n_references, n_metrics;
  int *widths;
};

/* What a call observes: lists of messages, or one text. */
typedef struct {
  lct_observer *o;
  lct_observation *out;
  const lct_message_list *lists; /* NULL: the text */
  const char *text;
  size_t len;
  bool add_special;
  size_t fed, taken;
} observing;

static bool is_role(const char *role) {
  return role != NULL && (strcmp(role, "system") == 0 || strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0);
}

/* The text with what is no UTF-8 in it replaced. */
static lct_status clean(const char *text, size_t n, lct_arena *arena, const char **out, size_t *n_out, lct_error *err) {
  *out = n > 0 ? text : "";
  *n_out = n;
  if (n > 0 && text == NULL) return lct_fail(err, LCT_E_USAGE, "a text of %zu bytes is NULL", n);
  if (lct_utf8_valid(*out, n)) return LCT_OK;
  lct_buf b = {0};
  lct_status s = lct_utf8_replace(text, n, &b, NULL, err);
  *n_out = b.len;
  if (s == LCT_OK && (*out = lct_arena_strndup(arena, b.data, b.len)) == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for a text");
  lct_buf_free(&b);
  return s;
}

static lct_status check_length(const lct_observer *o, const lct_item *x, lct_error *err) {
  if (x->n_tokens <= o->subject->cfg.max_positions) return LCT_OK;
  return lct_fail(err, LCT_E_LIMIT, "%d tokens are more than the model's context of %d", x->n_tokens, o->subject->cfg.max_positions);
}

lct_status observer_item(lct_observer *o, const lct_message *messages, size_t n, lct_unit *u, lct_item *out, lct_error *err) {
  if (messages == NULL || n == 0 || n > INT32_MAX)
    return lct_fail(err, LCT_E_USAGE, "a conversation: expected at least one message, found %zu", n);
  lct_message *own = lct_arena_alloc(&u->arena, n * sizeof *own);
  if (own == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu messages", n);
  for (size_t i = 0; i < n; i++) {
    own[i].role = messages[i].role;
    if (!is_role(own[i].role)) {
      return lct_fail(err, LCT_E_USAGE, "message %zu: role: expected system, user or assistant, found %.100s", i,
                      own[i].role != NULL ? own[i].role : "NULL");
    }
    LCT_TRY(clean(messages[i].content, messages[i].content_len, &u->arena, &own[i].content, &own[i].content_len, err));
  }
  LCT_TRY(lct_item_make(o->subject, o->encoder, own, n, &o->tokens, &u->arena, out, err));
  return check_length(o, out, err);
}

/* Tokens of the text itself are those that cover bytes of it; the tokenizer's own stand around them. */
static lct_status text_item(const observing *w, lct_unit *u, lct_item *out, lct_error *err) {
  lct_observer *o = w->o;
  const char *text;
  size_t len;
  LCT_TRY(clean(w->text, w->len, &u->arena, &text, &len, err));
  o->tokens.len = 0;
  LCT_TRY(lct_encode(o->encoder, text, len, w->add_special, &o->tokens, err));
  size_t n = o->tokens.len, from = 0, to = n;
  if (n == 0) return lct_fail(err, LCT_E_USAGE, "a text of %zu bytes has no tokens", w->len);
  int32_t *ids = lct_arena_alloc(&u->arena, n * sizeof *ids);
  lct_token_range *content = lct_arena_alloc(&u->arena, sizeof *content);
  lct_role *role = lct_arena_alloc(&u->arena, sizeof *role);
  if (ids == NULL || content == NULL || role == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu tokens", n);
  for (size_t i = 0; i < n; i++) ids[i] = o->tokens.data[i].id;
  while (from < n && o->tokens.data[from].end == o->tokens.data[from].begin) from++;
  while (to > from && o->tokens.data[to - 1].end == o->tokens.data[to - 1].begin) to--;
  *content = (lct_token_range){(int32_t)from, (int32_t)to};
  *role = LCT_ROLE_USER;
  *out = (lct_item){.tail = ids, .n_tokens = (int32_t)n, .content = content, .roles = role, .seq = -1};
  return check_length(o, out, err);
}

static bool is_full(const observing *w, const lct_unit *u) {
  int32_t rows = lct_worker_max_rows(w->o->worker), items = rows / ROWS_AN_ITEM;
  return u->estimate >= rows || u->n_items >= (items > MIN_ITEMS ? items : MIN_ITEMS);
}

static lct_status fill(observing *w, lct_unit *u, lct_error *err) {
  const lct_axes *a = w->o->axes;
  for (; w->fed < w->out->n && !is_full(w, u); w->fed++) {
    lct_item x;
    lct_status s = w->lists == NULL ? text_item(w, u, &x, err)
                                    : observer_item(w->o, w->lists[w->fed].messages, w->lists[w->fed].n_messages, u, &x, err);
    if (s != LCT_OK) return w->out->n > 1 ? lct_fail_context(err, s, "conversation %zu", w->fed) : s;
    u->estimate += lct_unit_estimate(u, &x, 1);
    LCT_TRY(lct_unit_begin_part(u, err));
    LCT_TRY(lct_unit_add(u, &x, a->positions, a->n_positions, err));
  }
  return lct_unit_plan(u, a->positions, a->n_positions, INT32_MAX, err);
}

static lct_status next_unit(void *ctx, lct_unit **out, lct_error *err) {
  observing *w = ctx;
  lct_unit *u = NULL;
  if (w->fed == w->out->n) return LCT_OK;
  LCT_TRY(lct_unit_new(&u, err));
  lct_status s = fill(w, u, err);
  if (s == LCT_OK) *out = u;
  else lct_unit_free(u);
  return s;
}

lct_score_row observer_score_row(const lct_item *x) {
  const lct_token_range *own = &x->content[x->message];
  return (lct_score_row){.role = (int)x->roles[x->message], .n_tokens = own->to - own->from};
}

size_t observer_copy(const lct_observer *o, const lct_pool *pool, int at, int32_t item, float *out) {
  const lct_axes *a = o->axes;
  size_t n = 0;
  for (int k = 0; k < a->n_sources; k++) {
    const lct_axis_source *x = &a->sources[k];
    size_t width = (size_t)a->pooled[x->stream].width;
    for (int l = 0; l < a->n_layers; l++, n += width) {
      memcpy(out + n, lct_pool_vectors(pool, x->stream, at, x->planes[l]) + (size_t)item * width, width * sizeof *out);
    }
  }
  return n;
}

static lct_status take_item(const observing *w, const lct_unit *u, int32_t i, lct_observed *x, lct_error *err) {
  const lct_observer *o = w->o;
  const lct_item *from = &u->items[i];
  int32_t *tokens = lct_arena_alloc(&w->out->arena, (size_t)from->n_tokens * sizeof *tokens);
  float *vectors = lct_arena_alloc(&w->out->arena, o->vector_floats * sizeof *vectors);
  if (tokens == NULL || vectors == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for an observation");
  lct_item_ids(from, 0, from->n_tokens, tokens);
  *x = (lct_observed){.tokens = tokens, .n_tokens = from->n_tokens, .vectors = vectors};
  for (int p = 0; p < o->axes->n_positions; p++) vectors += observer_copy(o, lct_worker_pool(o->worker), p, i, vectors);
  return LCT_OK;
}

static lct_status take_unit(void *ctx, lct_unit *u, lct_worker *worker, lct_error *err) {
  observing *w = ctx;
  const lct_observer *o = w->o;
  lct_observed *items = w->out->items + w->taken;
  for (int32_t i = 0; i < u->n_items; i++) LCT_TRY(take_item(w, u, i, &items[i], err));
  w->taken += (size_t)u->n_items;
  if (o->score_floats == 0) return LCT_OK;
  lct_score_row *rows = lct_arena_alloc(&u->arena, (size_t)u->n_items * sizeof *rows);
  float *scores = lct_arena_alloc(&w->out->arena, (size_t)u->n_items * o->score_floats * sizeof *scores);
  if (rows == NULL || scores == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for scores");
  for (int32_t i = 0; i < u->n_items; i++) {
    rows[i] = observer_score_row(&u->items[i]);
    items[i].scores = scores + (size_t)i * o->score_floats;
  }
  return lct_axes_score(o->axes, lct_worker_pool(worker), u->n_items, rows, o->subject->threads, scores, err);
}

static lct_status new_observation(const lct_observer *o, size_t n, lct_observation **out, lct_error *err) {
  const lct_observer_axes *a = &o->names;
  lct_observation *x = NULL;
  LCT_TRY(lct_calloc(&x, 1, sizeof *x, "an observation", err));
  x->n = n;
  x->n_positions = a->n_positions;
  x->n_sources = a->n_sources;
  x->n_layers = a->n_layers;
  x->n_scored_positions = a->n_scored_positions;
  x->n_scored_sources = a->n_scored_sources;
  x->n_references = a->n_references;
  x->n_metrics = a->n_metrics;
  x->widths = lct_arena_alloc(&x->arena, (size_t)a->n_sources * sizeof *x->widths);
  lct_status s = lct_calloc(&x->items, n, sizeof *x->items, "an observation", err);
  if (s == LCT_OK && x->widths == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for an observation");
  if (s != LCT_OK) {
    lct_observation_free(x);
    return s;
  }
  memcpy(x->widths, a->widths, (size_t)a->n_sources * sizeof *x->widths);
  *out = x;
  return LCT_OK;
}

static lct_status observe(observing *w, size_t n, lct_observation **out, lct_error *err) {
  const lct_client client = {.cancel = w->o->cancel}, *clients[] = {&client};
  const lct_feed from = {.ctx = w, .next = next_unit};
  const lct_sink to = {.ctx = w, .take = take_unit};
  *out = NULL;
  LCT_TRY(new_observation(w->o, n, &w->out, err));
  lct_status s = lct_pipeline_run(&w->o->worker, 1, clients, &from, &to, err);
  if (s == LCT_OK) *out = w->out;
  else lct_observation_free(w->out);
  return s;
}

lct_status lct_observe(lct_observer *o, const lct_message *messages, size_t n_messages, lct_observation **out, lct_error *err) {
  const lct_message_list list = {messages, n_messages};
  return lct_observe_many(o, &list, 1, out, err);
}

lct_status lct_observe_many(lct_observer *o, const lct_message_list *lists, size_t n, lct_observation **out, lct_error *err) {
  observing w = {.o = o, .lists = lists};
  if (lists == NULL && n > 0) return lct_fail(err, LCT_E_USAGE, "%zu conversations are NULL", n);
  return observe(&w, n, out, err);
}

lct_status lct_observe_text(lct_observer *o, const char *text, size_t len, bool add_special, lct_observation **out, lct_error *err) {
  observing w = {.o = o, .text = text, .len = len, .add_special = add_special};
  return observe(&w, 1, out, err);
}

void lct_observation_free(lct_observation *x) {
  if (x == NULL) return;
  lct_arena_free(&x->arena);
  free(x->items);
  free(x);
}

size_t lct_observation_count(const lct_observation *x) { return x->n; }

const lct_observed *lct_observation_get(const lct_observation *x, size_t i) { return i < x->n ? &x->items[i] : NULL; }

static bool is_place(int i, int n) { return i >= 0 && i < n; }

const float *lct_observation_vector(const lct_observation *x, size_t i, int position, int source, int layer) {
  if (i >= x->n || !is_place(position, x->n_positions) || !is_place(source, x->n_sources) || !is_place(layer, x->n_layers)) return NULL;
  size_t before = 0, all = 0;
  for (int k = 0; k < x->n_sources; k++) {
    if (k < source) before += (size_t)x->widths[k];
    all += (size_t)x->widths[k];
  }
  size_t layers = (size_t)x->n_layers;
  return x->items[i].vectors + ((size_t)position * all + before) * layers + (size_t)layer * (size_t)x->widths[source];
}

float lct_observation_score(const lct_observation *x, size_t i, int position, int source, int layer, int reference, int metric) {
  if (i >= x->n || !is_place(position, x->n_scored_positions) || !is_place(source, x->n_scored_sources) || !is_place(layer, x->n_layers) ||
      !is_place(reference, x->n_references) || !is_place(metric, x->n_metrics)) {
    return NAN;
  }
  size_t at = ((size_t)position * (size_t)x->n_scored_sources + (size_t)source) * (size_t)x->n_layers + (size_t)layer;
  return x->items[i].scores[(at * (size_t)x->n_references + (size_t)reference) * (size_t)x->n_metrics + (size_t)metric];
}
