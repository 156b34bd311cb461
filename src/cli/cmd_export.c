#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_export(int argc, char **argv) {
  lct_export_options o = {0};
  int format = LCT_EXPORT_NPZ, what = LCT_EXPORT_POOLED;
  bool quiet = false;
  const arg_option options[] = {{"--output", "-o", ARG_STRING, &o.path, "FILE", "required"},
                                {"--to", NULL, ARG_CHOICE, &format, "npz|safetensors|csv", "default npz"},
                                {"--what", NULL, ARG_CHOICE, &what, "pooled|scores|tokens", "default pooled"},
                                {"--sources", NULL, ARG_STRING, &o.sources, "LIST", "default: all that were swept"},
                                {"--layers", NULL, ARG_STRING, &o.layers, "LIST", "such as 0-11,23 (default: all)"},
                                {"--positions", NULL, ARG_STRING, &o.positions, "LIST", "default: all"},
                                {"--scores", NULL, ARG_STRING, &o.scores, "NAME", "scores that `score` made, instead of the sweep's own"},
                                {"--rows", NULL, ARG_STRING, &o.rows, "FROM:TO", "as Python's slices (of tokens: stored tokens)"},
                                {"--quiet", "-q", ARG_FLAG, &quiet, NULL, "print errors only"},
                                {0}};
  const arg_spec spec = {"export",
                         "SWEEP_DIR -o FILE [options]",
                         "Writes a sweep's vectors (float32), scores or tokens as one .npz, .safetensors or .csv file.",
                         options,
                         1,
                         1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  if (o.path == NULL) {
    fprintf(stderr, "llmct-gpu export: needs -o FILE\ntry: llmct-gpu export --help\n");
    return EXIT_USAGE;
  }
  o.dir = args[0];
  o.format = (lct_export_format)format;
  o.what = o.scores != NULL ? LCT_EXPORT_SCORES : (lct_export_what)what;
  lct_error err = {0};
  lct_export_result r;
  lct_status status = lct_export(&o, &r, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (!quiet) printf("%s: %lld rows, %lld values\n", o.path, (long long)r.rows, (long long)r.values);
  return EXIT_DONE;
}
