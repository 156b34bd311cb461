/* The reader: the whole central directory is checked at opening, and every entry's .npy header read. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>
#include <zlib.h>

#include "base/convert.h"
#include "base/file.h"
#include "store/npz_format.h"

enum {
  CHUNK_BYTES = 16384,
  MAX_PREFIX = LCT_NPY_MAX_HEADER + 12,
  MAX_DEFLATE_RATIO = 1032, /* what DEFLATE can reach at best */
  MAX_ENTRIES = 1 << 24,
};

typedef struct {
  const unsigned char *data; /* the entry's bytes as stored */
  uint64_t stored_bytes, npy_bytes;
  uint64_t local_at;
  size_t header_bytes;
  uint32_t crc;
  uint16_t method;
} place;

struct lct_npz_reader {
  const unsigned char *data;
  size_t n;
  const char *path; /* arena */
  lct_npz_entry *entries;
  place *places;
  size_t n_entries, cap_entries, cap_places;
  size_t *by_name; /* entry indices in order of name */
  lct_map map;
  lct_arena arena;
};

/* One entry's bytes in order, stored or inflated. */
typedef struct {
  const unsigned char *at;
  uint64_t left;
  bool deflated;
  z_stream zs;
} stream;

static bool stream_open(stream *s, const place *p) {
  *s = (stream){.at = p->data, .left = p->stored_bytes, .deflated = p->method == ZIP_METHOD_DEFLATED};
  return !s->deflated || inflateInit2(&s->zs, -MAX_WBITS) == Z_OK;
}

static void stream_close(stream *s) {
  if (s->deflated) (void)inflateEnd(&s->zs);
}

static bool inflate_exactly(stream *s, unsigned char *out, size_t n) {
  s->zs.next_out = out;
  s->zs.avail_out = (uInt)n;
  while (s->zs.avail_out > 0) {
    if (s->zs.avail_in == 0 && s->left > 0) {
      uInt take = s->left < UINT_MAX ? (uInt)s->left : UINT_MAX;
      s->zs.next_in = (Bytef *)(uintptr_t)s->at; /* zlib does not write there */
      s->zs.avail_in = take;
      s->at += take;
      s->left -= take;
    }
    int rc = inflate(&s->zs, Z_NO_FLUSH);
    if (rc != Z_OK && !(rc == Z_STREAM_END && s->zs.avail_out == 0)) return false;
  }
  return true;
}

/* The next n bytes (n <= UINT_MAX) into out. */
static bool stream_read(stream *s, unsigned char *out, size_t n) {
  if (s->deflated) return inflate_exactly(s, out, n);
  if (n > s->left) return false;
  memcpy(out, s->at, n);
  s->at += n;
  s->left -= n;
  return true;
}

/* Where the central directory is, by the end records. */
typedef struct {
  uint64_t at, bytes, n_entries;
} directory;

static lct_status bad_file(const lct_npz_reader *r, const char *what, lct_error *err) {
  return lct_fail(err, LCT_E_FORMAT, "%s: %s", r->path, what);
}

static lct_status read_end64(const lct_npz_reader *r, size_t end_at, directory *d, lct_error *err) {
  if (end_at < ZIP64_LOCATOR_BYTES || zip_u32(r->data + end_at - ZIP64_LOCATOR_BYTES) != ZIP64_LOCATOR_SIG) return LCT_OK;
  size_t locator_at = end_at - ZIP64_LOCATOR_BYTES;
  uint64_t at = zip_u64(r->data + locator_at + 8);
  if (locator_at < ZIP64_END_BYTES || at > locator_at - ZIP64_END_BYTES || zip_u32(r->data + at) != ZIP64_END_SIG) {
    return bad_file(r, "zip64 end record not found where its locator says", err);
  }
  const unsigned char *p = r->data + at;
  *d = (directory){.at = zip_u64(p + 48), .bytes = zip_u64(p + 40), .n_entries = zip_u64(p + 32)};
  return LCT_OK;
}

