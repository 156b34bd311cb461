/* lct_fingerprint: the steps in order. */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fingerprint/make_impl.h"

enum { DEFAULT_PCS = 8 };

void fp_report(const maker *m, const char *phase, int64_t done, int64_t total) {
  if (m->o->progress == NULL) return;
  lct_progress p = {phase, done, total, 0};
  m->o->progress(m->o->progress_ctx, &p);
}

static const lct_source CAN_BE[FP_N_SOURCES] = {LCT_SOURCE_HIDDEN_IN, LCT_SOURCE_HIDDEN_OUT, LCT_SOURCE_ATTN_OUT, LCT_SOURCE_MLP_DOWN_OUT};

static int pooling_by_name(const char *name, size_t n) {
  for (int i = 0; i < LCT_N_POOLINGS; i++) {
    const char *known = lct_pooling_name((lct_pooling)i);
    if (strlen(known) == n && memcmp(known, name, n) == 0) return i;
  }
  return -1;
}

static int source_by_name(const char *name, size_t n) {
  for (int i = 0; i < FP_N_SOURCES; i++) {
    const char *known = lct_source_name(CAN_BE[i]);
    if (strlen(known) == n && memcmp(known, name, n) == 0) return (int)CAN_BE[i];
  }
  return -1;
}

/* A list with commas into numbers (of at most max different ones). */
static lct_status read_list(const char *option, const char *list, int (*find)(const char *, size_t), const char *expected, int *out,
                            int *n_out, lct_error *err) {
  for (const char *part = list;; part++) {
    size_t n = strcspn(part, ",");
    int found = find(part, n);
    if (found < 0) return lct_fail(err, LCT_E_USAGE, "%s: expected a list of %s, found \"%.*s\"", option, expected, (int)n, part);
    for (int i = 0; i < *n_out; i++) {
      if (out[i] == found) return lct_fail(err, LCT_E_USAGE, "%s: \"%.*s\" stands twice", option, (int)n, part);
    }
    out[(*n_out)++] = found;
    part += n;
    if (*part == '\0') return LCT_OK;
  }
}

static lct_status read_axes(maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  int sources[FP_N_SOURCES];
  const char *poolings = o->poolings != NULL ? o->poolings : "last,content_last,content_mean";
  LCT_TRY(read_list("--poolings", poolings, pooling_by_name, "last, content_last, content_mean", m->poolings, &m->n_poolings, err));
  LCT_TRY(read_list("--sources", o->sources != NULL ? o->sources : "hidden_out", source_by_name,
                    "hidden_in, hidden_out, attn_out, mlp_down_out", sources, &m->n_sources, err));
  for (int i = 0; i < m->n_sources; i++) m->sources[i] = (lct_source)sources[i];
  return LCT_OK;
}

