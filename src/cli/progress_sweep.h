/* Progress of a sweep on stderr: one line drawn again and again on a terminal, a plain line every few seconds elsewhere, nothing when
 * quiet. */
#ifndef LCT_CLI_PROGRESS_SWEEP_H
#define LCT_CLI_PROGRESS_SWEEP_H

#include <stdbool.h>

#include "llmct/llmct.h"

enum { PROGRESS_SWEEP_BYTES = 256 };

typedef struct {
  bool quiet, terminal;
  const char *phase; /* being shown */
  double last_shown; /* lct_sweep_progress.seconds */
} progress_sweep;

progress_sweep progress_sweep_new(bool quiet);
/* An lct_sweep_options.progress callback; ctx is the progress_sweep. */
void progress_sweep_show(void *ctx, const lct_sweep_progress *p);
/* Ends the line that was being drawn. */
void progress_sweep_end(progress_sweep *s);
/* The line itself. */
void progress_sweep_line(const lct_sweep_progress *p, char out[PROGRESS_SWEEP_BYTES]);

#endif
