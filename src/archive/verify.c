/* Everything a sweep's directory holds, read again. */
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/codec.h"
#include "archive/archive_impl.h"

enum { MAX_PART_BYTES = 1 << 30 };

typedef struct {
  lct_archive *a;
  lct_zarr_fault fault;
  void *ctx;
  int64_t n;
  lct_threads *threads;
} checker;

static void LCT_PRINTF(2, 3) tell(checker *c, const char *fmt, ...) {
  char message[2048];
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  c->fault(c->ctx, message);
  c->n++;
}

static bool is_moments(const archive_array *x) { return strncmp(x->name, "moments/", 8) == 0; }

/* The size of every shard the journal names. */
static lct_status check_sizes(checker *c, const archive_array *x, lct_error *err) {
  size_t n = x->journal != NULL ? x->journal->n : 0;
  for (size_t k = 0; k < n; k++) {
    lct_buf path = {0};
    struct stat st;
    lct_status s = lct_zarr_shard_path(&x->meta, c->a->data_dir, x->name, (int64_t)k, &path, err);
    if (s == LCT_OK && stat(path.data, &st) != 0) {
      tell(c, "%s: shard %zu (%s), rows %" PRId64 " on: missing, the journal says it has %" PRId64 " bytes", x->name, k, path.data,
           (int64_t)k * x->meta.shard[0], x->journal->bytes[k]);
    } else if (s == LCT_OK && st.st_size != x->journal->bytes[k]) {
      tell(c, "%s: shard %zu (%s), rows %" PRId64 " on: %lld bytes, the journal says %" PRId64, x->name, k, path.data,
           (int64_t)k * x->meta.shard[0], (long long)st.st_size, x->journal->bytes[k]);
    }
    lct_buf_free(&path);
    LCT_TRY(s);
  }
  int64_t want = lct_zarr_n_shards(&x->meta);
  if (c->a->info.done && (int64_t)n != want) {
    tell(c, "%s: the journal has %zu shards, %" PRId64 " rows make %" PRId64, x->name, n, x->meta.shape[0], want);
  }
  return LCT_OK;
}

static lct_status check_array(checker *c, archive_array *x, lct_error *err) {
  lct_error why = {0};
  LCT_TRY(check_sizes(c, x, err));
  if (!c->a->info.done && is_moments(x)) return LCT_OK;
  lct_status s = archive_open_array(c->a, x, &why);
  if (s == LCT_E_NOMEM) return lct_fail(err, s, "%s", why.message);
  if (s != LCT_OK) {
    tell(c, "%s", why.message);
    return LCT_OK;
  }
  int64_t n = 0, there = x->journal != NULL ? (int64_t)x->journal->n : 0, shards = lct_zarr_n_shards(&x->meta);
  LCT_TRY(lct_zarr_verify(x->z, 0, there < shards ? there : shards, c->threads, c->fault, c->ctx, &n,
                          err)); /* the rest is a fault already */
  c->n += n;
  return LCT_OK;
}

/* Sums of moments of a sweep that is not done: a checksum at the end of each. */
static lct_status check_parts(checker *c, lct_error *err) {
  const lct_journal_array *j = lct_journal_find(&c->a->journal, "moments");
  for (size_t k = 0; !c->a->info.done && j != NULL && k < j->n; k++) {
    lct_buf path = {0}, part = {0};
    lct_error why = {0};
    uint32_t crc = 0;
    lct_status s = lct_buf_printf(&path, err, "%s/parts/moments-%06zu", c->a->dir, k);
    if (s == LCT_OK && lct_file_read(path.data, MAX_PART_BYTES, &part, &why) != LCT_OK) {
      tell(c, "moments: part %zu: %s", k, why.message);
    } else if (s == LCT_OK && (part.len < sizeof crc || (int64_t)part.len != j->bytes[k])) {
      tell(c, "moments: part %zu (%s): %zu bytes, the journal says %" PRId64, k, path.data, part.len, j->bytes[k]);
    } else if (s == LCT_OK) {
      uint32_t is = lct_crc32c(0, part.data, part.len - sizeof crc);
      memcpy(&crc, part.data + part.len - sizeof crc, sizeof crc);
      if (is != crc) tell(c, "moments: part %zu (%s): CRC-32C is %08" PRIx32 ", expected %08" PRIx32, k, path.data, is, crc);
    }
    lct_buf_free(&path);
    lct_buf_free(&part);
    LCT_TRY(s);
  }
  return LCT_OK;
}

