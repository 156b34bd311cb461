/* llmct-gpu: the public C API of libllmct.
 *
 * Conventions
 *  - Fallible functions return lct_status and take an `lct_error *err` last; on failure *err holds one message:
 *    what failed, expected, actual, where. `err` may be NULL.
 *  - Who creates destroys: every `lct_X_open/new` has an `lct_X_free`, which accepts NULL.
 *  - Strings are UTF-8, NUL-terminated unless a length is given. Parameters are borrowed.
 *  - The library never prints and never exits; it reports through lct_error and the callbacks below.
 *  - Handles may be used from one thread at a time; different handles are independent. What is said to be only read may be shared.
 *  - A call leaves the process as it found it: OpenMP's number of threads, folder, locale, signals.
 */
#ifndef LLMCT_LLMCT_H
#define LLMCT_LLMCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "llmct/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LCT_VERSION "0.1.0"

/* "0.1.0 (oneDNN 2.6.3, no CUDA)" or "... CUDA 13.0)": valid in the calling thread until it ends. */
LCT_API const char *lct_version(void);

/* One message of a conversation. content may hold any bytes; invalid UTF-8 is replaced before use. */
typedef struct {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
  size_t content_len;
} lct_message;

/* What the model's matrices are multiplied in; sums and the residual stream are float32 everywhere.
 * CPU: exact = float32 throughout, relative error per tap <= 1e-5 against transformers in float32; fast = bf16 inputs, bf16 is another
 * name for it; auto = exact. GPU: f16 or bf16 inputs; auto and fast = f16. The rest is LCT_E_UNSUPPORTED. */
typedef enum { LCT_PRECISION_AUTO = 0, LCT_PRECISION_EXACT, LCT_PRECISION_FAST, LCT_PRECISION_F16, LCT_PRECISION_BF16 } lct_precision;
LCT_API const char *lct_precision_name(lct_precision p); /* "auto", "exact", "fast", "f16", "bf16" */

/* Devices are named "auto" (the first GPU this build can use, else the CPU), "cpu", "cuda" (cuda:0) and "cuda:N". Where a device is
 * NULL, the environment variable LCT_DEVICE names it, else it is "auto". */

/* A model, and what it runs on. */
typedef struct {
  const char *id;            /* folder, .gguf file or Hub id */
  const char *gguf_file;     /* of a Hub id's folder; NULL: the only one */
  const char *chat_template; /* name of a known template; NULL: recognised from the model */
  bool no_thinking;          /* Qwen3: enable_thinking=False */
  const char *device;        /* "auto", "cpu", "cuda:N"; NULL: see above */
  lct_precision precision;
  int threads; /* of the CPU; 0: all */
} lct_model_options;

/* What a model ran on. */
typedef struct {
  char label[24]; /* "cpu", "cuda:0" */
  char name[256]; /* what it is */
  lct_precision precision;
} lct_device_used;

/* What there is to compute on, and what "auto" would use; as text or as one JSON object. */
LCT_API lct_status lct_devices(bool json, char **text, lct_error *err) LCT_CHECKED;

/* What a scan leaves on disk. scores: scores.json, scores.csv. pooled: also one vector per snapshot, source and layer.
 * tokens: every tensor the scenario's `capture` asks for, for every token. */
typedef enum {
  LCT_KEEP_SCORES,
  LCT_KEEP_POOLED,
  LCT_KEEP_TOKENS,
  LCT_KEEP_NOTHING /* of a sweep: the bare forward pass, to measure it */
} lct_keep;

typedef struct {
  const char *phase;   /* "load", "prefill", "decode", "reply", "write" */
  int64_t done, total; /* work of the phase: tokens x layers for prefill and reply, tokens for decode, files for write */
  int64_t tokens;      /* tokens the whole phase runs through the model; 0 where it runs none */
} lct_progress;

typedef struct {
  lct_model_options model; /* id NULL: the scenario's model */
  const char *scenario;    /* path of the YAML file */
  const char *output;      /* NULL: the scenario's output.dir */
  lct_keep keep;
  const char *fingerprints; /* .safetensors of this model and template: every snapshot is scored against them, too; NULL: none */
  const char *metrics;      /* list with commas of those scores, as lct_sweep_options; NULL: cosine,mae,jaccard. Needs fingerprints */
  void (*progress)(void *ctx, const lct_progress *p); /* may be NULL; called from the calling thread */
  void *progress_ctx;
  const volatile int *cancel; /* may be NULL; non-zero stops the scan at the next layer */
} lct_scan_options;

