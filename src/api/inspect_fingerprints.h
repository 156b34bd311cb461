/* Files of fingerprints, for lct_inspect. */
#ifndef LCT_API_INSPECT_FINGERPRINTS_H
#define LCT_API_INSPECT_FINGERPRINTS_H

#include "base/status.h"

/* A file that can be nothing else: a model is a folder or a .gguf file. */
bool inspects_fingerprints(const char *path);
lct_status inspect_fingerprints(const char *path, bool json, char **text, lct_error *err) LCT_CHECKED;

#endif
