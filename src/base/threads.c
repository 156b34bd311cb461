/* Loops lie on their callers' stacks and hang in the pool's list while they have pieces left. A thread of the pool enters the first of them,
 * takes pieces until there are no more, and leaves; the caller takes pieces, too, and waits for those who entered, never for those who did
 * not. The lock is held for entering and leaving only; pieces are handed out in ascending order by a counter. */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define SPIN_SECONDS 30e-6 /* how long a thread looks for more: longer than the gaps between a layer's loops */

typedef struct loop loop;
struct loop {
  loop *next;
  lct_threads_body body;
  void *ctx;
  int64_t n, grain, n_pieces;
  int64_t taken; /* atomic: pieces handed out */
  int failed;    /* atomic: hand out no more */
  int n_inside;  /* atomic, written under the lock: threads of the pool that have entered */
  pthread_t caller;
  int64_t failed_piece; /* the lowest that failed, with what it said; under the lock */
  lct_status status;
  lct_error error;
};

struct lct_threads {
  int n_workers;
  pthread_t *workers;
  pthread_mutex_t lock;
  pthread_cond_t news, done; /* a loop began or the pool closes; a loop's last thread left or a task ended */
  loop *first;               /* the oldest */
  int n_begun;               /* atomic, written under the lock: loops so far */
  int n_asleep;              /* workers that wait for news */
  int n_tasks;               /* that run */
  bool closing;
};

struct lct_task {
  lct_threads *threads; /* NULL: started without */
  void (*run)(void *ctx);
  void *ctx;
  pthread_t thread;
};

int lct_processors(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? n : 1;
}

int lct_threads_count(const lct_threads *t) { return t == NULL ? 1 : t->n_workers + 1; }

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Looks at *at for some microseconds; true: it is no longer `old`. It does not yield meanwhile: where others want the processor that gives away
 * a whole turn, while a thread that slept gets the processor back at once. */
static bool spin_while(const int *at, int old) {
  for (double until = lct_seconds() + SPIN_SECONDS; lct_seconds() < until;) {
    for (int i = 0; i < 16; i++) {
      if (__atomic_load_n(at, __ATOMIC_ACQUIRE) != old) return true;
      pause_briefly();
    }
  }
  return false;
}

static void note_failure(lct_threads *t, loop *l, int64_t piece, lct_status status, const lct_error *error) {
  (void)pthread_mutex_lock(&t->lock);
  if (l->status == LCT_OK || piece < l->failed_piece) {
    l->failed_piece = piece;
    l->status = status;
    l->error = *error;
  }
  (void)pthread_mutex_unlock(&t->lock);
  __atomic_store_n(&l->failed, 1, __ATOMIC_RELAXED);
}

/* A piece that was handed out is run, so that of all pieces that would fail the lowest is known. */
static void take_pieces(lct_threads *t, loop *l, int thread) {
  while (__atomic_load_n(&l->failed, __ATOMIC_RELAXED) == 0) {
    int64_t piece = __atomic_fetch_add(&l->taken, 1, __ATOMIC_RELAXED);
    if (piece >= l->n_pieces) return;
    int64_t from = piece * l->grain, to = l->n - from < l->grain ? l->n : from + l->grain;
    lct_error error;
    lct_status s = l->body(l->ctx, from, to, thread, &error);
    if (s != LCT_OK) note_failure(t, l, piece, s, &error);
  }
}

static bool has_pieces(const loop *l) {
  return __atomic_load_n(&l->taken, __ATOMIC_RELAXED) < l->n_pieces && __atomic_load_n(&l->failed, __ATOMIC_RELAXED) == 0;
}

/* The oldest loop that has pieces, entered; NULL: none has. With the lock. */
static loop *enter(lct_threads *t) {
  loop *l = t->first;
  while (l != NULL && !has_pieces(l)) l = l->next;
  if (l != NULL) __atomic_store_n(&l->n_inside, l->n_inside + 1, __ATOMIC_RELAXED);
  return l;
}

/* With the lock. The caller may be gone as soon as it reads that nobody is inside. */
static void leave(lct_threads *t, loop *l) {
  int left = l->n_inside - 1;
  __atomic_store_n(&l->n_inside, left, __ATOMIC_RELEASE);
  if (left == 0) (void)pthread_cond_broadcast(&t->done);
}

