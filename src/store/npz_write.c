/* The writer: every offset is known before the data, so a put is one pwrite from the caller's buffer. When to write back is left
 * to the kernel: asking early (sync_file_range) measured two to three times slower, with the page cache full and not. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libdeflate.h>

#include "store/npz_format.h"

enum {
  DOS_DATE_1980 = 0x0021,  /* a file's bytes depend on its content alone */
  ALIGN_EXTRA_ID = 0xd935, /* the extra field that zipalign uses for padding */
  ALIGN_EXTRA_MIN = 6,
};

typedef struct {
  const char *name; /* with ".npy"; arena */
  size_t name_len;
  const char *header; /* .npy header; arena */
  size_t header_len;
  uint64_t data_bytes;
  uint64_t local_at, npy_at, data_at; /* file offsets, set by prepare */
  uint64_t done;                      /* data bytes put so far */
  uint32_t crc;
} writer_entry;

struct lct_npz {
  char *path, *tmp; /* arena */
  int fd;
  uint64_t zip64_limit;
  writer_entry *entries;
  size_t n_entries, cap_entries;
  uint64_t central_at, file_bytes;
  atomic_bool prepared, failed;
  pthread_mutex_t lock; /* guards prepare and failure */
  lct_error failure;
  lct_arena arena;
};

void lct_npz_set_zip64_limit(lct_npz *z, uint64_t limit) { z->zip64_limit = limit; }

static void writer_free(lct_npz *z, bool remove_tmp) {
  if (z->fd >= 0) (void)close(z->fd);
  if (remove_tmp && z->fd >= 0) (void)unlink(z->tmp);
  (void)pthread_mutex_destroy(&z->lock);
  free(z->entries);
  lct_arena_free(&z->arena);
  free(z);
}

lct_status lct_npz_create(const char *path, lct_npz **out, lct_error *err) {
  lct_npz *z = NULL;
  LCT_TRY(lct_calloc(&z, 1, sizeof *z, "npz writer", err));
  z->fd = -1;
  z->zip64_limit = 0xffffffffu;
  if (pthread_mutex_init(&z->lock, NULL) != 0) {
    free(z);
    return lct_fail(err, LCT_E_INTERNAL, "cannot make a lock for %s", path);
  }
  size_t n = strlen(path);
  z->path = lct_arena_strndup(&z->arena, path, n);
  z->tmp = lct_arena_alloc(&z->arena, n + 5);
  lct_status s = LCT_OK;
  if (z->path == NULL || z->tmp == NULL) {
    s = lct_fail(err, LCT_E_NOMEM, "out of memory for %s", path);
  } else {
    (void)snprintf(z->tmp, n + 5, "%s.tmp", path);
    z->fd = open(z->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (z->fd < 0) s = lct_fail_errno(err, errno, "cannot create %s", path);
  }
  if (s != LCT_OK) {
    writer_free(z, false);
    return s;
  }
  *out = z;
  return LCT_OK;
}

void lct_npz_abort(lct_npz *z) {
  if (z != NULL) writer_free(z, true);
}

/* Keeps the first failure and hands it to every later call. */
static lct_status fail_writer(lct_npz *z, const lct_error *failure, lct_error *err) {
  (void)pthread_mutex_lock(&z->lock);
  if (!atomic_load(&z->failed)) {
    z->failure = *failure;
    atomic_store(&z->failed, true);
  }
  lct_status s = lct_fail(err, z->failure.code, "%s", z->failure.message);
  (void)pthread_mutex_unlock(&z->lock);
  return s;
}

static lct_status check_declaration(const lct_npz *z, const char *name, int n_dims, const int64_t *dims, uint64_t item,
                                    uint64_t *data_bytes, lct_error *err) {
  size_t n = strlen(name);
  if (atomic_load(&z->prepared)) return lct_fail(err, LCT_E_USAGE, "%s: entry %s declared after the first data", z->path, name);
  if (!lct_npz_name_ok(name, n)) {
    return lct_fail(err, LCT_E_USAGE, "%s: an entry's name must be printable UTF-8 of 1 to %d bytes", z->path, (int)LCT_NPZ_MAX_NAME);
  }
  if (n_dims < 0 || n_dims > LCT_NPY_MAX_DIMS) {
    return lct_fail(err, LCT_E_USAGE, "%s: entry %s has %d dimensions, expected 0 to %d", z->path, name, n_dims, (int)LCT_NPY_MAX_DIMS);
  }
  uint64_t bytes = item;
  for (int i = 0; i < n_dims; i++) {
    if (dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes) || bytes > INT64_MAX / 4) {
      return lct_fail(err, LCT_E_USAGE, "%s: entry %s: dimension %d is %lld", z->path, name, i, (long long)dims[i]);
    }
  }
  *data_bytes = bytes;
  return LCT_OK;
}