typedef struct {
  double load, prefill, decode, write, total;
} lct_scan_seconds;

typedef struct {
  char run_dir[4096];
  bool written; /* all that was complete is in run_dir: after LCT_OK and LCT_E_CANCELLED, and after most other failures */
  lct_device_used device;
  int n_prompts, n_snapshots, n_references, n_layers;
  int64_t tokens_computed, tokens_prefix_by_prefix, tokens_generated;
  lct_scan_seconds seconds;
  int64_t tensor_bytes;      /* bytes of tensors written */
  int64_t tensor_bytes_full; /* about what LCT_KEEP_TOKENS writes for this scenario: prompts and references, not the reply */
  size_t saturated;          /* values that became Inf in the stored type */
  /* of the weights, on their way to the device's type: became Inf, became zero, were not finite in the file */
  int64_t weights_overflow, weights_underflow, weights_nonfinite;
  /* a GPU ran out of memory once: tokens of the batch that did not fit, and at most how many the later ones have; 0: it did not */
  int32_t batch_rows_failed, batch_rows_shrunk_to;
  size_t utf8_replaced; /* invalid UTF-8 sequences replaced in the scenario */
} lct_scan_result;

/* A sweep: many conversations, one store. What is kept: scores; pooled: also the vectors of every snapshot; tokens: also those of every
 * token (or of those that positions select). */
typedef enum { LCT_LONG_SKIP, LCT_LONG_TRUNCATE } lct_long;
typedef enum { LCT_STORED_F16, LCT_STORED_BF16, LCT_STORED_F32, LCT_STORED_INT8 } lct_stored;
typedef enum { LCT_SYNC_SHARD, LCT_SYNC_END, LCT_SYNC_OFF } lct_sweep_sync;

/* Where a sweep stands. Sums are since the beginning of the store (a resumed sweep goes on counting), seconds and rates of this process. */
typedef struct {
  const char *phase;                     /* "load", "references", "skip" (a resumed sweep passes over what is done), "sweep", "finish" */
  int64_t conversations, rejected, rows; /* done; that could not be; snapshot rows captured */
  int64_t tokens_computed, tokens_naive; /* run through the model; that every prefix on its own would have cost */
  int64_t bytes_read, bytes_total;       /* of the input (compressed, where so), up to the last conversation done; 0: not known */
  int64_t raw_bytes, stored_bytes;       /* of arrays given to the store; of them compressed and written */
  int slots_taken, n_slots;              /* of the ring between the forward pass and the store's writers */
  double seconds;                        /* since the start */
  double seconds_input;                  /* reading, tokenising and planning, on their own threads */
  double seconds_forward, seconds_gemm;  /* the forward pass with capture and scores; the matrix products in it */
  double seconds_capture;                /* of the forward pass: taps, pooling and scores */
  double seconds_wait;                   /* of the calling thread, for input or for a slot of the ring */
  double seconds_store;                  /* compressing and writing, summed over the writers' threads */
  /* over the last quarter of a minute; 0 where not known */
  double tokens_per_second, raw_bytes_per_second, stored_bytes_per_second;
  double seconds_left; /* by the share of the input done in this phase; negative: not known */
} lct_sweep_progress;

typedef struct {
  lct_model_options model;
  const char *const *inputs; /* (n_inputs) paths of JSONL files, plain or .zst; "-" is standard input */
  size_t n_inputs;
  const char *fingerprints; /* .safetensors; NULL: nothing is scored */
  const char *output;       /* the sweep's directory; unused with LCT_KEEP_NOTHING */
  lct_keep keep;
  /* Lists with commas; NULL: the default. sources: hidden_out. positions: last,content_last,content_mean; also message:ROLE (all text of
   * that role so far) and range:FROM:TO (positions of the prompt, as Python's slices): the mean over them as a vector, or, of --keep tokens,
   * the tokens that are stored. layers: "0-11,23", all. metrics: cosine,mae,jaccard; also centered,standardized,
   * whitened,z,projection, and contrast:METRIC of all but mae and jaccard. */
  const char *sources, *positions, *layers, *metrics;
  lct_stored store_dtype;
  bool derive_residual; /* stores embeddings, attn_out and mlp_down_out, from which the residual stream follows bit for bit */
  lct_long too_long;    /* of conversations beyond max_tokens or the model's context */
  int max_tokens;       /* 0: the model's context */
  int64_t memory_bytes; /* for batches, keys and slots; 0: from what is free */
  int shard_rows;       /* snapshots a shard; 0: by size */
  lct_sweep_sync sync;
  const char *metrics_file; /* Prometheus text, rewritten once a second; NULL: none */
  bool resume;
  void (*progress)(void *ctx, const lct_sweep_progress *p); /* may be NULL; called from the calling thread */
  void *progress_ctx;
  const volatile int *cancel; /* may be NULL; non-zero stops the sweep at the next layer */
} lct_sweep_options;

