/* A shard's file: chunks appended with large writes, then the index, then its name. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "store/zarr_write_impl.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "index and checksums are written as they lie in memory");

enum { TAIL_BYTES = 1 << 20 }; /* less than this is collected before it is written */
#define PARTIAL ".partial"

static lct_status check_room(const lct_zarr_out *a, lct_error *err) {
  struct statvfs fs;
  if (statvfs(a->w->dir, &fs) != 0) return lct_fail_errno(err, errno, "cannot ask for the free space of %s", a->w->dir);
  uint64_t raw = (uint64_t)lct_zarr_shard_chunks(&a->meta) * a->cut.chunk_bytes, floor = (uint64_t)a->w->o.min_free_bytes;
  uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
  if (available >= raw && available - raw >= floor) return LCT_OK;
  return lct_fail(err, LCT_E_IO,
                  "cannot begin %s: %" PRIu64 " bytes are free, and a shard needs up to %" PRIu64 " with %" PRIu64 " to be left",
                  a->shard.path.data, available, raw, floor);
}

static lct_status make_folder_of(const char *path, lct_error *err) {
  lct_buf folder = {0};
  LCT_TRY(lct_buf_append(&folder, path, (size_t)(strrchr(path, '/') - path), err));
  lct_status s = lct_mkdirs(folder.data, err);
  lct_buf_free(&folder);
  return s;
}

static lct_status shard_begin(lct_zarr_out *a, int64_t number, lct_error *err) {
  zarr_shard *s = &a->shard;
  size_t n = (size_t)lct_zarr_shard_chunks(&a->meta);
  LCT_TRY(lct_zarr_shard_path(&a->meta, a->w->dir, a->name, number, &s->path, err));
  LCT_TRY(check_room(a, err));
  s->partial.len = 0;
  LCT_TRY(lct_buf_printf(&s->partial, err, "%s" PARTIAL, s->path.data));
  if (s->index == NULL) LCT_TRY(lct_alloc_aligned(&s->index, n * 2 * sizeof *s->index + CRC_BYTES, 1, "a shard's index", err));
  memset(s->index, 0xff, n * 2 * sizeof *s->index);
  LCT_TRY(make_folder_of(s->path.data, err));
  s->fd = open(s->partial.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (s->fd < 0) return lct_fail_errno(err, errno, "cannot create %s", s->partial.data);
  s->number = number;
  s->at = 0;
  s->tail.len = 0;
  return LCT_OK;
}

static lct_status write_parts(const zarr_shard *s, struct iovec *part, int n, lct_error *err) {
  while (n > 0) {
    ssize_t w = writev(s->fd, part, n);
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) return lct_fail_errno(err, errno, "cannot write %s", s->partial.data);
    if (w == 0) return lct_fail(err, LCT_E_IO, "cannot write %s: the system takes no bytes", s->partial.data);
    size_t done = (size_t)w;
    while (n > 0 && done >= part->iov_len) {
      done -= part->iov_len;
      part++;
      n--;
    }
    if (n > 0) {
      part->iov_base = (char *)part->iov_base + done;
      part->iov_len -= done;
    }
  }
  return LCT_OK;
}

/* Into the tail, or the tail and it in one write. */
static lct_status append(zarr_shard *s, const void *data, size_t n, bool flush, lct_error *err) {
  s->at += n;
  if (!flush && s->tail.len + n < TAIL_BYTES) return lct_buf_append(&s->tail, data, n, err);
  struct iovec parts[2] = {{s->tail.data, s->tail.len}, {lct_unconst(data), n}};
  s->tail.len = 0;
  int skip = parts[0].iov_len == 0;
  return write_parts(s, parts + skip, 2 - skip, err);
}

lct_status lct_zarr_shard_put(lct_zarr_out *a, const zarr_piece *piece, lct_error *err) {
  const lct_zarr_meta *m = &a->meta;
  zarr_shard *s = &a->shard;
  if (s->fd < 0) LCT_TRY(shard_begin(a, piece->first_row / m->shard[0], err));
  size_t place = (size_t)(piece->first_row % m->shard[0] / m->chunk[0]) * a->cut.slot_chunks, at = s->at;
  for (size_t i = piece->begin; i < piece->end; i++) {
    s->index[2 * (place + i)] = at;
    s->index[2 * (place + i) + 1] = piece->chunk_bytes[i - piece->begin];
    at += piece->chunk_bytes[i - piece->begin];
  }
  LCT_TRY(append(s, piece->data, piece->bytes, false, err));
  bool ends = piece->end == a->cut.slot_chunks && (piece->first_row + m->chunk[0]) % m->shard[0] == 0;
  return ends ? lct_zarr_shard_end(a, err) : LCT_OK;
}

