/* The bytes of a file or of standard input. Those of zstd (a name that ends in .zst, or a first frame's magic number) are decompressed on
 * the way: frame after frame, skippable ones passed over. Memory is that of a frame's window, at most 128 MiB. */
#ifndef LCT_SCENARIO_BYTES_H
#define LCT_SCENARIO_BYTES_H

#include "base/mem.h"

typedef struct lct_bytes lct_bytes;

/* "-" is standard input. */
lct_status lct_bytes_open(const char *path, lct_bytes **out, lct_error *err) LCT_CHECKED;
/* From now on waiting for input (of a pipe, say) ends with LCT_E_CANCELLED soon after *stop, read atomically, is not 0. */
void lct_bytes_stop_when(lct_bytes *s, const int *stop);
/* At most n > 0 bytes into buf; *got is 0 at the end and only there. A damaged zstd stream, or one that ends within a frame, is
 * LCT_E_FORMAT with the name and the byte. After a failure do not go on. */
lct_status lct_bytes_read(lct_bytes *s, void *buf, size_t n, size_t *got, lct_error *err) LCT_CHECKED;
/* Bytes given out so far of the bytes there are, both before decompression; total is 0 where it is not known (a pipe). */
void lct_bytes_progress(const lct_bytes *s, int64_t *done, int64_t *total);
/* Is it known to be zstd's? */
bool lct_bytes_compressed(const lct_bytes *s);
/* The path, or "standard input". */
const char *lct_bytes_name(const lct_bytes *s);
void lct_bytes_free(lct_bytes *s);

#endif
