#include "subject/subject.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cpu/cpu.h"

/* The model's end tokens: config, generation config and tokenizer each may know one the others do not. */
static void collect_ends(lct_subject *s) {
  for (int i = 0; i < s->cfg.n_eos; i++) s->eos[s->n_eos++] = s->cfg.eos[i];
  int32_t t = lct_tokenizer_eos(s->tokenizer);
  if (t >= 0 && !lct_subject_is_end(s, t)) s->eos[s->n_eos++] = t;
}

bool lct_subject_is_end(const lct_subject *s, int32_t token) {
  for (int i = 0; i < s->n_eos; i++) {
    if (s->eos[i] == token) return true;
  }
  return false;
}

static lct_status open_all(const lct_model_options *o, bool texts, lct_subject *s, lct_error *err) {
  LCT_TRY(lct_device_resolve(o->device, o->precision, &s->device, err));
  s->id = strdup(o->id);
  if (s->id == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a model's name");
  LCT_TRY(lct_model_resolve(o->id, o->gguf_file, &s->path, err));
  LCT_TRY(lct_model_map(s->path, &s->model, err));
  s->cfg = s->model->config;
  LCT_TRY(lct_threads_new(o->threads, &s->threads, err));
  if (!texts) return LCT_OK;
  LCT_TRY(lct_tokenizer_for_model(s->model, &s->tokenizer, err));
  collect_ends(s);
  return lct_template_choose(s->tokenizer, o->chat_template, o->no_thinking, s->path, &s->template, err);
}

lct_status lct_subject_open(const lct_model_options *o, bool texts, lct_subject **out, lct_error *err) {
  lct_subject *s = NULL;
  LCT_TRY(lct_calloc(&s, 1, sizeof *s, "a model", err));
  lct_status status = open_all(o, texts, s, err);
  if (status != LCT_OK) {
    lct_subject_free(s);
    return status;
  }
  *out = s;
  return LCT_OK;
}

void lct_subject_free(lct_subject *s) {
  if (s == NULL) return;
  lct_threads_free(s->threads);
  lct_tokenizer_free(s->tokenizer);
  lct_model_unmap(s->model);
  free(s->path);
  free(s->id);
  free(s);
}

lct_status lct_subject_engine(const lct_subject *s, lct_engine **out, lct_error *err) {
  return lct_device_engine(&s->device, s->model, s->threads, out, err);
}

int64_t lct_subject_free_bytes(const lct_subject *s) {
  lct_gpu gpu;
  if (s->device.gpu) return lct_cuda_gpu(s->device.number, &gpu, NULL) == LCT_OK ? gpu.bytes_free / 10 * 8 : (int64_t)1 << 30;
  lct_buf b = {0};
  long long kb = 4 << 20;
  if (lct_file_read("/proc/meminfo", 1 << 16, &b, NULL) == LCT_OK) {
    const char *at = strstr(b.data, "MemAvailable:");
    if (at != NULL) kb = strtoll(at + 13, NULL, 10);
  }
  lct_buf_free(&b);
  return (int64_t)kb * 1024 / 4;
}

json_t *lct_subject_model_json(const lct_subject *s) {
  const lct_config *c = &s->cfg;
  return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:s}", "path", s->path, "id", s->id, "arch", lct_arch_name(c->arch),
                   "format", s->model->format, "n_layers", c->n_layers, "hidden", c->hidden, "n_heads", c->n_heads, "n_kv_heads",
                   c->n_kv_heads, "vocab", c->vocab, "n_params", (json_int_t)lct_model_n_params(s->model), "hash", s->model->hash);
}

json_t *lct_subject_machine_json(const lct_subject *s) {
  char cpu[256];
  lct_device_cpu_name(cpu, sizeof cpu);
  lct_buf backend = {0};
  lct_status st = s->device.gpu ? lct_buf_puts(&backend, lct_cuda_build(), NULL) : lct_cpu_describe(&backend, NULL);
  json_t *out = st != LCT_OK ? NULL
                             : json_pack("{s:s, s:i, s:s, s:s, s:s}", "cpu", cpu, "threads", lct_threads_count(s->threads), "device",
                                         s->device.label, "device_name", s->device.name, "backend", backend.data);
  lct_buf_free(&backend);
  return out;
}
