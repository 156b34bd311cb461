/* What a sweep says of itself: rates, the metrics file, the line of progress. */
#include "test_support.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/progress_sweep.h"
#include "sweep/metrics_file.h"
#include "sweep/rates.h"

static lct_sweep_progress example(void) {
  return (lct_sweep_progress){.phase = "sweep",
                              .conversations = 1200,
                              .rejected = 3,
                              .rows = 9000,
                              .tokens_computed = 500000,
                              .tokens_naive = 2500000,
                              .bytes_read = 250,
                              .bytes_total = 1000,
                              .raw_bytes = 12345678901,
                              .stored_bytes = 10000000000,
                              .slots_taken = 3,
                              .n_slots = 8,
                              .seconds = 61.5,
                              .seconds_input = 2,
                              .seconds_forward = 55.25,
                              .seconds_gemm = 45,
                              .seconds_capture = 1.125,
                              .seconds_wait = 0.5,
                              .seconds_store = 30,
                              .tokens_per_second = 8130.4,
                              .raw_bytes_per_second = 2e8,
                              .stored_bytes_per_second = 1.72e8,
                              .seconds_left = 184.5};
}

static const char metrics[] =
    "# HELP llmct_sweep_conversations_total Conversations taken from the input, by what became of them.\n"
    "# TYPE llmct_sweep_conversations_total counter\n"
    "llmct_sweep_conversations_total{result=\"done\"} 1200\n"
    "llmct_sweep_conversations_total{result=\"rejected\"} 3\n"
    "# HELP llmct_sweep_rows_total Snapshot rows captured.\n"
    "# TYPE llmct_sweep_rows_total counter\n"
    "llmct_sweep_rows_total 9000\n"
    "# HELP llmct_sweep_tokens_computed_total Tokens run through the model.\n"
    "# TYPE llmct_sweep_tokens_computed_total counter\n"
    "llmct_sweep_tokens_computed_total 500000\n"
    "# HELP llmct_sweep_tokens_naive_total Tokens that every prefix on its own would have cost.\n"
    "# TYPE llmct_sweep_tokens_naive_total counter\n"
    "llmct_sweep_tokens_naive_total 2500000\n"
    "# HELP llmct_sweep_input_read_bytes_total Bytes of the input that are done.\n"
    "# TYPE llmct_sweep_input_read_bytes_total counter\n"
    "llmct_sweep_input_read_bytes_total 250\n"
    "# HELP llmct_sweep_raw_bytes_total Bytes of arrays given to the store.\n"
    "# TYPE llmct_sweep_raw_bytes_total counter\n"
    "llmct_sweep_raw_bytes_total 12345678901\n"
    "# HELP llmct_sweep_stored_bytes_total Bytes of arrays written, compressed.\n"
    "# TYPE llmct_sweep_stored_bytes_total counter\n"
    "llmct_sweep_stored_bytes_total 10000000000\n"
    "# HELP llmct_sweep_stage_seconds_total Seconds by stage: gemm and capture are parts of forward; input and store run on threads of their own.\n"
    "# TYPE llmct_sweep_stage_seconds_total counter\n"
    "llmct_sweep_stage_seconds_total{stage=\"input\"} 2.000\n"
    "llmct_sweep_stage_seconds_total{stage=\"forward\"} 55.250\n"
    "llmct_sweep_stage_seconds_total{stage=\"gemm\"} 45.000\n"
    "llmct_sweep_stage_seconds_total{stage=\"capture\"} 1.125\n"
    "llmct_sweep_stage_seconds_total{stage=\"wait\"} 0.500\n"
    "llmct_sweep_stage_seconds_total{stage=\"store\"} 30.000\n"
    "# HELP llmct_sweep_elapsed_seconds Seconds since this process began the sweep.\n"
    "# TYPE llmct_sweep_elapsed_seconds gauge\n"
    "llmct_sweep_elapsed_seconds 61.500\n"
    "# HELP llmct_sweep_tokens_per_second Tokens run through the model a second, lately.\n"
    "# TYPE llmct_sweep_tokens_per_second gauge\n"
    "llmct_sweep_tokens_per_second 8130.400\n"
    "# HELP llmct_sweep_raw_bytes_per_second Bytes given to the store a second, lately.\n"
    "# TYPE llmct_sweep_raw_bytes_per_second gauge\n"
    "llmct_sweep_raw_bytes_per_second 200000000.000\n"
    "# HELP llmct_sweep_stored_bytes_per_second Bytes written a second, lately.\n"
    "# TYPE llmct_sweep_stored_bytes_per_second gauge\n"
    "llmct_sweep_stored_bytes_per_second 172000000.000\n"
    "# HELP llmct_sweep_ring_slots_taken Slots of the ring that wait for the store's writers.\n"
    "# TYPE llmct_sweep_ring_slots_taken gauge\n"
    "llmct_sweep_ring_slots_taken 3\n"
    "# HELP llmct_sweep_ring_slots Slots of the ring.\n"
    "# TYPE llmct_sweep_ring_slots gauge\n"
    "llmct_sweep_ring_slots 8\n"
    "# HELP llmct_sweep_updated_timestamp_seconds When this file was written, in Unix time.\n"
    "# TYPE llmct_sweep_updated_timestamp_seconds gauge\n"
    "llmct_sweep_updated_timestamp_seconds 1700000000.500\n"
    "# HELP llmct_sweep_input_bytes Bytes of the input.\n"
    "# TYPE llmct_sweep_input_bytes gauge\n"
    "llmct_sweep_input_bytes 1000\n"
    "# HELP llmct_sweep_eta_seconds Seconds until the input's end, at the pace so far.\n"
    "# TYPE llmct_sweep_eta_seconds gauge\n"
    "llmct_sweep_eta_seconds 184.500\n"
    "# HELP llmct_sweep_state 1 for the state the sweep is in.\n"
    "# TYPE llmct_sweep_state gauge\n"
    "llmct_sweep_state{state=\"running\"} 1\n"
    "llmct_sweep_state{state=\"done\"} 0\n"
    "llmct_sweep_state{state=\"interrupted\"} 0\n"
    "llmct_sweep_state{state=\"failed\"} 0\n";

