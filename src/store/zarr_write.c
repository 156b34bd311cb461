/* Slots and threads of the writer. The caller owns a slot until it is committed; then compressors take its chunks one by one, then the
 * writing thread, which takes every array's slots in their order. All waiting ends when anything fails. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/zarr_write_impl.h"

enum {
  MIN_SLOTS = 2,
  BATCH_BYTES = 1 << 18, /* small chunks are taken several at a time */
  DEFAULT_THREADS = 1,
};

/* Keeps the first failure. Called with the lock held; wakes everyone. */
static void fail_locked(lct_zarr_writer *w, const lct_error *failure) {
  if (!w->failed) {
    w->failed = true;
    w->failure = *failure;
  }
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_cond_broadcast(&w->packed);
  (void)pthread_cond_broadcast(&w->freed);
}

static lct_status failure_locked(const lct_zarr_writer *w, lct_error *err) {
  return w->failed ? lct_fail(err, w->failure.code, "%s", w->failure.message) : LCT_OK;
}

/* The caller's own failures become the writer's, too. */
static lct_status keep_failure(lct_zarr_writer *w, const lct_error *failure, lct_error *err) {
  (void)pthread_mutex_lock(&w->lock);
  fail_locked(w, failure);
  lct_status s = failure_locked(w, err);
  (void)pthread_mutex_unlock(&w->lock);
  return s;
}

static lct_status current_failure(lct_zarr_writer *w, lct_error *err) {
  (void)pthread_mutex_lock(&w->lock);
  lct_status s = failure_locked(w, err);
  (void)pthread_mutex_unlock(&w->lock);
  return s;
}

/* Compressors. */

/* The next chunks [*begin, *end) of the oldest slot; NULL when there will be no more. */
static zarr_slot *take_chunks(lct_zarr_writer *w, size_t *begin, size_t *end) {
  while (w->work_first == NULL && !w->closing && !w->failed) (void)pthread_cond_wait(&w->work, &w->lock);
  zarr_slot *slot = w->work_first;
  if (slot == NULL || w->failed) return NULL;
  const zarr_cut *cut = &slot->out->cut;
  size_t n = cut->chunk_bytes < BATCH_BYTES ? BATCH_BYTES / cut->chunk_bytes : 1;
  *begin = slot->n_taken;
  *end = cut->slot_chunks - *begin < n ? cut->slot_chunks : *begin + n;
  slot->n_taken = *end;
  if (*end == cut->slot_chunks) {
    w->work_first = slot->next_work;
    if (w->work_first == NULL) w->work_last = NULL;
  }
  return slot;
}

static void give_back(lct_zarr_writer *w, zarr_slot *slot, size_t begin, size_t end, double seconds) {
  w->stats.seconds_compress += seconds;
  for (size_t i = begin; i < end; i++) w->stats.stored_bytes += (int64_t)slot->packed_bytes[i];
  slot->n_done += end - begin;
  if (slot->n_done < slot->out->cut.slot_chunks) return;
  w->stats.raw_bytes += slot->n_rows * (int64_t)slot->out->cut.row_bytes;
  (void)pthread_cond_signal(&w->packed);
}

static void *compressor(void *arg) {
  lct_zarr_writer *w = arg;
  zarr_packer p = {0};
  lct_error failure = {0};
  lct_status s = lct_codec_new(&p.codec, &failure);
  (void)pthread_mutex_lock(&w->lock);
  if (s != LCT_OK) fail_locked(w, &failure);
  size_t begin = 0, end = 0;
  zarr_slot *slot;
  while ((slot = take_chunks(w, &begin, &end)) != NULL) {
    (void)pthread_mutex_unlock(&w->lock);
    double t = lct_seconds();
    for (size_t i = begin; i < end && s == LCT_OK; i++) s = lct_zarr_pack(&p, slot, i, &failure);
    t = lct_seconds() - t;
    (void)pthread_mutex_lock(&w->lock);
    if (s != LCT_OK) {
      fail_locked(w, &failure);
    } else {
      give_back(w, slot, begin, end, t);
    }
  }
  (void)pthread_mutex_unlock(&w->lock);
  lct_codec_free(p.codec);
  free(p.gather);
  return NULL;
}

/* The writing thread. */

static zarr_slot *take_packed(lct_zarr_writer *w) {
  for (size_t i = 0; i < w->n_outs; i++) {
    size_t at = (w->turn + i) % w->n_outs;
    zarr_slot *slot = w->outs[at]->first;
    if (slot != NULL && slot->n_done == slot->out->cut.slot_chunks) {
      w->turn = at + 1;
      return slot;
    }
  }
  return NULL;
}

