/* The CPU backend: fills the ops table of engine/ops.h on oneDNN (GEMM) and our own kernels.
 *
 * GEMM: oneDNN's brgemm with weights packed once. It gives a row the same bits whatever the number of rows and threads (the unit
 * test holds this, a self-check at open looks again on the machine at hand); where oneDNN has no brgemm (no AVX-512), a kernel
 * of ours does the same, because its other GEMM does not.
 * Threads: every op runs on lct_backend_options.threads; oneDNN is called with one thread for a piece of a product, and the caller's
 * OpenMP setting is left as it was.
 * LCT_CPU_ISA=base|avx2|avx512 in the environment forces a lower instruction set than the machine's best (for tests). */
#ifndef LCT_CPU_CPU_H
#define LCT_CPU_CPU_H

#include "engine/ops.h"

/* Appends "avx512 kernels, AMX for bf16, oneDNN 2.6.3" (what an open would choose now) to out. */
lct_status lct_cpu_describe(lct_buf *out, lct_error *err) LCT_CHECKED;

#endif
