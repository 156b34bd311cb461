/* Activation Lab's scenario file, unchanged: the same keys, defaults and validation. */
#ifndef LCT_SCENARIO_SCENARIO_H
#define LCT_SCENARIO_SCENARIO_H

#include "base/mem.h"

typedef struct {
  lct_message *messages;
  size_t n_messages;
  bool run_at_each_message;
} lct_prompt;

typedef struct {
  char *label;
  lct_message *messages;
  size_t n_messages;
} lct_reference;

typedef enum { LCT_STORE_F16, LCT_STORE_BF16, LCT_STORE_F32 } lct_store_dtype;

typedef struct {
  char *name;
  struct {
    char *id, *gguf_file; /* gguf_file NULL when null */
    char *dtype, *device; /* "float16|bfloat16|float32", "auto|mps|cpu" */
    bool trust_remote_code;
  } model;
  lct_prompt *prompts;
  size_t n_prompts;
  struct {
    int max_new_tokens; /* default 8, >= 1 */
    bool do_sample;
    double temperature; /* default 1.0 */
    int top_k;          /* 0: null */
    double top_p;       /* 0: null */
    int64_t seed;       /* default 42 */
  } generation;
  struct {
    bool hidden_states, attention_weights, qkv, mlp, logits; /* default true */
    int top_k_probs;                                         /* default 20, >= 0 */
    int *layers;                                             /* NULL: all */
    size_t n_layers;
    lct_store_dtype store_dtype; /* default float16 */
  } capture;
  struct {
    char *dir, *format; /* "./runs", "json+npz" */
  } output;
  lct_reference *references;
  size_t n_references;
  size_t n_replaced; /* invalid UTF-8 sequences replaced in contents */
  char sha256[65];   /* of the file's bytes */
  lct_arena arena;   /* owns everything above */
} lct_scenario;

/* Errors: LCT_E_IO (file), LCT_E_FORMAT with "FILE:LINE:COLUMN: message" for syntax, unknown keys, wrong types and values. */
lct_status lct_scenario_load(const char *path, lct_scenario **out, lct_error *err) LCT_CHECKED;
lct_status lct_scenario_parse(const char *text, size_t n, const char *name, lct_scenario **out, lct_error *err) LCT_CHECKED;
void lct_scenario_free(lct_scenario *s);
const char *lct_store_dtype_name(lct_store_dtype t); /* "float16" … */

#endif
