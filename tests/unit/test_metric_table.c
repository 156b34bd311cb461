/* The table of metrics (score/metrics.h) is the one that docs/formats.md shows, line by line, and its contrasts are those of its dots. */
#include "test_support.h"

#include "base/file.h"
#include "score/metrics.h"

static const char *const MAPS[LCT_N_MAPS] = {"as it is", "centred", "centred, scaled", "centred, whitened"};
static const char *const LABELS[LCT_N_LABEL_KINDS] = {"as it is, its length", "mapped like the row, of unit length",
                                                      "mapped like the row, without components, of unit length", "its largest indices"};
static const char *const RESULTS[LCT_N_RESULTS] = {"dot", "dot by lengths", "dot by lengths, by its bin", "difference", "overlap"};
static const char *const NEEDS[LCT_N_NEEDS] = {"nothing", "a bank, or the sweep's own moments", "a bank", "a bank with `--whiten`"};

static void in_the_docs(void **state) {
  (void)state;
  lct_error err;
  lct_buf docs = {0};
  assert_ok(lct_file_read(LCT_SOURCE_DIR "/docs/formats.md", 1 << 20, &docs, &err));
  assert_ok(lct_buf_append(&docs, "", 1, &err));
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) {
    const lct_metric_rule *r = &LCT_METRIC_RULES[i];
    char line[512];
    (void)snprintf(line, sizeof line, "\n| `%s` | %s | %s | %s | %s%s | %s |\n", r->name, r->formula, MAPS[r->map], LABELS[r->label],
                   RESULTS[r->result], r->contrast_of >= 0 ? ", less the row's mean" : "", NEEDS[r->needs]);
    if (strstr(docs.data, line) == NULL) fail_msg("docs/formats.md has no line%s", line);
  }
  lct_buf_free(&docs);
}

static bool is_dot(lct_metric_result r) { return r == LCT_RESULT_DOT || r == LCT_RESULT_COSINE || r == LCT_RESULT_Z; }

static void contrasts(void **state) {
  (void)state;
  int n_dots = 0, n_contrasts = 0;
  for (int i = 0; i < LCT_N_ALL_METRICS; i++) {
    const lct_metric_rule *r = &LCT_METRIC_RULES[i];
    if (r->contrast_of < 0) {
      assert_int_equal(n_contrasts, 0); /* they come last */
      n_dots += is_dot(r->result);
      assert_true(is_dot(r->result) || r->map == LCT_MAP_NONE);
      continue;
    }
    const lct_metric_rule *of = &LCT_METRIC_RULES[r->contrast_of];
    char name[64];
    (void)snprintf(name, sizeof name, "contrast:%s", of->name);
    assert_string_equal(r->name, name);
    assert_true(is_dot(of->result) && of->contrast_of < 0 && r->needs == of->needs);
    n_contrasts++;
  }
  assert_int_equal(n_dots, 6);
  assert_int_equal(n_contrasts, 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(in_the_docs), cmocka_unit_test(contrasts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
