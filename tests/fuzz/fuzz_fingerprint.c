#include <stdlib.h>

#include "fuzz_support.h"
#include "score/fingerprint.h"

/* Whatever a file holds, scoring with it reads nothing beyond it. */
static void score(const lct_fingerprints *f) {
  int all[LCT_N_ALL_METRICS], n_metrics = 0;
  for (int m = 0; m < LCT_N_ALL_METRICS; m++) {
    lct_metric_needs needs = LCT_METRIC_RULES[m].needs;
    bool has = needs == LCT_NEEDS_NOTHING || (f->n_neutral > 0 && (needs != LCT_NEEDS_WHITEN || f->whiten != NULL));
    if (has) all[n_metrics++] = m;
  }
  const int layers[] = {f->n_layers - 1};
  const lct_score_axes axes = {.metrics = all,
                               .n_metrics = n_metrics,
                               .poolings = (const char *const *)f->poolings,
                               .sources = (const char *const *)f->sources,
                               .n_poolings = 1,
                               .n_sources = 1,
                               .layers = layers,
                               .n_layers = 1};
  lct_error err = {0};
  lct_scorer *s = NULL;
  if (lct_scorer_new(f, &axes, &s, &err) != LCT_OK) {
    fuzz_check_error(err.code, &err);
    return;
  }
  size_t cells = (size_t)f->n_labels * (size_t)n_metrics;
  float *row = calloc((size_t)f->hidden, sizeof *row), *out = calloc(cells, sizeof *out);
  const lct_score_row about = {2, 1000};
  FUZZ_CHECK(row != NULL && out != NULL);
  row[0] = 1;
  FUZZ_CHECK(lct_scorer_run(s, 0, 0, 0, row, f->hidden, 1, &about, out, (int64_t)cells, &err) == LCT_OK);
  fuzz_use(fuzz_touch(out, cells * sizeof *out));
  free(row);
  free(out);
  lct_scorer_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  lct_error err = {0};
  lct_fingerprints *f = NULL;
  lct_status s = lct_fingerprints_parse(data, n, "fuzz", &f, &err);
  if (s != LCT_OK) {
    FUZZ_CHECK(f == NULL);
    fuzz_check_error(s, &err);
  } else {
    score(f);
  }
  lct_fingerprints_free(f);
  return 0;
}
