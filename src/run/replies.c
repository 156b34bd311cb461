/* The snapshots that end with the model's own reply. Their trunk was computed by the prefill: only what follows the prompt is new. Where a
 * client needs all rows of a prompt at once, the prompt runs again. */
#include <string.h>

#include "run/worker_impl.h"

typedef struct {
  int32_t item;
  const lct_generation *g;
  int32_t shared; /* positions whose keys the prefill left in the cache */
} reply;

/* The last token, and the first one looked at, must be rows of the new pass. */
static lct_status find_shared(lct_worker *w, const lct_item *prompt, const lct_item *x, int32_t *out, lct_error *err) {
  int32_t n = prompt->n_tokens < x->n_tokens - 1 ? prompt->n_tokens : x->n_tokens - 1, i = 0;
  if (n > x->first_needed) n = x->first_needed;
  int32_t *ids = lct_arena_alloc(&w->arena, (2 * (size_t)n + 1) * sizeof *ids);
  if (ids == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply");
  lct_item_ids(prompt, 0, n, ids);
  lct_item_ids(x, 0, n, ids + n);
  while (i < n && ids[i] == ids[n + i]) i++;
  *out = i;
  return LCT_OK;
}

static lct_status run_afresh(run_batch *b, const reply *replies, int32_t n, lct_error *err) {
  lct_worker *w = b->j->w;
  int32_t *items = lct_arena_alloc(&w->arena, 2 * (size_t)n * sizeof *items), *of_batch = items + n;
  if (items == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for replies");
  for (int32_t i = 0; i < n; i++) items[i] = replies[i].item;
  lct_plan *plan = NULL;
  LCT_TRY(lct_unit_plan_items(b->j->u, items, n, w->o.positions, w->o.n_positions, w->max_rows, &plan, err));
  lct_status s = LCT_OK;
  for (int32_t k = 0; k < lct_plan_n_batches(plan) && s == LCT_OK; k++) {
    run_batch own = {.j = b->j, .cut = {.batch = *lct_plan_batch(plan, k)}};
    own.stage = (lct_stage){.kind = LCT_STAGE_REPLY,
                            .unit = b->j->u,
                            .batch = &own.cut.batch,
                            .items = of_batch,
                            .plan = plan,
                            .cut = &own.cut,
                            .pool = w->pool};
    for (int32_t i = 0; i < n; i++) {
      if (lct_plan_seq_batch(plan, b->j->u->items[items[i]].seq) == k) of_batch[own.stage.n_items++] = items[i];
    }
    bool stop = false;
    s = run_prefill(&own, NULL, &stop, err);
  }
  lct_plan_free(plan);
  return s;
}

/* Where in the batch the rows of a reply are that its positions need: position p is row row0 + p - shared. */
static lct_status place(run_batch *b, const reply *r, int32_t row0, lct_pool_rows *out, lct_error *err) {
  lct_worker *w = b->j->w;
  lct_item *x = &b->j->u->items[r->item];
  if (w->pool == NULL) return LCT_OK;
  const lct_prompt_shape shape = {.n_tokens = x->n_tokens, .content = x->content, .roles = x->roles, .message = x->message};
  const lct_kv_range path = {row0 - r->shared, x->n_tokens};
  const lct_cut_batch whole = {.batch = {0}};
  x->places = lct_arena_alloc(&b->j->u->arena, (size_t)w->o.n_positions * sizeof *x->places);
  if (x->places == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  LCT_TRY(lct_positions_place(w->o.positions, w->o.n_positions, &shape, &path, 1, &w->arena, x->places, err));
  return run_entries(w, x->places, &whole, r->item, out, err);
}

/* One segment a reply over its prompt's keys. */
static lct_status add_segment(run_batch *b, const reply *r, lct_batch *batch, int32_t *tokens, int32_t *positions, lct_segment *segments,
                              lct_error *err) {
  const lct_unit *u = b->j->u;
  const lct_item *x = &u->items[r->item];
  int32_t n_path = 0;
  const lct_kv_range *path = lct_plan_seq_ranges(b->stage.plan, u->items[r->g->item].seq, &n_path);
  lct_kv_range *ranges = lct_arena_alloc(&b->j->w->arena, (size_t)n_path * sizeof *ranges);
  if (ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply's path");
  lct_segment *seg = &segments[batch->n_segments++];
  *seg = (lct_segment){.row0 = batch->n_rows,
                       .n_rows = x->n_tokens - r->shared,
                       .parent = -1,
                       .pos0 = r->shared,
                       .kv0 = b->reply0 + batch->n_rows,
                       .ranges = ranges};
  seg->n_ranges = lct_ranges_slice(path, n_path, 0, r->shared, ranges);
  lct_item_ids(x, r->shared, x->n_tokens, tokens + batch->n_rows);
  for (int32_t i = 0; i < seg->n_rows; i++) positions[batch->n_rows + i] = r->shared + i;
  batch->n_rows += seg->n_rows;
  return LCT_OK;
}

static lct_status run_over_keys(run_batch *b, const reply *replies, int32_t n, int32_t n_rows, lct_error *err) {
  lct_worker *w = b->j->w;
  int32_t *tokens = lct_arena_alloc(&w->arena, (size_t)n_rows * sizeof *tokens);
  int32_t *positions = lct_arena_alloc(&w->arena, (size_t)n_rows * sizeof *positions);
  int32_t *items = lct_arena_alloc(&w->arena, (size_t)n * sizeof *items);
  lct_segment *segments = lct_arena_alloc(&w->arena, (size_t)n * sizeof *segments);
  lct_pool_rows *rows = lct_arena_alloc(&w->arena, (size_t)n * sizeof *rows);
  if (!tokens || !positions || !items || !segments || !rows) return lct_fail(err, LCT_E_NOMEM, "out of memory for replies");
  lct_batch batch = {.tokens = tokens, .positions = positions, .segments = segments, .n_slots = b->reply0 + n_rows};
  for (int32_t i = 0; i < n; i++) {
    items[i] = replies[i].item;
    LCT_TRY(place(b, &replies[i], batch.n_rows, &rows[i], err));
    LCT_TRY(add_segment(b, &replies[i], &batch, tokens, positions, segments, err));
  }
  lct_stage stage = {.kind = LCT_STAGE_REPLY, .unit = b->j->u, .batch = &batch, .items = items, .n_items = n, .pool = w->pool};
  LCT_TRY(run_stage(b->j, &stage, rows, n, NULL, w->kv, err));
  for (int32_t i = 0; i < n; i++) b->j->u->items[items[i]].done = true;
  bool stop = false;
  return b->j->client->end != NULL ? b->j->client->end(b->j->client->ctx, &stage, &stop, err) : LCT_OK;
}

/* first_needed of an item that the client made: as lct_unit_add works it out. */
static lct_status finish_item(run_job *j, lct_item *x, lct_error *err) {
  lct_token_range *scratch = lct_arena_alloc(&j->w->arena, ((size_t)x->message + 1) * sizeof *scratch);
  if (scratch == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply");
  const lct_prompt_shape shape = {.n_tokens = x->n_tokens, .content = x->content, .roles = x->roles, .message = x->message};
  x->first_needed = lct_positions_first(j->w->o.positions, j->w->o.n_positions, &shape, scratch);
  return LCT_OK;
}

lct_status run_replies(run_batch *b, lct_error *err) {
  run_job *j = b->j;
  reply *replies = lct_arena_alloc(&j->w->arena, ((size_t)b->n_generations + 1) * sizeof *replies);
  if (replies == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for replies");
  int32_t n = 0;
  int64_t n_rows = 0;
  for (int32_t i = 0; i < b->n_generations && j->client->reply != NULL; i++) {
    lct_generation *g = b->generations[i];
    if (g->reply < 0) continue;
    LCT_TRY(j->client->reply(j->client->ctx, j->u, g, err));
    lct_item *x = &j->u->items[g->reply];
    if (x->n_tokens == 0) continue;
    LCT_TRY(finish_item(j, x, err));
    replies[n] = (reply){.item = g->reply, .g = g};
    LCT_TRY(find_shared(j->w, &j->u->items[g->item], x, &replies[n].shared, err));
    n_rows += x->n_tokens - replies[n++].shared;
  }
  if (n == 0) return LCT_OK;
  if (j->client->whole_replies || n_rows > b->n_slots - b->reply0) return run_afresh(b, replies, n, err);
  return run_over_keys(b, replies, n, (int32_t)n_rows, err);
}
