/* Writes sharded Zarr v3 arrays row by row: compressor threads, one writer, bounded memory, the same bytes whatever the threads.
 *
 * The caller fills rows (indexes of the first axis) in order into slots; a slot is one inner chunk's worth of rows of one array
 * (chunk[0] rows x everything else, C order). Slots go FREE -> FILLING (caller) -> READY -> compressed by any thread, chunk by chunk ->
 * FREE; compressed chunks are written in their order, then their memory is used again. When all slots are taken, lct_zarr_reserve waits:
 * nothing is dropped, memory is bounded.
 * A shard is written under "NAME.partial", then its index, fsync, rename, fsync of the folder, then on_shard is told.
 * One thread calls; the first failure of any thread is what every later call returns. */
#ifndef LCT_STORE_ZARR_WRITE_H
#define LCT_STORE_ZARR_WRITE_H

#include "base/threads.h"
#include "store/zarr.h"

typedef struct lct_zarr_writer lct_zarr_writer; /* a group being written */
typedef struct lct_zarr_out lct_zarr_out;       /* one of its arrays */

typedef enum { LCT_FSYNC_SHARD, LCT_FSYNC_END, LCT_FSYNC_OFF } lct_fsync;

typedef struct {
  lct_threads *threads; /* borrowed; as many compressors as it has threads, NULL: one. They and the writing thread are its tasks. */
  size_t budget_bytes; /* for the slots of all arrays together and compressed chunks (an eighth); every array gets at least two slots, every
                        * compressor a few chunks */
  lct_fsync fsync;
  int64_t
      min_free_bytes; /* a shard is not begun when less than this and its raw size would be free on the disk: LCT_E_IO with both numbers */
  /* A shard stands under its name, durably (as fsync says). Shards of one array come in order; called from the writer's thread, and from the caller's in
   * finish, never from two threads at once. A failure becomes the writer's. May be NULL. */
  lct_status (*on_shard)(void *ctx, const char *array, int64_t shard, int64_t bytes, lct_error *err);
  void *ctx;
} lct_zarr_write_options;

/* dir is created; arrays are folders in it. Partial files of a writer that was killed are removed: also of shards that will not be written again. */
lct_status lct_zarr_writer_new(const char *dir, const lct_zarr_write_options *o, lct_zarr_writer **out, lct_error *err) LCT_CHECKED;
/* meta->shape[0] is ignored: it is known at the end. Rows before first_row, a multiple of shard[0], are there already (a resumed sweep).
 * name: folders and the array's own, "pooled/hidden_out"; folders become groups. attributes: text of a JSON object or NULL; copied. All
 * arrays are added before the first reserve. */
lct_status lct_zarr_writer_add(lct_zarr_writer *w, const char *name, const lct_zarr_meta *meta, const char *attributes, int64_t first_row,
                               lct_zarr_out **out, lct_error *err) LCT_CHECKED;
/* Room for the next *n >= 1 rows (at most `want`), contiguous, lct_zarr_row_values each; valid until the commit. Waits for a free slot. */
lct_status lct_zarr_reserve(lct_zarr_out *a, int64_t want, void **rows, int64_t *n, lct_error *err) LCT_CHECKED;
/* The first n (0: none) of the rows reserved are filled. */
lct_status lct_zarr_commit(lct_zarr_out *a, int64_t n, lct_error *err) LCT_CHECKED;
/* Writes everything: the last, partly filled shards (rows behind the end are fill values), then every array's zarr.json, the group's last
 * of all. The writer can only be freed afterwards. */
lct_status lct_zarr_writer_finish(lct_zarr_writer *w, lct_error *err) LCT_CHECKED;
/* Without finish, or after a failure: waits for shards that are complete (not after a failure), drops the rest (removes partial files). */
void lct_zarr_writer_free(lct_zarr_writer *w);

/* Values behind the end of a partly filled chunk are zero bytes. */

typedef struct {
  int64_t raw_bytes, stored_bytes; /* of what was compressed so far */
  int slots_taken, n_slots;
  double seconds_compress, seconds_write, seconds_wait; /* thread seconds; the caller's waiting in reserve */
} lct_zarr_write_stats;
lct_zarr_write_stats lct_zarr_writer_stats(lct_zarr_writer *w);

#endif
