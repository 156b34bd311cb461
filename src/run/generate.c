/* Generation: all prompts of a batch in lockstep, each over its own path of keys. */
#include <string.h>

#include "run/worker_impl.h"

/* What the steps of a batch's generations work in. */
typedef struct {
  run_batch *b;
  lct_generation **active; /* row i of a step is active[i]'s */
  int32_t n_active;
  int32_t *tokens, *positions, *rows;
  lct_segment *segments;
  lct_kv_range *ranges; /* (n_active, max_ranges) */
  int32_t max_ranges;
  lct_pool_rows *pool_rows;
  lct_pool_entry *entries;
} steps;

static void drop_finished(steps *d) {
  int32_t n = 0;
  for (int32_t i = 0; i < d->n_active; i++) {
    if (!d->active[i]->finished) d->active[n++] = d->active[i];
  }
  d->n_active = n;
}

static const lct_kv_range *path_of(const run_batch *b, const lct_generation *g, int32_t *n) {
  return lct_plan_seq_ranges(b->stage.plan, b->j->u->items[g->item].seq, n);
}

static lct_status reserve(steps *d, lct_error *err) {
  lct_worker *w = d->b->j->w;
  lct_arena *arena = &w->arena;
  size_t k = (size_t)d->n_active;
  for (int32_t i = 0; i < d->n_active; i++) {
    int32_t n = 0;
    (void)path_of(d->b, d->active[i], &n);
    if (n + 1 > d->max_ranges) d->max_ranges = n + 1;
  }
  d->tokens = lct_arena_alloc(arena, k * sizeof *d->tokens);
  d->positions = lct_arena_alloc(arena, k * sizeof *d->positions);
  d->rows = lct_arena_alloc(arena, k * sizeof *d->rows);
  d->segments = lct_arena_alloc(arena, k * sizeof *d->segments);
  d->ranges = lct_arena_alloc(arena, k * (size_t)d->max_ranges * sizeof *d->ranges);
  d->pool_rows = lct_arena_alloc(arena, k * sizeof *d->pool_rows);
  d->entries = lct_arena_alloc(arena, k * sizeof *d->entries);
  if (!d->tokens || !d->positions || !d->rows || !d->segments || !d->ranges || !d->pool_rows || !d->entries) {
    return lct_fail(err, LCT_E_NOMEM, "out of memory for %d generations", d->n_active);
  }
  for (int32_t i = 0; i < d->n_active; i++) {
    d->entries[i] = (lct_pool_entry){.row = i};
    d->pool_rows[i] = (lct_pool_rows){.item = i, .entries = &d->entries[i]};
  }
  if (w->o.n_streams == 0) return LCT_OK;
  if (w->step_pool == NULL) LCT_TRY(lct_pool_new(w->engine, w->o.streams, w->o.n_streams, 1, &w->step_pool, err));
  return lct_pool_reserve(w->step_pool, d->n_active, err);
}

static void set_row(steps *d, int32_t i, int32_t step) {
  const lct_generation *g = d->active[i];
  const lct_item *x = &d->b->j->u->items[g->item];
  int32_t n = 0;
  const lct_kv_range *path = path_of(d->b, g, &n);
  lct_kv_range *ranges = d->ranges + (size_t)i * (size_t)d->max_ranges;
  n = lct_cut_slots(&d->b->cut, path, n, ranges);
  if (step > 1) ranges[n++] = (lct_kv_range){g->kv0, step - 1};
  int32_t position = x->n_tokens + step - 1;
  d->tokens[i] = g->choices[step - 1].token;
  d->positions[i] = position;
  d->rows[i] = i;
  d->segments[i] =
      (lct_segment){.row0 = i, .n_rows = 1, .parent = -1, .pos0 = position, .kv0 = g->kv0 + step - 1, .n_ranges = n, .ranges = ranges};
}

static lct_status run_step(steps *d, int32_t step, bool *stop, lct_error *err) {
  run_job *j = d->b->j;
  int32_t slots = 0;
  for (int32_t i = 0; i < d->n_active; i++) {
    set_row(d, i, step);
    if (d->segments[i].kv0 + 1 > slots) slots = d->segments[i].kv0 + 1;
  }
  const lct_batch batch = {.n_rows = d->n_active,
                           .n_segments = d->n_active,
                           .n_slots = slots,
                           .decode = true,
                           .tokens = d->tokens,
                           .positions = d->positions,
                           .segments = d->segments};
  lct_stage stage = {.kind = LCT_STAGE_STEP,
                     .unit = j->u,
                     .batch = &batch,
                     .active = d->active,
                     .n_active = d->n_active,
                     .step = step,
                     .pool = j->w->step_pool};
  lct_heads heads = {0};
  lct_status s = run_heads(j, d->active, d->n_active, d->rows, &heads, err);
  if (s == LCT_OK) s = run_stage(j, &stage, d->pool_rows, d->n_active, &heads, j->w->kv, err);
  run_heads_take(j, d->active, &heads, s == LCT_OK);
  LCT_TRY(s);
  return j->client->end != NULL ? j->client->end(j->client->ctx, &stage, stop, err) : LCT_OK;
}

lct_status run_generate(run_batch *b, bool stop, lct_error *err) {
  lct_worker *w = b->j->w;
  steps d = {.b = b, .n_active = b->n_generations};
  d.active = lct_arena_alloc(&w->arena, ((size_t)b->n_generations + 1) * sizeof *d.active);
  if (d.active == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %d generations", b->n_generations);
  memcpy(d.active, b->generations, (size_t)b->n_generations * sizeof *d.active);
  double t0 = lct_seconds();
  LCT_TRY(reserve(&d, err));
  drop_finished(&d);
  for (int32_t step = 1; d.n_active > 0 && !stop; step++) {
    LCT_TRY(run_step(&d, step, &stop, err));
    drop_finished(&d);
  }
  w->stats.seconds_decode += lct_seconds() - t0;
  return LCT_OK;
}