static void test_format(void **state) {
  (void)state;
  lct_error err = {0};
  lct_buf text = {0};
  lct_sweep_progress p = example();
  assert_ok(lct_metrics_format(&p, LCT_SWEEP_RUNNING, 1700000000.5, &text, &err));
  assert_string_equal(text.data, metrics);
  text.len = 0;
  p.bytes_total = 0;
  p.seconds_left = -1;
  assert_ok(lct_metrics_format(&p, LCT_SWEEP_FAILED, 0, &text, &err));
  assert_null(strstr(text.data, "eta"));
  assert_null(strstr(text.data, "input_bytes"));
  assert_non_null(strstr(text.data, "state=\"running\"} 0\n"));
  assert_non_null(strstr(text.data, "state=\"failed\"} 1\n"));
  lct_buf_free(&text);
}

static bool has(const char *path, const char *line) {
  lct_error err = {0};
  lct_buf text = {0};
  assert_ok(lct_file_read(path, 1 << 20, &text, &err));
  bool found = strstr(text.data, line) != NULL;
  lct_buf_free(&text);
  return found;
}

/* Written at once, then at most once a second, and at once at the end. */
static void test_file(void **state) {
  (void)state;
  char folder[] = "metrics_XXXXXX", path[64], gone[128];
  lct_error err = {0};
  assert_non_null(mkdtemp(folder));
  (void)snprintf(path, sizeof path, "%s/sweep.prom", folder);
  lct_metrics_file m = {.path = path}, none = {0};
  lct_sweep_progress p = {.phase = "sweep", .rows = 1, .seconds = 0.25};
  assert_ok(lct_metrics_file_update(&m, &p, LCT_SWEEP_RUNNING, &err));
  assert_true(has(path, "rows_total 1\n"));
  p.rows = 2;
  p.seconds = 1.2;
  assert_ok(lct_metrics_file_update(&m, &p, LCT_SWEEP_RUNNING, &err));
  assert_true(has(path, "rows_total 1\n"));
  p.seconds = 1.25;
  assert_ok(lct_metrics_file_update(&m, &p, LCT_SWEEP_RUNNING, &err));
  assert_true(has(path, "rows_total 2\n"));
  p.rows = 3;
  assert_ok(lct_metrics_file_update(&m, &p, LCT_SWEEP_INTERRUPTED, &err));
  assert_true(has(path, "rows_total 3\n") && has(path, "state=\"interrupted\"} 1\n"));
  (void)snprintf(gone, sizeof gone, "%s.tmp", path);
  assert_false(lct_path_exists(gone));
  (void)unlink(path);
  (void)rmdir(folder);
  p.seconds = 9;
  (void)snprintf(gone, sizeof gone, "cannot create %s: No such file or directory", path);
  assert_fails(lct_metrics_file_update(&m, &p, LCT_SWEEP_RUNNING, &err), LCT_E_IO, gone);
  p.seconds = 9.5;
  assert_ok(lct_metrics_file_update(&m, &p, LCT_SWEEP_RUNNING, &err)); /* not tried again yet */
  assert_ok(lct_metrics_file_update(&none, &p, LCT_SWEEP_DONE, &err));
}

