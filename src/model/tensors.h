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

/* The table behind lct_model_bind: one row a tensor of a layer. synth writes what this table asks for. */
typedef enum { LCT_DIM_ONE, LCT_DIM_HIDDEN, LCT_DIM_Q, LCT_DIM_KV, LCT_DIM_HEAD, LCT_DIM_INTER } lct_dim;
typedef enum { LCT_NEED_ALWAYS, LCT_NEED_QKV_BIAS, LCT_NEED_O_BIAS, LCT_NEED_QK_NORM } lct_need;
typedef struct {
  size_t offset;         /* of the lct_tensor in lct_layer */
  const char *hf, *gguf; /* name after "model.layers.%d." and "blk.%d." */
  lct_dim rows, cols;    /* rows LCT_DIM_ONE: a vector */
  lct_need need;
  bool rotary; /* interleaved within heads in a GGUF file of the llama architecture */
} lct_layer_slot;
extern const lct_layer_slot lct_layer_slots[];
extern const int lct_n_layer_slots;
int64_t lct_config_dim(const lct_config *c, lct_dim d);
bool lct_config_needs(const lct_config *c, lct_need need);

/* Every tensor of a bound model once: index 0 .. lct_model_n_tensors-1; NULL for one the architecture does not have. */
int lct_model_n_tensors(const lct_model *m);
const lct_tensor *lct_model_tensor(const lct_model *m, int index);
/* The file a tensor's bytes lie in, for messages. */
const char *lct_model_file_of(const lct_model *m, const void *data);
/* Bytes of the whole tensor as stored. */
size_t lct_tensor_bytes(const lct_tensor *t);
/* Fills m->hash. */
lct_status lct_model_hash(lct_model *m, lct_error *err) LCT_CHECKED;

/* Opens the safetensors file or sharded index of a folder and binds it to m (config is set). */
lct_status lct_safetensors_load(const char *dir, lct_model *m, lct_error *err) LCT_CHECKED;
/* Reads config and tensors of a GGUF file into m. */
lct_status lct_gguf_load(const char *path, lct_model *m, lct_error *err) LCT_CHECKED;

/* One safetensors file: header checked (length, JSON, dtype, shape, offsets inside, no overlap, no hole at the end). */
typedef struct {
  char *name;             /* arena */
  lct_dtype dtype;        /* LCT_DTYPE_COUNT: a type that cannot be a weight here */
  const char *dtype_name; /* as the format spells it: static storage */
  int n_dims;
  int64_t dims[8];
  const unsigned char *data;
  size_t n_bytes;
} lct_st_tensor;
typedef struct {
  const char *key, *value;
} lct_st_pair;
typedef struct {
  lct_st_tensor *tensors; /* in order of their data */
  size_t n_tensors;
  lct_st_pair *metadata; /* "__metadata__", in the header's order; arena */
  size_t n_metadata;
} lct_st_file;
/* Bytes of one element of the type the format spells so; 0: no such type. */
size_t lct_st_dtype_bytes(const char *name);
/* The value of a key of the metadata; NULL when absent. */
const char *lct_st_metadata(const lct_st_file *f, const char *key);
/* `file` names it in messages; tensors point into data; allocations from arena. Never reads outside data[0..n). */
lct_status lct_safetensors_parse(const unsigned char *data, size_t n, const char *file, lct_arena *arena, lct_st_file *out,
                                 lct_error *err) LCT_CHECKED;

#endif
