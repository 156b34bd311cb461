/* Where a sweep stands as a file in Prometheus' text format (--metrics-file), for node_exporter's textfile collector or any reader. It is
 * replaced whole, at most once a second and without fsync: a reader sees one state or the next. */
#ifndef LCT_SWEEP_METRICS_FILE_H
#define LCT_SWEEP_METRICS_FILE_H

#include "base/mem.h"

typedef enum { LCT_SWEEP_RUNNING, LCT_SWEEP_DONE, LCT_SWEEP_INTERRUPTED, LCT_SWEEP_FAILED, LCT_SWEEP_N_STATES } lct_sweep_state;
const char *lct_sweep_state_name(lct_sweep_state s); /* "running", "done", "interrupted", "failed" */

/* path is borrowed; NULL: nothing is written. Zero-initialise the rest. */
typedef struct {
  const char *path;
  bool written;
  double last_seconds; /* p->seconds of the last writing */
} lct_metrics_file;

/* Writes when the last writing is a second old, and at once where the state is not RUNNING. A failure (LCT_E_IO, names the file) is no
 * reason to stop a sweep: the next call tries again a second later. */
lct_status lct_metrics_file_update(lct_metrics_file *m, const lct_sweep_progress *p, lct_sweep_state state, lct_error *err) LCT_CHECKED;
/* The text alone; unix_seconds is the time of day in it. */
lct_status lct_metrics_format(const lct_sweep_progress *p, lct_sweep_state state, double unix_seconds, lct_buf *out,
                              lct_error *err) LCT_CHECKED;

#endif
