/* One shard: the index at its end, and its chunks. Every number read from the file is checked before anything is made of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/zarr_read_impl.h"

enum { CRC_BYTES = 4, EXTENT_BYTES = 16 };

lct_status lct_zarr_path_of(const lct_zarr *z, int64_t shard, lct_buf *out, lct_error *err) {
  return lct_zarr_shard_path(&z->meta, z->dir, z->name, shard, out, err);
}

/* "NAME: shard 3 (FILE)" before the message. */
static lct_status shard_context(const lct_zarr *z, int64_t shard, lct_error *err) {
  lct_buf path = {0};
  lct_status s = lct_zarr_path_of(z, shard, &path, NULL);
  s = lct_fail_context(err, LCT_E_FORMAT, "%s: shard %" PRId64 " (%s)", z->name, shard, s == LCT_OK ? path.data : "?");
  lct_buf_free(&path);
  return s;
}

/* "NAME: shard 3 (FILE), chunk [2, 0, 7, 0], rows 3328-3583" before the message; the chunk's place is that in its shard. */
static lct_status chunk_context(const lct_zarr *z, int64_t shard, int64_t chunk, lct_error *err) {
  const lct_zarr_meta *m = &z->meta;
  int64_t at[LCT_ZARR_MAX_DIMS];
  for (int i = m->n_dims - 1; i >= 0; i--) {
    int64_t n = m->shard[i] / m->chunk[i];
    at[i] = chunk % n;
    chunk /= n;
  }
  lct_buf path = {0}, place = {0};
  lct_status s = lct_zarr_path_of(z, shard, &path, NULL);
  for (int i = 0; i < m->n_dims && s == LCT_OK; i++) s = lct_buf_printf(&place, NULL, "%s%" PRId64, i > 0 ? ", " : "", at[i]);
  int64_t first = shard * m->shard[0] + at[0] * m->chunk[0], last = first + m->chunk[0] - 1;
  if (last >= m->shape[0] && first < m->shape[0]) last = m->shape[0] - 1;
  s = lct_fail_context(err, LCT_E_FORMAT, "%s: shard %" PRId64 " (%s), chunk [%s], rows %" PRId64 "-%" PRId64, z->name, shard,
                       s == LCT_OK ? path.data : "?", s == LCT_OK ? place.data : "?", first, last);
  lct_buf_free(&path);
  lct_buf_free(&place);
  return s;
}

