/* Stores on disk for tests: folders, whole trees as one text, shards taken apart by hand. */
#ifndef LCT_STORE_TEST_H
#define LCT_STORE_TEST_H

#include <ftw.h>
#include <unistd.h>

#include "test_support.h"

#include "base/file.h"
#include "store/codec.h"
#include "store/zarr_write.h"

static char store_dir[64];
static lct_buf store_tree_text;
static lct_error store_err;

static inline int store_remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

static inline void store_remove(const char *path) { (void)nftw(path, store_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static inline int store_make_dir(void **state) {
  (void)state;
  (void)snprintf(store_dir, sizeof store_dir, "/tmp/lct-store-XXXXXX");
  return mkdtemp(store_dir) != NULL ? 0 : -1;
}

static inline int store_remove_dir(void **state) {
  (void)state;
  store_remove(store_dir);
  return 0;
}

/* "DIR/name", valid until the eighth next call. */
static inline const char *in_store(const char *name) {
  static char paths[8][256];
  static int at;
  at = (at + 1) % 8;
  (void)snprintf(paths[at], sizeof paths[at], "%s/%s", store_dir, name);
  return paths[at];
}

static inline int store_compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static char *store_lines[4096];
static size_t store_n_lines, store_root_len;

static inline int store_one_line(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)where;
  if (type != FTW_F) return 0;
  lct_buf b = {0};
  char sha[65], line[512];
  if (store_n_lines == sizeof store_lines / sizeof *store_lines || lct_file_read(path, 1 << 28, &b, &store_err) != LCT_OK) return -1;
  lct_sha256_hex(b.data, b.len, sha);
  lct_buf_free(&b);
  (void)snprintf(line, sizeof line, "%s %lld %s\n", path + store_root_len, (long long)st->st_size, sha);
  store_lines[store_n_lines++] = strdup(line);
  return 0;
}

/* Every file under `path`: name, size, hash, sorted; free with free(). */
static inline char *store_tree(const char *path) {
  store_n_lines = 0;
  store_root_len = strlen(path);
  assert_int_equal(nftw(path, store_one_line, 16, FTW_PHYS), 0);
  qsort(store_lines, store_n_lines, sizeof *store_lines, store_compare);
  store_tree_text = (lct_buf){0};
  for (size_t i = 0; i < store_n_lines; i++) {
    assert_int_equal(lct_buf_puts(&store_tree_text, store_lines[i], &store_err), LCT_OK);
    free(store_lines[i]);
  }
  return store_tree_text.data;
}

static inline uint64_t store_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* Value i of an array: the low bytes of this are written. 16-bit ones have few exponents. */
static inline uint64_t store_value(const lct_zarr_meta *m, uint64_t seed, int64_t i) {
  uint64_t x = store_mix(seed << 40 | (uint64_t)i);
  if (lct_zarr_dtype_bytes(m->dtype) == 2) x = (x & 0x83ff) | (10 + (x >> 20 & x >> 23 & 7)) << 10;
  return x;
}

/* Rows [from, to) of the array, `step` at a time. */
static inline lct_status store_put(lct_zarr_out *out, const lct_zarr_meta *m, uint64_t seed, int64_t from, int64_t to, int64_t step,
                                   lct_error *err) {
  int64_t values = lct_zarr_row_values(m);
  size_t item = lct_zarr_dtype_bytes(m->dtype);
  while (from < to) {
    void *rows;
    int64_t n, want = to - from < step ? to - from : step;
    LCT_TRY(lct_zarr_reserve(out, want, &rows, &n, err));
    for (int64_t i = 0; i < n * values; i++) {
      uint64_t v = store_value(m, seed, from * values + i);
      memcpy((char *)rows + (size_t)i * item, &v, item);
    }
    LCT_TRY(lct_zarr_commit(out, n, err));
    from += n;
  }
  return LCT_OK;
}

static inline uint64_t store_u64(const char *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static inline uint32_t store_u32(const char *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

#endif
