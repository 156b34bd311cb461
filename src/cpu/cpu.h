/* The CPU backend: fills the ops table of engine/ops.h on oneDNN (GEMM), OpenMP and our own kernels.
 *
 * GEMM: oneDNN's brgemm with weights packed once. It gives a row the same bits whatever the number of rows and threads (the unit
 * test holds this, a self-check at open looks again on the machine at hand); where oneDNN has no brgemm (no AVX-512), a kernel
 * of ours does the same, because its other GEMM does not.
 * Threads: every op runs on its own number of threads (lct_backend_options.n_threads); the caller's OpenMP settings are left
 * alone.
 * libgomp's waiting threads spin; it reads how long from the environment when it is loaded, so a program must set it before.
 * GOMP_SPINCOUNT=1000 costs nothing on an idle machine; measured on two cores that other work shared, products of 256 rows took
 * 2 to 7 times less than with the default, single rows about the same. OMP_WAIT_POLICY=passive was as good or better there, but
 * costs about 28 us a parallel loop on an idle machine.
 * LCT_CPU_ISA=base|avx2|avx512 in the environment forces a lower instruction set than the machine's best (for tests). */
#ifndef LCT_CPU_CPU_H
#define LCT_CPU_CPU_H

#include "engine/ops.h"

/* Appends "avx512 kernels, oneDNN 2.6.3" (what an open would choose now) to out. */
lct_status lct_cpu_describe(lct_buf *out, lct_error *err) LCT_CHECKED;

#endif
