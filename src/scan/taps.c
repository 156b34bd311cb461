/* One tap for everything a scan captures: pooled vectors always, whole tensors when asked. */
#include <string.h>

#include "scan/scan_impl.h"

static lct_status on_rows(void *ctx, lct_source src, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  scan *s = ctx;
  LCT_TRY(lct_pool_take(s->pool, src, layer, row0, n, data, ld, err));
  return s->files != NULL ? lct_files_rows(s->files, src, layer, row0, n, data, ld, err) : LCT_OK;
}

static lct_status on_attention(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  scan *s = ctx;
  return lct_files_attn(s->files, layer, segment, row0, n, n_keys, data, err);
}

static void on_layer(void *ctx, int layer) {
  scan *s = ctx;
  (void)layer;
  s->progress.done += s->progress.per_layer;
  scan_report(s, s->progress.phase, s->progress.done, s->progress.total, s->progress.tokens);
}

lct_tap scan_tap(scan *s) {
  uint32_t shown = s->files != NULL ? lct_files_wanted(s->files) : 0;
  return (lct_tap){.ctx = s, .wanted = lct_pool_wanted(s->pool) | shown, .device = lct_pool_device(s->pool, shown), .rows = on_rows,
                   .layer_done = on_layer, .attn = on_attention};
}

lct_status scan_pool_rows(const scan_item *item, int32_t number, const lct_kv_range *ranges, int32_t n_ranges, lct_arena *arena,
                          lct_pool_rows *out, lct_error *err) {
  lct_pool_entry *entries = lct_arena_alloc(arena, LCT_N_POOLINGS * sizeof *entries);
  if (entries == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  *out = (lct_pool_rows){.item = number, .entries = entries};
  return lct_pool_message(ranges, n_ranges, item->content, arena, entries, err);
}