/* What would only fail at the end is tried first. */
static lct_status check_options(const maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  if (o->output == NULL) return lct_fail(err, LCT_E_USAGE, "the fingerprints need an output file");
  bool calibrates = o->whiten || o->pcs > 0;
  if (calibrates && !m->uses_neutral) {
    return lct_fail(err, LCT_E_USAGE, "%s needs a neutral bank: --neutral FILE or --neutral-label NAME", o->whiten ? "--whiten" : "--pcs");
  }
  const char *slash = strrchr(o->output, '/');
  char *dir = slash == NULL ? strdup(".") : strndup(o->output, slash == o->output ? 1 : (size_t)(slash - o->output));
  if (dir == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a path");
  lct_status s = access(dir, W_OK) == 0 ? LCT_OK : lct_fail_errno(err, errno, "cannot create %s", o->output);
  free(dir);
  return s;
}

static lct_status open_model(maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  LCT_TRY(lct_device_resolve(o->model.device, o->model.precision, &m->device, err));
  lct_device_describe(&m->device, &m->result->device);
  if (o->model.id == NULL && !fp_is_scenario(o->references)) return lct_fail(err, LCT_E_USAGE, "the fingerprints need a model: --model MODEL");
  fp_report(m, "load", 0, 1);
  if (o->model.id == NULL) LCT_TRY(fp_scenario_model(o->references, &m->model_id, err));
  else m->model_id = strdup(o->model.id);
  if (m->model_id == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for a model's name");
  LCT_TRY(lct_model_resolve(m->model_id, o->model.gguf_file, &m->model_path, err));
  LCT_TRY(lct_model_open(m->model_path, &m->model, err));
  m->cfg = m->model->config;
  m->result->n_layers = m->cfg.n_layers;
  m->result->hidden = m->cfg.hidden;
  if (o->pcs > m->cfg.hidden) {
    return lct_fail(err, LCT_E_USAGE, "--pcs: expected at most the model's hidden size %d, found %d", m->cfg.hidden, o->pcs);
  }
  LCT_TRY(lct_tokenizer_for_model(m->model, &m->tokenizer, err));
  LCT_TRY(lct_encoder_new(m->tokenizer, &m->encoder, err));
  LCT_TRY(lct_template_choose(m->tokenizer, o->model.chat_template, o->model.no_thinking, m->model_path, &m->template, err));
  return lct_device_engine(&m->device, m->model, o->model.threads, &m->engine, err);
}

static lct_status make_room(maker *m, lct_error *err) {
  lct_stream streams[FP_N_SOURCES];
  size_t layers = (size_t)m->cfg.n_layers;
  m->n_places = (size_t)m->n_poolings * (size_t)m->n_sources * layers;
  LCT_TRY(lct_calloc(&m->planes, (size_t)m->n_sources * layers, sizeof *m->planes, "the list of layers", err));
  for (int i = 0; i < m->n_sources; i++) streams[i] = lct_stream_of(m->sources[i], &m->cfg, m->planes + (size_t)i * layers);
  LCT_TRY(lct_pool_new(m->engine, streams, m->n_sources, m->n_poolings, &m->pool, err));
  size_t chunk = FP_CHUNK_BYTES / (m->n_places * (size_t)m->cfg.hidden * sizeof(float));
  m->chunk = chunk < 16 ? 16 : chunk > FP_CHUNK ? FP_CHUNK : (int)chunk;
  return lct_calloc(&m->prompts, (size_t)m->chunk, sizeof *m->prompts, "prompts", err);
}

static lct_status check_prompts(const maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  if (m->n_labels == 0) {
    return lct_fail(err, LCT_E_USAGE, "%s has no labelled prompt%s", o->references, m->bank.n > 0 ? " but neutral ones" : "");
  }
  if (!m->uses_neutral || m->bank.n >= 2) return LCT_OK;
  return lct_fail(err, LCT_E_USAGE, "a neutral bank needs at least two prompts, found %lld in %s%s%s%s", (long long)m->bank.n,
                  o->neutral != NULL ? o->neutral : o->references, o->neutral_label != NULL ? " of label \"" : "",
                  o->neutral_label != NULL ? o->neutral_label : "", o->neutral_label != NULL ? "\"" : "");
}

static lct_status new_fingerprints(maker *m, lct_fingerprints **out, lct_error *err) {
  const char *sources[FP_N_SOURCES], *poolings[LCT_N_POOLINGS];
  char **labels = NULL;
  LCT_TRY(lct_calloc(&labels, m->n_labels, sizeof *labels, "labels", err));
  for (size_t i = 0; i < m->n_labels; i++) labels[i] = m->labels[i].name;
  for (int i = 0; i < m->n_sources; i++) sources[i] = lct_source_name(m->sources[i]);
  for (int i = 0; i < m->n_poolings; i++) poolings[i] = lct_pooling_name((lct_pooling)m->poolings[i]);
  m->result->n_pcs = !m->uses_neutral ? 0 : m->o->pcs >= 0 ? m->o->pcs : DEFAULT_PCS < m->cfg.hidden ? DEFAULT_PCS : m->cfg.hidden;
  const lct_fingerprints names = {.model_hash = m->model->hash,
                                  .template_hash = m->template.hash,
                                  .model_id = m->model_id,
                                  .template_name = (char *)lct_template_name(m->template.kind),
                                  .precision = (char *)lct_precision_name(m->device.precision),
                                  .n_layers = m->cfg.n_layers,
                                  .hidden = m->cfg.hidden,
                                  .n_labels = (int)m->n_labels,
                                  .n_poolings = m->n_poolings,
                                  .n_sources = m->n_sources,
                                  .labels = labels,
                                  .poolings = (char **)poolings,
                                  .sources = (char **)sources,
                                  .n_neutral = m->bank.n,
                                  .n_pcs = m->result->n_pcs};
  lct_status s = lct_fingerprints_new(&names, m->o->whiten, out, err);
  free(labels);
  return s;
}

static lct_status finish(maker *m, lct_error *err) {
  lct_fingerprints *f = NULL;
  double t0 = lct_seconds();
  fp_report(m, "calibrate", 0, 1);
  LCT_TRY(check_prompts(m, err));
  LCT_TRY(new_fingerprints(m, &f, err));
  lct_status s = fp_finish_labels(m, f, err);
  if (s == LCT_OK && m->bank.n > 0) s = fp_finish_bank(m, f, err);
  if (s == LCT_OK) s = lct_fingerprints_save(f, m->o->output, err);
  lct_fingerprints_free(f);
  m->result->seconds.calibrate = lct_seconds() - t0;
  return s;
}

static void close_all(maker *m) {
  for (int i = 0; m->prompts != NULL && i < m->chunk; i++) lct_tokens_free(&m->prompts[i].tokens);
  free(m->prompts);
  fp_free_sums(m);
  lct_pool_free(m->pool);
  free(m->planes);
  lct_engine_free(m->engine);
  lct_encoder_free(m->encoder);
  lct_tokenizer_free(m->tokenizer);
  lct_model_free(m->model);
  free(m->model_path);
  free(m->model_id);
}

lct_status lct_fingerprint(const lct_fingerprint_options *o, lct_fingerprint_result *result, lct_error *err) {
  *result = (lct_fingerprint_result){0};
  lct_error own;
  int caller_threads = omp_get_max_threads();
  if (o->model.threads > 0) omp_set_num_threads(o->model.threads);
  if (err == NULL) err = &own;
  maker m = {.o = o, .result = result, .uses_neutral = o->neutral != NULL || o->neutral_label != NULL};
  double t0 = lct_seconds();
  lct_status s = read_axes(&m, err);
  if (s == LCT_OK) s = check_options(&m, err);
  if (s == LCT_OK) s = open_model(&m, err);
  if (s == LCT_OK) s = make_room(&m, err);
  double t1 = lct_seconds();
  result->seconds.load = t1 - t0;
  if (s == LCT_OK) s = fp_read_all(&m, err);
  result->seconds.prompts = lct_seconds() - t1;
  if (s == LCT_OK) s = finish(&m, err);
  result->n_labels = (int)m.n_labels;
  result->neutral_kept = (int64_t)m.bank.n_rows;
  close_all(&m);
  omp_set_num_threads(caller_threads);
  result->seconds.total = lct_seconds() - t0;
  return s;
}
