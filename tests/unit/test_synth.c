/* Random models: the documented numbers (goldens: numpy and transformers, tests/oracle/check_synth.py), shapes, folders whole or
 * absent. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "model/config.h"
#include "model/synth_internal.h"
#include "model/tensors.h"
#include "model_support.h"
#include "threads_support.h"

static char root[512];

static int setup(void **state) {
  (void)state;
  (void)make_temp(root, sizeof root);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(root);
  return 0;
}

static int n_entries(const char *dir) {
  DIR *d = opendir(dir);
  int n = 0;
  if (d == NULL) return -1;
  for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
  (void)closedir(d);
  return n;
}

static lct_model *make(const char *like, uint64_t seed, const char *dtype, const char *dir) {
  lct_error err = {0};
  lct_model *m = NULL;
  lct_synth_options o = {.like = like, .seed = seed, .dtype = dtype, .dir = dir};
  assert_ok(lct_synth(&o, &err));
  assert_ok(lct_model_map(dir, &m, &err));
  assert_ok(lct_model_check_finite(m, NULL, &err));
  return m;
}

static const lct_tensor *by_name(const lct_model *m, const char *name) {
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *t = lct_model_tensor(m, i);
    if (t != NULL && strcmp(t->name, name) == 0) return t;
  }
  fail_msg("no tensor %s", name);
  return NULL;
}

/* "MODEL TENSOR SHA-256" for seed 1 in bfloat16. */
static void documented_numbers(void **state) {
  (void)state;
  FILE *f = fopen(LCT_SOURCE_DIR "/tests/goldens/synth/seed1.txt", "r");
  assert_non_null(f);
  char model[64], tensor[128], want[65], have[65], open_name[64] = "";
  lct_model *m = NULL;
  int n = 0;
  while (fscanf(f, "%63s %127s %64s", model, tensor, want) == 3) {
    if (strcmp(model, open_name) != 0) {
      lct_model_unmap(m);
      m = make(model, 1, NULL, at(root, model));
      (void)snprintf(open_name, sizeof open_name, "%s", model);
    }
    const lct_tensor *t = by_name(m, tensor);
    lct_sha256_hex(t->data, lct_tensor_bytes(t), have);
    if (strcmp(have, want) != 0) fail_msg("%s %s differs from the generator in synth.h", model, tensor);
    n++;
  }
  lct_model_unmap(m);
  (void)fclose(f);
  assert_int_equal(n, 135);
}

static void same_whatever_the_threads(void **state) {
  (void)state;
  enum { N = 300001, FIRST = 77 };
  lct_error err;
  static const lct_dtype types[] = {LCT_DTYPE_F32, LCT_DTYPE_F16, LCT_DTYPE_BF16};
  uint64_t key = lct_synth_key(5, "model.norm.weight");
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    size_t bytes = lct_dtype_row_bytes(types[i], N);
    char *a = malloc(bytes), *b = malloc(bytes);
    assert_true(a != NULL && b != NULL);
    assert_ok(lct_synth_fill(key, FIRST, N, 1, 0.1, types[i], NULL, a, &err));
    assert_ok(lct_synth_fill(key, FIRST, N, 1, 0.1, types[i], test_threads(3), b, &err));
    assert_memory_equal(a, b, bytes);
    free(a);
    free(b);
  }
}

static void same_from_the_same_seed(void **state) {
  (void)state;
  lct_model *a = make("tiny-llama", 5, "float32", at(root, "a"));
  lct_model *b = make("tiny-llama", 5, "float32", at(root, "b"));
  lct_model *c = make("tiny-llama", 6, "float32", at(root, "c"));
  assert_int_equal(a->maps[0].size, b->maps[0].size);
  assert_memory_equal(a->maps[0].data, b->maps[0].data, a->maps[0].size);
  assert_string_equal(a->hash, b->hash);
  assert_string_not_equal(a->hash, c->hash);
  lct_model_unmap(a);
  lct_model_unmap(b);
  lct_model_unmap(c);
}

