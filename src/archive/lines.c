/* The files of lines: the same bytes again when a sweep is resumed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "archive/lines.h"

lct_status lct_lines_open(lct_lines *l, const char *dir, const char *name, bool resume, lct_error *err) {
  (void)snprintf(l->path, sizeof l->path, "%s/%s", dir, name);
  l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0644);
  if (l->fd < 0) return lct_fail_errno(err, errno, "cannot open %s", l->path);
  off_t end = lseek(l->fd, 0, SEEK_END);
  if (end < 0) return lct_fail_errno(err, errno, "cannot read %s", l->path);
  l->stands = end;
  l->at = 0;
  return LCT_OK;
}

/* Compares n bytes with what stands at l->at. */
static lct_status compare(const lct_lines *l, const char *text, size_t n, lct_error *err) {
  char chunk[16384];
  for (size_t i = 0; i < n;) {
    size_t want = n - i < sizeof chunk ? n - i : sizeof chunk;
    ssize_t got = pread(l->fd, chunk, want, (off_t)(l->at + (int64_t)i));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return lct_fail_errno(err, got < 0 ? errno : EIO, "cannot read %s", l->path);
    if (memcmp(chunk, text + i, (size_t)got) != 0) {
      return lct_fail(err, LCT_E_USAGE,
                      "%s: expected the lines of this input at byte %lld, found others: the sweep was begun with another input, "
                      "model or template",
                      l->path, (long long)(l->at + (int64_t)i));
    }
    i += (size_t)got;
  }
  return LCT_OK;
}

lct_status lct_lines_append(lct_lines *l, const lct_buf *text, lct_error *err) {
  const char *from = text->data;
  size_t n = text->len;
  if (l->at < l->stands) {
    size_t known = (int64_t)n < l->stands - l->at ? n : (size_t)(l->stands - l->at);
    LCT_TRY(compare(l, from, known, err));
    l->at += (int64_t)known;
    from += known;
    n -= known;
  }
  while (n > 0) {
    ssize_t put = pwrite(l->fd, from, n, (off_t)l->at);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return lct_fail_errno(err, put < 0 ? errno : ENOSPC, "cannot write %s", l->path);
    l->at += put;
    from += put;
    n -= (size_t)put;
  }
  return LCT_OK;
}

lct_status lct_lines_sync(lct_lines *l, lct_error *err) {
  return fsync(l->fd) == 0 ? LCT_OK : lct_fail_errno(err, errno, "cannot write %s", l->path);
}

lct_status lct_lines_finish(lct_lines *l, lct_error *err) {
  if (l->stands > l->at && ftruncate(l->fd, (off_t)l->at) != 0) return lct_fail_errno(err, errno, "cannot cut %s", l->path);
  return lct_lines_sync(l, err);
}

void lct_lines_close(lct_lines *l) {
  if (l->fd > 0) (void)close(l->fd);
  l->fd = 0;
}
