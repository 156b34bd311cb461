#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_report(int argc, char **argv) {
  const char *published = NULL;
  bool table = false, quiet = false;
  const arg_option options[] = {{"--compare-published", NULL, ARG_STRING, &published, "FILE",
                                 "print the run's numbers beside published ones"},
                                {"--table", NULL, ARG_FLAG, &table, NULL, "print the main table too"},
                                {"--quiet", "-q", ARG_FLAG, &quiet, NULL, "do not print the report's path"},
                                {0}};
  const arg_spec spec = {"report", "RUN_DIR [options]", "Writes RUN_DIR/report.html from a finished or partial run.", options, 1, 1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  lct_error err = {0};
  char *text = NULL;
  lct_status status = lct_report(args[0], &text, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (!quiet) printf("%s\n", text);
  lct_text_free(text);
  if (table) {
    status = lct_report_table(args[0], 100, &text, &err);
    if (status != LCT_OK) return cli_fail(status, &err);
    printf("%s\n", text);
    lct_text_free(text);
  }
  if (published == NULL) return EXIT_DONE;
  status = lct_report_compare(args[0], published, &text, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  printf("%s\n", text);
  lct_text_free(text);
  return EXIT_DONE;
}
