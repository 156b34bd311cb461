#include <dnnl.h>

#include "llmct/llmct.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *lct_version(void) {
  return LCT_VERSION " (oneDNN " TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH) ", no CUDA)";
}
