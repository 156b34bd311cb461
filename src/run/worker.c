#include "run/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/worker_impl.h"

enum {
  MIN_ROWS = 64,
  MIN_PREFIX = 8,     /* shorter prefixes are not worth keeping */
  TOKENS_AN_ITEM = 16 /* about: tokens computed for each */
};

/* Tokens a batch: what the budget holds of workspace, keys of all layers, pooled vectors and what the client keeps. On a GPU the vectors stand
 * for the pool's buffer, which holds all of a batch or less. */
static int32_t rows_of_memory(const lct_worker *w) {
  const lct_worker_options *o = &w->o;
  int64_t budget = o->memory_bytes > 0 ? o->memory_bytes : lct_subject_free_bytes(w->subject);
  int64_t slot = (int64_t)lct_engine_slot_bytes(w->engine), bytes = (int64_t)lct_engine_row_bytes(w->engine) + slot + slot / 2;
  for (int i = 0; i < o->n_streams; i++) {
    int64_t values = (int64_t)o->streams[i].n_planes * o->streams[i].width;
    bytes += values * o->n_positions * (int64_t)sizeof(float) / TOKENS_AN_ITEM;
  }
  int64_t rows = budget / (bytes + o->extra_row_bytes), most = w->subject->device.batch_rows;
  return rows > most ? (int32_t)most : rows < MIN_ROWS ? MIN_ROWS : (int32_t)rows;
}

lct_status lct_worker_new(const lct_subject *s, const lct_worker_options *o, lct_worker **out, lct_error *err) {
  lct_worker *w = NULL;
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "a worker", err));
  w->subject = s;
  w->o = *o;
  lct_status st = lct_subject_engine(s, &w->engine, err);
  if (st == LCT_OK && o->n_streams > 0) st = lct_pool_new(w->engine, o->streams, o->n_streams, o->n_positions, &w->pool, err);
  if (st != LCT_OK) {
    lct_worker_free(w);
    return st;
  }
  w->max_rows = o->max_rows > 0 ? o->max_rows : rows_of_memory(w);
  w->key_slots = w->max_rows + w->max_rows / 2;
  *out = w;
  return LCT_OK;
}

void lct_worker_free(lct_worker *w) {
  if (w == NULL) return;
  lct_pool_free(w->pool);
  lct_pool_free(w->step_pool);
  for (int i = 0; w->memo != NULL && i < w->o.n_streams; i++) free(w->memo[i]);
  free(w->memo);
  free(w->memo_ids);
  free(w->kept);
  if (w->engine != NULL) lct_kv_free(w->engine, w->kv);
  lct_engine_free(w->engine);
  lct_arena_free(&w->arena);
  free(w);
}

lct_pool *lct_worker_pool(const lct_worker *w) { return w->pool; }
lct_engine *lct_worker_engine(const lct_worker *w) { return w->engine; }
const lct_subject *lct_worker_subject(const lct_worker *w) { return w->subject; }
int32_t lct_worker_max_rows(const lct_worker *w) { return w->max_rows; }
const lct_worker_stats *lct_worker_get_stats(const lct_worker *w) { return &w->stats; }

/* The kept prefix serves a unit when all that it computes begins with it and needs no row inside it. */
static bool serves(lct_worker *w, const lct_unit *u, int32_t common) {
  int32_t *ids = lct_arena_alloc(&w->arena, ((size_t)w->n_kept + 1) * sizeof *ids);
  if (w->n_kept == 0 || common < w->n_kept || ids == NULL) return false;
  for (int32_t i = 0; i < u->n_items; i++) {
    if (u->items[i].n_tokens == 0 || lct_item_is_opener(&u->items[i])) continue;
    lct_item_ids(&u->items[i], 0, w->n_kept, ids);
    return memcmp(ids, w->kept, (size_t)w->n_kept * sizeof *ids) == 0;
  }
  return false;
}

/* What the unit's items begin with, those that are computed. */
static int32_t common_of(const run_batch *b) {
  for (int32_t i = 0; i < b->stage.n_items; i++) {
    if (lct_item_is_opener(&b->j->u->items[b->stage.items[i]])) return b->j->u->common_with_openers;
  }
  return b->j->u->common;
}

