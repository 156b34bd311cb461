/* messages.jsonl: mapped, indexed by row and by conversation in one pass, a line parsed again when it is asked for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model/jsonio.h"
#include "archive/archive_impl.h"
#include "archive/lines.h"

enum { MAX_DEPTH = 8, MIN_SLOTS = 1024 };

/* A line of another program's making may be anything; ours are a few hundred bytes. */
static lct_status parse_line(const lct_archive *a, int64_t row, uint64_t from, uint64_t to, json_t **out, lct_error *err) {
  char name[64];
  (void)snprintf(name, sizeof name, "messages.jsonl:%" PRId64, row + 1);
  lct_status s = lct_json_parse((const char *)a->messages.data + from, (size_t)(to - from), MAX_DEPTH, 0, name, out, err);
  if (s == LCT_OK && !(json_is_integer(json_object_get(*out, "row")) && json_integer_value(json_object_get(*out, "row")) == row &&
                       json_is_string(json_object_get(*out, "id")) && json_is_integer(json_object_get(*out, "message")))) {
    json_decref(*out);
    *out = NULL;
    s = lct_fail(err, LCT_E_FORMAT, "%s: expected row %" PRId64 " with id and message, found \"%.*s\"", name, row,
                 to - from < 80 ? (int)(to - from) : 80, (const char *)a->messages.data + from);
  }
  return s == LCT_OK ? LCT_OK : lct_fail_context(err, s, "%s", a->dir);
}

/* The hash of a line's id where it begins as the sweep writes it, {"row":N,"id":"...","message", and the id needs no unescaping: what is behind
 * is looked at when the row is asked for. */
static bool quick_hash(const char *line, size_t n, int64_t row, uint64_t *hash) {
  static const char next[] = "\",\"message\":";
  char head[48];
  size_t at = (size_t)snprintf(head, sizeof head, "{\"row\":%" PRId64 ",\"id\":\"", row);
  if (n < at || memcmp(line, head, at) != 0) return false;
  const char *end = memchr(line + at, '"', n - at);
  size_t id = end != NULL ? (size_t)(end - line) - at : 0;
  if (end == NULL || n - at - id < sizeof next - 1 || memcmp(end, next, sizeof next - 1) != 0 || memchr(line + at, '\\', id) != NULL)
    return false;
  *hash = lct_fnv1a(LCT_FNV1A, line + at, id);
  return true;
}

static lct_status new_slots(size_t n, archive_id **out, lct_error *err) {
  LCT_TRY(lct_calloc(out, n, sizeof **out, "an index of conversations", err));
  for (size_t i = 0; i < n; i++) (*out)[i].row = -1;
  return LCT_OK;
}

static void put_id(archive_id *slots, size_t n_slots, archive_id id) {
  size_t at = id.hash & (n_slots - 1);
  while (slots[at].row >= 0) at = (at + 1) & (n_slots - 1);
  slots[at] = id;
}

static lct_status add_id(lct_archive *a, archive_id id, lct_error *err) {
  if ((size_t)a->info.n_conversations * 2 >= a->n_id_slots) {
    size_t n = a->n_id_slots > 0 ? a->n_id_slots * 2 : MIN_SLOTS;
    archive_id *slots = NULL;
    LCT_TRY(new_slots(n, &slots, err));
    for (size_t i = 0; i < a->n_id_slots; i++) {
      if (a->ids[i].row >= 0) put_id(slots, n, a->ids[i]);
    }
    free(a->ids);
    a->ids = slots;
    a->n_id_slots = n;
  }
  put_id(a->ids, a->n_id_slots, id);
  a->info.n_conversations++;
  return LCT_OK;
}

