/* The stream: from a file or a pipe to one line at a time. */
#include "scenario/conversations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lct_conversations {
  char *name; /* for messages */
  int fd;
  bool owns_fd, ended;
  size_t n_lines;
  lct_buf line;
  size_t begin, end; /* of what was read and not yet taken */
  char chunk[65536];
};

lct_status lct_conversations_open(const char *path, lct_conversations **out, lct_error *err) {
  bool standard_input = strcmp(path, "-") == 0;
  lct_conversations *r = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&r, 1, sizeof *r, "a reader of conversations", err));
  r->name = strdup(standard_input ? "standard input" : path);
  r->fd = -1;
  lct_status s = LCT_OK;
  if (r->name == NULL) {
    s = lct_fail(err, LCT_E_NOMEM, "out of memory for a reader of conversations");
  } else {
    r->owns_fd = !standard_input;
    r->fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0) s = lct_fail_errno(err, errno, "cannot open %s", path);
  }
  if (s == LCT_OK) *out = r;
  else lct_conversations_free(r);
  return s;
}

/* Reads more when all is taken; sets ended at the end of the input. */
static lct_status refill(lct_conversations *r, lct_error *err) {
  if (r->begin < r->end || r->ended) return LCT_OK;
  ssize_t n = 0;
  do {
    n = read(r->fd, r->chunk, sizeof r->chunk);
  } while (n < 0 && errno == EINTR);
  r->begin = 0;
  r->end = n > 0 ? (size_t)n : 0;
  r->ended = n <= 0;
  return n < 0 ? lct_fail_errno(err, errno, "cannot read %s", r->name) : LCT_OK;
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
        r->ended = true;
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

lct_status lct_conversations_next(lct_conversations *r, lct_conversation **out, lct_error *err) {
  *out = NULL;
  for (;;) {
    bool found = false;
    size_t n = 0;
    LCT_TRY(read_line(r, &found, &n, err));
    if (!found) return LCT_OK;
    r->n_lines++;
    if (n > LCT_CONVERSATION_MAX_BYTES) {
      return lct_fail(err, LCT_E_LIMIT, "%s:%zu: expected a line of at most %zu bytes, found %zu", r->name, r->n_lines,
                      LCT_CONVERSATION_MAX_BYTES, n);
    }
    const char *text = r->line.data;
    if (r->n_lines == 1 && n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
      text += 3;
      n -= 3;
    }
    if (!is_blank(text, n)) return lct_conversation_parse(text, n, r->name, r->n_lines, out, err);
  }
}

size_t lct_conversations_line(const lct_conversations *r) { return r->n_lines; }

void lct_conversations_free(lct_conversations *r) {
  if (r == NULL) return;
  if (r->owns_fd && r->fd >= 0) (void)close(r->fd);
  lct_buf_free(&r->line);
  free(r->name);
  free(r);
}
