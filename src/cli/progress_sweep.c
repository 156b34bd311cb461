#include "cli/progress_sweep.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_SECONDS 0.2 /* between redraws */
#define LINE_SECONDS 5.0 /* between plain lines */

progress_sweep progress_sweep_new(bool quiet) { return (progress_sweep){.quiet = quiet, .terminal = isatty(STDERR_FILENO)}; }

__attribute__((format(printf, 2, 3))) static void add(char out[PROGRESS_SWEEP_BYTES], const char *fmt, ...) {
  size_t n = strlen(out);
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(out + n, PROGRESS_SWEEP_BYTES - n, fmt, args);
  va_end(args);
}

static void add_duration(char out[PROGRESS_SWEEP_BYTES], double seconds) {
  long long s = seconds < 1e9 ? (long long)(seconds + 0.5) : 999999999;
  if (s >= 3600) add(out, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else add(out, "%lld:%02lld", s / 60, s % 60);
}

void progress_sweep_line(const lct_sweep_progress *p, char out[PROGRESS_SWEEP_BYTES]) {
  out[0] = '\0';
  add(out, "%s", p->phase);
  if (p->bytes_total > 0) add(out, " %d%%", (int)((double)p->bytes_read / (double)p->bytes_total * 100));
  add(out, "  %lld conversation%s", (long long)p->conversations, p->conversations == 1 ? "" : "s");
  if (p->rejected > 0) add(out, ", %lld rejected", (long long)p->rejected);
  if (p->tokens_per_second > 0) add(out, "  %.0f tok/s", p->tokens_per_second);
  if (p->raw_bytes_per_second > 0) add(out, "  %.1f -> %.1f MB/s", p->raw_bytes_per_second / 1e6, p->stored_bytes_per_second / 1e6);
  if (p->n_slots > 0) add(out, "  ring %d/%d", p->slots_taken, p->n_slots);
  if (p->seconds_left >= 0 && p->bytes_read < p->bytes_total) {
    add(out, "  ETA ");
    add_duration(out, p->seconds_left);
  }
}

/* A line that wraps cannot be drawn over: it is cut to the terminal's width. */
static void draw(const char *line) {
  struct winsize w = {0};
  int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1 : 79;
  fprintf(stderr, "\r%.*s\033[K", width, line);
}

void progress_sweep_show(void *ctx, const lct_sweep_progress *p) {
  progress_sweep *s = ctx;
  char line[PROGRESS_SWEEP_BYTES];
  if (s->quiet) return;
  bool new_phase = s->phase == NULL || strcmp(s->phase, p->phase) != 0;
  if (!new_phase && p->seconds - s->last_shown < (s->terminal ? DRAW_SECONDS : LINE_SECONDS)) return;
  if (new_phase && s->terminal && s->phase != NULL) fputc('\n', stderr);
  s->phase = p->phase;
  s->last_shown = p->seconds;
  progress_sweep_line(p, line);
  if (s->terminal) draw(line);
  else if (new_phase) fprintf(stderr, "%s ...\n", p->phase);
  else fprintf(stderr, "%s\n", line);
}

void progress_sweep_end(progress_sweep *s) {
  if (!s->quiet && s->terminal && s->phase != NULL) fputc('\n', stderr);
  s->phase = NULL;
}
