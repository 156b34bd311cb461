/* Re-reading everything: chunks of a shard in parallel, faults told in order. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/zarr_read_impl.h"

enum {
  BLOCK_CHUNKS = 1024, /* whose faults are held before they are told */
  MAX_WORKERS = 256,
};
static const size_t WORKER_BYTES = (size_t)1 << 30; /* of all workers' buffers */

typedef struct {
  const lct_zarr *z;
  lct_threads *threads;
  lct_zarr_worker workers[MAX_WORKERS];
  int n_workers;
  char *faults[BLOCK_CHUNKS]; /* NULL: none */
  bool no_memory;
} job;

/* Chunks [first, first + n) of a shard. */
typedef struct {
  job *j;
  const lct_zarr_shard *s;
  int64_t first, n, taken; /* taken: atomic */
} block;

static void check_chunk(job *j, const lct_zarr_shard *s, int64_t chunk, lct_zarr_worker *w, char **fault) {
  lct_error err = {0};
  if (lct_zarr_is_missing(s, chunk)) return;
  lct_status status = lct_zarr_worker_raw(j->z, w, &err);
  if (status == LCT_OK) status = lct_zarr_decode(j->z, s, chunk, w, w->raw, &err);
  if (status == LCT_OK) return;
  if (status != LCT_E_NOMEM) *fault = strdup(err.message);
  if (*fault == NULL) __atomic_store_n(&j->no_memory, true, __ATOMIC_RELAXED);
}

/* A worker takes chunks until there are no more. */
static lct_status work(void *ctx, int64_t from, int64_t to, int thread, lct_error *err) {
  (void)to, (void)thread, (void)err;
  block *b = ctx;
  for (int64_t i; (i = __atomic_fetch_add(&b->taken, 1, __ATOMIC_RELAXED)) < b->n;) {
    check_chunk(b->j, b->s, b->first + i, &b->j->workers[from], &b->j->faults[i]);
  }
  return LCT_OK;
}

static lct_status check_block(job *j, const lct_zarr_shard *s, int64_t from, int64_t n, lct_zarr_fault fault, void *ctx, int64_t *n_faults,
                              lct_error *err) {
  block b = {.j = j, .s = s, .first = from, .n = n};
  LCT_TRY(lct_threads_for(j->threads, j->n_workers, 1, work, &b, err));
  for (int64_t i = 0; i < n; i++) {
    if (j->faults[i] == NULL) continue;
    fault(ctx, j->faults[i]);
    (*n_faults)++;
    free(j->faults[i]);
    j->faults[i] = NULL;
  }
  return j->no_memory ? lct_fail(err, LCT_E_NOMEM, "out of memory for the chunks of %s", j->z->name) : LCT_OK;
}

static lct_status check_shard(job *j, int64_t number, lct_zarr_fault fault, void *ctx, int64_t *n_faults, lct_error *err) {
  lct_zarr_shard s;
  lct_error why = {0};
  lct_status status = lct_zarr_shard_open(j->z, number, &s, &why);
  if (status == LCT_E_NOMEM) return lct_fail(err, status, "%s", why.message);
  if (status != LCT_OK) {
    fault(ctx, why.message);
    (*n_faults)++;
    return LCT_OK;
  }
  int64_t n_chunks = s.index != NULL ? lct_zarr_shard_chunks(&j->z->meta) : 0;
  for (int64_t at = 0; at < n_chunks && status == LCT_OK; at += BLOCK_CHUNKS) {
    int64_t n = n_chunks - at < BLOCK_CHUNKS ? n_chunks - at : BLOCK_CHUNKS;
    status = check_block(j, &s, at, n, fault, ctx, n_faults, err);
  }
  lct_zarr_shard_close(&s);
  return status;
}

lct_status lct_zarr_verify(lct_zarr *z, int64_t from, int64_t to, lct_threads *threads, lct_zarr_fault fault, void *ctx, int64_t *n_faults,
                           lct_error *err) {
  *n_faults = 0;
  if (from < 0 || from > to || to > lct_zarr_n_shards(&z->meta)) {
    return lct_fail(err, LCT_E_USAGE, "%s has %" PRId64 " shards, not %" PRId64 " to %" PRId64, z->name, lct_zarr_n_shards(&z->meta), from,
                    to);
  }
  job *j = NULL;
  LCT_TRY(lct_calloc(&j, 1, sizeof *j, "a check of an array", err));
  j->z = z;
  j->threads = threads;
  size_t most = WORKER_BYTES / (3 * lct_zarr_chunk_bytes(&z->meta)) + 1, n_threads = (size_t)lct_threads_count(threads);
  most = most < MAX_WORKERS ? most : MAX_WORKERS;
  j->n_workers = (int)(n_threads < most ? n_threads : most);
  lct_status status = LCT_OK;
  for (int i = 0; i < j->n_workers && status == LCT_OK; i++) status = lct_zarr_worker_open(&j->workers[i], err);
  for (int64_t s = from; s < to && status == LCT_OK; s++) status = check_shard(j, s, fault, ctx, n_faults, err);
  for (int i = 0; i < MAX_WORKERS; i++) lct_zarr_worker_close(&j->workers[i]);
  free(j);
  return status;
}
