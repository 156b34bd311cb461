/* Inside a scan: what its steps share. A scan is: open -> one unit of all prompts -> a worker runs it, which the client below watches -> write. */
#ifndef LCT_SCAN_IMPL_H
#define LCT_SCAN_IMPL_H

#include "base/clock.h"
#include "capture/files.h"
#include "run/axes.h"
#include "run/pipeline.h"
#include "scenario/scenario.h"

/* What the unit's item of the same number does not say: a reference, or a snapshot of a prompt. */
typedef struct {
  const char *role;    /* of the last message; borrowed */
  const char *preview; /* its content; borrowed */
  size_t preview_len;
  bool generated; /* ends with the model's own reply */
  char *path;     /* of its .npz, NULL: none */
  char *index;    /* JSON text of its tensors, NULL: none */
} scan_item;

/* One run directory: a prompt, or a prefix of one with run_at_each_message. Its generation is the unit's of the same number. */
typedef struct {
  const lct_message *messages;
  size_t n_messages;
  char label[64];
  int32_t first_item;              /* its n_messages snapshots, then the one with the reply */
  lct_buf reply;                   /* text, end token left out */
  char **indexes;                  /* (max_new_tokens) JSON text of each step's tensors, NULL: none */
  float *first_state, *last_state; /* (LCT_N_RESIDUAL, n_layers, hidden): prompt's last token; last generated step */
} scan_prompt;

/* Files of whole tensors. */
typedef struct {
  lct_files *open;    /* NULL unless tokens are kept */
  int32_t first_item; /* of the batch that was begun last; -1: none */
  int64_t bytes;      /* written before it */
  size_t saturated;
} scan_files;

/* What snapshots are scored against besides the references. */
typedef struct {
  lct_fingerprints *f; /* NULL: nothing */
  char hash[65];
  float *scores; /* (items, lct_axes_score_floats) when all has run */
} scan_prints;

typedef struct {
  const char *phase;
  int64_t done, total, tokens;
  int64_t generated, generations; /* tokens before the batch, and at most in it */
} scan_progress;

typedef struct {
  const lct_scan_options *o;
  lct_scan_result *result;
  lct_scenario *scenario;
  lct_subject *subject;
  lct_encoder *encoder;
  unsigned char *layers; /* (n_layers) 0/1: capture.layers */
  uint32_t sources;      /* what `capture` asks for */
  char run_dir[4096];
  char created_at[32];
  const char *failure; /* what ended the scan, NULL: nothing so far */
  scan_prompt *prompts;
  size_t n_prompts;
  scan_item *items; /* (unit->n_items) references first */
  int32_t n_references;
  lct_unit *unit; /* all prompts; its contents are the pipeline's while that runs */
  lct_axes *axes; /* LCT_RESIDUAL_SOURCES at every layer and the poolings; what fingerprints are scored by */
  scan_prints prints;
  lct_worker *worker;
  scan_files files;
  scan_progress progress;
  double t_start;
  lct_arena arena;
} scan;

/* open.c */
lct_status scan_open(scan *s, lct_error *err) LCT_CHECKED;
void scan_close(scan *s);
/* prompts.c: expands prompts, and makes the unit of all that is known before generation. */
lct_status scan_make_unit(scan *s, lct_error *err) LCT_CHECKED;
/* The item of a prompt's last message is the prompt itself. */
static inline int32_t scan_prompt_item(const scan_prompt *p) { return p->first_item + (int32_t)p->n_messages - 1; }
static inline const lct_generation *scan_generation(const scan *s, const scan_prompt *p) { return &s->unit->generations[p - s->prompts]; }
/* About what --keep tokens writes: everything but the snapshots with replies, which are not known before. */
int64_t scan_tensor_bytes(const scan *s);
/* The reply of prompt `number`: its text, and, unless that is empty, its item. */
lct_status scan_make_reply(scan *s, lct_unit *u, size_t number, lct_error *err) LCT_CHECKED;
/* client.c: what the scan does beside a worker's passes. */
lct_client scan_client(scan *s);
/* tensor_files.c: the files of a pass, and what is left of them when memory was out; nothing unless tokens are kept. */
lct_status scan_files_begin(scan *s, const lct_stage *stage, lct_pass *pass, lct_error *err) LCT_CHECKED;
lct_status scan_files_end(scan *s, const lct_stage *stage, lct_error *err) LCT_CHECKED;
lct_status scan_files_undo(scan *s, const int32_t *items, int32_t n, lct_error *err) LCT_CHECKED;
/* Their counts go into the result. */
void scan_files_close(scan *s);
/* output.c, manifests.c, pooled_npz.c, scores_json.c, fingerprint_scores.c */
lct_status scan_make_dirs(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_state(scan *s, const char *state, lct_error *err) LCT_CHECKED;
lct_status scan_write_manifests(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_vectors(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_scores(scan *s, const scan_prompt *p, lct_error *err) LCT_CHECKED;
/* Of every item; then a prompt's into its files. Nothing without fingerprints. */
lct_status scan_score_fingerprints(scan *s, lct_error *err) LCT_CHECKED;
lct_status scan_write_fingerprint_scores(scan *s, const scan_prompt *p, lct_error *err) LCT_CHECKED;
/* helpers */
void scan_report(scan *s, const char *phase, int64_t done, int64_t total, int64_t tokens);
char *scan_printf(scan *s, lct_error *err, const char *fmt, ...) LCT_PRINTF(3, 4); /* in the arena; NULL: out of memory */
/* (items, hidden) of a residual source (its number in LCT_RESIDUAL_SOURCES) at a position and a layer. */
const float *scan_vectors(const scan *s, const lct_pool *pool, int source, int position, int layer);

#endif
