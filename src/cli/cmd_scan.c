#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress.h"

typedef struct {
  lct_scan_options scan;
  long threads;
  int precision, keep;
  bool quiet, json, no_report;
} scan_args;

static void print_json(const lct_scan_result *r, const char *state, const char *report) {
  printf("{\"state\": \"%s\", \"run_dir\": ", state);
  cli_print_json_string(r->run_dir);
  printf(", \"report\": ");
  if (report != NULL) cli_print_json_string(report);
  else printf("null");
  printf(", \"device\": \"%s\", \"device_name\": ", r->device.label);
  cli_print_json_string(r->device.name);
  printf(
      ", \"precision\": \"%s\", \"prompts\": %d, \"snapshots\": %d, \"references\": %d, \"layers\": %d, \"tokens_computed\": %lld, "
      "\"tokens_prefix_by_prefix\": %lld, \"tokens_generated\": %lld, \"seconds_load\": %.4f, \"seconds_prefill\": %.4f, "
      "\"seconds_decode\": %.4f, \"seconds_write\": %.4f, \"seconds_total\": %.4f, \"tensor_bytes\": %lld, \"saturated\": %zu, "
      "\"utf8_replaced\": %zu",
      lct_precision_name(r->device.precision), r->n_prompts, r->n_snapshots, r->n_references, r->n_layers, (long long)r->tokens_computed,
      (long long)r->tokens_prefix_by_prefix, (long long)r->tokens_generated, r->seconds.load, r->seconds.prefill, r->seconds.decode,
      r->seconds.write, r->seconds.total, (long long)r->tensor_bytes, r->saturated, r->utf8_replaced);
  printf(
      ", \"weights_overflow\": %lld, \"weights_underflow\": %lld, \"weights_nonfinite\": %lld, \"batch_rows_failed\": %d, "
      "\"batch_rows_shrunk_to\": %d}\n",
      (long long)r->weights_overflow, (long long)r->weights_underflow, (long long)r->weights_nonfinite, r->batch_rows_failed,
      r->batch_rows_shrunk_to);
}

static const char *weights(int64_t n) { return n == 1 ? "weight" : "weights"; }

static void print_warnings(const lct_scan_result *r) {
  long long over = r->weights_overflow, under = r->weights_underflow, nonfinite = r->weights_nonfinite;
  const char *type = lct_precision_name(r->device.precision);
  if (over > 0) {
    printf("warning        %lld %s became Inf in %s%s\n", over, weights(over), type,
           r->device.precision == LCT_PRECISION_F16 ? ": use --precision bf16" : "");
  }
  if (under > 0) printf("warning        %lld %s too small for %s became zero\n", under, weights(under), type);
  if (nonfinite > 0) {
    printf("warning        %lld %s %s NaN or Inf in the model's files\n", nonfinite, weights(nonfinite), nonfinite == 1 ? "is" : "are");
  }
  if (r->saturated > 0) printf("warning        %zu values saturated in the stored type\n", r->saturated);
  if (r->utf8_replaced > 0) printf("warning        %zu invalid UTF-8 sequences in the scenario were replaced\n", r->utf8_replaced);
}

static void print_summary(const lct_scan_result *r, int keep, const char *report) {
  printf("run            %s\n", r->run_dir);
  if (report != NULL) printf("report         %s\n", report);
  printf("device         %s (%s), %s\n", r->device.label, r->device.name, lct_precision_name(r->device.precision));
  printf("captured       %d snapshot%s, %d reference%s, %d layers\n", r->n_snapshots, r->n_snapshots == 1 ? "" : "s", r->n_references,
         r->n_references == 1 ? "" : "s", r->n_layers);
  printf("tokens         %lld computed; prefix by prefix it would be %lld (%.1fx)\n", (long long)r->tokens_computed,
         (long long)r->tokens_prefix_by_prefix,
         r->tokens_computed > 0 ? (double)r->tokens_prefix_by_prefix / (double)r->tokens_computed : 0.0);
  printf("time           %.2f s: load %.2f, prefill %.2f, decode %.2f (%lld tokens), write %.2f\n", r->seconds.total, r->seconds.load,
         r->seconds.prefill, r->seconds.decode, (long long)r->tokens_generated, r->seconds.write);
  printf("tensors        %.1f MB written", (double)r->tensor_bytes / 1e6);
  if (keep != LCT_KEEP_TOKENS) printf("; --keep tokens writes every token's, about %.1f GB", (double)r->tensor_bytes_full / 1e9);
  putchar('\n');
  print_warnings(r);
}

