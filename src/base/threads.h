/* The threads of a process's work: one pool for a subject, shared by the model's arithmetic, the planner, the keeper of moments and the store's
 * writers. Work that the user waits for goes first; work in the background gets the processors where that leaves them idle.
 *
 * A loop costs a few microseconds to begin. Threads that find nothing to do look for more for some microseconds, and sleep then. No thread's settings outlive a call, the pool's threads take no signals, and pools know nothing of each other, so
 * that several subjects, and other libraries' threads, live side by side in one process. */
#ifndef LCT_BASE_THREADS_H
#define LCT_BASE_THREADS_H

#include "base/status.h"

enum { LCT_MAX_THREADS = 4096 };

/* Processors that this process may use, at least 1. */
int lct_processors(void);

typedef struct lct_threads lct_threads;

/* n: threads that compute, the caller of lct_threads_for among them; 0: lct_processors. LCT_E_USAGE below 0 or above LCT_MAX_THREADS. */
lct_status lct_threads_new(int n, lct_threads **out, lct_error *err) LCT_CHECKED;
/* Waits for tasks that still run; loops must have ended. NULL does nothing. */
void lct_threads_free(lct_threads *t);
/* NULL counts as one thread: loops without a pool run in the calling thread. */
int lct_threads_count(const lct_threads *t);

/* Items [from, to) of a loop; thread: 0 .. count - 1, of two bodies of a loop that run at once never the same. A failure is written to err,
 * the piece's own. */
typedef lct_status (*lct_threads_body)(void *ctx, int64_t from, int64_t to, int thread, lct_error *err);
/* Runs items [0, n) in pieces of `grain` items (the last one shorter), each by one thread, in any order; returns when all are done. Of several
 * failures that of the lowest piece is the result; pieces behind a failure may be left out. May be called from several threads at
 * once (the pool's threads help the first) and from inside a body: then the inner loop is the caller's alone, and keeps its number. */
lct_status lct_threads_for(lct_threads *t, int64_t n, int64_t grain, lct_threads_body body, void *ctx, lct_error *err) LCT_CHECKED;

/* Work in the background, on a thread of its own (without a pool, too) that gives way to those that compute (Linux: niceness). Such work may
 * wait for files and for other tasks. The lct_threads_for of a task runs at the pool's urgency; with NULL it stays in the task's thread. */
typedef struct lct_task lct_task;
lct_status lct_task_start(lct_threads *t, void (*run)(void *ctx), void *ctx, lct_task **out, lct_error *err) LCT_CHECKED;
/* Waits until it has run, and frees it; NULL does nothing. */
void lct_task_join(lct_task *task);

#endif
