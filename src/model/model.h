/* A model: its configuration and views of its weights, mapped from disk. No arithmetic happens here.
 *
 * A weight is a 2-D row-major view [rows = out features, cols = in features] in whatever type the file holds.
 * `lct_tensor_row_f32` gives any row as float32, dequantised and un-permuted; the engine packs from that.
 */
#ifndef LCT_MODEL_MODEL_H
#define LCT_MODEL_MODEL_H

#include "base/file.h"
#include "base/threads.h"
#include "model/dtype.h"

typedef enum { LCT_ARCH_QWEN2, LCT_ARCH_QWEN3, LCT_ARCH_LLAMA } lct_arch;

/* What a layer keeps of the tokens before: its keys and values. (The engine has one block a kind.) */
typedef enum { LCT_LAYER_ATTENTION } lct_layer_kind;

typedef struct {
  const char *name; /* as in the file; owned by the model */
  lct_dtype dtype;
  int64_t rows, cols; /* a vector has rows == 1 */
  const void *data;   /* NULL: tensor absent (e.g. no bias) */
  int perm_head_dim;  /* > 0: rows are stored interleaved within heads of this size (GGUF llama q/k) */
} lct_tensor;

/* Row r (0-based, in Hugging Face order) of t as float32 into out[t->cols]. */
void lct_tensor_row_f32(const lct_tensor *t, int64_t r, float *out);

typedef enum { LCT_ROPE_PLAIN, LCT_ROPE_LLAMA3 } lct_rope_kind;

typedef struct {
  lct_rope_kind kind;
  double theta;
  double factor, low_freq_factor, high_freq_factor; /* LLAMA3 only */
  int original_max_positions;                       /* LLAMA3 only */
} lct_rope;

#define LCT_MAX_EOS 16

typedef struct {
  lct_arch arch;
  int n_layers, hidden, n_heads, n_kv_heads, head_dim, intermediate, vocab, max_positions;
  float rms_eps;
  lct_rope rope;
  bool tied_head; /* head is the embedding matrix */
  bool qkv_bias, o_bias, qk_norm;
  int n_eos;
  int32_t eos[LCT_MAX_EOS]; /* from config and generation_config; first is the config's */
  int32_t bos;              /* -1: none */
} lct_config;

typedef struct {
  lct_tensor attn_norm;                      /* (hidden) */
  lct_tensor q, k, v, o;                     /* (n_heads*head_dim, hidden) (n_kv*head_dim, hidden) x2 (hidden, n_heads*head_dim) */
  lct_tensor q_bias, k_bias, v_bias, o_bias; /* data NULL when absent */
  lct_tensor q_norm, k_norm;                 /* (head_dim), Qwen3 */
  lct_tensor mlp_norm;                       /* (hidden) */
  lct_tensor gate, up, down;                 /* (intermediate, hidden) x2 (hidden, intermediate) */
} lct_layer;

typedef struct lct_gguf lct_gguf;

typedef struct lct_model {
  lct_config config;
  lct_tensor embed;      /* (vocab, hidden) */
  lct_tensor final_norm; /* (hidden) */
  lct_tensor head;       /* (vocab, hidden); equals embed when tied */
  lct_layer *layers;     /* config.n_layers */
  char *path;            /* folder or .gguf file */
  char *format;          /* "safetensors" or "gguf" */
  char hash[65];         /* SHA-256 over config and tensor table (names, types, shapes, file sizes), and 4 KiB of each tensor */
  lct_gguf *gguf;        /* not NULL for a GGUF file: its metadata, for the tokenizer */
  lct_map *maps;         /* owned mappings */
  size_t n_maps;
  const char **map_paths; /* file of each mapping, for messages (arena); NULL: the one file is `path` */
  lct_arena arena;
} lct_model;

/* Maps a Hugging Face folder or a .gguf file, checks every tensor's presence and shape against the config
 * (LCT_E_FORMAT / LCT_E_UNSUPPORTED name file, tensor, expected, found). Does not read the weights. */
lct_status lct_model_map(const char *path, lct_model **out, lct_error *err) LCT_CHECKED;
void lct_model_unmap(lct_model *m);

/* Scans every weight for NaN and Inf: LCT_E_NUMERIC naming file, tensor, row and column. */
lct_status lct_model_check_finite(const lct_model *m, lct_threads *threads, lct_error *err) LCT_CHECKED;

/* Turns what a scenario or a command line calls a model into a path: an existing folder or .gguf file as it is; a Hub id
 * ("Qwen/Qwen2.5-3B-Instruct") into its snapshot folder in the local cache ($HF_HUB_CACHE, $HF_HOME/hub,
 * ~/.cache/huggingface/hub; refs/main names the snapshot). Otherwise LCT_E_IO showing the download command.
 * gguf_file (may be NULL) names a file inside the folder. *out is malloc'ed. */
lct_status lct_model_resolve(const char *id, const char *gguf_file, char **out, lct_error *err) LCT_CHECKED;

lct_layer_kind lct_config_layer_kind(const lct_config *c, int layer);
const char *lct_arch_name(lct_arch a); /* "qwen2", "qwen3", "llama" */
int64_t lct_model_n_params(const lct_model *m);

#endif
