/* Opening: scenario, model, tokenizer, template, engine; and closing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_impl.h"

void scan_report(scan *s, const char *phase, int64_t done, int64_t total, int64_t tokens) {
  if (s->o->progress == NULL) return;
  lct_progress p = {phase, done, total, tokens};
  s->o->progress(s->o->progress_ctx, &p);
}

char *scan_printf(scan *s, lct_error *err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *text = NULL;
  int n = vasprintf(&text, fmt, ap);
  va_end(ap);
  char *copy = n < 0 ? NULL : lct_arena_strndup(&s->arena, text, (size_t)n);
  if (n >= 0) free(text);
  if (copy == NULL) (void)lct_fail(err, LCT_E_NOMEM, "out of memory for a path");
  return copy;
}

static lct_status choose_layers(scan *s, lct_error *err) {
  LCT_TRY(lct_calloc(&s->layers, (size_t)s->cfg.n_layers, 1, "layer list", err));
  if (s->scenario->capture.layers == NULL) {
    memset(s->layers, 1, (size_t)s->cfg.n_layers);
    return LCT_OK;
  }
  for (size_t i = 0; i < s->scenario->capture.n_layers; i++) {
    int l = s->scenario->capture.layers[i];
    if (l < 0 || l >= s->cfg.n_layers) {
      return lct_fail(err, LCT_E_USAGE, "%s: capture.layers: layer %d out of range: the model has layers 0 to %d", s->o->scenario, l,
                      s->cfg.n_layers - 1);
    }
    s->layers[l] = 1;
  }
  return LCT_OK;
}

static uint32_t wanted_sources(const lct_scenario *sc) {
  const bool asked[] = {[LCT_GROUP_HIDDEN] = sc->capture.hidden_states,
                        [LCT_GROUP_QKV] = sc->capture.qkv,
                        [LCT_GROUP_ATTENTION] = sc->capture.attention_weights,
                        [LCT_GROUP_MLP] = sc->capture.mlp,
                        [LCT_GROUP_LOGITS] = sc->capture.logits};
  uint32_t bits = 0;
  for (int i = 0; i < LCT_N_SOURCES; i++) {
    if (asked[lct_source_get_group((lct_source)i)]) bits |= LCT_SOURCE_BIT(i);
  }
  return bits;
}

/* The model's end tokens: config, generation config and tokenizer each may know one the others do not. */
static lct_status collect_eos(scan *s, lct_error *err) {
  LCT_TRY(lct_calloc(&s->eos, LCT_MAX_EOS + 1, sizeof *s->eos, "end tokens", err));
  for (int i = 0; i < s->cfg.n_eos; i++) s->eos[s->n_eos++] = s->cfg.eos[i];
  int32_t t = lct_tokenizer_eos(s->tokenizer);
  bool known = t < 0;
  for (int i = 0; i < s->n_eos; i++) known = known || s->eos[i] == t;
  if (!known) s->eos[s->n_eos++] = t;
  return LCT_OK;
}

lct_status scan_open(scan *s, lct_error *err) {
  scan_report(s, "load", 0, 1, 0);
  LCT_TRY(lct_scenario_load(s->o->scenario, &s->scenario, err));
  s->result->utf8_replaced = s->scenario->n_replaced;
  const char *id = s->o->model.id != NULL ? s->o->model.id : s->scenario->model.id;
  LCT_TRY(lct_model_resolve(id, s->o->model.id != NULL ? s->o->model.gguf_file : s->scenario->model.gguf_file, &s->model_path, err));
  LCT_TRY(lct_model_map(s->model_path, &s->model, err));
  s->cfg = s->model->config;
  LCT_TRY(lct_tokenizer_for_model(s->model, &s->tokenizer, err));
  LCT_TRY(lct_encoder_new(s->tokenizer, &s->encoder, err));
  LCT_TRY(lct_template_choose(s->tokenizer, s->o->model.chat_template, s->o->model.no_thinking, s->model_path, &s->template, err));
  LCT_TRY(choose_layers(s, err));
  LCT_TRY(collect_eos(s, err));
  s->sources = wanted_sources(s->scenario);
  return LCT_OK;
}

static void close_prompt(scan_prompt *p) {
  for (int i = 0; i < p->n_steps; i++) {
    free(p->steps[i].top);
    free(p->steps[i].index);
  }
  free(p->steps);
  lct_buf_free(&p->reply);
  free(p->first_state);
  free(p->last_state);
}

void scan_close(scan *s) {
  for (size_t i = 0; i < s->n_prompts; i++) close_prompt(&s->prompts[i]);
  for (int32_t i = 0; s->items != NULL && i < s->n_items; i++) {
    lct_tokens_free(&s->items[i].tokens);
    free(s->items[i].index);
  }
  free(s->prompts);
  free(s->items);
  lct_files_free(s->files);
  lct_pool_free(s->pool);
  lct_engine_free(s->engine);
  lct_encoder_free(s->encoder);
  lct_tokenizer_free(s->tokenizer);
  lct_model_unmap(s->model);
  lct_scenario_free(s->scenario);
  free(s->model_path);
  free(s->layers);
  free(s->eos);
  lct_arena_free(&s->arena);
}
