/* The snapshots that end with the model's own reply. Their trunk was computed by the prefill: only what follows the prompt is new.
 * Where whole tensors are kept a file needs every row at once, so there the prompt runs again. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan_impl.h"

typedef struct {
  int32_t number; /* of the item */
  const scan_prompt *prompt;
  int32_t shared; /* positions whose keys the prefill left in the cache */
} reply;

static int32_t reply_number(const scan_prompt *p) { return p->first_item + (int32_t)p->n_messages; }

static int32_t shared_prefix(const scan_item *prompt, const scan_item *item) {
  size_t n = prompt->tokens.len < item->tokens.len ? prompt->tokens.len : item->tokens.len, i = 0;
  while (i < n && prompt->tokens.data[i].id == item->tokens.data[i].id) i++;
  /* the last token and the reply's own tokens must be rows of the new pass */
  if (i >= item->tokens.len) i = item->tokens.len - 1;
  if (item->content.from < item->content.to && i > (size_t)item->content.from) i = (size_t)item->content.from;
  return (int32_t)i;
}

static lct_status run_afresh(scan *s, const reply *replies, int n, lct_error *err) {
  lct_plan *plan = NULL;
  LCT_TRY(lct_plan_new(&plan, err));
  lct_status status = LCT_OK;
  for (int i = 0; i < n && status == LCT_OK; i++) {
    scan_item *item = &s->items[replies[i].number];
    int32_t *ids = lct_arena_alloc(&s->arena, item->tokens.len * sizeof *ids);
    if (ids == NULL) status = lct_fail(err, LCT_E_NOMEM, "out of memory for token ids");
    for (size_t k = 0; ids != NULL && k < item->tokens.len; k++) ids[k] = item->tokens.data[k].id;
    if (status == LCT_OK) status = lct_plan_add(plan, ids, item->tokens.len, &item->seq, err);
  }
  if (status == LCT_OK) status = lct_plan_build(plan, s->max_rows, err);
  if (status == LCT_OK) {
    int32_t *numbers = lct_arena_alloc(&s->arena, (size_t)n * sizeof *numbers);
    for (int i = 0; numbers != NULL && i < n; i++) numbers[i] = replies[i].number;
    status = numbers == NULL ? lct_fail(err, LCT_E_NOMEM, "out of memory for replies") : scan_run_items(s, plan, numbers, n, "reply", err);
  }
  lct_plan_free(plan);
  return status;
}

/* One segment a reply over its prompt's keys. */
static lct_status add_segment(scan *s, const lct_plan *plan, const reply *r, lct_batch *batch, int32_t *tokens, int32_t *positions,
                              lct_segment *segments, int32_t slot, lct_error *err) {
  const scan_item *item = &s->items[r->number];
  int32_t n_path = 0, seq = scan_prompt_item(s, r->prompt)->seq;
  const lct_kv_range *path = lct_plan_seq_ranges(plan, seq, &n_path);
  lct_kv_range *ranges = lct_arena_alloc(&s->arena, (size_t)n_path * sizeof *ranges);
  if (ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply's path");
  lct_segment *seg = &segments[batch->n_segments++];
  *seg = (lct_segment){.row0 = batch->n_rows, .n_rows = (int32_t)item->tokens.len - r->shared, .pos0 = r->shared, .kv0 = slot,
                       .ranges = ranges};
  seg->n_ranges = lct_ranges_slice(path, n_path, 0, r->shared, ranges);
  for (int32_t i = 0; i < seg->n_rows; i++) {
    tokens[batch->n_rows + i] = item->tokens.data[r->shared + i].id;
    positions[batch->n_rows + i] = r->shared + i;
  }
  batch->n_rows += seg->n_rows;
  return LCT_OK;
}

static lct_status run_over_keys(scan *s, const lct_plan *plan, const reply *replies, int n, int32_t n_rows, lct_kv *kv, int32_t kv_base,
                                lct_error *err) {
  int32_t *tokens = lct_arena_alloc(&s->arena, (size_t)n_rows * sizeof *tokens);
  int32_t *positions = lct_arena_alloc(&s->arena, (size_t)n_rows * sizeof *positions);
  lct_segment *segments = lct_arena_alloc(&s->arena, (size_t)n * sizeof *segments);
  lct_pool_rows *rows = lct_arena_alloc(&s->arena, (size_t)n * sizeof *rows);
  lct_row_range *own = lct_arena_alloc(&s->arena, (size_t)n * sizeof *own);
  if (!tokens || !positions || !segments || !rows || !own) return lct_fail(err, LCT_E_NOMEM, "out of memory for replies");
  lct_batch batch = {.tokens = tokens, .positions = positions, .segments = segments, .n_slots = kv_base + n_rows};
  for (int i = 0; i < n; i++) {
    scan_item item = s->items[replies[i].number];
    own[i] = (lct_row_range){batch.n_rows, (int32_t)item.tokens.len - replies[i].shared};
    LCT_TRY(add_segment(s, plan, &replies[i], &batch, tokens, positions, segments, kv_base + batch.n_rows, err));
    item.content.from -= replies[i].shared;
    item.content.to -= replies[i].shared;
    LCT_TRY(scan_pool_rows(&item, replies[i].number, &own[i], 1, &s->arena, &rows[i], err));
    s->result->tokens_prefix_by_prefix += (int64_t)item.tokens.len;
  }
  s->result->tokens_computed += n_rows;
  lct_pool_begin(s->pool, rows, n, batch.n_rows);
  s->progress.phase = "reply";
  s->progress.per_layer = s->progress.tokens = n_rows;
  s->progress.done = 0;
  s->progress.total = (int64_t)n_rows * s->cfg.n_layers;
  LCT_TRY(scan_prefill(s, &batch, kv, &(lct_heads){0}, err));
  for (int i = 0; i < n; i++) s->items[replies[i].number].done = true;
  return LCT_OK;
}

lct_status scan_reply(scan *s, const lct_plan *plan, scan_prompt **prompts, int n, lct_kv *kv, int32_t kv_base, int32_t kv_slots,
                      lct_error *err) {
  reply *replies = lct_arena_alloc(&s->arena, (size_t)n * sizeof *replies);
  if (replies == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for replies");
  int count = 0;
  int64_t n_rows = 0;
  for (int i = 0; i < n; i++) {
    if (prompts[i]->reply.len == 0) continue;
    LCT_TRY(scan_tokenise_reply(s, prompts[i], err));
    reply *r = &replies[count++];
    *r = (reply){.number = reply_number(prompts[i]), .prompt = prompts[i]};
    r->shared = shared_prefix(scan_prompt_item(s, prompts[i]), &s->items[r->number]);
    n_rows += (int64_t)s->items[r->number].tokens.len - r->shared;
  }
  if (count == 0) return LCT_OK;
  if (s->files != NULL || n_rows > kv_slots - kv_base) return run_afresh(s, replies, count, err);
  return run_over_keys(s, plan, replies, count, (int32_t)n_rows, kv, kv_base, err);
}
