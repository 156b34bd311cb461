#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_devices(int argc, char **argv) {
  bool json = false;
  const arg_option options[] = {{"--json", NULL, ARG_FLAG, &json, NULL, "print one JSON object"}, {0}};
  const arg_spec spec = {"devices", "[options]", "Shows the CPU and the GPUs of this machine; auto marks what --device auto uses.",
                         options,   0,           0};
  const char *args[1] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  lct_error err = {0};
  char *text = NULL;
  lct_status status = lct_devices(json, &text, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  fputs(text, stdout);
  if (json) putchar('\n');
  lct_text_free(text);
  return EXIT_DONE;
}
