/* Running the model: every batch of the plan once, then what its prompts generate. When a GPU's memory is out, what is not complete runs
 * once more in smaller batches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "scan/scan_impl.h"

/* A batch of the prefill and what hangs on it. */
typedef struct {
  const lct_plan *plan;
  const lct_batch *batch;
  int32_t *items; /* numbers of the items in it */
  int32_t n_items;
  scan_prompt **prompts; /* whose prompt is in it */
  int32_t *logit_rows;   /* (n_prompts) rows of their last tokens */
  int n_prompts;
  lct_kv *kv;
  int32_t n_slots; /* of kv */
} prefill;

/* The counts before a batch. */
typedef struct {
  int64_t computed, prefix_by_prefix, generated, bytes;
  size_t saturated;
} counts;

static lct_status plan_items(scan *s, lct_plan *plan, const int32_t *numbers, int32_t n, lct_error *err) {
  for (int32_t i = 0; i < s->n_items; i++) s->items[i].seq = -1;
  for (int32_t i = 0; i < n; i++) {
    scan_item *item = &s->items[numbers[i]];
    int32_t *ids = NULL;
    LCT_TRY(lct_calloc(&ids, item->tokens.len, sizeof *ids, "token ids", err));
    for (size_t k = 0; k < item->tokens.len; k++) ids[k] = item->tokens.data[k].id;
    lct_status status = lct_plan_add(plan, ids, item->tokens.len, &item->seq, err);
    free(ids);
    LCT_TRY(status);
  }
  return lct_plan_build(plan, s->max_rows, err);
}

/* What of the given items lies in batch `number`, and, for the main plan, whose generation starts from it. */
static lct_status collect_items(prefill *b, const scan *s, const int32_t *numbers, int32_t n, int32_t number, lct_error *err) {
  LCT_TRY(lct_calloc(&b->items, (size_t)n, sizeof *b->items, "batch items", err));
  for (int32_t i = 0; i < n; i++) {
    if (lct_plan_seq_batch(b->plan, s->items[numbers[i]].seq) == number) b->items[b->n_items++] = numbers[i];
  }
  return LCT_OK;
}

static lct_status collect_prompts(scan *s, prefill *b, int32_t number, lct_error *err) {
  LCT_TRY(lct_calloc(&b->prompts, s->n_prompts, sizeof *b->prompts, "batch prompts", err));
  LCT_TRY(lct_calloc(&b->logit_rows, s->n_prompts, sizeof *b->logit_rows, "logit rows", err));
  for (size_t i = 0; i < s->n_prompts; i++) {
    const scan_item *item = scan_prompt_item(s, &s->prompts[i]);
    if (item->seq < 0 || lct_plan_seq_batch(b->plan, item->seq) != number) continue;
    b->logit_rows[b->n_prompts] = lct_plan_seq_row(b->plan, item->seq, (int32_t)item->tokens.len - 1);
    b->prompts[b->n_prompts++] = &s->prompts[i];
  }
  return LCT_OK;
}

