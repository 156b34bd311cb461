/* Prefill and decode, timed on the whole engine. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/pass.h"
#include "subject/device.h"
#include "plan/plan.h"

typedef struct {
  lct_device device;
  char *path;
  lct_model *model;
  lct_threads *threads;
  lct_engine *engine;
  float *logits;
} bench;

static lct_status open_bench(const lct_bench_options *o, int n_logits, bench *b, lct_bench_result *result, lct_error *err) {
  LCT_TRY(lct_device_resolve(o->model.device, o->model.precision, &b->device, err));
  lct_device_describe(&b->device, &result->device);
  LCT_TRY(lct_model_resolve(o->model.id, o->model.gguf_file, &b->path, err));
  LCT_TRY(lct_model_map(b->path, &b->model, err));
  LCT_TRY(lct_threads_new(o->model.threads, &b->threads, err));
  LCT_TRY(lct_device_engine(&b->device, b->model, b->threads, &b->engine, err));
  return lct_alloc_aligned(&b->logits, (size_t)n_logits * (size_t)b->model->config.vocab, sizeof *b->logits, "logits", err);
}

static void close_bench(bench *b) {
  lct_engine_free(b->engine);
  lct_threads_free(b->threads);
  lct_model_unmap(b->model);
  free(b->path);
  free(b->logits);
}

/* Token k of prompt p: spread over the vocabulary, different from prompt to prompt from the first token on. */
static int32_t token(const lct_model *m, int p, int k) {
  uint32_t x = (uint32_t)(p * 7919 + k + 1) * 2654435761u;
  return (int32_t)(x % (uint32_t)m->config.vocab);
}

static lct_status add_prompts(const bench *b, lct_plan *plan, int n_prompts, int n_tokens, lct_error *err) {
  int32_t *ids = NULL, seq = 0;
  LCT_TRY(lct_calloc(&ids, (size_t)n_tokens, sizeof *ids, "token ids", err));
  lct_status s = LCT_OK;
  for (int p = 0; p < n_prompts && s == LCT_OK; p++) {
    for (int k = 0; k < n_tokens; k++) ids[k] = token(b->model, p, k);
    s = lct_plan_add(plan, ids, (size_t)n_tokens, &seq, err);
  }
  free(ids);
  return s == LCT_OK ? lct_plan_build(plan, b->device.batch_rows, err) : s;
}

/* One pass over every batch of the plan; the logits of each prompt's last token are computed as generation would need them. */
static lct_status prefill_once(bench *b, const lct_plan *plan, int n_prompts, lct_error *err) {
  int32_t *rows = NULL;
  LCT_TRY(lct_calloc(&rows, (size_t)n_prompts, sizeof *rows, "rows", err));
  lct_status s = LCT_OK;
  for (int32_t i = 0; i < lct_plan_n_batches(plan) && s == LCT_OK; i++) {
    int n = 0;
    for (int p = 0; p < n_prompts; p++) {
      if (lct_plan_seq_batch(plan, p) == i) rows[n++] = lct_plan_seq_row(plan, p, lct_plan_seq_len(plan, p) - 1);
    }
    lct_pass pass = {.batch = lct_plan_batch(plan, i), .heads = {.rows = rows, .n = n, .logits = b->logits}};
    s = lct_pass_run(b->engine, &pass, err);
  }
  free(rows);
  return s;
}

lct_status lct_bench_prefill(const lct_bench_options *o, lct_bench_result *result, lct_error *err) {
  bench b = {0};
  lct_plan *plan = NULL;
  lct_status s = open_bench(o, o->n_prompts, &b, result, err);
  if (s == LCT_OK) s = lct_plan_new(&plan, err);
  if (s == LCT_OK) s = add_prompts(&b, plan, o->n_prompts, o->n_tokens, err);
  for (int r = -1; r < o->repeats && s == LCT_OK; r++) {
    double t0 = lct_seconds();
    s = prefill_once(&b, plan, o->n_prompts, err);
    if (r >= 0) result->seconds[r] = lct_seconds() - t0;
  }
  lct_plan_free(plan);
  close_bench(&b);
  return s;
}

/* Decode steps over the keys of a prompt already in kv; the tokens fed are fixed, so that every repeat does the same work. */
static lct_status decode_once(bench *b, lct_kv *kv, int n_prompt, int n_tokens, lct_error *err) {
  for (int i = 0; i < n_tokens; i++) {
    int32_t id = token(b->model, 1, i), position = n_prompt + i, row = 0;
    lct_kv_range path = {0, n_prompt + i};
    lct_segment segment = {.n_rows = 1, .pos0 = position, .kv0 = position, .n_ranges = 1, .ranges = &path};
    lct_batch batch = {.n_rows = 1, .n_segments = 1, .n_slots = position + 1, .decode = true, .tokens = &id, .positions = &position,
                       .segments = &segment};
    lct_pass pass = {.batch = &batch, .kv = kv, .heads = {.rows = &row, .n = 1, .logits = b->logits}};
    LCT_TRY(lct_pass_run(b->engine, &pass, err));
  }
  return LCT_OK;
}

lct_status lct_bench_decode(const lct_bench_options *o, lct_bench_result *result, lct_error *err) {
  bench b = {0};
  lct_plan *plan = NULL;
  lct_kv *kv = NULL;
  lct_status s = open_bench(o, 1, &b, result, err);
  if (s == LCT_OK) s = lct_plan_new(&plan, err);
  if (s == LCT_OK) s = add_prompts(&b, plan, 1, o->n_tokens, err);
  if (s == LCT_OK) s = lct_kv_new(b.engine, o->n_tokens + o->n_decode, &kv, err);
  if (s == LCT_OK) s = lct_pass_run(b.engine, &(lct_pass){.batch = lct_plan_batch(plan, 0), .kv = kv}, err);
  for (int r = -1; r < o->repeats && s == LCT_OK; r++) {
    double t0 = lct_seconds();
    s = decode_once(&b, kv, o->n_tokens, o->n_decode, err);
    if (r >= 0) result->seconds[r] = lct_seconds() - t0;
  }
  if (b.engine != NULL) lct_kv_free(b.engine, kv);
  lct_plan_free(plan);
  close_bench(&b);
  return s;
}
