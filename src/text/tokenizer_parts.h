/* The parts of tokenizer.json around the model: normalizer, pre_tokenizer, post_processor, decoder. A NULL or null part is
 * absent. */
#ifndef LCT_TEXT_TOKENIZER_PARTS_H
#define LCT_TEXT_TOKENIZER_PARTS_H

#include <jansson.h>

#include "text/tokenizer_internal.h"

lct_status lct_tokenizer_add_normalizer(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) LCT_CHECKED;
lct_status lct_tokenizer_add_pretok(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) LCT_CHECKED;
/* After the vocabulary: a template's ids are checked against it. */
lct_status lct_tokenizer_add_post(lct_tokenizer *t, json_t *part, const char *name, lct_error *err) LCT_CHECKED;
lct_status lct_tokenizer_check_decoder(json_t *part, const char *name, lct_error *err) LCT_CHECKED;

#endif
