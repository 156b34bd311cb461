/* Inside the making of fingerprints: prompts are read one by one, run in units, and added to sums; no vector is kept but some of the
 * neutral bank's. */
#ifndef LCT_FINGERPRINT_MAKE_IMPL_H
#define LCT_FINGERPRINT_MAKE_IMPL_H

#include "base/clock.h"
#include "run/item.h"
#include "run/pipeline.h"
#include "scenario/input.h"
#include "score/calibrate.h"
#include "score/fingerprint.h"

enum {
  FP_UNIT = 256,       /* prompts run together, at most */
  FP_NEUTRAL = -1,     /* "label" of the bank's prompts */
  FP_BANK_ROWS = 4096, /* the bank keeps at most so many prompts' vectors, and fewer where they take more than FP_BANK_BYTES */
  FP_BANK_MIN = 64,
  FP_BIN_MIN = 8 /* prompts that a bin of role and length needs for a mean and a standard deviation of its own */
};
#define FP_BANK_BYTES ((size_t)2 << 30)
#define FP_UNIT_BYTES ((size_t)256 << 20)

/* Whose prompt an item of a unit is. */
typedef struct {
  int label;      /* FP_NEUTRAL: of the bank */
  int64_t number; /* among those of its label, from 0 */
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

/* What is asked for; a place is (position, source, layer), the last going fastest, as in a file of fingerprints. */
typedef struct {
  lct_position *positions;
  int n_positions;
  lct_source sources[LCT_N_RESIDUAL];
  int n_sources, n_layers, hidden;
  lct_stream streams[LCT_N_RESIDUAL];
  lct_plane *planes;
  size_t n_places;
} fp_axes;

typedef struct fp_reader fp_reader;

typedef struct {
  const lct_fingerprint_options *o;
  lct_fingerprint_result *result;
  lct_arena arena;
  lct_subject *subject;
  lct_worker *worker;
  fp_axes axes;
  fp_label *labels;
  size_t n_labels, cap_labels;
  fp_bank bank;
  bool uses_neutral;
  fp_reader *reader;
} maker;

/* prompts_read.c: the model of a scenario; prompts in order, in units. */
lct_status fp_scenario_model(const char *path, char **id, lct_error *err) LCT_CHECKED;
bool fp_is_scenario(const char *path);
lct_status fp_reader_new(maker *m, lct_error *err) LCT_CHECKED;
lct_status fp_next_unit(void *ctx, lct_unit **out, lct_error *err) LCT_CHECKED; /* a feed; ctx is the maker */
void fp_reader_free(fp_reader *r);
void fp_report(const maker *m, const char *phase, int64_t done, int64_t total);
/* label_sums.c: adds the vectors of a unit's prompts, which the pool has. */
lct_status fp_take_unit(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) LCT_CHECKED; /* a sink */
/* Means and split halves. */
lct_status fp_finish_labels(const maker *m, lct_fingerprints *f, lct_error *err) LCT_CHECKED;
/* bank.c */
lct_status fp_finish_bank(const maker *m, lct_fingerprints *f, lct_error *err) LCT_CHECKED;
void fp_free_sums(maker *m);

#endif