typedef struct {
  double load, input, forward, gemm, sink, wait, finish, total;
} lct_sweep_seconds;

typedef struct {
  lct_device_used device;
  int64_t conversations, rejected, truncated, rows, rows_resumed;           /* resumed: rows that stood in the store already */
  int64_t tokens_computed, tokens_naive, tokens_stored, tokens_from_prefix; /* from_prefix: whose keys were kept from an earlier batch */
  int64_t batches;
  int64_t raw_bytes, stored_bytes;
  size_t saturated, utf8_replaced;
  lct_sweep_seconds seconds;
  int32_t batch_rows; /* tokens a batch may have */
  /* a GPU ran out of memory once: tokens of the batch that did not fit, and at most how many the later ones have; 0: it did not */
  int32_t batch_rows_failed, batch_rows_shrunk_to;
  bool complete;     /* the store is whole */
  bool was_complete; /* it was so before: nothing was done; counts are those of the sweep that made it, times are 0 */
} lct_sweep_result;

/* LCT_E_CANCELLED leaves a store that `resume` goes on with, and so does every other failure after the directory was made. Conversations that
 * could not be scanned are counted in result->rejected and listed in errors.jsonl; they are no failure. */
LCT_API lct_status lct_sweep(const lct_sweep_options *o, lct_sweep_result *result, lct_error *err) LCT_CHECKED;

/* Fingerprints: the mean vector of each label's prompts, what a sweep scores against. */
typedef struct {
  lct_model_options model;   /* id NULL: the scenario's model */
  const char *references;    /* a scenario (.yaml, .yml: its reference_states), or labelled conversations: JSONL, plain or .zst, "-" */
  const char *neutral;       /* JSONL of the neutral bank, which calibrates scores; NULL: none, or the one of neutral_label */
  const char *neutral_label; /* prompts of this label are the bank: those of `neutral`, or, without it, of `references` (no label then) */
  const char *output;        /* .safetensors; replaced when all is well */
  const char *poolings;      /* list with commas; NULL: last,content_last,content_mean */
  const char *sources;       /* of hidden_in, hidden_out, attn_out, mlp_down_out; NULL: hidden_out */
  int pcs;                   /* principal components of the bank, for the metric `projection`; -1: 8 */
  bool whiten;               /* whitening matrices, for the metric `whitened` */
  void (*rejected)(void *ctx, const char *where, const char *why); /* a line that was left out; may be NULL */
  void *rejected_ctx;
  void (*progress)(void *ctx, const lct_progress *p); /* "load"; "prompts", "neutral" (bytes of the input); "calibrate" */
  void *progress_ctx;
  const volatile int *cancel;
} lct_fingerprint_options;

typedef struct {
  double load, prompts, calibrate, total;
} lct_fingerprint_seconds;

typedef struct {
  lct_device_used device;
  int n_labels, n_layers, hidden, n_pcs;
  int64_t prompts, neutral, neutral_kept; /* of labels; of the bank, and those of them that components, whitening and z are made of */
  int64_t rejected;
  int64_t tokens_computed, tokens_naive;
  size_t utf8_replaced;
  lct_fingerprint_seconds seconds;
} lct_fingerprint_result;

/* A conversation's prompt is all of it up to its last labelled message; without labels on messages a "label" beside them counts, and the
 * whole conversation is the prompt. In a neutral file without neutral_label labels do not matter and every conversation is taken whole. */
LCT_API lct_status lct_fingerprint(const lct_fingerprint_options *o, lct_fingerprint_result *result, lct_error *err) LCT_CHECKED;

