#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_synth(int argc, char **argv) {
  lct_synth_options o = {0};
  long seed = 0;
  bool list = false;
  const arg_option options[] = {{"--like", NULL, ARG_STRING, &o.like, "NAME|CONFIG.json", "the model whose shape to take"},
                                {"--seed", NULL, ARG_INT, &seed, "N", "seed of the random weights (default 0)"},
                                {"--dtype", NULL, ARG_STRING, &o.dtype, "TYPE", "bfloat16 (default), float16 or float32"},
                                {"--tokenizer", NULL, ARG_STRING, &o.tokenizer, "FOLDER",
                                 "copy its tokenizer (default: a small byte-level one)"},
                                {"--list", NULL, ARG_FLAG, &list, NULL, "list the known names"},
                                {0}};
  const arg_spec spec = {
      "synth", "--like NAME DIR [options]", "Writes a Hugging Face folder with random weights of exactly that shape.", options, 0, 1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  if (list) {
    for (const char *const *name = lct_synth_names(); *name != NULL; name++) printf("%s\n", *name);
    return EXIT_DONE;
  }
  if (n == 0 || o.like == NULL) {
    fprintf(stderr, "llmct-gpu synth: needs --like NAME and a directory\ntry: llmct-gpu synth --help\n");
    return EXIT_USAGE;
  }
  o.seed = (uint64_t)seed;
  o.dir = args[0];
  lct_error err = {0};
  lct_status status = lct_synth(&o, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  printf("%s\n", o.dir);
  return EXIT_DONE;
}
