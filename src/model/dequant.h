/* GGML block formats to float32. Formulas: the GGML quantisation formats; the oracle is gguf-py's dequantize. */
#ifndef LCT_MODEL_DEQUANT_H
#define LCT_MODEL_DEQUANT_H

#include "model/model.h"

/* n elements (a multiple of the type's block) from src, of any alignment, to out. F32, F16, BF16 too. Bit for bit what
 * gguf-py's dequantize gives in float32 (a NaN is a NaN, its payload aside). Compilers may fuse the multiply-adds: a
 * product here has at most 11 + 6 + 5 significant bits, so it is exact, and only the sum rounds. */
void lct_dequant(lct_dtype t, const void *src, int64_t n, float *out);

/* The formats of 256 elements, in dequant_k.c. */
void lct_dequant_q4_k(const unsigned char *src, int64_t n_blocks, float *out);
void lct_dequant_q5_k(const unsigned char *src, int64_t n_blocks, float *out);
void lct_dequant_q6_k(const unsigned char *src, int64_t n_blocks, float *out);

#endif
