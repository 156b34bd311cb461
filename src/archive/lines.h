/* messages.jsonl and errors.jsonl, written; rows.c reads messages.jsonl. */
#ifndef LCT_ARCHIVE_LINES_H
#define LCT_ARCHIVE_LINES_H

#include "base/mem.h"

/* A row: the state after a message. Everything is borrowed. */
typedef struct {
  int64_t row;
  const char *id;
  int32_t message;
  const char *role, *label;  /* label NULL: none */
  const char *const *labels; /* (n_labels) all of them; a list is written of more than one */
  size_t n_labels;
  uint64_t hash;    /* lct_fnv1a of the ids of the snapshot's prompt, as they lie in memory */
  int32_t n_tokens; /* of it */
  int32_t content_from, content_to;
  bool tokens; /* of --keep tokens: rows of tokens/... that are the conversation's */
  int64_t first_token;
  int32_t n_stored;
} lct_message_line;
/* FNV-1a of bytes behind others whose hash is h; begins with LCT_FNV1A. */
#define LCT_FNV1A UINT64_C(0xcbf29ce484222325)
static inline uint64_t lct_fnv1a(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *b = bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * UINT64_C(0x100000001b3);
  return h;
}
lct_status lct_message_line_put(const lct_message_line *x, lct_buf *out, lct_error *err) LCT_CHECKED;
/* A conversation of file:line that was left out or cut short; id NULL: it has none. */
lct_status lct_error_line_put(const char *file, int64_t line, const char *id, const char *reason, lct_buf *out, lct_error *err) LCT_CHECKED;

/* A file of lines that must be the same again when a sweep is resumed: what stands is compared, what is new is appended. Zero-initialise. */
typedef struct {
  char path[4200];
  int fd;
  int64_t stands, at; /* bytes that stood when it was opened; bytes gone through */
} lct_lines;
lct_status lct_lines_open(lct_lines *l, const char *dir, const char *name, bool resume, lct_error *err) LCT_CHECKED;
lct_status lct_lines_append(lct_lines *l, const lct_buf *text, lct_error *err) LCT_CHECKED;
lct_status lct_lines_sync(lct_lines *l, lct_error *err) LCT_CHECKED;
lct_status lct_lines_finish(lct_lines *l, lct_error *err) LCT_CHECKED; /* cuts what stands behind the end */
void lct_lines_close(lct_lines *l);

#endif