static lct_status find_directory(const lct_npz_reader *r, directory *d, lct_error *err) {
  if (r->n < ZIP_END_BYTES) return lct_fail(err, LCT_E_FORMAT, "%s: not a zip file (%zu bytes)", r->path, r->n);
  size_t end_at = r->n - ZIP_END_BYTES;
  size_t last = end_at > 0xffff ? end_at - 0xffff : 0;
  while (zip_u32(r->data + end_at) != ZIP_END_SIG || zip_u16(r->data + end_at + 20) != r->n - end_at - ZIP_END_BYTES) {
    if (end_at == last) return bad_file(r, "not a zip file, or truncated: no end of central directory", err);
    end_at--;
  }
  const unsigned char *p = r->data + end_at;
  *d = (directory){.at = zip_u32(p + 16), .bytes = zip_u32(p + 12), .n_entries = zip_u16(p + 10)};
  LCT_TRY(read_end64(r, end_at, d, err));
  if (d->at > end_at || d->bytes > end_at - d->at) return bad_file(r, "central directory lies outside the file", err);
  if (d->n_entries > d->bytes / ZIP_CENTRAL_BYTES || d->n_entries > MAX_ENTRIES) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %llu entries do not fit into a central directory of %llu bytes", r->path,
                    (unsigned long long)d->n_entries, (unsigned long long)d->bytes);
  }
  return LCT_OK;
}

/* Replaces the 0xffffffff fields of a central record by their zip64 values. */
static bool apply_zip64(const unsigned char *extra, size_t n, uint64_t *npy, uint64_t *stored, uint64_t *local_at) {
  uint64_t *const wanted[] = {npy, stored, local_at};
  bool missing = *npy == 0xffffffffu || *stored == 0xffffffffu || *local_at == 0xffffffffu;
  while (n >= 4) {
    size_t id = zip_u16(extra), len = zip_u16(extra + 2);
    if (len > n - 4) return false;
    const unsigned char *p = extra + 4;
    for (size_t i = 0, left = len; id == ZIP64_EXTRA_ID && i < 3; i++) {
      if (*wanted[i] != 0xffffffffu) continue;
      if (left < 8) return false;
      *wanted[i] = zip_u64(p);
      p += 8;
      left -= 8;
    }
    if (id == ZIP64_EXTRA_ID) return true;
    extra += 4 + len;
    n -= 4 + len;
  }
  return !missing;
}

/* Finds the entry's bytes behind its local header; everything lies before the central directory. */
static bool locate(const lct_npz_reader *r, uint64_t central_at, const char *name, size_t name_len, place *p) {
  if (central_at < ZIP_LOCAL_BYTES || p->local_at > central_at - ZIP_LOCAL_BYTES) return false;
  const unsigned char *local = r->data + p->local_at;
  if (zip_u32(local) != ZIP_LOCAL_SIG || zip_u16(local + 26) != name_len) return false;
  uint64_t before = ZIP_LOCAL_BYTES + name_len + zip_u16(local + 28);
  uint64_t room = central_at - p->local_at;
  if (before > room || p->stored_bytes > room - before) return false;
  p->data = local + before;
  return memcmp(local + ZIP_LOCAL_BYTES, name, name_len) == 0;
}

int64_t lct_npz_n_elements(const lct_npz_entry *e) {
  int64_t n = 1;
  for (int i = 0; i < e->n_dims; i++) n *= e->dims[i];
  return n;
}

/* The array's bytes must be exactly what its shape says. */
static lct_status check_size(const lct_npz_entry *e, const place *p, const char *what, lct_error *err) {
  uint64_t bytes = lct_npy_item_bytes(e->dtype), have = p->npy_bytes - p->header_bytes;
  bool overflow = false;
  for (int i = 0; i < e->n_dims; i++) overflow = overflow || __builtin_mul_overflow(bytes, (uint64_t)e->dims[i], &bytes);
  if (overflow || bytes != have) {
    return lct_fail(err, LCT_E_FORMAT, "%s: its shape needs %llu%s bytes, there are %llu", what, (unsigned long long)bytes,
                    overflow ? " or more" : "", (unsigned long long)have);
  }
  return LCT_OK;
}