/* The files of a batch: one an item, and step_000 of each prompt over the same rows as its last snapshot. */
static lct_status begin_files(scan *s, prefill *b, lct_error *err) {
  size_t n = 0, cap = (size_t)b->n_items + (size_t)b->n_prompts;
  lct_file_spec *specs = lct_arena_alloc(&s->arena, cap * sizeof *specs);
  if (specs == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %zu files", cap);
  bool qkv = s->scenario->capture.qkv;
  for (int32_t i = 0; i < b->n_items; i++) {
    const scan_item *item = &s->items[b->items[i]];
    lct_file_spec *f = &specs[n++];
    *f = (lct_file_spec){.path = item->path, .sources = s->sources & ~LCT_SOURCE_BIT(LCT_SOURCE_V), .qkv_last = qkv};
    LCT_TRY(scan_item_rows(s, b->plan, item, &f->ranges, &f->n_ranges, err));
    f->n_tokens = f->n_keys = (int32_t)item->tokens.len;
  }
  for (int i = 0; i < b->n_prompts; i++) {
    const scan_item *item = scan_prompt_item(s, b->prompts[i]);
    lct_file_spec *f = &specs[n++];
    *f = (lct_file_spec){.sources = s->sources};
    f->path = scan_printf(s, err, "%s/%s/tensors/step_000.npz", s->run_dir, b->prompts[i]->label);
    if (f->path == NULL) return LCT_E_NOMEM;
    LCT_TRY(scan_item_rows(s, b->plan, item, &f->ranges, &f->n_ranges, err));
    f->n_tokens = f->n_keys = (int32_t)item->tokens.len;
  }
  return lct_files_begin(s->files, specs, n, b->batch, err);
}

static lct_status take_index(scan *s, size_t file, char **out, lct_error *err) {
  lct_buf text = {0};
  lct_status status = lct_files_index(s->files, file, &text, err);
  if (status != LCT_OK) lct_buf_free(&text);
  else *out = text.data;
  return status;
}

static lct_status finish_files(scan *s, prefill *b, lct_error *err) {
  for (int32_t i = 0; i < b->n_items; i++) LCT_TRY(take_index(s, (size_t)i, &s->items[b->items[i]].index, err));
  for (int i = 0; i < b->n_prompts; i++) {
    LCT_TRY(take_index(s, (size_t)b->n_items + (size_t)i, &b->prompts[i]->steps[0].index, err));
  }
  return lct_files_finish(s->files, err);
}

static lct_status begin_pool(scan *s, prefill *b, lct_error *err) {
  lct_pool_rows *rows = lct_arena_alloc(&s->arena, (size_t)b->n_items * sizeof *rows);
  if (rows == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for pooled rows");
  for (int32_t i = 0; i < b->n_items; i++) {
    int32_t n_ranges = 0;
    const scan_item *item = &s->items[b->items[i]];
    const lct_row_range *ranges = NULL;
    LCT_TRY(scan_item_rows(s, b->plan, item, &ranges, &n_ranges, err));
    LCT_TRY(scan_pool_rows(item, b->items[i], ranges, n_ranges, &s->arena, &rows[i], err));
  }
  lct_pool_begin(s->pool, rows, b->n_items, b->batch->n_rows);
  return LCT_OK;
}

/* The prompt's own state before generation, for the intra-run comparison. */
static lct_status keep_first_state(scan *s, scan_prompt *p, lct_error *err) {
  size_t hidden = (size_t)s->cfg.hidden, n = LCT_N_RESIDUAL * (size_t)s->cfg.n_layers * hidden;
  LCT_TRY(lct_calloc(&p->first_state, n, sizeof(float), "prompt state", err));
  LCT_TRY(lct_calloc(&p->last_state, n, sizeof(float), "prompt state", err));
  size_t item = (size_t)(p->first_item + (int32_t)p->n_messages - 1);
  for (int src = 0; src < LCT_N_RESIDUAL; src++) {
    for (int l = 0; l < s->cfg.n_layers; l++) {
      memcpy(p->first_state + ((size_t)src * (size_t)s->cfg.n_layers + (size_t)l) * hidden,
             lct_pool_vectors(s->pool, src, LCT_POOLING_LAST, l) + item * hidden, hidden * sizeof(float));
    }
  }
  return LCT_OK;
}

static lct_status run_prefill(scan *s, prefill *b, lct_error *err) {
  LCT_TRY(begin_pool(s, b, err));
  if (s->files != NULL) LCT_TRY(begin_files(s, b, err));
  s->progress.per_layer = b->batch->n_rows;
  lct_heads heads = {0};
  lct_status status = scan_ask(s, b->prompts, b->n_prompts, b->logit_rows, &heads, err);
  if (status == LCT_OK) status = scan_prefill(s, b->batch, b->kv, &heads, err);
  scan_chosen(s, b->prompts, &heads, status == LCT_OK);
  LCT_TRY(status);
  if (s->files != NULL) LCT_TRY(finish_files(s, b, err));
  s->result->tokens_computed += b->batch->n_rows;
  for (int32_t i = 0; i < b->n_items; i++) {
    s->items[b->items[i]].done = true;
    s->result->tokens_prefix_by_prefix += (int64_t)s->items[b->items[i]].tokens.len;
  }
  return LCT_OK;
}

/* KV slots of a batch: its rows, then each prompt's generated tokens, then the rows of the snapshots with the replies. */
static lct_status run_and_generate(scan *s, prefill *b, lct_error *err) {
  int32_t new_tokens = s->scenario->generation.max_new_tokens, slots = b->batch->n_rows;
  for (int i = 0; i < b->n_prompts; i++) {
    b->prompts[i]->kv_base = slots;
    slots += new_tokens;
  }
  int32_t reply_base = slots;
  /* a reply re-tokenised is about as long as it was generated; one that does not fit runs afresh */
  slots += b->n_prompts * (new_tokens + new_tokens / 2 + 16);
  b->n_slots = slots;
  LCT_TRY(lct_kv_new(s->engine, slots, &b->kv, err));
  double t0 = lct_seconds();
  LCT_TRY(run_prefill(s, b, err));
  double t1 = lct_seconds();
  s->result->seconds_prefill += t1 - t0;
  for (int i = 0; i < b->n_prompts; i++) {
    LCT_TRY(keep_first_state(s, b->prompts[i], err));
    /* prefix by prefix, generation prefills the prompt again */
    s->result->tokens_prefix_by_prefix += (int64_t)scan_prompt_item(s, b->prompts[i])->tokens.len;
  }
  LCT_TRY(scan_decode(s, b->plan, b->prompts, b->n_prompts, b->kv, err));
  double t2 = lct_seconds();
  s->result->seconds_decode += t2 - t1;
  LCT_TRY(scan_reply(s, b->plan, b->prompts, b->n_prompts, b->kv, reply_base, slots, err));
  s->result->seconds_prefill += lct_seconds() - t2;
  return LCT_OK;
}

static void prefill_free(scan *s, prefill *b) {
  lct_kv_free(s->engine, b->kv);
  free(b->items);
  free(b->prompts);
  free(b->logit_rows);
}

static void begin_phase(scan *s, const char *phase, const lct_plan *plan) {
  s->progress.phase = phase;
  s->progress.tokens = lct_plan_n_tokens(plan);
  s->progress.total = s->progress.tokens * s->cfg.n_layers;
  s->progress.done = 0;
}

lct_status scan_run_items(scan *s, const lct_plan *plan, const int32_t *numbers, int32_t n, const char *phase, lct_error *err) {
  begin_phase(s, phase, plan);
  lct_status status = LCT_OK;
  for (int32_t i = 0; status == LCT_OK && i < lct_plan_n_batches(plan); i++) {
    prefill b = {.plan = plan, .batch = lct_plan_batch(plan, i)};
    status = collect_items(&b, s, numbers, n, i, err);
    if (status == LCT_OK) status = run_prefill(s, &b, err);
    prefill_free(s, &b);
  }
  return status;
}

/* What is run together or not at all is a unit: a reference, or a prompt with its snapshots. */
static int32_t unit_of(const scan *s, int32_t item) {
  int32_t p = 0;
  if (item < s->n_references) return item;
  while ((size_t)p + 1 < s->n_prompts && s->prompts[p + 1].first_item <= item) p++;
  return s->n_references + p;
}

static int32_t unit_begin(const scan *s, int32_t unit) {
  if (unit <= s->n_references) return unit;
  size_t p = (size_t)(unit - s->n_references);
  return p < s->n_prompts ? s->prompts[p].first_item : s->n_items;
}

static bool is_one_unit(const scan *s, const prefill *b) {
  return b->n_items == 0 || unit_of(s, b->items[0]) == unit_of(s, b->items[b->n_items - 1]);
}

static counts count(const scan *s) {
  const lct_scan_result *r = s->result;
  counts c = {.computed = r->tokens_computed, .prefix_by_prefix = r->tokens_prefix_by_prefix, .generated = r->tokens_generated};
  if (s->files != NULL) {
    c.bytes = lct_files_bytes(s->files);
    c.saturated = lct_files_saturated(s->files);
  }
  return c;
}

static void undo_prompt(scan *s, scan_prompt *p) {
  for (int i = 0; i < p->n_steps; i++) {
    free(p->steps[i].top);
    free(p->steps[i].index);
    p->steps[i] = (scan_step){0};
  }
  p->n_steps = 0;
  p->finished = false;
  lct_buf_free(&p->reply);
  free(p->first_state);
  free(p->last_state);
  p->first_state = p->last_state = NULL;
  scan_item *reply = &s->items[p->first_item + (int32_t)p->n_messages];
  reply->present = reply->done = false;
  free(reply->index);
  reply->index = NULL;
}

/* Takes back what a batch has done, so that its items can run again; files it finished are written over then. */
static lct_status undo_batch(scan *s, const prefill *b, const counts *before, lct_error *err) {
  for (int32_t i = 0; i < b->n_items; i++) {
    scan_item *item = &s->items[b->items[i]];
    item->done = false;
    free(item->index);
    item->index = NULL;
  }
  for (int i = 0; i < b->n_prompts; i++) undo_prompt(s, b->prompts[i]);
  lct_scan_result *r = s->result;
  r->tokens_computed = before->computed;
  r->tokens_prefix_by_prefix = before->prefix_by_prefix;
  r->tokens_generated = before->generated;
  if (s->files == NULL) return LCT_OK;
  r->tensor_bytes += before->bytes;
  r->saturated += before->saturated;
  lct_files_free(s->files);
  s->files = NULL;
  return lct_files_new(&s->cfg, s->scenario->capture.store_dtype, s->layers, s->threads, &s->files, err);
}

/* A batch did not fit the GPU. The first time, if it can be cut: undone and noted for scan_run; otherwise the error says the sizes. */
static lct_status out_of_memory(scan *s, const prefill *b, const counts *before, lct_error *err) {
  lct_scan_result *r = s->result;
  bool again = r->batch_rows_failed > 0, one = is_one_unit(s, b);
  if (again || one) {
    char first[64] = "";
    if (again) (void)snprintf(first, sizeof first, ", after one of %d tokens had failed", r->batch_rows_failed);
    return lct_fail_context(err, LCT_E_NOMEM, "a batch of %d tokens and keys for %d does not fit %s%s%s", b->batch->n_rows, b->n_slots,
                            s->device.label, first, one ? "; it is one conversation, which cannot be cut" : "");
  }
  LCT_TRY(undo_batch(s, b, before, err));
  r->batch_rows_failed = b->batch->n_rows;
  return LCT_E_NOMEM;
}

static lct_status run_batch(scan *s, prefill *b, const int32_t *numbers, int32_t n, int32_t number, lct_error *err) {
  counts before = count(s);
  lct_status status = collect_items(b, s, numbers, n, number, err);
  if (status == LCT_OK) status = collect_prompts(s, b, number, err);
  if (status == LCT_OK) status = run_and_generate(s, b, err);
  return status == LCT_E_NOMEM && s->device.gpu ? out_of_memory(s, b, &before, err) : status;
}

static lct_status run_plan(scan *s, const lct_plan *plan, const int32_t *numbers, int32_t n, lct_error *err) {
  int64_t done = 0;
  for (int32_t i = 0; i < lct_plan_n_batches(plan); i++) {
    prefill b = {.plan = plan, .batch = lct_plan_batch(plan, i)};
    begin_phase(s, "prefill", plan);
    s->progress.done = done;
    lct_status status = run_batch(s, &b, numbers, n, i, err);
    prefill_free(s, &b);
    LCT_TRY(status);
    done += (int64_t)b.batch->n_rows * s->cfg.n_layers;
  }
  return LCT_OK;
}

static bool has_larger_batch(const lct_plan *plan, int32_t max_rows) {
  for (int32_t i = 0; i < lct_plan_n_batches(plan); i++) {
    if (lct_plan_batch(plan, i)->n_rows > max_rows) return true;
  }
  return false;
}

/* Runs what is not done of the units [from, to) by one plan. A plan's batches are whole subtrees of its trie, and prompts of one template
 * all share its first token: where the batches must be smaller, the units are halved into plans of their own, which compute what they
 * share again. */
static lct_status run_units(scan *s, int32_t from, int32_t to, lct_error *err) {
  int32_t n = 0, begin = unit_begin(s, from), end = unit_begin(s, to);
  int32_t *numbers = lct_arena_alloc(&s->arena, (size_t)(end - begin) * sizeof *numbers);
  if (numbers == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %d snapshots", end - begin);
  for (int32_t i = begin; i < end; i++) {
    if (s->items[i].present && !s->items[i].done) numbers[n++] = i;
  }
  if (n == 0) return LCT_OK;
  lct_plan *plan = NULL;
  LCT_TRY(lct_plan_new(&plan, err));
  lct_status status = plan_items(s, plan, numbers, n, err);
  bool halve = status == LCT_OK && to - from > 1 && s->result->batch_rows_shrunk_to > 0 && has_larger_batch(plan, s->max_rows);
  if (status == LCT_OK && !halve) status = run_plan(s, plan, numbers, n, err);
  lct_plan_free(plan);
  if (!halve) return status;
  int32_t middle = from + (to - from) / 2;
  LCT_TRY(run_units(s, from, middle, err));
  return run_units(s, middle, to, err);
}

lct_status scan_run(scan *s, lct_error *err) {
  lct_plane *planes = lct_arena_alloc(&s->arena, LCT_N_RESIDUAL * (size_t)s->cfg.n_layers * sizeof *planes);
  if (planes == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the list of layers");
  for (int i = 0; i < LCT_N_RESIDUAL; i++) s->streams[i] = lct_stream_of(LCT_RESIDUAL_SOURCES[i], &s->cfg, planes + i * s->cfg.n_layers);
  LCT_TRY(lct_pool_new(s->engine, s->streams, LCT_N_RESIDUAL, LCT_N_POOLINGS, &s->pool, err));
  LCT_TRY(lct_pool_reserve(s->pool, s->n_items, err));
  if (s->o->keep == LCT_KEEP_TOKENS) {
    LCT_TRY(lct_files_new(&s->cfg, s->scenario->capture.store_dtype, s->layers, s->threads, &s->files, err));
  }
  int32_t n_units = s->n_references + (int32_t)s->n_prompts;
  lct_status status = run_units(s, 0, n_units, err);
  lct_scan_result *r = s->result;
  if (status != LCT_E_NOMEM || r->batch_rows_failed == 0) return status;
  r->batch_rows_shrunk_to = s->max_rows = r->batch_rows_failed > 1 ? r->batch_rows_failed / 2 : 1;
  return run_units(s, 0, n_units, err);
}
