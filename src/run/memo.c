/* System messages' own snapshots are the same in many conversations: the vectors of the last one are kept. */
#include <stdlib.h>
#include <string.h>

#include "run/worker_impl.h"

bool run_memo_has(const lct_worker *w, const lct_item *x) {
  return w->n_memo > 0 && lct_item_is_opener(x) && x->n_tokens == w->n_memo &&
         memcmp(x->tail, w->memo_ids, (size_t)w->n_memo * sizeof *w->memo_ids) == 0;
}

/* Copies an item's vectors into the memo, or out of it. */
static void copy(lct_worker *w, int32_t item, bool into) {
  for (int i = 0; i < w->o.n_streams; i++) { /* none without a pool */
    const lct_stream *t = &w->o.streams[i];
    size_t width = (size_t)t->width;
    for (int k = 0; k < w->o.n_positions * t->n_planes; k++) {
      float *v = lct_pool_vectors(w->pool, i, k / t->n_planes, k % t->n_planes) + (size_t)item * width, *m = w->memo[i] + (size_t)k * width;
      memcpy(into ? m : v, into ? v : m, width * sizeof *v);
    }
  }
}

void run_memo_get(lct_worker *w, int32_t item) { copy(w, item, false); }

lct_status run_memo_set(lct_worker *w, int32_t item, const lct_item *x, lct_error *err) {
  size_t n = (size_t)w->o.n_streams;
  w->n_memo = 0;
  if (w->memo == NULL) LCT_TRY(lct_calloc(&w->memo, n, sizeof *w->memo, "memo", err));
  for (int i = 0; i < w->o.n_streams; i++) {
    size_t values = (size_t)w->o.n_positions * (size_t)w->o.streams[i].n_planes * (size_t)w->o.streams[i].width;
    if (w->memo[i] == NULL) LCT_TRY(lct_calloc(&w->memo[i], values, sizeof **w->memo, "memo", err));
  }
  LCT_TRY(lct_grow(&w->memo_ids, &w->cap_memo, (size_t)x->n_tokens, sizeof *w->memo_ids, "memo", err));
  memcpy(w->memo_ids, x->tail, (size_t)x->n_tokens * sizeof *w->memo_ids);
  copy(w, item, true);
  w->n_memo = x->n_tokens;
  return LCT_OK;
}
