/* scores.json's intra_run: the prompt's last token against the last generated one, as the files of the steps (--keep tokens) hold them. */
#include "engine_test.h"

#include <dirent.h>
#include <jansson.h>

#include "score/score.h"
#include "store/npz.h"

static const char SCENARIO[] =
    "name: talk\n"
    "model: {id: none}\n"
    "prompt:\n"
    "  - messages: [{role: user, content: \"What a lovely morning! I could sing all day.\"}]\n"
    "  - messages: [{role: user, content: \"Who is there?\"}]\n"
    "  - messages: [{role: system, content: \"Be kind.\"}, {role: user, content: \"Hello\"}]\n"
    "generation: {max_new_tokens: 4}\n"
    "capture: {qkv: true, mlp: true, store_dtype: float32}\n";
enum { N_PROMPTS = 3, N_SOURCES = 4, MAX_HIDDEN = 4096 };
static const char *const SOURCES[N_SOURCES] = {"hidden_in", "hidden_out", "attn_out", "mlp_down_out"};

static lct_scan_result scan_with(const tiny *t, lct_keep keep) {
  char scenario[96];
  lct_error err = {0};
  lct_scan_result r;
  (void)snprintf(scenario, sizeof scenario, "%s/s.yaml", t->dir);
  assert_ok(lct_file_write_atomic(scenario, SCENARIO, strlen(SCENARIO), &err));
  lct_scan_options o = {.model = {.id = t->path, .device = TEST_DEVICE, .threads = 1},
                        .scenario = scenario,
                        .output = t->dir,
                        .keep = keep};
  assert_ok(lct_scan(&o, &r, &err));
  return r;
}

/* The last row of layer_NN/SOURCE in a step's file; its width. */
static int last_row(const char *path, int layer, const char *source, float *out) {
  char name[64];
  lct_error err;
  lct_npz_reader *z = NULL;
  (void)snprintf(name, sizeof name, "layer_%02d/%s", layer, source);
  assert_ok(lct_npz_open(path, &z, &err));
  int64_t at = lct_npz_find(z, name);
  assert_true(at >= 0);
  const lct_npz_entry *e = lct_npz_entry_at(z, (size_t)at);
  int64_t rows = e->dims[1], width = e->dims[2];
  assert_true(width <= MAX_HIDDEN);
  float *all = malloc((size_t)(rows * width) * sizeof *all);
  assert_ok(lct_npz_read_f32(z, (size_t)at, all, &err));
  memcpy(out, all + (rows - 1) * width, (size_t)width * sizeof *out);
  free(all);
  lct_npz_close(z);
  return (int)width;
}

static int count_steps(const char *folder) {
  int n = 0;
  DIR *d = opendir(folder);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d)) != NULL;) n += strncmp(e->d_name, "step_", 5) == 0;
  (void)closedir(d);
  return n;
}

static void check_prompt(const lct_scan_result *files, const lct_scan_result *scores, int prompt) {
  static float first[MAX_HIDDEN], last[MAX_HIDDEN];
  char folder[4200], path[4300];
  lct_error err;
  (void)snprintf(folder, sizeof folder, "%s/prompt_%d/tensors", files->run_dir, prompt);
  int n_steps = count_steps(folder);
  assert_true(n_steps > 1);
  (void)snprintf(path, sizeof path, "%s/prompt_%d/scores.json", scores->run_dir, prompt);
  json_t *root = json_load_file(path, 0, NULL), *intra = json_object_get(root, "intra_run");
  for (int k = 0; k < N_SOURCES * 4; k++) {
    float want[LCT_N_METRICS];
    (void)snprintf(path, sizeof path, "%s/step_000.npz", folder);
    int width = last_row(path, k % 4, SOURCES[k / 4], first);
    (void)snprintf(path, sizeof path, "%s/step_%03d.npz", folder, n_steps - 1);
    (void)last_row(path, k % 4, SOURCES[k / 4], last);
    assert_ok(lct_score_block(first, 1, last, 1, width, want, &err));
    for (int m = 0; m < LCT_N_METRICS; m++) {
      const json_t *list = json_object_get(json_object_get(intra, SOURCES[k / 4]), lct_any_metric_name(m));
      const json_t *got = json_array_get(list, (size_t)k % 4);
      if (json_is_number(got) && fabs(json_number_value(got) - (double)want[m]) <= 1e-6) continue; /* written with seven digits */
      fail_msg("prompt %d, %s, layer %d, %s: %.9g, expected %.9g", prompt, SOURCES[k / 4], k % 4, lct_any_metric_name(m),
               json_number_value(got), (double)want[m]);
    }
  }
  json_decref(root);
}

static void test_intra_run(void **state) {
  (void)state;
  tiny t = tiny_write("tiny-qwen2", 3);
  lct_scan_result files = scan_with(&t, LCT_KEEP_TOKENS), scores = scan_with(&t, LCT_KEEP_SCORES);
  for (int i = 0; i < N_PROMPTS; i++) {
    check_prompt(&files, &files, i);
    check_prompt(&files, &scores, i);
  }
  tiny_remove(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_intra_run)};
  return cmocka_run_group_tests_name("scan_states", tests, NULL, NULL);
}
