/* llmct-gpu: the public C API of libllmct.
 *
 * Conventions
 *  - Fallible functions return lct_status and take an `lct_error *err` last; on failure *err holds one message:
 *    what failed, expected, actual, where. `err` may be NULL.
 *  - Who creates destroys: every `lct_X_open/new` has an `lct_X_free`, which accepts NULL.
 *  - Strings are UTF-8, NUL-terminated unless a length is given. Parameters are borrowed.
 *  - The library never prints and never exits; it reports through lct_error and the callbacks below.
 *  - Handles may be used from one thread at a time; different handles are independent.
 */
#ifndef LLMCT_LLMCT_H
#define LLMCT_LLMCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LCT_API __attribute__((visibility("default")))
#define LCT_CHECKED __attribute__((warn_unused_result))
#define LCT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LCT_API
#define LCT_CHECKED
#define LCT_PRINTF(fmt, args)
#endif

#define LCT_VERSION "0.1.0"

typedef enum {
  LCT_OK = 0,
  LCT_E_USAGE,       /* the caller asked for something that makes no sense */
  LCT_E_IO,          /* the operating system said no: missing file, full disk, permissions */
  LCT_E_FORMAT,      /* a file or a text is not what it claims to be */
  LCT_E_UNSUPPORTED, /* well-formed, but nothing here can handle it */
  LCT_E_NOMEM,       /* memory could not be had */
  LCT_E_LIMIT,       /* a stated limit is exceeded: context length, nesting, size */
  LCT_E_NUMERIC,     /* NaN or Inf where a number must be */
  LCT_E_CANCELLED,   /* the caller's cancel flag was set */
  LCT_E_DEVICE,      /* the GPU failed; its engine cannot be used any more */
  LCT_E_INTERNAL     /* a library below us failed in a way that should not happen */
} lct_status;

typedef struct {
  lct_status code;
  char message[2048];
} lct_error;

/* "0.1.0 (oneDNN 2.6.3, no CUDA)": static storage. */
LCT_API const char *lct_version(void);

/* One message of a conversation. content may hold any bytes; invalid UTF-8 is replaced before use. */
typedef struct {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
  size_t content_len;
} lct_message;

/* exact: float32 throughout, relative error per tap <= 1e-5 against transformers in float32; the CPU's default, and only there.
 * fast: 16-bit GEMM inputs, f32 sums: bf16 on the CPU, f16 on a GPU, whose default it is. f16, bf16: that type, where it is had. */
typedef enum {
  LCT_PRECISION_AUTO,
  LCT_PRECISION_EXACT,
  LCT_PRECISION_FAST,
  LCT_PRECISION_F16,
  LCT_PRECISION_BF16
} lct_precision;

/* What a scan leaves on disk. scores: scores.json, scores.csv. pooled: also one vector per snapshot, source and layer.
 * tokens: every tensor the scenario's `capture` asks for, for every token. */
typedef enum { LCT_KEEP_SCORES, LCT_KEEP_POOLED, LCT_KEEP_TOKENS } lct_keep;

typedef struct {
  const char *phase;   /* "load", "prefill", "decode", "reply", "write" */
  int64_t done, total; /* work of the phase: tokens x layers for prefill and reply, tokens for decode, files for write */
  int64_t tokens;      /* tokens the whole phase runs through the model; 0 where it runs none */
} lct_progress;

typedef struct {
  const char *scenario;      /* path of the YAML file */
  const char *model;         /* folder, .gguf file or Hub id; NULL: the scenario's model.id */
  const char *output;        /* NULL: the scenario's output.dir */
  const char *chat_template; /* name of a known template; NULL: recognised from the model */
  bool no_thinking;          /* Qwen3: enable_thinking=False */
  lct_precision precision;
  lct_keep keep;
  int threads;               /* 0: all */
  void (*progress)(void *ctx, const lct_progress *p); /* may be NULL; called from the calling thread */
  void *progress_ctx;
  const volatile int *cancel; /* may be NULL; non-zero stops the scan at the next layer */
} lct_scan_options;

