/* The trie against a definition: every sequence's rows spell its tokens, positions count up, and no token is computed twice. */
#include "test_support.h"

#include "plan/plan.h"

static void check_plan(const lct_plan *p, int32_t *const *seqs, const int32_t *lens, int n_seqs) {
  for (int s = 0; s < n_seqs; s++) {
    const lct_batch *b = lct_plan_batch(p, lct_plan_seq_batch(p, s));
    assert_int_equal(lct_plan_seq_len(p, s), lens[s]);
    for (int32_t i = 0; i < lens[s]; i++) {
      int32_t row = lct_plan_seq_row(p, s, i);
      assert_in_range(row, 0, b->n_rows - 1);
      assert_int_equal(b->tokens[row], seqs[s][i]);
      assert_int_equal(b->positions[row], i);
    }
  }
  for (int32_t i = 0; i < lct_plan_n_batches(p); i++) {
    const lct_batch *b = lct_plan_batch(p, i);
    int32_t row = 0;
    for (int32_t k = 0; k < b->n_segments; k++) {
      const lct_segment *s = &b->segments[k];
      assert_int_equal(s->row0, row);
      assert_int_equal(s->kv0, row);
      int32_t covered = 0;
      for (int32_t r = 0; r < s->n_ranges; r++) {
        for (int32_t j = 0; j < s->ranges[r].n; j++) {
          int32_t slot = s->ranges[r].first + j;
          assert_true(slot < row); /* parents first */
          assert_int_equal(b->positions[slot], covered++);
        }
      }
      assert_int_equal(covered, s->pos0);
      row += s->n_rows;
    }
    assert_int_equal(row, b->n_rows);
    assert_int_equal(b->n_slots, row);
  }
}

/* Distinct non-empty prefixes of a set of sequences, counted the slow way. */
static int64_t count_prefixes(int32_t *const *seqs, const int32_t *lens, int n_seqs) {
  int64_t n = 0;
  for (int s = 0; s < n_seqs; s++) {
    for (int32_t len = 1; len <= lens[s]; len++) {
      bool seen = false;
      for (int t = 0; t < s && !seen; t++) seen = lens[t] >= len && memcmp(seqs[t], seqs[s], (size_t)len * 4) == 0;
      n += !seen;
    }
  }
  return n;
}

static int32_t common(int32_t *const *seqs, const int32_t *lens, int a, int b) {
  int32_t i = 0;
  while (i < lens[a] && i < lens[b] && seqs[a][i] == seqs[b][i]) i++;
  return i;
}

/* Rows are the sequences in lexicographic order, each from where it leaves the one before it. */
static void check_order(const lct_plan *p, int32_t *const *seqs, const int32_t *lens, int n_seqs) {
  int order[17];
  for (int i = 0; i < n_seqs; i++) {
    int k = i;
    for (; k > 0; k--) {
      int32_t same = common(seqs, lens, i, order[k - 1]);
      bool before = same == lens[i] || (same < lens[order[k - 1]] && seqs[i][same] < seqs[order[k - 1]][same]);
      if (!before) break;
      order[k] = order[k - 1];
    }
    order[k] = i;
  }
  int32_t batch = 0, row = 0;
  for (int i = 0; i < n_seqs; i++) {
    int32_t from = i > 0 ? common(seqs, lens, order[i - 1], order[i]) : 0;
    for (int32_t k = from; k < lens[order[i]]; k++, row++) {
      if (row == lct_plan_batch(p, batch)->n_rows) batch++, row = 0;
      assert_in_range(batch, 0, lct_plan_n_batches(p) - 1);
      assert_int_equal(lct_plan_batch(p, batch)->tokens[row], seqs[order[i]][k]);
    }
  }
  assert_int_equal(batch, lct_plan_n_batches(p) - 1);
  assert_int_equal(row, lct_plan_batch(p, batch)->n_rows);
}

