/* The journal, written. */
#include "archive/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"

/* Both texts of a value, for messages. */
static lct_status differs(const char *path, const char *key, const json_t *was, const json_t *is, lct_error *err) {
  char *a = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT), *b = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT);
  lct_status s = lct_fail(err, LCT_E_USAGE, "%s: the sweep was begun with %s %.300s, now it is %.300s", path, key, a != NULL ? a : "none",
                          b != NULL ? b : "none");
  free(a);
  free(b);
  return s;
}

static lct_status check_config(const lct_journal_out *j, json_t *config, lct_error *err) {
  const json_t *was = j->stood.config;
  const char *key;
  json_t *value;
  if (j->stood.length == 0) return LCT_OK;
  if (!json_is_object(was)) return lct_fail(err, LCT_E_FORMAT, "%s:1: expected the journal's first line, found something else", j->path);
  json_object_foreach(config, key, value) {
    const json_t *old = json_object_get(was, key);
    if (!json_equal(old, value)) return differs(j->path, key, old, value, err);
  }
  return LCT_OK;
}

static lct_status put(lct_journal_out *j, json_t *line, lct_error *err) {
  char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
  json_decref(line);
  lct_buf b = {0};
  lct_status s = text != NULL ? lct_buf_printf(&b, err, "%s\n", text) : lct_fail(err, LCT_E_NOMEM, "out of memory for the journal");
  free(text);
  if (s == LCT_OK) {
    (void)pthread_mutex_lock(&j->lock);
    ssize_t n = write(j->fd, b.data, b.len);
    if (n != (ssize_t)b.len) s = lct_fail_errno(err, n < 0 ? errno : ENOSPC, "cannot write %s", j->path);
    else if (j->sync && fdatasync(j->fd) != 0) s = lct_fail_errno(err, errno, "cannot write %s", j->path);
    (void)pthread_mutex_unlock(&j->lock);
  }
  lct_buf_free(&b);
  return s;
}

lct_status lct_journal_open(lct_journal_out *j, const char *dir, json_t *config, bool resume, bool sync, lct_error *err) {
  (void)snprintf(j->path, sizeof j->path, "%s/journal", dir);
  j->sync = sync;
  (void)pthread_mutex_init(&j->lock, NULL);
  j->open = true;
  j->fd = open(j->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (j->fd < 0) return lct_fail_errno(err, errno, "cannot open %s", j->path);
  if (flock(j->fd, LOCK_EX | LOCK_NB) != 0) return lct_fail(err, LCT_E_USAGE, "%s: another process is sweeping into %s", j->path, dir);
  if (resume) {
    LCT_TRY(lct_journal_read(j->path, j->path, false, &j->stood, err));
    LCT_TRY(check_config(j, config, err));
  }
  if (ftruncate(j->fd, (off_t)j->stood.length) != 0) return lct_fail_errno(err, errno, "cannot cut %s", j->path);
  if (j->stood.length > 0) return LCT_OK;
  return put(j, json_pack("{s:s, s:i, s:O}", "format", "llmct-journal", "version", 1, "config", config), err);
}

int64_t lct_journal_stood(const lct_journal_out *j, const char *array) {
  const lct_journal_array *x = lct_journal_find(&j->stood, array);
  return x != NULL ? (int64_t)x->n : 0;
}

lct_status lct_journal_shard(lct_journal_out *j, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  return put(j, json_pack("{s:s, s:I, s:I}", "array", array, "shard", (json_int_t)shard, "bytes", (json_int_t)bytes), err);
}

lct_status lct_journal_finishing(lct_journal_out *j, int64_t rows, lct_error *err) {
  return put(j, json_pack("{s:I}", "finishing", (json_int_t)rows), err);
}

void lct_journal_close(lct_journal_out *j) {
  if (!j->open) return;
  if (j->fd >= 0) (void)close(j->fd);
  lct_journal_free(&j->stood);
  (void)pthread_mutex_destroy(&j->lock);
  *j = (lct_journal_out){0};
}
