/* The planner: conversations in, units out, a few ahead of the worker. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sweep/sweep_impl.h"

enum { MAX_AHEAD = 3 };

struct sweep_planner {
  sweep_plan_options o;
  lct_input *in;
  lct_task *task;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  lct_unit *first, *last; /* ready */
  int n_ready;
  int64_t rows_given; /* of units that were handed out */
  bool ended;
  int stop; /* atomic */
  lct_status status;
  lct_error error;
  sweep_tokeniser t;
};

static void batch_free(void *client) {
  sweep_batch *b = client;
  if (b == NULL) return;
  lct_buf_free(&b->messages);
  lct_buf_free(&b->errors);
  free(b->tokens);
  free(b);
}

static lct_status new_unit(lct_unit **out, lct_error *err) {
  sweep_batch *b = NULL;
  LCT_TRY(lct_calloc(&b, 1, sizeof *b, "a batch of conversations", err));
  lct_status s = lct_unit_new(out, err);
  if (s != LCT_OK) {
    free(b);
    return s;
  }
  (*out)->client = b;
  (*out)->client_free = batch_free;
  return LCT_OK;
}

static bool stopped(const sweep_planner *p) { return __atomic_load_n(&p->stop, __ATOMIC_RELAXED) != 0; }

/* Hands a unit over; waits while enough are ready. false: nobody wants it any more. */
static bool push(sweep_planner *p, lct_unit *u) {
  (void)pthread_mutex_lock(&p->lock);
  while (p->n_ready >= MAX_AHEAD && !stopped(p)) (void)pthread_cond_wait(&p->changed, &p->lock);
  bool wanted = !stopped(p);
  if (wanted) {
    if (p->last != NULL) p->last->next = u;
    else p->first = u;
    p->last = u;
    p->n_ready++;
  }
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->lock);
  return wanted;
}

static lct_status reject(lct_unit *u, const lct_input_item *x, const char *id, const char *reason, lct_error *err) {
  sweep_batch *b = u->client;
  return lct_error_line_put(x->file, (int64_t)x->line, *id != '\0' ? id : NULL, reason, &b->errors, err);
}

/* Plans the unit and gives it away; *u is a new one then. *go_on false: stopped. */
static lct_status flush(sweep_planner *p, lct_unit **u, bool *go_on, lct_error *err) {
  sweep_batch *b = (*u)->client;
  LCT_TRY(lct_unit_plan(*u, p->o.positions, p->o.n_positions, INT32_MAX, err));
  lct_input_progress(p->in, &b->bytes_read, &b->bytes_total);
  *go_on = push(p, *u);
  if (!*go_on) lct_unit_free(*u);
  *u = NULL;
  return new_unit(u, err);
}

static lct_status take(sweep_planner *p, lct_unit **u, const lct_input_item *x, bool *go_on, lct_error *err) {
  const lct_conversation *c = x->conversation;
  sweep_snapshots s;
  LCT_TRY(sweep_tokenise(&p->o, &p->t, c, &(*u)->arena, &s, err));
  if (s.reason[0] != '\0') {
    sweep_batch *b = (*u)->client;
    LCT_TRY(reject(*u, x, c->id, s.reason, err));
    if (s.n == 0) b->rejected++;
    else b->truncated++;
  }
  if (s.n == 0) return LCT_OK;
  int64_t estimate = lct_unit_estimate(*u, s.items, s.n);
  if ((*u)->n_items == 0 || (*u)->estimate + estimate <= p->o.max_rows) return sweep_unit_add(&p->o, &p->t, *u, c, &s, estimate, err);
  /* the items are the full unit's arena's: into a new one, before it is given away */
  lct_unit *fresh = NULL;
  LCT_TRY(new_unit(&fresh, err));
  lct_status st = sweep_move(&s, &fresh->arena, err);
  lct_unit *empty = NULL;
  if (st == LCT_OK) st = flush(p, u, go_on, err);
  if (st != LCT_OK) {
    lct_unit_free(fresh);
    return st;
  }
  empty = *u;
  *u = fresh;
  lct_unit_free(empty);
  return *go_on ? sweep_unit_add(&p->o, &p->t, *u, c, &s, lct_unit_estimate(*u, s.items, s.n), err) : LCT_OK;
}