/* The next row; a conversation's rows follow each other. */
static lct_status add_row(lct_archive *a, uint64_t from, uint64_t to, uint64_t *last_hash, lct_error *err) {
  int64_t row = a->info.n_messages;
  archive_id id = {.row = row};
  if (!quick_hash((const char *)a->messages.data + from, (size_t)(to - from), row, &id.hash)) {
    json_t *line = NULL;
    LCT_TRY(parse_line(a, row, from, to, &line, err));
    const char *text = json_string_value(json_object_get(line, "id"));
    id.hash = lct_fnv1a(LCT_FNV1A, text, strlen(text));
    json_decref(line);
  }
  LCT_TRY(lct_grow(&a->offsets, &a->cap_offsets, (size_t)row + 1, sizeof *a->offsets, "an index of rows", err));
  a->offsets[row] = from;
  a->info.n_messages++;
  if (row > 0 && id.hash == *last_hash) return LCT_OK;
  *last_hash = id.hash;
  return add_id(a, id, err);
}

lct_status archive_index_rows(lct_archive *a, lct_error *err) {
  lct_buf path = {0};
  LCT_TRY(lct_path_join(&path, a->dir, "messages.jsonl", err));
  lct_status s = lct_map_open(path.data, &a->messages, err);
  lct_buf_free(&path);
  uint64_t last_hash = 0;
  for (size_t at = 0; s == LCT_OK && at < a->messages.size;) {
    const unsigned char *newline = memchr(a->messages.data + at, '\n', a->messages.size - at);
    if (newline == NULL) break; /* torn: the sweep would write it again */
    size_t end = (size_t)(newline - a->messages.data);
    s = add_row(a, at, end, &last_hash, err);
    at = end + 1;
  }
  return s;
}

static uint64_t line_end(const lct_archive *a, int64_t row) {
  const unsigned char *p = a->messages.data + a->offsets[row];
  return (uint64_t)((const unsigned char *)memchr(p, '\n', a->messages.size - a->offsets[row]) - a->messages.data);
}

/* 0 where there is none, -1 for what cannot count anything. */
static int64_t integer(const json_t *v) {
  int64_t n = json_is_integer(v) ? json_integer_value(v) : 0;
  return n >= 0 && n <= INT64_C(1) << 48 ? n : -1;
}

lct_status lct_archive_row(lct_archive *a, int64_t row, lct_archive_row_info *out, lct_error *err) {
  if (row < 0 || row >= a->info.n_messages) {
    return lct_fail(err, LCT_E_USAGE, "%s has rows 0 to %" PRId64 ", not %" PRId64, a->dir, a->info.n_messages - 1, row);
  }
  json_decref(a->line);
  a->line = NULL;
  LCT_TRY(parse_line(a, row, a->offsets[row], line_end(a, row), &a->line, err));
  const json_t *content = json_object_get(a->line, "content"), *tokens = json_object_get(a->line, "tokens");
  const char *role = json_string_value(json_object_get(a->line, "role"));
  *out = (lct_archive_row_info){.row = row,
                                .id = json_string_value(json_object_get(a->line, "id")),
                                .role = role != NULL ? role : "",
                                .label = json_string_value(json_object_get(a->line, "label")),
                                .message = (int)integer(json_object_get(a->line, "message")),
                                .n_tokens = (int32_t)integer(json_object_get(a->line, "n_tokens")),
                                .content_from = (int32_t)integer(json_array_get(content, 0)),
                                .content_to = (int32_t)integer(json_array_get(content, 1)),
                                .first_token = integer(json_array_get(tokens, 0)),
                                .n_stored = integer(json_array_get(tokens, 1))};
  return LCT_OK;
}

lct_status lct_archive_find(lct_archive *a, const char *id, int64_t *row, lct_error *err) {
  uint64_t hash = lct_fnv1a(LCT_FNV1A, id, strlen(id));
  for (size_t at = hash & (a->n_id_slots - 1); a->n_id_slots > 0 && a->ids[at].row >= 0; at = (at + 1) & (a->n_id_slots - 1)) {
    if (a->ids[at].hash != hash) continue;
    lct_archive_row_info info;
    LCT_TRY(lct_archive_row(a, a->ids[at].row, &info, err));
    if (strcmp(info.id, id) != 0) continue;
    *row = info.row;
    return LCT_OK;
  }
  return lct_fail(err, LCT_E_USAGE, "%s has no conversation \"%.200s\"", a->dir, id);
}
