/* Which device and which precision, and how both are told. */
#include "test_support.h"

#include <unistd.h>

#include "base/mem.h"
#include "subject/device.h"
#include "fake_gpu.h"

static const lct_gpu OLD = {.name = "Old One", .bytes = (int64_t)4 << 30, .bytes_free = (int64_t)1 << 30, .sm = 61, .n_sm = 6};
static const lct_gpu NEW = {.name = "New \"One\"",
                            .bytes = (int64_t)140 << 30,
                            .bytes_free = (int64_t)139 << 30,
                            .sm = 90,
                            .n_sm = 132,
                            .clock_khz = 1980000,
                            .memory_clock_khz = 3201000,
                            .bus_bits = 6144,
                            .usable = true};

static int plug(void **state) {
  (void)state;
  fake = (fake_gpu){.n_gpus = 2, .gpus = {OLD, NEW}};
  return unsetenv("LCT_DEVICE");
}

static void test_names(void **state) {
  (void)state;
  static const char *const NAMES[] = {"auto", "exact", "fast", "f16", "bf16"};
  for (int i = 0; i < 5; i++) assert_string_equal(lct_precision_name((lct_precision)i), NAMES[i]);
  assert_string_equal(lct_precision_name((lct_precision)5), "unknown");
  assert_string_equal(lct_precision_name((lct_precision)-1), "unknown");
}

static void test_precisions(void **state) {
  (void)state;
  static const lct_precision CPU[] = {LCT_PRECISION_EXACT, LCT_PRECISION_EXACT, LCT_PRECISION_FAST, LCT_PRECISION_AUTO, LCT_PRECISION_FAST};
  static const lct_precision GPU[] = {LCT_PRECISION_F16, LCT_PRECISION_AUTO, LCT_PRECISION_F16, LCT_PRECISION_F16, LCT_PRECISION_BF16};
  for (int gpu = 0; gpu < 2; gpu++) {
    for (int i = 0; i < 5; i++) {
      lct_error err = {0};
      lct_precision out = LCT_PRECISION_AUTO, want = gpu ? GPU[i] : CPU[i];
      lct_status s = lct_precision_resolve(gpu, (lct_precision)i, &out, &err);
      assert_int_equal(s, want == LCT_PRECISION_AUTO ? LCT_E_UNSUPPORTED : LCT_OK);
      if (s == LCT_OK) assert_int_equal(out, want);
    }
  }
  lct_error err = {0};
  lct_precision out = LCT_PRECISION_AUTO;
  assert_fails(lct_precision_resolve(false, (lct_precision)9, &out, &err), LCT_E_USAGE,
               "precision: expected auto, exact, fast, f16 or bf16, found number 9");
  assert_fails(lct_precision_resolve(true, LCT_PRECISION_EXACT, &out, &err), LCT_E_UNSUPPORTED,
               "precision exact: float32 throughout runs on the CPU only: --device cpu; a GPU computes in f16 (default) or bf16");
}

static void check_device(const char *text, const char *label, lct_precision asked, lct_precision used) {
  lct_error err = {0};
  lct_device d;
  assert_ok(lct_device_resolve(text, asked, &d, &err));
  assert_string_equal(d.label, label);
  assert_int_equal(d.precision, used);
  bool gpu = strcmp(label, "cpu") != 0;
  assert_int_equal(d.gpu, gpu);
  assert_string_equal(d.ops->name, gpu ? "fake" : "cpu");
  if (gpu) assert_int_equal(d.number, label[5] - '0');
  if (gpu) assert_string_equal(d.name, fake.gpus[d.number].name);
  else assert_true(d.name[0] != '\0');
}

