/* The commands. Each parses its own argv (without program and command name) and returns an exit code. */
#ifndef LCT_CLI_CLI_H
#define LCT_CLI_CLI_H

#include "llmct/llmct.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SOME_FAILED = 3 };

int cli_scan(int argc, char **argv);
int cli_sweep(int argc, char **argv);
int cli_fingerprint(int argc, char **argv);
int cli_score(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_ls(int argc, char **argv);
int cli_cat(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_synth(int argc, char **argv);
int cli_tokenize(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_devices(int argc, char **argv);

/* For the help of a command that runs a model. */
#define CLI_DEVICE_WHAT "auto|cpu|cuda:N"
#define CLI_DEVICE_HELP "auto: a GPU when there is one (default: LCT_DEVICE, else auto)"
#define CLI_PRECISION_WHAT "auto|exact|fast|f16|bf16"
#define CLI_PRECISION_HELP "CPU: exact (default), fast or bf16; GPU: f16 (default, fast) or bf16"

/* "llmct-gpu: error: ..." on stderr; the exit code that belongs to the status. */
int cli_fail(lct_status status, const lct_error *err);
/* The text as a JSON string on stdout. */
void cli_print_json_string(const char *s);
/* Set by the first Ctrl-C; the second one ends the program at once. */
const volatile int *cli_cancel_flag(void);

#endif
