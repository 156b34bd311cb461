/* Everything a scan captures: pooled vectors always, whole tensors when asked. */
#include "scan/scan_impl.h"

static void on_layer(void *ctx, int layer) {
  scan *s = ctx;
  (void)layer;
  s->progress.done += s->progress.per_layer;
  scan_report(s, s->progress.phase, s->progress.done, s->progress.total, s->progress.tokens);
}

lct_status scan_add_takers(const scan *s, lct_pool *pool, lct_pass *pass, lct_error *err) {
  lct_taker vectors = lct_pool_taker(pool);
  LCT_TRY(lct_pass_add(pass, &vectors, err));
  if (s->files == NULL) return LCT_OK;
  lct_taker files = lct_files_taker(s->files);
  return lct_pass_add(pass, &files, err);
}

lct_status scan_prefill(scan *s, const lct_batch *batch, lct_kv *kv, const lct_heads *heads, lct_error *err) {
  lct_pass pass = {.batch = batch, .kv = kv, .heads = *heads, .layer_done = on_layer, .layer_ctx = s, .cancel = s->o->cancel};
  LCT_TRY(scan_add_takers(s, s->pool, &pass, err));
  return lct_pass_run(s->engine, &pass, err);
}

lct_status scan_item_rows(scan *s, const lct_plan *plan, const scan_item *item, const lct_row_range **out, int32_t *n, lct_error *err) {
  const lct_kv_range *slots = lct_plan_seq_ranges(plan, item->seq, n);
  lct_row_range *rows = lct_arena_alloc(&s->arena, (size_t)*n * sizeof *rows);
  if (rows == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a prompt");
  *n = lct_plan_rows(plan, slots, *n, rows);
  *out = rows;
  return LCT_OK;
}

lct_status scan_pool_rows(const scan_item *item, int32_t number, const lct_row_range *ranges, int32_t n_ranges, lct_arena *arena,
                          lct_pool_rows *out, lct_error *err) {
  lct_pool_entry *entries = lct_arena_alloc(arena, LCT_N_POOLINGS * sizeof *entries);
  if (entries == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  *out = (lct_pool_rows){.item = number, .entries = entries};
  return lct_pool_message(ranges, n_ranges, item->content, arena, entries, err);
}
