/* A run directory as the reports see it. */
#ifndef LCT_REPORT_LOAD_RUN_H
#define LCT_REPORT_LOAD_RUN_H

#include "analysis/analysis.h"

/* Descriptive fields are shown as a dash when the file has them not: strings are then NULL, numbers NaN or -1. */
typedef struct {
  const char *token;
  double prob;
} lct_candidate;

typedef struct {
  int step;
  const char *token; /* generated; "" when unknown */
  double entropy, effective_vocab, top1_prob;
  lct_candidate *top;
  size_t n_top;
} lct_step;

typedef struct {
  const char *name;          /* folder */
  lct_scores *scores;        /* NULL: the run stopped before them */
  lct_analysis **by_pooling; /* (scores->n_poolings) */
  const lct_analysis *main;  /* pooling `last`, else the first; NULL without scores */
  lct_step *steps;
  size_t n_steps;
} lct_run_prompt;

typedef struct {
  const char *dir, *state, *name, *created_at, *version, *precision, *scenario_sha256;
  struct {
    const char *path, *id, *arch, *format, *hash;
    int64_t n_layers, hidden, n_heads, n_kv_heads, vocab, n_params;
  } model;
  struct {
    const char *name, *hash;
  } chat_template;
  int64_t tokens_computed, tokens_naive, tokens_generated;
  struct {
    double load, prefill, decode, write, total;
  } seconds;
  const char *cpu, *device, *device_name; /* device: "cpu", "cuda:0"; NULL in older runs, which were the CPU's */
  const char *error;                      /* what ended a failed run */
  int64_t threads, saturated, utf8_replaced;
  lct_run_prompt *prompts;
  size_t n_prompts;
  lct_arena arena;
} lct_run;

/* Errors name file and key. A prompt without scores.json is an error only when the run says it is done. */
lct_status lct_run_load(const char *dir, lct_run **out, lct_error *err) LCT_CHECKED;
void lct_run_free(lct_run *r);

#endif