/* Segments end where a sequence does or where two part, and nowhere else: counted the slow way. */
static int32_t count_segments(int32_t *const *seqs, const int32_t *lens, int n_seqs) {
  int32_t n = 0;
  for (int s = 0; s < n_seqs; s++) {
    for (int32_t len = 1; len <= lens[s]; len++) {
      bool seen = false, ends = len == lens[s], parts = false;
      for (int t = 0; t < n_seqs && !seen; t++) {
        if (common(seqs, lens, s, t) < len) continue;
        seen = t < s;
        ends = ends || lens[t] == len;
        parts = parts || (lens[t] > len && lens[s] > len && seqs[t][len] != seqs[s][len]);
      }
      n += !seen && (ends || parts);
    }
  }
  return n;
}

static int32_t all_segments(const lct_plan *p) {
  int32_t n = 0;
  for (int32_t i = 0; i < lct_plan_n_batches(p); i++) n += lct_plan_batch(p, i)->n_segments;
  return n;
}

static void random_sets(void **state) {
  (void)state;
  lct_error err;
  uint32_t rng = 12345;
  for (int round = 0; round < 300; round++) {
    int n_seqs = 1 + round % 17;
    int32_t *seqs[17], lens[17];
    lct_plan *p = NULL;
    assert_ok(lct_plan_new(&p, &err));
    for (int s = 0; s < n_seqs; s++) {
      rng = rng * 1664525u + 1013904223u;
      lens[s] = 1 + (int32_t)(rng >> 20) % 30;
      seqs[s] = malloc((size_t)lens[s] * 4);
      for (int32_t i = 0; i < lens[s]; i++) {
        rng = rng * 1664525u + 1013904223u;
        seqs[s][i] = (int32_t)(rng >> 28) < 12 ? 7 : (int32_t)(rng >> 25) % 3;
      }
      int32_t id = -1, before = -1, shared = 0;
      if (round % 2 && s > 0) { /* behind another: as much as it has in common with it, or less */
        before = (int32_t)(rng >> 16) % s;
        shared = common(seqs, lens, before, s);
        if (round % 4 == 1) shared = shared * (int32_t)(rng >> 28) / 16;
      }
      if (before < 0) assert_ok(lct_plan_add(p, seqs[s], (size_t)lens[s], &id, &err));
      else assert_ok(lct_plan_add_behind(p, before, shared, seqs[s] + shared, (size_t)(lens[s] - shared), &id, &err));
      assert_int_equal(id, s);
    }
    assert_ok(lct_plan_build(p, 1 + round % 40, &err));
    check_plan(p, seqs, lens, n_seqs);
    check_order(p, seqs, lens, n_seqs);
    assert_int_equal(all_segments(p), count_segments(seqs, lens, n_seqs));
    assert_int_equal(lct_plan_n_tokens(p), count_prefixes(seqs, lens, n_seqs));
    for (int s = 0; s < n_seqs; s++) free(seqs[s]);
    lct_plan_free(p);
  }
}

static void conversation_is_trunk_and_stubs(void **state) {
  (void)state;
  lct_error err;
  lct_plan *p = NULL;
  assert_ok(lct_plan_new(&p, &err));
  int32_t ids[64], id;
  for (int turn = 1; turn <= 5; turn++) {
    for (int i = 0; i < turn * 10; i++) ids[i] = 100 + i;
    for (int i = 0; i < 3; i++) ids[turn * 10 + i] = i; /* generation prompt */
    assert_ok(lct_plan_add(p, ids, (size_t)turn * 10 + 3, &id, &err));
  }
  assert_ok(lct_plan_build(p, 4096, &err));
  assert_int_equal(lct_plan_n_tokens(p), 50 + 5 * 3);
  assert_int_equal(lct_plan_n_tokens_naive(p), 10 + 20 + 30 + 40 + 50 + 15);
  assert_int_equal(lct_plan_n_batches(p), 1);
  lct_plan_free(p);
}

static void refuses_nothing(void **state) {
  (void)state;
  lct_error err;
  lct_plan *p = NULL;
  int32_t id;
  assert_ok(lct_plan_new(&p, &err));
  assert_fails(lct_plan_build(p, 10, &err), LCT_E_USAGE, "a plan needs at least one prompt");
  assert_fails(lct_plan_add(p, &id, 0, &id, &err), LCT_E_USAGE, "a prompt of no tokens cannot be planned");
  lct_plan_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_sets),
      cmocka_unit_test(conversation_is_trunk_and_stubs),
      cmocka_unit_test(refuses_nothing),
  };
  return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
