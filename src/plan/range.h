/* Runs of rows: where keys stay, and what a pass computes. */
#ifndef LCT_PLAN_RANGE_H
#define LCT_PLAN_RANGE_H

#include <stdint.h>

/* KV slots [first, first+n), consecutive absolute positions. */
typedef struct {
  int32_t first, n;
} lct_kv_range;

/* Rows [first, first+n) of a batch: what a pass computes, while a slot is where keys stay. */
typedef struct {
  int32_t first, n;
} lct_row_range;

#endif
