/* What a call leaves behind of threads: none of its own, and OpenMP's number of threads, a setting of the caller's thread, as it was. A
 * library below us that starts a team of OpenMP's would be seen here, since such a team stays. */
#include <dirent.h>
#include <omp.h>

#include "engine_test.h"

enum { CALLERS = 5 };

static tiny model;
static char references[128], prints[128], input[128], store[128], scenario[128];
static lct_error err;

static int n_threads(void) {
  DIR *d = opendir("/proc/self/task");
  assert_non_null(d);
  int n = 0;
  for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  (void)closedir(d);
  return n;
}

#define assert_leaves_threads_alone(call)             \
  do {                                                \
    omp_set_num_threads(CALLERS);                     \
    assert_ok(call);                                  \
    assert_int_equal(omp_get_max_threads(), CALLERS); \
    assert_int_equal(n_threads(), 1);                 \
  } while (0)

static void write_text(char path[128], const char *name, const char *text) {
  (void)snprintf(path, 128, "%s/%s", model.dir, name);
  assert_ok(lct_file_write_atomic(path, text, strlen(text), &err));
}

static int set_up(void **state) {
  (void)state;
  model = tiny_write("tiny-qwen2", 3);
  write_text(references, "references.jsonl",
             "{\"id\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"I could dance.\", \"label\": \"joy\"}]}\n"
             "{\"id\": \"b\", \"messages\": [{\"role\": \"user\", \"content\": \"Who is at the door?\", \"label\": \"fear\"}]}\n");
  write_text(input, "talks.jsonl",
             "{\"id\": \"t\", \"messages\": [{\"role\": \"user\", \"content\": \"What a lovely morning! I could sing.\"}]}\n");
  write_text(
      scenario, "talk.yaml",
      "{\"name\": \"t\", \"model\": {\"id\": \"none\"}, \"prompt\": [{\"messages\": [{\"role\": \"user\", \"content\": \"Who is there?\"}]}], "
      "\"generation\": {\"max_new_tokens\": 2}}");
  (void)snprintf(prints, sizeof prints, "%s/f.safetensors", model.dir);
  (void)snprintf(store, sizeof store, "%s/sweep", model.dir);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tiny_remove(&model);
  return 0;
}

static void with_a_model(void **state) {
  (void)state;
  static const lct_precision precisions[] = {LCT_PRECISION_EXACT, LCT_PRECISION_FAST};
  for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
    char out[192];
    double seconds[1];
    (void)snprintf(out, sizeof out, "%s/scans", model.dir);
    const lct_scan_options scan = {.scenario = scenario,
                                   .model = {.id = model.path, .device = "cpu", .precision = precisions[i], .threads = 2},
                                   .output = out,
                                   .keep = LCT_KEEP_TOKENS};
    lct_scan_result scanned;
    assert_leaves_threads_alone(lct_scan(&scan, &scanned, &err));
    const lct_bench_options bench = {.model = {.id = model.path, .device = "cpu", .precision = precisions[i], .threads = 2},
                                     .n_prompts = 1,
                                     .n_tokens = 300,
                                     .n_decode = 2,
                                     .repeats = 1};
    lct_bench_result measured = {.seconds = seconds};
    assert_leaves_threads_alone(lct_bench_prefill(&bench, &measured, &err));
    assert_leaves_threads_alone(lct_bench_decode(&bench, &measured, &err));
  }
}

static void with_a_store(void **state) {
  (void)state;
  const lct_fingerprint_options making = {.references = references,
                                          .model = {.id = model.path, .device = "cpu", .threads = 2},
                                          .output = prints};
  lct_fingerprint_result made;
  assert_leaves_threads_alone(lct_fingerprint(&making, &made, &err));
  const char *inputs[] = {input};
  const lct_sweep_options sweep = {.inputs = inputs,
                                   .n_inputs = 1,
                                   .model = {.id = model.path, .device = "cpu", .threads = 2},
                                   .output = store,
                                   .keep = LCT_KEEP_POOLED,
                                   .store_dtype = LCT_STORED_F32,
                                   .sync = LCT_SYNC_OFF};
  lct_sweep_result swept;
  assert_leaves_threads_alone(lct_sweep(&sweep, &swept, &err));
  const lct_score_options score = {.dir = store, .fingerprints = prints, .threads = 2};
  lct_score_result scored;
  assert_leaves_threads_alone(lct_score(&score, &scored, &err));
  lct_verify_result verified;
  assert_leaves_threads_alone(lct_verify(store, NULL, NULL, &verified, &err));
  char *text = NULL;
  assert_leaves_threads_alone(lct_inspect(model.path, false, true, &text, &err));
  lct_text_free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(with_a_model), cmocka_unit_test(with_a_store)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
