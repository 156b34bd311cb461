/* Opening: scenario, model, what is captured; and closing. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
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

const float *scan_vectors(const scan *s, const lct_pool *pool, int source, int position, int layer) {
  const lct_axis_source *x = &s->axes->sources[source];
  return lct_pool_vectors(pool, x->stream, position, x->planes[layer]);
}

static lct_status choose_layers(scan *s, lct_error *err) {
  size_t n_layers = (size_t)s->subject->cfg.n_layers;
  LCT_TRY(lct_calloc(&s->layers, n_layers, 1, "layer list", err));
  if (s->scenario->capture.layers == NULL) {
    memset(s->layers, 1, n_layers);
    return LCT_OK;
  }
  for (size_t i = 0; i < s->scenario->capture.n_layers; i++) {
    int l = s->scenario->capture.layers[i];
    if (l < 0 || l >= s->subject->cfg.n_layers) {
      return lct_fail(err, LCT_E_USAGE, "%s: capture.layers: layer %d out of range: the model has layers 0 to %d", s->o->scenario, l,
                      s->subject->cfg.n_layers - 1);
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

static lct_status open_fingerprints(scan *s, lct_error *err) {
  const char *path = s->o->fingerprints;
  const lct_subject *x = s->subject;
  if (path == NULL) return LCT_OK;
  LCT_TRY(lct_fingerprints_open(path, &s->prints.f, err));
  LCT_TRY(lct_fingerprints_check(s->prints.f, path, x->model->hash, x->template.hash, x->cfg.n_layers, x->cfg.hidden, err));
  lct_map map;
  LCT_TRY(lct_map_open(path, &map, err));
  lct_sha256_hex(map.data, map.size, s->prints.hash);
  lct_map_close(&map);
  return LCT_OK;
}

/* What is pooled of every snapshot, and scored against fingerprints. */
static lct_status choose_vectors(scan *s, lct_error *err) {
  lct_buf sources = {0};
  lct_status status = LCT_OK;
  for (int i = 0; i < LCT_N_RESIDUAL && status == LCT_OK; i++) {
    status = lct_buf_printf(&sources, err, "%s%s", i > 0 ? "," : "", lct_source_name(LCT_RESIDUAL_SOURCES[i]));
  }
  const lct_axes_options o = {.positions = LCT_DEFAULT_POSITIONS, .sources = sources.data, .metrics = s->o->metrics};
  if (status == LCT_OK) status = lct_axes_new(&o, &s->subject->cfg, s->prints.f, s->o->fingerprints, &s->axes, err);
  lct_buf_free(&sources);
  return status;
}

lct_status scan_open(scan *s, lct_error *err) {
  lct_model_options model = s->o->model;
  lct_device device;
  LCT_TRY(lct_device_resolve(model.device, model.precision, &device, err)); /* what cannot run is refused before anything is read */
  scan_report(s, "load", 0, 1, 0);
  LCT_TRY(lct_scenario_load(s->o->scenario, &s->scenario, err));
  s->result->utf8_replaced = s->scenario->n_replaced;
  if (model.id == NULL) {
    model.id = s->scenario->model.id;
    model.gguf_file = s->scenario->model.gguf_file;
  }
  LCT_TRY(lct_subject_open(&model, true, &s->subject, err));
  lct_device_describe(&s->subject->device, &s->result->device);
  LCT_TRY(lct_encoder_new(s->subject->tokenizer, &s->encoder, err));
  LCT_TRY(choose_layers(s, err));
  LCT_TRY(open_fingerprints(s, err));
  LCT_TRY(choose_vectors(s, err));
  s->sources = wanted_sources(s->scenario);
  return LCT_OK;
}

void scan_close(scan *s) {
  for (size_t i = 0; i < s->n_prompts; i++) {
    scan_prompt *p = &s->prompts[i];
    for (int k = 0; p->indexes != NULL && k < s->scenario->generation.max_new_tokens; k++) free(p->indexes[k]);
    free(p->indexes);
    lct_buf_free(&p->reply);
    free(p->first_state);
    free(p->last_state);
  }
  for (int32_t i = 0; s->items != NULL && i < s->unit->n_items; i++) free(s->items[i].index);
  free(s->prompts);
  free(s->items);
  lct_files_free(s->files.open);
  lct_worker_free(s->worker);
  lct_unit_free(s->unit);
  lct_axes_free(s->axes);
  lct_fingerprints_free(s->prints.f);
  free(s->prints.scores);
  lct_encoder_free(s->encoder);
  lct_subject_free(s->subject);
  lct_scenario_free(s->scenario);
  free(s->layers);
  lct_arena_free(&s->arena);
}