/* Leaves out what the worker knows: openers, and the kept prefix. */
static lct_status cut_known(run_batch *b, bool *skip, lct_error *err) {
  lct_worker *w = b->j->w;
  lct_unit *u = b->j->u;
  int32_t common = common_of(b), prefix = serves(w, u, common) && b->stage.n_items > 0 ? w->n_kept : 0;
  LCT_TRY(lct_plan_cut(b->stage.plan, 0, prefix, skip, &w->arena, &b->cut, err));
  if (prefix > 0 && b->cut.batch.n_slots > w->kv_cap) { /* larger keys would lose the prefix: computed whole */
    w->n_kept = prefix = 0;
    LCT_TRY(lct_plan_cut(b->stage.plan, 0, 0, skip, &w->arena, &b->cut, err));
  }
  w->stats.tokens_from_prefix += prefix;
  return LCT_OK;
}

/* What the items begin with stands in the first slots now. */
static lct_status keep_prefix(run_batch *b, lct_error *err) {
  lct_worker *w = b->j->w;
  int32_t common = common_of(b);
  if (b->cut.prefix > 0) return LCT_OK;
  w->n_kept = 0;
  if (common < MIN_PREFIX) return LCT_OK;
  LCT_TRY(lct_grow(&w->kept, &w->cap_kept, (size_t)common, sizeof *w->kept, "kept tokens", err));
  lct_item_ids(&b->j->u->items[b->stage.items[0]], 0, common, w->kept);
  w->n_kept = common;
  return LCT_OK;
}