static lct_status read_npy_header(lct_npz_entry *e, place *p, const char *what, lct_error *err) {
  unsigned char prefix[MAX_PREFIX];
  size_t n = p->npy_bytes < MAX_PREFIX ? (size_t)p->npy_bytes : MAX_PREFIX;
  stream s;
  if (!stream_open(&s, p)) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s", what);
  bool ok = stream_read(&s, prefix, n);
  stream_close(&s);
  if (!ok) return lct_fail(err, LCT_E_FORMAT, "%s: damaged compressed data", what);
  LCT_TRY(lct_npy_header_parse(prefix, n, what, e, &p->header_bytes, err));
  return check_size(e, p, what, err);
}

static lct_status check_method(const place *p, unsigned flags, const char *what, lct_error *err) {
  if ((flags & ZIP_FLAG_ENCRYPTED) != 0) return lct_fail(err, LCT_E_UNSUPPORTED, "%s: encrypted", what);
  if (p->method != ZIP_METHOD_STORED && p->method != ZIP_METHOD_DEFLATED) {
    return lct_fail(err, LCT_E_UNSUPPORTED, "%s: compression method %u, expected 0 or 8", what, (unsigned)p->method);
  }
  bool possible = p->method == ZIP_METHOD_STORED ? p->npy_bytes == p->stored_bytes : p->npy_bytes / MAX_DEFLATE_RATIO <= p->stored_bytes;
  if (!possible) {
    return lct_fail(err, LCT_E_FORMAT, "%s: %llu bytes cannot come from %llu", what, (unsigned long long)p->npy_bytes,
                    (unsigned long long)p->stored_bytes);
  }
  return LCT_OK;
}