static lct_status read_at(const lct_zarr_shard *s, uint64_t at, void *dst, size_t n, lct_error *err) {
  if (s->memory != NULL) {
    memcpy(dst, s->memory + at, n);
    return LCT_OK;
  }
  for (size_t done = 0; done < n;) {
    ssize_t got = pread(s->fd, (char *)dst + done, n - done, (off_t)(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return lct_fail_errno(err, errno, "cannot read %zu bytes at byte %" PRIu64, n, at);
    if (got == 0) return lct_fail(err, LCT_E_IO, "the file became shorter while it was read");
    done += (size_t)got;
  }
  return LCT_OK;
}

static int by_offset(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static lct_status check_overlap(uint64_t *extents, size_t n, lct_error *err) {
  bool ascending = true;
  for (size_t i = 1; i < n && ascending; i++) ascending = extents[2 * i] >= extents[2 * i - 2] + extents[2 * i - 1];
  if (ascending) return LCT_OK;
  qsort(extents, n, EXTENT_BYTES, by_offset);
  for (size_t i = 1; i < n; i++) {
    if (extents[2 * i] < extents[2 * i - 2] + extents[2 * i - 1]) {
      return lct_fail(err, LCT_E_FORMAT, "chunks overlap at byte %" PRIu64, extents[2 * i]);
    }
  }
  return LCT_OK;
}

/* Every chunk lies before the index, none on another's bytes, none larger than a codec would ever make it. */
static lct_status check_extents(const lct_zarr *z, const lct_zarr_shard *s, size_t n_chunks, uint64_t end, lct_error *err) {
  uint64_t *present = NULL, limit = 2 * (uint64_t)lct_codec_bound(lct_zarr_chunk_bytes(&z->meta));
  size_t n = 0;
  LCT_TRY(lct_calloc(&present, n_chunks, EXTENT_BYTES, "a shard's index", err));
  lct_status status = LCT_OK;
  for (size_t i = 0; i < n_chunks && status == LCT_OK; i++) {
    uint64_t at = s->index[2 * i], bytes = s->index[2 * i + 1];
    if (at == LCT_ZARR_MISSING && bytes == LCT_ZARR_MISSING) continue;
    if (at > end || bytes > end - at || bytes <= CRC_BYTES || bytes > limit) {
      status = lct_fail(err, LCT_E_FORMAT, "%" PRIu64 " bytes at byte %" PRIu64 ", expected %d to %" PRIu64 " before the index at %" PRIu64,
                        bytes, at, CRC_BYTES + 1, limit, end);
      status = chunk_context(z, s->number, (int64_t)i, err);
    }
    present[2 * n] = at;
    present[2 * n++ + 1] = bytes;
  }
  if (status == LCT_OK) {
    status = check_overlap(present, n, err);
    if (status != LCT_OK) status = shard_context(z, s->number, err);
  }
  free(present);
  return status;
}

/* The index's bytes with their checksum behind them, at the end of the file. */
static lct_status read_index(lct_zarr_shard *s, size_t n_chunks, lct_error *err) {
  size_t bytes = n_chunks * EXTENT_BYTES;
  if (s->size < bytes + CRC_BYTES) {
    return lct_fail(err, LCT_E_FORMAT, "truncated: %zu bytes, its index of %zu chunks alone has %zu", s->size, n_chunks, bytes + CRC_BYTES);
  }
  LCT_TRY(lct_alloc_aligned(&s->index, bytes + CRC_BYTES, 1, "a shard's index", err));
  LCT_TRY(read_at(s, s->size - bytes - CRC_BYTES, s->index, bytes + CRC_BYTES, err));
  uint32_t expected, crc = lct_crc32c(0, s->index, bytes);
  memcpy(&expected, (const char *)s->index + bytes, sizeof expected);
  if (crc == expected) return LCT_OK;
  return lct_fail(err, LCT_E_FORMAT, "the index's CRC-32C is %08" PRIx32 ", expected %08" PRIx32 ": truncated or damaged", crc, expected);
}

static lct_status open_file(const lct_zarr *z, lct_zarr_shard *s, lct_error *err) {
  if (z->in_memory) {
    s->memory = s->number == 0 ? z->memory : NULL;
    s->size = z->n_memory;
    return LCT_OK;
  }
  lct_buf path = {0};
  struct stat st;
  LCT_TRY(lct_zarr_path_of(z, s->number, &path, err));
  s->fd = open(path.data, O_RDONLY | O_CLOEXEC);
  lct_status status = LCT_OK;
  if (s->fd < 0 && errno != ENOENT) {
    status = lct_fail_errno(err, errno, "cannot open it");
  } else if (s->fd >= 0 && fstat(s->fd, &st) != 0) {
    status = lct_fail_errno(err, errno, "cannot stat it");
  } else if (s->fd >= 0) {
    s->size = (size_t)st.st_size;
    if (!S_ISREG(st.st_mode)) status = lct_fail(err, LCT_E_IO, "not a regular file");
  }
  lct_buf_free(&path);
  return status;
}

lct_status lct_zarr_shard_open(const lct_zarr *z, int64_t number, lct_zarr_shard *out, lct_error *err) {
  *out = (lct_zarr_shard){.number = number, .fd = -1};
  size_t n_chunks = (size_t)lct_zarr_shard_chunks(&z->meta);
  lct_status status = open_file(z, out, err);
  bool there = out->fd >= 0 || out->memory != NULL;
  if (status == LCT_OK && there) status = read_index(out, n_chunks, err);
  if (status != LCT_OK) {
    status = shard_context(z, number, err);
  } else if (there) {
    status = check_extents(z, out, n_chunks, out->size - n_chunks * EXTENT_BYTES - CRC_BYTES, err);
  }
  if (status != LCT_OK) lct_zarr_shard_close(out);
  return status;
}

void lct_zarr_shard_close(lct_zarr_shard *s) {
  if (s->fd >= 0) (void)close(s->fd);
  free(s->index);
  *s = (lct_zarr_shard){.number = -1, .fd = -1};
}

lct_status lct_zarr_worker_open(lct_zarr_worker *w, lct_error *err) {
  *w = (lct_zarr_worker){0};
  return lct_codec_new(&w->codec, err);
}

void lct_zarr_worker_close(lct_zarr_worker *w) {
  lct_codec_free(w->codec);
  free(w->stored);
  free(w->raw);
  *w = (lct_zarr_worker){0};
}

static lct_status room(unsigned char **p, size_t *cap, size_t need, lct_error *err) {
  if (*p != NULL && need <= *cap) return LCT_OK;
  free(*p);
  *p = NULL;
  *cap = 0;
  LCT_TRY(lct_alloc_aligned(p, need, 1, "a chunk", err));
  *cap = need;
  return LCT_OK;
}

lct_status lct_zarr_worker_raw(const lct_zarr *z, lct_zarr_worker *w, lct_error *err) {
  return room(&w->raw, &w->raw_cap, lct_zarr_chunk_bytes(&z->meta), err);
}

static void fill(lct_zarr_dtype t, void *dst, size_t n_bytes) {
  static const uint64_t NAN64 = UINT64_C(0x7ff8000000000000);
  static const uint32_t NAN32 = 0x7fc00000;
  static const uint16_t NAN16 = 0x7e00;
  const void *value = t == LCT_ZARR_F64 ? (const void *)&NAN64 : t == LCT_ZARR_F32 ? (const void *)&NAN32 : &NAN16;
  size_t item = lct_zarr_dtype_bytes(t);
  if (t != LCT_ZARR_F16 && t != LCT_ZARR_F32 && t != LCT_ZARR_F64) {
    memset(dst, 0, n_bytes);
    return;
  }
  memcpy(dst, value, item);
  for (size_t done = item; done < n_bytes; done *= 2) memcpy((char *)dst + done, dst, done < n_bytes - done ? done : n_bytes - done);
}

static lct_status decode_stored(const lct_zarr *z, const lct_zarr_shard *s, int64_t chunk, lct_zarr_worker *w, void *dst, lct_error *err) {
  size_t n = (size_t)s->index[2 * chunk + 1], raw = lct_zarr_chunk_bytes(&z->meta);
  LCT_TRY(room(&w->stored, &w->stored_cap, n, err));
  LCT_TRY(read_at(s, s->index[2 * chunk], w->stored, n, err));
  n -= CRC_BYTES;
  uint32_t expected, crc = lct_crc32c(0, w->stored, n);
  memcpy(&expected, w->stored + n, sizeof expected);
  if (crc != expected) return lct_fail(err, LCT_E_FORMAT, "CRC-32C is %08" PRIx32 ", expected %08" PRIx32, crc, expected);
  return z->meta.codec == LCT_ZARR_BLOSC ? lct_blosc_decode(w->codec, w->stored, n, dst, raw, err)
                                         : lct_zstd_decode(w->codec, w->stored, n, dst, raw, err);
}

bool lct_zarr_is_missing(const lct_zarr_shard *s, int64_t chunk) { return s->index == NULL || s->index[2 * chunk] == LCT_ZARR_MISSING; }

lct_status lct_zarr_decode(const lct_zarr *z, const lct_zarr_shard *s, int64_t chunk, lct_zarr_worker *w, void *dst, lct_error *err) {
  if (lct_zarr_is_missing(s, chunk)) {
    fill(z->meta.dtype, dst, lct_zarr_chunk_bytes(&z->meta));
    return LCT_OK;
  }
  lct_status status = decode_stored(z, s, chunk, w, dst, err);
  return status == LCT_OK ? LCT_OK : chunk_context(z, s->number, chunk, err);
}
