/* The prefill of a batch: the vectors of its items, and the first tokens of what goes on from them. */
#include "run/worker_impl.h"

lct_status run_prefill(run_batch *b, lct_kv *kv, bool *stop, lct_error *err) {
  run_job *j = b->j;
  lct_stage *s = &b->stage;
  lct_pool_rows *rows = lct_arena_alloc(&j->w->arena, ((size_t)s->n_items + 1) * sizeof *rows);
  int32_t *last = lct_arena_alloc(&j->w->arena, ((size_t)b->n_generations + 1) * sizeof *last);
  if (rows == NULL || last == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  for (int32_t i = 0; i < s->n_items && s->pool != NULL; i++) {
    LCT_TRY(run_entries(j->w, j->u->items[s->items[i]].places, &b->cut, s->items[i], &rows[i], err));
  }
  for (int32_t i = 0; i < b->n_generations; i++) {
    const lct_item *x = &j->u->items[b->generations[i]->item];
    int32_t n_path = 0;
    const lct_kv_range *path = lct_plan_seq_ranges(s->plan, x->seq, &n_path);
    last[i] = lct_cut_row(&b->cut, path[n_path - 1].first + path[n_path - 1].n - 1);
  }
  lct_heads heads = {0};
  lct_status st = b->n_generations > 0 ? run_heads(j, b->generations, b->n_generations, last, &heads, err) : LCT_OK;
  if (st == LCT_OK) st = run_stage(j, s, rows, s->n_items, &heads, kv, err);
  run_heads_take(j, b->generations, &heads, st == LCT_OK);
  LCT_TRY(st);
  for (int32_t i = 0; i < s->n_items; i++) j->u->items[s->items[i]].done = true;
  j->w->stats.batches++;
  return j->client->end != NULL ? j->client->end(j->client->ctx, s, stop, err) : LCT_OK;
}
