/* Units through workers into a sink. Whichever worker ran a unit, the sink gets the units in their order, one at a time. */
#ifndef LCT_RUN_PIPELINE_H
#define LCT_RUN_PIPELINE_H

#include "run/worker.h"

/* Where units come from: a feed. next: *out NULL at the end; called by one thread at a time. */
typedef struct {
  void *ctx;
  lct_status (*next)(void *ctx, lct_unit **out, lct_error *err);
} lct_feed;

/* Takes a unit and its vectors (pool: item i of the unit is item i), in the order of units, by one thread at a time. */
typedef struct {
  void *ctx;
  lct_status (*take)(void *ctx, lct_unit *u, lct_worker *w, lct_error *err);
  /* The unit that failed, or was cancelled: items that are `done` have their vectors. NULL: it is left. */
  void (*broken)(void *ctx, lct_unit *u, lct_worker *w);
} lct_sink;

/* The calling thread is the first worker's; the others have threads of their own. Ends with the first failure, or when there are no units.
 * clients (n_workers): what each worker tells its client; NULL: nothing. */
lct_status lct_pipeline_run(lct_worker *const *workers, int n_workers, const lct_client *const *clients, const lct_feed *from,
                            const lct_sink *to, lct_error *err) LCT_CHECKED;

#endif
