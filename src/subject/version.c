#include <dnnl.h>
#include <stdio.h>

#include "engine/ops.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *lct_version(void) {
  /* put together anew at every call, the same each time; a thread's own, so that no two write it at once */
  static _Thread_local char text[128];
  static const char onednn[] = TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH);
  (void)snprintf(text, sizeof text, "%s (oneDNN %s, %s)", LCT_VERSION, onednn, lct_cuda_build());
  return text;
}
