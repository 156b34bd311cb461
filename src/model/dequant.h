/* GGML block formats to float32. Formulas: the GGML quantisation formats; the oracle is gguf-py's dequantize. */
#ifndef LCT_MODEL_DEQUANT_H
#define LCT_MODEL_DEQUANT_H

#include "model/model.h"

/* n elements (a multiple of the type's block) from src to out. F32, F16, BF16 too. */
void lct_dequant(lct_dtype t, const void *src, int64_t n, float *out);

#endif
