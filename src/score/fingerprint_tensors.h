/* Inside the fingerprint file: its tensors, one after another, for the writer and the reader alike. */
#ifndef LCT_SCORE_FINGERPRINT_TENSORS_H
#define LCT_SCORE_FINGERPRINT_TENSORS_H

#include "score/fingerprint.h"

typedef struct {
  const char *name; /* valid during the call */
  int n_dims;
  int64_t dims[4];
  float *data; /* NULL while f has no storage */
} lct_fingerprint_tensor;

/* Shows every tensor in the file's order; stops at the first failure. whiten: whether f has it or will have it. */
lct_status lct_fingerprint_each(const lct_fingerprints *f, bool whiten,
                                lct_status (*show)(void *ctx, const lct_fingerprint_tensor *t, lct_error *err), void *ctx,
                                lct_error *err) LCT_CHECKED;

#endif
