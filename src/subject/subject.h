/* A subject: a model opened once, with all that reading prompts and running it needs. It is read only while workers use it. */
#ifndef LCT_SUBJECT_SUBJECT_H
#define LCT_SUBJECT_SUBJECT_H

#include "base/threads.h"
#include "subject/device.h"
#include "text/prompt.h"

typedef struct json_t json_t;

struct lct_subject {
  char *id, *path; /* as asked for; where it lies */
  lct_model *model;
  lct_config cfg;
  lct_tokenizer *tokenizer; /* NULL without texts */
  lct_template template;
  lct_device device;
  lct_threads *threads;
  int32_t eos[LCT_MAX_EOS + 1]; /* end tokens: those of the config, the generation config and the tokenizer */
  int n_eos;
};

/* Opens files and checks them; weights are read when an engine is made. texts: with tokenizer and template. */
lct_status lct_subject_open(const lct_model_options *o, bool texts, lct_subject **out, lct_error *err) LCT_CHECKED;
void lct_subject_free(lct_subject *s);
/* An engine on the subject's device, which borrows the subject. */
lct_status lct_subject_engine(const lct_subject *s, lct_engine **out, lct_error *err) LCT_CHECKED;
/* Bytes that batches may take without driving the machine into the ground: of a GPU's 8 tenths of what is free, of the host's a quarter. */
int64_t lct_subject_free_bytes(const lct_subject *s);
bool lct_subject_is_end(const lct_subject *s, int32_t token);

/* "model" and "machine" of scan.json and sweep.json, the caller's. NULL: out of memory. */
json_t *lct_subject_model_json(const lct_subject *s);
json_t *lct_subject_machine_json(const lct_subject *s);

#endif
