/* lct_fingerprint: the steps in order. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "fingerprint/make_impl.h"

enum { DEFAULT_PCS = 8 };

static lct_status read_axes(maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  fp_axes *a = &m->axes;
  const char *names[LCT_N_RESIDUAL];
  int chosen[LCT_N_RESIDUAL];
  for (int i = 0; i < LCT_N_RESIDUAL; i++) names[i] = lct_source_name(LCT_RESIDUAL_SOURCES[i]);
  const lct_list_known known = {.option = "--sources", .expected = "a list of", .names = names, .n = LCT_N_RESIDUAL};
  LCT_TRY(lct_positions_parse("--poolings", o->poolings != NULL ? o->poolings : LCT_DEFAULT_POSITIONS, &m->arena, &a->positions,
                              &a->n_positions, err));
  LCT_TRY(lct_list_names(&known, o->sources != NULL ? o->sources : "hidden_out", chosen, &a->n_sources, err));
  for (int i = 0; i < a->n_sources; i++) a->sources[i] = LCT_RESIDUAL_SOURCES[chosen[i]];
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

static lct_status open_subject(maker *m, lct_error *err) {
  const lct_fingerprint_options *o = m->o;
  char *own = NULL; /* the scenario's model */
  if (o->model.id == NULL && !fp_is_scenario(o->references))
    return lct_fail(err, LCT_E_USAGE, "the fingerprints need a model: --model MODEL");
  fp_report(m, "load", 0, 1);
  if (o->model.id == NULL) LCT_TRY(fp_scenario_model(o->references, &own, err));
  lct_model_options mo = o->model;
  if (own != NULL) mo.id = own;
  lct_status s = lct_subject_open(&mo, true, &m->subject, err);
  free(own);
  LCT_TRY(s);
  lct_device_describe(&m->subject->device, &m->result->device);
  m->result->n_layers = m->axes.n_layers = m->subject->cfg.n_layers;
  m->result->hidden = m->axes.hidden = m->subject->cfg.hidden;
  if (o->pcs <= m->axes.hidden) return LCT_OK;
  return lct_fail(err, LCT_E_USAGE, "--pcs: expected at most the model's hidden size %d, found %d", m->axes.hidden, o->pcs);
}

static lct_status open_worker(maker *m, lct_error *err) {
  fp_axes *a = &m->axes;
  size_t layers = (size_t)a->n_layers;
  a->n_places = (size_t)a->n_positions * (size_t)a->n_sources * layers;
  a->planes = lct_arena_alloc(&m->arena, (size_t)a->n_sources * layers * sizeof *a->planes);
  if (a->planes == NULL) return lct_fail(err, LCT_E_NOMEM, "out of memory for the list of layers");
  for (int i = 0; i < a->n_sources; i++) a->streams[i] = lct_stream_of(a->sources[i], &m->subject->cfg, a->planes + (size_t)i * layers);
  const lct_worker_options wo = {.streams = a->streams,
                                 .n_streams = a->n_sources,
                                 .positions = a->positions,
                                 .n_positions = a->n_positions,
                                 .max_rows = m->subject->device.batch_rows};
  return lct_worker_new(m->subject, &wo, &m->worker, err);
}

static lct_status run(maker *m, lct_error *err) {
  const lct_client client = {.cancel = m->o->cancel};
  const lct_client *clients[] = {&client};
  const lct_feed feed = {.ctx = m, .next = fp_next_unit};
  const lct_sink sink = {.ctx = m, .take = fp_take_unit};
  LCT_TRY(fp_reader_new(m, err));
  LCT_TRY(lct_pipeline_run(&m->worker, 1, clients, &feed, &sink, err));
  m->result->tokens_computed = lct_worker_get_stats(m->worker)->tokens_computed;
  m->result->tokens_naive = lct_worker_get_stats(m->worker)->tokens_naive;
  return LCT_OK;
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
  const fp_axes *a = &m->axes;
  const char *sources[LCT_N_RESIDUAL];
  char **names = NULL;
  size_t n_positions = (size_t)a->n_positions;
  LCT_TRY(lct_calloc(&names, m->n_labels + n_positions, sizeof *names, "labels", err));
  for (size_t i = 0; i < m->n_labels; i++) names[i] = m->labels[i].name;
  for (size_t i = 0; i < n_positions; i++) names[m->n_labels + i] = a->positions[i].name;
  for (int i = 0; i < a->n_sources; i++) sources[i] = lct_source_name(a->sources[i]);
  m->result->n_pcs = !m->uses_neutral ? 0 : m->o->pcs >= 0 ? m->o->pcs : DEFAULT_PCS < a->hidden ? DEFAULT_PCS : a->hidden;
  const lct_fingerprints texts = {.model_hash = m->subject->model->hash,
                                  .template_hash = m->subject->template.hash,
                                  .model_id = m->subject->id,
                                  .template_name = (char *)lct_template_name(m->subject->template.kind),
                                  .precision = (char *)lct_precision_name(m->subject->device.precision),
                                  .n_layers = a->n_layers,
                                  .hidden = a->hidden,
                                  .n_labels = (int)m->n_labels,
                                  .n_poolings = a->n_positions,
                                  .n_sources = a->n_sources,
                                  .labels = names,
                                  .poolings = names + m->n_labels,
                                  .sources = (char **)sources,
                                  .n_neutral = m->bank.n,
                                  .n_pcs = m->result->n_pcs};
  lct_status s = lct_fingerprints_new(&texts, m->o->whiten, out, err);
  free(names);
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
  fp_reader_free(m->reader);
  fp_free_sums(m);
  lct_worker_free(m->worker);
  lct_subject_free(m->subject);
  lct_arena_free(&m->arena);
}

lct_status lct_fingerprint(const lct_fingerprint_options *o, lct_fingerprint_result *result, lct_error *err) {
  *result = (lct_fingerprint_result){0};
  lct_error own;
  if (err == NULL) err = &own;
  maker m = {.o = o, .result = result, .uses_neutral = o->neutral != NULL || o->neutral_label != NULL};
  double t0 = lct_seconds();
  lct_status s = read_axes(&m, err);
  if (s == LCT_OK) s = check_options(&m, err);
  if (s == LCT_OK) s = open_subject(&m, err);
  if (s == LCT_OK) s = open_worker(&m, err);
  double t1 = lct_seconds();
  result->seconds.load = t1 - t0;
  if (s == LCT_OK) s = run(&m, err);
  result->seconds.prompts = lct_seconds() - t1;
  if (s == LCT_OK) s = finish(&m, err);
  result->n_labels = (int)m.n_labels;
  result->neutral_kept = (int64_t)m.bank.n_rows;
  close_all(&m);
  result->seconds.total = lct_seconds() - t0;
  return s;
}
