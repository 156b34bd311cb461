/* Between the files of synth. */
#ifndef LCT_MODEL_SYNTH_INTERNAL_H
#define LCT_MODEL_SYNTH_INTERNAL_H

#include "model/synth.h"

/* The configuration `like` names, *tiny when its vocabulary may grow to fit a tokenizer. false: no such name. */
bool lct_synth_preset(const char *like, lct_config *out, bool *tiny);

/* Elements [first, first+n) of the tensor with this key, as t (F32, F16, BF16), into out. */
uint64_t lct_synth_key(uint64_t seed, const char *name);
lct_status lct_synth_fill(uint64_t key, int64_t first, int64_t n, double mean, double std, lct_dtype t, lct_threads *threads, void *out,
                          lct_error *err) LCT_CHECKED;

/* Writes model.safetensors, or shards with their index, into dir; no shard larger than shard_bytes but for a single tensor. */
lct_status lct_synth_write_weights(const lct_config *c, uint64_t seed, lct_dtype t, const char *dir, int64_t shard_bytes,
                                   lct_threads *threads, lct_error *err) LCT_CHECKED;

/* What config.json has to know of a tokenizer. */
typedef struct {
  int vocab; /* ids are below this */
  int n_eos;
  int32_t eos[2];
} lct_synth_vocab;

/* Writes the built-in tokenizer into dir. */
lct_status lct_synth_write_tokenizer(const char *dir, lct_synth_vocab *out, lct_error *err) LCT_CHECKED;
/* Copies a tokenizer's files from one folder to another. */
lct_status lct_synth_copy_tokenizer(const char *from, const char *dir, lct_synth_vocab *out, lct_error *err) LCT_CHECKED;

#endif
