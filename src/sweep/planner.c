/* The planner, a task: conversations in, units out, a few ahead of the forward pass. */
#include <stdlib.h>
#include <string.h>

#include "sweep/sweep_impl.h"

enum { MAX_AHEAD = 3 };

struct planner {
  sweep *s;
  lct_input *in;
  lct_task *task; /* NULL: not started */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  sweep_unit *first, *last; /* ready */
  int n_ready;
  bool ended;
  int stop; /* atomic */
  lct_status status;
  lct_error error;
  sweep_tokeniser t;
};

void sweep_unit_free(sweep_unit *u) {
  if (u == NULL) return;
  lct_plan_free(u->plan);
  lct_arena_free(&u->arena);
  lct_buf_free(&u->messages);
  lct_buf_free(&u->errors);
  free(u->items);
  free(u->tokens);
  free(u);
}

static bool stopped(const planner *p) { return __atomic_load_n(&p->stop, __ATOMIC_RELAXED) != 0; }

/* Hands a unit over; waits while enough are ready. false: nobody wants it any more. */
static bool push(planner *p, sweep_unit *u) {
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

static lct_status reject(sweep_unit *u, const lct_input_item *x, const char *id, const char *reason, lct_error *err) {
  return lct_error_line_put(x->file, x->line, *id != '\0' ? id : NULL, reason, &u->errors, err);
}

static lct_status new_unit(sweep_unit **out, lct_error *err) { return lct_calloc(out, 1, sizeof **out, "a batch of conversations", err); }

/* Plans the unit and gives it away; *u is `next` then, which is taken. *go_on false: stopped. */
static lct_status flush(planner *p, sweep_unit **u, sweep_unit *next, bool *go_on, lct_error *err) {
  lct_status s = sweep_unit_plan(p->s, &p->t, *u, err);
  if (s != LCT_OK) {
    sweep_unit_free(next);
    return s;
  }
  lct_input_progress(p->in, &(*u)->bytes_read, &(*u)->bytes_total);
  *go_on = push(p, *u);
  if (!*go_on) sweep_unit_free(*u);
  *u = next;
  return LCT_OK;
}

/* The same, and the items move on to the next unit: the old one is somebody else's from now on. */
static lct_status flush_before(planner *p, sweep_unit **u, sweep_item **items, size_t n, bool *go_on, lct_error *err) {
  sweep_unit *next = NULL;
  LCT_TRY(new_unit(&next, err));
  lct_status s = sweep_move_items(items, n, &next->arena, err);
  if (s == LCT_OK) return flush(p, u, next, go_on, err);
  sweep_unit_free(next);
  return s;
}

static lct_status take(planner *p, sweep_unit **u, const lct_input_item *x, bool *go_on, lct_error *err) {
  const lct_conversation *c = x->conversation;
  sweep_item *items = NULL;
  size_t n = 0;
  char reason[256];
  LCT_TRY(sweep_tokenise(p->s, &p->t, c, &(*u)->arena, &items, &n, reason, err));
  if (reason[0] != '\0') {
    LCT_TRY(reject(*u, x, c->id, reason, err));
    if (n == 0) (*u)->rejected++;
    else (*u)->truncated++;
  }
  if (n == 0) return LCT_OK;
  int64_t estimate = sweep_estimate(&p->t, items, n);
  if ((*u)->n_items > 0 && (*u)->estimate + estimate > p->s->max_rows) {
    LCT_TRY(flush_before(p, u, &items, n, go_on, err));
    if (!*go_on) return LCT_OK;
    estimate = sweep_estimate(&p->t, items, n);
  }
  return sweep_unit_add(p->s, &p->t, *u, c, items, n, estimate, err);
}

/* A unit that only carries lines is given away, too, before it grows. */
static bool is_long(const sweep_unit *u) { return u->messages.len + u->errors.len > (size_t)1 << 20; }

static lct_status plan_all(planner *p, lct_error *err) {
  sweep_unit *u = NULL;
  lct_status s = new_unit(&u, err);
  bool go_on = true, ended = false;
  while (s == LCT_OK && go_on && !ended) {
    lct_input_item x = {0};
    s = lct_input_next(p->in, &x, err);
    if (s != LCT_OK) break;
    ended = x.kind == LCT_INPUT_END;
    if (x.kind == LCT_INPUT_REJECTED) {
      u->rejected++;
      s = reject(u, &x, x.id, x.reason, err);
    } else if (x.kind == LCT_INPUT_CONVERSATION) {
      s = take(p, &u, &x, &go_on, err);
      lct_conversation_free(x.conversation);
    }
    if (s == LCT_OK && go_on && (ended || (u->n_items == 0 && is_long(u)))) s = flush_before(p, &u, NULL, 0, &go_on, err);
  }
  sweep_unit_free(u);
  return s;
}

static void run(void *ctx) {
  planner *p = ctx;
  lct_error err = {0};
  lct_status s = plan_all(p, &err);
  (void)pthread_mutex_lock(&p->lock);
  p->status = s;
  p->error = err;
  p->ended = true;
  (void)pthread_cond_broadcast(&p->changed);
  (void)pthread_mutex_unlock(&p->lock);
}

lct_status sweep_planner_start(sweep *s, lct_input *in, lct_error *err) {
  planner *p = NULL;
  LCT_TRY(lct_calloc(&p, 1, sizeof *p, "planner", err));
  s->planner = p;
  p->s = s;
  p->in = in;
  lct_input_stop_when(in, &p->stop);
  (void)pthread_mutex_init(&p->lock, NULL);
  (void)pthread_cond_init(&p->changed, NULL);
  LCT_TRY(lct_encoder_new(s->tokenizer, &p->t.encoder, err));
  return lct_task_start(s->threads, run, p, &p->task, err);
}

/* Until a unit is ready, the planner has ended, or a tenth of a second has passed: the user may have had enough. */
static void wait_a_while(planner *p) {
  struct timespec until;
  (void)clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 100000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  (void)pthread_cond_timedwait(&p->changed, &p->lock, &until);
}

lct_status sweep_planner_next(sweep *s, sweep_unit **out, lct_error *err) {
  planner *p = s->planner;
  *out = NULL;
  (void)pthread_mutex_lock(&p->lock);
  while (p->first == NULL && !p->ended) {
    wait_a_while(p);
    if (s->o->cancel == NULL || !*s->o->cancel) continue;
    (void)pthread_mutex_unlock(&p->lock);
    return lct_fail(err, LCT_E_CANCELLED, "interrupted after %lld snapshots", (long long)s->rows);
  }
  sweep_unit *u = p->first;
  if (u != NULL) {
    p->first = u->next;
    if (p->first == NULL) p->last = NULL;
    p->n_ready--;
  }
  (void)pthread_cond_broadcast(&p->changed);
  lct_status status = u == NULL ? p->status : LCT_OK;
  if (status != LCT_OK && err != NULL) *err = p->error;
  (void)pthread_mutex_unlock(&p->lock);
  *out = u;
  return status;
}

void sweep_planner_stop(sweep *s) {
  planner *p = s->planner;
  if (p == NULL) return;
  if (p->task != NULL) {
    (void)pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->stop, 1, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    lct_task_join(p->task);
  }
  while (p->first != NULL) {
    sweep_unit *u = p->first;
    p->first = u->next;
    sweep_unit_free(u);
  }
  (void)pthread_mutex_destroy(&p->lock);
  (void)pthread_cond_destroy(&p->changed);
  lct_encoder_free(p->t.encoder);
  lct_prompts_free(&p->t.prompts);
  free(p->t.hashes);
  free(p->t.kept);
  free(p->t.memo);
  free(p);
  s->planner = NULL;
}
