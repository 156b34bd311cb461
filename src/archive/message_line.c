/* One line of messages.jsonl, of errors.jsonl. */
#include <stdio.h>
#include <stdlib.h>

#include "archive/archive_impl.h"
#include "archive/lines.h"

/* Appends the object, which is taken, as a line. */
static lct_status put(json_t *line, const char *file, lct_buf *out, lct_error *err) {
  char *text = line != NULL ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  json_decref(line);
  if (text == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a line of %s", file);
  lct_status s = lct_buf_puts(out, text, err);
  free(text);
  return s == LCT_OK ? lct_buf_puts(out, "\n", err) : s;
}

lct_status lct_message_line_put(const lct_message_line *x, lct_buf *out, lct_error *err) {
  json_t *line = json_pack("{s:I, s:s, s:i, s:s, s:s?}", "row", (json_int_t)x->row, "id", x->id, "message", x->message, "role", x->role,
                           "label", x->label);
  if (x->n_labels > 1) {
    json_t *all = json_array();
    for (size_t i = 0; i < x->n_labels; i++) json_array_append_new(all, json_string(x->labels[i]));
    json_object_set_new(line, "labels", all);
  }
  json_object_set_new(line, "n_tokens", json_integer(x->n_tokens));
  json_object_set_new(line, "content", json_pack("[i, i]", x->content_from, x->content_to));
  if (x->tokens) json_object_set_new(line, "tokens", json_pack("[I, i]", (json_int_t)x->first_token, x->n_stored));
  char hash[20];
  (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)x->hash);
  json_object_set_new(line, "hash", json_string(hash));
  return put(line, "messages.jsonl", out, err);
}

lct_status lct_error_line_put(const char *file, int64_t line, const char *id, const char *reason, lct_buf *out, lct_error *err) {
  return put(json_pack("{s:s, s:I, s:s?, s:s}", "file", file, "line", (json_int_t)line, "id", id, "reason", reason), "errors.jsonl", out, err);
}
