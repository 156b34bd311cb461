/* Between the two file formats and lct_model: the table of wanted tensors, checked one by one. */
#ifndef LCT_MODEL_TENSORS_H
#define LCT_MODEL_TENSORS_H

#include "model/model.h"

/* Finds a tensor by the file format's name; LCT_OK with out->data == NULL when absent. out->name is the arena's. */
typedef lct_status (*lct_tensor_find)(void *ctx, const char *name, lct_tensor *out, lct_error *err);

/* Fills embed, final_norm, head and layers of m (config is set; layers allocated here) by looking up each name of the
 * format's table (`gguf` selects "blk.%d.attn_q.weight" names instead of "model.layers.%d.self_attn.q_proj.weight")
 * and checking its shape. */
lct_status lct_model_bind(lct_model *m, bool gguf, lct_tensor_find find, void *ctx, lct_error *err) LCT_CHECKED;

/* Opens the safetensors file or sharded index of a folder and binds it to m (config is set). */
lct_status lct_safetensors_load(const char *dir, lct_model *m, lct_error *err) LCT_CHECKED;
/* Reads config and tensors of a GGUF file into m. */
lct_status lct_gguf_load(const char *path, lct_model *m, lct_error *err) LCT_CHECKED;

/* One safetensors file: header checked (length, JSON, dtype, shape, offsets inside, no overlap, no hole at the end). */
typedef struct {
  char *name; /* arena */
  lct_dtype dtype;
  int n_dims;
  int64_t dims[8];
  const unsigned char *data;
  size_t n_bytes;
} lct_st_tensor;
typedef struct {
  lct_st_tensor *tensors;
  size_t n_tensors;
} lct_st_file;
/* `file` names it in messages; tensors point into data; allocations from arena. Never reads outside data[0..n). */
lct_status lct_safetensors_parse(const unsigned char *data, size_t n, const char *file, lct_arena *arena,
                                 lct_st_file *out, lct_error *err) LCT_CHECKED;

#endif
