/* The threads of a process's work: one pool for a subject, shared by the model's arithmetic, the planner, the keeper of moments and the store's
 * writers. Work that the user waits for goes first; work in the background gets the processors where that leaves them idle.
 *
 * Nothing spins for longer than microseconds, no thread's settings outlive a call, and pools know nothing of each other, so that several
 * subjects, and other libraries' threads, live side by side in one process. */
#ifndef LCT_BASE_THREADS_H
#define LCT_BASE_THREADS_H

#include "base/status.h"

typedef struct lct_threads lct_threads;

/* n: threads that compute, the caller of lct_threads_for among them; 0: as many as processors may be used. LCT_E_USAGE below 0 or above 4096. */
lct_status lct_threads_new(int n, lct_threads **out, lct_error *err) LCT_CHECKED;
/* Waits for what was started. */
void lct_threads_free(lct_threads *t);
/* NULL counts as one thread: everything here also works without a pool, in the calling thread. */
int lct_threads_count(const lct_threads *t);

/* Items [from, to) of a loop; thread: 0 .. count - 1, the caller's is one of them. A failure is written to err, the calling part's own. */
typedef lct_status (*lct_threads_body)(void *ctx, int64_t from, int64_t to, int thread, lct_error *err);
/* Runs items [0, n) in pieces of `grain` items (the last one shorter), each by one thread, in any order; returns when all are done. Of several
 * failures that of the lowest piece is the result; pieces behind a failure may be left out. May be called from several threads at
 * once and from inside a body: then the inner loop is the caller's alone. */
lct_status lct_threads_for(lct_threads *t, int64_t n, int64_t grain, lct_threads_body body, void *ctx, lct_error *err) LCT_CHECKED;

/* Work in the background, on a thread of its own that gives way to those that compute (Linux: niceness). Such work may wait for files. */
typedef struct lct_task lct_task;
lct_status lct_task_start(lct_threads *t, void (*run)(void *ctx), void *ctx, lct_task **out, lct_error *err) LCT_CHECKED;
/* Waits until it has run, and frees it; NULL does nothing. */
void lct_task_join(lct_task *task);

#endif
