/* The writer's tasks. The caller owns a slot until it is committed; then compressors take its chunks, a piece at a time and in order, and
 * the slot is free again when all are done; the writing thread takes every array's pieces in their order. The oldest piece is always
 * someone's work, so whoever waits for a piece or a slot gets one, and all waiting ends when anything fails. */
#include <stdlib.h>

#include "base/clock.h"
#include "store/zarr_write_impl.h"

void lct_zarr_fail_locked(lct_zarr_writer *w, const lct_error *failure) {
  if (!w->failed) {
    w->failed = true;
    w->failure = *failure;
  }
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_cond_broadcast(&w->packed);
  (void)pthread_cond_broadcast(&w->freed);
}

void lct_zarr_submit(zarr_slot *slot) {
  lct_zarr_writer *w = slot->out->w;
  (void)pthread_mutex_lock(&w->lock);
  *(w->work_last != NULL ? &w->work_last->next_work : &w->work_first) = slot;
  w->work_last = slot;
  w->n_pending++;
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_mutex_unlock(&w->lock);
}

/* A free piece, or a new one (without memory yet) while there may be more; NULL when neither is to be had now. */
static zarr_piece *get_piece(lct_zarr_writer *w, lct_error *failure) {
  zarr_piece *piece = w->pieces.free;
  if (piece != NULL) {
    w->pieces.free = piece->next;
  } else if (w->pieces.n < w->pieces.max) {
    if (lct_calloc(&piece, 1, sizeof *piece, "piece", failure) != LCT_OK) {
      lct_zarr_fail_locked(w, failure);
    } else {
      piece->next_all = w->pieces.all;
      w->pieces.all = piece;
      w->pieces.n++;
    }
  }
  return piece;
}

/* The next chunks of the oldest slot, as a piece in its array's order; NULL when there will be no more. */
static zarr_piece *take_chunks(lct_zarr_writer *w, zarr_slot **from, lct_error *failure) {
  zarr_piece *piece = NULL;
  while (!w->failed && (w->work_first == NULL || (piece = get_piece(w, failure)) == NULL)) {
    if (w->work_first == NULL && w->closing) return NULL;
    if (!w->failed) (void)pthread_cond_wait(&w->work, &w->lock);
  }
  if (piece == NULL) return NULL;
  zarr_slot *slot = w->work_first;
  lct_zarr_out *a = slot->out;
  size_t left = a->cut.slot_chunks - slot->n_taken;
  piece->next = NULL;
  piece->done = false;
  piece->first_row = slot->first_row;
  piece->begin = slot->n_taken;
  piece->end = slot->n_taken + (left < a->cut.piece_chunks ? left : a->cut.piece_chunks);
  slot->n_taken = piece->end;
  if (piece->end == a->cut.slot_chunks) {
    w->work_first = slot->next_work;
    if (w->work_first == NULL) w->work_last = NULL;
  }
  *(a->last != NULL ? &a->last->next : &a->first) = piece;
  a->last = piece;
  w->n_pending++;
  *from = slot;
  return piece;
}

static void give_back(lct_zarr_writer *w, zarr_slot *slot, zarr_piece *piece, double seconds) {
  lct_zarr_out *a = slot->out;
  w->stats.seconds_compress += seconds;
  w->stats.stored_bytes += (int64_t)piece->bytes;
  piece->done = true;
  slot->n_done += piece->end - piece->begin;
  (void)pthread_cond_signal(&w->packed);
  if (slot->n_done < a->cut.slot_chunks) return;
  w->stats.raw_bytes += slot->n_rows * (int64_t)a->cut.row_bytes;
  w->stats.slots_taken--;
  w->n_pending--;
  slot->next_free = a->free;
  a->free = slot;
  (void)pthread_cond_signal(&w->freed);
}

