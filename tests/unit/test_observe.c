/* An observer: what it refuses, what a text is, what a reply's states are, and that a call that was stopped leaves nothing behind. */
#include "engine_test.h"

#include "api/observer_impl.h"
#include "run/item.h"

static const lct_message TALK[] = {{"system", "You are kind.", 13},
                                   {"user", "What a lovely morning!", 22},
                                   {"assistant", "It is.", 6},
                                   {"user", "And now it rains.", 17}};
/* Relative L2 error of a decode step's vector against a prefill's, whose matrices are multiplied in other tiles: what test_parity allows either
 * against the truth, together: 1e-5 exact; in f16 twice the oracle's own error, which is at most 2.1e-3 for a tiny model. */
#ifdef TEST_CUDA
#define STATE_ERROR (2 * 2 * 2.1e-3)
#else
#define STATE_ERROR (2 * 1e-5)
#endif

/* TALK as the template renders it */
#define TURN(role, text) "<|im_start|>" role "\n" text "<|im_end|>\n"
static const char RENDERED[] = TURN("system", "You are kind.") TURN("user", "What a lovely morning!") TURN("assistant", "It is.")
    TURN("user", "And now it rains.") "<|im_start|>assistant\n";

static tiny files;
static lct_subject *model;

static int setup(void **state) {
  (void)state;
  lct_error err;
  files = tiny_write("tiny-qwen2", 5);
  assert_ok(lct_model_open(&(lct_model_options){.id = files.path, .device = TEST_DEVICE, .threads = 2}, &model, &err));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  lct_model_free(model);
  tiny_remove(&files);
  return 0;
}

static lct_observer *observer(const lct_observer_options *options) {
  lct_observer *o = NULL;
  lct_error err;
  assert_ok(lct_observer_new(model, NULL, options, &o, &err));
  return o;
}

static void assert_same(const lct_observation *a, const lct_observation *b, size_t n) {
  const lct_observed *x = lct_observation_get(a, 0), *y = lct_observation_get(b, 0);
  assert_int_equal(x->n_tokens, y->n_tokens);
  assert_memory_equal(x->tokens, y->tokens, (size_t)x->n_tokens * sizeof *x->tokens);
  assert_memory_equal(x->vectors, y->vectors, n * sizeof *x->vectors);
}

static void test_refused(void **state) {
  (void)state;
  lct_error err;
  lct_subject *none = NULL;
  lct_observer *o = NULL;
  lct_observation *x = NULL;
  assert_fails(lct_model_open(&(lct_model_options){0}, &none, &err), LCT_E_USAGE,
               "no model is named: expected a folder, a .gguf file or a Hub id");
  assert_int_equal(lct_observer_new(model, NULL, &(lct_observer_options){.positions = "first"}, &o, &err), LCT_E_USAGE);
  assert_fails(lct_observer_new(model, NULL, &(lct_observer_options){.metrics = "cosine"}, &o, &err), LCT_E_USAGE,
               "--metrics needs --fingerprints");
  assert_null(o);
  o = observer(NULL);
  assert_fails(lct_observe(o, TALK, 0, &x, &err), LCT_E_USAGE, "a conversation: expected at least one message, found 0");
  const lct_message odd[] = {TALK[0], {"robot", "Hi", 2}}, no_role[] = {{NULL, "Hi", 2}}, no_text[] = {{"user", NULL, 2}};
  assert_fails(lct_observe(o, odd, 2, &x, &err), LCT_E_USAGE, "message 1: role: expected system, user or assistant, found robot");
  assert_fails(lct_observe(o, no_role, 1, &x, &err), LCT_E_USAGE, "message 0: role: expected system, user or assistant, found NULL");
  assert_fails(lct_observe(o, no_text, 1, &x, &err), LCT_E_USAGE, "a text of 2 bytes is NULL");
  const lct_message_list lists[] = {{TALK, 4}, {odd, 2}};
  assert_fails(lct_observe_many(o, lists, 2, &x, &err), LCT_E_USAGE,
               "conversation 1: message 1: role: expected system, user or assistant, found robot");
  assert_fails(lct_observe_text(o, "", 0, false, &x, &err), LCT_E_USAGE, "a text of 0 bytes has no tokens");
  size_t n = 200000;
  char *large = malloc(n);
  assert_non_null(large);
  for (size_t i = 0; i < n; i++) large[i] = (char)('a' + (i * 7 + i / 11) % 26);
  assert_int_equal(lct_observe_text(o, large, n, false, &x, &err), LCT_E_LIMIT);
  assert_non_null(strstr(err.message, "tokens are more than the model's context of"));
  free(large);
  assert_null(x);
  lct_observer_free(o);
}

