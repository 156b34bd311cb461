/* Every snapshot of many conversations by one observer, as `llmct-gpu export --to csv` writes a sweep's. The model's and the fingerprints' files are
 * moved away once the observer is there: nothing is read again.
 * Usage: observe MODEL FINGERPRINTS TALKS METRICS SCORES.csv VECTORS.csv */
#include <math.h>

#include "talks.h"

static void put(FILE *out, float v) {
  (void)putc(',', out);
  if (!isnan(v)) fprintf(out, "%.9g", (double)v);
}

static void put_scores(size_t row, const lct_observation *x, const lct_observer_axes *a, FILE *out) {
  for (int p = 0; p < a->n_scored_positions; p++) {
    for (int s = 0; s < a->n_scored_sources; s++) {
      for (int l = 0; l < a->n_layers; l++) {
        for (int r = 0; r < a->n_references; r++) {
          fprintf(out, "%zu,%s,%s,%d,%s", row, a->scored_positions[p], a->scored_sources[s], a->layers[l], a->references[r]);
          for (int m = 0; m < a->n_metrics; m++) put(out, lct_observation_score(x, 0, p, s, l, r, m));
          (void)putc('\n', out);
        }
      }
    }
  }
}

static void put_vectors(size_t row, const lct_observation *x, const lct_observer_axes *a, FILE *out) {
  for (int p = 0; p < a->n_positions; p++) {
    for (int s = 0; s < a->n_sources; s++) {
      for (int l = 0; l < a->n_layers; l++) {
        const float *v = lct_observation_vector(x, 0, p, s, l);
        fprintf(out, "%zu,%s,%s,%d", row, a->positions[p], a->sources[s], a->layers[l]);
        for (int k = 0; k < a->widths[s]; k++) put(out, v[k]);
        (void)putc('\n', out);
      }
    }
  }
}

/* Bits of what was observed of conversation i of many are those of it alone. */
static void compare(const lct_observation *many, size_t i, const lct_observation *one, const lct_observer_axes *a) {
  const lct_observed *x = lct_observation_get(many, i), *y = lct_observation_get(one, 0);
  size_t width = 0, scores = (size_t)a->n_scored_positions * (size_t)a->n_scored_sources * (size_t)a->n_layers * (size_t)a->n_references *
                             (size_t)a->n_metrics;
  for (int s = 0; s < a->n_sources; s++) width += (size_t)a->widths[s];
  size_t vectors = (size_t)a->n_positions * (size_t)a->n_layers * width;
  if (x->n_tokens != y->n_tokens || memcmp(x->tokens, y->tokens, (size_t)x->n_tokens * sizeof *x->tokens) != 0 ||
      memcmp(x->vectors, y->vectors, vectors * sizeof *x->vectors) != 0 || memcmp(x->scores, y->scores, scores * sizeof *x->scores) != 0) {
    stop("many at once give other bits than one by one", NULL);
  }
}

static char text[1 << 16];
static talk talks[MAX_TALKS];
static lct_message_list lists[MAX_TALKS * MAX_MESSAGES];
static lct_observation *alone[MAX_TALKS * MAX_MESSAGES];

static void move_away(const char *path) {
  char to[4096];
  (void)snprintf(to, sizeof to, "%s.away", path);
  if (rename(path, to) != 0) stop(path, NULL);
}

int main(int argc, char **argv) {
  lct_error err = {0};
  lct_subject *model = NULL;
  lct_fingerprints *f = NULL;
  lct_observer *o = NULL;
  lct_observation *many = NULL;
  if (argc != 7) return 2;
  size_t n_talks = read_talks(argv[3], text, talks), n = 0;
  if (lct_model_open(&(lct_model_options){.id = argv[1], .device = "cpu"}, &model, &err) != LCT_OK) stop("model", &err);
  if (lct_fingerprints_open(argv[2], &f, &err) != LCT_OK) stop("fingerprints", &err);
  if (lct_observer_new(model, f, &(lct_observer_options){.metrics = argv[4], .sources = "hidden_in,hidden_out"}, &o, &err) != LCT_OK) {
    stop("observer", &err);
  }
  move_away(argv[1]);
  move_away(argv[2]);
  const lct_observer_axes *a = lct_observer_get_axes(o);
  FILE *scores = fopen(argv[5], "w"), *vectors = fopen(argv[6], "w");
  if (scores == NULL || vectors == NULL) stop("output", NULL);
  for (size_t i = 0; i < n_talks; i++) {
    for (size_t k = 1; k <= talks[i].n; k++, n++) {
      lists[n] = (lct_message_list){talks[i].messages, k};
      if (lct_observe(o, talks[i].messages, k, &alone[n], &err) != LCT_OK) stop("observe", &err);
      put_scores(n, alone[n], a, scores);
      put_vectors(n, alone[n], a, vectors);
    }
  }
  if (lct_observe_many(o, lists, n, &many, &err) != LCT_OK) stop("observe many", &err);
  for (size_t i = 0; i < n; i++) {
    compare(many, i, alone[i], a);
    lct_observation_free(alone[i]);
  }
  printf("%zu snapshots\n", n);
  lct_observation_free(many);
  lct_observer_free(o);
  lct_fingerprints_free(f);
  lct_model_free(model);
  return fclose(scores) != 0 || fclose(vectors) != 0;
}
