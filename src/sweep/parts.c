/* Moments of finished shards of rows, kept beside the store while it is made: a file a shard, written and flushed in the background while
 * the next rows are computed, since a disk that takes gigabytes of vectors answers a flush late. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/codec.h"
#include "sweep/sweep_impl.h"

static void part_path(const sweep_store *s, int64_t shard, char *out, size_t n) {
  (void)snprintf(out, n, "%s/parts/moments-%06lld", s->o->output, (long long)shard);
}

/* Counts, means, sums of squares, their CRC-32C. */
static lct_status pack(const sweep_store *s, const sweep_moments *m, lct_buf *b, lct_error *err) {
  LCT_TRY(lct_buf_append(b, m->n, (size_t)s->axes->n_positions * sizeof *m->n, err));
  for (int i = 0; i < s->axes->n_streams; i++) {
    LCT_TRY(lct_buf_append(b, m->mean[i], sweep_moments_values(s->axes, i) * sizeof(double), err));
    LCT_TRY(lct_buf_append(b, m->m2[i], sweep_moments_values(s->axes, i) * sizeof(double), err));
  }
  uint32_t crc = lct_crc32c(0, b->data, b->len);
  return lct_buf_append(b, &crc, sizeof crc, err);
}

static lct_status unpack(sweep_store *s, const char *path, const lct_buf *b, lct_error *err) {
  size_t want = (size_t)s->axes->n_positions * sizeof *s->part.n + sizeof(uint32_t);
  for (int i = 0; i < s->axes->n_streams; i++) want += 2 * sweep_moments_values(s->axes, i) * sizeof(double);
  if (b->len != want) return lct_fail(err, LCT_E_FORMAT, "%s: expected %zu bytes, found %zu", path, want, b->len);
  uint32_t crc;
  memcpy(&crc, b->data + want - sizeof crc, sizeof crc);
  if (crc != lct_crc32c(0, b->data, want - sizeof crc)) return lct_fail(err, LCT_E_FORMAT, "%s: its checksum is wrong", path);
  const char *at = b->data;
  memcpy(s->part.n, at, (size_t)s->axes->n_positions * sizeof *s->part.n);
  at += (size_t)s->axes->n_positions * sizeof *s->part.n;
  for (int i = 0; i < s->axes->n_streams; i++) {
    size_t bytes = sweep_moments_values(s->axes, i) * sizeof(double);
    memcpy(s->part.mean[i], at, bytes);
    memcpy(s->part.m2[i], at + bytes, bytes);
    at += 2 * bytes;
  }
  return LCT_OK;
}

/* Into a file that a resumed sweep reads back, then into the whole. */
static lct_status keep(sweep_store *s, lct_error *err) {
  char path[4200];
  sweep_keeper *k = &s->keeper;
  part_path(s, k->shard, path, sizeof path);
  lct_buf b = {0};
  lct_status st = pack(s, &k->moments, &b, err);
  if (st == LCT_OK) st = lct_file_write_atomic(path, b.data, b.len, err);
  if (st == LCT_OK && s->o->sync == LCT_SYNC_SHARD) st = lct_lines_sync(&s->messages, err);
  if (st == LCT_OK) st = lct_journal_shard(&s->journal, "moments", k->shard, (int64_t)b.len, err);
  lct_buf_free(&b);
  if (st == LCT_OK) sweep_moments_merge(s->axes, &s->whole, &k->moments);
  return st;
}

static void keeping(void *arg) {
  sweep_store *s = arg;
  s->keeper.status = keep(s, &s->keeper.error);
}

lct_status sweep_parts_join(sweep_store *s, lct_error *err) {
  sweep_keeper *k = &s->keeper;
  if (k->task == NULL) return LCT_OK;
  lct_task_join(k->task);
  k->task = NULL;
  if (k->status != LCT_OK && err != NULL) *err = k->error;
  return k->status;
}

lct_status sweep_parts_save(sweep_store *s, int64_t shard, lct_error *err) {
  sweep_keeper *k = &s->keeper;
  LCT_TRY(sweep_parts_join(s, err));
  sweep_moments empty = k->moments;
  k->moments = s->part;
  s->part = empty;
  k->shard = shard;
  return lct_task_start(s->threads, keeping, s, &k->task, err);
}

lct_status sweep_parts_load(sweep_store *s, int64_t n_shards, int64_t *loaded, lct_error *err) {
  *loaded = 0;
  for (int64_t shard = 0; shard < n_shards; shard++) {
    char path[4200];
    lct_buf b = {0};
    lct_error local;
    part_path(s, shard, path, sizeof path);
    lct_status st = lct_file_read(path, (size_t)1 << 32, &b, &local);
    if (st == LCT_OK) st = unpack(s, path, &b, &local);
    lct_buf_free(&b);
    if (st == LCT_E_NOMEM) {
      if (err != NULL) *err = local;
      return st;
    }
    if (st != LCT_OK) return LCT_OK; /* a part that is lost or damaged is computed again */
    sweep_moments_merge(s->axes, &s->whole, &s->part);
    (*loaded)++;
  }
  return LCT_OK;
}

void sweep_parts_remove(const char *output) {
  char path[4200];
  int n = snprintf(path, sizeof path, "%s/parts", output);
  DIR *d = opendir(path);
  for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
    if (strncmp(e->d_name, "moments-", 8) != 0) continue;
    (void)snprintf(path + n, sizeof path - (size_t)n, "/%s", e->d_name);
    (void)unlink(path);
    path[n] = '\0';
  }
  if (d != NULL) (void)closedir(d);
  (void)rmdir(path);
}
