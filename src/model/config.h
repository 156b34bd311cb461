/* config.json (and generation_config.json) of a Hugging Face folder -> lct_config. */
#ifndef LCT_MODEL_CONFIG_H
#define LCT_MODEL_CONFIG_H

#include "model/model.h"

/* Parses config.json text; `name` stands in messages. Checks ranges (positive sizes, heads divisible, sane limits). */
lct_status lct_config_parse(const char *text, size_t n, const char *name, lct_config *out, lct_error *err) LCT_CHECKED;
/* Adds eos ids found in generation_config.json text. */
lct_status lct_config_add_generation(const char *text, size_t n, const char *name, lct_config *cfg, lct_error *err) LCT_CHECKED;
/* Ranges and consistency, for a config from any origin. */
lct_status lct_config_check(const lct_config *cfg, const char *name, lct_error *err) LCT_CHECKED;
/* Writes config as a transformers-loadable config.json text (torch_dtype as given). */
lct_status lct_config_write(const lct_config *cfg, const char *torch_dtype, lct_buf *out, lct_error *err) LCT_CHECKED;

#endif
