/* The journal, read: which shards stand. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/jsonio.h"
#include "archive/journal.h"

enum { MAX_JOURNAL_BYTES = 1 << 30, MAX_DEPTH = 16 };
static const json_int_t MAX_SHARD_BYTES = (json_int_t)1 << 38; /* as many of them as a journal holds can be added up */

static lct_journal_array *find(const lct_journal *j, const char *array) {
  for (size_t i = 0; i < j->n_arrays; i++) {
    if (strcmp(j->arrays[i].array, array) == 0) return &j->arrays[i];
  }
  return NULL;
}

const lct_journal_array *lct_journal_find(const lct_journal *j, const char *array) { return find(j, array); }

static lct_status add_shard(lct_journal *j, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  lct_journal_array *x = find(j, array);
  if (x == NULL) {
    LCT_TRY(lct_grow(&j->arrays, &j->cap_arrays, j->n_arrays + 1, sizeof *x, "the journal", err));
    x = &j->arrays[j->n_arrays];
    *x = (lct_journal_array){.array = strdup(array)};
    if (x->array == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the journal");
    j->n_arrays++;
  }
  if (shard < 0 || (uint64_t)shard > x->n) return LCT_OK; /* behind a gap */
  if ((size_t)shard < x->n) {                             /* committed again by a sweep that was resumed */
    x->bytes[shard] = bytes;
    return LCT_OK;
  }
  LCT_TRY(lct_grow(&x->bytes, &x->cap, x->n + 1, sizeof *x->bytes, "the journal", err));
  x->bytes[x->n++] = bytes;
  return LCT_OK;
}

static lct_status read_head(lct_journal *j, const json_t *line, const char *name, lct_error *err) {
  const char *format = json_string_value(json_object_get(line, "format"));
  if (format == NULL || strcmp(format, "llmct-journal") != 0) return lct_fail(err, LCT_E_FORMAT, "%s: expected a sweep's journal", name);
  j->config = json_incref(json_object_get(line, "config"));
  return LCT_OK;
}

/* *ended: this line and what follows do not count. */
static lct_status read_line(lct_journal *j, const char *text, size_t n, const char *file, size_t number, bool all, bool *ended,
                            lct_error *err) {
  char name[4300];
  json_t *line = NULL;
  (void)snprintf(name, sizeof name, "%s:%zu", file, number);
  LCT_TRY(lct_json_parse(text, n, MAX_DEPTH, 0, name, &line, err));
  const json_t *array = json_object_get(line, "array"), *shard = json_object_get(line, "shard"), *bytes = json_object_get(line, "bytes");
  lct_status s = LCT_OK;
  if (number == 1) {
    s = read_head(j, line, name, err);
  } else if (json_object_get(line, "finishing") != NULL) {
    *ended = !all;
  } else if (!json_is_string(array) || !json_is_integer(shard) || !json_is_integer(bytes) || json_integer_value(bytes) < 0 ||
             json_integer_value(bytes) > MAX_SHARD_BYTES) {
    s = lct_fail(err, LCT_E_FORMAT, "%s: expected a committed shard, found \"%.*s\"", name, n < 80 ? (int)n : 80, text);
  } else {
    s = add_shard(j, json_string_value(array), json_integer_value(shard), json_integer_value(bytes), err);
  }
  json_decref(line);
  return s;
}

lct_status lct_journal_read(const char *path, const char *name, bool all, lct_journal *out, lct_error *err) {
  lct_buf text = {0};
  lct_status s = lct_file_read(path, MAX_JOURNAL_BYTES, &text, err);
  bool ended = false;
  for (size_t number = 1; s == LCT_OK && !ended && out->length < text.len; number++) {
    const char *line = text.data + out->length, *newline = memchr(line, '\n', text.len - out->length);
    if (newline == NULL) break; /* torn: it was never committed */
    s = read_line(out, line, (size_t)(newline - line), name, number, all, &ended, err);
    if (!ended) out->length += (size_t)(newline - line) + 1;
  }
  lct_buf_free(&text);
  return s;
}

void lct_journal_free(lct_journal *j) {
  for (size_t i = 0; i < j->n_arrays; i++) {
    free(j->arrays[i].array);
    free(j->arrays[i].bytes);
  }
  free(j->arrays);
  json_decref(j->config);
  *j = (lct_journal){0};
}
