/* JSON files from anywhere: bounded before they are parsed. */
#ifndef LCT_MODEL_JSONIO_H
#define LCT_MODEL_JSONIO_H

#include <jansson.h>

#include "base/mem.h"

/* Parses text[0..n); `name` stands in messages. Nesting beyond max_depth is LCT_E_FORMAT and more values than any real file has
 * is LCT_E_LIMIT, both found before memory is spent. Duplicate keys are refused. flags are jansson's further
 * decoding flags: JSON_DECODE_INT_AS_REAL for files whose integers may be of any size. Free with json_decref. */
lct_status lct_json_parse(const char *text, size_t n, int max_depth, size_t flags, const char *name, json_t **out,
                          lct_error *err) LCT_CHECKED;

/* v as compact JSON cut to n bytes, for messages: returns buf. NULL reads "nothing". */
const char *lct_json_show(const json_t *v, char *buf, size_t n);

#endif