/* The three types are one float32 number, rounded. */
static void types(void **state) {
  (void)state;
  static const char *const names[] = {"float32", "bfloat16", "float16"};
  lct_model *m[3];
  for (int i = 0; i < 3; i++) m[i] = make("tiny-qwen3", 9, names[i], at(root, names[i]));
  assert_int_equal(m[0]->embed.dtype, LCT_DTYPE_F32);
  assert_int_equal(m[1]->embed.dtype, LCT_DTYPE_BF16);
  assert_int_equal(m[2]->embed.dtype, LCT_DTYPE_F16);
  float a[128], b[128], c[128];
  for (int r = 0; r < 600; r++) {
    lct_tensor_row_f32(&m[0]->embed, r, a);
    lct_tensor_row_f32(&m[1]->embed, r, b);
    lct_tensor_row_f32(&m[2]->embed, r, c);
    for (int i = 0; i < 128; i++) {
      float size = a[i] < 0 ? -a[i] : a[i];
      assert_true(a[i] - b[i] <= size / 256 && b[i] - a[i] <= size / 256);
      assert_true(a[i] - c[i] <= size / 2048 + 1e-7f && c[i] - a[i] <= size / 2048 + 1e-7f);
    }
  }
  for (int i = 0; i < 3; i++) lct_model_unmap(m[i]);
}

/* Parameters of the published models, tied heads once: what transformers counts for their configurations. */
static void real_shapes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int64_t n_params;
  } known[] = {{"qwen2.5-0.5b", 494032768}, {"qwen2.5-1.5b", 1543714304}, {"qwen2.5-3b", 3085938688}, {"qwen2.5-7b", 7615616512},
               {"qwen3-0.6b", 596049920},   {"qwen3-1.7b", 1720574976},   {"qwen3-4b", 4022468096},   {"qwen3-8b", 8190735360},
               {"smollm2-135m", 134515008}, {"smollm2-360m", 361821120},  {"llama3.2-1b", 1235814400}};
  size_t n_known = sizeof known / sizeof known[0], n_names = 0;
  while (lct_synth_names()[n_names] != NULL) n_names++;
  assert_int_equal(n_names, n_known + 3);
  for (size_t i = 0; i < n_known; i++) {
    lct_config c;
    bool tiny = true;
    lct_error err = {0};
    assert_string_equal(lct_synth_names()[i], known[i].name);
    assert_true(lct_synth_preset(known[i].name, &c, &tiny));
    assert_false(tiny);
    assert_ok(lct_config_check(&c, known[i].name, &err));
    int64_t n = (int64_t)c.vocab * c.hidden * (c.tied_head ? 1 : 2) + c.hidden;
    for (int k = 0; k < lct_n_layer_slots; k++) {
      const lct_layer_slot *s = &lct_layer_slots[k];
      if (lct_config_needs(&c, s->need)) n += c.n_layers * lct_config_dim(&c, s->rows) * lct_config_dim(&c, s->cols);
    }
    assert_int_equal(n, known[i].n_params);
  }
}

static void shards(void **state) {
  (void)state;
  lct_error err = {0};
  lct_config c;
  bool tiny = false;
  lct_model *whole = make("tiny-qwen2", 3, NULL, at(root, "whole")), *m = NULL;
  copy_folder(at(root, "whole"), at(root, "cut"));
  (void)unlink(at(root, "cut/model.safetensors"));
  assert_true(lct_synth_preset("tiny-qwen2", &c, &tiny));
  assert_ok(lct_synth_write_weights(&c, 3, LCT_DTYPE_BF16, at(root, "cut"), 400000, NULL, &err));
  assert_true(lct_path_exists(at(root, "cut/model-00001-of-00005.safetensors")));
  assert_ok(lct_model_map(at(root, "cut"), &m, &err));
  assert_int_equal(m->n_maps, 5);
  for (int i = 0; i < lct_model_n_tensors(m); i++) {
    const lct_tensor *a = lct_model_tensor(whole, i), *b = lct_model_tensor(m, i);
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL) assert_memory_equal(a->data, b->data, lct_tensor_bytes(a));
  }
  lct_model_unmap(m);
  lct_model_unmap(whole);
}

