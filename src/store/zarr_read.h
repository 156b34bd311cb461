/* Reads sharded Zarr v3 arrays: only the inner chunks a selection touches. Hostile files give errors, never large memory: nothing is
 * allocated from a number that was not checked against the file's size or the array's own chunk size. */
#ifndef LCT_STORE_ZARR_READ_H
#define LCT_STORE_ZARR_READ_H

#include "base/threads.h"
#include "store/zarr.h"

typedef struct lct_zarr lct_zarr;

/* Opens DIR/NAME by its zarr.json; meta NULL. Of a store that is still being written (no zarr.json yet) the caller gives the meta. */
lct_status lct_zarr_open(const char *dir, const char *name, const lct_zarr_meta *meta, lct_zarr **out, lct_error *err) LCT_CHECKED;
void lct_zarr_free(lct_zarr *z);
const lct_zarr_meta *lct_zarr_get_meta(const lct_zarr *z);
const char *lct_zarr_attributes(const lct_zarr *z); /* JSON text */

/* values [start, start + count) of every axis into dst, C order, the array's type. Missing chunks and shards are fill values.
 * LCT_E_USAGE for a selection outside the shape; LCT_E_FORMAT names the shard file and the chunk. Not for two threads at once. */
lct_status lct_zarr_read(lct_zarr *z, const int64_t *start, const int64_t *count, void *dst, lct_error *err) LCT_CHECKED;
/* The same with the rows (first axis) listed: dst (n_rows, count[1], …); start[0] and count[0] are ignored. Rows may repeat. */
lct_status lct_zarr_read_rows(lct_zarr *z, const int64_t *rows, size_t n_rows, const int64_t *start, const int64_t *count, void *dst,
                              lct_error *err) LCT_CHECKED;

/* What is wrong with one inner chunk or shard: "pooled/hidden_out: shard 3 (FILE), chunk [2, 0, 7, 0], rows 3328-3583: CRC-32C …" */
typedef void (*lct_zarr_fault)(void *ctx, const char *message);
/* Re-reads the shards [from, to): index, checksums, every chunk decoded. Goes on after a fault; *n_faults counts them. threads may be NULL. */
lct_status lct_zarr_verify(lct_zarr *z, int64_t from, int64_t to, lct_threads *threads, lct_zarr_fault fault, void *ctx, int64_t *n_faults,
                           lct_error *err) LCT_CHECKED;

#endif
