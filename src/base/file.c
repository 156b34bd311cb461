#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

lct_status lct_map_open(const char *path, lct_map *out, lct_error *err) {
  *out = (lct_map){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open %s", path);
  struct stat st;
  if (fstat(fd, &st) != 0) {
    lct_status s = lct_fail_errno(err, errno, "cannot stat %s", path);
    close(fd);
    return s;
  }
  if (!S_ISREG(st.st_mode)) {
    close(fd);
    return lct_fail(err, LCT_E_IO, "cannot map %s: not a regular file", path);
  }
  if (st.st_size > 0) {
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      lct_status s = lct_fail_errno(err, errno, "cannot map %s (%lld bytes)", path, (long long)st.st_size);
      close(fd);
      return s;
    }
    out->data = p;
    out->size = (size_t)st.st_size;
  }
  close(fd);
  return LCT_OK;
}

void lct_map_close(lct_map *m) {
  if (m == NULL || m->data == NULL) return;
  (void)munmap(lct_unconst(m->data), m->size);
  *m = (lct_map){0};
}

lct_status lct_file_read(const char *path, size_t max_bytes, lct_buf *b, lct_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return lct_fail_errno(err, errno, "cannot open %s", path);
  char chunk[65536];
  lct_status s = LCT_OK;
  for (;;) {
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      s = lct_fail_errno(err, errno, "cannot read %s", path);
      break;
    }
    if (n == 0) break;
    if ((size_t)n > max_bytes - b->len || b->len > max_bytes) {
      s = lct_fail(err, LCT_E_LIMIT, "%s is larger than %zu bytes", path, max_bytes);
      break;
    }
    s = lct_buf_append(b, chunk, (size_t)n, err);
    if (s != LCT_OK) break;
  }
  close(fd);
  if (s == LCT_OK && b->data == NULL) s = lct_buf_append(b, "", 0, err);
  return s;
}

static lct_status write_all(int fd, const char *path, const char *data, size_t n, lct_error *err) {
  while (n > 0) {
    ssize_t w = write(fd, data, n);
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) return lct_fail_errno(err, errno, "cannot write %s", path);
    data += w;
    n -= (size_t)w;
  }
  return LCT_OK;
}

static lct_status replace(const char *path, const void *data, size_t n, bool sync, lct_error *err) {
  lct_buf tmp = {0};
  LCT_TRY(lct_buf_printf(&tmp, err, "%s.tmp", path));
  int fd = open(tmp.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    lct_status s = lct_fail_errno(err, errno, "cannot create %s", path);
    lct_buf_free(&tmp);
    return s;
  }
  lct_status s = write_all(fd, path, data, n, err);
  if (s == LCT_OK && sync && fsync(fd) != 0) s = lct_fail_errno(err, errno, "cannot sync %s", path);
  if (close(fd) != 0 && s == LCT_OK) s = lct_fail_errno(err, errno, "cannot close %s", path);
  if (s == LCT_OK && rename(tmp.data, path) != 0) s = lct_fail_errno(err, errno, "cannot rename to %s", path);
  if (s != LCT_OK) (void)unlink(tmp.data);
  lct_buf_free(&tmp);
  return s;
}

lct_status lct_file_write_atomic(const char *path, const void *data, size_t n, lct_error *err) { return replace(path, data, n, true, err); }

lct_status lct_file_replace(const char *path, const void *data, size_t n, lct_error *err) { return replace(path, data, n, false, err); }

lct_status lct_mkdirs(const char *path, lct_error *err) {
  lct_buf b = {0};
  LCT_TRY(lct_buf_puts(&b, path, err));
  lct_status s = LCT_OK;
  for (size_t i = 1; i <= b.len && s == LCT_OK; i++) {
    if (b.data[i] != '/' && b.data[i] != '\0') continue;
    char c = b.data[i];
    b.data[i] = '\0';
    if (mkdir(b.data, 0755) != 0 && !(errno == EEXIST && lct_path_is_dir(b.data))) {
      s = lct_fail_errno(err, errno, "cannot create directory %s", b.data);
    }
    b.data[i] = c;
  }
  lct_buf_free(&b);
  return s;
}

bool lct_path_exists(const char *path) { return access(path, F_OK) == 0; }

bool lct_path_is_dir(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

lct_status lct_path_join(lct_buf *out, const char *dir, const char *name, lct_error *err) {
  out->len = 0;
  size_t n = strlen(dir);
  const char *sep = n > 0 && dir[n - 1] == '/' ? "" : "/";
  return lct_buf_printf(out, err, "%s%s%s", dir, sep, name);
}

void lct_sha256_hex(const void *data, size_t n, char out[65]) {
  SHA2_CTX ctx;
  SHA256Init(&ctx);
  SHA256Update(&ctx, data, n);
  (void)SHA256End(&ctx, out);
}
