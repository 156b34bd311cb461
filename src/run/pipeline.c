#include "run/pipeline.h"

#include <pthread.h>
#include <stdlib.h>

/* Shared by the threads of the workers. Every unit has a turn, its number; the sink is the thread's whose turn it is. */
typedef struct {
  const lct_feed *from;
  const lct_sink *to;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool feeding, ended; /* a thread is asking for a unit; there is none any more, or something failed */
  int64_t n_units, turn;
  lct_status status, feed_status; /* of units; of the feed, which counts when all units before its failure are done */
  lct_error error, feed_error;
} pipeline;

typedef struct {
  pipeline *p;
  lct_worker *worker;
  const lct_client *client;
} crew;

/* The first failure, in the order of units, is the result: units behind it are not waited for. */
static void fail(pipeline *p, lct_status s, const lct_error *err) {
  if (p->status == LCT_OK) {
    p->status = s;
    p->error = *err;
  }
  p->ended = true;
}

static bool next_unit(pipeline *p, lct_unit **out) {
  *out = NULL;
  (void)pthread_mutex_lock(&p->lock);
  while (p->feeding && !p->ended) (void)pthread_cond_wait(&p->changed, &p->lock);
  if (!p->ended) {
    p->feeding = true;
    (void)pthread_mutex_unlock(&p->lock);
    lct_error err = {0};
    lct_status s = p->from->next(p->from->ctx, out, &err);
    (void)pthread_mutex_lock(&p->lock);
    p->feeding = false;
    if (s != LCT_OK) {
      p->feed_status = s;
      p->feed_error = err;
    }
    if (*out != NULL) (*out)->number = p->n_units++;
    else p->ended = true;
    (void)pthread_cond_broadcast(&p->changed);
  }
  (void)pthread_mutex_unlock(&p->lock);
  return *out != NULL;
}

/* Waits for the unit's turn; then it is the sink's, unless a unit before it failed. */
static void hand_over(crew *c, lct_unit *u, lct_status s, lct_error *err) {
  pipeline *p = c->p;
  (void)pthread_mutex_lock(&p->lock);
  while (p->turn != u->number) (void)pthread_cond_wait(&p->changed, &p->lock);
  bool wanted = p->status == LCT_OK;
  (void)pthread_mutex_unlock(&p->lock);
  if (wanted && s == LCT_OK) s = p->to->take(p->to->ctx, u, c->worker, err);
  else if (wanted && p->to->broken != NULL) p->to->broken(p->to->ctx, u, c->worker);
  (void)pthread_mutex_lock(&p->lock);
  if (s != LCT_OK) fail(p, s, err);
  p->turn++;
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg) {
  crew *c = arg;
  lct_unit *u = NULL;
  while (next_unit(c->p, &u)) {
    lct_error err = {0};
    lct_status s = lct_worker_run(c->worker, u, c->client, &err);
    hand_over(c, u, s, &err);
    lct_unit_free(u);
  }
  return NULL;
}

lct_status lct_pipeline_run(lct_worker *const *workers, int n_workers, const lct_client *const *clients, const lct_feed *from,
                            const lct_sink *to, lct_error *err) {
  pipeline p = {.from = from, .to = to};
  crew *crews = NULL;
  pthread_t *threads = NULL;
  LCT_TRY(lct_calloc(&crews, (size_t)n_workers, sizeof *crews, "workers", err));
  lct_status s = lct_calloc(&threads, (size_t)n_workers, sizeof *threads, "workers", err);
  if (s != LCT_OK) {
    free(crews);
    return s;
  }
  (void)pthread_mutex_init(&p.lock, NULL);
  (void)pthread_cond_init(&p.changed, NULL);
  for (int i = 0; i < n_workers; i++) crews[i] = (crew){&p, workers[i], clients != NULL ? clients[i] : NULL};
  int n_started = 1;
  for (; n_started < n_workers; n_started++) {
    int failed = pthread_create(&threads[n_started], NULL, work, &crews[n_started]);
    if (failed == 0) continue;
    lct_error own;
    s = lct_fail_errno(&own, failed, "cannot start the thread of a worker");
    (void)pthread_mutex_lock(&p.lock);
    fail(&p, s, &own);
    (void)pthread_mutex_unlock(&p.lock);
    break;
  }
  (void)work(&crews[0]);
  for (int i = 1; i < n_started; i++) (void)pthread_join(threads[i], NULL);
  (void)pthread_mutex_destroy(&p.lock);
  (void)pthread_cond_destroy(&p.changed);
  free(threads);
  free(crews);
  s = p.status != LCT_OK ? p.status : p.feed_status;
  if (s != LCT_OK && err != NULL) *err = p.status != LCT_OK ? p.error : p.feed_error;
  return s;
}
