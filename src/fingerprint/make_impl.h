/* Inside the making of fingerprints: prompts are read one by one, run in chunks, and added to sums; no vector is kept but some of the
 * neutral bank's. */
#ifndef LCT_FINGERPRINT_MAKE_IMPL_H
#define LCT_FINGERPRINT_MAKE_IMPL_H

#include "base/clock.h"
#include "capture/pool.h"
#include "subject/device.h"
#include "score/calibrate.h"
#include "score/fingerprint.h"
#include "scenario/input.h"
#include "text/prompt.h"

enum {
  FP_CHUNK = 256,      /* prompts run together, at most */
  FP_NEUTRAL = -1,     /* "label" of the bank's prompts */
  FP_BANK_ROWS = 4096, /* the bank keeps at most so many prompts' vectors, and fewer where they take more than FP_BANK_BYTES */
  FP_BANK_MIN = 64,
  FP_BIN_MIN = 8       /* prompts that a bin of role and length needs for a mean and a standard deviation of its own */
};
#define FP_BANK_BYTES ((size_t)2 << 30)
#define FP_CHUNK_BYTES ((size_t)256 << 20)

typedef struct {
  lct_tokens tokens;
  lct_positions content;
  int label;      /* FP_NEUTRAL: of the bank */
  int64_t number; /* among those of its label, from 0 */
  int role;
  int32_t seq;
} fp_prompt;

/* Sums of a label's vectors, its even and odd prompts apart. */
typedef struct {
  char *name;
  int64_t n;
  double *half[2]; /* (n_places, hidden) */
} fp_label;

typedef struct {
  float *vectors; /* (n_places, hidden) */
  int bin;        /* lct_z_bin */
} fp_bank_row;

/* The bank: moments of all its prompts; vectors of every stride-th, stride being the least power of two for which they are no more than
 * cap. */
typedef struct {
  int64_t n, stride;
  double *mean, *m2; /* (n_places, hidden) */
  fp_bank_row *rows; /* (n_rows) */
  size_t n_rows, cap;
} fp_bank;

typedef struct {
  const lct_fingerprint_options *o;
  lct_fingerprint_result *result;
  char *model_id, *model_path;
  lct_model *model;
  lct_config cfg;
  lct_tokenizer *tokenizer;
  lct_encoder *encoder;
  lct_template template;
  lct_device device;
  lct_engine *engine;
  int poolings[LCT_N_POOLINGS], n_poolings; /* lct_pooling */
  lct_source sources[LCT_N_RESIDUAL];
  int n_sources;
  lct_plane *planes;
  lct_pool *pool;
  size_t n_places;
  fp_label *labels;
  size_t n_labels, cap_labels;
  fp_bank bank;
  fp_prompt *prompts; /* (chunk) */
  int n_prompts, chunk;
  int64_t rows; /* about what the chunk computes */
  bool uses_neutral;
} maker;

/* prompts_read.c: the model of a scenario, and every prompt in order, run when chunks are full. */
lct_status fp_scenario_model(const char *path, char **id, lct_error *err) LCT_CHECKED;
bool fp_is_scenario(const char *path);
lct_status fp_read_all(maker *m, lct_error *err) LCT_CHECKED;
/* chunk.c: runs the prompts of the chunk and empties it. */
lct_status fp_run_chunk(maker *m, lct_error *err) LCT_CHECKED;
/* label_sums.c: adds the vectors of the chunk's prompts, which the pool holds as items 0 .. n_prompts-1. */
lct_status fp_add_chunk(maker *m, lct_error *err) LCT_CHECKED;
/* Means and split halves. */
lct_status fp_finish_labels(const maker *m, lct_fingerprints *f, lct_error *err) LCT_CHECKED;
/* bank.c */
lct_status fp_finish_bank(const maker *m, lct_fingerprints *f, lct_error *err) LCT_CHECKED;
void fp_free_sums(maker *m);

void fp_report(const maker *m, const char *phase, int64_t done, int64_t total);

#endif
