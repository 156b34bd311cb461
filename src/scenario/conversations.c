/* From bytes to one line at a time. */
#include "scenario/conversations.h"

#include <stdlib.h>
#include <string.h>

#include "scenario/bytes.h"

struct lct_conversations {
  lct_bytes *bytes;
  bool ended, broken;
  size_t n_lines;
  char *bad_id;
  lct_buf line;
  size_t begin, end; /* of what was read and not yet taken */
  char chunk[65536];
};

lct_status lct_conversations_open(const char *path, lct_conversations **out, lct_error *err) {
  lct_conversations *r = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&r, 1, sizeof *r, "a reader of conversations", err));
  lct_status s = lct_bytes_open(path, &r->bytes, err);
  if (s == LCT_OK) *out = r;
  else lct_conversations_free(r);
  return s;
}

void lct_conversations_stop_when(lct_conversations *r, const int *stop) { lct_bytes_stop_when(r->bytes, stop); }

/* Reads more when all is taken; sets ended at the end of the input. */
static lct_status refill(lct_conversations *r, lct_error *err) {
  if (r->begin < r->end || r->ended) return LCT_OK;
  r->begin = r->end = 0;
  lct_status s = lct_bytes_read(r->bytes, r->chunk, sizeof r->chunk, &r->end, err);
  r->broken = s != LCT_OK;
  r->ended = r->broken || r->end == 0;
  return s;
}

/* One line without its newline into r->line. Of a line that is too long only the length is kept: *n counts all its bytes. */
static lct_status read_line(lct_conversations *r, bool *found, size_t *n, lct_error *err) {
  r->line.len = 0;
  *n = 0;
  *found = false;
  for (bool whole = false; !whole;) {
    LCT_TRY(refill(r, err));
    if (r->ended) break;
    *found = true;
    const char *from = r->chunk + r->begin;
    size_t have = r->end - r->begin;
    const char *newline = memchr(from, '\n', have);
    size_t take = newline ? (size_t)(newline - from) : have;
    *n += take;
    if (*n <= LCT_CONVERSATION_MAX_BYTES) {
      lct_status s = lct_buf_append(&r->line, from, take, err);
      if (s != LCT_OK) {
        r->ended = r->broken = true;
        r->begin = r->end;
        return s;
      }
    }
    whole = newline != NULL;
    r->begin += take + whole;
  }
  return LCT_OK;
}

static bool is_blank(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (memchr(" \t\r\v\f", s[i], 5) == NULL) return false;
  }
  return true;
}

static lct_status parse_line(lct_conversations *r, const char *text, size_t n, lct_conversation **out, lct_error *err) {
  lct_status s = lct_conversation_parse_id(text, n, lct_bytes_name(r->bytes), r->n_lines, out, &r->bad_id, err);
  r->broken = s != LCT_OK && s != LCT_E_FORMAT && s != LCT_E_LIMIT;
  return s;
}

lct_status lct_conversations_next(lct_conversations *r, lct_conversation **out, lct_error *err) {
  *out = NULL;
  free(r->bad_id);
  r->bad_id = NULL;
  for (;;) {
    bool found = false;
    size_t n = 0;
    LCT_TRY(read_line(r, &found, &n, err));
    if (!found) return LCT_OK;
    r->n_lines++;
    if (n > LCT_CONVERSATION_MAX_BYTES) {
      return lct_fail(err, LCT_E_LIMIT, "%s:%zu: expected a line of at most %zu bytes, found %zu", lct_bytes_name(r->bytes), r->n_lines,
                      LCT_CONVERSATION_MAX_BYTES, n);
    }
    const char *text = r->line.data;
    if (r->n_lines == 1 && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
      text += 3;
      n -= 3;
    }
    if (!is_blank(text, n)) return parse_line(r, text, n, out, err);
  }
}

size_t lct_conversations_line(const lct_conversations *r) { return r->n_lines; }

bool lct_conversations_broken(const lct_conversations *r) { return r->broken; }

const char *lct_conversations_bad_id(const lct_conversations *r) { return r->bad_id; }

void lct_conversations_progress(const lct_conversations *r, int64_t *done, int64_t *total) {
  lct_bytes_progress(r->bytes, done, total);
  if (!lct_bytes_compressed(r->bytes)) *done -= (int64_t)(r->end - r->begin);
}

void lct_conversations_free(lct_conversations *r) {
  if (r == NULL) return;
  lct_bytes_free(r->bytes);
  lct_buf_free(&r->line);
  free(r->bad_id);
  free(r);
}
