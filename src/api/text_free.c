#include <stdlib.h>

#include "llmct/llmct.h"

void lct_text_free(char *text) { free(text); }
