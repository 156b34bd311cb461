/* One line of messages.jsonl, of errors.jsonl. */
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

/* A string as jansson writes it; most need nothing escaped, and a sweep writes a line a snapshot. NULL: null. */
static lct_status put_string(const char *text, lct_buf *out, lct_error *err) {
  if (text == NULL) return lct_buf_puts(out, "null", err);
  size_t n = 0;
  while (text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\') n++;
  if (text[n] == '\0') {
    LCT_TRY(lct_buf_append(out, "\"", 1, err));
    LCT_TRY(lct_buf_append(out, text, n, err));
    return lct_buf_append(out, "\"", 1, err);
  }
  json_t *v = json_string(text);
  char *written = v != NULL ? json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
  json_decref(v);
  if (written == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a line of messages.jsonl");
  lct_status s = lct_buf_puts(out, written, err);
  free(written);
  return s;
}

static lct_status put_labels(const lct_message_line *x, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_puts(out, ",\"label\":", err));
  LCT_TRY(put_string(x->label, out, err));
  if (x->n_labels <= 1) return LCT_OK;
  for (size_t i = 0; i < x->n_labels; i++) {
    LCT_TRY(lct_buf_puts(out, i == 0 ? ",\"labels\":[" : ",", err));
    LCT_TRY(put_string(x->labels[i], out, err));
  }
  return lct_buf_puts(out, "]", err);
}

static lct_status put_message(const lct_message_line *x, lct_buf *out, lct_error *err) {
  LCT_TRY(lct_buf_printf(out, err, "{\"row\":%lld,\"id\":", (long long)x->row));
  LCT_TRY(put_string(x->id, out, err));
  LCT_TRY(lct_buf_printf(out, err, ",\"message\":%d,\"role\":", (int)x->message));
  LCT_TRY(put_string(x->role, out, err));
  LCT_TRY(put_labels(x, out, err));
  LCT_TRY(lct_buf_printf(out, err, ",\"n_tokens\":%d,\"content\":[%d,%d]", (int)x->n_tokens, (int)x->content_from, (int)x->content_to));
  if (x->tokens) LCT_TRY(lct_buf_printf(out, err, ",\"tokens\":[%lld,%d]", (long long)x->first_token, (int)x->n_stored));
  return lct_buf_printf(out, err, ",\"hash\":\"%016llx\"}\n", (unsigned long long)x->hash);
}

lct_status lct_message_line_put(const lct_message_line *x, lct_buf *out, lct_error *err) {
  size_t before = out->len;
  lct_status s = put_message(x, out, err);
  if (s != LCT_OK) out->len = before;
  return s;
}

lct_status lct_error_line_put(const char *file, int64_t line, const char *id, const char *reason, lct_buf *out, lct_error *err) {
  return put(json_pack("{s:s, s:I, s:s?, s:s}", "file", file, "line", (json_int_t)line, "id", id, "reason", reason), "errors.jsonl", out,
             err);
}
