#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/cli.h"

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_line(const char *what, double *seconds, int repeats, double tokens) {
  qsort(seconds, (size_t)repeats, sizeof *seconds, by_value);
  double median = seconds[repeats / 2];
  printf("{\"what\": \"%s\", \"tokens\": %.0f, \"repeats\": %d, \"seconds_median\": %.6f, \"seconds_min\": %.6f, \"seconds_max\": %.6f, "
         "\"tokens_per_second\": %.2f}\n",
         what, tokens, repeats, median, seconds[0], seconds[repeats - 1], tokens / median);
}

int cli_bench(int argc, char **argv) {
  long threads = 0, prompts = 1, tokens = 512, decode = 32, repeats = 5;
  int precision = 0;
  const arg_option options[] = {
      {"--prompts", NULL, ARG_INT, &prompts, "N", "different prompts a prefill (default 1)"},
      {"--tokens", NULL, ARG_INT, &tokens, "N", "tokens a prompt (default 512)"},
      {"--decode", NULL, ARG_INT, &decode, "N", "tokens to decode after one prompt; 0: none (default 32)"},
      {"--repeats", NULL, ARG_INT, &repeats, "N", "timed runs after one warm-up (default 5)"},
      {"--precision", NULL, ARG_CHOICE, &precision, "exact|fast", "float32, or bf16 GEMM inputs (default exact)"},
      {"--threads", "-t", ARG_INT, &threads, "N", "threads to compute with (default: all)"},
      {0}};
  const arg_spec spec = {"bench", "MODEL [options]", "Measures prefill and decode; one JSON line each.", options, 1, 1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  if (repeats < 1 || repeats > 1000 || prompts < 1 || tokens < 1) {
    fprintf(stderr, "llmct-gpu bench: --repeats is 1 to 1000, --prompts and --tokens at least 1\n");
    return EXIT_USAGE;
  }
  double *seconds = calloc((size_t)repeats, sizeof *seconds);
  if (seconds == NULL) return EXIT_FAILED;
  lct_error err = {0};
  lct_status s = lct_bench_prefill(args[0], (lct_precision)precision, (int)threads, (int)prompts, (int)tokens, (int)repeats, seconds, &err);
  if (s == LCT_OK) print_line("prefill", seconds, (int)repeats, (double)prompts * (double)tokens);
  if (s == LCT_OK && decode > 0) {
    s = lct_bench_decode(args[0], (lct_precision)precision, (int)threads, (int)tokens, (int)decode, (int)repeats, seconds, &err);
    if (s == LCT_OK) print_line("decode", seconds, (int)repeats, (double)decode);
  }
  free(seconds);
  return s == LCT_OK ? EXIT_DONE : cli_fail(s, &err);
}
