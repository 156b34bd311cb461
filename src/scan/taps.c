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
  uint32_t wanted = lct_pool_wanted(s->pool);
  if (s->files != NULL) wanted |= lct_files_wanted(s->files);
  return (lct_tap){.ctx = s, .wanted = wanted, .rows = on_rows, .layer_done = on_layer, .attn = on_attention};
}

/* Positions [from, to) of a path as rows; out holds at least n ranges. Returns how many were filled. */
int32_t scan_slice(const lct_kv_range *ranges, int32_t n, int32_t from, int32_t to, lct_kv_range *out) {
  int32_t at = 0, count = 0;
  for (int32_t i = 0; i < n; i++) {
    int32_t lo = from > at ? from - at : 0, hi = to - at < ranges[i].n ? to - at : ranges[i].n;
    if (lo < hi) out[count++] = (lct_kv_range){ranges[i].first + lo, hi - lo};
    at += ranges[i].n;
  }
  return count;
}

lct_status scan_pool_rows(const scan_item *item, int32_t number, const lct_kv_range *ranges, int32_t n_ranges, lct_arena *arena,
                          lct_pool_rows *out, lct_error *err) {
  const lct_kv_range *end = &ranges[n_ranges - 1];
  *out = (lct_pool_rows){.item = number, .last = end->first + end->n - 1, .content_last = -1};
  if (item->content_from >= item->content_to) return LCT_OK;
  lct_kv_range *content = lct_arena_alloc(arena, (size_t)n_ranges * sizeof *content);
  if (content == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  out->n_content = scan_slice(ranges, n_ranges, item->content_from, item->content_to, content);
  out->content = content;
  out->content_last = content[out->n_content - 1].first + content[out->n_content - 1].n - 1;
  return LCT_OK;
}