/* 100 tokens, 1000 raw and 800 stored bytes and a hundredth of the input a second, then twice as fast. */
static void test_rates(void **state) {
  (void)state;
  lct_rates r = {0};
  lct_sweep_progress p = {.phase = "load", .bytes_total = 10000};
  lct_rates_update(&r, &p);
  assert_true(p.tokens_per_second == 0 && p.seconds_left == -1);
  p.seconds = 30;
  lct_rates_update(&r, &p);
  assert_true(p.tokens_per_second == 0 && p.seconds_left == -1);
  p.phase = "sweep";
  int64_t work = 0;
  for (int i = 0; i <= 160; i++) {
    p.seconds = 30 + 0.25 * i;
    work += i == 0 ? 0 : i <= 80 ? 25 : 50; /* of a quarter of a second */
    p.tokens_computed = work;
    p.raw_bytes = 10 * work;
    p.stored_bytes = 8 * work;
    p.bytes_read = work;
    lct_rates_update(&r, &p);
    if (i == 0) assert_true(p.tokens_per_second == 0 && p.seconds_left == -1);
    if (i > 0 && i <= 80) {
      assert_true(p.tokens_per_second == 100 && p.raw_bytes_per_second == 1000 && p.stored_bytes_per_second == 800);
      assert_true(fabs(p.seconds_left - (100 - 0.25 * i)) < 1e-9);
    }
  }
  assert_true(p.tokens_per_second == 200 && p.raw_bytes_per_second == 2000 && p.stored_bytes_per_second == 1600);
  assert_true(fabs(p.seconds_left - 4000 / 150.0) < 1e-9); /* by the whole phase: 6000 bytes in 40 s */
  p.bytes_total = 0;
  lct_rates_update(&r, &p);
  assert_true(p.seconds_left == -1);
  p.phase = "finish";
  lct_rates_update(&r, &p);
  assert_true(p.tokens_per_second == 0);
}

static void test_line(void **state) {
  (void)state;
  char line[PROGRESS_SWEEP_BYTES];
  lct_sweep_progress p = example();
  progress_sweep_line(&p, line);
  assert_string_equal(line, "sweep 25%  1200 conversations, 3 rejected  8130 tok/s  200.0 -> 172.0 MB/s  ring 3/8  ETA 3:05");
  p.seconds_left = 36000.4;
  p.rejected = 0;
  p.conversations = 1;
  progress_sweep_line(&p, line);
  assert_string_equal(line, "sweep 25%  1 conversation  8130 tok/s  200.0 -> 172.0 MB/s  ring 3/8  ETA 10:00:00");
  p = (lct_sweep_progress){.phase = "load", .seconds_left = -1};
  progress_sweep_line(&p, line);
  assert_string_equal(line, "load  0 conversations");
  p = example();
  p.tokens_per_second = p.raw_bytes_per_second = p.seconds_left = 1e300;
  progress_sweep_line(&p, line); /* cut, not beyond its end */
  assert_int_equal(strlen(line), PROGRESS_SWEEP_BYTES - 1);
}

/* What is printed where stderr is no terminal. */
static void test_plain_lines(void **state) {
  (void)state;
  char path[] = "progress_XXXXXX";
  lct_error err = {0};
  lct_buf text = {0};
  int fd = mkstemp(path), saved = dup(STDERR_FILENO);
  assert_true(fd >= 0 && saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
  progress_sweep s = progress_sweep_new(false), quiet = progress_sweep_new(true);
  lct_sweep_progress p = {.phase = "load", .seconds_left = -1};
  for (int i = 0; i <= 12; i++) {
    p.seconds = i;
    p.conversations = i;
    if (i == 2) p.phase = "sweep";
    progress_sweep_show(&s, &p);
    progress_sweep_show(&quiet, &p);
  }
  progress_sweep_end(&s);
  progress_sweep_end(&quiet);
  assert_true(dup2(saved, STDERR_FILENO) >= 0);
  close(saved);
  close(fd);
  assert_ok(lct_file_read(path, 4096, &text, &err));
  (void)unlink(path);
  assert_string_equal(text.data, "load ...\nsweep ...\nsweep  7 conversations\nsweep  12 conversations\n");
  lct_buf_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_format), cmocka_unit_test(test_file), cmocka_unit_test(test_rates),
                                     cmocka_unit_test(test_line), cmocka_unit_test(test_plain_lines)};
  return cmocka_run_group_tests_name("sweep_progress", tests, NULL, NULL);
}
