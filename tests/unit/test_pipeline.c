/* Units through several workers: the sink gets them in their order, with the vectors that one worker alone gives, bit for bit; the first failure
 * in the order of units ends it, and what stands before it is taken. */
#include "engine_test.h"

#include "run/pipeline.h"

enum { N_UNITS = 9, N_ITEMS = 3, MAX_TOKENS = 40 };

static tiny model;
static lct_subject *subject;
static lct_position *positions;
static int n_positions;
static lct_plane planes[16];
static lct_stream stream;
static lct_arena arena;
static size_t unit_floats; /* of a unit's vectors */

static const lct_token_range CONTENT[] = {{2, 5}, {6, 9}};
static const lct_role SYSTEM_FIRST[] = {LCT_ROLE_SYSTEM, LCT_ROLE_USER};

static int set_up(void **unused) {
  (void)unused;
  lct_error err;
  model = tiny_write("tiny-qwen2", 3);
  const lct_model_options o = {.id = model.path, .device = "cpu", .threads = 2};
  assert_ok(lct_subject_open(&o, true, &subject, &err));
  assert_ok(lct_positions_parse("--positions", LCT_DEFAULT_POSITIONS, &arena, &positions, &n_positions, &err));
  stream = lct_stream_of(LCT_SOURCE_HIDDEN_OUT, &subject->cfg, planes);
  unit_floats = N_ITEMS * (size_t)n_positions * (size_t)stream.n_planes * (size_t)stream.width;
  return 0;
}

static int tear_down(void **unused) {
  (void)unused;
  lct_subject_free(subject);
  lct_arena_free(&arena);
  tiny_remove(&model);
  return 0;
}

/* A system message that some units share, its own snapshot first, and two conversations; no unit is like another. */
static lct_unit *make_unit(int number) {
  lct_error err;
  lct_unit *u = NULL;
  assert_ok(lct_unit_new(&u, &err));
  for (int i = 0; i < N_ITEMS; i++) {
    int32_t n = i == 0 ? 8 : 12 + (number * 7 + i * 5) % (MAX_TOKENS - 12), *ids = lct_arena_alloc(&u->arena, (size_t)n * sizeof *ids);
    for (int32_t k = 0; k < n; k++) ids[k] = k < 6 ? 30 + k + 9 * (number / 3) : 40 + (number * 31 + i * 17 + k * 3) % 150;
    const lct_item x = {.tail = ids, .n_tokens = n, .content = CONTENT, .roles = SYSTEM_FIRST, .message = i > 0, .seq = -1};
    assert_ok(lct_unit_begin_part(u, &err));
    u->estimate += lct_unit_estimate(u, &x, 1);
    assert_ok(lct_unit_add(u, &x, positions, n_positions, &err));
  }
  assert_ok(lct_unit_plan(u, positions, n_positions, INT32_MAX, &err));
  return u;
}

typedef struct {
  int next, n_taken, n_broken, fails_at; /* fails_at: the unit whose sink says no; -1: none */
  bool feed_fails;
  float *vectors; /* (N_UNITS, unit_floats) */
} run_state;

static lct_status feed(void *ctx, lct_unit **out, lct_error *err) {
  run_state *r = ctx;
  *out = NULL;
  if (r->next == N_UNITS) return r->feed_fails ? lct_fail(err, LCT_E_IO, "the input is torn") : LCT_OK;
  *out = make_unit(r->next++);
  return LCT_OK;
}

static lct_status take(void *ctx, lct_unit *u, lct_worker *w, lct_error *err) {
  run_state *r = ctx;
  float *to = r->vectors + (size_t)u->number * unit_floats;
  assert_int_equal(u->number, r->n_taken); /* in their order, each once */
  if (r->n_taken == r->fails_at) return lct_fail(err, LCT_E_IO, "the disk is full");
  for (int p = 0; p < n_positions; p++) {
    for (int k = 0; k < stream.n_planes; k++) {
      size_t n = N_ITEMS * (size_t)stream.width;
      memcpy(to, lct_pool_vectors(lct_worker_pool(w), 0, p, k), n * sizeof *to);
      to += n;
    }
  }
  r->n_taken++;
  return LCT_OK;
}

static lct_status run(run_state *r, int n_workers, const lct_client *client, lct_error *out) {
  lct_error err;
  lct_worker *workers[3];
  const lct_client *clients[] = {client, client, client};
  const lct_worker_options o = {.streams = &stream,
                                .n_streams = 1,
                                .positions = positions,
                                .n_positions = n_positions,
                                .keeps_prefix = true};
  for (int i = 0; i < n_workers; i++) assert_ok(lct_worker_new(subject, &o, &workers[i], &err));
  const lct_feed from = {.ctx = r, .next = feed};
  const lct_sink to = {.ctx = r, .take = take};
  r->vectors = checked_calloc(N_UNITS * unit_floats, sizeof *r->vectors);
  lct_status s = lct_pipeline_run(workers, n_workers, clients, &from, &to, out);
  for (int i = 0; i < n_workers; i++) lct_worker_free(workers[i]);
  return s;
}

static void test_same_bits(void **unused) {
  (void)unused;
  lct_error err;
  const lct_client nobody = {0};
  run_state one = {.fails_at = -1};
  assert_ok(run(&one, 1, &nobody, &err));
  assert_int_equal(one.n_taken, N_UNITS);
  for (int n = 2; n <= 3; n++) {
    run_state several = {.fails_at = -1};
    assert_ok(run(&several, n, &nobody, &err));
    assert_int_equal(several.n_taken, N_UNITS);
    assert_memory_equal(several.vectors, one.vectors, N_UNITS * unit_floats * sizeof(float));
    free(several.vectors);
  }
  free(one.vectors);
}

static void test_failures(void **unused) {
  (void)unused;
  lct_error err;
  const lct_client nobody = {0};
  for (int n = 1; n <= 3; n++) {
    run_state sink = {.fails_at = 4};
    assert_fails(run(&sink, n, &nobody, &err), LCT_E_IO, "the disk is full");
    assert_int_equal(sink.n_taken, 4); /* those before it, and none behind it */
    free(sink.vectors);
    run_state torn = {.fails_at = -1, .feed_fails = true};
    assert_fails(run(&torn, n, &nobody, &err), LCT_E_IO, "the input is torn");
    assert_int_equal(torn.n_taken, N_UNITS); /* all that came before */
    free(torn.vectors);
  }
}

static void test_cancelled(void **unused) {
  (void)unused;
  lct_error err;
  const volatile int stop = 1;
  const lct_client client = {.cancel = &stop};
  run_state r = {.fails_at = -1};
  assert_int_equal(run(&r, 2, &client, &err), LCT_E_CANCELLED);
  assert_int_equal(r.n_taken, 0);
  free(r.vectors);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits), cmocka_unit_test(test_failures), cmocka_unit_test(test_cancelled)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
