/* A chunk of prompts through the model, by one trie: what its prompts share is computed once. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "fingerprint/make_impl.h"

static lct_status make_plan(maker *m, lct_plan *plan, lct_error *err) {
  int32_t *ids = NULL;
  size_t longest = 0;
  for (int i = 0; i < m->n_prompts; i++) longest = m->prompts[i].tokens.len > longest ? m->prompts[i].tokens.len : longest;
  LCT_TRY(lct_calloc(&ids, longest, sizeof *ids, "token ids", err));
  lct_status s = LCT_OK;
  for (int i = 0; i < m->n_prompts && s == LCT_OK; i++) {
    fp_prompt *p = &m->prompts[i];
    for (size_t k = 0; k < p->tokens.len; k++) ids[k] = p->tokens.data[k].id;
    s = lct_plan_add(plan, ids, p->tokens.len, &p->seq, err);
  }
  free(ids);
  return s == LCT_OK ? lct_plan_build(plan, m->device.batch_rows, err) : s;
}

/* The entries of the poolings asked for, in their order. */
static lct_status pool_rows(const maker *m, const lct_plan *plan, int item, lct_arena *arena, lct_pool_rows *out, lct_error *err) {
  const fp_prompt *p = &m->prompts[item];
  lct_pool_entry all[LCT_N_POOLINGS], *entries = lct_arena_alloc(arena, (size_t)m->n_poolings * sizeof *entries);
  if (entries == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  int32_t n_ranges = 0;
  const lct_kv_range *slots = lct_plan_seq_ranges(plan, p->seq, &n_ranges);
  lct_row_range *ranges = lct_arena_alloc(arena, (size_t)n_ranges * sizeof *ranges);
  if (ranges == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the rows of a message");
  n_ranges = lct_plan_rows(plan, slots, n_ranges, ranges);
  LCT_TRY(lct_pool_message(ranges, n_ranges, p->content, arena, all, err));
  for (int i = 0; i < m->n_poolings; i++) entries[i] = all[m->poolings[i]];
  *out = (lct_pool_rows){.item = item, .entries = entries};
  return LCT_OK;
}

static lct_status run_batch(maker *m, const lct_plan *plan, int32_t number, lct_error *err) {
  const lct_batch *batch = lct_plan_batch(plan, number);
  lct_arena arena = {0};
  int n = 0;
  lct_status s = LCT_OK;
  lct_pool_rows *rows = lct_arena_alloc(&arena, (size_t)m->n_prompts * sizeof *rows);
  if (rows == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  for (int i = 0; i < m->n_prompts && s == LCT_OK; i++) {
    if (lct_plan_seq_batch(plan, m->prompts[i].seq) == number) s = pool_rows(m, plan, i, &arena, &rows[n++], err);
  }
  if (s == LCT_OK) lct_pool_begin(m->pool, rows, n, batch->n_rows);
  lct_pass pass = {.batch = batch, .cancel = m->o->cancel};
  lct_taker vectors = lct_pool_taker(m->pool);
  if (s == LCT_OK) s = lct_pass_add(&pass, &vectors, err);
  if (s == LCT_OK) s = lct_pass_run(m->engine, &pass, err);
  if (s == LCT_OK) m->result->tokens_computed += batch->n_rows;
  lct_arena_free(&arena);
  return s;
}

lct_status fp_run_chunk(maker *m, lct_error *err) {
  lct_plan *plan = NULL;
  LCT_TRY(lct_plan_new(&plan, err));
  lct_status s = make_plan(m, plan, err);
  if (s == LCT_OK) s = lct_pool_reserve(m->pool, m->n_prompts, err);
  for (int32_t i = 0; s == LCT_OK && i < lct_plan_n_batches(plan); i++) s = run_batch(m, plan, i, err);
  if (s == LCT_OK) m->result->tokens_naive += lct_plan_n_tokens_naive(plan);
  lct_plan_free(plan);
  if (s == LCT_OK) s = fp_add_chunk(m, err);
  m->n_prompts = 0;
  m->rows = 0;
  return s;
}
