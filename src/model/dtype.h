/* Element types of weights, and of what engines compute with. */
#ifndef LCT_MODEL_DTYPE_H
#define LCT_MODEL_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/* name, GGML type id or -1, elements a block, bytes a block */
#define LCT_DTYPES(X)           \
  X(F32, "F32", 0, 1, 4)        \
  X(F16, "F16", 1, 1, 2)        \
  X(BF16, "BF16", 30, 1, 2)     \
  X(Q4_0, "Q4_0", 2, 32, 18)    \
  X(Q4_1, "Q4_1", 3, 32, 20)    \
  X(Q5_0, "Q5_0", 6, 32, 22)    \
  X(Q5_1, "Q5_1", 7, 32, 24)    \
  X(Q8_0, "Q8_0", 8, 32, 34)    \
  X(Q4_K, "Q4_K", 12, 256, 144) \
  X(Q5_K, "Q5_K", 13, 256, 176) \
  X(Q6_K, "Q6_K", 14, 256, 210)

typedef enum {
#define LCT_DTYPE_ENUM(id, name, ggml, block, bytes) LCT_DTYPE_##id,
  LCT_DTYPES(LCT_DTYPE_ENUM)
#undef LCT_DTYPE_ENUM
      LCT_DTYPE_COUNT
} lct_dtype;

const char *lct_dtype_name(lct_dtype t);
/* Bytes of n_cols elements in a row; n_cols must be a multiple of the block. */
size_t lct_dtype_row_bytes(lct_dtype t, int64_t n_cols);
int lct_dtype_block(lct_dtype t);

#endif
