/* Generation: all prompts of a batch in lockstep, each over its own path of keys. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan_impl.h"

typedef struct {
  scan *s;
  const lct_plan *plan;
  scan_prompt **active; /* prompts still generating; row i of the pass is active[i] */
  int n_active;
  lct_kv *kv;
  float *logits;          /* (n_active, vocab) */
  int32_t *tokens, *positions, *rows;
  lct_segment *segments;
  lct_kv_range *ranges;   /* (n_active, max path + 1) */
  int max_ranges;
  lct_file_spec *specs;
} decode;

static bool is_end(const scan *s, int32_t token) {
  for (int i = 0; i < s->n_eos; i++) {
    if (s->eos[i] == token) return true;
  }
  return false;
}

/* Chooses the next token of prompt p from its logits and records the step. */
static lct_status record(scan *s, scan_prompt *p, const float *logits, lct_error *err) {
  const lct_scenario *sc = s->scenario;
  scan_step *step = &p->steps[p->n_steps];
  int k = sc->capture.top_k_probs < s->cfg.vocab ? sc->capture.top_k_probs : s->cfg.vocab;
  LCT_TRY(lct_calloc(&step->top, (size_t)k, sizeof *step->top, "top-k", err));
  LCT_TRY(lct_logits_describe(logits, s->cfg.vocab, k, step->top, &step->stats, err));
  lct_sampling sampling = {.do_sample = sc->generation.do_sample, .temperature = sc->generation.temperature,
                           .top_k = sc->generation.top_k, .top_p = sc->generation.top_p, .seed = (uint64_t)sc->generation.seed};
  LCT_TRY(lct_sample(&sampling, logits, s->cfg.vocab, 0, (uint32_t)p->n_steps, &step->token, err));
  step->input_token = p->n_steps > 0 ? p->steps[p->n_steps - 1].token : -1;
  p->n_steps++;
  s->result->tokens_generated++;
  p->finished = is_end(s, step->token) || p->n_steps >= sc->generation.max_new_tokens;
  return LCT_OK;
}

static void drop_finished(decode *d) {
  int n = 0;
  for (int i = 0; i < d->n_active; i++) {
    if (!d->active[i]->finished) d->active[n++] = d->active[i];
  }
  d->n_active = n;
}

static void set_row(decode *d, int i, int step) {
  scan_prompt *p = d->active[i];
  const scan_item *item = scan_prompt_item(d->s, p);
  int32_t n = 0;
  const lct_kv_range *path = lct_plan_seq_ranges(d->plan, item->seq, &n);
  lct_kv_range *ranges = d->ranges + (size_t)i * (size_t)d->max_ranges;
  memcpy(ranges, path, (size_t)n * sizeof *ranges);
  if (step > 1) ranges[n++] = (lct_kv_range){p->kv_base, step - 1};
  int32_t position = (int32_t)item->tokens.len + step - 1;
  d->tokens[i] = p->steps[step - 1].token;
  d->positions[i] = position;
  d->rows[i] = i;
  d->segments[i] = (lct_segment){.row0 = i, .n_rows = 1, .pos0 = position, .kv0 = p->kv_base + step - 1, .n_ranges = n, .ranges = ranges};
}

/* The last generated step's state replaces the one before: the intra-run comparison wants the final one. */
static lct_status on_rows(void *ctx, lct_source src, int layer, int row0, int n, const float *data, int64_t ld, lct_error *err) {
  decode *d = ctx;
  size_t hidden = (size_t)d->s->cfg.hidden;
  for (int i = 0; i < SCAN_N_SCORED; i++) {
    if (scan_scored[i] != src) continue;
    for (int r = 0; r < n; r++) {
      float *state = d->active[row0 + r]->last_state + ((size_t)i * (size_t)d->s->cfg.n_layers + (size_t)layer) * hidden;
      memcpy(state, data + (size_t)r * (size_t)ld, hidden * sizeof *state);
    }
  }
  return d->s->files != NULL ? lct_files_rows(d->s->files, src, layer, row0, n, data, ld, err) : LCT_OK;
}

static lct_status on_attention(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) {
  decode *d = ctx;
  return lct_files_attn(d->s->files, layer, segment, row0, n, n_keys, data, err);
}

