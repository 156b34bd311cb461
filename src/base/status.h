/* Errors, and the public API's types beside them. Kernels, which need no more than errors, include base/fail.h. */
#ifndef LCT_BASE_STATUS_H
#define LCT_BASE_STATUS_H

#include "base/fail.h"
#include "llmct/llmct.h"

#endif
