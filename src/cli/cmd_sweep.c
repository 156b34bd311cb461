#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress_sweep.h"

typedef struct {
  lct_sweep_options o;
  const char *memory;
  long threads, max_tokens, shard_rows;
  int precision, keep, store_dtype, derive, too_long, sync;
  bool quiet, json;
} sweep_args;

static const char *const keeps[] = {"scores", "pooled", "tokens", "nothing"};

/* "512M", "4G", "1000000". */
static bool parse_size(const char *text, int64_t *out) {
  char *end = NULL;
  errno = 0;
  double v = strtod(text, &end);
  int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
  if (end == text || errno != 0 || v < 0 || v > 1e15 || end[shift > 0] != '\0') return false;
  *out = (int64_t)(v * (double)(INT64_C(1) << shift));
  return true;
}

static void print_json(const lct_sweep_result *r, const sweep_args *a, const char *state) {
  printf("{\"state\": \"%s\", \"output\": ", state);
  cli_print_json_string(a->o.output != NULL ? a->o.output : "");
  printf(", \"device\": \"%s\", \"device_name\": ", r->device.label);
  cli_print_json_string(r->device.name);
  printf(
      ", \"precision\": \"%s\", \"keep\": \"%s\", \"conversations\": %lld, \"rejected\": %lld, \"truncated\": %lld, \"rows\": %lld, "
      "\"rows_resumed\": %lld, \"tokens_computed\": %lld, \"tokens_naive\": %lld, \"tokens_from_prefix\": %lld, \"tokens_stored\": %lld, "
      "\"batches\": %lld, \"batch_rows\": %d, \"raw_bytes\": %lld, \"stored_bytes\": %lld, \"saturated\": %zu, \"utf8_replaced\": %zu, "
      "\"batch_rows_failed\": %d, \"batch_rows_shrunk_to\": %d",
      lct_precision_name(r->device.precision), keeps[a->keep], (long long)r->conversations, (long long)r->rejected, (long long)r->truncated,
      (long long)r->rows, (long long)r->rows_resumed, (long long)r->tokens_computed, (long long)r->tokens_naive,
      (long long)r->tokens_from_prefix, (long long)r->tokens_stored, (long long)r->batches, r->batch_rows, (long long)r->raw_bytes,
      (long long)r->stored_bytes, r->saturated, r->utf8_replaced, r->batch_rows_failed, r->batch_rows_shrunk_to);
  printf(
      ", \"seconds_load\": %.4f, \"seconds_input\": %.4f, \"seconds_forward\": %.4f, \"seconds_gemm\": %.4f, \"seconds_sink\": %.4f, "
      "\"seconds_wait\": %.4f, \"seconds_finish\": %.4f, \"seconds_total\": %.4f}\n",
      r->seconds.load, r->seconds.input, r->seconds.forward, r->seconds.gemm, r->seconds.sink, r->seconds.wait, r->seconds.finish,
      r->seconds.total);
}

static void print_summary(const lct_sweep_result *r, const sweep_args *a) {
  double work = r->seconds.total - r->seconds.load;
  if (a->keep != LCT_KEEP_NOTHING) printf("sweep          %s\n", a->o.output);
  printf("device         %s (%s), %s\n", r->device.label, r->device.name, lct_precision_name(r->device.precision));
  printf("conversations  %lld, %lld snapshots", (long long)r->conversations, (long long)r->rows);
  if (r->rows_resumed > 0) printf(" (%lld stood already)", (long long)r->rows_resumed);
  if (r->rejected + r->truncated > 0)
    printf("; %lld rejected, %lld cut short: see errors.jsonl", (long long)r->rejected, (long long)r->truncated);
  printf("\ntokens         %lld computed in %lld batch%s", (long long)r->tokens_computed, (long long)r->batches,
         r->batches == 1 ? "" : "es");
  if (r->tokens_computed > 0) {
    printf("; one prompt at a time it would be %lld (%.1fx)", (long long)r->tokens_naive,
           (double)r->tokens_naive / (double)r->tokens_computed);
  }
  putchar('\n');
  printf("time           %.2f s: load %.2f, forward %.2f", r->seconds.total, r->seconds.load, r->seconds.forward);
  if (r->seconds.gemm > 0) printf(" (matrix products %.2f)", r->seconds.gemm);
  printf(", scores and store %.2f, finish %.2f; %.0f tokens/s\n", r->seconds.sink, r->seconds.finish,
         work > 0 ? (double)r->tokens_computed / work : 0.0);
  if (r->raw_bytes > 0) {
    printf("store          %.1f MB in %.1f MB (%.2fx)\n", (double)r->raw_bytes / 1e6, (double)r->stored_bytes / 1e6,
           (double)r->raw_bytes / (double)r->stored_bytes);
  }
  if (r->conversations + r->rejected == 0) printf("warning        there was no conversation in the input\n");
  if (r->saturated > 0) printf("warning        %zu values saturated in the stored type\n", r->saturated);
  if (r->utf8_replaced > 0) printf("warning        %zu invalid UTF-8 sequences were replaced\n", r->utf8_replaced);
}

static void print_complete(const lct_sweep_result *r, const sweep_args *a) {
  printf("%s is complete already: %lld conversations, %lld snapshots", a->o.output, (long long)r->conversations, (long long)r->rows);
  if (r->rejected + r->truncated > 0)
    printf("; %lld rejected, %lld cut short: see errors.jsonl", (long long)r->rejected, (long long)r->truncated);
  putchar('\n');
}