static lct_status begin_files(decode *d, int step, const lct_batch *batch, lct_error *err) {
  scan *s = d->s;
  for (int i = 0; i < d->n_active; i++) {
    lct_kv_range *row = lct_arena_alloc(&s->arena, sizeof *row);
    const char *path = scan_printf(s, err, "%s/%s/tensors/step_%03d.npz", s->run_dir, d->active[i]->label, step);
    if (path == NULL || row == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a step's file");
    *row = (lct_kv_range){i, 1};
    d->specs[i] = (lct_file_spec){.path = path, .sources = s->sources, .ranges = row, .n_ranges = 1, .n_tokens = 1,
                                  .n_keys = batch->positions[i] + 1};
  }
  return lct_files_begin(s->files, d->specs, (size_t)d->n_active, batch, err);
}

static lct_status finish_files(decode *d, int step, lct_error *err) {
  for (int i = 0; i < d->n_active; i++) {
    lct_buf text = {0};
    lct_status status = lct_files_index(d->s->files, (size_t)i, &text, err);
    if (status != LCT_OK) {
      lct_buf_free(&text);
      return status;
    }
    d->active[i]->steps[step].index = text.data;
  }
  return lct_files_finish(d->s->files, err);
}

static lct_status run_step(decode *d, int step, lct_error *err) {
  scan *s = d->s;
  int32_t slots = 0;
  for (int i = 0; i < d->n_active; i++) {
    set_row(d, i, step);
    if (d->segments[i].kv0 + 1 > slots) slots = d->segments[i].kv0 + 1;
  }
  lct_batch batch = {.n_rows = d->n_active, .n_segments = d->n_active, .n_slots = slots, .decode = true, .tokens = d->tokens,
                     .positions = d->positions, .segments = d->segments};
  if (s->files != NULL) LCT_TRY(begin_files(d, step, &batch, err));
  lct_tap tap = {.ctx = d, .rows = on_rows, .attn = on_attention};
  for (int i = 0; i < SCAN_N_SCORED; i++) tap.wanted |= LCT_SOURCE_BIT(scan_scored[i]);
  if (s->files != NULL) tap.wanted |= lct_files_wanted(s->files);
  LCT_TRY(lct_engine_forward(s->engine, &batch, d->kv, &tap, d->rows, d->n_active, d->logits, s->o->cancel, err));
  if (s->files != NULL) LCT_TRY(finish_files(d, step, err));
  s->result->tokens_computed += d->n_active;
  s->result->tokens_prefix_by_prefix += d->n_active;
  for (int i = 0; i < d->n_active; i++) LCT_TRY(record(s, d->active[i], d->logits + (size_t)i * (size_t)s->cfg.vocab, err));
  return LCT_OK;
}

static lct_status reserve(decode *d, int n, lct_error *err) {
  for (int i = 0; i < n; i++) {
    int32_t ranges = 0;
    (void)lct_plan_seq_ranges(d->plan, scan_prompt_item(d->s, d->active[i])->seq, &ranges);
    if (ranges + 1 > d->max_ranges) d->max_ranges = ranges + 1;
  }
  size_t k = (size_t)n;
  LCT_TRY(lct_calloc(&d->tokens, k, sizeof *d->tokens, "decode", err));
  LCT_TRY(lct_calloc(&d->positions, k, sizeof *d->positions, "decode", err));
  LCT_TRY(lct_calloc(&d->rows, k, sizeof *d->rows, "decode", err));
  LCT_TRY(lct_calloc(&d->segments, k, sizeof *d->segments, "decode", err));
  LCT_TRY(lct_calloc(&d->specs, k, sizeof *d->specs, "decode", err));
  return lct_calloc(&d->ranges, k * (size_t)d->max_ranges, sizeof *d->ranges, "decode", err);
}

/* The reply is the generated tokens' text without the end token: the template writes its own. */
static lct_status set_reply(scan *s, scan_prompt *p, lct_error *err) {
  int n = p->n_steps;
  if (n > 0 && is_end(s, p->steps[n - 1].token)) n--;
  int32_t *ids = NULL;
  LCT_TRY(lct_calloc(&ids, (size_t)n, sizeof *ids, "reply", err));
  for (int i = 0; i < n; i++) ids[i] = p->steps[i].token;
  lct_status status = lct_decode(s->tokenizer, ids, (size_t)n, true, &p->reply, err);
  free(ids);
  return status;
}

lct_status scan_decode(scan *s, const lct_plan *plan, scan_prompt **prompts, int n, lct_kv *kv, float *logits, lct_error *err) {
  decode d = {.s = s, .plan = plan, .n_active = n, .kv = kv, .logits = logits};
  lct_status status = lct_calloc(&d.active, (size_t)n, sizeof(scan_prompt *), "decode", err);
  if (status == LCT_OK) {
    memcpy(d.active, prompts, (size_t)n * sizeof *prompts);
    status = reserve(&d, n, err);
  }
  for (int i = 0; i < n && status == LCT_OK; i++) status = record(s, prompts[i], logits + (size_t)i * (size_t)s->cfg.vocab, err);
  drop_finished(&d);
  int64_t total = (int64_t)n * s->scenario->generation.max_new_tokens, before = s->result->tokens_generated - n;
  for (int step = 1; status == LCT_OK && d.n_active > 0; step++) {
    scan_report(s, "decode", s->result->tokens_generated - before, total, total);
    status = run_step(&d, step, err);
    drop_finished(&d);
  }
  for (int i = 0; i < n && status == LCT_OK; i++) status = set_reply(s, prompts[i], err);
  free(d.active);
  free(d.tokens);
  free(d.positions);
  free(d.rows);
  free(d.segments);
  free(d.specs);
  free(d.ranges);
  return status;
}