static void test_devices(void **state) {
  (void)state;
  lct_error err = {0};
  lct_device d;
  check_device("cpu", "cpu", LCT_PRECISION_AUTO, LCT_PRECISION_EXACT);
  check_device("auto", "cuda:1", LCT_PRECISION_AUTO, LCT_PRECISION_F16); /* the first one this build has code for */
  check_device(NULL, "cuda:1", LCT_PRECISION_BF16, LCT_PRECISION_BF16);
  assert_int_equal(setenv("LCT_DEVICE", "cpu", 1), 0);
  check_device(NULL, "cpu", LCT_PRECISION_BF16, LCT_PRECISION_FAST);
  check_device("cuda:1", "cuda:1", LCT_PRECISION_FAST, LCT_PRECISION_F16);
  assert_int_equal(setenv("LCT_DEVICE", "", 1), 0);
  check_device(NULL, "cuda:1", LCT_PRECISION_AUTO, LCT_PRECISION_F16);
  assert_fails(lct_device_resolve("cuda", LCT_PRECISION_AUTO, &d, &err), LCT_E_UNSUPPORTED,
               "cuda:0 cannot be used: this build (CUDA 0.0) has no code for Old One with compute capability 6.1");
  assert_fails(lct_device_resolve("cuda:2", LCT_PRECISION_AUTO, &d, &err), LCT_E_UNSUPPORTED,
               "cuda:2 cannot be used: there are 2 GPUs, cuda:0 to cuda:1");
  fake.n_gpus = 1;
  assert_fails(lct_device_resolve("cuda:1", LCT_PRECISION_AUTO, &d, &err), LCT_E_UNSUPPORTED,
               "cuda:1 cannot be used: there is one GPU, cuda:0");
  check_device("auto", "cpu", LCT_PRECISION_AUTO, LCT_PRECISION_EXACT);
  fake.gpus[0] = NEW;
  check_device("cuda", "cuda:0", LCT_PRECISION_AUTO, LCT_PRECISION_F16);
  fake.no_gpu = LCT_E_UNSUPPORTED;
  check_device("auto", "cpu", LCT_PRECISION_AUTO, LCT_PRECISION_EXACT);
  assert_fails(lct_device_resolve("cuda:0", LCT_PRECISION_AUTO, &d, &err), LCT_E_UNSUPPORTED,
               "cuda:0 cannot be used: the fake is not plugged in");
}

static void test_wrong_words(void **state) {
  (void)state;
  static const char *const WRONG[] = {"", "gpu", "Cpu", "cuda:", "cuda:a", "cuda:1 ", "cuda:-1", "cuda:+1", "cuda:12345", "autoo"};
  for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
    lct_error err = {0};
    lct_device d;
    char text[256];
    (void)snprintf(text, sizeof text, "device: expected auto, cpu, cuda or cuda:N, found \"%s\"", WRONG[i]);
    assert_fails(lct_device_resolve(WRONG[i], LCT_PRECISION_AUTO, &d, &err), LCT_E_USAGE, text);
  }
}

static const char *line(const char *text, int n) {
  while (n-- > 0) text = strchr(text, '\n') + 1;
  return text;
}

static void test_list(void **state) {
  (void)state;
  lct_error err = {0};
  char *text = NULL;
  assert_ok(lct_devices(false, &text, &err));
  assert_memory_equal(text, "cpu            ", 15);
  assert_string_equal(
      line(text, 1),
      "cuda:0         Old One: 1.0 of 4.0 GiB free, 6 multiprocessors, compute capability 6.1; this build has no code for it\n"
      "cuda:1   auto  New \"One\": 139.0 of 140.0 GiB free, 132 multiprocessors, compute capability 9.0\n");
  lct_text_free(text);
  assert_ok(lct_devices(true, &text, &err));
  assert_non_null(strstr(text, "\"auto\": \"cuda:1\",\n  \"cuda\": \"CUDA 0.0\""));
  assert_non_null(strstr(text,
                         "\"name\": \"New \\\"One\\\"\",\n      \"bytes\": 150323855360,\n      \"bytes_free\": 149250113536,\n"
                         "      \"multiprocessors\": 132,\n      \"compute_capability\": \"9.0\",\n      \"clock_khz\": 1980000,\n"
                         "      \"memory_clock_khz\": 3201000,\n      \"bus_bits\": 6144,\n      \"usable\": true"));
  assert_null(strstr(text, "no_gpu"));
  lct_text_free(text);
  fake.no_gpu = LCT_E_UNSUPPORTED;
  assert_ok(lct_devices(false, &text, &err));
  assert_memory_equal(text, "cpu      auto  ", 15);
  assert_string_equal(line(text, 1), "no GPU can be used: the fake is not plugged in\n");
  lct_text_free(text);
  assert_non_null(strstr(lct_version(), ", CUDA 0.0)"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test_setup(test_precisions, plug),
      cmocka_unit_test_setup(test_devices, plug),
      cmocka_unit_test_setup(test_wrong_words, plug),
      cmocka_unit_test_setup(test_list, plug),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
