#include "sweep/metrics_file.h"

#include <inttypes.h>
#include <time.h>

#include "base/file.h"

#define INTERVAL_SECONDS 1.0

const char *lct_sweep_state_name(lct_sweep_state s) {
  static const char *const names[LCT_SWEEP_N_STATES] = {"running", "done", "interrupted", "failed"};
  return names[s];
}

typedef struct {
  const char *name, *type, *help, *label, *value; /* label and its value: NULL for none */
  bool is_seconds;
  int64_t count;
  double seconds;
} sample;

#define COUNT(name, type, value, help) \
  { name, type, help, NULL, NULL, false, value, 0 }
#define REAL(name, type, value, help) \
  { name, type, help, NULL, NULL, true, 0, value }
#define COUNT_OF(name, type, key, of, value, help) \
  { name, type, help, key, of, false, value, 0 }
#define REAL_OF(name, type, key, of, value, help) \
  { name, type, help, key, of, true, 0, value }

/* Samples of one name follow each other; the first brings the help. */
static lct_status write_samples(const sample *s, size_t n, lct_buf *out, lct_error *err) {
  for (size_t i = 0; i < n; i++) {
    if (s[i].help != NULL) {
      LCT_TRY(lct_buf_printf(out, err, "# HELP llmct_sweep_%s %s\n# TYPE llmct_sweep_%s %s\n", s[i].name, s[i].help, s[i].name, s[i].type));
    }
    LCT_TRY(lct_buf_printf(out, err, "llmct_sweep_%s", s[i].name));
    if (s[i].label != NULL) LCT_TRY(lct_buf_printf(out, err, "{%s=\"%s\"}", s[i].label, s[i].value));
    if (s[i].is_seconds) LCT_TRY(lct_buf_printf(out, err, " %.3f\n", s[i].seconds));
    else LCT_TRY(lct_buf_printf(out, err, " %" PRId64 "\n", s[i].count));
  }
  return LCT_OK;
}

static lct_status write_work(const lct_sweep_progress *p, lct_buf *out, lct_error *err) {
  const sample samples[] = {
      COUNT_OF("conversations_total", "counter", "result", "done", p->conversations,
               "Conversations taken from the input, by what became of them."),
      COUNT_OF("conversations_total", "counter", "result", "rejected", p->rejected, NULL),
      COUNT("rows_total", "counter", p->rows, "Snapshot rows captured."),
      COUNT("tokens_computed_total", "counter", p->tokens_computed, "Tokens run through the model."),
      COUNT("tokens_naive_total", "counter", p->tokens_naive, "Tokens that every prefix on its own would have cost."),
      COUNT("input_read_bytes_total", "counter", p->bytes_read, "Bytes of the input that are done."),
      COUNT("raw_bytes_total", "counter", p->raw_bytes, "Bytes of arrays given to the store."),
      COUNT("stored_bytes_total", "counter", p->stored_bytes, "Bytes of arrays written, compressed."),
  };
  return write_samples(samples, sizeof samples / sizeof *samples, out, err);
}

static lct_status write_seconds(const lct_sweep_progress *p, lct_buf *out, lct_error *err) {
  const sample samples[] = {
      REAL_OF("stage_seconds_total", "counter", "stage", "input", p->seconds_input,
              "Seconds by stage: gemm and capture are parts of forward; input and store run on threads of their own."),
      REAL_OF("stage_seconds_total", "counter", "stage", "forward", p->seconds_forward, NULL),
      REAL_OF("stage_seconds_total", "counter", "stage", "gemm", p->seconds_gemm, NULL),
      REAL_OF("stage_seconds_total", "counter", "stage", "capture", p->seconds_capture, NULL),
      REAL_OF("stage_seconds_total", "counter", "stage", "wait", p->seconds_wait, NULL),
      REAL_OF("stage_seconds_total", "counter", "stage", "store", p->seconds_store, NULL),
  };
  return write_samples(samples, sizeof samples / sizeof *samples, out, err);
}

static lct_status write_gauges(const lct_sweep_progress *p, double unix_seconds, lct_buf *out, lct_error *err) {
  const sample samples[] = {
      REAL("elapsed_seconds", "gauge", p->seconds, "Seconds since this process began the sweep."),
      REAL("tokens_per_second", "gauge", p->tokens_per_second, "Tokens run through the model a second, lately."),
      REAL("raw_bytes_per_second", "gauge", p->raw_bytes_per_second, "Bytes given to the store a second, lately."),
      REAL("stored_bytes_per_second", "gauge", p->stored_bytes_per_second, "Bytes written a second, lately."),
      COUNT("ring_slots_taken", "gauge", p->slots_taken, "Slots of the ring that wait for the store's writers."),
      COUNT("ring_slots", "gauge", p->n_slots, "Slots of the ring."),
      REAL("updated_timestamp_seconds", "gauge", unix_seconds, "When this file was written, in Unix time."),
  };
  const sample total[] = {COUNT("input_bytes", "gauge", p->bytes_total, "Bytes of the input.")};
  const sample left[] = {REAL("eta_seconds", "gauge", p->seconds_left, "Seconds until the input's end, at the pace so far.")};
  LCT_TRY(write_samples(samples, sizeof samples / sizeof *samples, out, err));
  if (p->bytes_total > 0) LCT_TRY(write_samples(total, 1, out, err));
  if (p->seconds_left >= 0) LCT_TRY(write_samples(left, 1, out, err));
  return LCT_OK;
}

static lct_status write_state(lct_sweep_state state, lct_buf *out, lct_error *err) {
  for (int i = 0; i < LCT_SWEEP_N_STATES; i++) {
    const sample one[] = {COUNT_OF("state", "gauge", "state", lct_sweep_state_name((lct_sweep_state)i), i == (int)state,
                                   i == 0 ? "1 for the state the sweep is in." : NULL)};
    LCT_TRY(write_samples(one, 1, out, err));
  }
  return LCT_OK;
}

lct_status lct_metrics_format(const lct_sweep_progress *p, lct_sweep_state state, double unix_seconds, lct_buf *out, lct_error *err) {
  LCT_TRY(write_work(p, out, err));
  LCT_TRY(write_seconds(p, out, err));
  LCT_TRY(write_gauges(p, unix_seconds, out, err));
  return write_state(state, out, err);
}

lct_status lct_metrics_file_update(lct_metrics_file *m, const lct_sweep_progress *p, lct_sweep_state state, lct_error *err) {
  struct timespec t;
  lct_buf text = {0};
  if (m->path == NULL || (state == LCT_SWEEP_RUNNING && m->written && p->seconds - m->last_seconds < INTERVAL_SECONDS)) return LCT_OK;
  m->written = true;
  m->last_seconds = p->seconds;
  (void)clock_gettime(CLOCK_REALTIME, &t);
  lct_status s = lct_metrics_format(p, state, (double)t.tv_sec + (double)t.tv_nsec * 1e-9, &text, err);
  if (s == LCT_OK) s = lct_file_replace(m->path, text.data, text.len, err);
  lct_buf_free(&text);
  return s;
}
