/* Reading JSON files with every type checked: a value knows its file and its path, so that each error names both. */
#ifndef LCT_ANALYSIS_JSON_H
#define LCT_ANALYSIS_JSON_H

#include <jansson.h>

#include "base/mem.h"

/* A value inside a document; borrowed, lives as long as the root. */
typedef struct {
  const char *file; /* as shown in errors */
  const json_t *value;
  char path[192]; /* "snapshots[3].role"; "" is the root */
} lct_json;

/* Reads and parses a file whose root must be an object; *root is freed with json_decref. Errors: LCT_E_IO, LCT_E_LIMIT,
 * LCT_E_FORMAT. */
lct_status lct_json_load(const char *path, json_t **root, lct_error *err) LCT_CHECKED;
lct_json lct_json_root(const char *file, const json_t *root);

/* Children. A missing key is an error of lct_json_get; lct_json_find gives false for a missing key or a null. */
lct_status lct_json_get(const lct_json *at, const char *key, lct_json *out, lct_error *err) LCT_CHECKED;
bool lct_json_find(const lct_json *at, const char *key, lct_json *out);
lct_json lct_json_item(const lct_json *at, size_t i);

/* Values; LCT_E_FORMAT when the type is another one. */
lct_status lct_json_object(const lct_json *at, lct_error *err) LCT_CHECKED;
lct_status lct_json_array(const lct_json *at, size_t *n, lct_error *err) LCT_CHECKED;
lct_status lct_json_string(const lct_json *at, const char **out, lct_error *err) LCT_CHECKED;
lct_status lct_json_bool(const lct_json *at, bool *out, lct_error *err) LCT_CHECKED;
lct_status lct_json_int(const lct_json *at, int64_t min, int64_t max, int64_t *out, lct_error *err) LCT_CHECKED;
/* A number, or null, which is NaN. */
lct_status lct_json_number(const lct_json *at, double *out, lct_error *err) LCT_CHECKED;
/* An array of exactly n numbers or nulls into out[0..n). */
lct_status lct_json_numbers(const lct_json *at, size_t n, double *out, lct_error *err) LCT_CHECKED;

/* Member and value in one call. */
lct_status lct_json_get_string(const lct_json *at, const char *key, const char **out, lct_error *err) LCT_CHECKED;
lct_status lct_json_get_int(const lct_json *at, const char *key, int64_t min, int64_t max, int64_t *out, lct_error *err) LCT_CHECKED;
lct_status lct_json_get_number(const lct_json *at, const char *key, double *out, lct_error *err) LCT_CHECKED;

/* An array of distinct strings, copied into the arena. */
lct_status lct_json_labels(const lct_json *at, lct_arena *arena, char ***out, size_t *n, lct_error *err) LCT_CHECKED;

#endif