static lct_status pack(lct_zarr_writer *w, zarr_packer *p, const zarr_slot *slot, zarr_piece *piece, lct_error *err) {
  if (piece->data == NULL) LCT_TRY(lct_alloc_large(&piece->data, w->pieces.room, 1, "compressed chunks", err));
  return lct_zarr_pack(p, slot, piece, err);
}

static void compressor(void *arg) {
  lct_zarr_writer *w = arg;
  zarr_packer p = {0};
  lct_error failure = {0};
  lct_status s = lct_codec_new(&p.codec, &failure);
  (void)pthread_mutex_lock(&w->lock);
  if (s != LCT_OK) lct_zarr_fail_locked(w, &failure);
  zarr_slot *slot = NULL;
  zarr_piece *piece;
  while ((piece = take_chunks(w, &slot, &failure)) != NULL) {
    (void)pthread_mutex_unlock(&w->lock);
    double t = lct_seconds();
    s = pack(w, &p, slot, piece, &failure);
    t = lct_seconds() - t;
    (void)pthread_mutex_lock(&w->lock);
    if (s != LCT_OK) {
      lct_zarr_fail_locked(w, &failure);
    } else {
      give_back(w, slot, piece, t);
    }
  }
  (void)pthread_mutex_unlock(&w->lock);
  lct_codec_free(p.codec);
  free(p.gather);
}

/* The array whose oldest piece can be written. */
static lct_zarr_out *take_packed(lct_zarr_writer *w) {
  for (size_t i = 0; i < w->n_outs; i++) {
    size_t at = (w->turn + i) % w->n_outs;
    lct_zarr_out *a = w->outs[at];
    if (a->first != NULL && a->first->done) {
      w->turn = at;
      return a;
    }
  }
  return NULL;
}

static void free_piece(lct_zarr_writer *w, lct_zarr_out *a) {
  zarr_piece *piece = a->first;
  a->first = piece->next;
  if (a->first == NULL) {
    a->last = NULL;
    w->turn++;
  }
  piece->next = w->pieces.free;
  w->pieces.free = piece;
  w->n_pending--;
  (void)pthread_cond_signal(&w->work);
}

static void writing(void *arg) {
  lct_zarr_writer *w = arg;
  lct_error failure = {0};
  (void)pthread_mutex_lock(&w->lock);
  while (!w->failed && !(w->closing && w->n_pending == 0)) {
    lct_zarr_out *a = take_packed(w);
    if (a == NULL) {
      (void)pthread_cond_wait(&w->packed, &w->lock);
      continue;
    }
    (void)pthread_mutex_unlock(&w->lock);
    double t = lct_seconds();
    lct_status s = lct_zarr_shard_put(a, a->first, &failure);
    t = lct_seconds() - t;
    (void)pthread_mutex_lock(&w->lock);
    w->stats.seconds_write += t;
    if (s != LCT_OK) {
      lct_zarr_fail_locked(w, &failure);
    } else {
      free_piece(w, a);
    }
  }
  (void)pthread_mutex_unlock(&w->lock);
}

lct_status lct_zarr_threads_start(lct_zarr_writer *w, lct_error *err) {
  int n = lct_threads_count(w->o.threads) + 1;
  LCT_TRY(lct_calloc(&w->tasks, (size_t)n, sizeof *w->tasks, "threads", err));
  for (; w->n_tasks < n; w->n_tasks++) {
    LCT_TRY(lct_task_start(w->o.threads, w->n_tasks == 0 ? writing : compressor, w, &w->tasks[w->n_tasks], err));
  }
  return LCT_OK;
}

void lct_zarr_threads_join(lct_zarr_writer *w) {
  (void)pthread_mutex_lock(&w->lock);
  w->closing = true;
  (void)pthread_cond_broadcast(&w->work);
  (void)pthread_cond_broadcast(&w->packed);
  (void)pthread_mutex_unlock(&w->lock);
  for (int i = 0; i < w->n_tasks; i++) lct_task_join(w->tasks[i]);
  w->n_tasks = 0;
}
