/* Launchers of the kernels: one op family a .cu file and a header of the same name in kernels/, so that a change of one compiles that one
 * alone. C linkage; every pointer named d_* or without `host_` is device memory.
 *
 * T below is the 16-bit type `t` of GEMM inputs and outputs, keys and values: LCT_DTYPE_F16 or LCT_DTYPE_BF16. Matrices are row-major
 * and dense unless a leading dimension (in elements) is given; base addresses are 256-byte aligned (cudaMalloc), rows 16-byte aligned
 * where a kernel says so. A launcher checks the limits it relies on (LCT_E_UNSUPPORTED names them), launches on the stream, checks the
 * launch (LCT_E_DEVICE names the kernel) and never synchronises. n == 0 launches nothing and succeeds.
 * A row's result depends on that row alone, bit for bit. */
#ifndef LCT_CUDA_KERNELS_H
#define LCT_CUDA_KERNELS_H

#include "kernels/attention.h"
#include "kernels/gemm_check.h"
#include "kernels/mlp.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/sampler.h"

#endif