/* Nothing, and what is no UTF-8. */
static void test_odd_input(void **state) {
  (void)state;
  lct_error err;
  lct_observer *o = observer(NULL);
  lct_observation *x = NULL, *y = NULL;
  assert_ok(lct_observe_many(o, NULL, 0, &x, &err));
  assert_int_equal(lct_observation_count(x), 0);
  assert_null(lct_observation_get(x, 0));
  lct_observation_free(x);
  const lct_message bad = {"user", "caf\xe9!", 5}, replaced = {"user", "caf\xef\xbf\xbd!", 7};
  assert_ok(lct_observe(o, &bad, 1, &x, &err));
  assert_ok(lct_observe(o, &replaced, 1, &y, &err));
  assert_same(x, y, o->vector_floats);
  assert_null(lct_observation_get(x, 0)->scores);
  assert_null(lct_observation_vector(x, 0, 3, 0, 0));
  assert_null(lct_observation_vector(x, 1, 0, 0, 0));
  assert_true(isnan(lct_observation_score(x, 0, 0, 0, 0, 0, 0)));
  lct_observation_free(x);
  lct_observation_free(y);
  lct_observer_free(o);
}

/* A conversation's rendered text, taken as it is, has its state; its content is all of it. */
static void test_text(void **state) {
  (void)state;
  lct_error err;
  lct_observer *o = observer(&(lct_observer_options){.positions = "last,content_mean,range::,message:user,message:system",
                                                     .sources = "hidden_out,k"});
  const lct_observer_axes *a = lct_observer_get_axes(o);
  lct_observation *x = NULL, *y = NULL;
  assert_ok(lct_observe(o, TALK, 4, &x, &err));
  assert_ok(lct_observe_text(o, RENDERED, sizeof RENDERED - 1, true, &y, &err));
  const lct_observed *talk = lct_observation_get(x, 0), *text = lct_observation_get(y, 0);
  assert_int_equal(talk->n_tokens, text->n_tokens);
  assert_memory_equal(talk->tokens, text->tokens, (size_t)text->n_tokens * sizeof *text->tokens);
  assert_int_equal(a->n_positions, 5);
  assert_int_equal(a->n_sources, 2);
  assert_string_equal(a->positions[2], "range::");
  assert_string_equal(a->sources[1], "k");
  assert_true(a->widths[0] > a->widths[1]);
  for (int s = 0; s < 2; s++) {
    for (int l = 0; l < a->n_layers; l++) {
      size_t bytes = (size_t)a->widths[s] * sizeof(float);
      const float *all = lct_observation_vector(y, 0, 2, s, l);
      assert_memory_equal(lct_observation_vector(x, 0, 0, s, l), lct_observation_vector(y, 0, 0, s, l), bytes);
      assert_memory_equal(lct_observation_vector(x, 0, 2, s, l), all, bytes);
      assert_memory_equal(lct_observation_vector(y, 0, 1, s, l), all, bytes);
      assert_memory_equal(lct_observation_vector(y, 0, 3, s, l), all, bytes);
      assert_memory_not_equal(lct_observation_vector(x, 0, 1, s, l), all, bytes);
      assert_true(isnan(lct_observation_vector(y, 0, 4, s, l)[0]));
      assert_false(isnan(lct_observation_vector(x, 0, 4, s, l)[0]));
    }
  }
  lct_observation_free(x);
  lct_observation_free(y);
  lct_observer_free(o);
}