typedef struct {
  char run_dir[4096];
  int n_prompts, n_snapshots, n_references, n_layers;
  int64_t tokens_computed, tokens_prefix_by_prefix, tokens_generated;
  double seconds_load, seconds_prefill, seconds_decode, seconds_write, seconds_total;
  int64_t tensor_bytes;      /* bytes of tensors written */
  int64_t tensor_bytes_full; /* about what LCT_KEEP_TOKENS writes for this scenario: prompts and references, not the reply */
  size_t saturated;          /* values that became Inf in the stored type */
  size_t utf8_replaced;      /* invalid UTF-8 sequences replaced in the scenario */
} lct_scan_result;

/* Texts returned through char ** are the caller's: release them with lct_text_free. */
LCT_API void lct_text_free(char *text);

/* Runs one scenario file. LCT_E_CANCELLED leaves a valid partial run (scan.json: "state": "partial"), named by result->run_dir; any
 * other failure after the directory was made leaves it with state "running" or "failed", never "done". */
LCT_API lct_status lct_scan(const lct_scan_options *o, lct_scan_result *result, lct_error *err) LCT_CHECKED;

/* What a model is: configuration, parameters, bytes per part, chat template and hashes; as text or as one JSON object. `check` also
 * reads every weight and fails on NaN or Inf. */
LCT_API lct_status lct_inspect(const char *model, bool json, bool check, char **text, lct_error *err) LCT_CHECKED;

/* Writes a Hugging Face folder with random weights of a real model's exact shape. */
typedef struct {
  const char *like;      /* a known name (see lct_synth_names) or the path of a config.json */
  uint64_t seed;
  const char *dtype;     /* "bfloat16" (NULL), "float16", "float32" */
  const char *tokenizer; /* folder whose tokenizer files are copied; NULL: a small byte-level one with the ChatML tokens */
  const char *dir;       /* created; must not already hold a model */
} lct_synth_options;
LCT_API lct_status lct_synth(const lct_synth_options *o, lct_error *err) LCT_CHECKED;
LCT_API const char *const *lct_synth_names(void); /* NULL-terminated */

/* Writes RUN_DIR/report.html and returns its path. */
LCT_API lct_status lct_report(const char *run_dir, char **path, lct_error *err) LCT_CHECKED;
/* The main table and the findings' numbers as plain text, at most `width` columns wide. */
LCT_API lct_status lct_report_table(const char *run_dir, int width, char **text, lct_error *err) LCT_CHECKED;
/* The run's numbers beside published ones (where_emotions_lie.published.json's form). */
LCT_API lct_status lct_report_compare(const char *run_dir, const char *published, char **text, lct_error *err) LCT_CHECKED;

/* Tokens of a text by a model's tokenizer, one line each: id, byte range, text. add_special: apply the post-processor. */
LCT_API lct_status lct_tokenize(const char *model, const char *text, size_t len, bool add_special, char **out, lct_error *err) LCT_CHECKED;

/* Measures: runs n_prompts different random prompts of n_tokens tokens each through the model, last-token logits of each included,
 * once to warm up and `repeats` times for the clock; seconds[repeats] is the caller's. */
LCT_API lct_status lct_bench_prefill(const char *model, lct_precision precision, int threads, int n_prompts, int n_tokens, int repeats,
                                     double *seconds, lct_error *err) LCT_CHECKED;
/* As lct_bench_prefill, for n_tokens decode steps of one sequence after a prompt of n_prompt tokens. */
LCT_API lct_status lct_bench_decode(const char *model, lct_precision precision, int threads, int n_prompt, int n_tokens, int repeats,
                                    double *seconds, lct_error *err) LCT_CHECKED;

#ifdef __cplusplus
}
#endif
#endif
