/* A scan's life with a GPU: out of memory, failures in the middle, what is recorded. The GPU is the CPU in disguise (fake_gpu.h), so a
 * scan that had to go on with smaller batches must leave byte for byte what the CPU's scan leaves. */
#include "engine_test.h"

#include "base/file.h"
#include "fake_gpu.h"

#define GPU ((lct_gpu){.name = "Fake", .bytes = (int64_t)8 << 30, .bytes_free = (int64_t)6 << 30, .sm = 90, .n_sm = 4, .usable = true})

static const char SCENARIO[] =
    "name: talk\n"
    "model: {id: none}\n"
    "prompt:\n"
    "  - messages:\n"
    "      - {role: system, content: \"You are kind.\"}\n"
    "      - {role: user, content: \"What a lovely morning! I could sing all day and walk for miles.\"}\n"
    "      - {role: assistant, content: \"It is.\"}\n"
    "      - {role: user, content: \"And now it rains.\"}\n"
    "  - messages:\n"
    "      - {role: user, content: \"Who is there?\"}\n"
    "generation: {max_new_tokens: 5}\n"
    "capture: {attention_weights: true, qkv: true, mlp: true, logits: true}\n"
    "reference_states:\n"
    "  - {label: joy, messages: [{role: user, content: \"I could dance.\"}]}\n"
    "  - {label: fear, messages: [{role: user, content: \"Something is at the door.\"}]}\n"
    "  - {label: calm, messages: [{role: user, content: \"The sea is quiet.\"}]}\n";

static tiny model;
static char scenario[96];

static void write_text(const char *path, const char *text) {
  lct_error err;
  assert_ok(lct_file_write_atomic(path, text, strlen(text), &err));
}

static int set_up(void **state) {
  (void)state;
  model = tiny_write("tiny-qwen2", 3);
  (void)snprintf(scenario, sizeof scenario, "%s/s.yaml", model.dir);
  write_text(scenario, SCENARIO);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tiny_remove(&model);
  return 0;
}

static lct_status scan_on(const char *device, const char *folder, lct_keep keep, lct_scan_result *r, lct_error *err) {
  char output[128];
  (void)snprintf(output, sizeof output, "%s/%s", model.dir, folder);
  *err = (lct_error){0};
  lct_scan_options o = {.model = {.id = model.path, .device = device, .threads = 1}, .scenario = scenario, .output = output, .keep = keep};
  return lct_scan(&o, r, err);
}

static char *text_of(const lct_scan_result *r, const char *name) {
  char path[4400];
  lct_buf b = {0};
  lct_error err;
  (void)snprintf(path, sizeof path, "%s/%s", r->run_dir, name);
  assert_ok(lct_file_read(path, (size_t)1 << 24, &b, &err));
  return b.data;
}

static void assert_in(const lct_scan_result *r, const char *name, const char *what) {
  char *text = text_of(r, name);
  if (strstr(text, what) == NULL) fail_msg("%s has no %s: %s", name, what, text);
  free(text);
}

static void assert_not_in(const lct_scan_result *r, const char *name, const char *what) {
  char *text = text_of(r, name);
  assert_null(strstr(text, what));
  free(text);
}

static void remove_run(const lct_scan_result *r) {
  char command[4200];
  (void)snprintf(command, sizeof command, "rm -rf '%s'", r->run_dir);
  assert_int_equal(system(command), 0);
}

/* scan.json and run.json name machine and time; everything else must be the same bytes. */
static void assert_same_run(const lct_scan_result *a, const lct_scan_result *b) {
  char command[8800];
  (void)snprintf(command, sizeof command, "diff -rq -x scan.json -x run.json '%s' '%s'", a->run_dir, b->run_dir);
  assert_int_equal(system(command), 0);
  assert_int_equal(a->n_snapshots, b->n_snapshots);
  assert_int_equal(a->tokens_generated, b->tokens_generated);
  assert_int_equal(a->tokens_prefix_by_prefix, b->tokens_prefix_by_prefix);
  assert_int_equal(a->tensor_bytes, b->tensor_bytes);
  assert_int_equal(a->saturated, b->saturated);
}

