/* A subject: a model opened once, with all that reading prompts and running it needs. It is read only while workers use it. */
#ifndef LCT_SUBJECT_SUBJECT_H
#define LCT_SUBJECT_SUBJECT_H

#include "base/threads.h"
#include "subject/device.h"
#include "text/prompt.h"

typedef struct json_t json_t;

typedef struct {
  const char *model;         /* folder, .gguf file or Hub id */
  const char *gguf_file;     /* of a Hub id; NULL: the only one */
  const char *chat_template; /* NULL: recognised from the model */
  bool no_thinking, no_text; /* no_text: neither tokenizer nor template is opened */
  const char *device;        /* NULL: LCT_DEVICE, else auto */
  lct_precision precision;
  int threads;               /* of the CPU; 0: all */
} lct_subject_options;

typedef struct {
  char *id, *path;           /* as asked for; where it lies */
  lct_model *model;
  lct_config cfg;
  lct_tokenizer *tokenizer;  /* NULL with no_text */
  lct_template template;
  lct_device device;
  lct_threads *threads;
  int32_t eos[LCT_MAX_EOS + 1]; /* end tokens: those of the config, the generation config and the tokenizer */
  int n_eos;
} lct_subject;

/* Opens files and checks them; weights are read when an engine is made. */
lct_status lct_subject_open(const lct_subject_options *o, lct_subject **out, lct_error *err) LCT_CHECKED;
void lct_subject_free(lct_subject *s);
/* An engine on the subject's device, which borrows the subject. */
lct_status lct_subject_engine(const lct_subject *s, lct_engine **out, lct_error *err) LCT_CHECKED;
/* Bytes that batches may take without driving the machine into the ground: of a GPU's 8 tenths of what is free, of the host's a quarter. */
int64_t lct_subject_free_bytes(const lct_subject *s);
bool lct_subject_is_end(const lct_subject *s, int32_t token);

/* "model" and "machine" of scan.json and sweep.json, the caller's. NULL: out of memory. */
json_t *lct_subject_model_json(const lct_subject *s);
json_t *lct_subject_machine_json(const lct_subject *s);

/* device, device_name, precision of a public result. */
void lct_subject_describe(const lct_subject *s, char device[24], char device_name[256], lct_precision *precision);

#endif
