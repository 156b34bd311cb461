/* Nanoseconds a vector of the scorer, by metrics and number of labels: one thread, the least of many runs.
 *   bench_scorer [HIDDEN [LABELS...]]                                                                       */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "score/fingerprint.h"

enum { ROWS = 256, LAYERS = 4, PCS = 8, RUNS = 40, MAX_LABELS = 256 };

static const struct {
  const char *name;
  int metrics[LCT_N_ALL_METRICS], n;
} SETS[] = {
    {"cosine", {LCT_METRIC_COSINE}, 1},
    {"cosine mae jaccard", {LCT_METRIC_COSINE, LCT_METRIC_MAE, LCT_METRIC_JACCARD}, 3},
    {"centered", {LCT_METRIC_CENTERED}, 1},
    {"standardized", {LCT_METRIC_STANDARDIZED}, 1},
    {"projection", {LCT_METRIC_PROJECTION}, 1},
    {"z", {LCT_METRIC_Z}, 1},
    {"whitened", {LCT_METRIC_WHITENED}, 1},
    {"all but whitened", {0, 1, 2, LCT_METRIC_CENTERED, LCT_METRIC_STANDARDIZED, LCT_METRIC_Z, LCT_METRIC_PROJECTION}, 7},
};

static void fill(float *x, size_t n, float low, float high) {
  for (size_t i = 0; i < n; i++) x[i] = low + (high - low) * (float)rand() / (float)RAND_MAX;
}

static void die(const lct_error *err) {
  fprintf(stderr, "bench_scorer: %s\n", err->message);
  exit(1);
}

static lct_fingerprints *make(int hidden, int n_labels) {
  static char text[MAX_LABELS][16], *labels[MAX_LABELS], *pooling = "last", *source = "hidden_out";
  for (int i = 0; i < n_labels; i++) {
    (void)snprintf(text[i], sizeof text[i], "l%d", i);
    labels[i] = text[i];
  }
  const lct_fingerprints names = {.n_layers = LAYERS,
                                  .hidden = hidden,
                                  .n_labels = n_labels,
                                  .n_poolings = 1,
                                  .n_sources = 1,
                                  .labels = labels,
                                  .poolings = &pooling,
                                  .sources = &source,
                                  .n_neutral = 100,
                                  .n_pcs = PCS};
  lct_fingerprints *f = NULL;
  lct_error err;
  if (lct_fingerprints_new(&names, true, &f, &err) != LCT_OK) die(&err);
  size_t n = LAYERS * (size_t)hidden;
  fill(f->vectors, n * (size_t)n_labels, -1, 1);
  fill(f->mean, n, -1, 1);
  fill(f->sigma, n, 0.5f, 2);
  fill(f->pcs, n * PCS, -0.04f, 0.04f);
  fill(f->whiten, n * (size_t)hidden, -0.1f, 0.1f);
  fill(f->z, LAYERS * (size_t)n_labels * LCT_Z_ROLES * LCT_Z_LENGTHS * 2, 0.1f, 0.3f);
  return f;
}

static double measure(const lct_fingerprints *f, int set, const float *rows, const lct_score_row *about, float *out) {
  static const char *const poolings[] = {"last"}, *const sources[] = {"hidden_out"};
  static const int layers[LAYERS] = {0, 1, 2, 3};
  const lct_score_axes axes = {SETS[set].metrics, SETS[set].n, poolings, sources, 1, 1, layers, LAYERS};
  lct_scorer *s = NULL;
  lct_error err;
  double best = 1e9;
  if (lct_scorer_new(f, &axes, &s, &err) != LCT_OK) die(&err);
  for (int run = 0; run < RUNS; run++) {
    double t0 = lct_seconds();
    for (int l = 0; l < LAYERS; l++) {
      if (lct_scorer_run(s, 0, 0, l, rows, f->hidden, ROWS, about, out, f->n_labels * SETS[set].n, &err) != LCT_OK) die(&err);
    }
    double t = (lct_seconds() - t0) / (ROWS * LAYERS);
    if (t < best) best = t;
  }
  lct_scorer_free(s);
  return best * 1e9;
}

static void bench(int hidden, int n_labels) {
  lct_fingerprints *f = make(hidden, n_labels);
  float *rows = calloc(ROWS * (size_t)hidden, sizeof *rows), *out = calloc(ROWS * (size_t)n_labels * LCT_N_ALL_METRICS, sizeof *out);
  lct_score_row about[ROWS];
  if (rows == NULL || out == NULL) exit(1);
  for (int i = 0; i < ROWS; i++) about[i] = (lct_score_row){i % LCT_Z_ROLES, i + 1};
  fill(rows, ROWS * (size_t)hidden, -1, 1);
  for (size_t i = 0; i < sizeof SETS / sizeof *SETS; i++) {
    printf("{\"hidden\": %d, \"labels\": %d, \"metrics\": \"%s\", \"ns_a_vector\": %.0f}\n", hidden, n_labels, SETS[i].name,
           measure(f, (int)i, rows, about, out));
  }
  free(rows);
  free(out);
  lct_fingerprints_free(f);
}

int main(int argc, char **argv) {
  int hidden = argc > 1 ? atoi(argv[1]) : 576;
  for (int i = 2; i < (argc > 2 ? argc : 4); i++) {
    int n_labels = argc > 2 ? atoi(argv[i]) : i == 2 ? 7 : 28;
    if (hidden < PCS || n_labels < 1 || n_labels > MAX_LABELS) return 2;
    bench(hidden, n_labels);
  }
  return 0;
}