/* A unit that only carries lines is given away, too, before it grows. */
static bool is_long(const lct_unit *u) {
  const sweep_batch *b = u->client;
  return b->messages.len + b->errors.len > (size_t)1 << 20;
}

static lct_status plan_all(sweep_planner *p, lct_error *err) {
  lct_unit *u = NULL;
  lct_status s = new_unit(&u, err);
  bool go_on = true, ended = false;
  while (s == LCT_OK && go_on && !ended) {
    lct_input_item x = {0};
    s = lct_input_next(p->in, &x, err);
    if (s != LCT_OK) break;
    ended = x.kind == LCT_INPUT_END;
    if (x.kind == LCT_INPUT_REJECTED) {
      ((sweep_batch *)u->client)->rejected++;
      s = reject(u, &x, x.id, x.reason, err);
    } else if (x.kind == LCT_INPUT_CONVERSATION) {
      s = take(p, &u, &x, &go_on, err);
      lct_conversation_free(x.conversation);
    }
    if (s == LCT_OK && go_on && (ended || (u->n_items == 0 && is_long(u)))) s = flush(p, &u, &go_on, err);
  }
  lct_unit_free(u);
  return s;
}

static void plan(void *arg) {
  sweep_planner *p = arg;
  lct_error err = {0};
  lct_status s = plan_all(p, &err);
  (void)pthread_mutex_lock(&p->lock);
  p->status = s;
  p->error = err;
  p->ended = true;
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->lock);
}

lct_status sweep_planner_start(const sweep_plan_options *o, lct_input *in, sweep_planner **out, lct_error *err) {
  sweep_planner *p = NULL;
  LCT_TRY(lct_calloc(&p, 1, sizeof *p, "planner", err));
  p->o = *o;
  p->in = in;
  lct_input_stop_when(in, &p->stop);
  (void)pthread_mutex_init(&p->lock, NULL);
  (void)pthread_cond_init(&p->changed, NULL);
  lct_status s = lct_encoder_new(o->subject->tokenizer, &p->t.encoder, err);
  if (s == LCT_OK) s = lct_task_start(o->subject->threads, plan, p, &p->task, err);
  if (s == LCT_OK) *out = p;
  else sweep_planner_free(p);
  return s;
}

/* Until a unit is ready, the planner has ended, or a tenth of a second has passed: the user may have had enough. */
static void wait_a_while(sweep_planner *p) {
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 100000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  (void)pthread_cond_timedwait(&p->changed, &p->lock, &until);
}

lct_status sweep_planner_next(sweep_planner *p, const volatile int *cancel, lct_unit **out, lct_error *err) {
  *out = NULL;
  (void)pthread_mutex_lock(&p->lock);
  bool cancelled = cancel != NULL && *cancel;
  while (p->first == NULL && !p->ended && !cancelled) {
    wait_a_while(p);
    cancelled = cancel != NULL && *cancel;
  }
  lct_unit *u = cancelled ? NULL : p->first;
  if (u != NULL) {
    p->first = u->next;
    if (p->first == NULL) p->last = NULL;
    p->n_ready--;
    p->rows_given += u->n_items + ((const sweep_batch *)u->client)->skipped_rows;
    (void)pthread_cond_broadcast(&p->changed);
  }
  lct_status status = u == NULL && !cancelled ? p->status : LCT_OK;
  if (status != LCT_OK && err != NULL) *err = p->error;
  if (cancelled) status = lct_fail(err, LCT_E_CANCELLED, "interrupted after %lld snapshots", (long long)p->rows_given);
  (void)pthread_mutex_unlock(&p->lock);
  *out = u;
  return status;
}

void sweep_planner_free(sweep_planner *p) {
  if (p == NULL) return;
  (void)pthread_mutex_lock(&p->lock);
  __atomic_store_n(&p->stop, 1, __ATOMIC_RELAXED);
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->lock);
  lct_task_join(p->task);
  while (p->first != NULL) {
    lct_unit *u = p->first;
    p->first = u->next;
    lct_unit_free(u);
  }
  (void)pthread_mutex_destroy(&p->lock);
  (void)pthread_cond_destroy(&p->changed);
  lct_encoder_free(p->t.encoder);
  lct_prompts_free(&p->t.prompts);
  free(p->t.hashes);
  free(p);
}
