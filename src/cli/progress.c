#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 28
#define BAR_SECONDS 0.1  /* between redraws */
#define LINE_SECONDS 5.0 /* between plain lines */

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

progress progress_new(bool quiet) { return (progress){.quiet = quiet, .terminal = isatty(STDERR_FILENO)}; }

static void describe(const lct_progress *p, double elapsed, char *out, size_t n) {
  double share = p->total > 0 ? (double)p->done / (double)p->total : 0;
  out[0] = '\0';
  if (p->tokens > 0 && share > 0 && elapsed > 0) {
    (void)snprintf(out, n, "  %5.0f tok/s  ETA %.0f s", share * (double)p->tokens / elapsed, elapsed * (1 - share) / share);
  }
}

static void draw_bar(const lct_progress *p, const char *detail) {
  char bar[BAR_WIDTH + 1];
  int filled = p->total > 0 ? (int)((double)p->done / (double)p->total * BAR_WIDTH) : 0;
  for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '.';
  bar[BAR_WIDTH] = '\0';
  fprintf(stderr, "\r%-8s [%s] %3d%%%s\033[K", p->phase, bar, p->total > 0 ? (int)(p->done * 100 / p->total) : 0, detail);
}

void progress_show(void *ctx, const lct_progress *p) {
  progress *s = ctx;
  if (s->quiet) return;
  double t = now();
  bool new_phase = s->phase == NULL || strcmp(s->phase, p->phase) != 0;
  if (new_phase) {
    if (s->terminal && s->phase != NULL) fputc('\n', stderr);
    s->phase = p->phase;
    s->phase_start = s->last_shown = t;
  }
  bool finished = p->done >= p->total;
  if (!new_phase && !(s->terminal && finished) && t - s->last_shown < (s->terminal ? BAR_SECONDS : LINE_SECONDS)) return;
  s->last_shown = t;
  char detail[96];
  describe(p, t - s->phase_start, detail, sizeof detail);
  if (s->terminal) draw_bar(p, detail);
  else if (new_phase && p->done == 0) fprintf(stderr, "%s ...\n", p->phase);
  else fprintf(stderr, "%s %d%%%s\n", p->phase, p->total > 0 ? (int)(p->done * 100 / p->total) : 0, detail);
}

void progress_end(progress *s) {
  if (!s->quiet && s->terminal && s->phase != NULL) fputc('\n', stderr);
  s->phase = NULL;
}