static void free_slot(lct_zarr_writer *w, lct_zarr_out *a, zarr_slot *slot) {
  a->first = slot->next;
  if (a->first == NULL) a->last = NULL;
  slot->next = a->free;
  a->free = slot;
  w->stats.slots_taken--;
  w->n_pending--;
  (void)pthread_cond_signal(&w->freed);
}

static void *writing(void *arg) {
  lct_zarr_writer *w = arg;
  lct_error failure = {0};
  (void)pthread_mutex_lock(&w->lock);
  while (!w->failed && !(w->closing && w->n_pending == 0)) {
    zarr_slot *slot = take_packed(w);
    if (slot == NULL) {
      (void)pthread_cond_wait(&w->packed, &w->lock);
      continue;
    }
    (void)pthread_mutex_unlock(&w->lock);
    double t = lct_seconds();
    lct_status s = lct_zarr_shard_put(slot->out, slot, &failure);
    t = lct_seconds() - t;
    (void)pthread_mutex_lock(&w->lock);
    w->stats.seconds_write += t;
    if (s != LCT_OK) {
      fail_locked(w, &failure);
    } else {
      free_slot(w, slot->out, slot);
    }
  }
  (void)pthread_mutex_unlock(&w->lock);
  return NULL;
}

/* Beginning and ending. */

lct_status lct_zarr_writer_new(const char *dir, const lct_zarr_write_options *o, lct_zarr_writer **out, lct_error *err) {
  LCT_TRY(lct_mkdirs(dir, err));
  lct_zarr_writer *w = NULL;
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "store writer", err));
  w->o = *o;
  if (w->o.n_threads < 1) w->o.n_threads = DEFAULT_THREADS;
  if (w->o.min_free_bytes < 0) w->o.min_free_bytes = 0;
  (void)pthread_mutex_init(&w->lock, NULL); /* with default attributes none of these can fail on Linux */
  (void)pthread_cond_init(&w->work, NULL);
  (void)pthread_cond_init(&w->packed, NULL);
  (void)pthread_cond_init(&w->freed, NULL);
  lct_status s = LCT_OK;
  size_t n = strlen(dir);
  while (n > 1 && dir[n - 1] == '/') n--;
  w->dir = strndup(dir, n);
  if (w->dir == NULL) {
    s = lct_fail(err, LCT_E_NOMEM, "out of memory for %s", dir);
  } else if (o->fsync != LCT_FSYNC_OFF) {
    s = lct_zarr_sync_parent(w->dir, err);
  }
  if (s != LCT_OK) {
    lct_zarr_writer_free(w);
    return s;
  }
  *out = w;
  return LCT_OK;
}

/* "a/b": no empty parts, none that mean another folder or that Zarr keeps for itself. */
static bool name_ok(const char *name) {
  for (const char *part = name;;) {
    size_t n = strcspn(part, "/");
    if (n == 0 || (part[0] == '.' && strspn(part, ".") == n) || strncmp(part, "__", 2) == 0) return false;
    if (strncmp(part, "zarr.json", n) == 0 && n == strlen("zarr.json")) return false;
    for (size_t i = 0; i < n; i++) {
      if ((unsigned char)part[i] < ' ' || part[i] == 0x7f) return false;
    }
    if (part[n] == '\0') return true;
    part += n + 1;
  }
}

/* Whether one is the other or lies in it. */
static bool overlap(const char *a, const char *b) {
  size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;
  return strncmp(a, b, least) == 0 && (n == m || (n < m ? b : a)[least] == '/');
}

static lct_status check_array(const lct_zarr_writer *w, const char *name, const lct_zarr_meta *meta, int64_t first_row, lct_error *err) {
  if (w->started) return lct_fail(err, LCT_E_USAGE, "%s: array %s is added after the first rows", w->dir, name);
  if (!name_ok(name)) return lct_fail(err, LCT_E_USAGE, "%s: not a name for an array: '%s'", w->dir, name);
  for (size_t i = 0; i < w->n_outs; i++) {
    if (overlap(name, w->outs[i]->name)) return lct_fail(err, LCT_E_USAGE, "%s: arrays %s and %s", w->dir, w->outs[i]->name, name);
  }
  LCT_TRY(lct_zarr_check(meta, name, err));
  if (first_row < 0 || first_row % meta->shard[0] != 0) {
    return lct_fail(err, LCT_E_USAGE, "%s: rows go on at %" PRId64 ", no multiple of a shard's %" PRId64, name, first_row, meta->shard[0]);
  }
  return LCT_OK;
}

static void out_free(lct_zarr_out *a) {
  if (a == NULL) return;
  zarr_slot *lists[] = {a->first, a->free, a->filling};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    for (zarr_slot *slot = lists[i], *next; slot != NULL; slot = next) {
      next = slot->next;
      free(slot->raw);
      free(slot->packed);
      free(slot->packed_bytes);
      free(slot);
    }
  }
  lct_zarr_shard_drop(&a->shard);
  free(a->name);
  free(a->attributes);
  free(a);
}

