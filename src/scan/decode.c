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
  int32_t *tokens, *positions, *rows;
  lct_segment *segments;
  lct_kv_range *ranges;   /* (n_active, max path + 1) */
  int max_ranges;
  lct_file_spec *specs;
  lct_pool *pool;         /* every row's state: item i is active[i]'s */
  lct_pool_rows *pool_rows;
  lct_pool_entry *entries;
} decode;

static bool is_end(const scan *s, int32_t token) {
  for (int i = 0; i < s->n_eos; i++) {
    if (s->eos[i] == token) return true;
  }
  return false;
}

lct_status scan_ask(scan *s, scan_prompt **prompts, int n, const int32_t *rows, lct_heads *heads, lct_error *err) {
  const lct_scenario *sc = s->scenario;
  s->sampling = (lct_sampling){.do_sample = sc->generation.do_sample, .temperature = sc->generation.temperature,
                               .top_k = sc->generation.top_k, .top_p = sc->generation.top_p, .seed = (uint64_t)sc->generation.seed};
  int k = sc->capture.top_k_probs;
  *heads = (lct_heads){.rows = rows, .n = n, .sampling = &s->sampling, .top_k = k < s->cfg.vocab ? k : s->cfg.vocab};
  uint32_t *steps = NULL;
  LCT_TRY(lct_calloc(&heads->choices, (size_t)n, sizeof *heads->choices, "choices", err));
  LCT_TRY(lct_calloc(&steps, (size_t)n, sizeof *steps, "choices", err));
  heads->steps = steps;
  for (int i = 0; i < n; i++) {
    steps[i] = (uint32_t)prompts[i]->n_steps;
    scan_step *step = &prompts[i]->steps[prompts[i]->n_steps];
    LCT_TRY(lct_calloc(&step->top, (size_t)heads->top_k, sizeof *step->top, "top-k", err));
    heads->choices[i].top = step->top;
  }
  return LCT_OK;
}

static void record(scan *s, scan_prompt *p, const lct_choice *c) {
  scan_step *step = &p->steps[p->n_steps];
  step->token = c->token;
  step->stats = c->stats;
  step->input_token = p->n_steps > 0 ? p->steps[p->n_steps - 1].token : -1;
  p->n_steps++;
  s->result->tokens_generated++;
  p->finished = is_end(s, step->token) || p->n_steps >= s->scenario->generation.max_new_tokens;
}

void scan_chosen(scan *s, scan_prompt **prompts, lct_heads *heads, bool chosen) {
  for (int i = 0; i < heads->n && heads->choices != NULL; i++) {
    if (chosen) {
      record(s, prompts[i], &heads->choices[i]);
    } else {
      free(heads->choices[i].top);
      prompts[i]->steps[prompts[i]->n_steps].top = NULL;
    }
  }
  free((void *)(uintptr_t)heads->steps);
  free(heads->choices);
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

static lct_status begin_files(decode *d, int step, const lct_batch *batch, lct_error *err) {
  scan *s = d->s;
  for (int i = 0; i < d->n_active; i++) {
    lct_row_range *row = lct_arena_alloc(&s->arena, sizeof *row);
    const char *path = scan_printf(s, err, "%s/%s/tensors/step_%03d.npz", s->run_dir, d->active[i]->label, step);
    if (path == NULL || row == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a step's file");
    *row = (lct_row_range){i, 1};
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

/* The last generated step's state replaces the one before: the intra-run comparison wants the final one. */
static void keep_states(const decode *d) {
  size_t hidden = (size_t)d->s->cfg.hidden, n_layers = (size_t)d->s->cfg.n_layers;
  for (size_t k = 0; k < LCT_N_RESIDUAL * n_layers; k++) {
    const float *states = lct_pool_vectors(d->pool, (int)(k / n_layers), 0, (int)(k % n_layers));
    for (int i = 0; i < d->n_active; i++) memcpy(d->active[i]->last_state + k * hidden, states + (size_t)i * hidden, hidden * sizeof *states);
  }
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
  lct_pool_begin(d->pool, d->pool_rows, d->n_active, d->n_active);
  lct_pass pass = {.batch = &batch, .kv = d->kv, .cancel = s->o->cancel};
  LCT_TRY(scan_add_takers(s, d->pool, &pass, err));
  lct_status status = scan_ask(s, d->active, d->n_active, d->rows, &pass.heads, err);
  if (status == LCT_OK) status = lct_pass_run(s->engine, &pass, err);
  if (status == LCT_OK) keep_states(d);
  scan_chosen(s, d->active, &pass.heads, status == LCT_OK);
  LCT_TRY(status);
  if (s->files != NULL) LCT_TRY(finish_files(d, step, err));
  s->result->tokens_computed += d->n_active;
  s->result->tokens_prefix_by_prefix += d->n_active;
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
  LCT_TRY(lct_calloc(&d->pool_rows, k, sizeof *d->pool_rows, "decode", err));
  LCT_TRY(lct_calloc(&d->entries, k, sizeof *d->entries, "decode", err));
  for (int i = 0; i < n; i++) {
    d->entries[i] = (lct_pool_entry){.row = i};
    d->pool_rows[i] = (lct_pool_rows){.item = i, .entries = &d->entries[i]};
  }
  LCT_TRY(lct_pool_new(d->s->engine, d->s->streams, LCT_N_RESIDUAL, 1, &d->pool, err));
  LCT_TRY(lct_pool_reserve(d->pool, n, err));
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

lct_status scan_decode(scan *s, const lct_plan *plan, scan_prompt **prompts, int n, lct_kv *kv, lct_error *err) {
  decode d = {.s = s, .plan = plan, .n_active = n, .kv = kv};
  lct_status status = lct_calloc(&d.active, (size_t)n, sizeof(scan_prompt *), "decode", err);
  if (status == LCT_OK) {
    memcpy(d.active, prompts, (size_t)n * sizeof *prompts);
    status = reserve(&d, n, err);
  }
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
  free(d.pool_rows);
  free(d.entries);
  lct_pool_free(d.pool);
  free(d.ranges);
  return status;
}
