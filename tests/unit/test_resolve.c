/* From a model's name to a path: folders, files, the Hub's local cache in each of its places. */
#include "model/model.h"
#include "model_support.h"

static char root[512];

static int setup(void **state) {
  (void)state;
  (void)make_temp(root, sizeof root);
  (void)unsetenv("HF_HUB_CACHE");
  (void)unsetenv("HF_HOME");
  (void)unsetenv("XDG_CACHE_HOME");
  (void)setenv("HOME", root, 1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(root);
  return 0;
}

static void expect(const char *id, const char *file, const char *want) {
  lct_error err = {0};
  char *path = NULL;
  assert_ok(lct_model_resolve(id, file, &path, &err));
  assert_string_equal(path, want);
  free(path);
}

/* '@' in text stands for the temporary folder. */
static void expect_failure(const char *id, const char *file, lct_status status, const char *text) {
  lct_error err = {0};
  lct_buf want = {0};
  char *path = NULL;
  for (const char *p = text; *p != '\0'; p++) {
    if (*p == '@') assert_ok(lct_buf_puts(&want, root, &err));
    else assert_ok(lct_buf_append(&want, p, 1, &err));
  }
  assert_fails(lct_model_resolve(id, file, &path, &err), status, want.data);
  assert_null(path);
  lct_buf_free(&want);
}

static void existing_paths(void **state) {
  (void)state;
  make_dir(at(root, "m"));
  write_text(at(root, "m/x.gguf"), "GGUF");
  char dir[600], file[600];
  (void)snprintf(dir, sizeof dir, "%s/m", root);
  (void)snprintf(file, sizeof file, "%s/m/x.gguf", root);
  expect(dir, NULL, dir);
  expect(file, NULL, file);
  expect(dir, "x.gguf", file);
  expect(file, "x.gguf", file);
  lct_error err = {0};
  char *path = NULL, want[1300];
  (void)snprintf(want, sizeof want, "y.gguf is not in %s", dir);
  assert_fails(lct_model_resolve(dir, "y.gguf", &path, &err), LCT_E_IO, want);
}

static void not_hub_ids(void **state) {
  (void)state;
  expect_failure("", NULL, LCT_E_USAGE, "the model's name is empty: expected a folder, a .gguf file or a Hub id like ORG/NAME");
  static const char *const names[] = {"/no/such/folder", "./x", "../x", "a/b/c", "a//b", "a/", "/a", "a b/c", "~/x", "a/..", "x\ny/z"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char text[128];
    (void)snprintf(text, sizeof text, "no such model folder or file: %s", names[i]);
    expect_failure(names[i], NULL, LCT_E_IO, text);
  }
}

static void not_downloaded(void **state) {
  (void)state;
  expect_failure("Qwen/Qwen2.5-3B-Instruct", NULL, LCT_E_IO,
                 "Qwen/Qwen2.5-3B-Instruct is neither a folder nor a file here, nor in the local cache @/.cache/huggingface/hub: "
                 "download it "
                 "with: hf download Qwen/Qwen2.5-3B-Instruct");
  expect_failure("gpt2", "a.gguf", LCT_E_IO,
                 "gpt2 is neither a folder nor a file here, nor in the local cache @/.cache/huggingface/hub: download it with: "
                 "hf download gpt2 "
                 "a.gguf");
}

/* Fills hub/models--Org--Name-1.5 with snapshots/abc123 and, if ref is not NULL, refs/main. */
static void fill(const char *hub, const char *ref) {
  char path[900];
  (void)snprintf(path, sizeof path, "%s/models--Org--Name-1.5/snapshots/abc123", hub);
  make_dir(path);
  if (ref == NULL) return;
  (void)snprintf(path, sizeof path, "%s/models--Org--Name-1.5/refs", hub);
  make_dir(path);
  write_text(at(path, "main"), ref);
}

static void cache_places(void **state) {
  (void)state;
  static const struct {
    const char *variable, *value, *hub;
  } places[] = {{NULL, NULL, ".cache/huggingface/hub"},
                {"XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub"},
                {"HF_HOME", "hf", "hf/hub"},
                {"HF_HUB_CACHE", "cache", "cache"}}; /* each outdoes those before it */
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    char hub[800], want[900];
    if (places[i].variable != NULL) (void)setenv(places[i].variable, at(root, places[i].value), 1);
    (void)snprintf(hub, sizeof hub, "%s/%s", root, places[i].hub);
    (void)snprintf(want, sizeof want, "%s/models--Org--Name-1.5/snapshots/abc123", hub);
    fill(hub, "abc123\n");
    expect("Org/Name-1.5", NULL, want);
  }
  (void)setenv("HF_HUB_CACHE", "~/cache", 1);
  char want[900];
  (void)snprintf(want, sizeof want, "%s/cache/models--Org--Name-1.5/snapshots/abc123", root);
  expect("Org/Name-1.5", NULL, want);
}

static void snapshots(void **state) {
  (void)state;
  char hub[600], want[900];
  (void)snprintf(hub, sizeof hub, "%s/hub", root);
  (void)setenv("HF_HUB_CACHE", hub, 1);
  fill(hub, NULL); /* one snapshot and no refs/main */
  (void)snprintf(want, sizeof want, "%s/models--Org--Name-1.5/snapshots/abc123", hub);
  expect("Org/Name-1.5", NULL, want);
  expect_failure("Org/Name-1.5", "q4.gguf", LCT_E_IO,
                 "q4.gguf is not in @/hub/models--Org--Name-1.5/snapshots/abc123: download it with: hf download Org/Name-1.5 q4.gguf");
  make_dir(at(hub, "models--Org--Name-1.5/snapshots/def456"));
  expect_failure("Org/Name-1.5", NULL, LCT_E_IO,
                 "@/hub/models--Org--Name-1.5/snapshots holds 2 snapshots and there is no refs/main: name one of these folders");
  fill(hub, "def456");
  (void)snprintf(want, sizeof want, "%s/models--Org--Name-1.5/snapshots/def456", hub);
  expect("Org/Name-1.5", NULL, want);
  fill(hub, "fff");
  expect_failure("Org/Name-1.5", NULL, LCT_E_IO,
                 "Org/Name-1.5 is neither a folder nor a file here, nor in the local cache @/hub: download it with: hf download "
                 "Org/Name-1.5");
  fill(hub, "../../x");
  expect_failure("Org/Name-1.5", NULL, LCT_E_FORMAT,
                 "@/hub/models--Org--Name-1.5/refs/main: expected the name of a snapshot, found \"../../x\"");
  fill(hub, "..");
  expect_failure("Org/Name-1.5", NULL, LCT_E_FORMAT,
                 "@/hub/models--Org--Name-1.5/refs/main: expected the name of a snapshot, found \"..\"");
  fill(hub, "");
  expect_failure("Org/Name-1.5", NULL, LCT_E_FORMAT, "@/hub/models--Org--Name-1.5/refs/main: expected the name of a snapshot, found \"\"");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(existing_paths, setup, teardown), cmocka_unit_test_setup_teardown(not_hub_ids, setup, teardown),
      cmocka_unit_test_setup_teardown(not_downloaded, setup, teardown), cmocka_unit_test_setup_teardown(cache_places, setup, teardown),
      cmocka_unit_test_setup_teardown(snapshots, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
