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

/* Options of a command that runs a model over many prompts: a's o.model, precision, threads, quiet, json. */
#define CLI_RUN_OPTIONS(a)                                                                                           \
  {"--device", "-d", ARG_STRING, &(a).o.model.device, CLI_DEVICE_WHAT, CLI_DEVICE_HELP},                             \
      {"--precision", NULL, ARG_CHOICE, &(a).precision, CLI_PRECISION_WHAT, CLI_PRECISION_HELP},                     \
      {"--chat-template", NULL, ARG_STRING, &(a).o.model.chat_template, "NAME", "instead of the recognised one"},    \
      {"--no-thinking", NULL, ARG_FLAG, &(a).o.model.no_thinking, NULL, "Qwen3: render with enable_thinking=False"}, \
      {"--threads", "-t", ARG_INT, &(a).threads, "N", "threads of the CPU (default: all)"},                          \
      {"--quiet", "-q", ARG_FLAG, &(a).quiet, NULL, "print errors only"}, {                                          \
    "--json", NULL, ARG_FLAG, &(a).json, NULL, "print the summary as one JSON object"                                \
  }

/* "llmct-gpu: error: ..." on stderr; the exit code that belongs to the status. */
int cli_fail(lct_status status, const lct_error *err);
/* The text as a JSON string on stdout. */
/* On standard error, where memory was out once (shrunk_to > 0). */
void cli_tell_out_of_memory(int32_t failed, int32_t shrunk_to);
void cli_print_json_string(const char *s);
/* From here on the first SIGINT or SIGTERM sets the flag, and the second one ends the program at once. */
void cli_cancel_on_signals(void);
const volatile int *cli_cancel_flag(void);

#endif
