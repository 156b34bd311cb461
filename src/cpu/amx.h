/* Matrix products of bf16 on AMX tiles (Intel, "Architecture Instruction Set Extensions Programming Reference", chapter 3: TDPBF16PS). An
 * element is one sum in the order of k, whatever rows and columns are computed beside it: oneDNN's product on AMX (2.6) cuts its sums by the
 * number of rows and threads, so that a row's bits would depend on its company. Subnormal numbers count as zero. */
#ifndef LCT_CPU_AMX_H
#define LCT_CPU_AMX_H

#include <stdbool.h>
#include <stdint.h>

enum {
  LCT_AMX_COLS = 32, /* columns of a panel */
  LCT_AMX_K = 32,    /* k is a multiple */
  LCT_AMX_ROWS = 32, /* rows that are computed at once */
};

/* Whether processor and system have AMX with bf16; asks the system for it, once. */
bool lct_amx_available(void);
/* y (n_rows, n_cols) f32 = x (n_rows, k) panel^T + bias: x and panel (k / 2, 32, 2) bf16, n_cols <= 32, bias padded to 32. */
void lct_amx_panel(const uint16_t *x, int64_t ldx, int n_rows, int k, const uint16_t *panel, const float *bias, int n_cols, float *y,
                   int64_t ldy);
/* The calling thread is done with panels for now: its tiles need not be saved any more. */
void lct_amx_release(void);

#endif
