#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/cli.h"

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_line(const char *what, const lct_bench_result *r, int repeats, double tokens) {
  double *seconds = r->seconds;
  qsort(seconds, (size_t)repeats, sizeof *seconds, by_value);
  double median = seconds[repeats / 2];
  printf(
      "{\"what\": \"%s\", \"device\": \"%s\", \"precision\": \"%s\", \"tokens\": %.0f, \"repeats\": %d, \"seconds_median\": %.6f, "
      "\"seconds_min\": %.6f, \"seconds_max\": %.6f, \"tokens_per_second\": %.2f}\n",
      what, r->device.label, lct_precision_name(r->device.precision), tokens, repeats, median, seconds[0], seconds[repeats - 1],
      tokens / median);
}

int cli_bench(int argc, char **argv) {
  long threads = 0, prompts = 1, tokens = 512, decode = 32, repeats = 5;
  int precision = 0;
  const char *device = NULL;
  const arg_option options[] = {{"--prompts", NULL, ARG_INT, &prompts, "N", "different prompts a prefill (default 1)"},
                                {"--tokens", NULL, ARG_INT, &tokens, "N", "tokens a prompt (default 512)"},
                                {"--decode", NULL, ARG_INT, &decode, "N", "tokens to decode after one prompt; 0: none (default 32)"},
                                {"--repeats", NULL, ARG_INT, &repeats, "N", "timed runs after one warm-up (default 5)"},
                                {"--device", "-d", ARG_STRING, &device, CLI_DEVICE_WHAT, CLI_DEVICE_HELP},
                                {"--precision", NULL, ARG_CHOICE, &precision, CLI_PRECISION_WHAT, CLI_PRECISION_HELP},
                                {"--threads", "-t", ARG_INT, &threads, "N", "threads of the CPU (default: all)"},
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
  lct_bench_options o = {.model = {.id = args[0], .device = device, .precision = (lct_precision)precision, .threads = (int)threads},
                         .n_prompts = (int)prompts,
                         .n_tokens = (int)tokens,
                         .n_decode = (int)decode,
                         .repeats = (int)repeats};
  lct_bench_result r = {.seconds = seconds};
  lct_status s = lct_bench_prefill(&o, &r, &err);
  if (s == LCT_OK) print_line("prefill", &r, (int)repeats, (double)prompts * (double)tokens);
  if (s == LCT_OK && decode > 0) {
    s = lct_bench_decode(&o, &r, &err);
    if (s == LCT_OK) print_line("decode", &r, (int)repeats, (double)decode);
  }
  free(seconds);
  return s == LCT_OK ? EXIT_DONE : cli_fail(s, &err);
}
