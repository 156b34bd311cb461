/* The file of fingerprints: there and back, and the exact message for each way to be wrong. */
#include <math.h>

#include "model/safetensors_write.h"
#include "model_support.h"
#include "score/fingerprint.h"

enum { LAYERS = 2, HIDDEN = 3, LABELS = 3, PCS = 2, BINS = LCT_Z_ROLES * LCT_Z_LENGTHS };
static char dir[512];

static int setup(void **state) {
  (void)state;
  (void)make_temp(dir, sizeof dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(dir);
  return 0;
}

static char *LABEL_NAMES[] = {"joy", "50% fear/awe", "%2F \xe6\x82\xb2\xe3\x81\x97\xe3\x81\xbf\"\\"};
static char *POOLING_NAMES[] = {"last", "content_mean"}, *SOURCE_NAMES[] = {"hidden_out"};

static void fill(float *x, size_t n, float from) {
  for (size_t i = 0; i < n; i++) x[i] = from + (float)i / 8;
}

static lct_fingerprints *make(int n_labels, bool neutral, bool whiten) {
  lct_error err = {0};
  const lct_fingerprints names = {.model_hash = "abcdef0123456789",
                                  .template_hash = "0123456789abcdef",
                                  .model_id = "models/\"tiny\"",
                                  .template_name = "chatml",
                                  .precision = "exact",
                                  .n_layers = LAYERS,
                                  .hidden = HIDDEN,
                                  .n_labels = n_labels,
                                  .n_poolings = 2,
                                  .n_sources = 1,
                                  .labels = LABEL_NAMES,
                                  .poolings = POOLING_NAMES,
                                  .sources = SOURCE_NAMES,
                                  .n_neutral = neutral ? 12 : 0,
                                  .n_pcs = PCS};
  lct_fingerprints *f = NULL;
  assert_ok(lct_fingerprints_new(&names, whiten, &f, &err));
  size_t places = lct_fingerprints_n_places(f), n = (size_t)n_labels;
  assert_int_equal(places, 2 * LAYERS);
  fill(f->vectors, n * places * HIDDEN, 1);
  fill(f->split_half, n * places, -0.3f);
  f->split_half[1] = NAN;
  for (int i = 0; i < n_labels; i++) f->n_prompts[i] = i + 1;
  if (!neutral) return f;
  fill(f->mean, places * HIDDEN, 100);
  fill(f->sigma, places * HIDDEN, 200);
  fill(f->pcs, places * PCS * HIDDEN, 300);
  fill(f->pc_var, places * PCS, 400);
  fill(f->z, n * places * BINS * 2, 500);
  f->z[3] = NAN;
  if (whiten) fill(f->whiten, places * HIDDEN * HIDDEN, 600);
  if (whiten) fill(f->shrinkage, places, 0.25f);
  return f;
}

static void check_floats(const float *a, const float *b, size_t n) {
  assert_int_equal(a == NULL, b == NULL);
  if (a != NULL) assert_memory_equal(a, b, n * sizeof *a);
}

static void check_same(const lct_fingerprints *a, const lct_fingerprints *b) {
  size_t places = lct_fingerprints_n_places(a), n = (size_t)a->n_labels;
  assert_string_equal(a->model_hash, b->model_hash);
  assert_string_equal(a->template_hash, b->template_hash);
  assert_string_equal(a->model_id, b->model_id);
  assert_string_equal(a->template_name, b->template_name);
  assert_string_equal(a->precision, b->precision);
  assert_int_equal(a->n_layers, b->n_layers);
  assert_int_equal(a->hidden, b->hidden);
  assert_int_equal(a->n_labels, b->n_labels);
  assert_int_equal(a->n_poolings, b->n_poolings);
  assert_int_equal(a->n_sources, b->n_sources);
  for (int i = 0; i < a->n_labels; i++) assert_string_equal(a->labels[i], b->labels[i]);
  for (int i = 0; i < a->n_labels; i++) assert_int_equal(a->n_prompts[i], b->n_prompts[i]);
  for (int i = 0; i < a->n_poolings; i++) assert_string_equal(a->poolings[i], b->poolings[i]);
  for (int i = 0; i < a->n_sources; i++) assert_string_equal(a->sources[i], b->sources[i]);
  check_floats(a->vectors, b->vectors, n * places * HIDDEN);
  for (size_t i = 0; i < n * places; i++) {
    assert_true(a->split_half[i] == b->split_half[i] || (isnan(a->split_half[i]) && isnan(b->split_half[i])));
  }
  assert_int_equal(a->n_neutral, b->n_neutral);
  assert_int_equal(a->n_pcs, b->n_pcs);
  check_floats(a->mean, b->mean, places * HIDDEN);
  check_floats(a->sigma, b->sigma, places * HIDDEN);
  check_floats(a->pcs, b->pcs, places * PCS * HIDDEN);
  check_floats(a->pc_var, b->pc_var, places * PCS);
  check_floats(a->z, b->z, n * places * BINS * 2);
  check_floats(a->whiten, b->whiten, places * HIDDEN * HIDDEN);
  check_floats(a->shrinkage, b->shrinkage, places);
}

static void round_trip(void **state) {
  (void)state;
  lct_error err = {0};
  const struct {
    int n_labels;
    bool neutral, whiten;
  } cases[] = {{LABELS, false, false}, {LABELS, true, false}, {LABELS, true, true}, {1, true, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/f%zu.safetensors", dir, i);
    lct_fingerprints *f = make(cases[i].n_labels, cases[i].neutral, cases[i].whiten), *g = NULL;
    assert_ok(lct_fingerprints_save(f, path, &err));
    assert_ok(lct_fingerprints_open(path, &g, &err));
    check_same(f, g);
    lct_fingerprints_free(f);
    lct_fingerprints_free(g);
  }
}

/* The names that other programs look for. */
static void tensor_names(void **state) {
  (void)state;
  lct_error err = {0};
  static const struct {
    const char *name;
    int n_dims;
    int64_t dims[4];
  } expected[] = {
      {"joy/last/hidden_out", 2, {LAYERS, HIDDEN}},
      {"50%25 fear%2Fawe/last/hidden_out", 2, {LAYERS, HIDDEN}},
      {"%252F \xe6\x82\xb2\xe3\x81\x97\xe3\x81\xbf\"\\/last/hidden_out", 2, {LAYERS, HIDDEN}},
      {"neutral/last/hidden_out/mean", 2, {LAYERS, HIDDEN}},
      {"neutral/last/hidden_out/sigma", 2, {LAYERS, HIDDEN}},
      {"neutral/last/hidden_out/pcs", 3, {LAYERS, PCS, HIDDEN}},
      {"neutral/last/hidden_out/pc_var", 2, {LAYERS, PCS}},
      {"neutral/last/hidden_out/z", 4, {LAYERS, LABELS, BINS, 2}},
      {"neutral/last/hidden_out/shrinkage", 1, {LAYERS}},
      {"neutral/last/hidden_out/whiten", 3, {LAYERS, HIDDEN, HIDDEN}},
      {"joy/content_mean/hidden_out", 2, {LAYERS, HIDDEN}},
  };
  char path[600];
  (void)snprintf(path, sizeof path, "%s/names.safetensors", dir);
  lct_fingerprints *f = make(LABELS, true, true);
  assert_ok(lct_fingerprints_save(f, path, &err));
  lct_buf b = read_all(path);
  lct_arena arena = {0};
  lct_st_file st;
  assert_ok(lct_safetensors_parse((const unsigned char *)b.data, b.len, path, &arena, &st, &err));
  assert_int_equal(st.n_tensors, 20);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    assert_string_equal(st.tensors[i].name, expected[i].name);
    assert_int_equal(st.tensors[i].n_dims, expected[i].n_dims);
    for (int k = 0; k < expected[i].n_dims; k++) assert_int_equal(st.tensors[i].dims[k], expected[i].dims[k]);
  }
  assert_string_equal(lct_st_metadata(&st, "labels"), "[\"joy\",\"50% fear/awe\",\"%2F \xe6\x82\xb2\xe3\x81\x97\xe3\x81\xbf\\\"\\\\\"]");
  assert_string_equal(lct_st_metadata(&st, "neutral"), "{\"prompts\":12,\"pcs\":2,\"whiten\":true}");
  lct_arena_free(&arena);
  lct_buf_free(&b);
  lct_fingerprints_free(f);
}

/* A file cut anywhere fails cleanly; on an exact-size copy, so that the sanitizer sees the first byte too far. */
static void truncated(void **state) {
  (void)state;
  lct_error err = {0};
  char path[600];
  (void)snprintf(path, sizeof path, "%s/cut.safetensors", dir);
  lct_fingerprints *f = make(1, true, true), *g = NULL;
  assert_ok(lct_fingerprints_save(f, path, &err));
  lct_buf b = read_all(path);
  for (size_t n = 0; n < b.len; n++) {
    unsigned char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, b.data, n);
    assert_int_equal(lct_fingerprints_parse(copy, n, path, &g, &err), LCT_E_FORMAT);
    assert_null(g);
    assert_true(strncmp(err.message, path, strlen(path)) == 0);
    free(copy);
  }
  lct_buf_free(&b);
  lct_fingerprints_free(f);
}

