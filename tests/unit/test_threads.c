/* The pool: every item once, whatever the sizes; the lowest failure; loops in loops; callers beside each other; tasks. */
#include "base/threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "test_support.h"

enum { MOST = 5000, POOL = 4 };

static lct_error err;

typedef struct {
  lct_threads *threads;
  int64_t grain, n;
  int64_t fails_from, fails_every; /* items that fail; every 0: none */
  int count;                       /* of threads */
  int seen[MOST];                  /* how often an item was run */
  int inside[LCT_MAX_THREADS];     /* bodies that run under a number */
  int wrong;                       /* atomic */
} job;

static lct_status count_items(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  job *j = ctx;
  bool last = to == j->n;
  int wrong = from % j->grain != 0 || (to - from != j->grain && !last) || to <= from || thread < 0 || thread >= j->count;
  if (!wrong) wrong |= __atomic_add_fetch(&j->inside[thread], 1, __ATOMIC_RELAXED) != 1;
  lct_status s = LCT_OK;
  for (int64_t i = from; i < to; i++) {
    j->seen[i]++;
    if (j->fails_every > 0 && i >= j->fails_from && (i - j->fails_from) % j->fails_every == 0)
      s = lct_fail(e, LCT_E_NUMERIC, "item %d", (int)i);
  }
  (void)__atomic_sub_fetch(&j->inside[thread], 1, __ATOMIC_RELAXED);
  if (wrong) __atomic_store_n(&j->wrong, 1, __ATOMIC_RELAXED);
  return s;
}

static job *new_job(lct_threads *t, int64_t n, int64_t grain) {
  job *j = NULL;
  assert_ok(lct_calloc(&j, 1, sizeof *j, "a test's job", &err));
  j->threads = t;
  j->count = lct_threads_count(t);
  j->n = n;
  j->grain = grain;
  return j;
}

static void assert_each(const job *j, int times) {
  assert_int_equal(j->wrong, 0);
  for (int64_t i = 0; i < j->n; i++) assert_int_equal(j->seen[i], times);
  for (int64_t i = j->n; i < MOST; i++) assert_int_equal(j->seen[i], 0);
}

static lct_threads *new_threads(int n) {
  lct_threads *t = NULL;
  assert_ok(lct_threads_new(n, &t, &err));
  return t;
}

static void sizes(void **state) {
  (void)state;
  lct_threads *t = NULL;
  assert_fails(lct_threads_new(-1, &t, &err), LCT_E_USAGE, "threads: -1: expected 0 (all) to 4096");
  assert_fails(lct_threads_new(LCT_MAX_THREADS + 1, &t, &err), LCT_E_USAGE, "threads: 4097: expected 0 (all) to 4096");
  assert_null(t);
  assert_int_equal(lct_threads_count(NULL), 1);
  lct_threads_free(NULL);
  for (int n = 1; n <= 65; n += 32) {
    t = new_threads(n);
    assert_int_equal(lct_threads_count(t), n);
    lct_threads_free(t);
  }
  t = new_threads(0);
  assert_int_equal(lct_threads_count(t), lct_processors());
  lct_threads_free(t);
  assert_true(lct_processors() >= 1 && lct_processors() <= sysconf(_SC_NPROCESSORS_CONF));
}

/* One processor is one processor, however many the machine has. */
static void processors_that_may_be_used(void **state) {
  (void)state;
  cpu_set_t all, one;
  if (sched_getaffinity(0, sizeof all, &all) != 0) fail_msg("sched_getaffinity: %s", strerror(errno));
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; i++) {
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  }
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  int n = lct_processors();
  assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
  assert_int_equal(n, 1);
}

