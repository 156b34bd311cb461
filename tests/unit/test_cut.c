/* Batches without what is known, against the plan they are cut from: what is left computes every token of every prompt that is not skipped once,
 * sees the keys of all positions before its own, and of the rest nothing. */
#include "test_support.h"

#include "plan/cut.h"

enum { MAX_LEN = 24, MAX_SEQS = 12 };

static uint32_t state = 1;
static int32_t draw(int32_t n) {
  state = state * 1664525u + 1013904223u;
  return (int32_t)((state >> 8) % (uint32_t)n);
}

typedef struct {
  int32_t ids[MAX_SEQS][MAX_LEN], len[MAX_SEQS], n, prefix;
  bool skip[MAX_SEQS];
} prompts;

/* All but the skipped begin with `prefix` tokens; the skipped share some of them, or all. */
static prompts draw_prompts(void) {
  prompts p = {.n = 1 + draw(MAX_SEQS), .prefix = draw(8)};
  int32_t head[MAX_LEN];
  for (int i = 0; i < MAX_LEN; i++) head[i] = draw(3);
  for (int s = 0; s < p.n; s++) {
    p.skip[s] = draw(4) == 0;
    int32_t same = p.skip[s] ? draw(p.prefix + 2) : p.prefix;
    p.len[s] = same + 1 + draw(MAX_LEN - same - 1);
    for (int i = 0; i < p.len[s]; i++) p.ids[s][i] = i < same ? head[i] : draw(2);
  }
  return p;
}

/* The token that a slot of the cut batch holds the keys of, and its position. */
static void expect_keys(const prompts *p, const lct_cut_batch *c, int seq, int32_t slot, int32_t position) {
  if (slot < c->prefix) {
    assert_int_equal(slot, position);
    return;
  }
  assert_in_range(slot - c->prefix, 0, c->batch.n_rows - 1);
  assert_int_equal(c->batch.tokens[slot - c->prefix], p->ids[seq][position]);
  assert_int_equal(c->batch.positions[slot - c->prefix], position);
}

static void check_seq(const prompts *p, const lct_plan *plan, const lct_cut_batch *c, int seq, bool *wanted) {
  int32_t n_path = 0, at = 0;
  const lct_kv_range *path = lct_plan_seq_ranges(plan, seq, &n_path);
  lct_kv_range slots[MAX_LEN];
  lct_row_range rows[MAX_LEN];
  int32_t n_slots = lct_cut_slots(c, path, n_path, slots), n_rows = lct_cut_rows(c, path, n_path, rows);
  for (int32_t i = 0; i < n_slots; i++) {
    for (int32_t k = 0; k < slots[i].n; k++) expect_keys(p, c, seq, slots[i].first + k, at++);
  }
  assert_int_equal(at, p->len[seq]);
  at = c->prefix;
  for (int32_t i = 0; i < n_rows; i++) {
    for (int32_t k = 0; k < rows[i].n; k++, at++) {
      assert_int_equal(c->batch.positions[rows[i].first + k], at);
      assert_int_equal(c->batch.tokens[rows[i].first + k], p->ids[seq][at]);
      wanted[rows[i].first + k] = true;
    }
  }
  assert_int_equal(at, p->len[seq]);
  for (int32_t i = 0, position = 0; i < n_path; i++) {
    for (int32_t k = 0; k < path[i].n; k++, position++) {
      int32_t row = lct_cut_row(c, path[i].first + k);
      assert_int_equal(row < 0, position < c->prefix);
    }
  }
}

static void check_segments(const lct_cut_batch *c) {
  int32_t row = 0;
  for (int32_t s = 0; s < c->batch.n_segments; s++) {
    const lct_segment *x = &c->batch.segments[s];
    int32_t covered = 0;
    assert_int_equal(x->row0, row);
    assert_true(x->n_rows > 0);
    assert_int_equal(x->kv0, c->prefix + row);
    assert_true(x->parent < s);
    if (x->parent >= 0) {
      const lct_segment *parent = &c->batch.segments[x->parent];
      assert_int_equal(x->pos0, parent->pos0 + parent->n_rows);
    } else {
      assert_int_equal(x->pos0, c->prefix);
    }
    for (int32_t r = 0; r < x->n_ranges; r++) {
      for (int32_t k = 0; k < x->ranges[r].n; k++, covered++) {
        int32_t slot = x->ranges[r].first + k;
        assert_true(slot < c->prefix + row);
        assert_int_equal(slot < c->prefix ? slot : c->batch.positions[slot - c->prefix], covered);
      }
    }
    assert_int_equal(covered, x->pos0);
    row += x->n_rows;
  }
  assert_int_equal(row, c->batch.n_rows);
  assert_int_equal(c->batch.n_slots, c->prefix + row);
}

static void test_random(void **unused) {
  (void)unused;
  for (int round = 0; round < 4000; round++) {
    lct_error err;
    lct_arena arena = {0};
    lct_plan *plan = NULL;
    prompts p = draw_prompts();
    assert_ok(lct_plan_new(&plan, &err));
    for (int s = 0; s < p.n; s++) {
      int32_t seq = -1;
      assert_ok(lct_plan_add(plan, p.ids[s], (size_t)p.len[s], &seq, &err));
      assert_int_equal(lct_plan_n_seqs(plan), s + 1);
    }
    assert_ok(lct_plan_build(plan, INT32_MAX, &err));
    lct_cut_batch c;
    assert_ok(lct_plan_cut(plan, 0, p.prefix, p.skip, &arena, &c, &err));
    check_segments(&c);
    bool *wanted = calloc((size_t)c.batch.n_rows + 1, sizeof *wanted);
    for (int s = 0; s < p.n; s++) {
      if (!p.skip[s]) check_seq(&p, plan, &c, s, wanted);
    }
    for (int32_t i = 0; i < c.batch.n_rows; i++) assert_true(wanted[i]); /* nothing is computed for prompts that are skipped */
    free(wanted);
    lct_arena_free(&arena);
    lct_plan_free(plan);
  }
}

static void test_whole(void **unused) {
  (void)unused;
  lct_error err;
  lct_plan *plan = NULL;
  lct_arena arena = {0};
  const int32_t a[] = {1, 2, 3}, b[] = {1, 2, 4, 5};
  const bool none[2] = {false, false};
  int32_t seq = 0;
  assert_ok(lct_plan_new(&plan, &err));
  assert_ok(lct_plan_add(plan, a, 3, &seq, &err));
  assert_ok(lct_plan_add(plan, b, 4, &seq, &err));
  assert_ok(lct_plan_build(plan, INT32_MAX, &err));
  lct_cut_batch c;
  assert_ok(lct_plan_cut(plan, 0, 0, none, &arena, &c, &err));
  assert_ptr_equal(c.batch.tokens, lct_plan_batch(plan, 0)->tokens); /* nothing is left out: nothing is copied */
  assert_null(c.slot);
  const bool all[2] = {true, true};
  assert_ok(lct_plan_cut(plan, 0, 0, all, &arena, &c, &err));
  assert_int_equal(c.batch.n_rows, 0);
  assert_int_equal(c.batch.n_segments, 0);
  lct_arena_free(&arena);
  lct_plan_free(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