static void from_a_config(void **state) {
  (void)state;
  lct_error err = {0};
  lct_model *m = NULL;
  lct_synth_options o = {.like = GOLDENS "/llama-f32/config.json", .seed = 1, .dir = at(root, "m/")};
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE,
               GOLDENS "/llama-f32/config.json: expected a vocabulary of at least the tokenizer's 579 tokens, found 32");
  assert_int_equal(n_entries(root), 0);
  make_dir(at(root, "tok"));
  write_text(at(root, "tok/tokenizer.json"),
             "{\"added_tokens\":[{\"id\":31,\"content\":\"<end>\"}],\"model\":{\"vocab\":{\"a\":0,\"b\":1}}}");
  write_text(at(root, "tok/tokenizer_config.json"), "{\"eos_token\":{\"content\":\"<end>\"}}");
  char tokenizer[600];
  (void)snprintf(tokenizer, sizeof tokenizer, "%s/tok", root);
  o.tokenizer = tokenizer;
  assert_ok(lct_synth(&o, &err));
  assert_ok(lct_model_map(at(root, "m"), &m, &err));
  assert_int_equal(m->config.hidden, 16);
  assert_int_equal(m->config.n_eos, 1);
  assert_int_equal(m->config.eos[0], 31);
  assert_int_equal(m->config.bos, 1);
  assert_true(m->config.rope.factor == 8 && m->config.o_bias);
  lct_model_unmap(m);
  lct_buf a = read_all(at(root, "tok/tokenizer.json")), b = read_all(at(root, "m/tokenizer.json"));
  assert_string_equal(a.data, b.data);
  lct_buf_free(&a);
  lct_buf_free(&b);
}

/* A tiny model's vocabulary grows with the tokenizer it is given; a real one's shape is its shape. */
static void room_for_tokens(void **state) {
  (void)state;
  lct_error err = {0};
  lct_model *m = NULL;
  make_dir(at(root, "tok"));
  write_text(at(root, "tok/tokenizer.json"), "{\"added_tokens\":[{\"id\":49152,\"content\":\"x\"}],\"model\":{\"vocab\":{\"a\":700}}}");
  char tokenizer[600];
  (void)snprintf(tokenizer, sizeof tokenizer, "%s/tok", root);
  lct_synth_options o = {.like = "smollm2-135m", .tokenizer = tokenizer, .dir = at(root, "m")};
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE,
               "smollm2-135m: expected a vocabulary of at least the tokenizer's 49153 tokens, found 49152");
  o.like = "tiny-llama";
  o.dir = at(root, "m");
  assert_ok(lct_synth(&o, &err));
  assert_ok(lct_model_map(at(root, "m"), &m, &err));
  assert_int_equal(m->config.vocab, 49153);
  assert_int_equal(m->config.n_eos, 0);
  lct_model_unmap(m);
}

