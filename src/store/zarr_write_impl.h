/* The parts of the writer: slots and threads (zarr_write.c), an inner chunk's bytes (zarr_pack.c), a shard's file (zarr_shard.c),
 * zarr.json (zarr_texts.c). */
#ifndef LCT_STORE_ZARR_WRITE_IMPL_H
#define LCT_STORE_ZARR_WRITE_IMPL_H

#include <pthread.h>

#include "store/codec.h"
#include "store/zarr_write.h"

enum { CRC_BYTES = 4 };

typedef struct zarr_slot zarr_slot;
struct zarr_slot {
  lct_zarr_out *out;
  zarr_slot *next;      /* in the array's order, or in its stack of free slots */
  zarr_slot *next_work; /* in the queue of the compressors */
  int64_t first_row;
  int64_t n_rows;         /* filled */
  size_t n_taken, n_done; /* inner chunks given to compressors, and given back */
  unsigned char *raw;     /* (chunk[0], row) */
  unsigned char *packed;  /* one inner chunk every packed_stride bytes */
  size_t *packed_bytes;
};

/* How an array's rows are cut into inner chunks. */
typedef struct {
  size_t row_bytes, chunk_bytes, packed_stride;
  size_t slot_chunks;
  int cut_axis; /* the last axis after the first of which a chunk has a part only; 0: a slot is one chunk */
  bool uniform; /* the axes between are cut into single indexes: a chunk is evenly spaced pieces */
} zarr_cut;

/* The file of a shard being written, by one thread at a time. */
typedef struct {
  int fd; /* -1: none */
  int64_t number;
  lct_buf path, partial;
  uint64_t *index; /* (shard_chunks, 2) offset, length; the CRC stands behind it */
  uint64_t at;     /* bytes of the file so far, the tail included */
  lct_buf tail;    /* small chunks, until they are worth a write */
} zarr_shard;

struct lct_zarr_out {
  lct_zarr_writer *w;
  char *name, *attributes; /* attributes may be NULL */
  lct_zarr_meta meta;      /* shape[0]: rows committed */
  zarr_cut cut;
  zarr_slot *filling, *free;
  zarr_slot *first, *last; /* committed, not yet written */
  int n_allocated;
  zarr_shard shard;
};

struct lct_zarr_writer {
  char *dir;
  lct_zarr_write_options o;
  lct_zarr_out **outs;
  size_t n_outs, cap_outs;
  int slots_each;
  bool started, finished;
  int n_running; /* threads to join: the writer, then compressors */
  pthread_t *threads;
  size_t turn; /* where the writer looks first for a slot to write */

  pthread_mutex_t lock; /* guards what is below, and slots once they are committed */
  pthread_cond_t work, packed, freed;
  zarr_slot *work_first, *work_last;
  int64_t n_pending; /* slots committed and not yet written */
  bool closing;      /* no more slots will come */
  bool failed;
  lct_error failure;
  lct_zarr_write_stats stats;
};

/* A compressor thread's own. */
typedef struct {
  lct_codec *codec;
  unsigned char *gather; /* a chunk that is no evenly spaced pieces */
  size_t cap;
} zarr_packer;

void lct_zarr_cut_make(const lct_zarr_meta *m, zarr_cut *cut);
/* Compresses inner chunk i of the slot into its place, CRC behind it. */
lct_status lct_zarr_pack(zarr_packer *p, zarr_slot *slot, size_t i, lct_error *err) LCT_CHECKED;

/* Appends the slot's chunks to the array's shard, which is begun and ended as its rows ask. */
lct_status lct_zarr_shard_put(lct_zarr_out *a, const zarr_slot *slot, lct_error *err) LCT_CHECKED;
/* Ends the open shard: chunks that never came are missing. Nothing to do when none is open. */
lct_status lct_zarr_shard_end(lct_zarr_out *a, lct_error *err) LCT_CHECKED;
/* Every array's zarr.json, then the groups'. */
lct_status lct_zarr_write_texts(const lct_zarr_writer *w, lct_error *err) LCT_CHECKED;
/* Removes what was begun. */
void lct_zarr_shard_drop(zarr_shard *s);
/* fsync of the folder of `path` and those above it, up to dir. */
lct_status lct_zarr_sync_folders(const char *path, const char *dir, lct_error *err) LCT_CHECKED;
/* fsync of the folder that dir lies in. */
lct_status lct_zarr_sync_parent(const char *dir, lct_error *err) LCT_CHECKED;

#endif
