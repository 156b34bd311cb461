/* Prefill and decode, timed on a worker: units of prompts with replies that run on, whose results nobody takes. */
#include "base/clock.h"
#include "run/worker.h"

typedef struct {
  lct_subject *subject;
  lct_worker *worker;
} bench;

static lct_status open_bench(const lct_bench_options *o, bench *b, lct_bench_result *result, lct_error *err) {
  LCT_TRY(lct_subject_open(&o->model, false, &b->subject, err));
  lct_device_describe(&b->subject->device, &result->device);
  return lct_worker_new(b->subject, &(lct_worker_options){.max_rows = b->subject->device.batch_rows}, &b->worker, err);
}

static void close_bench(bench *b) {
  lct_worker_free(b->worker);
  lct_subject_free(b->subject);
}

/* Token k of prompt p: spread over the vocabulary, different from prompt to prompt from the first token on. */
static int32_t token(const lct_config *c, int p, int k) {
  uint32_t x = (uint32_t)(p * 7919 + k + 1) * 2654435761u;
  return (int32_t)(x % (uint32_t)c->vocab);
}

/* A prompt, and a reply of max_tokens tokens behind it: the first one is chosen from the prompt's last row. */
static lct_status add_prompt(const bench *b, lct_unit *u, int number, int n_tokens, int max_tokens, lct_error *err) {
  static const lct_role role = LCT_ROLE_USER;
  int32_t *ids = lct_arena_alloc(&u->arena, (size_t)n_tokens * sizeof *ids);
  lct_token_range *content = lct_arena_alloc(&u->arena, sizeof *content);
  lct_generation *g = &u->generations[number];
  *g = (lct_generation){.item = number, .reply = -1, .max_tokens = max_tokens, .runs_on = true};
  g->choices = lct_arena_alloc(&u->arena, (size_t)max_tokens * sizeof *g->choices);
  if (ids == NULL || content == NULL || g->choices == NULL)
    return lct_fail(err, LCT_E_NOMEM, "out of memory for a prompt of %d tokens", n_tokens);
  for (int k = 0; k < n_tokens; k++) ids[k] = token(&b->subject->cfg, number, k);
  *content = (lct_token_range){0, n_tokens};
  const lct_item x = {.n_tokens = n_tokens, .tail = ids, .content = content, .roles = &role, .seq = -1};
  LCT_TRY(lct_unit_begin_part(u, err));
  return lct_unit_add(u, &x, NULL, 0, err);
}

static lct_status make_unit(const bench *b, int n_prompts, int n_tokens, int max_tokens, lct_unit *u, lct_error *err) {
  static const lct_sampling greedy = {0};
  u->generations = lct_arena_alloc(&u->arena, (size_t)n_prompts * sizeof *u->generations);
  if (u->generations == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %d prompts", n_prompts);
  u->n_generations = n_prompts;
  u->sampling = &greedy;
  for (int p = 0; p < n_prompts; p++) LCT_TRY(add_prompt(b, u, p, n_tokens, max_tokens, err));
  return lct_unit_plan(u, NULL, 0, lct_worker_max_rows(b->worker), err);
}

/* *seconds: of the whole unit, and of its decode steps. */
static lct_status run_once(const bench *b, int n_prompts, int n_tokens, int max_tokens, double *seconds, double *decode, lct_error *err) {
  lct_unit *u = NULL;
  LCT_TRY(lct_unit_new(&u, err));
  lct_status s = make_unit(b, n_prompts, n_tokens, max_tokens, u, err);
  double before = lct_worker_get_stats(b->worker)->seconds_decode, t0 = lct_seconds();
  if (s == LCT_OK) s = lct_worker_run(b->worker, u, NULL, err);
  *seconds = lct_seconds() - t0;
  *decode = lct_worker_get_stats(b->worker)->seconds_decode - before;
  lct_unit_free(u);
  return s;
}

static lct_status measure(const lct_bench_options *o, int n_prompts, int max_tokens, bool decodes, lct_bench_result *result,
                          lct_error *err) {
  bench b = {0};
  lct_status s = open_bench(o, &b, result, err);
  for (int r = -1; r < o->repeats && s == LCT_OK; r++) {
    double all = 0, decode = 0;
    s = run_once(&b, n_prompts, o->n_tokens, max_tokens, &all, &decode, err);
    if (r >= 0) result->seconds[r] = decodes ? decode : all;
  }
  close_bench(&b);
  return s;
}

lct_status lct_bench_prefill(const lct_bench_options *o, lct_bench_result *result, lct_error *err) {
  return measure(o, o->n_prompts, 1, false, result, err);
}

lct_status lct_bench_decode(const lct_bench_options *o, lct_bench_result *result, lct_error *err) {
  return measure(o, 1, o->n_decode + 1, true, result, err);
}
