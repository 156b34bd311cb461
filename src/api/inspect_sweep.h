/* What a sweep's directory holds, for lct_inspect. */
#ifndef LCT_API_INSPECT_SWEEP_H
#define LCT_API_INSPECT_SWEEP_H

#include "base/mem.h"

lct_status inspect_sweep(const char *dir, bool json, char **text, lct_error *err) LCT_CHECKED;

#endif
