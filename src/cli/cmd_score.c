#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"

int cli_score(int argc, char **argv) {
  lct_score_options o = {0};
  int calibrate = 0;
  long threads = 0;
  bool quiet = false;
  const arg_option options[] = {{"--fingerprints", "-f", ARG_STRING, &o.fingerprints, "FILE",
                                 "required; of the sweep's model and chat template"},
                                {"--name", "-n", ARG_STRING, &o.name, "NAME", "of SWEEP_DIR/scores/NAME.zarr (default: FILE's name)"},
                                {"--metrics", NULL, ARG_STRING, &o.metrics, "LIST",
                                 "default cosine,mae,jaccard; also centered, standardized, whitened, z, projection, contrast:cosine, ..."},
                                {"--calibrate", NULL, ARG_CHOICE, &calibrate, "fingerprints|sweep",
                                 "whose mean and deviation (default: the fingerprints' neutral bank)"},
                                {"--sources", NULL, ARG_STRING, &o.sources, "LIST", "default: all that both have"},
                                {"--positions", NULL, ARG_STRING, &o.positions, "LIST", "default: all that both have"},
                                {"--layers", NULL, ARG_STRING, &o.layers, "LIST", "such as 0-11,23 (default: all)"},
                                {"--threads", "-t", ARG_INT, &threads, "N", "default: all"},
                                {"--quiet", "-q", ARG_FLAG, &quiet, NULL, "print errors only"},
                                {0}};
  const arg_spec spec = {"score",
                         "SWEEP_DIR -f FILE [options]",
                         "Scores a sweep's stored vectors against fingerprints, without the model. The sweep's own data stay as they are.",
                         options,
                         1,
                         1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  if (o.fingerprints == NULL || threads > 4096) {
    fprintf(stderr, "llmct-gpu score: %s\ntry: llmct-gpu score --help\n",
            o.fingerprints == NULL ? "needs -f FILE" : "--threads: at most 4096");
    return EXIT_USAGE;
  }
  o.dir = args[0];
  o.threads = (int)threads;
  o.calibrate_sweep = calibrate == 1;
  lct_error err = {0};
  lct_score_result r;
  lct_status status = lct_score(&o, &r, &err);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (!quiet) printf("%s: %lld rows, %lld scores in %.2f s\n", r.path, (long long)r.rows, (long long)r.scores, r.seconds);
  return EXIT_DONE;
}
