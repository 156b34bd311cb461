/* Fingerprints of a model against scans of the same prompts: a scenario's are the scan's reference vectors bit for bit; means, halves and
 * what the neutral bank gives are worked out here again from the scan's vectors. */
#include "engine_test.h"

#include <math.h>

#include "base/file.h"
#include "score/fingerprint.h"
#include "store/npz.h"

#define USER(text) "[{\"role\": \"user\", \"content\": \"" text "\"}]"
#define LONG "and on and on it went, past the mill, past the church, past the last house of the village, until the road was a path"

typedef struct {
  const char *label; /* NULL: of the neutral bank */
  const char *messages;
  int role; /* of the last message */
} prompt;

static const prompt PROMPTS[] = {
    {"joy", USER("I could dance all night."), 1},
    {"fear", USER("Something is at the door."), 1},
    {"joy", USER("We won! We won!"), 1},
    {"calm", "[{\"role\": \"system\", \"content\": \"Be kind.\"}, {\"role\": \"user\", \"content\": \"The sea is flat.\"}]", 1},
    {"joy", "[{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"What a lovely morning!\"}]", 2},
    {"fear", USER("I dare not look."), 1},
    {NULL, USER("The shop opens at nine."), 1},
    {NULL, USER("It is a box."), 1},
    {NULL, USER("Water boils at a hundred degrees."), 1},
    {NULL, USER("The meeting is in room four."), 1},
    {NULL, USER("There are twelve chairs."), 1},
    {NULL, USER("The train leaves from platform two."), 1},
    {NULL, USER("Paper is made of wood."), 1},
    {NULL, USER("The report has ten pages."), 1},
    {NULL, USER("The office is closed on Sunday."), 1},
    {NULL, USER("The list has five items, and each of them has a number, a name and a price."), 1},
    {NULL, USER("He walked along the river for an hour " LONG ", " LONG ", " LONG "."), 1},
    {NULL, "[{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"The invoice is attached.\"}]", 2},
    {NULL, "[{\"role\": \"system\", \"content\": \"Answer in one sentence.\"}]", 0},
};
enum {
  N = sizeof PROMPTS / sizeof *PROMPTS,
  N_LABELS = 3,
  FIRST_NEUTRAL = 6,
  N_NEUTRAL = N - FIRST_NEUTRAL,
  N_SOURCES = 4,
  PCS = 4,
  BIN_MIN = 8
};
static const char *const SOURCES[N_SOURCES] = {"hidden_in", "hidden_out", "attn_out", "mlp_down_out"};
static const char *const LABELS[N_LABELS] = {"joy", "fear", "calm"};
#define FOUR "hidden_in,hidden_out,attn_out,mlp_down_out"

static tiny model;
static char yaml[128], jsonl[128], neutral[128], output[128];
static int layers, hidden;
static float *scanned[N_SOURCES]; /* (prompt, pooling, layer, hidden) */

static void write_text(const char *path, const char *text) {
  lct_error err;
  assert_ok(lct_file_write_atomic(path, text, strlen(text), &err));
}

/* One scan whose references are all the prompts. */
static void scan_prompts(void) {
  lct_error err = {0};
  lct_buf b = {0};
  char folder[160], pooled[4400];
  (void)snprintf(folder, sizeof folder, "%s/scans", model.dir);
  assert_ok(lct_buf_puts(&b,
                         "{\"name\": \"t\", \"model\": {\"id\": \"none\"}, \"prompt\": [{\"messages\": " USER(
                             "Hello") "}], "
                                      "\"generation\": {\"max_new_tokens\": 1}, \"reference_states\": [",
                         &err));
  for (int i = 0; i < N; i++) {
    assert_ok(lct_buf_printf(&b, &err, "%s{\"label\": \"r%d\", \"messages\": %s}", i > 0 ? ", " : "", i, PROMPTS[i].messages));
  }
  assert_ok(lct_buf_puts(&b, "]}", &err));
  write_text(yaml, b.data);
  lct_buf_free(&b);
  lct_scan_options o = {.model = {.id = model.path, .device = "cpu", .threads = 1},
                        .scenario = yaml,
                        .output = folder,
                        .keep = LCT_KEEP_POOLED};
  lct_scan_result r;
  assert_ok(lct_scan(&o, &r, &err));
  (void)snprintf(pooled, sizeof pooled, "%s/prompt_0/pooled.npz", r.run_dir);
  lct_npz_reader *z = NULL;
  assert_ok(lct_npz_open(pooled, &z, &err));
  for (int s = 0; s < N_SOURCES; s++) {
    char name[64];
    (void)snprintf(name, sizeof name, "ref/%s", SOURCES[s]);
    size_t at = (size_t)lct_npz_find(z, name);
    const lct_npz_entry *e = lct_npz_entry_at(z, at);
    assert_int_equal(e->dims[0], N);
    layers = (int)e->dims[2];
    hidden = (int)e->dims[3];
    scanned[s] = malloc((size_t)lct_npz_n_elements(e) * sizeof(float));
    assert_ok(lct_npz_read_f32(z, at, scanned[s], &err));
  }
  lct_npz_close(z);
}

