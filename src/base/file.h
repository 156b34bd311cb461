/* Files: mapping, whole reads, atomic writes, directories. Every failure names the path. */
#ifndef LCT_BASE_FILE_H
#define LCT_BASE_FILE_H

#include "base/mem.h"

/* A file mapped read-only. data is NULL for an empty file. */
typedef struct {
  const unsigned char *data;
  size_t size;
} lct_map;

lct_status lct_map_open(const char *path, lct_map *out, lct_error *err) LCT_CHECKED;
void lct_map_close(lct_map *m);

/* Reads a whole regular file or pipe into b, at most max_bytes (LCT_E_LIMIT beyond). */
lct_status lct_file_read(const char *path, size_t max_bytes, lct_buf *b, lct_error *err) LCT_CHECKED;
/* Writes to path.tmp, fsyncs, renames over path: readers see the old file or the whole new one. */
lct_status lct_file_write_atomic(const char *path, const void *data, size_t n, lct_error *err) LCT_CHECKED;
/* The same without fsync: for what is written often and may be lost with the machine. */
lct_status lct_file_replace(const char *path, const void *data, size_t n, lct_error *err) LCT_CHECKED;
/* mkdir -p. */
lct_status lct_mkdirs(const char *path, lct_error *err) LCT_CHECKED;
bool lct_path_exists(const char *path);
bool lct_path_is_dir(const char *path);
/* "a/b" into b (replacing its content). */
lct_status lct_path_join(lct_buf *out, const char *dir, const char *name, lct_error *err) LCT_CHECKED;
/* Hex SHA-256 of bytes into out[65]. */
void lct_sha256_hex(const void *data, size_t n, char out[65]);

#endif
