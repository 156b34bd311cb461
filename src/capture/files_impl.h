/* Inside lct_files. */
#ifndef LCT_CAPTURE_FILES_IMPL_H
#define LCT_CAPTURE_FILES_IMPL_H

#include "capture/files.h"
#include "store/npz.h"

typedef struct {
  const lct_file_spec *spec;
  lct_npz *npz;
  int *entries; /* (n_layers, LCT_N_SOURCES) entry numbers, -1: not in this file; globals at layer 0 */
  int qkv_entry;
  float *qkv;             /* (n_layers, dim v) */
  float *last_q, *last_k; /* last token's q (n_heads*head_dim) and k (n_kv*head_dim) of the current layer */
  lct_buf index;          /* JSON members, comma separated */
} token_file;

struct lct_files {
  lct_config cfg;
  lct_store_dtype dtype;
  lct_threads *threads;
  unsigned char *layers;
  const lct_batch *batch;
  token_file *files;
  size_t n_files;
  uint32_t wanted;
  size_t elem_bytes;
  void *rows; /* converted rows */
  size_t cap_rows;
  void *attn;         /* (rows of the batch) ragged blocks [segment][head][row][n_keys] of one layer, stored type */
  size_t *attn_first; /* (n_segments + 1) element offsets into attn */
  size_t cap_attn;
  size_t saturated; /* atomic */
  int64_t bytes;
};

/* Runs task on every file, files in parallel; the failure of the first file that fails is the one told. */
typedef lct_status (*file_task)(lct_files *f, token_file *t, const void *arg, lct_error *err);
lct_status files_for_each(lct_files *f, file_task task, const void *arg, lct_error *err) LCT_CHECKED;
/* Writes the dense weights of a finished layer into every file that wants them. */
lct_status files_write_attention(lct_files *f, int layer, lct_error *err) LCT_CHECKED;
/* The taker's attention; ctx is the lct_files. */
lct_status files_attention(void *ctx, int layer, int segment, int row0, int n, int n_keys, const float *data, lct_error *err) LCT_CHECKED;
/* Element conversion to the stored type, counting saturation. */
void files_convert(lct_files *f, const float *src, void *dst, size_t n);
/* v of the last token arrived: the layer's row of qkv_last. */
void files_qkv_last(lct_files *f, token_file *file, lct_source s, int layer, const float *row);

#endif
