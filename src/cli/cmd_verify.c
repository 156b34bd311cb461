#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

static void print_fault(void *ctx, const char *message) {
  (void)ctx;
  printf("%s\n", message);
}

int cli_verify(int argc, char **argv) {
  bool quiet = false;
  const arg_option options[] = {{"--quiet", "-q", ARG_FLAG, &quiet, NULL, "print faults only"}, {0}};
  const arg_spec spec = {"verify",
                         "SWEEP_DIR [options]",
                         "Reads a sweep's directory again: every checksum, the journal against the files, rows against messages.jsonl.\n"
                         "Also one that was interrupted, as far as it goes. Exit code 1 when anything is wrong.",
                         options,
                         1,
                         1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  lct_error err = {0};
  lct_verify_result r;
  lct_status status = lct_verify(args[0], print_fault, NULL, &r, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (!quiet) {
    printf("%s: %lld arrays, %lld shards, %lld bytes, %lld rows%s: ", args[0], (long long)r.arrays, (long long)r.shards,
           (long long)r.stored_bytes, (long long)r.rows, r.done ? "" : " (the sweep is not done)");
    if (r.faults == 0) printf("no faults\n");
    else printf("%lld fault%s\n", (long long)r.faults, r.faults == 1 ? "" : "s");
  }
  return r.faults == 0 ? EXIT_DONE : EXIT_FAILED;
}
