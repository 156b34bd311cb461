/* Activation Lab's scenario file, unchanged: the same keys, defaults and validation.
 *
 * Scalars are typed as PyYAML's safe_load types them and coerced as pydantic's lax mode does ("5" and 5.0 are integers, yes is a
 * boolean, a number is no string). Stricter than Activation Lab where silence would hide a mistake: an error are unknown and
 * repeated keys, no prompt, no messages, repeated reference labels, negative layers, numbers beyond the field's type or not
 * finite, a NUL in any text but a message's content. Anchors, aliases and merge keys (<<) work; cycles and documents beyond the
 * limits of yaml_tree.h are errors. */
#ifndef LCT_SCENARIO_SCENARIO_H
#define LCT_SCENARIO_SCENARIO_H

#include "base/mem.h"

typedef struct {
  lct_message *messages;
  size_t n_messages;
  bool run_at_each_message;
} lct_prompt;

typedef struct {
  char *label;
  lct_message *messages;
  size_t n_messages;
} lct_reference;

typedef enum { LCT_STORE_F16, LCT_STORE_BF16, LCT_STORE_F32 } lct_store_dtype;

typedef struct {
  char *name;
  struct {
    char *id, *gguf_file; /* gguf_file NULL when null */
    char *dtype, *device; /* "float16|bfloat16|float32", "auto|mps|cpu" */
    bool trust_remote_code;
  } model;
  lct_prompt *prompts;
  size_t n_prompts;
  struct {
    int max_new_tokens; /* default 8, >= 1 */
    bool do_sample;
    double temperature;        /* default 1.0 */
    bool has_top_k, has_top_p; /* false: null */
    int top_k;                 /* 0 when null; no limit when <= 0 */
    double top_p;              /* 0 when null; no limit unless 0 < top_p < 1 */
    int64_t seed;              /* default 42 */
  } generation;
  struct {
    bool hidden_states, attention_weights, qkv, mlp, logits; /* default true */
    int top_k_probs;                                         /* default 20, >= 0 */
    int *layers; /* NULL: all; else ascending, without repeats, >= 0, n_layers of them (which may be 0: none) */
    size_t n_layers;
    lct_store_dtype store_dtype; /* default float16 */
  } capture;
  struct {
    char *dir, *format; /* "./runs", "json+npz" */
  } output;
  lct_reference *references;
  size_t n_references;
  size_t n_replaced; /* invalid UTF-8 sequences replaced by U+FFFD in the file's text */
  char sha256[65];   /* of the file's bytes */
  lct_arena arena;   /* owns everything above */
} lct_scenario;

#define LCT_SCENARIO_MAX_BYTES ((size_t)64 << 20)

/* Errors: LCT_E_IO (file), LCT_E_FORMAT with "FILE:LINE:COLUMN: KEY.PATH: expected …, found …" for syntax, unknown keys, wrong
 * types and values; LCT_E_LIMIT for files, nesting and alias expansion beyond the limits. `name` stands for FILE. */
lct_status lct_scenario_load(const char *path, lct_scenario **out, lct_error *err) LCT_CHECKED;
lct_status lct_scenario_parse(const char *text, size_t n, const char *name, lct_scenario **out, lct_error *err) LCT_CHECKED;
void lct_scenario_free(lct_scenario *s);
/* Appends the scenario as JSON (indent 2, UTF-8), all defaults written out: the keys, order and nesting of Activation Lab's
 * json.dumps(scenario.model_dump()). */
lct_status lct_scenario_to_json(const lct_scenario *s, lct_buf *out, lct_error *err) LCT_CHECKED;
const char *lct_store_dtype_name(lct_store_dtype t); /* "float16" … */

#endif