/* A good file's text with one part replaced by another of the same length. */
static void check_patched(const char *from, const char *to, lct_status status, const char *message) {
  lct_error err = {0};
  char path[600], expected[900];
  (void)snprintf(path, sizeof path, "%s/patched.safetensors", dir);
  lct_fingerprints *f = make(2, true, true), *g = NULL;
  assert_ok(lct_fingerprints_save(f, path, &err));
  assert_int_equal(strlen(from), strlen(to));
  patch(path, from, to);
  (void)snprintf(expected, sizeof expected, "%s: %s", path, message);
  assert_fails(lct_fingerprints_open(path, &g, &err), status, expected);
  assert_null(g);
  lct_fingerprints_free(f);
}

static void damaged(void **state) {
  (void)state;
  const lct_status bad = LCT_E_FORMAT;
  check_patched("llmct-fingerprints", "llmct-fingerprinte", bad,
                "metadata format: expected \"llmct-fingerprints\": a file of `llmct-gpu fingerprint`, found llmct-fingerprinte");
  check_patched("\"format\"", "\"farmat\"", bad,
                "metadata format: expected \"llmct-fingerprints\": a file of `llmct-gpu fingerprint`, found nothing");
  check_patched("\"version\":\"1\"", "\"version\":\"2\"", bad, "metadata version: expected 1, found 2");
  check_patched("\"model_hash\"", "\"model_hush\"", bad, "metadata model_hash: expected a text, found nothing");
  check_patched("\"layers\":\"2\"", "\"layers\":\"0\"", bad, "metadata layers: expected a number of 1 to 100000, found 0");
  check_patched("\"layers\":\"2\"", "\"layers\":\"3\"", bad, "tensor \"joy/last/hidden_out\": expected F32 [3,3], found F32 [2,3]");
  check_patched("\"layers\":\"2\"", "\"layers\":\"x\"", bad,
                "metadata layers is not valid JSON: invalid token near 'x' (line 1, column 1)");
  check_patched("\"hidden\":\"3\"", "\"hidden\":\"9\"", bad, "tensor \"joy/last/hidden_out\": expected F32 [2,9], found F32 [2,3]");
  check_patched("[\\\"joy\\\",", "[\\\"jey\\\",", bad, "tensor \"jey/last/hidden_out\": expected F32 [2,3], found nothing");
  check_patched("\"sources\":\"[\\\"hidden_out\\\"]\"", "\"sources\":\"[              ]\"", bad,
                "metadata sources: expected a list of 1 to 4096 names, found [              ]");
  check_patched("[\\\"last\\\",\\\"content_mean\\\"]", "[\\\"last\\\",\\\"last\\\"        ]", bad,
                "metadata poolings: expected names that differ, found last");
  check_patched("[\\\"last\\\",\\\"content_mean\\\"]", "[\\\"last\\\",1               ]", bad,
                "metadata poolings: expected a list of names, found [\"last\",1               ]");
  check_patched("{\\\"joy\\\":1,", "{\\\"joy\\\":0,", bad, "metadata prompts: expected a number for each label, found joy");
  check_patched("{\\\"prompts\\\":12", "{\\\"prompts\\\":-1", bad,
                "metadata neutral: expected {\"prompts\": n, \"pcs\": k, \"whiten\": true or false}, "
                "found {\"prompts\":-1,\"pcs\":2,\"whiten\":true}");
  check_patched("\\\"pcs\\\":2", "\\\"pcs\\\":1", bad, "tensor \"neutral/last/hidden_out/pcs\": expected F32 [2,1,3], found F32 [2,2,3]");
  check_patched("\"neutral/last/hidden_out/z\"", "\"neutral/last/hidden_out/y\"", bad,
                "tensor \"neutral/last/hidden_out/z\": expected F32 [2,2,24,2], found nothing");
  check_patched("\"dtype\":\"F32\",\"shape\":[2,3]", "\"dtype\":\"I32\",\"shape\":[2,3]", bad,
                "tensor \"joy/last/hidden_out\": expected F32 [2,3], found I32 [2,3]");
  check_patched("\\\"hidden_out\\\":[-0.3", "\\\"hidden_aut\\\":[-0.3", bad,
                "metadata split_half: expected a number a layer for each label, found joy");
  check_patched("null]", "true]", bad, "metadata split_half: expected numbers and nulls, found joy");
}

