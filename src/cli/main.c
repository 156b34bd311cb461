/* llmct-gpu: finds the command, runs it, and gives its exit code. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"

typedef struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *about;
} command;

static const command commands[] = {
    {"scan", cli_scan, "run a scenario through a model and score every layer against the references"},
    {"sweep", cli_sweep, "scan many conversations into one compressed store"},
    {"fingerprint", cli_fingerprint, "make the vectors that a sweep scores against"},
    {"score", cli_score, "score a sweep's stored vectors again, without the model"},
    {"verify", cli_verify, "read a sweep again and name every fault"},
    {"ls", cli_ls, "list a sweep's rows or arrays"},
    {"cat", cli_cat, "print one vector of a sweep"},
    {"export", cli_export, "write a sweep's vectors or scores as .npz, .safetensors or .csv"},
    {"report", cli_report, "make the HTML report of a run, or compare it with published numbers"},
    {"inspect", cli_inspect, "show what a model, a fingerprint file or a sweep is"},
    {"synth", cli_synth, "write random weights in a real model's shape, for tests and benchmarks"},
    {"tokenize", cli_tokenize, "show the tokens of a text"},
    {"bench", cli_bench, "measure prefill and decode on this machine"},
    {"devices", cli_devices, "show what there is to compute on, and what would be used"},
};

static int usage(FILE *out) {
  fprintf(out, "llmct-gpu %s: an MRI machine for Qwen-family language models\n\nusage: llmct-gpu COMMAND [options]\n\ncommands:\n",
          lct_version());
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].about);
  fprintf(out, "\nllmct-gpu COMMAND --help explains a command. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 finished but some failed.\n");
  return out == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* Whole tensors of many snapshots are many open files: take what the system allows. */
static void allow_many_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int run_command(int argc, char **argv) {
  if (argc < 2) return usage(stderr);
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) return usage(stdout);
  if (strcmp(argv[1], "--version") == 0) {
    printf("llmct-gpu %s\n", lct_version());
    return EXIT_DONE;
  }
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2);
  }
  fprintf(stderr, "llmct-gpu: unknown command %s\ntry: llmct-gpu --help\n", argv[1]);
  return EXIT_USAGE;
}

int main(int argc, char **argv) {
  cli_cancel_on_signals();
  /* a full disk or a closed pipe is an error to report, not a reason to die */
  (void)signal(SIGPIPE, SIG_IGN);
  (void)signal(SIGXFSZ, SIG_IGN);
  allow_many_files();
  int code = run_command(argc, argv);
  if (fflush(stdout) != 0 && code == EXIT_DONE) {
    fprintf(stderr, "llmct-gpu: error: cannot write to standard output\n");
    return EXIT_FAILED;
  }
  return code;
}
