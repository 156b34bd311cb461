#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

static void print_line(void *ctx, const char *text) {
  (void)ctx;
  printf("%s\n", text);
}

int cli_ls(int argc, char **argv) {
  bool arrays = false;
  const arg_option options[] = {{"--arrays", "-a", ARG_FLAG, &arrays, NULL, "the arrays of the store instead"}, {0}};
  const arg_spec spec = {"ls",
                         "SWEEP_DIR [CONVERSATION] [options]",
                         "Lists the rows of a sweep, or of one conversation of it: fields with tabs between, a header first.",
                         options,
                         1,
                         2};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  lct_error err = {0};
  lct_status status = lct_list(args[0], n > 1 ? args[1] : NULL, arrays, print_line, NULL, &err);
  return status == LCT_OK ? EXIT_DONE : cli_fail(status, &err);
}