static void not_finite(void **state) {
  (void)state;
  lct_error err = {0};
  char path[600], message[800];
  (void)snprintf(path, sizeof path, "%s/nan.safetensors", dir);
  lct_fingerprints *f = make(1, true, false), *g = NULL;
  float *v = lct_fingerprints_vector(f, 0, lct_fingerprints_place(f, 1, 0, 1));
  v[2] = NAN;
  assert_ok(lct_fingerprints_save(f, path, &err));
  (void)snprintf(message, sizeof message, "%s: tensor \"joy/content_mean/hidden_out\": layer 1 value 2 is NaN", path);
  assert_fails(lct_fingerprints_open(path, &g, &err), LCT_E_NUMERIC, message);
  v[2] = 0;
  f->sigma[0] = INFINITY;
  assert_ok(lct_fingerprints_save(f, path, &err));
  (void)snprintf(message, sizeof message, "%s: tensor \"neutral/last/hidden_out/sigma\": layer 0 value 0 is infinite", path);
  assert_fails(lct_fingerprints_open(path, &g, &err), LCT_E_NUMERIC, message);
  lct_fingerprints_free(f);
}

static void checked(void **state) {
  (void)state;
  lct_error err = {0};
  lct_fingerprints *f = make(1, false, false);
  const char *model = "abcdef0123456789", *template = "0123456789abcdef";
  assert_ok(lct_fingerprints_check(f, "F", model, template, LAYERS, HIDDEN, &err));
  assert_fails(lct_fingerprints_check(f, "F", "ffffffffffffffff", template, LAYERS, HIDDEN, &err), LCT_E_USAGE,
               "F was made with another model, models/\"tiny\" of hash abcdef012345; this one's hash is ffffffffffff");
  assert_fails(lct_fingerprints_check(f, "F", model, "ffff", LAYERS, HIDDEN, &err), LCT_E_USAGE,
               "F was made with another chat template, chatml of hash 0123456789ab; this one's hash is ffff");
  assert_fails(lct_fingerprints_check(f, "F", model, template, 5, HIDDEN, &err), LCT_E_USAGE,
               "F was made with a model of 2 layers (models/\"tiny\"); this one has 5");
  assert_fails(lct_fingerprints_check(f, "F", model, template, LAYERS, 8, &err), LCT_E_USAGE,
               "F was made with a model of hidden size 3 (models/\"tiny\"); this one's is 8");
  lct_fingerprints_free(f);
}

static void no_file(void **state) {
  (void)state;
  lct_error err = {0};
  lct_fingerprints *g = NULL;
  assert_fails(lct_fingerprints_open("/nowhere/f.safetensors", &g, &err), LCT_E_IO,
               "cannot open /nowhere/f.safetensors: No such file or directory");
  lct_fingerprints_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip), cmocka_unit_test(tensor_names), cmocka_unit_test(truncated), cmocka_unit_test(damaged),
      cmocka_unit_test(not_finite), cmocka_unit_test(checked),      cmocka_unit_test(no_file),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
