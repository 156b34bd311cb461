/* What reader and writer share of the two formats: zip record layouts and the .npy header. */
#ifndef LCT_STORE_NPZ_FORMAT_H
#define LCT_STORE_NPZ_FORMAT_H

#include "store/npz.h"

enum {
  ZIP_LOCAL_SIG = 0x04034b50,
  ZIP_CENTRAL_SIG = 0x02014b50,
  ZIP_END_SIG = 0x06054b50,
  ZIP64_END_SIG = 0x06064b50,
  ZIP64_LOCATOR_SIG = 0x07064b50,
  ZIP_LOCAL_BYTES = 30,
  ZIP_CENTRAL_BYTES = 46,
  ZIP_END_BYTES = 22,
  ZIP64_END_BYTES = 56,
  ZIP64_LOCATOR_BYTES = 20,
  ZIP64_EXTRA_ID = 0x0001,
  ZIP_METHOD_STORED = 0,
  ZIP_METHOD_DEFLATED = 8,
  ZIP_FLAG_ENCRYPTED = 0x0001,
  ZIP_FLAG_UTF8 = 0x0800,
};

enum {
  LCT_NPY_MAX_DIMS = 8,
  LCT_NPY_MAX_HEADER = 10000, /* numpy's own limit for a header it will parse */
  LCT_NPZ_MAX_NAME = 4096,
};

/* An entry's name: valid UTF-8 without control characters, not empty and not absurdly long. */
bool lct_npz_name_ok(const char *name, size_t n);

size_t lct_npy_item_bytes(lct_npy_dtype t);

/* The whole .npy header (magic to newline), a multiple of 64 bytes, appended to out. */
lct_status lct_npy_header_write(lct_npy_dtype t, int n_dims, const int64_t *dims, lct_buf *out, lct_error *err) LCT_CHECKED;

/* Parses the header at data[0..n); fills dtype, n_dims and dims of *out and sets *header_bytes (where the data begins).
 * `what` names file and entry in messages. */
lct_status lct_npy_header_parse(const unsigned char *data, size_t n, const char *what, lct_npz_entry *out, size_t *header_bytes,
                                lct_error *err) LCT_CHECKED;

/* Sizes and offsets from `limit` on go into zip64 records; for tests, since the format's own limit is 4 GiB. */
void lct_npz_set_zip64_limit(lct_npz *z, uint64_t limit);

static inline uint16_t zip_u16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t zip_u32(const unsigned char *p) { return zip_u16(p) | (uint32_t)zip_u16(p + 2) << 16; }
static inline uint64_t zip_u64(const unsigned char *p) { return zip_u32(p) | (uint64_t)zip_u32(p + 4) << 32; }

#endif
