#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_inspect(int argc, char **argv) {
  bool json = false, check = false;
  const arg_option options[] = {{"--json", NULL, ARG_FLAG, &json, NULL, "one JSON object"},
                                {"--check", NULL, ARG_FLAG, &check, NULL, "read every weight and fail on NaN or Inf"},
                                {0}};
  const arg_spec spec = {
      "inspect",
      "MODEL|FILE.safetensors|SWEEP_DIR [options]",
      "Shows a model's configuration, parameters, bytes per part, chat template and hashes; or what a file of fingerprints\n"
      "or a sweep's directory holds.",
      options,
      1,
      1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  lct_error err = {0};
  char *text = NULL;
  lct_status status = lct_inspect(args[0], json, check, &text, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  printf("%s\n", text);
  lct_text_free(text);
  return EXIT_DONE;
}