/* A batch of the whole unit, of a worker that keeps what it knows between units. */
static lct_status run_known(run_batch *b, lct_error *err) {
  lct_worker *w = b->j->w;
  lct_unit *u = b->j->u;
  bool *skip = lct_arena_alloc(&w->arena, (size_t)u->n_items * sizeof *skip), stop = false;
  int32_t *items = lct_arena_alloc(&w->arena, (size_t)u->n_items * sizeof *items), n = 0, opener = -1;
  if (skip == NULL || items == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a batch");
  for (int32_t i = 0; i < b->stage.n_items; i++) {
    const lct_item *x = &u->items[b->stage.items[i]];
    skip[x->seq] = run_memo_has(w, x);
    if (skip[x->seq]) continue;
    if (lct_item_is_opener(x)) opener = b->stage.items[i];
    items[n++] = b->stage.items[i];
  }
  const int32_t *all = b->stage.items;
  int32_t n_all = b->stage.n_items;
  b->stage.items = items;
  b->stage.n_items = n;
  LCT_TRY(cut_known(b, skip, err));
  if (n > 0) {
    LCT_TRY(run_reserve_keys(w, b->cut.batch.n_slots, err));
    if (b->cut.prefix == 0) w->n_kept = 0; /* its slots are written over, whether the pass is finished or not */
    LCT_TRY(run_prefill(b, w->kv, &stop, err));
    LCT_TRY(keep_prefix(b, err));
  }
  for (int32_t i = 0; i < n_all; i++) {
    if (!skip[u->items[all[i]].seq]) continue;
    run_memo_get(w, all[i]);
    u->items[all[i]].done = true;
  }
  return opener >= 0 ? run_memo_set(w, opener, &u->items[opener], err) : LCT_OK;
}

/* KV slots of a batch: its rows, then each generation's tokens, then the rows of the snapshots with the replies. */
static lct_status run_generations(run_batch *b, lct_error *err) {
  lct_worker *w = b->j->w;
  int32_t slots = b->cut.batch.n_slots, room = 0;
  bool stop = false;
  for (int32_t i = 0; i < b->n_generations; i++) {
    lct_generation *g = b->generations[i];
    g->kv0 = slots;
    slots += g->max_tokens;
    /* a reply re-tokenised is about as long as it was generated; one that does not fit runs afresh */
    if (g->reply >= 0) room += g->max_tokens + g->max_tokens / 2 + 16;
  }
  b->reply0 = slots;
  b->n_slots = slots + room;
  w->n_kept = 0;
  LCT_TRY(run_reserve_keys(w, b->n_slots, err));
  LCT_TRY(run_prefill(b, w->kv, &stop, err));
  LCT_TRY(run_generate(b, stop, err));
  return run_replies(b, err);
}

static lct_status collect(run_batch *b, const int32_t *items, int32_t n, int32_t number, lct_error *err) {
  lct_unit *u = b->j->u;
  int32_t *own = lct_arena_alloc(&b->j->w->arena, ((size_t)n + 1) * sizeof *own);
  b->generations = lct_arena_alloc(&b->j->w->arena, ((size_t)u->n_generations + 1) * sizeof(lct_generation *));
  if (own == NULL || b->generations == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a batch");
  for (int32_t i = 0; i < n; i++) {
    if (lct_plan_seq_batch(b->stage.plan, u->items[items[i]].seq) == number) own[b->stage.n_items++] = items[i];
  }
  for (int32_t i = 0; i < u->n_generations; i++) {
    for (int32_t k = 0; k < b->stage.n_items && !u->generations[i].finished; k++) {
      if (own[k] != u->generations[i].item) continue;
      b->generations[b->n_generations++] = &u->generations[i];
      break;
    }
  }
  b->stage.items = own;
  b->stage.active = b->generations;
  b->stage.n_active = b->n_generations;
  return LCT_OK;
}

static bool is_one_part(const lct_unit *u, const run_batch *b) {
  int32_t first = b->stage.items[0], last = b->stage.items[b->stage.n_items - 1];
  for (int32_t g = 0; g < u->n_parts; g++) {
    if (u->parts[g] > first && u->parts[g] <= last) return false;
  }
  return true;
}

/* Takes back what a batch has done, so that its items can run again. */
static lct_status undo(run_batch *b, const int32_t *items, int32_t n, const lct_worker_stats *before, lct_error *err) {
  lct_unit *u = b->j->u;
  for (int32_t i = 0; i < n; i++) u->items[items[i]].done = false;
  for (int32_t i = 0; i < b->n_generations; i++) {
    lct_generation *g = b->generations[i];
    for (int32_t k = 0; k < g->n; k++) free(g->choices[k].top);
    g->n = 0;
    g->finished = false;
    if (g->reply < 0) continue;
    u->items[g->reply].n_tokens = 0;
    u->items[g->reply].done = false;
  }
  b->j->w->stats = *before;
  return b->j->client->undo != NULL ? b->j->client->undo(b->j->client->ctx, u, items, n, err) : LCT_OK;
}

/* A batch did not fit the GPU. The first time, if it can be cut: undone and noted, to be run again; otherwise the error says the sizes. */
static lct_status out_of_memory(run_batch *b, const int32_t *items, int32_t n, const lct_worker_stats *before, lct_error *err) {
  lct_worker *w = b->j->w;
  bool again = w->stats.batch_rows_failed > 0, one = is_one_part(b->j->u, b);
  int32_t rows = b->cut.batch.n_rows, slots = b->n_slots > 0 ? b->n_slots : b->cut.batch.n_slots;
  if (again || one) {
    char first[64] = "";
    if (again) (void)snprintf(first, sizeof first, ", after one of %d tokens had failed", w->stats.batch_rows_failed);
    return lct_fail_context(err, LCT_E_NOMEM, "a batch of %d tokens and keys for %d does not fit %s%s%s", rows, slots,
                            w->subject->device.label, first, one ? "; it is one conversation, which cannot be cut" : "");
  }
  LCT_TRY(undo(b, items, n, before, err));
  w->stats.batch_rows_failed = rows;
  return LCT_E_NOMEM;
}

static lct_status run_one(run_job *j, const lct_plan *plan, const int32_t *items, int32_t n, int32_t number, lct_error *err) {
  lct_worker *w = j->w;
  lct_worker_stats before = w->stats;
  run_batch b = {.j = j, .cut = {.batch = *lct_plan_batch(plan, number)}};
  b.stage = (lct_stage){.kind = LCT_STAGE_PREFILL, .unit = j->u, .batch = &b.cut.batch, .plan = plan, .cut = &b.cut, .pool = w->pool};
  LCT_TRY(collect(&b, items, n, number, err));
  const int32_t *own = b.stage.items;
  int32_t n_own = b.stage.n_items;
  double t0 = lct_seconds(), decode = w->stats.seconds_decode;
  lct_status s;
  bool stop = false;
  if (b.n_generations > 0) {
    s = run_generations(&b, err);
  } else if (w->o.keeps_prefix && plan == j->u->plan && lct_plan_n_batches(plan) == 1) {
    s = run_known(&b, err);
  } else {
    w->n_kept = 0;
    s = run_prefill(&b, NULL, &stop, err);
  }
  if (s == LCT_E_NOMEM && w->subject->device.gpu) {
    run_drop_keys(w);
    b.stage.items = own;
    b.stage.n_items = n_own;
    return out_of_memory(&b, own, n_own, &before, err);
  }
  w->stats.seconds_prefill += lct_seconds() - t0 - (w->stats.seconds_decode - decode);
  return s;
}

static bool has_larger_batch(const lct_plan *plan, int32_t max_rows) {
  for (int32_t i = 0; i < lct_plan_n_batches(plan); i++) {
    if (lct_plan_batch(plan, i)->n_rows > max_rows) return true;
  }
  return false;
}

static int32_t part_begin(const lct_unit *u, int32_t part) { return part < u->n_parts ? u->parts[part] : u->n_items; }

/* Runs what is not done of the parts [from, to) by one plan. A plan's batches are whole subtrees of its trie, and prompts of one template all
 * share its first token: where the batches must be smaller, the parts are halved into plans of their own, which compute what they share
 * again. */
static lct_status run_parts(run_job *j, int32_t from, int32_t to, lct_error *err) {
  lct_worker *w = j->w;
  lct_unit *u = j->u;
  int32_t begin = part_begin(u, from), end = part_begin(u, to), n = 0, known = 0;
  int32_t *items = lct_arena_alloc(&w->arena, ((size_t)(end - begin) + 1) * sizeof *items);
  if (items == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %d snapshots", end - begin);
  for (int32_t i = begin; i < end; i++) {
    known += u->items[i].n_tokens > 0;
    if (u->items[i].n_tokens > 0 && !u->items[i].done) items[n++] = i;
  }
  if (n == 0) return LCT_OK;
  lct_plan *own = NULL;
  const lct_plan *plan = u->plan;
  if (plan == NULL || n < known || from > 0 || to < u->n_parts || w->stats.batch_rows_failed > 0) {
    LCT_TRY(lct_unit_plan_items(u, items, n, w->o.positions, w->o.n_positions, w->max_rows, &own, err));
    plan = own;
  }
  bool halve = to - from > 1 && w->stats.batch_rows_shrunk_to > 0 && has_larger_batch(plan, w->max_rows);
  lct_status s = LCT_OK;
  for (int32_t i = 0; i < lct_plan_n_batches(plan) && s == LCT_OK && !halve; i++) s = run_one(j, plan, items, n, i, err);
  lct_plan_free(own);
  if (!halve) return s;
  int32_t middle = from + (to - from) / 2;
  LCT_TRY(run_parts(j, from, middle, err));
  return run_parts(j, middle, to, err);
}

lct_status lct_worker_run(lct_worker *w, lct_unit *u, const lct_client *client, lct_error *err) {
  static const lct_client nobody = {0};
  run_job j = {w, u, client != NULL ? client : &nobody};
  bool failed_before = w->stats.batch_rows_failed > 0;
  if (w->pool != NULL) LCT_TRY(lct_pool_reserve(w->pool, u->n_items, err));
  lct_status s = run_parts(&j, 0, u->n_parts, err);
  if (s == LCT_E_NOMEM && !failed_before && w->stats.batch_rows_failed > 0 && w->stats.batch_rows_shrunk_to == 0) {
    w->stats.batch_rows_shrunk_to = w->max_rows = w->stats.batch_rows_failed > 1 ? w->stats.batch_rows_failed / 2 : 1;
    s = run_parts(&j, 0, u->n_parts, err);
  }
  if (s == LCT_OK) w->stats.tokens_naive += u->naive;
  lct_arena_free(&w->arena);
  w->arena = (lct_arena){0};
  return s;
}
