/* The largest values of a vector by magnitude. */
#ifndef LCT_SCORE_TOP_H
#define LCT_SCORE_TOP_H

#include "base/mem.h"

/* The k (1 <= k <= n, and k <= (n + 31) / 32) largest |v[i]| of v (n) into best[k], in no order: a candidate is |v[i]|'s bits above its
 * index i, in one integer. Ties go to the higher index; all NaN are equal and largest (as in numpy's sort). */
void lct_top_select(const float *v, int n, int k, uint64_t *best);

#endif