static const float *scanned_at(int prompt_number, int source, int pooling, int layer) {
  return scanned[source] +
         (((size_t)prompt_number * LCT_N_DEFAULT_POSITIONS + (size_t)pooling) * (size_t)layers + (size_t)layer) * (size_t)hidden;
}

/* Lines of the prompts [from, to), `copies` times over. */
static void write_lines(const char *path, int from, int to, int copies, const char *neutral_label) {
  lct_error err = {0};
  lct_buf b = {0};
  for (int c = 0; c < copies; c++) {
    for (int i = from; i < to; i++) {
      const char *label = PROMPTS[i].label != NULL ? PROMPTS[i].label : neutral_label;
      assert_ok(lct_buf_printf(&b, &err, "{\"id\": \"%d/%d\", ", c, i));
      if (label != NULL) assert_ok(lct_buf_printf(&b, &err, "\"label\": \"%s\", ", label));
      assert_ok(lct_buf_printf(&b, &err, "\"messages\": %s}\n", PROMPTS[i].messages));
    }
  }
  write_text(path, b.data);
  lct_buf_free(&b);
}

static int set_up(void **state) {
  (void)state;
  model = tiny_write("tiny-qwen2", 3);
  (void)snprintf(yaml, sizeof yaml, "%s/s.yaml", model.dir);
  (void)snprintf(jsonl, sizeof jsonl, "%s/refs.jsonl", model.dir);
  (void)snprintf(neutral, sizeof neutral, "%s/neutral.jsonl", model.dir);
  (void)snprintf(output, sizeof output, "%s/f.safetensors", model.dir);
  scan_prompts();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  for (int s = 0; s < N_SOURCES; s++) free(scanned[s]);
  tiny_remove(&model);
  return 0;
}

static lct_fingerprint_options options(const char *references) {
  return (lct_fingerprint_options){.model = {.id = model.path, .device = "cpu", .threads = 1},
                                   .references = references,
                                   .output = output,
                                   .sources = FOUR,
                                   .pcs = -1};
}

static lct_fingerprints *make(const lct_fingerprint_options *o, lct_fingerprint_result *r) {
  lct_error err = {0};
  lct_fingerprints *f = NULL;
  assert_ok(lct_fingerprint(o, r, &err));
  assert_int_equal(r->rejected, 0);
  assert_ok(lct_fingerprints_open(output, &f, &err));
  assert_int_equal(f->n_layers, layers);
  assert_int_equal(f->hidden, hidden);
  assert_int_equal(f->n_sources, N_SOURCES);
  return f;
}

/* Each label with one prompt: the bits of the scan's reference vector. */
static void a_scenario_is_its_scan(void **state) {
  (void)state;
  lct_fingerprint_result r;
  lct_fingerprint_options o = options(yaml);
  lct_fingerprints *f = make(&o, &r);
  assert_int_equal(r.prompts, N);
  assert_int_equal(f->n_labels, N);
  assert_int_equal(f->n_poolings, LCT_N_DEFAULT_POSITIONS);
  assert_int_equal(f->n_neutral, 0);
  for (int i = 0; i < N; i++) {
    char label[8];
    (void)snprintf(label, sizeof label, "r%d", i);
    assert_string_equal(f->labels[i], label);
    assert_int_equal(f->n_prompts[i], 1);
    for (int s = 0; s < N_SOURCES; s++) {
      for (int p = 0; p < LCT_N_DEFAULT_POSITIONS; p++) {
        for (int l = 0; l < layers; l++) {
          size_t place = lct_fingerprints_place(f, p, s, l);
          assert_memory_equal(lct_fingerprints_vector(f, i, place), scanned_at(i, s, p, l), (size_t)hidden * sizeof(float));
          assert_true(isnan(f->split_half[(size_t)i * lct_fingerprints_n_places(f) + place]));
        }
      }
    }
  }
  lct_fingerprints_free(f);
}