/* --- An instrument: a model opened once, its state read in memory. docs/api.md shows a whole program. --- */

/* A model opened once: weights, tokenizer, chat template, device. It is only read, so that observers in several threads may share it. */
typedef struct lct_subject lct_subject;
LCT_API lct_status lct_model_open(const lct_model_options *o, lct_subject **out, lct_error *err) LCT_CHECKED;
LCT_API void lct_model_free(lct_subject *model);
LCT_API void lct_model_device(const lct_subject *model, lct_device_used *out);

/* A file of fingerprints in memory, only read from then on. Every name, shape and list is checked; a vector with NaN or Inf is LCT_E_NUMERIC. */
typedef struct lct_fingerprints lct_fingerprints;
LCT_API lct_status lct_fingerprints_open(const char *path, lct_fingerprints **out, lct_error *err) LCT_CHECKED;
LCT_API void lct_fingerprints_free(lct_fingerprints *f);

/* What is looked at. Lists with commas, the words of lct_sweep_options; NULL: its defaults. */
typedef struct {
  const char *positions, *sources, *layers, *metrics;
  int64_t memory_bytes;       /* for batches, keys and vectors; 0: from what is free */
  const volatile int *cancel; /* may be NULL; non-zero ends a call at the next layer with LCT_E_CANCELLED */
} lct_observer_options;

/* The axes of what an observer gives, each in the order asked for. Scores have their own positions and sources: those that the fingerprints have
 * vectors of. Without fingerprints n_references and n_metrics are 0. */
typedef struct {
  const char *const *positions, *const *sources;
  const int *layers;
  const int *widths; /* (n_sources) of a source's vectors */
  const char *const *scored_positions, *const *scored_sources;
  const char *const *references, *const *metrics;
  int n_positions, n_sources, n_layers, n_scored_positions, n_scored_sources, n_references, n_metrics;
} lct_observer_axes;

/* An observer reads the weights and makes references ready, once; observing costs a forward pass then. What it gives for a conversation is the same
 * bits as a scan's or a sweep's, whatever was observed before or beside it. */
typedef struct lct_observer lct_observer;
/* f: NULL, nothing is scored; else it must be of this model and template. o: NULL, all by default. model and f are borrowed until the observer is
 * freed, and so is o->cancel. */
LCT_API lct_status lct_observer_new(const lct_subject *model, const lct_fingerprints *f, const lct_observer_options *o, lct_observer **out,
                                    lct_error *err) LCT_CHECKED;
LCT_API void lct_observer_free(lct_observer *o);
LCT_API const lct_observer_axes *lct_observer_get_axes(const lct_observer *o); /* the observer's */

/* A conversation: n_messages messages. */
typedef struct {
  const lct_message *messages;
  size_t n_messages;
} lct_message_list;

/* What was observed of one conversation; all of it is the observation's. */
typedef struct {
  const int32_t *tokens; /* (n_tokens) of its prompt */
  int32_t n_tokens;
  const float *vectors; /* (position, source, layer, width of the source); NaN where the conversation has no such position */
  const float *scores;  /* (scored position, scored source, layer, reference, metric); NULL without fingerprints */
} lct_observed;

/* Has nothing of its observer's: it may outlive it. */
typedef struct lct_observation lct_observation;

/* The snapshot of a whole conversation, as a sweep has it behind its last message: rendered by the chat template with the generation prompt. No
 * file is touched. LCT_E_LIMIT when it is longer than the model's context. */
LCT_API lct_status lct_observe(lct_observer *o, const lct_message *messages, size_t n_messages, lct_observation **out,
                               lct_error *err) LCT_CHECKED;
/* Many of them, in batches that compute once what they have in common; all or none. */
LCT_API lct_status lct_observe_many(lct_observer *o, const lct_message_list *lists, size_t n, lct_observation **out,
                                    lct_error *err) LCT_CHECKED;
/* A text as it is, without a template. Its content is all of it, and its role, for positions and the metric z, is "user". add_special: with the
 * tokens that the tokenizer puts around a text (Llama 3's first one), which are no content. */
LCT_API lct_status lct_observe_text(lct_observer *o, const char *text, size_t len, bool add_special, lct_observation **out,
                                    lct_error *err) LCT_CHECKED;