static void compare(lct_keep keep, const fake_gpu *faults, bool shrinks) {
  lct_error err;
  lct_scan_result cpu, gpu;
  assert_ok(scan_on("cpu", "cpu", keep, &cpu, &err));
  fake = *faults;
  fake.n_gpus = 1;
  fake.gpus[0] = GPU;
  assert_ok(scan_on("cuda:0", "gpu", keep, &gpu, &err));
  assert_same_run(&cpu, &gpu);
  assert_true(cpu.written && gpu.written);
  assert_string_equal(gpu.device.label, "cuda:0");
  assert_string_equal(gpu.device.name, "Fake");
  assert_int_equal(gpu.device.precision, LCT_PRECISION_F16);
  assert_int_equal(fake.opened.precision, LCT_PRECISION_F16);
  assert_int_equal(gpu.batch_rows_failed > 0, shrinks);
  assert_true(fake.n_pooled > 0); /* also where all rows come to the host for the files */
  assert_int_equal(gpu.batch_rows_shrunk_to, gpu.batch_rows_failed / 2);
  assert_in(&gpu, "scan.json", "\"state\": \"done\"");
  if (shrinks) assert_in(&gpu, "scan.json", "\"out_of_memory\": {");
  else assert_int_equal(gpu.tokens_computed, cpu.tokens_computed);
  assert_true(gpu.tokens_computed >= cpu.tokens_computed); /* what the parts share is computed again */
  remove_run(&cpu);
  remove_run(&gpu);
}

static void compare_keeps(const fake_gpu *faults, bool shrinks) {
  for (int keep = LCT_KEEP_SCORES; keep <= LCT_KEEP_TOKENS; keep++) compare((lct_keep)keep, faults, shrinks);
}

static void test_no_fault(void **state) {
  (void)state;
  compare_keeps(&(fake_gpu){0}, false);
}

/* Rows of the one batch of a whole scan. */
static int32_t all_rows(void) {
  lct_error err;
  lct_scan_result r;
  fake = (fake_gpu){.n_gpus = 1, .gpus = {GPU}};
  assert_ok(scan_on("cuda:0", "gpu", LCT_KEEP_SCORES, &r, &err));
  remove_run(&r);
  return fake.largest;
}

static void test_batch_too_large(void **state) {
  (void)state;
  int32_t rows = all_rows();
  compare_keeps(&(fake_gpu){.max_rows = rows - 1}, true);
  assert_true(fake.largest < rows);
}

static void test_memory_out_later(void **state) {
  (void)state;
  compare_keeps(&(fake_gpu){.nomem_at = 1}, true);
  for (int step = 1; step <= 3; step += 2) compare_keeps(&(fake_gpu){.nomem_at = step, .nomem_decode = true}, true);
}

/* The pass behind the last decode step is the replies'. */
static void test_memory_out_in_the_replies(void **state) {
  (void)state;
  lct_error err;
  lct_scan_result r;
  fake = (fake_gpu){.n_gpus = 1, .gpus = {GPU}};
  assert_ok(scan_on("cuda:0", "gpu", LCT_KEEP_SCORES, &r, &err));
  remove_run(&r);
  compare_keeps(&(fake_gpu){.nomem_at = fake.n_decodes + 2}, true);
}

static void test_out_of_memory_for_good(void **state) {
  (void)state;
  lct_error err;
  lct_scan_result r;
  int32_t rows = all_rows();
  fake.max_rows = 12;
  assert_int_equal(scan_on("cuda:0", "gpu", LCT_KEEP_POOLED, &r, &err), LCT_E_NOMEM);
  char first[64];
  (void)snprintf(first, sizeof first, ", after one of %d tokens had failed", rows);
  assert_non_null(strstr(err.message, first));
  assert_non_null(strstr(err.message, " does not fit cuda:0"));
  assert_non_null(strstr(err.message, ": no room in the fake for "));
  assert_true(r.written);
  assert_in(&r, "scan.json", "\"state\": \"failed\"");
  assert_in(&r, "scan.json", first);
  remove_run(&r);
  fake.nomem_open = true;
  assert_int_equal(scan_on("cuda:0", "gpu", LCT_KEEP_POOLED, &r, &err), LCT_E_NOMEM);
  assert_non_null(strstr(err.message, " weights of 2 bytes do not fit cuda:0 (Fake) with 6.00 of 8.00 GiB free: no room in the fake"));
  assert_string_equal(r.run_dir, "");
}

static void test_one_conversation_is_not_cut(void **state) {
  (void)state;
  lct_error err;
  lct_scan_result r;
  write_text(scenario, "name: one\nmodel: {id: none}\nprompt: {messages: [{role: user, content: hello}]}\n");
  fake = (fake_gpu){.n_gpus = 1, .gpus = {GPU}, .max_rows = 2};
  assert_int_equal(scan_on("cuda:0", "gpu", LCT_KEEP_SCORES, &r, &err), LCT_E_NOMEM);
  assert_memory_equal(err.message, "a batch of ", 11);
  assert_non_null(strstr(err.message, " does not fit cuda:0; it is one conversation, which cannot be cut: no room in the fake for "));
  assert_int_equal(r.batch_rows_failed, 0);
  assert_int_equal(fake.n_passes, 1);
  remove_run(&r);
  write_text(scenario, SCENARIO);
}

