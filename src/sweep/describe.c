/* A sweep as sweep.json says it. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "sweep/sweep_impl.h"

/* A list of n names, which are filled in by the caller; the arena's. */
static lct_status new_names(sweep *s, int n, const char ***names, lct_names *out, lct_error *err) {
  *names = lct_arena_alloc(&s->arena, ((size_t)n + 1) * sizeof **names);
  *out = (lct_names){*names, n};
  return *names != NULL ? LCT_OK : lct_fail(err, LCT_E_NOMEM, "out of memory for what was asked");
}

lct_status sweep_describe(sweep *s, lct_error *err) {
  const lct_sweep_options *o = s->o;
  const char **names;
  s->asked = (lct_sweep_asked){.model_hash = s->subject->model->hash,
                               .template_name = lct_template_name(s->subject->template.kind),
                               .template_hash = s->subject->template.hash,
                               .precision = lct_precision_name(s->subject->device.precision),
                               .gpu = s->subject->device.gpu,
                               .inputs = {o->inputs, (int)o->n_inputs},
                               .keep = o->keep,
                               .store_dtype = o->store_dtype,
                               .derive_residual = o->derive_residual,
                               .layers = s->axes->layers,
                               .n_layers = s->axes->n_layers,
                               .fingerprints = o->fingerprints,
                               .fingerprints_hash = s->fingerprints_hash,
                               .shard_rows = s->store.shard_rows,
                               .token_shard = s->store.token_shard,
                               .too_long = o->too_long,
                               .max_tokens = s->max_tokens};
  if (s->fingerprints != NULL) s->asked.labels = (lct_names){(const char *const *)s->fingerprints->labels, s->fingerprints->n_labels};
  LCT_TRY(new_names(s, s->axes->n_positions, &names, &s->asked.positions, err));
  for (int i = 0; i < s->axes->n_positions; i++) names[i] = s->axes->positions[i].name;
  LCT_TRY(new_names(s, s->axes->n_sources, &names, &s->asked.sources, err));
  for (int i = 0; i < s->axes->n_sources; i++) names[i] = lct_source_name(s->axes->sources[i].source);
  LCT_TRY(new_names(s, s->axes->n_metrics, &names, &s->asked.metrics, err));
  for (int i = 0; i < s->axes->n_metrics; i++) names[i] = lct_any_metric_name(s->axes->metrics[i]);
  return LCT_OK;
}

size_t sweep_saturated(const sweep *s) {
  size_t n = 0;
  for (int i = 0; s->store.streams != NULL && i < s->axes->n_streams; i++) n += s->store.streams[i].loss.saturated;
  return n;
}

/* Of what this run stored: relative L2 error and largest absolute error of the stored type. */
static lct_status store_errors(const sweep *s, lct_store_error **out, int *n, lct_error *err) {
  LCT_TRY(lct_calloc(out, (size_t)s->axes->n_streams, sizeof **out, "errors", err));
  for (int i = 0; i < s->axes->n_streams; i++) {
    const sweep_loss *loss = &s->store.streams[i].loss;
    if (!s->axes->streams[i].stored || loss->value2 <= 0) continue;
    (*out)[(*n)++] = (lct_store_error){s->axes->streams[i].name, sqrt(loss->error2 / loss->value2), loss->max};
  }
  return LCT_OK;
}

lct_status sweep_write_state(const sweep *s, const char *state, const char *error, lct_error *err) {
  lct_sweep_result now = *s->result;
  now.rows = s->rows;
  now.tokens_stored = s->tokens;
  now.saturated = sweep_saturated(s);
  now.seconds.total = lct_seconds() - s->t_start;
  lct_store_error *errors = NULL;
  int n_errors = 0;
  LCT_TRY(store_errors(s, &errors, &n_errors, err));
  json_t *model = lct_subject_model_json(s->subject), *machine = lct_subject_machine_json(s->subject);
  const lct_sweep_facts f = {.asked = &s->asked,
                             .result = &now,
                             .state = state,
                             .error = error,
                             .llmct_version = lct_version(),
                             .model = model,
                             .machine = machine,
                             .arrays = s->store.arrays,
                             .errors = errors,
                             .n_errors = n_errors};
  lct_status st = lct_sweep_facts_write(s->o->output, &f, err);
  json_decref(model);
  json_decref(machine);
  free(errors);
  return st;
}
