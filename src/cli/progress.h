/* Progress of long work on stderr: a bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet. */
#ifndef LCT_CLI_PROGRESS_H
#define LCT_CLI_PROGRESS_H

#include <stdbool.h>

#include "llmct/llmct.h"

typedef struct {
  bool quiet, terminal;
  const char *phase; /* being shown */
  double phase_start, last_shown;
} progress;

progress progress_new(bool quiet);
/* An lct_scan_options.progress callback; ctx is the progress. */
void progress_show(void *ctx, const lct_progress *p);
/* Ends the line of a bar. */
void progress_end(progress *p);

#endif