static void bad_options(void **state) {
  (void)state;
  lct_error err = {0};
  char dir[600], want[1300];
  (void)snprintf(dir, sizeof dir, "%s/new", root);
  lct_synth_options o = {.like = "gpt-2", .dir = dir};
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE,
               "no model shape \"gpt-2\": expected a config.json or one of qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-3b, qwen2.5-7b, "
               "qwen3-0.6b, "
               "qwen3-1.7b, qwen3-4b, qwen3-8b, smollm2-135m, smollm2-360m, llama3.2-1b, tiny-qwen2, tiny-qwen3, tiny-llama");
  o.like = "tiny-qwen2";
  o.dtype = "int8";
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE, "dtype: expected bfloat16, float16 or float32, found \"int8\"");
  o.dtype = NULL;
  o.tokenizer = at(root, "nowhere");
  (void)snprintf(want, sizeof want, "cannot open %s/nowhere/tokenizer.json: No such file or directory", root);
  assert_fails(lct_synth(&o, &err), LCT_E_IO, want);
  assert_int_equal(n_entries(root), 0); /* not one of them left a trace */
  make_dir(at(root, "tok"));
  write_text(at(root, "tok/tokenizer.json"), "{\"model\":{}}");
  o.tokenizer = at(root, "tok");
  (void)snprintf(want, sizeof want, "%s/tok/tokenizer.json: expected a vocabulary with ids, found none", root);
  assert_fails(lct_synth(&o, &err), LCT_E_FORMAT, want);
  o.tokenizer = NULL;
  make_dir(dir);
  write_text(at(root, "new/precious"), "x");
  (void)snprintf(want, sizeof want, "%s already exists and is not empty: expected a new folder", dir);
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE, want);
  o.dir = at(root, "new/precious");
  (void)snprintf(want, sizeof want, "cannot use %s/new/precious as a folder: Not a directory", root);
  assert_fails(lct_synth(&o, &err), LCT_E_IO, want);
  o.dir = "";
  assert_fails(lct_synth(&o, &err), LCT_E_USAGE, "the folder's name is empty");
  assert_int_equal(n_entries(dir), 1);
  (void)unlink(at(root, "new/precious")); /* an empty folder is as good as none */
  o.dir = dir;
  assert_ok(lct_synth(&o, &err));
}

/* Runs synth in a child whose files may not grow: 0 when it failed with `text` and left `dir`'s parent as it was. */
static int synth_in_child(bool small_disk, const char *parent, const char *text) {
  (void)fflush(NULL);
  pid_t pid = fork();
  if (pid != 0) {
    int status = 0;
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
  }
  lct_error err = {0};
  if (small_disk) {
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) _exit(77);
    if (mount("tmpfs", parent, "tmpfs", 0, "size=512k") != 0) _exit(77);
  } else {
    struct rlimit limit = {200000, 200000};
    (void)signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(77);
  }
  lct_synth_options o = {.like = "tiny-qwen2", .dir = at(parent, "m")};
  char want[1200];
  (void)snprintf(want, sizeof want, "cannot write %s/m.partial.%ld/model.safetensors: %s", parent, (long)getpid(), text);
  if (lct_synth(&o, &err) != LCT_E_IO) _exit(2);
  if (strcmp(err.message, want) != 0) _exit(3);
  _exit(n_entries(parent) == 0 ? 0 : 4);
}

static void file_too_large(void **state) {
  (void)state;
  assert_int_equal(synth_in_child(false, root, "File too large"), 0);
}

static void disk_full(void **state) {
  (void)state;
  int rc = synth_in_child(true, root, "No space left on device");
  if (rc == 77) {
    printf("disk_full skipped: this user may not mount a small tmpfs here\n");
    skip();
  }
  assert_int_equal(rc, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(file_too_large, setup, teardown), /* before any OpenMP team exists: these fork */
      cmocka_unit_test_setup_teardown(disk_full, setup, teardown),
      cmocka_unit_test_setup_teardown(documented_numbers, setup, teardown),
      cmocka_unit_test(same_whatever_the_threads),
      cmocka_unit_test_setup_teardown(same_from_the_same_seed, setup, teardown),
      cmocka_unit_test_setup_teardown(types, setup, teardown),
      cmocka_unit_test_setup_teardown(real_shapes, setup, teardown),
      cmocka_unit_test_setup_teardown(shards, setup, teardown),
      cmocka_unit_test_setup_teardown(from_a_config, setup, teardown),
      cmocka_unit_test_setup_teardown(room_for_tokens, setup, teardown),
      cmocka_unit_test_setup_teardown(bad_options, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