static lct_status add_entry(lct_npz_reader *r, const place *p, unsigned flags, const char *name, size_t name_len, lct_error *err) {
  lct_buf what = {0};
  place at = *p;
  lct_npz_entry e = {0};
  lct_status s = lct_buf_printf(&what, err, "%s: entry %.*s", r->path, (int)name_len, name);
  if (s == LCT_OK) s = check_method(&at, flags, what.data, err);
  if (s == LCT_OK) s = read_npy_header(&e, &at, what.data, err);
  lct_buf_free(&what);
  if (s != LCT_OK) return s;
  e.name = lct_arena_strndup(&r->arena, name, name_len - 4);
  if (e.name == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the entries of %s", r->path);
  LCT_TRY(lct_grow(&r->entries, &r->cap_entries, r->n_entries + 1, sizeof *r->entries, "npz entries", err));
  LCT_TRY(lct_grow(&r->places, &r->cap_places, r->n_entries + 1, sizeof *r->places, "npz entries", err));
  r->entries[r->n_entries] = e;
  r->places[r->n_entries++] = at;
  return LCT_OK;
}

/* One central record at *at; moves *at behind it. */
static lct_status read_record(lct_npz_reader *r, const directory *d, uint64_t *at, lct_error *err) {
  uint64_t left = d->at + d->bytes - *at;
  const unsigned char *c = r->data + *at;
  if (left < ZIP_CENTRAL_BYTES || zip_u32(c) != ZIP_CENTRAL_SIG) return bad_file(r, "central directory is damaged", err);
  size_t name_len = zip_u16(c + 28), extra_len = zip_u16(c + 30), comment_len = zip_u16(c + 32);
  if (name_len + extra_len + comment_len > left - ZIP_CENTRAL_BYTES) return bad_file(r, "central directory is damaged", err);
  *at += ZIP_CENTRAL_BYTES + name_len + extra_len + comment_len;
  const char *name = (const char *)c + ZIP_CENTRAL_BYTES;
  if (!lct_npz_name_ok(name, name_len)) return bad_file(r, "an entry's name is not printable UTF-8 of 1 to 4096 bytes", err);
  place p = {.crc = zip_u32(c + 16), .stored_bytes = zip_u32(c + 20), .npy_bytes = zip_u32(c + 24), .method = zip_u16(c + 10)};
  p.local_at = zip_u32(c + 42);
  if (!apply_zip64(c + ZIP_CENTRAL_BYTES + name_len, extra_len, &p.npy_bytes, &p.stored_bytes, &p.local_at)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: entry %.*s: damaged extra field", r->path, (int)name_len, name);
  }
  if (!locate(r, d->at, name, name_len, &p)) {
    return lct_fail(err, LCT_E_FORMAT, "%s: entry %.*s: no such local entry inside the file", r->path, (int)name_len, name);
  }
  if (name_len < 5 || memcmp(name + name_len - 4, ".npy", 4) != 0) return LCT_OK;
  return add_entry(r, &p, zip_u16(c + 8), name, name_len, err);
}

static int by_offset(const void *a, const void *b) {
  uint64_t x = (*(const place *const *)a)->local_at, y = (*(const place *const *)b)->local_at;
  return x < y ? -1 : x > y;
}

/* Entries that share bytes: how a small file is made to look like a huge one. */
static lct_status check_overlap(const lct_npz_reader *r, lct_error *err) {
  const place **sorted = NULL;
  LCT_TRY(lct_calloc(&sorted, r->n_entries, sizeof *sorted, "npz entries", err));
  for (size_t i = 0; i < r->n_entries; i++) sorted[i] = &r->places[i];
  qsort(sorted, r->n_entries, sizeof *sorted, by_offset);
  lct_status s = LCT_OK;
  for (size_t i = 1; i < r->n_entries && s == LCT_OK; i++) {
    const place *p = sorted[i - 1];
    uint64_t end = (uint64_t)(p->data - r->data) + p->stored_bytes;
    if (end > sorted[i]->local_at) s = bad_file(r, "entries overlap", err);
  }
  free(sorted);
  return s;
}

static int by_name(const void *a, const void *b, void *entries) {
  const lct_npz_entry *e = entries;
  return strcmp(e[*(const size_t *)a].name, e[*(const size_t *)b].name);
}

static lct_status index_names(lct_npz_reader *r, lct_error *err) {
  LCT_TRY(lct_calloc(&r->by_name, r->n_entries, sizeof *r->by_name, "npz entries", err));
  for (size_t i = 0; i < r->n_entries; i++) r->by_name[i] = i;
  qsort_r(r->by_name, r->n_entries, sizeof *r->by_name, by_name, r->entries);
  for (size_t i = 1; i < r->n_entries; i++) {
    const char *name = r->entries[r->by_name[i]].name;
    if (strcmp(r->entries[r->by_name[i - 1]].name, name) == 0) {
      return lct_fail(err, LCT_E_FORMAT, "%s: two entries are called %s", r->path, name);
    }
  }
  return LCT_OK;
}

static lct_status read_directory(lct_npz_reader *r, const char *path, lct_error *err) {
  r->path = lct_arena_strndup(&r->arena, path, strlen(path));
  if (r->path == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s", path);
  directory d = {0};
  LCT_TRY(find_directory(r, &d, err));
  uint64_t at = d.at;
  for (uint64_t i = 0; i < d.n_entries; i++) LCT_TRY(read_record(r, &d, &at, err));
  if (at != d.at + d.bytes) return bad_file(r, "central directory is damaged", err);
  LCT_TRY(check_overlap(r, err));
  return index_names(r, err);
}

lct_status lct_npz_open_memory(const void *data, size_t n, const char *name, lct_npz_reader **out, lct_error *err) {
  lct_npz_reader *r = NULL;
  LCT_TRY(lct_calloc(&r, 1, sizeof *r, "npz reader", err));
  r->data = data;
  r->n = n;
  lct_status s = read_directory(r, name, err);
  if (s != LCT_OK) {
    lct_npz_close(r);
    return s;
  }
  *out = r;
  return LCT_OK;
}

lct_status lct_npz_open(const char *path, lct_npz_reader **out, lct_error *err) {
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_status s = lct_npz_open_memory(map.data, map.size, path, out, err);
  if (s != LCT_OK) {
    lct_map_close(&map);
    return s;
  }
  (*out)->map = map;
  return LCT_OK;
}

void lct_npz_close(lct_npz_reader *r) {
  if (r == NULL) return;
  lct_map_close(&r->map);
  free(r->entries);
  free(r->places);
  free(r->by_name);
  lct_arena_free(&r->arena);
  free(r);
}

size_t lct_npz_n_entries(const lct_npz_reader *r) { return r->n_entries; }

const lct_npz_entry *lct_npz_entry_at(const lct_npz_reader *r, size_t i) { return &r->entries[i]; }

int64_t lct_npz_find(const lct_npz_reader *r, const char *name) {
  size_t low = 0, high = r->n_entries;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    int order = strcmp(r->entries[r->by_name[mid]].name, name);
    if (order == 0) return (int64_t)r->by_name[mid];
    if (order < 0) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return -1;
}

static void convert_chunk(lct_npy_dtype t, const unsigned char *chunk, size_t n, float *out) {
  switch (t) {
  case LCT_NPY_F16: lct_f16_to_f32_array((const uint16_t *)(const void *)chunk, out, n); break;
  case LCT_NPY_F32: memcpy(out, chunk, n * sizeof *out); break;
  case LCT_NPY_I32:
    for (size_t i = 0; i < n; i++) out[i] = (float)((const int32_t *)(const void *)chunk)[i];
    break;
  case LCT_NPY_I64:
    for (size_t i = 0; i < n; i++) out[i] = (float)((const int64_t *)(const void *)chunk)[i];
    break;
  }
}

/* Header, then data in chunks: all through the checksum. False when the stream ends early. */
static bool read_chunks(stream *s, const lct_npz_entry *e, const place *p, float *out, uint32_t *crc) {
  _Alignas(LCT_ALIGN) unsigned char chunk[CHUNK_BYTES];
  if (!stream_read(s, chunk, p->header_bytes)) return false;
  *crc = libdeflate_crc32(0, chunk, p->header_bytes);
  size_t item = lct_npy_item_bytes(e->dtype);
  for (uint64_t left = p->npy_bytes - p->header_bytes; left > 0;) {
    size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    if (!stream_read(s, chunk, n)) return false;
    *crc = libdeflate_crc32(*crc, chunk, n);
    convert_chunk(e->dtype, chunk, n / item, out);
    out += n / item;
    left -= n;
  }
  return true;
}

lct_status lct_npz_read_f32(const lct_npz_reader *r, size_t i, float *out, lct_error *err) {
  if (i >= r->n_entries) return lct_fail(err, LCT_E_USAGE, "%s has no entry %zu, only %zu of them", r->path, i, r->n_entries);
  const lct_npz_entry *e = &r->entries[i];
  const place *p = &r->places[i];
  stream s;
  if (!stream_open(&s, p)) return lct_fail(err, LCT_E_NOMEM, "out of memory for %s", r->path);
  uint32_t crc = 0;
  bool ok = read_chunks(&s, e, p, out, &crc);
  stream_close(&s);
  if (!ok) return lct_fail(err, LCT_E_FORMAT, "%s: entry %s: damaged compressed data", r->path, e->name);
  if (crc != p->crc) {
    return lct_fail(err, LCT_E_FORMAT, "%s: entry %s: checksum %08x, expected %08x", r->path, e->name, (unsigned)crc, (unsigned)p->crc);
  }
  return LCT_OK;
}
