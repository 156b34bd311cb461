/* Writing one safetensors file as a stream: names and shapes first, then the bytes in that order. */
#ifndef LCT_MODEL_SAFETENSORS_WRITE_H
#define LCT_MODEL_SAFETENSORS_WRITE_H

#include "model/tensors.h"

/* A tensor to be written; strings are read by lct_st_writer_open alone. */
typedef struct {
  const char *name;  /* UTF-8; no two alike */
  const char *dtype; /* as the format spells it: "F32", "F16", "BF16", "I32" … */
  int n_dims;        /* 0: a scalar */
  int64_t dims[8];
} lct_st_spec;

typedef struct lct_st_writer lct_st_writer;

/* Creates path.tmp and writes the header: metadata (n_metadata pairs; may be 0), tensors in the given order, data at a multiple of 64.
 * Readers that want aligned data get it when larger element types come first. LCT_E_USAGE for a bad name, type or shape. */
lct_status lct_st_writer_open(const char *path, const lct_st_pair *metadata, size_t n_metadata, const lct_st_spec *tensors,
                              size_t n_tensors, lct_st_writer **out, lct_error *err) LCT_CHECKED;
/* The next n bytes of the data, little-endian: all tensors one after another, cut anywhere. */
lct_status lct_st_writer_put(lct_st_writer *w, const void *data, size_t n, lct_error *err) LCT_CHECKED;
/* Checks that every byte came, fsyncs, renames over path. Frees w whatever happens; on failure path is as it was. */
lct_status lct_st_writer_close(lct_st_writer *w, lct_error *err) LCT_CHECKED;
/* Gives up: removes path.tmp and frees w. NULL is fine. */
void lct_st_writer_abort(lct_st_writer *w);

#endif