LCT_API void lct_observation_free(lct_observation *x);
LCT_API size_t lct_observation_count(const lct_observation *x);
/* Of conversation i; NULL: there is none of that number. */
LCT_API const lct_observed *lct_observation_get(const lct_observation *x, size_t i);
/* One vector, one score: numbers are places on the observer's axes. NULL, NaN: there is no such place. */
LCT_API const float *lct_observation_vector(const lct_observation *x, size_t i, int position, int source, int layer);
LCT_API float lct_observation_score(const lct_observation *x, size_t i, int position, int source, int layer, int reference, int metric);

/* How a reply is made; as a scenario's `generation`. */
typedef struct {
  int max_tokens;     /* at least 1; fewer where the model's context ends */
  bool do_sample;     /* false: the most probable token, always */
  double temperature; /* logits are divided by it; what is below 1e-6 counts as that */
  int top_k;          /* of the most probable tokens; 0: all */
  double top_p;       /* of the most probable tokens that have this probability together; 0 or 1: all */
  uint64_t seed;      /* the same seed gives the same reply */
} lct_reply_options;

/* A token of a reply, as it is chosen; valid during the call. */
typedef struct {
  int32_t number; /* in the reply, from 0 */
  int32_t id;
  bool end;         /* one of the model's end tokens: the reply is over */
  const char *text; /* (text_len) what can be read now and could not before: whole characters, often none; special tokens have no text */
  size_t text_len;
  float probability, logprob; /* of this token, by the model's own distribution (temperature 1) */
  double entropy;             /* of that distribution, nats */
  /* The state the token was read from, the last token's before it: (source, layer, width), and its scores (scored source, layer, reference, metric).
   * For number 0 it is the conversation's own `last`. NULL when the observer's positions lack `last`; scores also without fingerprints of it. */
  const float *vectors, *scores;
} lct_reply_token;

/* false ends the reply with this token. The observer must not be used meanwhile. */
typedef bool (*lct_reply_callback)(void *ctx, const lct_reply_token *token);

typedef enum {
  LCT_REPLY_ENDED,
  LCT_REPLY_FULL,
  LCT_REPLY_STOPPED
} lct_reply_why; /* by an end token; max_tokens or the context; the callback */

typedef struct {
  int32_t n_prompt, n_tokens; /* of the conversation; of the reply */
  lct_reply_why why;
} lct_reply_result;

/* The model's reply to a conversation. The token's texts joined are the reply of a scan of it, and are valid UTF-8. result may be NULL. */
LCT_API lct_status lct_generate(lct_observer *o, const lct_message *messages, size_t n_messages, const lct_reply_options *options,
                                lct_reply_callback token, void *ctx, lct_reply_result *result, lct_error *err) LCT_CHECKED;

/* Texts returned through char ** are the caller's: release them with lct_text_free. */
LCT_API void lct_text_free(char *text);

/* Runs one scenario file. LCT_E_CANCELLED leaves a valid partial run (scan.json: "state": "partial"), named by result->run_dir; any
 * other failure after the directory was made leaves it with state "running" or "failed", never "done". A failure of the device or of
 * the numbers leaves what was complete as valid as an interrupted run's (result->written). */
LCT_API lct_status lct_scan(const lct_scan_options *o, lct_scan_result *result, lct_error *err) LCT_CHECKED;

/* What a model, a file of fingerprints (.safetensors) or a sweep's directory is; of a model: configuration, parameters, bytes per part, chat template and
 * hashes; as text or as one JSON object. `check` also reads every weight of a model and fails on NaN or Inf. */
LCT_API lct_status lct_inspect(const char *model, bool json, bool check, char **text, lct_error *err) LCT_CHECKED;

/* --- A sweep's directory, without its model. One that is being written or was interrupted counts as far as its journal goes. --- */

/* A line of text, without its newline; valid during the call. */
typedef void (*lct_line)(void *ctx, const char *text);

typedef struct {
  bool done; /* the sweep itself */
  int64_t rows, conversations, arrays, shards, stored_bytes;
  int64_t faults;
} lct_verify_result;
/* Reads everything again: every checksum, the journal against the files, rows against messages.jsonl. `fault` is told each fault (array,
 * shard and its file, chunk, rows). LCT_OK however many there are; a failure when the directory cannot be read as a sweep at all. */
LCT_API lct_status lct_verify(const char *dir, lct_line fault, void *ctx, lct_verify_result *result, lct_error *err) LCT_CHECKED;

