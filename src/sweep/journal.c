/* The journal: what a resumed sweep trusts. A line is one write; a last line without its newline was torn and does not count. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "sweep/sweep_impl.h"

enum { MAX_JOURNAL = 1 << 30 };

/* Both texts of a value, for messages. */
static lct_status differs(const char *path, const char *key, const json_t *was, const json_t *is, lct_error *err) {
  char *a = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT), *b = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT);
  lct_status s = lct_fail(err, LCT_E_USAGE, "%s: the sweep was begun with %s %.300s, now it is %.300s", path, key, a != NULL ? a : "none",
                          b != NULL ? b : "none");
  free(a);
  free(b);
  return s;
}

static lct_status check_config(const char *path, const json_t *line, const json_t *config, lct_error *err) {
  const json_t *was = json_object_get(line, "config");
  if (!json_is_object(was)) return lct_fail(err, LCT_E_FORMAT, "%s:1: expected the journal's first line, found something else", path);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)config, key, value) {
    const json_t *old = json_object_get(was, key);
    if (!json_equal(old, value)) return differs(path, key, old, value, err);
  }
  return LCT_OK;
}

/* One line of a journal that is read. *ended: what follows does not count. */
static lct_status read_line(sweep_journal *j, size_t number, const char *text, size_t n, bool *ended, lct_error *err) {
  json_t *line = json_loadb(text, n, 0, NULL);
  const char *array = json_string_value(json_object_get(line, "array"));
  lct_status s = LCT_OK;
  if (json_object_get(line, "finishing") != NULL) {
    *ended = true;
  } else if (array == NULL || !json_is_integer(json_object_get(line, "shard"))) {
    s = lct_fail(err, LCT_E_FORMAT, "%s:%zu: expected a committed shard, found \"%.*s\"", j->path, number, n < 80 ? (int)n : 80, text);
  } else {
    json_int_t stands = json_integer_value(json_object_get(j->shards, array)), shard = json_integer_value(json_object_get(line, "shard"));
    /* a sweep that was resumed may commit a shard again */
    if (shard == stands) json_object_set_new(j->shards, array, json_integer(stands + 1));
  }
  json_decref(line);
  return s;
}

/* Reads what stands; *length gets the bytes that count. */
static lct_status read_journal(sweep_journal *j, const json_t *config, size_t *length, lct_error *err) {
  lct_buf text = {0};
  LCT_TRY(lct_file_read(j->path, MAX_JOURNAL, &text, err));
  lct_status s = LCT_OK;
  size_t at = 0, number = 0;
  bool ended = false;
  while (s == LCT_OK && !ended && at < text.len) {
    const char *newline = memchr(text.data + at, '\n', text.len - at);
    if (newline == NULL) break;
    size_t n = (size_t)(newline - (text.data + at));
    number++;
    if (number == 1) {
      json_t *head = json_loadb(text.data, n, 0, NULL);
      s = check_config(j->path, head, config, err);
      json_decref(head);
    } else {
      s = read_line(j, number, text.data + at, n, &ended, err);
    }
    if (!ended) at += n + 1;
  }
  *length = at;
  lct_buf_free(&text);
  return s;
}

static lct_status put(sweep_journal *j, json_t *line, lct_error *err) {
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

lct_status sweep_journal_open(sweep_journal *j, const char *dir, json_t *config, bool resume, bool sync, lct_error *err) {
  (void)snprintf(j->path, sizeof j->path, "%s/journal", dir);
  j->sync = sync;
  (void)pthread_mutex_init(&j->lock, NULL);
  j->shards = json_object();
  size_t length = 0;
  j->fd = open(j->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (j->fd < 0) return lct_fail_errno(err, errno, "cannot open %s", j->path);
  if (flock(j->fd, LOCK_EX | LOCK_NB) != 0) return lct_fail(err, LCT_E_USAGE, "%s: another process is sweeping into %s", j->path, dir);
  if (resume) LCT_TRY(read_journal(j, config, &length, err));
  if (ftruncate(j->fd, (off_t)length) != 0) return lct_fail_errno(err, errno, "cannot cut %s", j->path);
  if (length > 0) return LCT_OK;
  return put(j, json_pack("{s:s, s:i, s:O}", "format", "llmct-journal", "version", 1, "config", config), err);
}

int64_t sweep_journal_shards(const sweep_journal *j, const char *array) { return json_integer_value(json_object_get(j->shards, array)); }

lct_status sweep_journal_shard(sweep_journal *j, const char *array, int64_t shard, int64_t bytes, lct_error *err) {
  return put(j, json_pack("{s:s, s:I, s:I}", "array", array, "shard", (json_int_t)shard, "bytes", (json_int_t)bytes), err);
}

lct_status sweep_journal_finishing(sweep_journal *j, int64_t rows, lct_error *err) {
  return put(j, json_pack("{s:I}", "finishing", (json_int_t)rows), err);
}

void sweep_journal_close(sweep_journal *j) {
  if (j->shards == NULL) return;
  if (j->fd > 0) (void)close(j->fd);
  json_decref(j->shards);
  (void)pthread_mutex_destroy(&j->lock);
  *j = (sweep_journal){0};
}