/* What there is to show: all of a run that is done, what was complete of one that was interrupted or failed. */
static int show(const scan_args *a, lct_status status, const char *state, const lct_scan_result *r) {
  char *report = NULL, *table = NULL;
  lct_error err;
  lct_status made = a->no_report ? LCT_OK : lct_report(r->run_dir, &report, &err);
  if (made != LCT_OK && status == LCT_OK) return cli_fail(LCT_E_INTERNAL, &err);
  if (a->json) {
    print_json(r, state, report);
  } else if (!a->quiet) {
    if (status == LCT_OK && lct_report_table(r->run_dir, 100, &table, &err) == LCT_OK) printf("%s\n", table);
    print_summary(r, a->keep, report);
  }
  lct_text_free(report);
  lct_text_free(table);
  return EXIT_DONE;
}

static int finish(const scan_args *a, lct_status status, const lct_scan_result *r, const lct_error *err) {
  const char *state = status == LCT_OK ? "done" : status == LCT_E_CANCELLED ? "partial" : "failed";
  if (!a->quiet && !a->json) cli_tell_out_of_memory(r->batch_rows_failed, r->batch_rows_shrunk_to);
  int code = r->written ? show(a, status, state, r) : EXIT_DONE;
  if (status == LCT_OK) return code;
  code = cli_fail(status, err);
  if (r->written) fprintf(stderr, "llmct-gpu: what was captured is in %s, marked as %s\n", r->run_dir, state);
  return code;
}

int cli_scan(int argc, char **argv) {
  scan_args a = {.keep = LCT_KEEP_POOLED};
  const arg_option options[] = {
      {"--model", "-m", ARG_STRING, &a.scan.model.id, "MODEL", "folder, .gguf file or Hub id (default: the scenario's model.id)"},
      {"--output", "-o", ARG_STRING, &a.scan.output, "DIR", "parent of the run directory (default: the scenario's output.dir)"},
      {"--keep", NULL, ARG_CHOICE, &a.keep, "scores|pooled|tokens", "what to store (default pooled; tokens: whole tensors as .npz)"},
      {"--fingerprints", "-f", ARG_STRING, &a.scan.fingerprints, "FILE",
       "score against these, too (llmct-gpu fingerprint makes them): fingerprint_scores.json, .csv"},
      {"--metrics", NULL, ARG_STRING, &a.scan.metrics, "LIST",
       "of --fingerprints: default cosine,mae,jaccard; also centered, standardized, ..."},
      {"--device", "-d", ARG_STRING, &a.scan.model.device, CLI_DEVICE_WHAT, CLI_DEVICE_HELP},
      {"--precision", NULL, ARG_CHOICE, &a.precision, CLI_PRECISION_WHAT, CLI_PRECISION_HELP},
      {"--chat-template", NULL, ARG_STRING, &a.scan.model.chat_template, "NAME",
       "instead of the recognised one: chatml, qwen2, qwen2.5, qwen3, smollm2, llama3, ..."},
      {"--no-thinking", NULL, ARG_FLAG, &a.scan.model.no_thinking, NULL, "Qwen3: render with enable_thinking=False"},
      {"--threads", "-t", ARG_INT, &a.threads, "N", "threads of the CPU (default: all)"},
      {"--no-report", NULL, ARG_FLAG, &a.no_report, NULL, "do not write report.html"},
      {"--quiet", "-q", ARG_FLAG, &a.quiet, NULL, "print errors only"},
      {"--json", NULL, ARG_FLAG, &a.json, NULL, "print the summary as one JSON object"},
      {0}};
  const arg_spec spec = {"scan",
                         "SCENARIO.yaml [options]",
                         "Runs every prefix of the scenario's conversation and its references through the model, once a distinct token,\n"
                         "and scores every layer of every snapshot against every reference.",
                         options,
                         1,
                         1};
  const char *args[2] = {NULL};
  int n = args_parse(&spec, argc, argv, args);
  if (n < 0) return n == -2 ? EXIT_DONE : EXIT_USAGE;
  progress p = progress_new(a.quiet || a.json);
  a.scan.scenario = args[0];
  a.scan.model.threads = (int)a.threads;
  a.scan.model.precision = (lct_precision)a.precision;
  a.scan.keep = (lct_keep)a.keep;
  a.scan.progress = progress_show;
  a.scan.progress_ctx = &p;
  a.scan.cancel = cli_cancel_flag();
  lct_scan_result r;
  lct_error err = {0};
  lct_status status = lct_scan(&a.scan, &r, &err);
  progress_end(&p);
  return finish(&a, status, &r, &err);
}