static void every_item_once(void **state) {
  (void)state;
  static const int64_t ns[] = {0, 1, 2, 7, 64, 1000, MOST}, grains[] = {1, 2, 3, 64, 4999, 1 << 20};
  for (int k = 0; k < 3; k++) {
    lct_threads *t = k == 0 ? NULL : new_threads(k == 1 ? 1 : POOL);
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
      for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
        job *j = new_job(t, ns[i], grains[g]);
        for (int times = 1; times <= 3; times++) {
          assert_ok(lct_threads_for(t, j->n, j->grain, count_items, j, &err));
          assert_each(j, times);
        }
        free(j);
      }
    }
    lct_threads_free(t);
  }
}

static void a_grain_below_one_is_one(void **state) {
  (void)state;
  lct_threads *t = new_threads(2);
  job *j = new_job(t, 9, 1);
  assert_ok(lct_threads_for(t, j->n, 0, count_items, j, &err));
  assert_ok(lct_threads_for(NULL, j->n, -5, count_items, j, &err));
  assert_each(j, 2);
  free(j);
  lct_threads_free(t);
}

/* Item 0 waits until another thread has run item 1: a loop whose items all stay with the caller never ends. */
static lct_status wait_for_the_other(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  (void)e;
  (void)to;
  int *who = ctx;
  __atomic_store_n(&who[from], thread + 1, __ATOMIC_RELEASE);
  while (__atomic_load_n(&who[1 - from], __ATOMIC_ACQUIRE) == 0) (void)sched_yield();
  return LCT_OK;
}

/* As before; then the pool's thread takes longer than anyone spins. */
static lct_status be_late(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  int *who = ctx;
  LCT_TRY(wait_for_the_other(who, from, to, thread, e));
  if (thread == 0) return LCT_OK;
  (void)usleep(2000);
  who[2] = 1;
  return LCT_OK;
}

static void the_caller_waits_for_the_late(void **state) {
  (void)state;
  lct_threads *t = new_threads(2);
  for (int i = 0; i < 20; i++) {
    int who[3] = {0, 0, 0};
    assert_ok(lct_threads_for(t, 2, 1, be_late, who, &err));
    assert_int_equal(who[2], 1);
  }
  lct_threads_free(t);
}

static void threads_help(void **state) {
  (void)state;
  lct_threads *t = new_threads(2);
  for (int i = 0; i < 200; i++) {
    int who[2] = {0, 0};
    if (i % 20 == 19) (void)usleep(2000); /* they sleep by then */
    assert_ok(lct_threads_for(t, 2, 1, wait_for_the_other, who, &err));
    assert_int_equal(who[0] + who[1], 1 + 2);
  }
  lct_threads_free(t);
}

static void the_lowest_failure(void **state) {
  (void)state;
  for (int k = 0; k < 2; k++) {
    lct_threads *t = k == 0 ? NULL : new_threads(POOL);
    for (int64_t from = 0; from < 300; from += 23) {
      job *j = new_job(t, 400, 1);
      j->fails_from = from;
      j->fails_every = 1;
      char text[32];
      (void)snprintf(text, sizeof text, "item %d", (int)from);
      assert_fails(lct_threads_for(t, j->n, j->grain, count_items, j, &err), LCT_E_NUMERIC, text);
      assert_int_equal(err.code, LCT_E_NUMERIC);
      assert_int_equal(j->wrong, 0);
      for (int64_t i = 0; i <= from; i++) assert_int_equal(j->seen[i], 1);
      assert_int_equal(lct_threads_for(t, j->n, j->grain, count_items, j, NULL), LCT_E_NUMERIC);
      j->fails_every = 0;
      assert_ok(lct_threads_for(t, j->n, j->grain, count_items, j, &err)); /* the pool is none the worse */
      free(j);
    }
    lct_threads_free(t);
  }
}

/* Both fail, the higher one first. */
static lct_status fail_backwards(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  LCT_TRY(wait_for_the_other(ctx, from, to, thread, e));
  if (from == 0) (void)usleep(2000);
  return lct_fail(e, LCT_E_NUMERIC, "item %d", (int)from);
}