/* Rows as lines of tab-separated fields, a header first: row, conversation, message, role, label, tokens; of one conversation when id is not
 * NULL. arrays: the arrays instead. Control characters in ids and labels become spaces. */
LCT_API lct_status lct_list(const char *dir, const char *id, bool arrays, lct_line line, void *ctx, lct_error *err) LCT_CHECKED;

typedef struct {
  const char *dir, *id;
  int message;
  const char *source;   /* NULL: the only one there is */
  const char *position; /* NULL: the first; unused with token */
  int layer;            /* -1: the only one there is */
  int64_t token;        /* >= 0: instead of the message's vector that of a stored token of its conversation, counted from 0 */
  const char *npy;      /* also written there as (n) float32; NULL: not */
} lct_cat_options;
/* One vector as text, a value a line, enough digits to give the float32 back. */
LCT_API lct_status lct_cat(const lct_cat_options *o, char **text, lct_error *err) LCT_CHECKED;

typedef enum { LCT_EXPORT_NPZ, LCT_EXPORT_SAFETENSORS, LCT_EXPORT_CSV } lct_export_format;
typedef enum { LCT_EXPORT_POOLED, LCT_EXPORT_SCORES, LCT_EXPORT_TOKENS } lct_export_what;
typedef struct {
  const char *dir, *path; /* path is written whole or not at all */
  lct_export_format format;
  lct_export_what what;
  const char *sources, *layers, *positions; /* lists as lct_sweep_options'; NULL: all there are */
  const char *scores;                       /* with LCT_EXPORT_SCORES: those of DIR/scores/NAME.zarr; NULL: the sweep's own */
  const char *rows;                         /* "A:B" as Python's slices (of tokens with LCT_EXPORT_TOKENS); NULL: all */
} lct_export_options;
typedef struct {
  int64_t rows, values;
} lct_export_result;
/* Vectors as float32, a tensor a source: (position, layer, row, width), of tokens (layer, token, width) and ids; scores: (row, position,
 * source, layer, reference, metric). With them `row` (or `token`): their numbers. docs/formats.md says what is where. */
LCT_API lct_status lct_export(const lct_export_options *o, lct_export_result *result, lct_error *err) LCT_CHECKED;

typedef struct {
  const char *dir;
  const char *fingerprints;                           /* of the model and template of the sweep */
  const char *name;                                   /* DIR/scores/NAME.zarr; NULL: the fingerprints' file name without its ending */
  const char *sources, *positions, *layers, *metrics; /* as lct_sweep_options; NULL: all that both have; cosine,mae,jaccard */
  bool calibrate_sweep; /* mean and deviation of the sweep's own vectors instead of the fingerprints' neutral bank */
  int threads;          /* 0: all */
} lct_score_options;
typedef struct {
  char path[4200];
  char fingerprints_hash[65];
  int64_t rows, scores;
  double seconds;
} lct_score_result;
/* Scores stored vectors against other fingerprints, or by other metrics, without the model. The sweep's own data stay as they are. */
LCT_API lct_status lct_score(const lct_score_options *o, lct_score_result *result, lct_error *err) LCT_CHECKED;

/* Writes a Hugging Face folder with random weights of a real model's exact shape. */
typedef struct {
  const char *like; /* a known name (see lct_synth_names) or the path of a config.json */
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

/* Measurements: the whole engine on random tokens, once to warm up and `repeats` times for the clock. */
typedef struct {
  lct_model_options model; /* its template is not used */
  int n_prompts;           /* different prompts of a prefill; a decode has one */
  int n_tokens;            /* of a prompt */
  int n_decode;            /* tokens to decode after the prompt */
  int repeats;
} lct_bench_options;

typedef struct {
  lct_device_used device;
  double *seconds; /* (repeats), the caller's */
} lct_bench_result;

/* n_prompts prompts of n_tokens tokens each, last-token logits of each included. */
LCT_API lct_status lct_bench_prefill(const lct_bench_options *o, lct_bench_result *result, lct_error *err) LCT_CHECKED;
/* n_decode decode steps of one sequence after a prompt of n_tokens tokens. */
LCT_API lct_status lct_bench_decode(const lct_bench_options *o, lct_bench_result *result, lct_error *err) LCT_CHECKED;

#ifdef __cplusplus
}
#endif
#endif
