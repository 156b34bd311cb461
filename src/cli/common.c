/* What the commands share: how they say what went wrong, and that they are to stop. */
#include <signal.h>
#include <stdio.h>

#include "cli/cli.h"

/* A signal handler can reach nothing but a global. */
static volatile int cancel_flag;

static void on_interrupt(int signal_number) {
  if (cancel_flag) {
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
  }
  cancel_flag = 1;
}

void cli_cancel_on_signals(void) {
  struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
}

const volatile int *cli_cancel_flag(void) { return &cancel_flag; }

int cli_fail(lct_status status, const lct_error *err) {
  fprintf(stderr, "llmct-gpu: error: %s\n", err->message);
  return status == LCT_E_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

void cli_tell_out_of_memory(int32_t failed, int32_t shrunk_to) {
  if (shrunk_to > 0) fprintf(stderr, "llmct-gpu: out of GPU memory at %d tokens a batch; going on with %d\n", failed, shrunk_to);
}

void cli_print_json_string(const char *s) {
  putchar('"');
  for (; *s != '\0'; s++) {
    if (*s == '"' || *s == '\\') printf("\\%c", *s);
    else if ((unsigned char)*s < 0x20) printf("\\u%04x", *s);
    else putchar(*s);
  }
  putchar('"');
}