typedef struct {
  int32_t ids[32];
  float *states; /* (tokens, floats) */
  size_t floats;
  int n;
  bool has_state;
} heard;

static bool hear(void *ctx, const lct_reply_token *t) {
  heard *h = ctx;
  assert_int_equal(t->number, h->n);
  h->has_state = t->vectors != NULL;
  if (t->vectors != NULL) memcpy(h->states + (size_t)h->n * h->floats, t->vectors, h->floats * sizeof *h->states);
  assert_null(t->scores);
  h->ids[h->n++] = t->id;
  return true;
}

/* The last token's vectors of these ids, by a worker of its own. */
static void run_ids(const lct_observer *o, const int32_t *ids, int32_t n, float *out) {
  lct_error err;
  lct_unit *u = NULL;
  const lct_token_range content = {0, n};
  const lct_role role = LCT_ROLE_USER;
  const lct_axes *a = o->axes;
  assert_ok(lct_unit_new(&u, &err));
  const lct_item x = {.tail = ids, .n_tokens = n, .content = &content, .roles = &role, .seq = -1};
  assert_ok(lct_unit_begin_part(u, &err));
  assert_ok(lct_unit_add(u, &x, a->positions, a->n_positions, &err));
  assert_ok(lct_unit_plan(u, a->positions, a->n_positions, INT32_MAX, &err));
  assert_ok(lct_worker_run(o->worker, u, NULL, &err));
  (void)observer_copy(o, lct_worker_pool(o->worker), 0, 0, out);
  lct_unit_free(u);
}

/* (source, layer, width): vector by vector. */
static void compare_states(const lct_observer_axes *a, const float *got, const float *want) {
  for (int v = 0; v < a->n_sources * a->n_layers; v++) {
    int width = a->widths[v / a->n_layers];
    double difference = 0, norm = 0;
    for (int i = 0; i < width; i++, got++, want++) {
      difference += ((double)*got - (double)*want) * ((double)*got - (double)*want);
      norm += (double)*want * (double)*want;
    }
    double error = sqrt(difference / norm);
    if (!(error <= STATE_ERROR)) fail_msg("%s of layer %d: relative L2 error %g", a->sources[v / a->n_layers], v % a->n_layers, error);
  }
}

/* A token comes with the state it was read from: the one that its prompt and the tokens before it have when they are run as a prompt. */
static void test_reply_states(void **state) {
  (void)state;
  enum { N = 12 };
  lct_error err;
  lct_observer *o = observer(&(lct_observer_options){.positions = "last", .sources = "hidden_out,mlp_act"});
  lct_observation *x = NULL;
  lct_reply_result r;
  heard h = {.floats = o->vector_floats};
  h.states = calloc(N * h.floats, sizeof *h.states);
  float *want = calloc(h.floats, sizeof *want);
  assert_true(h.states != NULL && want != NULL);
  assert_ok(lct_generate(o, TALK, 4, &(lct_reply_options){.max_tokens = N}, hear, &h, &r, &err));
  assert_int_equal(r.n_tokens, h.n);
  assert_true(h.n == N || r.why == LCT_REPLY_ENDED);
  assert_ok(lct_observe(o, TALK, 4, &x, &err));
  const lct_observed *prompt = lct_observation_get(x, 0);
  assert_int_equal(r.n_prompt, prompt->n_tokens);
  int32_t *ids = calloc((size_t)prompt->n_tokens + N, sizeof *ids);
  assert_non_null(ids);
  memcpy(ids, prompt->tokens, (size_t)prompt->n_tokens * sizeof *ids);
  for (int k = 0; k < h.n; k++) {
    run_ids(o, ids, prompt->n_tokens + k, want);
    compare_states(lct_observer_get_axes(o), h.states + (size_t)k * h.floats, want);
    ids[prompt->n_tokens + k] = h.ids[k];
  }
  free(ids);
  free(want);
  free(h.states);
  lct_observation_free(x);
  lct_observer_free(o);
}