static int finish(const sweep_args *a, lct_status status, const lct_sweep_result *r, const lct_error *err) {
  const char *state = status == LCT_OK ? "done" : status == LCT_E_CANCELLED ? "interrupted" : "failed";
  if (!a->quiet && !a->json) cli_tell_out_of_memory(r->batch_rows_failed, r->batch_rows_shrunk_to);
  if (a->json) print_json(r, a, state);
  else if (!a->quiet && r->was_complete) print_complete(r, a);
  else if (!a->quiet && status == LCT_OK) print_summary(r, a);
  if (status != LCT_OK) {
    int code = cli_fail(status, err);
    if (r->rows > 0 && a->o.output != NULL)
      fprintf(stderr, "llmct-gpu: what was committed is in %s; --resume goes on from there\n", a->o.output);
    return code;
  }
  return r->rejected + r->truncated > 0 ? EXIT_SOME_FAILED : EXIT_DONE;
}

static int run(sweep_args *a, int n, const char **inputs) {
  if (a->memory != NULL && !parse_size(a->memory, &a->o.memory_bytes)) {
    fprintf(stderr, "llmct-gpu sweep: --memory wants a size such as 4G, not %s\ntry: llmct-gpu sweep --help\n", a->memory);
    return EXIT_USAGE;
  }
  progress_sweep p = progress_sweep_new(a->quiet || a->json);
  a->o.inputs = inputs;
  a->o.n_inputs = (size_t)n;
  a->o.model.threads = (int)a->threads;
  a->o.max_tokens = (int)a->max_tokens;
  a->o.shard_rows = (int)a->shard_rows;
  a->o.model.precision = (lct_precision)a->precision;
  a->o.keep = (lct_keep)a->keep;
  a->o.store_dtype = (lct_stored)a->store_dtype;
  a->o.derive_residual = a->derive == 1;
  a->o.too_long = (lct_long)a->too_long;
  a->o.sync = (lct_sweep_sync)a->sync;
  a->o.progress = progress_sweep_show;
  a->o.progress_ctx = &p;
  a->o.cancel = cli_cancel_flag();
  lct_sweep_result r;
  lct_error err = {0};
  lct_status status = lct_sweep(&a->o, &r, &err);
  progress_sweep_end(&p);
  return finish(a, status, &r, &err);
}

int cli_sweep(int argc, char **argv) {
  sweep_args a = {.keep = LCT_KEEP_POOLED};
  const arg_option options[] = {
      {"--model", "-m", ARG_STRING, &a.o.model.id, "MODEL", "folder, .gguf file or Hub id"},
      {"--output", "-o", ARG_STRING, &a.o.output, "DIR", "the sweep's directory"},
      {"--fingerprints", "-f", ARG_STRING, &a.o.fingerprints, "FILE", "score against these (llmct-gpu fingerprint makes them)"},
      {"--keep", NULL, ARG_CHOICE, &a.keep, "scores|pooled|tokens|nothing",
       "what to store (default pooled); nothing: the bare forward pass"},
      {"--sources", NULL, ARG_STRING, &a.o.sources, "LIST",
       "default hidden_out; hidden_in, attn_out, mlp_down_out, q, k, v, mlp_gate, ..."},
      {"--positions", NULL, ARG_STRING, &a.o.positions, "LIST", "default last,content_last,content_mean; also message:ROLE, range:FROM:TO"},
      {"--layers", NULL, ARG_STRING, &a.o.layers, "LIST", "such as 0-11,23 (default: all)"},
      {"--metrics", NULL, ARG_STRING, &a.o.metrics, "LIST",
       "default cosine,mae,jaccard; also centered, standardized, whitened, z, projection, contrast:cosine, ..."},
      {"--store-dtype", NULL, ARG_CHOICE, &a.store_dtype, "f16|bf16|f32|int8",
       "type of stored vectors (default f16); sweep.json states its error"},
      {"--derive", NULL, ARG_CHOICE, &a.derive, "none|residual",
       "residual: store what adds up to it; hidden_in, hidden_out follow bit for bit"},
      {"--long", NULL, ARG_CHOICE, &a.too_long, "skip|truncate", "conversations that are too long (default skip)"},
      {"--max-tokens", NULL, ARG_INT, &a.max_tokens, "N", "longest prompt (default: the model's context)"},
      {"--memory", NULL, ARG_STRING, &a.memory, "SIZE", "for a batch, its keys and vectors, such as 4G (default: from what is free)"},
      {"--shard-rows", NULL, ARG_INT, &a.shard_rows, "N", "snapshots a shard (default: shards of about 128 MB)"},
      {"--fsync", NULL, ARG_CHOICE, &a.sync, "shard|end|off", "when data must be on the disk (default shard)"},
      {"--metrics-file", NULL, ARG_STRING, &a.o.metrics_file, "FILE", "Prometheus text, rewritten once a second"},
      {"--resume", NULL, ARG_FLAG, &a.o.resume, NULL, "go on with the sweep in DIR"},
      CLI_RUN_OPTIONS(a),
      {0}};
  const arg_spec spec = {
      "sweep",
      "CONVERSATIONS.jsonl... -m MODEL -o DIR [options]",
      "Scans many conversations: every snapshot of every one is scored and stored. JSONL, plain or .zst; - is standard input.\n"
      "A sweep that was interrupted goes on with --resume.",
      options,
      1,
      argc > 0 ? argc : 1};
  const char **inputs = calloc((size_t)argc + 2, sizeof *inputs);
  if (inputs == NULL) return EXIT_FAILED;
  int n = args_parse(&spec, argc, argv, inputs);
  int code = n < 0 ? (n == -2 ? EXIT_DONE : EXIT_USAGE) : run(&a, n, inputs);
  free(inputs);
  return code;
}