static lct_status sync_folder(const char *path, lct_error *err) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open %s", path);
  lct_status s = LCT_OK;
  if (fsync(fd) != 0) s = lct_fail_errno(err, errno, "cannot sync %s", path);
  (void)close(fd);
  return s;
}

lct_status lct_zarr_sync_folders(const char *path, const char *dir, lct_error *err) {
  lct_buf b = {0};
  lct_status s = lct_buf_puts(&b, path, err);
  size_t stop = strlen(dir);
  while (s == LCT_OK && b.len > stop) {
    char *slash = strrchr(b.data, '/');
    if (slash == NULL || slash == b.data || (size_t)(slash - b.data) < stop) break;
    *slash = '\0';
    b.len = (size_t)(slash - b.data);
    s = sync_folder(b.data, err);
  }
  lct_buf_free(&b);
  return s;
}

lct_status lct_zarr_sync_parent(const char *dir, lct_error *err) {
  const char *slash = strrchr(dir, '/');
  if (slash == NULL) return sync_folder(".", err);
  lct_buf b = {0};
  lct_status s = lct_buf_append(&b, dir, slash == dir ? 1 : (size_t)(slash - dir), err);
  if (s == LCT_OK) s = sync_folder(b.data, err);
  lct_buf_free(&b);
  return s;
}

static lct_status close_and_name(lct_zarr_out *a, lct_error *err) {
  zarr_shard *s = &a->shard;
  bool sync = a->w->o.fsync == LCT_FSYNC_SHARD;
  if (sync && fsync(s->fd) != 0) return lct_fail_errno(err, errno, "cannot sync %s", s->partial.data);
  int fd = s->fd;
  s->fd = -1;
  lct_status status = LCT_OK;
  if (close(fd) != 0) {
    status = lct_fail_errno(err, errno, "cannot close %s", s->partial.data);
  } else if (rename(s->partial.data, s->path.data) != 0) {
    status = lct_fail_errno(err, errno, "cannot rename %s to %s", s->partial.data, s->path.data);
  }
  if (status != LCT_OK) {
    (void)unlink(s->partial.data);
    return status;
  }
  return sync ? lct_zarr_sync_folders(s->path.data, a->w->dir, err) : LCT_OK;
}

lct_status lct_zarr_shard_end(lct_zarr_out *a, lct_error *err) {
  zarr_shard *s = &a->shard;
  if (s->fd < 0) return LCT_OK;
  size_t n = (size_t)lct_zarr_shard_chunks(&a->meta) * 2 * sizeof *s->index;
  uint32_t crc = lct_crc32c(0, s->index, n);
  memcpy((unsigned char *)s->index + n, &crc, CRC_BYTES);
  LCT_TRY(append(s, s->index, n + CRC_BYTES, true, err));
  LCT_TRY(close_and_name(a, err));
  const lct_zarr_write_options *o = &a->w->o;
  return o->on_shard != NULL ? o->on_shard(o->ctx, a->name, s->number, (int64_t)s->at, err) : LCT_OK;
}

static int remove_partial(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st;
  (void)at;
  size_t n = strlen(path), end = strlen(PARTIAL);
  if (type == FTW_F && n > end && strcmp(path + n - end, PARTIAL) == 0) (void)unlink(path);
  return 0;
}

void lct_zarr_remove_partials(const char *dir) { (void)nftw(dir, remove_partial, 16, FTW_PHYS); }

void lct_zarr_shard_drop(zarr_shard *s) {
  if (s->fd >= 0) {
    (void)close(s->fd);
    (void)unlink(s->partial.data);
  }
  s->fd = -1;
  lct_buf_free(&s->path);
  lct_buf_free(&s->partial);
  lct_buf_free(&s->tail);
  free(s->index);
  s->index = NULL;
}
