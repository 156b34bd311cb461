/* What a model runs on and in which precision: the user's words turned into a backend. */
#ifndef LCT_SUBJECT_DEVICE_H
#define LCT_SUBJECT_DEVICE_H

#include "engine/engine.h"

typedef struct {
  bool gpu;
  int number;     /* of the GPU */
  char label[24]; /* "cpu", "cuda:0" */
  char name[256]; /* what it is */
  const lct_ops *ops;
  lct_precision precision; /* what it computes in: EXACT or FAST on the CPU, F16 or BF16 on a GPU */
  int32_t batch_rows;      /* small batches share a pass up to this many tokens */
} lct_device;

/* text: "auto", "cpu", "cuda", "cuda:N"; NULL: the environment variable LCT_DEVICE, else "auto". LCT_E_USAGE for other words;
 * LCT_E_UNSUPPORTED says why a GPU that is named cannot be used, or that the device cannot do the precision asked for. */
lct_status lct_device_resolve(const char *text, lct_precision asked, lct_device *out, lct_error *err) LCT_CHECKED;
/* As public results tell it. */
void lct_device_describe(const lct_device *d, lct_device_used *out);
/* The number of the GPU that "auto" uses, -1: the CPU. */
int lct_device_auto(void);
/* What the kind of device makes of the precision asked for. */
lct_status lct_precision_resolve(bool gpu, lct_precision asked, lct_precision *out, lct_error *err) LCT_CHECKED;
/* An engine on that device, which borrows the threads. */
lct_status lct_device_engine(const lct_device *d, const lct_model *m, lct_threads *threads, lct_engine **out, lct_error *err) LCT_CHECKED;
/* The CPU's own name, "unknown" where the system does not say. */
void lct_device_cpu_name(char *out, size_t n);

#endif