lct_status lct_zarr_writer_add(lct_zarr_writer *w, const char *name, const lct_zarr_meta *meta, const char *attributes, int64_t first_row,
                               lct_zarr_out **out, lct_error *err) {
  lct_zarr_meta m = *meta;
  m.shape[0] = first_row;
  LCT_TRY(check_array(w, name, &m, first_row, err));
  lct_zarr_out *a = NULL;
  LCT_TRY(lct_calloc(&a, 1, sizeof *a, "array", err));
  a->shard.fd = -1;
  a->w = w;
  a->meta = m;
  a->name = strdup(name);
  a->attributes = strdup(attributes != NULL ? attributes : "{}");
  lct_zarr_cut_make(&m, &a->cut);
  lct_buf text = {0};
  lct_status s = a->name != NULL && a->attributes != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for array %s", name);
  if (s == LCT_OK) s = lct_zarr_meta_print(&m, a->attributes, &text, err);
  lct_buf_free(&text);
  if (s == LCT_OK) s = lct_grow(&w->outs, &w->cap_outs, w->n_outs + 1, sizeof *w->outs, "arrays", err);
  if (s != LCT_OK) {
    out_free(a);
    return s;
  }
  w->outs[w->n_outs++] = a;
  *out = a;
  return LCT_OK;
}

static size_t slot_bytes(const lct_zarr_out *a) {
  return (size_t)a->meta.chunk[0] * a->cut.row_bytes + a->cut.slot_chunks * (a->cut.packed_stride + sizeof(size_t));
}

static lct_status start(lct_zarr_writer *w, lct_error *err) {
  size_t all = 0;
  for (size_t i = 0; i < w->n_outs; i++) {
    if (!lct_add_ok(all, slot_bytes(w->outs[i]), &all)) return lct_fail(err, LCT_E_LIMIT, "%s: a slot of every array is no size", w->dir);
  }
  size_t each = all > 0 ? w->o.budget_bytes / all : 0;
  w->slots_each = each < MIN_SLOTS ? MIN_SLOTS : each > INT32_MAX ? INT32_MAX : (int)each;
  w->started = true;
  LCT_TRY(lct_calloc(&w->threads, (size_t)w->o.n_threads + 1, sizeof *w->threads, "threads", err));
  for (int i = 0; i <= w->o.n_threads; i++) {
    int rc = pthread_create(&w->threads[i], NULL, i == 0 ? writing : compressor, w);
    if (rc != 0) return lct_fail_errno(err, rc, "cannot start a thread of the store's writer");
    w->n_running++;
  }
  return LCT_OK;
}

/* Rows, on the caller's thread. */

static lct_status slot_new(lct_zarr_out *a, zarr_slot **out, lct_error *err) {
  zarr_slot *slot = NULL;
  LCT_TRY(lct_calloc(&slot, 1, sizeof *slot, "slot", err));
  lct_status s = lct_alloc_aligned(&slot->raw, (size_t)a->meta.chunk[0], a->cut.row_bytes, "a slot's rows", err);
  if (s == LCT_OK) s = lct_alloc_aligned(&slot->packed, a->cut.slot_chunks, a->cut.packed_stride, "a slot's chunks", err);
  if (s == LCT_OK) s = lct_calloc(&slot->packed_bytes, a->cut.slot_chunks, sizeof *slot->packed_bytes, "a slot's sizes", err);
  if (s != LCT_OK) {
    free(slot->raw);
    free(slot->packed);
    free(slot);
    return s;
  }
  slot->out = a;
  *out = slot;
  return LCT_OK;
}

/* A free slot into a->filling: one used before, or a new one while the budget lasts, or the next that becomes free. */
static lct_status take_slot(lct_zarr_out *a, lct_error *err) {
  lct_zarr_writer *w = a->w;
  zarr_slot *slot = NULL;
  (void)pthread_mutex_lock(&w->lock);
  if (a->free == NULL && a->n_allocated == w->slots_each && !w->failed) {
    double t = lct_seconds();
    while (a->free == NULL && !w->failed) (void)pthread_cond_wait(&w->freed, &w->lock);
    w->stats.seconds_wait += lct_seconds() - t;
  }
  lct_status s = failure_locked(w, err);
  if (s == LCT_OK) {
    slot = a->free;
    if (slot != NULL) a->free = slot->next;
    w->stats.slots_taken++;
  }
  (void)pthread_mutex_unlock(&w->lock);
  LCT_TRY(s);
  if (slot == NULL) {
    LCT_TRY(slot_new(a, &slot, err));
    a->n_allocated++;
  }
  slot->next = slot->next_work = NULL;
  slot->n_taken = slot->n_done = 0;
  slot->n_rows = 0;
  slot->first_row = a->meta.shape[0];
  a->filling = slot;
  return LCT_OK;
}