/* The name with ".npy" and the .npy header, in the arena. */
static lct_status keep_texts(lct_npz *z, const char *name, lct_npy_dtype dtype, int n_dims, const int64_t *dims, writer_entry *e,
                             lct_error *err) {
  lct_buf b = {0};
  lct_status s = lct_npy_header_write(dtype, n_dims, dims, &b, err);
  if (s == LCT_OK) {
    e->header_len = b.len;
    e->header = lct_arena_strndup(&z->arena, b.data, b.len);
    b.len = 0;
    s = lct_buf_printf(&b, err, "%s.npy", name);
  }
  if (s == LCT_OK) {
    e->name_len = b.len;
    e->name = lct_arena_strndup(&z->arena, b.data, b.len);
    if (e->name == NULL || e->header == NULL) s = lct_fail(err, LCT_E_NOMEM, "out of memory for the entries of %s", z->path);
  }
  lct_buf_free(&b);
  return s;
}

lct_status lct_npz_declare(lct_npz *z, const char *name, lct_npy_dtype dtype, int n_dims, const int64_t *dims, int *entry, lct_error *err) {
  writer_entry e = {0};
  LCT_TRY(check_declaration(z, name, n_dims, dims, lct_npy_item_bytes(dtype), &e.data_bytes, err));
  LCT_TRY(keep_texts(z, name, dtype, n_dims, dims, &e, err));
  e.crc = libdeflate_crc32(0, e.header, e.header_len);
  LCT_TRY(lct_grow(&z->entries, &z->cap_entries, z->n_entries + 1, sizeof *z->entries, "npz entries", err));
  *entry = (int)z->n_entries;
  z->entries[z->n_entries++] = e;
  return LCT_OK;
}

/* zip64 fields: an entry's two sizes, and its offset (central directory only). */
static bool big_size(const lct_npz *z, const writer_entry *e) { return e->header_len + e->data_bytes >= z->zip64_limit; }
static bool big_offset(const lct_npz *z, const writer_entry *e) { return e->local_at >= z->zip64_limit; }

static size_t central_extra_bytes(const lct_npz *z, const writer_entry *e) {
  size_t n = (big_size(z, e) ? 16u : 0u) + (big_offset(z, e) ? 8u : 0u);
  return n > 0 ? n + 4 : 0;
}

