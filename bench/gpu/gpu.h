/* Between the files of bench_gpu: a program of its own, so state may be static and a failure may end it. */
#ifndef LCT_BENCH_GPU_H
#define LCT_BENCH_GPU_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "internal.h" /* of cuda/ */

/* Ends the program with the message of a failure; what (may be NULL) says where. */
void bench_die(const char *what, const lct_error *err) __attribute__((noreturn));
#define BENCH_TRY(expr)                                  \
  do {                                                   \
    if ((expr) != LCT_OK) bench_die(NULL, &bench_error); \
  } while (0)
#define BENCH_CUDA(expr)                                                           \
  do {                                                                             \
    cudaError_t code_ = (expr);                                                    \
    if (code_ != cudaSuccess) {                                                    \
      (void)lct_fail(&bench_error, LCT_E_DEVICE, "%s", cudaGetErrorString(code_)); \
      bench_die(#expr, &bench_error);                                              \
    }                                                                              \
  } while (0)
extern lct_error bench_error;

#define BENCH_MAX_REPEATS 100
typedef struct {
  double median, min, max;
} bench_times;
bench_times bench_summary(double *seconds, int n);

/* model.c: a model of a known shape whose weights all view one block of random bf16 numbers: nothing is read from disk. */
typedef struct {
  lct_model model;
  uint16_t *weights;
  float *ones;
} bench_model;
void bench_model_make(const char *like, int n_layers, bench_model *out); /* n_layers 0: all of them */
void bench_model_free(bench_model *m);

typedef struct {
  int64_t in, out;
  const char *name;
} bench_gemm;
#define BENCH_N_GEMMS 4
void bench_gemms(const lct_config *c, bench_gemm out[BENCH_N_GEMMS]); /* of a layer */
double bench_flops(const lct_config *c, int n_prompts, int n_tokens); /* of a prefill with the last tokens' logits */
double bench_weight_bytes(const lct_config *c);                       /* read by a decode step */

/* ceilings.c: what the machine and cuBLASLt can do */
double bench_copy_rate(size_t bytes, int repeats); /* bytes read and written a second by a copy on the device */
/* FLOP/s of y (n, out) = x (n, in) w^T: the fastest algorithm that cuBLASLt's heuristic names, and the engine's own choice. A rate is 0
 * where it could not be measured; the reason is on stderr. */
void bench_gemm_rate(lct_dtype t, int64_t in, int64_t out, int n, int repeats, double *library, double *own);

/* timed.c: the ops table with every op between two events */
const lct_ops *bench_timed_ops(const lct_ops *inner, const lct_config *c);
void bench_timed_start(void);
/* After a pass: one JSON line a family of ops; `wall` is the pass's time on the host's clock. */
void bench_timed_report(const char *head, double wall);

#endif
