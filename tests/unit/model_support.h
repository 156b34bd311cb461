/* Folders for the tests of src/model: made under the system's temporary folder, filled from goldens, patched, removed. */
#ifndef LCT_MODEL_SUPPORT_H
#define LCT_MODEL_SUPPORT_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "test_support.h"

#define GOLDENS LCT_SOURCE_DIR "/tests/goldens/model"

/* dir/name, in one of a few static buffers. */
static inline const char *at(const char *dir, const char *name) {
  static char paths[8][1024];
  static int next;
  lct_error err = {0};
  lct_buf b = {0};
  char *p = paths[next++ % 8];
  assert_ok(lct_path_join(&b, dir, name, &err));
  assert_true(b.len < sizeof paths[0]);
  memcpy(p, b.data, b.len + 1);
  lct_buf_free(&b);
  return p;
}

static inline char *make_temp(char *buf, size_t n) {
  const char *root = getenv("TMPDIR");
  (void)snprintf(buf, n, "%s/lct_model_XXXXXX", root != NULL ? root : "/tmp");
  if (mkdtemp(buf) == NULL) fail_msg("cannot make a temporary folder %s", buf);
  return buf;
}

static inline void remove_tree(const char *path) {
  DIR *d = opendir(path);
  for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
    lct_buf child = {0};
    struct stat st;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (lct_path_join(&child, path, e->d_name, NULL) != LCT_OK) break;
    if (lstat(child.data, &st) == 0 && S_ISDIR(st.st_mode)) remove_tree(child.data);
    else (void)unlink(child.data);
    lct_buf_free(&child);
  }
  if (d != NULL) (void)closedir(d);
  (void)rmdir(path);
}

static inline lct_buf read_all(const char *path) {
  lct_error err = {0};
  lct_buf b = {0};
  assert_ok(lct_file_read(path, (size_t)1 << 30, &b, &err));
  return b;
}

static inline void write_all(const char *path, const void *data, size_t n) {
  lct_error err = {0};
  assert_ok(lct_file_write_atomic(path, data, n, &err));
}

static inline void write_text(const char *path, const char *text) { write_all(path, text, strlen(text)); }

static inline void make_dir(const char *path) {
  lct_error err = {0};
  assert_ok(lct_mkdirs(path, &err));
}

static inline void copy_folder(const char *source, const char *target) {
  char from[1024], to[1024]; /* both may be buffers of at */
  (void)snprintf(from, sizeof from, "%s", source);
  (void)snprintf(to, sizeof to, "%s", target);
  make_dir(to);
  DIR *d = opendir(from);
  if (d == NULL) fail_msg("no folder %s", from);
  for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    lct_buf b = read_all(at(from, e->d_name));
    write_all(at(to, e->d_name), b.data, b.len);
    lct_buf_free(&b);
  }
  (void)closedir(d);
}

/* Replaces the first occurrence of `from` in the file; equal lengths keep every offset. */
static inline void patch(const char *path, const char *from, const char *to) {
  lct_buf b = read_all(path), out = {0};
  lct_error err = {0};
  char *hit = memmem(b.data, b.len, from, strlen(from));
  if (hit == NULL) fail_msg("%s does not hold %s", path, from);
  size_t before = (size_t)(hit - b.data);
  assert_ok(lct_buf_append(&out, b.data, before, &err));
  assert_ok(lct_buf_puts(&out, to, &err));
  assert_ok(lct_buf_append(&out, hit + strlen(from), b.len - before - strlen(from), &err));
  write_all(path, out.data, out.len);
  lct_buf_free(&b);
  lct_buf_free(&out);
}

#endif