static void test_reply_refused(void **state) {
  (void)state;
  lct_error err;
  lct_observer *o = observer(&(lct_observer_options){.positions = "content_mean"});
  heard h = {.floats = o->vector_floats};
  assert_fails(lct_generate(o, TALK, 2, &(lct_reply_options){0}, hear, &h, NULL, &err), LCT_E_USAGE,
               "max_tokens: expected at least 1, found 0");
  assert_fails(lct_generate(o, TALK, 2, &(lct_reply_options){.max_tokens = 1, .top_k = -1}, hear, &h, NULL, &err), LCT_E_USAGE,
               "top_k: expected at least 0, found -1");
  assert_fails(lct_generate(o, TALK, 2, &(lct_reply_options){.max_tokens = 1, .temperature = NAN}, hear, &h, NULL, &err), LCT_E_USAGE,
               "temperature and top_p: expected numbers from 0 on, found nan and 0");
  assert_fails(lct_generate(o, TALK, 2, &(lct_reply_options){.max_tokens = 1}, NULL, NULL, NULL, &err), LCT_E_USAGE,
               "a reply that nobody is told");
  assert_int_equal(h.n, 0);
  h.has_state = true;
  assert_ok(lct_generate(o, TALK, 2, &(lct_reply_options){.max_tokens = 2}, hear, &h, NULL, &err));
  assert_true(h.n > 0 && !h.has_state);
  lct_observer_free(o);
}

/* Stops a pass at its second layer. */
typedef struct {
  volatile int cancel;
} stopper;

static void stop_at_layer(void *ctx, lct_stage_kind kind, int32_t n_rows) {
  stopper *s = ctx;
  (void)kind;
  (void)n_rows;
  s->cancel = 1;
}

static void run_talk(lct_observer *o, const lct_message *messages, size_t n, const lct_client *client, lct_status want) {
  lct_error err;
  lct_unit *u = NULL;
  lct_item x;
  const lct_axes *a = o->axes;
  assert_ok(lct_unit_new(&u, &err));
  assert_ok(observer_item(o, messages, n, u, &x, &err));
  assert_ok(lct_unit_begin_part(u, &err));
  assert_ok(lct_unit_add(u, &x, a->positions, a->n_positions, &err));
  assert_ok(lct_unit_plan(u, a->positions, a->n_positions, INT32_MAX, &err));
  assert_int_equal(lct_worker_run(o->worker, u, client, &err), want);
  lct_unit_free(u);
}

/* Keys of what a conversation begins with are kept for the next one; a pass that was stopped half-way wrote over them. */
static void test_stopped(void **state) {
  (void)state;
  lct_error err;
  const lct_observer_options options = {.positions = "last"};
  const lct_message other[] = {{"system", "You are something else altogether, and at some length.", 55}, {"user", "Who are you?", 12}};
  lct_observer *o = observer(&options), *fresh = observer(&options);
  lct_observation *x = NULL, *want = NULL;
  stopper s = {0};
  const lct_client client = {.ctx = &s, .layer_done = stop_at_layer, .cancel = &s.cancel};
  assert_ok(lct_observe(fresh, TALK, 4, &want, &err));
  run_talk(o, TALK, 4, NULL, LCT_OK);
  run_talk(o, other, 2, &client, LCT_E_CANCELLED);
  assert_ok(lct_observe(o, TALK, 4, &x, &err));
  assert_same(x, want, o->vector_floats);
  lct_observation_free(x);
  lct_observation_free(want);
  lct_observer_free(o);
  lct_observer_free(fresh);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),       cmocka_unit_test(test_odd_input),
                                     cmocka_unit_test(test_text),          cmocka_unit_test(test_reply_states),
                                     cmocka_unit_test(test_reply_refused), cmocka_unit_test(test_stopped)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
