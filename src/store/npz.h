/* .npz files whose layout is known before the data: entries are declared, then rows are put in any interleaving of entries
 * (rows of one entry in order), then the file is finished. Entries are stored (not deflated) by default.
 *
 * Written to PATH.tmp; lct_npz_finish writes headers, CRCs and the central directory (zip64 where needed), and renames:
 * a file under its final name is whole. */
#ifndef LCT_STORE_NPZ_H
#define LCT_STORE_NPZ_H

#include "base/mem.h"

typedef enum { LCT_NPY_F16, LCT_NPY_F32, LCT_NPY_I32, LCT_NPY_I64 } lct_npy_dtype;

typedef struct lct_npz lct_npz;

/* From the first failed put on, every put and the finish fail with its message.
 * The first put reserves the whole file's space: a disk without room for it fails then, before any data. */
lct_status lct_npz_create(const char *path, lct_npz **out, lct_error *err) LCT_CHECKED;
/* Declares entry `name` (without ".npy"), C order. Returns its index in *entry. Only before the first put.
 * Two entries of one name fail at the first put (or finish). */
lct_status lct_npz_declare(lct_npz *z, const char *name, lct_npy_dtype dtype, int n_dims, const int64_t *dims, int *entry,
                           lct_error *err) LCT_CHECKED;
/* Appends n bytes (little-endian elements) to entry's data, written from the caller's buffer before the call returns. Different
 * entries may be interleaved, also by several threads; one entry is written by one thread at a time. */
lct_status lct_npz_put(lct_npz *z, int entry, const void *data, size_t n, lct_error *err) LCT_CHECKED;
/* All entries must be complete. fsync as asked. Frees z in any case. */
lct_status lct_npz_finish(lct_npz *z, bool sync, lct_error *err) LCT_CHECKED;
/* Removes the temporary file and frees. Accepts NULL. */
void lct_npz_abort(lct_npz *z);

/* Reader of stored and deflated .npz entries, little-endian f2, f4, i4, i8; for re-scoring, reports and tests. Members that are
 * no .npy are left out; a .npy of another type or in Fortran order makes opening fail. Nothing is allocated beyond a small
 * multiple of the file's own size, and the sizes in lct_npz_entry are checked against the bytes that are there. */
typedef struct lct_npz_reader lct_npz_reader;
typedef struct {
  const char *name;
  lct_npy_dtype dtype;
  int n_dims;
  int64_t dims[8];
} lct_npz_entry;
lct_status lct_npz_open(const char *path, lct_npz_reader **out, lct_error *err) LCT_CHECKED;
/* The same for bytes in memory, which must outlive the reader; `name` stands in messages. */
lct_status lct_npz_open_memory(const void *data, size_t n, const char *name, lct_npz_reader **out, lct_error *err) LCT_CHECKED;
size_t lct_npz_n_entries(const lct_npz_reader *r);
const lct_npz_entry *lct_npz_entry_at(const lct_npz_reader *r, size_t i);
int64_t lct_npz_find(const lct_npz_reader *r, const char *name); /* index or -1 */
int64_t lct_npz_n_elements(const lct_npz_entry *e);              /* product of dims */
/* Elements of entry i as float32 (converted), CRC checked; out holds the product of dims. */
lct_status lct_npz_read_f32(const lct_npz_reader *r, size_t i, float *out, lct_error *err) LCT_CHECKED;
void lct_npz_close(lct_npz_reader *r);

#endif
