/* Transposition of float (or any four-byte) matrices in registers. */
#ifndef LCT_CPU_KERNELS_TRANSPOSE_H
#define LCT_CPU_KERNELS_TRANSPOSE_H

#include "cpu/kernels/vec.h"

/* VL rows of VL floats -> their transpose, by log2(VL) perfect shuffles. */
INLINE void transpose(vf r[VL]) {
  vi lo, hi;
  for (int i = 0; i < VL / 2; i++) {
    lo[2 * i] = i;
    lo[2 * i + 1] = i + VL;
    hi[2 * i] = i + VL / 2;
    hi[2 * i + 1] = i + VL / 2 + VL;
  }
#pragma GCC unroll 4
  for (int step = 1; step < VL; step *= 2) {
    vf t[VL];
#pragma GCC unroll 8
    for (int i = 0; i < VL / 2; i++) {
      t[2 * i] = __builtin_shuffle(r[i], r[i + VL / 2], lo);
      t[2 * i + 1] = __builtin_shuffle(r[i], r[i + VL / 2], hi);
    }
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) r[i] = t[i];
  }
}

/* dst (k, ldd) columns [0, VL) = transpose of the rows src[0..VL) columns [0, k). */
INLINE void transpose_rows(const float *const *src, int k, float *dst, int ldd) {
  int i = 0;
  for (; i + VL <= k; i += VL) {
    vf r[VL];
#pragma GCC unroll 16
    for (int j = 0; j < VL; j++) r[j] = vload(src[j] + i);
    transpose(r);
#pragma GCC unroll 16
    for (int j = 0; j < VL; j++) vstore(dst + (int64_t)(i + j) * ldd, r[j]);
  }
  for (; i < k; i++) {
    for (int j = 0; j < VL; j++) memcpy(dst + (int64_t)i * ldd + j, src[j] + i, sizeof *dst);
  }
}

#endif
