/* What a scan does beside a worker's passes: progress, files of whole tensors, states for the intra-run comparison, replies. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan_impl.h"

static int64_t count_generated(const lct_unit *u) {
  int64_t n = 0;
  for (int32_t i = 0; i < u->n_generations; i++) n += u->generations[i].n;
  return n;
}

/* Where the phase stands before a pass: of a plan its batches before this one are done. */
static void begin_progress(scan *s, const lct_stage *stage) {
  scan_progress *p = &s->progress;
  int64_t n_layers = s->subject->cfg.n_layers;
  if (stage->kind == LCT_STAGE_STEP) {
    scan_report(s, "decode", count_generated(stage->unit) - p->generated, p->generations, p->generations);
    return;
  }
  p->phase = stage->kind == LCT_STAGE_REPLY ? "reply" : "prefill";
  p->tokens = stage->plan != NULL ? lct_plan_n_tokens(stage->plan) : stage->batch->n_rows;
  p->total = p->tokens * n_layers;
  p->done = 0;
  int32_t number = stage->plan != NULL ? lct_plan_seq_batch(stage->plan, stage->unit->items[stage->items[0]].seq) : 0;
  for (int32_t i = 0; i < number; i++) p->done += lct_plan_batch(stage->plan, i)->n_rows * n_layers;
  if (stage->kind == LCT_STAGE_REPLY) return;
  p->generated = count_generated(stage->unit);
  p->generations = (int64_t)stage->n_active * s->scenario->generation.max_new_tokens;
}

static lct_status begin(void *ctx, const lct_stage *stage, lct_pass *pass, lct_error *err) {
  begin_progress(ctx, stage);
  return scan_files_begin(ctx, stage, pass, err);
}

static void layer_done(void *ctx, lct_stage_kind kind, int32_t n_rows) {
  scan *s = ctx;
  if (kind == LCT_STAGE_STEP) return;
  s->progress.done += n_rows;
  scan_report(s, s->progress.phase, s->progress.done, s->progress.total, s->progress.tokens);
}

/* One item's vectors at the first position. */
static void copy_state(const scan *s, const lct_pool *pool, int32_t item, float *out) {
  size_t hidden = (size_t)s->subject->cfg.hidden;
  int n_layers = s->subject->cfg.n_layers;
  for (int k = 0; k < LCT_N_RESIDUAL * n_layers; k++) {
    const float *vectors = scan_vectors(s, pool, k / n_layers, LCT_AT_LAST, k % n_layers);
    memcpy(out + (size_t)k * hidden, vectors + (size_t)item * hidden, hidden * sizeof *out);
  }
}

/* The prompt's own state before generation, and of the generated steps the last one's, which replaces the one before. */
static lct_status keep_state(scan *s, const lct_stage *stage, int32_t row, lct_error *err) {
  const lct_generation *g = stage->active[row];
  scan_prompt *p = &s->prompts[g - stage->unit->generations];
  if (stage->kind == LCT_STAGE_STEP) {
    copy_state(s, stage->pool, row, p->last_state);
    return LCT_OK;
  }
  size_t n = LCT_N_RESIDUAL * (size_t)s->subject->cfg.n_layers * (size_t)s->subject->cfg.hidden;
  LCT_TRY(lct_calloc(&p->first_state, n, sizeof(float), "prompt state", err));
  LCT_TRY(lct_calloc(&p->last_state, n, sizeof(float), "prompt state", err));
  copy_state(s, stage->pool, g->item, p->first_state);
  return LCT_OK;
}

static lct_status end(void *ctx, const lct_stage *stage, bool *stop, lct_error *err) {
  (void)stop;
  LCT_TRY(scan_files_end(ctx, stage, err));
  for (int32_t i = 0; i < stage->n_active; i++) LCT_TRY(keep_state(ctx, stage, i, err));
  return LCT_OK;
}

static lct_status reply(void *ctx, lct_unit *u, lct_generation *g, lct_error *err) {
  return scan_make_reply(ctx, u, (size_t)(g - u->generations), err);
}

static void undo_item(scan_item *item) {
  free(item->index);
  item->index = NULL;
}

static void undo_prompt(scan *s, scan_prompt *p) {
  for (int i = 0; i < s->scenario->generation.max_new_tokens; i++) {
    free(p->indexes[i]);
    p->indexes[i] = NULL;
  }
  lct_buf_free(&p->reply);
  free(p->first_state);
  free(p->last_state);
  p->first_state = p->last_state = NULL;
  undo_item(&s->items[scan_prompt_item(p) + 1]);
}

static lct_status undo(void *ctx, lct_unit *u, const int32_t *items, int32_t n, lct_error *err) {
  scan *s = ctx;
  for (int32_t i = 0; i < n; i++) {
    undo_item(&s->items[items[i]]);
    for (int32_t k = 0; k < u->n_generations; k++) {
      if (u->generations[k].item == items[i]) undo_prompt(s, &s->prompts[k]);
    }
  }
  return scan_files_undo(s, items, n, err);
}

lct_client scan_client(scan *s) {
  return (lct_client){.ctx = s,
                      .begin = begin,
                      .end = end,
                      .reply = reply,
                      .undo = undo,
                      .layer_done = layer_done,
                      .cancel = s->o->cancel,
                      .whole_replies = s->files.open != NULL};
}