/* Offsets of every entry; each .npy begins on a multiple of 64, and its header's length is one. */
static bool lay_out(lct_npz *z) {
  uint64_t at = 0, central = 0;
  for (size_t i = 0; i < z->n_entries; i++) {
    writer_entry *e = &z->entries[i];
    e->local_at = at;
    uint64_t fixed = at + ZIP_LOCAL_BYTES + e->name_len + (big_size(z, e) ? 20 : 0);
    uint64_t pad = (64 - fixed % 64) % 64;
    if (pad != 0 && pad < ALIGN_EXTRA_MIN) pad += 64;
    e->npy_at = fixed + pad;
    e->data_at = e->npy_at + e->header_len;
    if (__builtin_add_overflow(e->data_at, e->data_bytes, &at) || at > INT64_MAX / 2) return false;
    central += ZIP_CENTRAL_BYTES + e->name_len + central_extra_bytes(z, e);
  }
  z->central_at = at;
  z->file_bytes = at + central + ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES + ZIP_END_BYTES;
  return true;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static lct_status check_names(const lct_npz *z, lct_error *err) {
  const char **names = NULL;
  LCT_TRY(lct_calloc(&names, z->n_entries, sizeof *names, "entry names", err));
  for (size_t i = 0; i < z->n_entries; i++) names[i] = z->entries[i].name;
  qsort(names, z->n_entries, sizeof *names, compare_names);
  lct_status s = LCT_OK;
  for (size_t i = 1; i < z->n_entries && s == LCT_OK; i++) {
    if (strcmp(names[i - 1], names[i]) == 0) s = lct_fail(err, LCT_E_USAGE, "%s: entry %s declared twice", z->path, names[i]);
  }
  free(names);
  return s;
}

static lct_status reserve(const lct_npz *z, lct_error *err) {
  int rc;
  do {
    rc = fallocate(z->fd, 0, 0, (off_t)z->file_bytes);
  } while (rc != 0 && errno == EINTR);
  if (rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return LCT_OK;
  return lct_fail_errno(err, errno, "cannot write %s: no room for %llu bytes", z->path, (unsigned long long)z->file_bytes);
}

static lct_status prepare_locked(lct_npz *z, lct_error *err) {
  LCT_TRY(check_names(z, err));
  if (!lay_out(z)) return lct_fail(err, LCT_E_LIMIT, "%s: the declared entries are larger than a file can be", z->path);
  return reserve(z, err);
}

static lct_status prepare(lct_npz *z, lct_error *err) {
  if (atomic_load_explicit(&z->prepared, memory_order_acquire)) return LCT_OK;
  lct_error failure = {0};
  lct_status s = LCT_OK;
  (void)pthread_mutex_lock(&z->lock);
  if (!atomic_load(&z->prepared) && !atomic_load(&z->failed)) {
    s = prepare_locked(z, &failure);
    if (s == LCT_OK) atomic_store_explicit(&z->prepared, true, memory_order_release);
  }
  (void)pthread_mutex_unlock(&z->lock);
  return s == LCT_OK ? LCT_OK : fail_writer(z, &failure, err);
}

static lct_status write_at(const lct_npz *z, const void *data, size_t n, uint64_t at, const char *part, lct_error *err) {
  const char *p = data;
  while (n > 0) {
    ssize_t w = pwrite(z->fd, p, n, (off_t)at);
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) return lct_fail_errno(err, errno, "cannot write %s (%s at byte %llu)", z->path, part, (unsigned long long)at);
    if (w == 0) return lct_fail(err, LCT_E_IO, "cannot write %s (%s at byte %llu)", z->path, part, (unsigned long long)at);
    p += w;
    at += (uint64_t)w;
    n -= (size_t)w;
  }
  return LCT_OK;
}

lct_status lct_npz_put(lct_npz *z, int entry, const void *data, size_t n, lct_error *err) {
  LCT_TRY(prepare(z, err));
  lct_error failure = {0};
  if (atomic_load(&z->failed)) return fail_writer(z, &failure, err);
  lct_status s = LCT_OK;
  if (entry < 0 || (size_t)entry >= z->n_entries) {
    s = lct_fail(&failure, LCT_E_USAGE, "%s has no entry %d, only %zu of them", z->path, entry, z->n_entries);
    return fail_writer(z, &failure, err);
  }
  writer_entry *e = &z->entries[entry];
  if (n > e->data_bytes - e->done) {
    s = lct_fail(&failure, LCT_E_USAGE, "%s: entry %s takes %llu more bytes, got %zu", z->path, e->name,
                 (unsigned long long)(e->data_bytes - e->done), n);
  } else {
    s = write_at(z, data, n, e->data_at + e->done, e->name, &failure);
  }
  if (s != LCT_OK) return fail_writer(z, &failure, err);
  e->crc = libdeflate_crc32(e->crc, data, n);
  e->done += n;
  return LCT_OK;
}

/* Little-endian record building. */
static lct_status put_le(lct_buf *b, uint64_t v, int n, lct_error *err) {
  unsigned char bytes[8];
  for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(v >> (8 * i));
  return lct_buf_append(b, bytes, (size_t)n, err);
}

static uint64_t field32(bool big, uint64_t v) { return big ? 0xffffffffu : v; }

/* What local header and central record have in common, from "version needed" to the name's length. */
static lct_status common_fields(const lct_npz *z, const writer_entry *e, bool zip64, lct_buf *b, lct_error *err) {
  uint64_t size = field32(big_size(z, e), e->header_len + e->data_bytes);
  bool ascii = true;
  for (size_t i = 0; i < e->name_len; i++) ascii = ascii && (unsigned char)e->name[i] < 0x80;
  LCT_TRY(put_le(b, zip64 ? 45 : 20, 2, err));
  LCT_TRY(put_le(b, ascii ? 0 : ZIP_FLAG_UTF8, 2, err));
  LCT_TRY(put_le(b, ZIP_METHOD_STORED, 2, err));
  LCT_TRY(put_le(b, 0, 2, err));
  LCT_TRY(put_le(b, DOS_DATE_1980, 2, err));
  LCT_TRY(put_le(b, e->crc, 4, err));
  LCT_TRY(put_le(b, size, 4, err));
  LCT_TRY(put_le(b, size, 4, err));
  return put_le(b, e->name_len, 2, err);
}

static lct_status zip64_extra(const writer_entry *e, bool sizes, bool offset, lct_buf *b, lct_error *err) {
  if (!sizes && !offset) return LCT_OK;
  LCT_TRY(put_le(b, ZIP64_EXTRA_ID, 2, err));
  LCT_TRY(put_le(b, (sizes ? 16u : 0u) + (offset ? 8u : 0u), 2, err));
  for (int i = 0; sizes && i < 2; i++) LCT_TRY(put_le(b, e->header_len + e->data_bytes, 8, err));
  return offset ? put_le(b, e->local_at, 8, err) : LCT_OK;
}

/* Local header, name, extra fields and .npy header: everything before the entry's data. */
static lct_status write_local(const lct_npz *z, const writer_entry *e, lct_buf *b, lct_error *err) {
  bool zip64 = big_size(z, e);
  size_t extra = (size_t)(e->npy_at - e->local_at) - ZIP_LOCAL_BYTES - e->name_len;
  b->len = 0;
  LCT_TRY(put_le(b, ZIP_LOCAL_SIG, 4, err));
  LCT_TRY(common_fields(z, e, zip64, b, err));
  LCT_TRY(put_le(b, extra, 2, err));
  LCT_TRY(lct_buf_append(b, e->name, e->name_len, err));
  LCT_TRY(zip64_extra(e, zip64, false, b, err));
  size_t pad = extra - (zip64 ? 20u : 0u);
  if (pad > 0) {
    LCT_TRY(put_le(b, ALIGN_EXTRA_ID, 2, err));
    LCT_TRY(put_le(b, pad - 4, 2, err));
    LCT_TRY(put_le(b, 64, 2, err));
    for (size_t i = ALIGN_EXTRA_MIN; i < pad; i++) LCT_TRY(put_le(b, 0, 1, err));
  }
  LCT_TRY(lct_buf_append(b, e->header, e->header_len, err));
  return write_at(z, b->data, b->len, e->local_at, e->name, err);
}

static lct_status central_record(const lct_npz *z, const writer_entry *e, lct_buf *b, lct_error *err) {
  bool zip64 = big_size(z, e) || big_offset(z, e);
  LCT_TRY(put_le(b, ZIP_CENTRAL_SIG, 4, err));
  LCT_TRY(put_le(b, 3 << 8 | (zip64 ? 45 : 20), 2, err)); /* made on Unix */
  LCT_TRY(common_fields(z, e, zip64, b, err));
  LCT_TRY(put_le(b, central_extra_bytes(z, e), 2, err));
  LCT_TRY(put_le(b, 0, 8, err)); /* no comment, disk 0, internal attributes 0: 2 + 2 + 2 bytes, and half of the external ones */
  LCT_TRY(put_le(b, 0100644, 2, err));
  LCT_TRY(put_le(b, field32(big_offset(z, e), e->local_at), 4, err));
  LCT_TRY(lct_buf_append(b, e->name, e->name_len, err));
  return zip64_extra(e, big_size(z, e), big_offset(z, e), b, err);
}

static lct_status end_records(const lct_npz *z, uint64_t central_bytes, lct_buf *b, lct_error *err) {
  bool many = z->n_entries >= 0xffff, big = central_bytes >= z->zip64_limit, far = z->central_at >= z->zip64_limit;
  if (many || big || far) {
    uint64_t end64_at = z->central_at + central_bytes;
    LCT_TRY(put_le(b, ZIP64_END_SIG, 4, err));
    LCT_TRY(put_le(b, ZIP64_END_BYTES - 12, 8, err));
    LCT_TRY(put_le(b, 3 << 8 | 45, 2, err));
    LCT_TRY(put_le(b, 45, 2, err));
    LCT_TRY(put_le(b, 0, 8, err)); /* disks */
    LCT_TRY(put_le(b, z->n_entries, 8, err));
    LCT_TRY(put_le(b, z->n_entries, 8, err));
    LCT_TRY(put_le(b, central_bytes, 8, err));
    LCT_TRY(put_le(b, z->central_at, 8, err));
    LCT_TRY(put_le(b, ZIP64_LOCATOR_SIG, 4, err));
    LCT_TRY(put_le(b, 0, 4, err));
    LCT_TRY(put_le(b, end64_at, 8, err));
    LCT_TRY(put_le(b, 1, 4, err));
  }
  LCT_TRY(put_le(b, ZIP_END_SIG, 4, err));
  LCT_TRY(put_le(b, 0, 4, err));
  LCT_TRY(put_le(b, many ? 0xffff : z->n_entries, 2, err));
  LCT_TRY(put_le(b, many ? 0xffff : z->n_entries, 2, err));
  LCT_TRY(put_le(b, field32(big, central_bytes), 4, err));
  LCT_TRY(put_le(b, field32(far, z->central_at), 4, err));
  return put_le(b, 0, 2, err); /* no comment */
}

static lct_status write_headers(lct_npz *z, lct_buf *b, lct_error *err) {
  for (size_t i = 0; i < z->n_entries; i++) {
    const writer_entry *e = &z->entries[i];
    if (e->done != e->data_bytes) {
      return lct_fail(err, LCT_E_USAGE, "%s: entry %s has %llu of %llu bytes", z->path, e->name, (unsigned long long)e->done,
                      (unsigned long long)e->data_bytes);
    }
    LCT_TRY(write_local(z, e, b, err));
  }
  b->len = 0;
  for (size_t i = 0; i < z->n_entries; i++) LCT_TRY(central_record(z, &z->entries[i], b, err));
  LCT_TRY(end_records(z, b->len, b, err));
  LCT_TRY(write_at(z, b->data, b->len, z->central_at, "central directory", err));
  if (ftruncate(z->fd, (off_t)(z->central_at + b->len)) != 0) return lct_fail_errno(err, errno, "cannot write %s", z->path);
  return LCT_OK;
}

/* The directory's entry too must survive a power cut. */
static lct_status sync_directory(const lct_npz *z, lct_error *err) {
  char *dir = z->tmp; /* renamed away: free to be cut at its last slash */
  char *slash = strrchr(dir, '/');
  if (slash != NULL) slash[slash == dir ? 1 : 0] = '\0';
  int fd = open(slash == NULL ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open the directory of %s", z->path);
  lct_status s = fsync(fd) == 0 ? LCT_OK : lct_fail_errno(err, errno, "cannot sync the directory of %s", z->path);
  (void)close(fd);
  return s;
}

static lct_status finish_file(lct_npz *z, bool sync, lct_error *err) {
  LCT_TRY(prepare(z, err));
  lct_error failure = {0};
  if (atomic_load(&z->failed)) return fail_writer(z, &failure, err);
  lct_buf b = {0};
  lct_status s = write_headers(z, &b, err);
  lct_buf_free(&b);
  if (s != LCT_OK) return s;
  if (sync && fsync(z->fd) != 0) return lct_fail_errno(err, errno, "cannot sync %s", z->path);
  int fd = z->fd;
  if (close(fd) != 0) s = lct_fail_errno(err, errno, "cannot close %s", z->path);
  z->fd = -1;
  if (s == LCT_OK && rename(z->tmp, z->path) != 0) s = lct_fail_errno(err, errno, "cannot rename to %s", z->path);
  if (s != LCT_OK) {
    (void)unlink(z->tmp);
    return s;
  }
  return sync ? sync_directory(z, err) : LCT_OK;
}

lct_status lct_npz_finish(lct_npz *z, bool sync, lct_error *err) {
  lct_status s = finish_file(z, sync, err);
  writer_free(z, s != LCT_OK);
  return s;
}
