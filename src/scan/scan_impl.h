/* Inside a scan: what its steps share. A scan is: open -> tokenise -> per batch (prefill, decode, reply) -> score -> write. */
#ifndef LCT_SCAN_IMPL_H
#define LCT_SCAN_IMPL_H

#include "base/clock.h"
#include "capture/files.h"
#include "capture/pool.h"
#include "subject/device.h"
#include "engine/sampler.h"
#include "scenario/scenario.h"
#include "text/prompt.h"

/* One token sequence whose state is wanted: a reference, or a snapshot of a prompt. */
typedef struct {
  lct_tokens tokens;
  lct_positions content;            /* of the last message's own text */
  const char *role;                 /* of the last message; borrowed */
  const char *preview;              /* its content; borrowed */
  size_t preview_len;
  bool generated;                   /* ends with the model's own reply */
  bool present;                     /* tokenised, will be run */
  bool done;                        /* its vectors are complete */
  int32_t seq;                      /* in the current plan */
  char *path;                       /* of its .npz, NULL: none */
  char *index;                      /* JSON text of its tensors, NULL: none */
} scan_item;

typedef struct {
  int32_t input_token, token; /* fed (step > 0), chosen */
  lct_logit_stats stats;
  lct_top *top; /* capture.top_k_probs */
  char *index;  /* JSON text of its tensors, NULL: none */
} scan_step;

/* One run directory: a prompt, or a prefix of one with run_at_each_message. */
typedef struct {
  const lct_message *messages;
  size_t n_messages;
  char label[64];
  int32_t first_item; /* its n_messages snapshots, then the one with the reply */
  scan_step *steps;
  int n_steps;
  bool finished;      /* generation ended */
  lct_buf reply;      /* text, end token left out */
  int32_t kv_base;    /* KV slots of its generated tokens */
  float *first_state, *last_state; /* (LCT_N_RESIDUAL, n_layers, hidden): prompt's last token; last generated step */
} scan_prompt;

typedef struct {
  const lct_scan_options *o;
  lct_scan_result *result;
  lct_scenario *scenario;
  char *model_path;
  lct_model *model;
  lct_tokenizer *tokenizer;
  lct_encoder *encoder;
  lct_template template;
  lct_device device;
  lct_engine *engine;
  int32_t max_rows; /* tokens up to which small batches share a pass */
  lct_config cfg;
  unsigned char *layers; /* (n_layers) 0/1: capture.layers */
  int32_t *eos;
  int n_eos;
  lct_sampling sampling;
  char run_dir[4096];
  char created_at[32];
  const char *failure; /* what ended the scan, NULL: nothing so far */
  scan_prompt *prompts;
  size_t n_prompts;
  scan_item *items; /* references first */
  int32_t n_items, n_references;
  lct_stream streams[LCT_N_RESIDUAL]; /* LCT_RESIDUAL_SOURCES at every layer */
  lct_pool *pool;
  lct_files *files; /* NULL unless tokens are kept */
  uint32_t sources; /* what `capture` asks for */
  struct {
    const char *phase;
    int64_t done, total, tokens, per_layer;
  } progress;
  double t_start;
  lct_arena arena;
} scan;

/* open.c */
lct_status scan_open(scan *s, lct_error *err) LCT_CHECKED;
void scan_close(scan *s);
/* prompts.c: expands prompts, makes items, renders and tokenises all that is known before generation. */
lct_status scan_tokenise(scan *s, lct_error *err) LCT_CHECKED;
/* The item of a prompt's last message is the prompt itself. */
const scan_item *scan_prompt_item(const scan *s, const scan_prompt *p);
/* About what --keep tokens writes: everything but the snapshots with replies, which are not known before. */
int64_t scan_tensor_bytes(const scan *s);
/* Tokenises the snapshot with the reply. */
lct_status scan_tokenise_reply(scan *s, scan_prompt *p, lct_error *err) LCT_CHECKED;
/* run.c: everything that runs the model, once more with smaller batches when a GPU's memory is out; and the prefill of given items, already in a built plan, with nothing generated. */
lct_status scan_run(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_run_items(scan *s, const lct_plan *plan, const int32_t *numbers, int32_t n, const char *phase, lct_error *err) LCT_CHECKED;
/* taps.c */
/* Adds the takers of the pool, and of the files if there are any. */
lct_status scan_add_takers(const scan *s, lct_pool *pool, lct_pass *pass, lct_error *err) LCT_CHECKED;
/* A pass into the scan's own pool that reports its layers. */
lct_status scan_prefill(scan *s, const lct_batch *batch, lct_kv *kv, const lct_heads *heads, lct_error *err) LCT_CHECKED;
/* The rows of the item's batch in order of position, in the scan's arena. */
lct_status scan_item_rows(scan *s, const lct_plan *plan, const scan_item *item, const lct_row_range **out, int32_t *n,
                          lct_error *err) LCT_CHECKED;
lct_status scan_pool_rows(const scan_item *item, int32_t number, const lct_row_range *ranges, int32_t n_ranges, lct_arena *arena,
                          lct_pool_rows *out, lct_error *err) LCT_CHECKED;
/* decode.c: asks a pass for the next token of each prompt; heads (zeroed by the caller) borrows prompts, rows and s until scan_chosen,
 * which records what came and frees it (also after a failure, with chosen false). */
lct_status scan_ask(scan *s, scan_prompt **prompts, int n, const int32_t *rows, lct_heads *heads, lct_error *err) LCT_CHECKED;
void scan_chosen(scan *s, scan_prompt **prompts, lct_heads *heads, bool chosen);
/* Generates for the prompts of a batch whose prefill is in kv and whose first tokens are recorded. */
lct_status scan_decode(scan *s, const lct_plan *plan, scan_prompt **prompts, int n, lct_kv *kv, lct_error *err) LCT_CHECKED;
/* reply.c: the snapshots with the replies, over the prefill's keys or, where whole tensors are kept, afresh. */
lct_status scan_reply(scan *s, const lct_plan *plan, scan_prompt **prompts, int n, lct_kv *kv, int32_t kv_base, int32_t kv_slots,
                      lct_error *err) LCT_CHECKED;
/* output.c, scores.c */
lct_status scan_make_dirs(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_state(scan *s, const char *state, lct_error *err) LCT_CHECKED;
lct_status scan_write_manifests(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_vectors(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_scores(scan *s, const scan_prompt *p, lct_error *err) LCT_CHECKED;
/* helpers */
void scan_report(scan *s, const char *phase, int64_t done, int64_t total, int64_t tokens);
char *scan_printf(scan *s, lct_error *err, const char *fmt, ...) LCT_PRINTF(3, 4); /* in the arena; NULL: out of memory */

#endif