/* A sweep that is done has a line for every row, and a row of every array; one that is not has a line for every row at least. */
static void check_rows(checker *c) {
  const lct_archive_info *f = &c->a->info;
  int64_t rows = f->done ? json_integer_value(json_object_get(c->a->root, "rows")) : f->n_messages;
  int64_t tokens = json_integer_value(json_object_get(c->a->root, "tokens_stored"));
  if (rows != f->n_messages) tell(c, "messages.jsonl: %" PRId64 " rows, sweep.json says %" PRId64, f->n_messages, rows);
  for (size_t i = 0; i < c->a->n_arrays; i++) {
    const archive_array *x = &c->a->arrays[i];
    bool of_tokens = strncmp(x->name, "tokens/", 7) == 0;
    int64_t have = x->meta.shape[0], want = of_tokens ? tokens : rows;
    if (is_moments(x)) continue;
    if (f->done ? have != want : !of_tokens && have > want) {
      tell(c, "%s: %" PRId64 " rows, %s %" PRId64, x->name, have, f->done ? "sweep.json says" : "messages.jsonl has", want);
    }
  }
}

/* Stored tokens of every row lie inside the arrays of tokens. */
static lct_status check_lines(checker *c, lct_error *err) {
  const lct_archive_info *f = &c->a->info;
  int64_t n = f->done ? f->n_messages : f->n_rows, tokens = json_integer_value(json_object_get(c->a->root, "tokens_stored"));
  for (int64_t row = 0; row < n; row++) {
    lct_archive_row_info r;
    LCT_TRY(lct_archive_row(c->a, row, &r, err));
    bool ok = r.first_token >= 0 && r.n_stored >= 0 && r.content_from >= 0 && r.content_from <= r.content_to && r.content_to <= r.n_tokens;
    if (ok && f->done) ok = r.first_token <= tokens && r.n_stored <= tokens - r.first_token;
    if (!ok) tell(c, "messages.jsonl: row %" PRId64 " names tokens that there are not", row);
  }
  return LCT_OK;
}

/* Scores made afterwards: arrays of their own, in no journal. */
static int is_scores(const struct dirent *e) {
  size_t n = strlen(e->d_name);
  return e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".zarr") == 0;
}

static lct_status check_one(checker *c, const char *dir, const char *folder, lct_error *err) {
  char name[512];
  lct_error why = {0};
  lct_zarr *z = NULL;
  int64_t n = 0;
  (void)snprintf(name, sizeof name, "%.400s/scores", folder);
  lct_status s = lct_zarr_open(dir, name, NULL, &z, &why);
  if (s == LCT_E_NOMEM) return lct_fail(err, s, "%s", why.message);
  if (s != LCT_OK) {
    tell(c, "%s", why.message);
    return LCT_OK;
  }
  s = lct_zarr_verify(z, 0, lct_zarr_n_shards(lct_zarr_get_meta(z)), c->threads, c->fault, c->ctx, &n, err);
  c->n += n;
  lct_zarr_free(z);
  return s;
}

static lct_status check_scores(checker *c, lct_error *err) {
  lct_buf dir = {0};
  struct dirent **list = NULL;
  LCT_TRY(lct_path_join(&dir, c->a->dir, "scores", err));
  int n = scandir(dir.data, &list, is_scores, alphasort);
  lct_status s = LCT_OK;
  for (int i = 0; i < n; i++) {
    if (s == LCT_OK) s = check_one(c, dir.data, list[i]->d_name, err);
    free(list[i]);
  }
  free(list);
  lct_buf_free(&dir);
  return s;
}

static lct_status check_all(checker *c, lct_error *err) {
  check_rows(c);
  LCT_TRY(check_lines(c, err));
  for (size_t i = 0; i < c->a->n_arrays; i++) LCT_TRY(check_array(c, &c->a->arrays[i], err));
  LCT_TRY(check_parts(c, err));
  return check_scores(c, err);
}

lct_status lct_archive_verify(lct_archive *a, lct_zarr_fault fault, void *ctx, int64_t *n_faults, lct_error *err) {
  checker c = {.a = a, .fault = fault, .ctx = ctx};
  LCT_TRY(lct_threads_new(0, &c.threads, err));
  lct_status s = check_all(&c, err);
  lct_threads_free(c.threads);
  if (s == LCT_OK) *n_faults = c.n;
  return s;
}
