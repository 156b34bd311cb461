/* The parts of the writer: slots (zarr_write.c), threads (zarr_threads.c), an inner chunk's bytes (zarr_pack.c), a shard's file (zarr_shard.c),
 * zarr.json (zarr_texts.c). */
#ifndef LCT_STORE_ZARR_WRITE_IMPL_H
#define LCT_STORE_ZARR_WRITE_IMPL_H

#include <pthread.h>

#include "store/codec.h"
#include "store/zarr_write.h"

enum { CRC_BYTES = 4 };

enum {
  PIECE_BYTES = 1 << 18, /* small chunks are compressed several at a time, into pieces of about this size */
  MAX_PIECE_CHUNKS = 256,
};

/* Rows on their way to the compressors: one inner chunk's worth of the first axis. */
typedef struct zarr_slot zarr_slot;
struct zarr_slot {
  lct_zarr_out *out;
  zarr_slot *next_all, *next_free, *next_work;
  int64_t first_row;
  int64_t n_rows;         /* filled */
  size_t n_taken, n_done; /* inner chunks given to compressors, and given back */
  unsigned char *raw;     /* (chunk[0], row) */
};

/* Consecutive compressed chunks on their way to the file. */
typedef struct zarr_piece zarr_piece;
struct zarr_piece {
  zarr_piece *next_all;
  zarr_piece *next;  /* in the array's order, or among the free ones */
  int64_t first_row; /* of the slot */
  size_t begin, end; /* chunks of the slot */
  bool done;
  size_t bytes;
  uint32_t chunk_bytes[MAX_PIECE_CHUNKS];
  unsigned char *data;
};

/* How an array's rows are cut into inner chunks. */
typedef struct {
  size_t row_bytes, chunk_bytes;
  size_t packed_bytes; /* room for a compressed chunk and its CRC */
  size_t slot_chunks, piece_chunks;
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
  zarr_slot *filling, *free, *all;
  int n_slots;
  zarr_piece *first, *last; /* given to compressors, not yet written */
  zarr_shard shard;
};

struct lct_zarr_writer {
  char *dir;
  lct_zarr_write_options o;
  lct_zarr_out **outs;
  size_t n_outs, cap_outs;
  int slots_each;
  bool started, finished;
  int n_tasks; /* to join: the writing one, then compressors */
  lct_task **tasks;
  size_t turn; /* where the writing thread looks first for a piece */

  pthread_mutex_t lock; /* guards what is below, and slots once they are committed */
  pthread_cond_t work, packed, freed;
  zarr_slot *work_first, *work_last;
  struct {
    zarr_piece *free, *all;
    int n, max;
    size_t room;     /* bytes of one */
  } pieces;          /* max and room are set before the threads start */
  int64_t n_pending; /* slots and pieces on their way */
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

/* Threads. w->lock guards what both sides touch; the _locked ones are called with it held. */
lct_status lct_zarr_threads_start(lct_zarr_writer *w, lct_error *err) LCT_CHECKED;
/* Lets the threads finish what they were given, and joins them. */
void lct_zarr_threads_join(lct_zarr_writer *w);
/* Gives a slot to the compressors. */
void lct_zarr_submit(zarr_slot *slot);
/* Keeps the first failure and wakes everyone. */
void lct_zarr_fail_locked(lct_zarr_writer *w, const lct_error *failure);

void lct_zarr_cut_make(const lct_zarr_meta *m, zarr_cut *cut);
/* Compresses the piece's chunks out of the slot, a CRC behind each. */
lct_status lct_zarr_pack(zarr_packer *p, const zarr_slot *slot, zarr_piece *piece, lct_error *err) LCT_CHECKED;

/* Appends the piece to the array's shard, which is begun and ended as its rows ask. */
lct_status lct_zarr_shard_put(lct_zarr_out *a, const zarr_piece *piece, lct_error *err) LCT_CHECKED;
/* Ends the open shard: chunks that never came are missing. Nothing to do when none is open. */
lct_status lct_zarr_shard_end(lct_zarr_out *a, lct_error *err) LCT_CHECKED;
/* Every array's zarr.json, then the groups'. */
lct_status lct_zarr_write_texts(const lct_zarr_writer *w, lct_error *err) LCT_CHECKED;
/* Removes what was begun. */
void lct_zarr_shard_drop(zarr_shard *s);
/* Removes what writers that were killed had begun, anywhere under dir. */
void lct_zarr_remove_partials(const char *dir);
/* fsync of the folder of `path` and those above it, up to dir. */
lct_status lct_zarr_sync_folders(const char *path, const char *dir, lct_error *err) LCT_CHECKED;
/* fsync of the folder that dir lies in. */
lct_status lct_zarr_sync_parent(const char *dir, lct_error *err) LCT_CHECKED;

#endif