static int count_files(const lct_scan_result *r, const char *pattern) {
  char command[4400], line[32] = "";
  (void)snprintf(command, sizeof command, "find '%s' -name '%s' | wc -l", r->run_dir, pattern);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  assert_non_null(fgets(line, sizeof line, p));
  assert_int_equal(pclose(p), 0);
  return atoi(line);
}

/* The device fails in every pass of a scan in turn: what was complete is there and valid, the rest is not. */
static void fail_at(lct_keep keep, int pass, const lct_scan_result *whole) {
  lct_error err;
  lct_scan_result r;
  char *page = NULL;
  fake.n_gpus = 1;
  fake.gpus[0] = GPU;
  fake.nomem_at = 1; /* parts: some are complete when the device fails */
  fake.device_at = pass;
  assert_int_equal(scan_on("cuda:0", "gpu", keep, &r, &err), LCT_E_DEVICE);
  assert_string_equal(err.message, "CUDA: attention: the fake has failed");
  assert_true(r.written);
  assert_in(&r, "scan.json", "\"state\": \"failed\"");
  assert_in(&r, "scan.json", "\"error\": \"CUDA: attention: the fake has failed\"");
  assert_true(r.n_snapshots <= whole->n_snapshots);
  int scored = 0;
  for (int p = 0; p < 2; p++) {
    char name[64];
    (void)snprintf(name, sizeof name, "prompt_%d/scores.json", p);
    char *text = text_of(&r, name);
    for (const char *at = text; (at = strstr(at, "\"index\"")) != NULL; at++) scored++;
    free(text);
  }
  assert_int_equal(scored, r.n_snapshots);
  assert_int_equal(count_files(&r, "*.tmp*"), 0);
  if (keep != LCT_KEEP_SCORES) assert_int_equal(count_files(&r, "snapshot_*.npz"), r.n_snapshots);
  assert_ok(lct_report(r.run_dir, &page, &err));
  assert_in(&r, "report.html", "This run failed.");
  assert_in(&r, "report.html", "CUDA: attention: the fake has failed");
  lct_text_free(page);
  remove_run(&r);
}

static void test_device_failures(void **state) {
  (void)state;
  lct_error err;
  lct_scan_result whole;
  for (int keep = LCT_KEEP_SCORES; keep <= LCT_KEEP_TOKENS; keep++) {
    fake = (fake_gpu){.n_gpus = 1, .gpus = {GPU}, .nomem_at = 1};
    assert_ok(scan_on("cuda:0", "gpu", (lct_keep)keep, &whole, &err));
    remove_run(&whole);
    int n = fake.n_passes;
    assert_true(n > 8);
    for (int pass = 2; pass <= n; pass++) fail_at((lct_keep)keep, pass, &whole);
  }
}

static void test_conversion_is_told(void **state) {
  (void)state;
  lct_error err;
  lct_scan_result r;
  fake = (fake_gpu){.n_gpus = 1, .gpus = {GPU}, .conversion = {12, 3, 1}};
  assert_ok(scan_on("cuda:0", "gpu", LCT_KEEP_SCORES, &r, &err));
  assert_int_equal(r.weights_overflow, 12);
  assert_int_equal(r.weights_underflow, 3);
  assert_int_equal(r.weights_nonfinite, 1);
  assert_in(&r, "scan.json", "\"weights\": {\n    \"overflow\": 12,\n    \"underflow\": 3,\n    \"nonfinite\": 1\n  }");
  assert_in(&r, "scan.json", "\"precision\": \"f16\"");
  assert_in(&r, "scan.json", "\"device\": \"cuda:0\",\n    \"device_name\": \"Fake\",\n    \"backend\": \"CUDA 0.0\"");
  assert_in(&r, "prompt_0/run.json", "\"device\": \"cuda:0\",\n    \"device_name\": \"Fake\",\n    \"precision\": \"f16\"");
  assert_not_in(&r, "scan.json", "\"error\"");
  assert_not_in(&r, "scan.json", "\"out_of_memory\"");
  remove_run(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_fault),
      cmocka_unit_test(test_batch_too_large),
      cmocka_unit_test(test_memory_out_later),
      cmocka_unit_test(test_memory_out_in_the_replies),
      cmocka_unit_test(test_out_of_memory_for_good),
      cmocka_unit_test(test_one_conversation_is_not_cut),
      cmocka_unit_test(test_device_failures),
      cmocka_unit_test(test_conversion_is_told),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
