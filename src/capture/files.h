/* Whole tensors into Activation Lab's .npz files: one forward pass, many files that share its rows.
 *
 * Every row is converted once; each file then takes its slice. Files are laid out before the pass (store/npz.h), so layers go to disk
 * as they are computed and memory does not grow with tokens x layers. */
#ifndef LCT_CAPTURE_FILES_H
#define LCT_CAPTURE_FILES_H

#include "engine/pass.h"
#include "scenario/scenario.h"

typedef struct {
  const char *path;            /* of the .npz */
  uint32_t sources;            /* LCT_SOURCE_BIT of what goes into it */
  bool qkv_last;               /* adds "qkv_last" (layers, dim v) f32; needs no q, k, v among sources */
  const lct_row_range *ranges; /* rows of the batch that are the file's tokens, ascending position; borrowed */
  int32_t n_ranges;
  int32_t n_tokens; /* sum of the ranges */
  int32_t n_keys;   /* keys of attn_weights: n_tokens for a prefill, the position + 1 for one decoded token */
} lct_file_spec;

typedef struct lct_files lct_files;

/* layers: (n_layers) 0/1. threads: borrowed, may be NULL. The entries are named layer_NN/SOURCE, embeddings, logits, shaped (1, tokens, width), attn_weights
 * (1, heads, tokens, keys). BF16 is stored as float32, as Activation Lab does. */
lct_status lct_files_new(const lct_config *c, lct_store_dtype dtype, const unsigned char *layers, lct_threads *threads, lct_files **out,
                         lct_error *err) LCT_CHECKED;
/* Creates the files of the next pass; specs are borrowed until lct_files_finish. */
lct_status lct_files_begin(lct_files *f, const lct_file_spec *specs, size_t n, const lct_batch *batch, lct_error *err) LCT_CHECKED;
/* Shows the rows of the pass to its files; to be asked for behind lct_files_begin. */
lct_taker lct_files_taker(lct_files *f);
/* Closes the files of this pass under their names. */
lct_status lct_files_finish(lct_files *f, lct_error *err) LCT_CHECKED;
/* Values that were finite in float32 and are Inf in the stored type, so far. */
size_t lct_files_saturated(const lct_files *f);
int64_t lct_files_bytes(const lct_files *f); /* tensor bytes written so far */
/* JSON object text {"KEY": {"shape": [...], "dtype": "float16"}, ...} of one file of the current pass, appended to out. */
lct_status lct_files_index(const lct_files *f, size_t file, lct_buf *out, lct_error *err) LCT_CHECKED;
/* Aborts files that are still open. */
void lct_files_free(lct_files *f);

#endif
