/* A reply, told token by token. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/observer_impl.h"
#include "base/utf8.h"

typedef struct {
  lct_observer *o;
  lct_unit *u;
  lct_sampling sampling;
  lct_reply_callback token;
  void *ctx;
  lct_reply_result result;
  lct_buf bytes, text; /* of tokens that are not read yet; what can be read now */
  float *logits;       /* (vocab) when tokens are drawn: what was chosen need not be the most probable */
  float *vectors, *scores;
} replying;

static lct_status begin(void *ctx, const lct_stage *s, lct_pass *pass, lct_error *err) {
  const replying *r = ctx;
  (void)s;
  (void)err;
  if (pass->heads.n == 1) pass->heads.logits = r->logits;
  return LCT_OK;
}

/* Whole characters of the reply so far; at its end what is left, as scan's reply has it. */
static lct_status read_text(replying *r, int32_t id, bool last, lct_error *err) {
  LCT_TRY(lct_decode_bytes(r->o->subject->tokenizer, &id, 1, true, &r->bytes, err));
  size_t n = last ? r->bytes.len : lct_utf8_settled(r->bytes.data, r->bytes.len);
  r->text.len = 0;
  LCT_TRY(lct_buf_append(&r->text, "", 0, err));
  LCT_TRY(lct_utf8_replace(r->bytes.data, n, &r->text, NULL, err));
  memmove(r->bytes.data, r->bytes.data + n, r->bytes.len - n);
  r->bytes.len -= n;
  return LCT_OK;
}

/* The state that the token was read from: the prompt's, or that of the token before it. */
static lct_status read_state(replying *r, const lct_stage *s, const lct_generation *g, lct_reply_token *out, lct_error *err) {
  const lct_observer *o = r->o;
  int at = s->kind == LCT_STAGE_STEP ? 0 : o->last;
  const lct_score_row row = s->kind == LCT_STAGE_STEP ? (lct_score_row){.role = LCT_ROLE_ASSISTANT, .n_tokens = g->n - 1}
                                                      : observer_score_row(&r->u->items[g->item]);
  if (o->last < 0) return LCT_OK;
  (void)observer_copy(o, s->pool, at, 0, r->vectors);
  out->vectors = r->vectors;
  if (o->scored_last < 0) return LCT_OK;
  out->scores = r->scores;
  return lct_axes_score_position(o->axes, o->scored_last, s->pool, at, &row, o->subject->threads, r->scores, err);
}

static lct_status end(void *ctx, const lct_stage *s, bool *stop, lct_error *err) {
  replying *r = ctx;
  if (s->n_active != 1) return LCT_OK;
  const lct_generation *g = s->active[0];
  const lct_choice *c = &g->choices[g->n - 1];
  lct_reply_token t = {.number = g->n - 1, .id = c->token, .end = lct_subject_is_end(r->o->subject, c->token), .entropy = c->stats.entropy};
  t.logprob = c->stats.argmax_logprob;
  if (c->token != c->stats.argmax) t.logprob += r->logits[c->token] - r->logits[c->stats.argmax];
  t.probability = expf(t.logprob);
  LCT_TRY(read_text(r, c->token, g->finished, err));
  t.text = r->text.data;
  t.text_len = r->text.len;
  LCT_TRY(read_state(r, s, g, &t, err));
  r->result.n_tokens = g->n;
  r->result.why = t.end ? LCT_REPLY_ENDED : LCT_REPLY_FULL;
  if (!r->token(r->ctx, &t)) {
    *stop = true;
    if (!g->finished) r->result.why = LCT_REPLY_STOPPED;
  }
  return LCT_OK;
}

static lct_status check(const lct_reply_options *p, lct_error *err) {
  if (p->max_tokens < 1) return lct_fail(err, LCT_E_USAGE, "max_tokens: expected at least 1, found %d", p->max_tokens);
  if (p->top_k < 0) return lct_fail(err, LCT_E_USAGE, "top_k: expected at least 0, found %d", p->top_k);
  if (!(p->temperature >= 0) || !(p->top_p >= 0)) {
    return lct_fail(err, LCT_E_USAGE, "temperature and top_p: expected numbers from 0 on, found %g and %g", p->temperature, p->top_p);
  }
  return LCT_OK;
}

/* The conversation with a generation behind it. */
static lct_status make_unit(replying *r, const lct_message *messages, size_t n, const lct_reply_options *p, lct_error *err) {
  const lct_axes *a = r->o->axes;
  lct_item x;
  LCT_TRY(lct_unit_new(&r->u, err));
  LCT_TRY(observer_item(r->o, messages, n, r->u, &x, err));
  LCT_TRY(lct_unit_begin_part(r->u, err));
  LCT_TRY(lct_unit_add(r->u, &x, a->positions, a->n_positions, err));
  int32_t most = r->o->subject->cfg.max_positions - x.n_tokens + 1; /* the last token of a reply is chosen, but not run */
  lct_generation *g = lct_arena_alloc(&r->u->arena, sizeof *g);
  if (g != NULL) {
    *g = (lct_generation){.reply = -1, .max_tokens = p->max_tokens < most ? p->max_tokens : most};
    g->choices = lct_arena_alloc(&r->u->arena, (size_t)g->max_tokens * sizeof *g->choices);
  }
  if (g == NULL || g->choices == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a reply of %d tokens", p->max_tokens);
  r->u->generations = g;
  r->u->n_generations = 1;
  r->u->sampling = &r->sampling;
  r->result.n_prompt = x.n_tokens;
  return lct_unit_plan(r->u, a->positions, a->n_positions, INT32_MAX, err);
}

static lct_status reply(replying *r, const lct_message *messages, size_t n, const lct_reply_options *p, lct_error *err) {
  const lct_observer *o = r->o;
  const lct_client client = {.ctx = r, .begin = begin, .end = end, .cancel = o->cancel};
  LCT_TRY(check(p, err));
  if (r->token == NULL) return lct_fail(err, LCT_E_USAGE, "a reply that nobody is told");
  r->sampling =
      (lct_sampling){.do_sample = p->do_sample, .temperature = p->temperature, .top_k = p->top_k, .top_p = p->top_p, .seed = p->seed};
  if (p->do_sample) LCT_TRY(lct_alloc_aligned(&r->logits, (size_t)o->subject->cfg.vocab, sizeof *r->logits, "logits", err));
  LCT_TRY(lct_alloc_aligned(&r->vectors, o->vector_floats, sizeof *r->vectors, "vectors", err));
  LCT_TRY(lct_alloc_aligned(&r->scores, o->score_floats, sizeof *r->scores, "scores", err));
  LCT_TRY(make_unit(r, messages, n, p, err));
  return lct_worker_run(o->worker, r->u, &client, err);
}

lct_status lct_generate(lct_observer *o, const lct_message *messages, size_t n_messages, const lct_reply_options *options,
                        lct_reply_callback token, void *ctx, lct_reply_result *result, lct_error *err) {
  replying r = {.o = o, .token = token, .ctx = ctx};
  lct_status s = reply(&r, messages, n_messages, options, err);
  lct_unit_free(r.u);
  lct_buf_free(&r.bytes);
  lct_buf_free(&r.text);
  free(r.logits);
  free(r.vectors);
  free(r.scores);
  if (result != NULL) *result = r.result;
  return s;
}
