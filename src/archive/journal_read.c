/* The journal, read: which shards stand. */
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "archive/archive_impl.h"

enum { MAX_JOURNAL_BYTES = 1 << 30, MAX_DEPTH = 16 };
static const json_int_t MAX_SHARD_BYTES = (json_int_t)1 << 38; /* as many of them as a journal holds can be added up */

static archive_journal *find(const lct_archive *a, const char *array) {
  for (size_t i = 0; i < a->n_journal; i++) {
    if (strcmp(a->journal[i].array, array) == 0) return &a->journal[i];
  }
  return NULL;
}

const archive_journal *archive_journal_of(const lct_archive *a, const char *array) { return find(a, array); }

static lct_status add_shard(lct_archive *a, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  archive_journal *j = find(a, array);
  if (j == NULL) {
    LCT_TRY(lct_grow(&a->journal, &a->cap_journal, a->n_journal + 1, sizeof *j, "the journal", err));
    j = &a->journal[a->n_journal];
    *j = (archive_journal){.array = strdup(array)};
    if (j->array == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the journal of %s", a->dir);
    a->n_journal++;
  }
  if (shard < 0 || (uint64_t)shard > j->n) return LCT_OK; /* behind a gap: the sweep itself would not trust it */
  if ((size_t)shard < j->n) { /* committed again by a sweep that was resumed */
    j->bytes[shard] = bytes;
    return LCT_OK;
  }
  LCT_TRY(lct_grow(&j->bytes, &j->cap, j->n + 1, sizeof *j->bytes, "the journal", err));
  j->bytes[j->n++] = bytes;
  return LCT_OK;
}

static lct_status read_line(lct_archive *a, const char *text, size_t n, size_t number, bool *ended, lct_error *err) {
  char name[64];
  json_t *line = NULL;
  (void)snprintf(name, sizeof name, "journal:%zu", number);
  LCT_TRY(lct_json_parse(text, n, MAX_DEPTH, 0, name, &line, err));
  const json_t *array = json_object_get(line, "array"), *shard = json_object_get(line, "shard"), *bytes = json_object_get(line, "bytes");
  lct_status s = LCT_OK;
  if (number == 1) {
    const char *format = json_string_value(json_object_get(line, "format"));
    if (format == NULL || strcmp(format, "llmct-journal") != 0) s = lct_fail(err, LCT_E_FORMAT, "%s: expected a sweep's journal", name);
  } else if (json_object_get(line, "finishing") != NULL) {
    *ended = !a->info.done;
  } else if (!json_is_string(array) || !json_is_integer(shard) || !json_is_integer(bytes) || json_integer_value(bytes) < 0 ||
             json_integer_value(bytes) > MAX_SHARD_BYTES) {
    s = lct_fail(err, LCT_E_FORMAT, "%s: expected a committed shard, found \"%.*s\"", name, n < 80 ? (int)n : 80, text);
  } else {
    s = add_shard(a, json_string_value(array), json_integer_value(shard), json_integer_value(bytes), err);
  }
  json_decref(line);
  return s;
}

lct_status archive_read_journal(lct_archive *a, lct_error *err) {
  lct_buf path = {0}, text = {0};
  LCT_TRY(lct_path_join(&path, a->dir, "journal", err));
  lct_status s = lct_file_read(path.data, MAX_JOURNAL_BYTES, &text, err);
  lct_buf_free(&path);
  bool ended = false;
  size_t number = 0;
  for (size_t at = 0; s == LCT_OK && !ended && at < text.len;) {
    const char *newline = memchr(text.data + at, '\n', text.len - at);
    if (newline == NULL) break; /* torn: it was never committed */
    size_t n = (size_t)(newline - (text.data + at));
    s = read_line(a, text.data + at, n, ++number, &ended, err);
    if (s != LCT_OK) s = lct_fail_context(err, s, "%s", a->dir);
    at += n + 1;
  }
  lct_buf_free(&text);
  return s;
}