static void near(const char *what, double got, double want, double within) {
  if (!(fabs(got - want) <= within)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

static int number_of(const char *label, int numbers[N]) {
  int n = 0;
  for (int i = 0; i < N; i++) {
    if (label == NULL ? PROMPTS[i].label == NULL : PROMPTS[i].label != NULL && strcmp(PROMPTS[i].label, label) == 0) numbers[n++] = i;
  }
  return n;
}

/* Mean over numbers[first], numbers[first + step], … of element i. */
static double mean_of(const int *numbers, int n, int first, int step, int s, int p, int l, int i) {
  double sum = 0;
  int count = 0;
  for (int k = first; k < n; k += step, count++) sum += (double)scanned_at(numbers[k], s, p, l)[i];
  return sum / count;
}

static void check_label(const lct_fingerprints *f, int label, int s, int p, int l) {
  int numbers[N], n = number_of(LABELS[label], numbers);
  size_t place = lct_fingerprints_place(f, p, s, l);
  const float *v = lct_fingerprints_vector(f, label, place);
  double ab = 0, aa = 0, bb = 0;
  for (int i = 0; i < hidden; i++) {
    double want = mean_of(numbers, n, 0, 1, s, p, l, i), a = mean_of(numbers, n, 0, 2, s, p, l, i),
           b = mean_of(numbers, n, 1, 2, s, p, l, i);
    near("mean", v[i], want, 1e-7 * fabs(want));
    ab += a * b;
    aa += a * a;
    bb += b * b;
  }
  float half = f->split_half[(size_t)label * lct_fingerprints_n_places(f) + place];
  if (n < 2) assert_true(isnan(half));
  else near("split half", half, ab / sqrt(aa * bb), 1e-6);
}

static void check_moments(const lct_fingerprints *f, int s, int p, int l, double *mean, double *sigma) {
  int numbers[N], n = number_of(NULL, numbers);
  size_t at = lct_fingerprints_place(f, p, s, l) * (size_t)hidden;
  for (int i = 0; i < hidden; i++) {
    double m2 = 0;
    mean[i] = mean_of(numbers, n, 0, 1, s, p, l, i);
    for (int k = 0; k < n; k++) m2 += pow((double)scanned_at(numbers[k], s, p, l)[i] - mean[i], 2);
    sigma[i] = sqrt(m2 / (n - 1));
    near("bank mean", f->mean[at + (size_t)i], mean[i], 2e-7 * fabs(mean[i]) + 1e-12);
    near("bank sigma", f->sigma[at + (size_t)i], sigma[i], 1e-6 * sigma[i] + 1e-12);
  }
}

/* C pc = var pc for the covariance C, unit rows, falling variances. */
static void check_components(const lct_fingerprints *f, int s, int p, int l, const double *mean) {
  size_t place = lct_fingerprints_place(f, p, s, l);
  for (int k = 0; k < PCS; k++) {
    const float *pc = f->pcs + (place * PCS + (size_t)k) * (size_t)hidden;
    double var = f->pc_var[place * PCS + (size_t)k], first = f->pc_var[place * PCS], square = 0,
           *image = calloc((size_t)hidden, sizeof *image);
    for (int j = 0; j < N_NEUTRAL; j++) {
      const float *x = scanned_at(FIRST_NEUTRAL + j, s, p, l);
      double along = 0;
      for (int i = 0; i < hidden; i++) along += ((double)x[i] - mean[i]) * (double)pc[i];
      for (int i = 0; i < hidden; i++) image[i] += along * ((double)x[i] - mean[i]) / (N_NEUTRAL - 1);
    }
    for (int i = 0; i < hidden; i++) {
      near("component", image[i], var * (double)pc[i], 2e-6 * first);
      square += (double)pc[i] * (double)pc[i];
    }
    if (var > 0) near("length", square, 1, 1e-6);
    if (k > 0) assert_true(var <= f->pc_var[place * PCS + (size_t)k - 1]);
    free(image);
  }
}

/* W^T W undoes D S* D, S* the covariance of the standardised rows with the shrinkage that the file states. */
static void check_whitening(const lct_fingerprints *f, int s, int p, int l, const double *mean, const double *sigma) {
  size_t place = lct_fingerprints_place(f, p, s, l), n = (size_t)hidden;
  const float *w = f->whiten + place * n * n;
  double shrinkage = f->shrinkage[place], m = (double)(N_NEUTRAL - 1) / N_NEUTRAL; /* the mean variance of standardised rows */
  assert_true(shrinkage > 0 && shrinkage <= 1);
  for (size_t column = 0; column < n; column += 7) {
    double *image = calloc(n, sizeof *image), *y = calloc(n, sizeof *y);
    for (int j = 0; j < N_NEUTRAL; j++) {
      const float *x = scanned_at(FIRST_NEUTRAL + j, s, p, l);
      double z = ((double)x[column] - mean[column]) / sigma[column];
      for (size_t i = 0; i < n; i++) image[i] += (1 - shrinkage) * z * ((double)x[i] - mean[i]) / sigma[i] / N_NEUTRAL;
    }
    image[column] += shrinkage * m;
    for (size_t i = 0; i < n; i++) {
      for (size_t k = 0; k < n; k++) y[i] += (double)w[i * n + k] * image[k] * sigma[k] * sigma[column];
    }
    for (size_t k = 0; k < n; k++) {
      double sum = 0;
      for (size_t i = 0; i < n; i++) sum += (double)w[i * n + k] * y[i];
      near("whitening", sum * sigma[k] / sigma[column], k == column ? 1 : 0, 2e-4);
    }
    free(image);
    free(y);
  }
}

/* Length of the last message in tokens: what its mean was taken over is not in the scan's files, so the model's tokenizer, of bytes and of
 * a few whole words, is asked through the text: one token a byte. */
static int bin_of(int number) {
  const char *content = NULL;
  for (const char *at = PROMPTS[number].messages; (at = strstr(at, "\"content\": \"")) != NULL;) content = at += 12;
  return lct_z_bin(PROMPTS[number].role, (int32_t)strcspn(content, "\""));
}

static void check_z(const lct_fingerprints *f, int label, int s, int p, int l) {
  enum { BINS = LCT_Z_ROLES * LCT_Z_LENGTHS };
  size_t place = lct_fingerprints_place(f, p, s, l);
  const float *r = lct_fingerprints_vector(f, label, place), *z = f->z + (place * N_LABELS + (size_t)label) * BINS * 2;
  for (int bin = 0; bin < BINS; bin++) {
    double sum = 0, square = 0, n = 0;
    for (int wide = 0; wide < 3; wide++) { /* the bin, its role, all */
      sum = square = n = 0;
      for (int j = FIRST_NEUTRAL; j < N; j++) {
        int own = bin_of(j);
        if (wide == 0 ? own != bin : wide == 1 && own / LCT_Z_LENGTHS != bin / LCT_Z_LENGTHS) continue;
        double cosine = lct_cosine(scanned_at(j, s, p, l), r, hidden);
        n++;
        sum += cosine;
        square += cosine * cosine;
      }
      if (n >= BIN_MIN) break;
    }
    double sd = sqrt(fmax(0, square - sum * sum / n) / (n - 1));
    near("z mean", z[2 * bin], sum / n, 1e-6);
    near("z sd", z[2 * bin + 1], sd, 1e-6);
  }
}

static void check_all(const lct_fingerprints *f) {
  double *mean = calloc((size_t)hidden, sizeof *mean), *sigma = calloc((size_t)hidden, sizeof *sigma);
  for (int s = 0; s < N_SOURCES; s++) {
    for (int p = 0; p < LCT_N_DEFAULT_POSITIONS; p++) {
      for (int l = 0; l < layers; l++) {
        for (int label = 0; label < N_LABELS; label++) check_label(f, label, s, p, l);
        check_moments(f, s, p, l, mean, sigma);
        check_components(f, s, p, l, mean);
        bool moving = true; /* hidden_in of layer 0 at `last` is one and the same token's embedding */
        for (int i = 0; i < hidden; i++) moving = moving && sigma[i] > 0;
        if (moving) check_whitening(f, s, p, l, mean, sigma);
        for (int label = 0; label < N_LABELS; label++) check_z(f, label, s, p, l);
      }
    }
  }
  free(mean);
  free(sigma);
}

/* The bank in a file of its own, and as a label beside the others: the same. */
static void many_prompts_and_a_bank(void **state) {
  (void)state;
  lct_fingerprint_result r;
  write_lines(jsonl, 0, FIRST_NEUTRAL, 1, NULL);
  write_lines(neutral, FIRST_NEUTRAL, N, 1, NULL);
  lct_fingerprint_options o = options(jsonl);
  o.neutral = neutral;
  o.pcs = PCS;
  o.whiten = true;
  lct_fingerprints *f = make(&o, &r);
  assert_int_equal(r.prompts, FIRST_NEUTRAL);
  assert_int_equal(r.neutral, N_NEUTRAL);
  assert_int_equal(r.neutral_kept, N_NEUTRAL);
  assert_int_equal(f->n_labels, N_LABELS);
  for (int i = 0; i < N_LABELS; i++) assert_string_equal(f->labels[i], LABELS[i]);
  assert_int_equal(f->n_prompts[0], 3);
  assert_int_equal(f->n_prompts[2], 1);
  assert_int_equal(f->n_pcs, PCS);
  check_all(f);
  lct_fingerprints_free(f);
  lct_buf one = {0}, other = {0};
  lct_error err = {0};
  assert_ok(lct_file_read(output, 1 << 28, &one, &err));
  for (int way = 0; way < 2; way++) { /* one file of all; a neutral file with other labels in it too */
    write_lines(jsonl, 0, way == 0 ? N : FIRST_NEUTRAL, 1, "plain");
    write_lines(neutral, 0, N, 1, "plain");
    o.neutral = way == 0 ? NULL : neutral;
    o.neutral_label = "plain";
    o.model.threads = 2;
    lct_fingerprints_free(make(&o, &r));
    other.len = 0;
    assert_ok(lct_file_read(output, 1 << 28, &other, &err));
    assert_int_equal(one.len, other.len);
    assert_memory_equal(one.data, other.data, one.len);
  }
  lct_buf_free(&one);
  lct_buf_free(&other);
}

/* More prompts than a chunk holds, and more of the bank than is kept. */
static void many_chunks(void **state) {
  (void)state;
  lct_fingerprint_result r;
  enum { COPIES = 4200 / N_NEUTRAL + 1, ALL = COPIES * N_NEUTRAL };
  write_lines(jsonl, 0, FIRST_NEUTRAL, 100, NULL);
  write_lines(neutral, FIRST_NEUTRAL, N, COPIES, NULL);
  lct_fingerprint_options o = options(jsonl);
  o.neutral = neutral;
  o.sources = "hidden_in,hidden_out,attn_out,mlp_down_out";
  o.poolings = "content_mean";
  lct_fingerprints *f = make(&o, &r);
  assert_int_equal(r.prompts, 600);
  assert_int_equal(r.neutral, ALL);
  assert_int_equal(r.neutral_kept, (ALL + 1) / 2);
  assert_int_equal(f->n_neutral, ALL);
  assert_int_equal(f->n_prompts[0], 300);
  assert_int_equal(f->n_poolings, 1);
  assert_string_equal(f->poolings[0], "content_mean");
  int numbers[N], n = number_of("joy", numbers);
  for (int l = 0; l < layers; l++) {
    const float *v = lct_fingerprints_vector(f, 0, lct_fingerprints_place(f, 0, 1, l));
    for (int i = 0; i < hidden; i++) {
      double want = mean_of(numbers, n, 0, 1, 1, LCT_AT_CONTENT_MEAN, l, i);
      near("mean of many", v[i], want, 2e-7 * fabs(want) + 1e-9);
    }
  }
  lct_fingerprints_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_scenario_is_its_scan),
      cmocka_unit_test(many_prompts_and_a_bank),
      cmocka_unit_test(many_chunks),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
