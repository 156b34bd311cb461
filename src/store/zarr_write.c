/* The caller's side of the writer: arrays, slots, the end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/zarr_write_impl.h"

enum { MIN_SLOTS = 2 };

static lct_status failure_locked(const lct_zarr_writer *w, lct_error *err) {
  return w->failed ? lct_fail(err, w->failure.code, "%s", w->failure.message) : LCT_OK;
}

/* The caller's own failures become the writer's, too. */
static lct_status keep_failure(lct_zarr_writer *w, const lct_error *failure, lct_error *err) {
  (void)pthread_mutex_lock(&w->lock);
  lct_zarr_fail_locked(w, failure);
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

/* Beginning and ending. */

lct_status lct_zarr_writer_new(const char *dir, const lct_zarr_write_options *o, lct_zarr_writer **out, lct_error *err) {
  LCT_TRY(lct_mkdirs(dir, err));
  lct_zarr_writer *w = NULL;
  LCT_TRY(lct_calloc(&w, 1, sizeof *w, "store writer", err));
  w->o = *o;
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
  } else {
    lct_zarr_remove_partials(w->dir);
    if (o->fsync != LCT_FSYNC_OFF) s = lct_zarr_sync_parent(w->dir, err);
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
  for (zarr_slot *slot = a->all, *next; slot != NULL; slot = next) {
    next = slot->next_all;
    free(slot->raw);
    free(slot);
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

/* The budget: an eighth for compressed pieces, the rest for slots, as many for one array as for another. */
static lct_status start(lct_zarr_writer *w, lct_error *err) {
  size_t all = 0;
  for (size_t i = 0; i < w->n_outs; i++) {
    const lct_zarr_out *a = w->outs[i];
    size_t piece = a->cut.piece_chunks * a->cut.packed_bytes;
    if (piece > w->pieces.room) w->pieces.room = piece;
    if (!lct_add_ok(all, (size_t)a->meta.chunk[0] * a->cut.row_bytes, &all)) {
      return lct_fail(err, LCT_E_LIMIT, "%s: a slot of every array is more than memory can be", w->dir);
    }
  }
  size_t pieces = w->o.budget_bytes / 8 / w->pieces.room, slots = (w->o.budget_bytes - w->o.budget_bytes / 8) / all;
  int least = 2 * lct_threads_count(w->o.threads) + 2;
  w->pieces.max = pieces < (size_t)least ? least : pieces > INT32_MAX ? INT32_MAX : (int)pieces;
  w->slots_each = slots < MIN_SLOTS ? MIN_SLOTS : slots > INT32_MAX ? INT32_MAX : (int)slots;
  w->started = true;
  return lct_zarr_threads_start(w, err);
}

/* Rows, on the caller's thread. */

static lct_status slot_new(lct_zarr_out *a, zarr_slot **out, lct_error *err) {
  zarr_slot *slot = NULL;
  LCT_TRY(lct_calloc(&slot, 1, sizeof *slot, "slot", err));
  lct_status s = lct_alloc_large(&slot->raw, (size_t)a->meta.chunk[0], a->cut.row_bytes, "a slot's rows", err);
  if (s != LCT_OK) {
    free(slot);
    return s;
  }
  slot->out = a;
  slot->next_all = a->all;
  a->all = slot;
  a->n_slots++;
  *out = slot;
  return LCT_OK;
}

/* A free slot into a->filling: one used before, or a new one while the budget lasts, or the next that becomes free. */
static lct_status take_slot(lct_zarr_out *a, lct_error *err) {
  lct_zarr_writer *w = a->w;
  zarr_slot *slot = NULL;
  (void)pthread_mutex_lock(&w->lock);
  if (a->free == NULL && a->n_slots == w->slots_each && !w->failed) {
    double t = lct_seconds();
    while (a->free == NULL && !w->failed) (void)pthread_cond_wait(&w->freed, &w->lock);
    w->stats.seconds_wait += lct_seconds() - t;
  }
  lct_status s = failure_locked(w, err);
  if (s == LCT_OK) {
    slot = a->free;
    if (slot != NULL) a->free = slot->next_free;
    w->stats.slots_taken++;
  }
  (void)pthread_mutex_unlock(&w->lock);
  LCT_TRY(s);
  if (slot == NULL) LCT_TRY(slot_new(a, &slot, err));
  slot->next_work = NULL;
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
  zarr_slot *slot = a->filling;
  size_t filled = (size_t)slot->n_rows * a->cut.row_bytes, whole = (size_t)a->meta.chunk[0] * a->cut.row_bytes;
  memset(slot->raw + filled, 0, whole - filled);
  a->filling = NULL;
  lct_zarr_submit(slot);
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

lct_status lct_zarr_writer_finish(lct_zarr_writer *w, lct_error *err) {
  lct_error failure = {0};
  LCT_TRY(current_failure(w, err));
  if (w->finished) return lct_fail(err, LCT_E_USAGE, "%s: finished twice", w->dir);
  for (size_t i = 0; i < w->n_outs; i++) {
    lct_zarr_out *a = w->outs[i];
    if (a->filling != NULL && a->filling->n_rows > 0) submit(a);
  }
  lct_zarr_threads_join(w);
  w->finished = true;
  LCT_TRY(current_failure(w, err));
  lct_status s = LCT_OK;
  for (size_t i = 0; i < w->n_outs && s == LCT_OK; i++) s = lct_zarr_shard_end(w->outs[i], &failure);
  if (s == LCT_OK) s = lct_zarr_write_texts(w, &failure);
  return s == LCT_OK ? LCT_OK : keep_failure(w, &failure, err);
}

void lct_zarr_writer_free(lct_zarr_writer *w) {
  if (w == NULL) return;
  lct_zarr_threads_join(w);
  for (size_t i = 0; i < w->n_outs; i++) out_free(w->outs[i]);
  for (zarr_piece *piece = w->pieces.all, *next; piece != NULL; piece = next) {
    next = piece->next_all;
    free(piece->data);
    free(piece);
  }
  (void)pthread_mutex_destroy(&w->lock);
  (void)pthread_cond_destroy(&w->work);
  (void)pthread_cond_destroy(&w->packed);
  (void)pthread_cond_destroy(&w->freed);
  free(w->outs);
  free(w->tasks);
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