static void the_lowest_failure_though_later(void **state) {
  (void)state;
  lct_threads *t = new_threads(2);
  for (int i = 0; i < 20; i++) {
    int who[2] = {0, 0};
    assert_fails(lct_threads_for(t, 2, 1, fail_backwards, who, &err), LCT_E_NUMERIC, "item 0");
  }
  lct_threads_free(t);
}

typedef struct {
  lct_threads *threads;
  job *inner[16];
  int who[2]; /* has items 0 and 1 */
  int wrong;
} nest;

typedef struct {
  job *j;
  int outer;
  int strange; /* a body of the inner loop ran under another number, atomic */
} inner_loop;

static lct_status inner_body(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  inner_loop *l = ctx;
  if (thread != l->outer) __atomic_store_n(&l->strange, 1, __ATOMIC_RELAXED);
  return count_items(l->j, from, to, thread, e);
}

static lct_status outer_body(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  nest *n = ctx;
  if (from < 2) LCT_TRY(wait_for_the_other(n->who, from, to, thread, e));
  for (int64_t i = from; i < to; i++) {
    inner_loop l = {.j = n->inner[i], .outer = thread};
    LCT_TRY(lct_threads_for(n->threads, n->inner[i]->n, n->inner[i]->grain, inner_body, &l, e));
    if (l.strange) __atomic_store_n(&n->wrong, 1, __ATOMIC_RELAXED);
  }
  return LCT_OK;
}

static void a_loop_in_a_loop_is_the_callers(void **state) {
  (void)state;
  nest n = {.threads = new_threads(POOL)};
  for (int i = 0; i < 16; i++) n.inner[i] = new_job(n.threads, 200, 3);
  for (int times = 1; times <= 5; times++) {
    n.who[0] = n.who[1] = 0;
    assert_ok(lct_threads_for(n.threads, 16, 1, outer_body, &n, &err));
    for (int i = 0; i < 16; i++) assert_each(n.inner[i], times);
  }
  assert_int_equal(n.wrong, 0);
  n.inner[7]->fails_from = 41;
  n.inner[7]->fails_every = n.inner[9]->fails_every = 1000;
  assert_fails(lct_threads_for(n.threads, 16, 1, outer_body, &n, &err), LCT_E_NUMERIC, "item 41");
  for (int i = 0; i < 16; i++) free(n.inner[i]);
  lct_threads_free(n.threads);
}

static void *one_of_several(void *arg) {
  job *j = arg;
  lct_error e;
  for (int i = 0; i < 300; i++) {
    if (lct_threads_for(j->threads, j->n, j->grain, count_items, j, &e) != LCT_OK) return "failed";
  }
  return NULL;
}

static void several_callers(void **state) {
  (void)state;
  enum { CALLERS = 3 };
  lct_threads *t = new_threads(POOL);
  pthread_t callers[CALLERS];
  job *jobs[CALLERS];
  for (int i = 0; i < CALLERS; i++) {
    jobs[i] = new_job(t, 50 + 100 * i, 1 + i);
    assert_int_equal(pthread_create(&callers[i], NULL, one_of_several, jobs[i]), 0);
  }
  for (int i = 0; i < CALLERS; i++) {
    void *failure = NULL;
    assert_int_equal(pthread_join(callers[i], &failure), 0);
    assert_null(failure);
    assert_each(jobs[i], 300);
    free(jobs[i]);
  }
  lct_threads_free(t);
}

/* Two pools know nothing of each other: a loop of one inside a body of the other has all its threads. */
static lct_status other_pool(void *ctx, int64_t from, int64_t to, int thread, lct_error *e) {
  (void)from, (void)to, (void)thread;
  int who[2] = {0, 0};
  return lct_threads_for(ctx, 2, 1, wait_for_the_other, who, e);
}

