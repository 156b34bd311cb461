#include "scenario/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { MAGIC_BYTES = 4, WAIT_MS = 100 };

struct lct_bytes {
  char *name; /* for messages */
  int fd;
  const int *stop; /* NULL: nobody interrupts */
  bool owns_fd, named_zst;
  bool started;           /* plain or zstd is known */
  bool ended;             /* of the file */
  bool in_frame, pending; /* a frame is not complete; it may hold more output than was asked for */
  ZSTD_DStream *zstd;     /* NULL: plain */
  int64_t n_read, total;
  size_t begin, end; /* of what was read and not yet taken */
  char raw[65536];
};

/* Size of what is left of a regular file, else 0. */
static int64_t bytes_left(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
  off_t at = lseek(fd, 0, SEEK_CUR);
  return at > 0 && at <= st.st_size ? st.st_size - at : st.st_size;
}

lct_status lct_bytes_open(const char *path, lct_bytes **out, lct_error *err) {
  bool standard_input = strcmp(path, "-") == 0;
  size_t n = strlen(path);
  lct_bytes *s = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&s, 1, sizeof *s, "a file's bytes", err));
  s->name = strdup(standard_input ? "standard input" : path);
  s->fd = -1;
  lct_status status = LCT_OK;
  if (s->name == NULL) {
    status = lct_fail(err, LCT_E_NOMEM, "out of memory for a file's name");
  } else {
    s->named_zst = n >= 4 && strcmp(path + n - 4, ".zst") == 0;
    s->owns_fd = !standard_input;
    s->fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) status = lct_fail_errno(err, errno, "cannot open %s", path);
  }
  if (status == LCT_OK) {
    s->total = bytes_left(s->fd);
    *out = s;
  } else {
    lct_bytes_free(s);
  }
  return status;
}

void lct_bytes_stop_when(lct_bytes *s, const int *stop) { s->stop = stop; }

static lct_status wait_for_input(const lct_bytes *s, lct_error *err) {
  struct pollfd p = {.fd = s->fd, .events = POLLIN};
  while (s->stop != NULL) {
    if (__atomic_load_n(s->stop, __ATOMIC_RELAXED) != 0) return lct_fail(err, LCT_E_CANCELLED, "interrupted while reading %s", s->name);
    if (poll(&p, 1, WAIT_MS) != 0) break;
  }
  return LCT_OK;
}

/* Reads once into buf; sets ended where there is nothing more. */
static lct_status read_some(lct_bytes *s, void *buf, size_t n, size_t *got, lct_error *err) {
  ssize_t r = 0;
  *got = 0;
  if (s->ended) return LCT_OK;
  LCT_TRY(wait_for_input(s, err));
  do {
    r = read(s->fd, buf, n);
  } while (r < 0 && errno == EINTR);
  s->ended = r <= 0;
  if (r < 0) return lct_fail_errno(err, errno, "cannot read %s", s->name);
  *got = (size_t)r;
  s->n_read += r;
  return LCT_OK;
}

/* Zstandard's own magic number, or that of its skippable frames. */
static bool is_zstd(const char *raw, size_t n) {
  const unsigned char *p = (const unsigned char *)raw;
  if (n < MAGIC_BYTES) return false;
  return memcmp(p, "\x28\xb5\x2f\xfd", MAGIC_BYTES) == 0 || ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0);
}

/* Reads as much as shows what the bytes are. */
static lct_status start(lct_bytes *s, lct_error *err) {
  s->started = true;
  while (s->end < MAGIC_BYTES && !s->ended) {
    size_t got = 0;
    LCT_TRY(read_some(s, s->raw + s->end, sizeof s->raw - s->end, &got, err));
    s->end += got;
  }
  if (!s->named_zst && !is_zstd(s->raw, s->end)) return LCT_OK;
  if (s->end == 0) return lct_fail(err, LCT_E_FORMAT, "%s: zstd: expected a frame, found an empty file", s->name);
  s->zstd = ZSTD_createDStream();
  if (s->zstd == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the decompression of %s", s->name);
  return LCT_OK;
}

static int64_t taken(const lct_bytes *s) { return s->n_read - (int64_t)(s->end - s->begin); }

static lct_status damaged(const lct_bytes *s, size_t code, lct_error *err) {
  long long at = (long long)taken(s);
  if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation) {
    return lct_fail(err, LCT_E_NOMEM, "out of memory for the decompression of %s", s->name);
  }
  return lct_fail(err, LCT_E_FORMAT, "%s: zstd: damaged at about byte %lld: %s", s->name, at, ZSTD_getErrorName(code));
}

static lct_status decompress(lct_bytes *s, void *buf, size_t n, size_t *got, lct_error *err) {
  ZSTD_outBuffer out = {buf, n, 0};
  while (out.pos == 0) {
    if (s->begin == s->end && !s->pending) {
      s->begin = s->end = 0;
      LCT_TRY(read_some(s, s->raw, sizeof s->raw, &s->end, err));
      if (s->end == 0) break;
    }
    ZSTD_inBuffer in = {s->raw, s->end, s->begin};
    size_t left = ZSTD_decompressStream(s->zstd, &out, &in);
    s->begin = in.pos;
    if (ZSTD_isError(left)) return damaged(s, left, err);
    s->in_frame = left != 0;
    s->pending = s->in_frame && out.pos == out.size;
  }
  *got = out.pos;
  if (out.pos == 0 && s->in_frame) {
    return lct_fail(err, LCT_E_FORMAT, "%s: zstd: expected the rest of a frame, found the end of the file at byte %lld", s->name,
                    (long long)s->n_read);
  }
  return LCT_OK;
}

lct_status lct_bytes_read(lct_bytes *s, void *buf, size_t n, size_t *got, lct_error *err) {
  *got = 0;
  if (!s->started) LCT_TRY(start(s, err));
  if (s->zstd != NULL) return decompress(s, buf, n, got, err);
  if (s->begin == s->end) return read_some(s, buf, n, got, err);
  *got = s->end - s->begin < n ? s->end - s->begin : n;
  memcpy(buf, s->raw + s->begin, *got);
  s->begin += *got;
  return LCT_OK;
}

void lct_bytes_progress(const lct_bytes *s, int64_t *done, int64_t *total) {
  *done = taken(s);
  *total = s->total;
}

bool lct_bytes_compressed(const lct_bytes *s) { return s->zstd != NULL; }

const char *lct_bytes_name(const lct_bytes *s) { return s->name; }

void lct_bytes_free(lct_bytes *s) {
  if (s == NULL) return;
  if (s->owns_fd && s->fd >= 0) (void)close(s->fd);
  (void)ZSTD_freeDStream(s->zstd);
  free(s->name);
  free(s);
}