/* The calling thread's number among the pool's, else -1. With the lock. */
static int number_of_self(const lct_threads *t) {
  pthread_t self = pthread_self();
  for (int i = 0; i < t->n_workers; i++) {
    if (pthread_equal(t->workers[i], self)) return i + 1;
  }
  return -1;
}

/* Looks for loops, runs their pieces. */
static void *work(void *arg) {
  lct_threads *t = arg;
  (void)pthread_mutex_lock(&t->lock);
  int self = number_of_self(t);
  while (!t->closing) {
    loop *l = enter(t);
    int begun = t->n_begun;
    if (l != NULL) {
      (void)pthread_mutex_unlock(&t->lock);
      take_pieces(t, l, self);
      (void)pthread_mutex_lock(&t->lock);
      leave(t, l);
      continue;
    }
    (void)pthread_mutex_unlock(&t->lock);
    bool more = spin_while(&t->n_begun, begun);
    (void)pthread_mutex_lock(&t->lock);
    if (more || t->n_begun != begun || t->closing) continue;
    t->n_asleep++;
    (void)pthread_cond_wait(&t->news, &t->lock);
    t->n_asleep--;
  }
  (void)pthread_mutex_unlock(&t->lock);
  return NULL;
}

/* The calling thread's number where it is inside a body of this pool, else -1. With the lock. */
static int number_inside(const lct_threads *t) {
  if (t->first == NULL) return -1; /* nobody is inside anything */
  for (const loop *l = t->first; l != NULL; l = l->next) {
    if (pthread_equal(l->caller, pthread_self())) return 0;
  }
  return number_of_self(t);
}

/* Hangs the loop into the list and wakes as many as it has pieces for. With the lock. */
static void begin(lct_threads *t, loop *l) {
  loop **at = &t->first;
  while (*at != NULL) at = &(*at)->next;
  *at = l;
  (void)__atomic_add_fetch(&t->n_begun, 1, __ATOMIC_RELEASE);
  int64_t wake = l->n_pieces - 1 < t->n_asleep ? l->n_pieces - 1 : t->n_asleep;
  if (wake > 0 && wake == t->n_asleep) {
    (void)pthread_cond_broadcast(&t->news);
  } else {
    for (int64_t i = 0; i < wake; i++) (void)pthread_cond_signal(&t->news);
  }
}

/* Takes the loop out of the list when nobody is inside any more. */
static void end(lct_threads *t, loop *l) {
  int inside;
  while ((inside = __atomic_load_n(&l->n_inside, __ATOMIC_ACQUIRE)) > 0 && spin_while(&l->n_inside, inside)) {
  }
  (void)pthread_mutex_lock(&t->lock);
  while (l->n_inside > 0) (void)pthread_cond_wait(&t->done, &t->lock);
  loop **at = &t->first;
  while (*at != l) at = &(*at)->next;
  *at = l->next;
  (void)pthread_mutex_unlock(&t->lock);
}

static lct_status run_alone(int64_t n, int64_t grain, lct_threads_body body, void *ctx, int thread, lct_error *err) {
  for (int64_t from = 0; from < n; from += grain) {
    LCT_TRY(body(ctx, from, n - from < grain ? n : from + grain, thread, err));
    if (n - from <= grain) break;
  }
  return LCT_OK;
}

lct_status lct_threads_for(lct_threads *t, int64_t n, int64_t grain, lct_threads_body body, void *ctx, lct_error *err) {
  if (grain < 1) grain = 1;
  if (t == NULL || t->n_workers == 0 || n <= grain) return run_alone(n, grain, body, ctx, 0, err);
  loop l = {.body = body, .ctx = ctx, .n = n, .grain = grain, .n_pieces = (n - 1) / grain + 1, .caller = pthread_self()};
  (void)pthread_mutex_lock(&t->lock);
  int inside = number_inside(t);
  if (inside < 0) begin(t, &l);
  (void)pthread_mutex_unlock(&t->lock);
  if (inside >= 0) return run_alone(n, grain, body, ctx, inside, err);
  take_pieces(t, &l, 0);
  end(t, &l);
  if (l.status != LCT_OK && err != NULL) *err = l.error;
  return l.status;
}

