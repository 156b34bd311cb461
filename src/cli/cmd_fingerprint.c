#include <stdio.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress.h"

enum { SHOWN_REJECTED = 10 };

typedef struct {
  lct_fingerprint_options o;
  long threads, pcs;
  int precision, n_rejected;
  bool quiet, json;
  progress progress;
} fingerprint_args;

static void show_rejected(void *ctx, const char *where, const char *why) {
  fingerprint_args *a = ctx;
  if (a->n_rejected++ >= SHOWN_REJECTED) return;
  progress_end(&a->progress);
  fprintf(stderr, "llmct-gpu: left out: %s: %s\n", where, why);
}

static void print_json(const lct_fingerprint_result *r, const fingerprint_args *a) {
  printf("{\"output\": ");
  cli_print_json_string(a->o.output);
  printf(", \"device\": \"%s\", \"device_name\": ", r->device.label);
  cli_print_json_string(r->device.name);
  printf(
      ", \"precision\": \"%s\", \"labels\": %d, \"prompts\": %lld, \"rejected\": %lld, \"neutral\": %lld, \"neutral_kept\": %lld, "
      "\"pcs\": %d, \"whiten\": %s, \"layers\": %d, \"hidden\": %d, \"tokens_computed\": %lld, \"tokens_naive\": %lld, "
      "\"utf8_replaced\": %zu, \"seconds_load\": %.4f, \"seconds_prompts\": %.4f, \"seconds_calibrate\": %.4f, \"seconds_total\": %.4f}\n",
      lct_precision_name(r->device.precision), r->n_labels, (long long)r->prompts, (long long)r->rejected, (long long)r->neutral,
      (long long)r->neutral_kept, r->n_pcs, a->o.whiten ? "true" : "false", r->n_layers, r->hidden, (long long)r->tokens_computed,
      (long long)r->tokens_naive, r->utf8_replaced, r->seconds.load, r->seconds.prompts, r->seconds.calibrate, r->seconds.total);
}

static void print_summary(const lct_fingerprint_result *r, const fingerprint_args *a) {
  printf("fingerprints   %s\n", a->o.output);
  printf("device         %s (%s), %s\n", r->device.label, r->device.name, lct_precision_name(r->device.precision));
  printf("labels         %d, of %lld prompts; %d layers\n", r->n_labels, (long long)r->prompts, r->n_layers);
  if (r->neutral > 0) {
    printf("neutral bank   %lld prompts, %d principal components%s", (long long)r->neutral, r->n_pcs, a->o.whiten ? ", whitening" : "");
    if (r->neutral_kept < r->neutral) printf(" (of %lld of them)", (long long)r->neutral_kept);
    putchar('\n');
  }
  printf("tokens         %lld computed; one prompt at a time it would be %lld (%.1fx)\n", (long long)r->tokens_computed,
         (long long)r->tokens_naive, r->tokens_computed > 0 ? (double)r->tokens_naive / (double)r->tokens_computed : 0.0);
  printf("time           %.2f s: load %.2f, prompts %.2f, calibrate and write %.2f\n", r->seconds.total, r->seconds.load,
         r->seconds.prompts, r->seconds.calibrate);
  if (r->rejected > 0) printf("warning        %lld lines were left out\n", (long long)r->rejected);
  if (r->utf8_replaced > 0) printf("warning        %zu invalid UTF-8 sequences were replaced\n", r->utf8_replaced);
}

static int run(fingerprint_args *a) {
  a->progress = progress_new(a->quiet || a->json);
  a->o.model.threads = (int)a->threads;
  a->o.pcs = (int)a->pcs;
  a->o.model.precision = (lct_precision)a->precision;
  a->o.rejected = show_rejected;
  a->o.rejected_ctx = a;
  a->o.progress = progress_show;
  a->o.progress_ctx = &a->progress;
  a->o.cancel = cli_cancel_flag();
  lct_fingerprint_result r;
  lct_error err = {0};
  lct_status status = lct_fingerprint(&a->o, &r, &err);
  progress_end(&a->progress);
  if (a->n_rejected > SHOWN_REJECTED) fprintf(stderr, "llmct-gpu: left out: %d more\n", a->n_rejected - SHOWN_REJECTED);
  if (status != LCT_OK) return cli_fail(status, &err);
  if (a->json) print_json(&r, a);
  else if (!a->quiet) print_summary(&r, a);
  return r.rejected > 0 ? EXIT_SOME_FAILED : EXIT_DONE;
}

int cli_fingerprint(int argc, char **argv) {
  fingerprint_args a = {.pcs = -1};
  const arg_option options[] = {
      {"--model", "-m", ARG_STRING, &a.o.model.id, "MODEL", "folder, .gguf file or Hub id (default: the scenario's model.id)"},
      {"--output", "-o", ARG_STRING, &a.o.output, "FILE", "the .safetensors file to write"},
      {"--poolings", NULL, ARG_STRING, &a.o.poolings, "LIST", "default last,content_last,content_mean; also message:ROLE, range:FROM:TO"},
      {"--sources", NULL, ARG_STRING, &a.o.sources, "LIST", "default hidden_out; also hidden_in, attn_out, mlp_down_out"},
      {"--neutral", NULL, ARG_STRING, &a.o.neutral, "FILE", "conversations of a neutral bank, which calibrates scores (JSONL)"},
      {"--neutral-label", NULL, ARG_STRING, &a.o.neutral_label, "NAME",
       "the bank is what has this label in that file, or without one in REFERENCES"},
      {"--pcs", NULL, ARG_INT, &a.pcs, "K", "principal components of the bank, for the metric projection (default 8)"},
      {"--whiten", NULL, ARG_FLAG, &a.o.whiten, NULL, "whitening matrices, for the metric whitened: layers x hidden x hidden values"},
      CLI_RUN_OPTIONS(a),
      {0}};
  const arg_spec spec = {"fingerprint",
                         "REFERENCES -m MODEL -o FILE.safetensors [options]",
                         "Makes the vectors that a sweep scores against, one a label: the mean over its prompts. REFERENCES is a scenario\n"
                         "(.yaml: its reference_states) or labelled conversations (JSONL, plain or .zst): each is a prompt up to its last\n"
                         "labelled message.",
                         options,
                         1,
                         1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  a.o.references = args[0];
  return run(&a);
}