lct_status lct_zarr_reserve(lct_zarr_out *a, int64_t want, void **rows, int64_t *n, lct_error *err) {
  lct_zarr_writer *w = a->w;
  lct_error failure = {0};
  lct_status s = LCT_OK;
  if (want < 1) s = lct_fail(&failure, LCT_E_USAGE, "%s: room for %" PRId64 " rows", a->name, want);
  if (s == LCT_OK && !w->started) s = start(w, &failure);
  if (s == LCT_OK && a->filling == NULL) s = take_slot(a, &failure);
  if (s != LCT_OK) return keep_failure(w, &failure, err);
  LCT_TRY(current_failure(w, err));
  int64_t left = a->meta.chunk[0] - a->filling->n_rows;
  *n = want < left ? want : left;
  *rows = a->filling->raw + (size_t)a->filling->n_rows * a->cut.row_bytes;
  return LCT_OK;
}

/* Gives the slot to the compressors; rows that were not filled are zero bytes. */
static void submit(lct_zarr_out *a) {
  lct_zarr_writer *w = a->w;
  zarr_slot *slot = a->filling;
  size_t filled = (size_t)slot->n_rows * a->cut.row_bytes, whole = (size_t)a->meta.chunk[0] * a->cut.row_bytes;
  memset(slot->raw + filled, 0, whole - filled);
  a->filling = NULL;
  (void)pthread_mutex_lock(&w->lock);
  *(a->last != NULL ? &a->last->next : &a->first) = slot;
  a->last = slot;
  *(w->work_last != NULL ? &w->work_last->next_work : &w->work_first) = slot;
  w->work_last = slot;
  w->n_pending++;
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_mutex_unlock(&w->lock);
}

lct_status lct_zarr_commit(lct_zarr_out *a, int64_t n, lct_error *err) {
  lct_error failure = {0};
  int64_t left = a->filling != NULL ? a->meta.chunk[0] - a->filling->n_rows : 0;
  if (n < 0 || n > left) {
    (void)lct_fail(&failure, LCT_E_USAGE, "%s: %" PRId64 " rows committed, %" PRId64 " reserved", a->name, n, left);
    return keep_failure(a->w, &failure, err);
  }
  LCT_TRY(current_failure(a->w, err));
  if (n == 0) return LCT_OK;
  a->filling->n_rows += n;
  a->meta.shape[0] += n;
  if (n == left) submit(a);
  return LCT_OK;
}

/* Lets the threads finish what they were given and joins them. */
static void join_threads(lct_zarr_writer *w) {
  (void)pthread_mutex_lock(&w->lock);
  w->closing = true;
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_cond_broadcast(&w->packed);
  (void)pthread_mutex_unlock(&w->lock);
  for (int i = 0; i < w->n_running; i++) (void)pthread_join(w->threads[i], NULL);
  w->n_running = 0;
}

lct_status lct_zarr_writer_finish(lct_zarr_writer *w, lct_error *err) {
  lct_error failure = {0};
  LCT_TRY(current_failure(w, err));
  if (w->finished) return lct_fail(err, LCT_E_USAGE, "%s: finished twice", w->dir);
  for (size_t i = 0; i < w->n_outs; i++) {
    lct_zarr_out *a = w->outs[i];
    if (a->filling != NULL && a->filling->n_rows > 0) submit(a);
  }
  join_threads(w);
  w->finished = true;
  LCT_TRY(current_failure(w, err));
  lct_status s = LCT_OK;
  for (size_t i = 0; i < w->n_outs && s == LCT_OK; i++) s = lct_zarr_shard_end(w->outs[i], &failure);
  if (s == LCT_OK) s = lct_zarr_write_texts(w, &failure);
  return s == LCT_OK ? LCT_OK : keep_failure(w, &failure, err);
}

void lct_zarr_writer_free(lct_zarr_writer *w) {
  if (w == NULL) return;
  join_threads(w);
  for (size_t i = 0; i < w->n_outs; i++) out_free(w->outs[i]);
  (void)pthread_mutex_destroy(&w->lock);
  (void)pthread_cond_destroy(&w->work);
  (void)pthread_cond_destroy(&w->packed);
  (void)pthread_cond_destroy(&w->freed);
  free(w->outs);
  free(w->threads);
  free(w->dir);
  free(w);
}

lct_zarr_write_stats lct_zarr_writer_stats(lct_zarr_writer *w) {
  (void)pthread_mutex_lock(&w->lock);
  lct_zarr_write_stats stats = w->stats;
  (void)pthread_mutex_unlock(&w->lock);
  stats.n_slots = w->started ? w->slots_each * (int)w->n_outs : 0;
  return stats;
}
