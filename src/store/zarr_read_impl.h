/* What reading and verifying share: one shard with its checked index, and what a thread needs to decode its chunks. */
#ifndef LCT_STORE_ZARR_READ_IMPL_H
#define LCT_STORE_ZARR_READ_IMPL_H

#include "store/codec.h"
#include "store/zarr_read.h"

enum {
  LCT_ZARR_CACHED_SHARDS = 8,
  LCT_ZARR_MAX_READ_CHUNK = 1 << 28, /* raw bytes of a chunk that is read: two buffers of that size are all a thread needs */
  LCT_ZARR_MAX_INDEX_CHUNKS = 1 << 22,
};

/* A shard file (or its bytes in memory) and where its chunks lie. */
typedef struct {
  int64_t number; /* -1: none */
  int fd;         /* -1: no such file, all fill values; or in memory */
  const unsigned char *memory;
  size_t size;
  uint64_t *index; /* (n_chunks, 2) offset and length, both LCT_ZARR_MISSING: a missing chunk; NULL: all are missing */
  uint64_t used;   /* when, for the cache */
} lct_zarr_shard;
#define LCT_ZARR_MISSING UINT64_MAX

/* One thread's. */
typedef struct {
  lct_codec *codec;
  unsigned char *stored, *raw; /* a chunk as it lies in the file, and decoded */
  size_t stored_cap, raw_cap;
} lct_zarr_worker;

struct lct_zarr {
  lct_zarr_meta meta;
  char *dir, *name;
  lct_buf attributes;
  bool in_memory; /* shard 0 is memory[0..n_memory), there is no other */
  const unsigned char *memory;
  size_t n_memory;
  lct_zarr_shard shards[LCT_ZARR_CACHED_SHARDS];
  uint64_t clock;
  lct_zarr_worker worker;
  int64_t held_shard, held_chunk; /* what worker.raw holds; -1: nothing */
};

/* An array whose only shard lies in memory, which must outlive the reader: for tests. */
lct_status lct_zarr_open_memory(const lct_zarr_meta *meta, const char *name, const void *shard, size_t n, lct_zarr **out,
                                lct_error *err) LCT_CHECKED;

/* The path of a shard, for messages too. */
lct_status lct_zarr_path_of(const lct_zarr *z, int64_t shard, lct_buf *out, lct_error *err) LCT_CHECKED;
/* Opens it and checks its index: checksum, every chunk inside the file, no two of them on the same bytes. */
lct_status lct_zarr_shard_open(const lct_zarr *z, int64_t number, lct_zarr_shard *out, lct_error *err) LCT_CHECKED;
void lct_zarr_shard_close(lct_zarr_shard *s);

lct_status lct_zarr_worker_open(lct_zarr_worker *w, lct_error *err) LCT_CHECKED;
void lct_zarr_worker_close(lct_zarr_worker *w);
/* Room for a decoded chunk in w->raw. */
lct_status lct_zarr_worker_raw(const lct_zarr *z, lct_zarr_worker *w, lct_error *err) LCT_CHECKED;

bool lct_zarr_is_missing(const lct_zarr_shard *s, int64_t chunk);
/* Inner chunk `chunk` (C order in the shard), its checksum checked, into dst, lct_zarr_chunk_bytes of it; fill values where it is missing. */
lct_status lct_zarr_decode(const lct_zarr *z, const lct_zarr_shard *s, int64_t chunk, lct_zarr_worker *w, void *dst,
                           lct_error *err) LCT_CHECKED;

#endif
