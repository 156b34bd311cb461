/* Between the files that write a run directory. */
#ifndef LCT_SCAN_OUTPUT_IMPL_H
#define LCT_SCAN_OUTPUT_IMPL_H

#include <jansson.h>

#include "scan/scan_impl.h"

/* Writes root (reference taken; NULL fails) to path, whole or not at all. */
lct_status scan_write_json(json_t *root, const char *path, lct_error *err) LCT_CHECKED;
/* Tokens decoded one by one, as Activation Lab lists them. */
json_t *scan_tokens_text(const scan *s, const int32_t *ids, size_t n);

#endif
