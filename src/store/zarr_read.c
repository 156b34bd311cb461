/* Selections: the rows wanted are taken one row of chunks at a time, each chunk decoded once; a chunk that is wanted whole and lies in one
 * piece in the result is decoded right there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/zarr_read_impl.h"

enum { MAX_JSON_BYTES = 1 << 26 };

/* A row and its place in the result. */
typedef struct {
  int64_t row;
  size_t at;
} row_ref;

typedef struct {
  const row_ref *refs; /* (n_rows) in order of row; NULL: rows first, first + 1, … at 0, 1, … */
  int64_t first;
  size_t n_rows;
  const int64_t *start, *count;      /* of axes after the first */
  size_t strides[LCT_ZARR_MAX_DIMS]; /* of the result, bytes */
  unsigned char *dst;
} selection;

/* A box of a chunk and where it goes: lengths and byte strides an axis. */
typedef struct {
  int n_dims;
  size_t count[LCT_ZARR_MAX_DIMS], from[LCT_ZARR_MAX_DIMS], to[LCT_ZARR_MAX_DIMS];
} box;

static lct_status limits(const lct_zarr_meta *m, const char *name, lct_error *err) {
  if (lct_zarr_chunk_bytes(m) > LCT_ZARR_MAX_READ_CHUNK || lct_zarr_shard_chunks(m) > LCT_ZARR_MAX_INDEX_CHUNKS) {
    return lct_fail(err, LCT_E_LIMIT, "%s: chunks of %zu bytes, %" PRId64 " a shard: at most %d bytes and %d chunks can be read", name,
                    lct_zarr_chunk_bytes(m), lct_zarr_shard_chunks(m), (int)LCT_ZARR_MAX_READ_CHUNK, (int)LCT_ZARR_MAX_INDEX_CHUNKS);
  }
  return LCT_OK;
}

static lct_status read_json(lct_zarr *z, lct_error *err) {
  lct_buf path = {0}, text = {0};
  lct_status s = lct_path_join(&path, z->dir, z->name, err);
  if (s == LCT_OK) s = lct_buf_puts(&path, "/zarr.json", err);
  if (s == LCT_OK) s = lct_file_read(path.data, MAX_JSON_BYTES, &text, err);
  lct_buf_free(&path);
  if (s == LCT_OK) s = lct_zarr_meta_parse(text.data, text.len, z->name, &z->meta, &z->attributes, err);
  lct_buf_free(&text);
  return s;
}