static void pools_side_by_side(void **state) {
  (void)state;
  lct_threads *a = new_threads(2), *b = new_threads(3);
  for (int i = 0; i < 50; i++) assert_ok(lct_threads_for(a, 4, 1, other_pool, b, &err));
  lct_threads_free(a);
  lct_threads_free(b);
}

typedef struct {
  pthread_t thread;
  int nice, blocks, done; /* done: atomic */
} visit;

static void look_around(void *ctx) {
  visit *v = ctx;
  sigset_t set;
  v->thread = pthread_self();
  v->nice = getpriority(PRIO_PROCESS, 0);
  (void)pthread_sigmask(SIG_BLOCK, NULL, &set);
  v->blocks = sigismember(&set, SIGINT) == 1 && sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGSEGV) == 0;
  __atomic_store_n(&v->done, 1, __ATOMIC_RELEASE);
}

static void tasks(void **state) {
  (void)state;
  int own = getpriority(PRIO_PROCESS, 0);
  for (int k = 0; k < 2; k++) {
    lct_threads *t = k == 0 ? NULL : new_threads(2);
    visit v[3] = {0};
    lct_task *task[3] = {NULL};
    for (int i = 0; i < 3; i++) assert_ok(lct_task_start(t, look_around, &v[i], &task[i], &err));
    for (int i = 0; i < 3; i++) {
      lct_task_join(task[i]);
      assert_int_equal(v[i].done, 1);
      assert_false(pthread_equal(v[i].thread, pthread_self()));
      assert_int_equal(v[i].nice, 19);
      assert_int_equal(v[i].blocks, 1);
    }
    lct_threads_free(t);
  }
  lct_task_join(NULL);
  sigset_t set;
  (void)pthread_sigmask(SIG_BLOCK, NULL, &set);
  assert_int_equal(sigismember(&set, SIGINT), 0); /* the caller is as it was */
  assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
}

static void slow(void *ctx) {
  (void)usleep(20000);
  look_around(ctx);
}

/* The pool ends after its tasks, whoever joins them, and when. */
static void a_pool_waits_for_its_tasks(void **state) {
  (void)state;
  lct_threads *t = new_threads(1);
  visit v = {0};
  lct_task *task = NULL;
  assert_ok(lct_task_start(t, slow, &v, &task, &err));
  lct_threads_free(t);
  assert_int_equal(__atomic_load_n(&v.done, __ATOMIC_ACQUIRE), 1);
  lct_task_join(task);
}

static void loop_of_a_task(void *ctx) { (void)one_of_several(ctx); }

static void tasks_compute_too(void **state) {
  (void)state;
  lct_threads *t = new_threads(2);
  job *behind = new_job(t, 100, 2), *alone = new_job(NULL, 100, 2), *front = new_job(t, 100, 2);
  lct_task *a = NULL, *b = NULL;
  assert_ok(lct_task_start(t, loop_of_a_task, behind, &a, &err));
  assert_ok(lct_task_start(t, loop_of_a_task, alone, &b, &err));
  assert_null(one_of_several(front));
  lct_task_join(a);
  lct_task_join(b);
  assert_each(behind, 300);
  assert_each(alone, 300);
  assert_each(front, 300);
  free(behind);
  free(alone);
  free(front);
  lct_threads_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes),
      cmocka_unit_test(processors_that_may_be_used),
      cmocka_unit_test(every_item_once),
      cmocka_unit_test(a_grain_below_one_is_one),
      cmocka_unit_test(threads_help),
      cmocka_unit_test(the_caller_waits_for_the_late),
      cmocka_unit_test(the_lowest_failure),
      cmocka_unit_test(the_lowest_failure_though_later),
      cmocka_unit_test(a_loop_in_a_loop_is_the_callers),
      cmocka_unit_test(several_callers),
      cmocka_unit_test(pools_side_by_side),
      cmocka_unit_test(tasks),
      cmocka_unit_test(a_pool_waits_for_its_tasks),
      cmocka_unit_test(tasks_compute_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
