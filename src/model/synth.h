/* Random weights in a real model's shape: a Hugging Face folder that transformers loads. */
#ifndef LCT_MODEL_SYNTH_H
#define LCT_MODEL_SYNTH_H

#include "model/model.h"

typedef struct {
  const char *like;      /* "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b", "qwen3-0.6b", "qwen3-4b", "smollm2-135m",
                            "llama3.2-1b", "tiny-qwen2", "tiny-qwen3", "tiny-llama", or a path to a config.json */
  uint64_t seed;
  const char *dtype;     /* "bfloat16" (default when NULL), "float16", "float32" */
  const char *tokenizer; /* folder whose tokenizer.json, tokenizer_config.json, ... are copied; NULL: byte-level with ChatML tokens */
  const char *dir;       /* created; must not already hold a model */
} lct_synth_options;

lct_status lct_synth(const lct_synth_options *o, lct_error *err) LCT_CHECKED;
/* Names accepted by `like`, NULL-terminated. */
const char *const *lct_synth_names(void);

#endif