static lct_status set_up(lct_zarr *z, const char *dir, const char *name, const lct_zarr_meta *meta, lct_error *err) {
  for (size_t i = 0; i < LCT_ZARR_CACHED_SHARDS; i++) z->shards[i] = (lct_zarr_shard){.number = -1, .fd = -1};
  z->held_shard = z->held_chunk = -1;
  z->dir = strdup(dir);
  z->name = strdup(name);
  if (z->dir == NULL || z->name == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the array %s", name);
  if (meta != NULL) {
    z->meta = *meta;
    LCT_TRY(lct_zarr_check(meta, name, err));
    LCT_TRY(lct_buf_puts(&z->attributes, "{}", err));
  } else {
    LCT_TRY(read_json(z, err));
  }
  LCT_TRY(limits(&z->meta, name, err));
  return lct_zarr_worker_open(&z->worker, err);
}

lct_status lct_zarr_open(const char *dir, const char *name, const lct_zarr_meta *meta, lct_zarr **out, lct_error *err) {
  lct_zarr *z = NULL;
  LCT_TRY(lct_calloc(&z, 1, sizeof *z, "an array", err));
  lct_status s = set_up(z, dir, name, meta, err);
  if (s != LCT_OK) {
    lct_zarr_free(z);
    return s;
  }
  *out = z;
  return LCT_OK;
}

lct_status lct_zarr_open_memory(const lct_zarr_meta *meta, const char *name, const void *shard, size_t n, lct_zarr **out, lct_error *err) {
  LCT_TRY(lct_zarr_open("memory", name, meta, out, err));
  (*out)->in_memory = true;
  (*out)->memory = shard;
  (*out)->n_memory = n;
  return LCT_OK;
}

void lct_zarr_free(lct_zarr *z) {
  if (z == NULL) return;
  for (size_t i = 0; i < LCT_ZARR_CACHED_SHARDS; i++) lct_zarr_shard_close(&z->shards[i]);
  lct_zarr_worker_close(&z->worker);
  lct_buf_free(&z->attributes);
  free(z->dir);
  free(z->name);
  free(z);
}

const lct_zarr_meta *lct_zarr_get_meta(const lct_zarr *z) { return &z->meta; }
const char *lct_zarr_attributes(const lct_zarr *z) { return z->attributes.data; }

/* From the cache, or opened in place of the one that was used the longest time ago. */
static lct_status get_shard(lct_zarr *z, int64_t number, const lct_zarr_shard **out, lct_error *err) {
  lct_zarr_shard *oldest = &z->shards[0];
  z->clock++;
  for (size_t i = 0; i < LCT_ZARR_CACHED_SHARDS; i++) {
    lct_zarr_shard *s = &z->shards[i];
    if (s->number == number) {
      s->used = z->clock;
      *out = s;
      return LCT_OK;
    }
    if (s->used < oldest->used) oldest = s;
  }
  lct_zarr_shard_close(oldest);
  LCT_TRY(lct_zarr_shard_open(z, number, oldest, err));
  oldest->used = z->clock;
  *out = oldest;
  return LCT_OK;
}

static void copy_box(const box *b, int axis, const unsigned char *from, unsigned char *to, size_t run) {
  if (axis == b->n_dims) {
    memcpy(to, from, run);
    return;
  }
  for (size_t i = 0; i < b->count[axis]; i++) copy_box(b, axis + 1, from + i * b->from[axis], to + i * b->to[axis], run);
}

/* Joins the last axes into one run of bytes as long as they lie without gaps on both sides. */
static void copy_joined(box b, size_t item, const unsigned char *from, unsigned char *to) {
  size_t run = item;
  while (b.n_dims > 0 && b.from[b.n_dims - 1] == run && b.to[b.n_dims - 1] == run) run *= b.count[--b.n_dims];
  copy_box(&b, 0, from, to, run);
}

static int64_t row_at(const selection *s, size_t i) { return s->refs != NULL ? s->refs[i].row : s->first + (int64_t)i; }
static size_t place_at(const selection *s, size_t i) { return s->refs != NULL ? s->refs[i].at : i; }

/* Consecutive rows with consecutive places, from i on and before `to`. */
static size_t run_length(const selection *s, size_t i, size_t to) {
  size_t n = 1;
  if (s->refs == NULL) return to - i;
  while (i + n < to && s->refs[i + n].row == s->refs[i].row + (int64_t)n && s->refs[i + n].at == s->refs[i].at + n) n++;
  return n;
}

/* One chunk of the row of chunks at hand. */
typedef struct {
  const lct_zarr_shard *shard;
  int64_t chunk;                    /* in the shard, C order */
  int64_t first_row;                /* its first */
  int64_t begin[LCT_ZARR_MAX_DIMS]; /* of axes after the first: what is wanted of it, in the chunk */
  size_t count[LCT_ZARR_MAX_DIMS];  /* how many */
  size_t offset;                    /* of its part in a row of the result, bytes */
} piece;

/* Whether n rows of the result, one after the other, take the whole chunk as it is. They are of one chunk: as many as it has are all of them. */
static bool in_place(const lct_zarr_meta *m, const selection *s, const piece *p, size_t n) {
  bool broken = n > 1; /* an axis of more than one value stands before */
  if (n != (size_t)m->chunk[0]) return false;
  for (int d = 1; d < m->n_dims; d++) {
    if (p->count[d] != (size_t)m->chunk[d] || (broken && p->count[d] != (size_t)s->count[d])) return false;
    broken = broken || p->count[d] > 1;
  }
  return true;
}

/* The chunk decoded in the worker's buffer, unless it is there already. */
static lct_status hold(lct_zarr *z, const piece *p, lct_error *err) {
  if (z->held_shard == p->shard->number && z->held_chunk == p->chunk) return LCT_OK;
  z->held_shard = -1;
  LCT_TRY(lct_zarr_worker_raw(z, &z->worker, err));
  LCT_TRY(lct_zarr_decode(z, p->shard, p->chunk, &z->worker, z->worker.raw, err));
  z->held_shard = p->shard->number;
  z->held_chunk = p->chunk;
  return LCT_OK;
}

static lct_status copy_piece(lct_zarr *z, const selection *s, const piece *p, size_t from, size_t to, lct_error *err) {
  const lct_zarr_meta *m = &z->meta;
  size_t item = lct_zarr_dtype_bytes(m->dtype), stride = item, corner = 0;
  box b = {.n_dims = m->n_dims};
  for (int d = m->n_dims - 1; d >= 0; d--) {
    b.count[d] = p->count[d];
    b.from[d] = stride;
    b.to[d] = s->strides[d];
    if (d > 0) corner += stride * (size_t)p->begin[d];
    stride *= (size_t)m->chunk[d];
  }
  for (size_t i = from, n; i < to; i += n) {
    n = run_length(s, i, to);
    unsigned char *dst = s->dst + place_at(s, i) * s->strides[0] + p->offset;
    if (in_place(m, s, p, n)) {
      LCT_TRY(lct_zarr_decode(z, p->shard, p->chunk, &z->worker, dst, err));
      continue;
    }
    LCT_TRY(hold(z, p, err));
    b.count[0] = n;
    copy_joined(b, item, z->worker.raw + corner + (size_t)(row_at(s, i) - p->first_row) * b.from[0], dst);
  }
  return LCT_OK;
}

/* What is wanted of the chunk at grid position `at` along axis d. */
static void cut(const lct_zarr_meta *m, const selection *s, int d, int64_t at, piece *p) {
  int64_t low = at * m->chunk[d], high = low + m->chunk[d], begin = s->start[d], end = s->start[d] + s->count[d];
  int64_t from = low > begin ? low : begin, to = high < end ? high : end;
  p->begin[d] = from - low;
  p->count[d] = (size_t)(to - from);
  p->offset += (size_t)(from - begin) * s->strides[d];
}

/* The rows [from, to) of the selection, all of one row of chunks. */
static lct_status read_group(lct_zarr *z, const selection *s, size_t from, size_t to, lct_error *err) {
  const lct_zarr_meta *m = &z->meta;
  int64_t chunk_row = row_at(s, from) / m->chunk[0], per_shard = m->shard[0] / m->chunk[0], at[LCT_ZARR_MAX_DIMS];
  const lct_zarr_shard *shard;
  LCT_TRY(get_shard(z, chunk_row / per_shard, &shard, err));
  for (int d = 1; d < m->n_dims; d++) at[d] = s->start[d] / m->chunk[d];
  for (int d = m->n_dims; d > 0;) {
    piece p = {.shard = shard, .chunk = chunk_row % per_shard, .first_row = chunk_row * m->chunk[0]};
    for (int k = 1; k < m->n_dims; k++) {
      p.chunk = p.chunk * (m->shard[k] / m->chunk[k]) + at[k];
      cut(m, s, k, at[k], &p);
    }
    LCT_TRY(copy_piece(z, s, &p, from, to, err));
    for (d = m->n_dims - 1; d > 0; d--) {
      if ((++at[d]) * m->chunk[d] < s->start[d] + s->count[d]) break;
      at[d] = s->start[d] / m->chunk[d];
    }
  }
  return LCT_OK;
}

static lct_status read_selection(lct_zarr *z, selection *s, lct_error *err) {
  const lct_zarr_meta *m = &z->meta;
  size_t stride = lct_zarr_dtype_bytes(m->dtype);
  bool empty = s->n_rows == 0;
  for (int d = m->n_dims - 1; d >= 0; d--) {
    s->strides[d] = stride;
    if (d > 0) stride *= (size_t)s->count[d];
    empty = empty || (d > 0 && s->count[d] == 0);
  }
  for (size_t i = 0, n; i < s->n_rows && !empty; i += n) {
    int64_t chunk_row = row_at(s, i) / m->chunk[0];
    size_t room = (size_t)((chunk_row + 1) * m->chunk[0] - row_at(s, i));
    n = s->refs != NULL ? 1 : s->n_rows - i < room ? s->n_rows - i : room;
    while (s->refs != NULL && i + n < s->n_rows && s->refs[i + n].row / m->chunk[0] == chunk_row) n++;
    LCT_TRY(read_group(z, s, i, i + n, err));
  }
  return LCT_OK;
}

static lct_status check_axis(const lct_zarr *z, int d, int64_t start, int64_t count, lct_error *err) {
  int64_t size = z->meta.shape[d];
  if (start >= 0 && count >= 0 && start <= size && count <= size - start) return LCT_OK;
  return lct_fail(err, LCT_E_USAGE, "%s: axis %d has %" PRId64 " values, not %" PRId64 " from %" PRId64 " on", z->name, d, size, count,
                  start);
}

lct_status lct_zarr_read(lct_zarr *z, const int64_t *start, const int64_t *count, void *dst, lct_error *err) {
  for (int d = 0; d < z->meta.n_dims; d++) LCT_TRY(check_axis(z, d, start[d], count[d], err));
  selection s = {.first = start[0], .n_rows = (size_t)count[0], .start = start, .count = count, .dst = dst};
  return read_selection(z, &s, err);
}

static int by_row(const void *a, const void *b) {
  const row_ref *x = a, *y = b;
  if (x->row != y->row) return x->row < y->row ? -1 : 1;
  return x->at < y->at ? -1 : x->at > y->at;
}

lct_status lct_zarr_read_rows(lct_zarr *z, const int64_t *rows, size_t n_rows, const int64_t *start, const int64_t *count, void *dst,
                              lct_error *err) {
  for (int d = 1; d < z->meta.n_dims; d++) LCT_TRY(check_axis(z, d, start[d], count[d], err));
  for (size_t i = 0; i < n_rows; i++) LCT_TRY(check_axis(z, 0, rows[i], 1, err));
  row_ref *refs = NULL;
  LCT_TRY(lct_calloc(&refs, n_rows, sizeof *refs, "a list of rows", err));
  bool ascending = true;
  for (size_t i = 0; i < n_rows; i++) {
    refs[i] = (row_ref){rows[i], i};
    ascending = ascending && (i == 0 || rows[i - 1] <= rows[i]);
  }
  if (!ascending) qsort(refs, n_rows, sizeof *refs, by_row);
  selection s = {.refs = refs, .n_rows = n_rows, .start = start, .count = count, .dst = dst};
  lct_status status = read_selection(z, &s, err);
  free(refs);
  return status;
}