/* A thread that takes no signals but those of its own faults: the others are for the process's own threads. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *arg) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  sigset_t all, before;
  (void)sigfillset(&all);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) (void)sigdelset(&all, own[i]);
  (void)pthread_sigmask(SIG_BLOCK, &all, &before);
  int rc = pthread_create(thread, NULL, run, arg);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return rc;
}

lct_status lct_threads_new(int n, lct_threads **out, lct_error *err) {
  *out = NULL;
  if (n < 0 || n > LCT_MAX_THREADS) return lct_fail(err, LCT_E_USAGE, "threads: %d: expected 0 (all) to %d", n, LCT_MAX_THREADS);
  if (n == 0) n = lct_processors() < LCT_MAX_THREADS ? lct_processors() : LCT_MAX_THREADS;
  lct_threads *t = NULL;
  LCT_TRY(lct_calloc(&t, 1, sizeof *t, "threads", err));
  pthread_mutexattr_t adaptive;
  (void)pthread_mutexattr_init(&adaptive);
  (void)pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
  (void)pthread_mutex_init(&t->lock, &adaptive);
  (void)pthread_mutexattr_destroy(&adaptive);
  (void)pthread_cond_init(&t->news, NULL);
  (void)pthread_cond_init(&t->done, NULL);
  lct_status s = lct_calloc(&t->workers, (size_t)n, sizeof *t->workers, "threads", err);
  (void)pthread_mutex_lock(&t->lock); /* they look for themselves among the workers when they have it */
  while (s == LCT_OK && t->n_workers < n - 1) {
    int rc = start_thread(&t->workers[t->n_workers], work, t);
    if (rc != 0) s = lct_fail_errno(err, rc, "cannot start thread %d of %d", t->n_workers + 2, n);
    else t->n_workers++;
  }
  (void)pthread_mutex_unlock(&t->lock);
  if (s != LCT_OK) {
    lct_threads_free(t);
    return s;
  }
  *out = t;
  return LCT_OK;
}

void lct_threads_free(lct_threads *t) {
  if (t == NULL) return;
  (void)pthread_mutex_lock(&t->lock);
  while (t->n_tasks > 0) (void)pthread_cond_wait(&t->done, &t->lock);
  t->closing = true;
  (void)pthread_cond_broadcast(&t->news);
  (void)pthread_mutex_unlock(&t->lock);
  for (int i = 0; i < t->n_workers; i++) (void)pthread_join(t->workers[i], NULL);
  (void)pthread_cond_destroy(&t->news);
  (void)pthread_cond_destroy(&t->done);
  (void)pthread_mutex_destroy(&t->lock);
  free(t->workers);
  free(t);
}

static void *run_task(void *arg) {
  lct_task *task = arg;
  (void)setpriority(PRIO_PROCESS, 0, PRIO_MAX - 1); /* Linux keeps niceness per thread */
  task->run(task->ctx);
  lct_threads *t = task->threads;
  if (t == NULL) return NULL;
  (void)pthread_mutex_lock(&t->lock);
  t->n_tasks--;
  (void)pthread_cond_broadcast(&t->done);
  (void)pthread_mutex_unlock(&t->lock);
  return NULL;
}

static void count_task(lct_threads *t, int change) {
  if (t == NULL) return;
  (void)pthread_mutex_lock(&t->lock);
  t->n_tasks += change;
  (void)pthread_mutex_unlock(&t->lock);
}

lct_status lct_task_start(lct_threads *t, void (*run)(void *ctx), void *ctx, lct_task **out, lct_error *err) {
  lct_task *task = NULL;
  *out = NULL;
  LCT_TRY(lct_calloc(&task, 1, sizeof *task, "a task", err));
  *task = (lct_task){.threads = t, .run = run, .ctx = ctx};
  count_task(t, 1);
  int rc = start_thread(&task->thread, run_task, task);
  if (rc != 0) {
    count_task(t, -1);
    free(task);
    return lct_fail_errno(err, rc, "cannot start a thread for work in the background");
  }
  *out = task;
  return LCT_OK;
}

void lct_task_join(lct_task *task) {
  if (task == NULL) return;
  (void)pthread_join(task->thread, NULL);
  free(task);
}
